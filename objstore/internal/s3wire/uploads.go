package s3wire

import (
	"context"
	"errors"
	"time"
)

// Upload is a multipart upload that was begun and neither completed nor aborted.
type Upload struct {
	Key, ID string
	Began   time.Time
}

// UploadPage is one answer to ListMultipartUploads. NextKey and NextID are
// where the next one begins; both are empty on the last page.
type UploadPage struct {
	Uploads         []Upload
	NextKey, NextID string
	More            bool
}

// UploadLister is what AbortUploads asks of a library. Wadi puts each object with one
// request and so begins no such uploads; but a proxy or a tool may, below our prefix, and
// their parts are on the bill until somebody aborts them.
type UploadLister interface {
	ListUploads(ctx context.Context, prefix, afterKey, afterID string) (UploadPage, error)
	// AbortUpload removes the upload; one that is gone is no error.
	AbortUpload(ctx context.Context, upload Upload) error
}

// AbortUploads implements objstore.Uploads.
func AbortUploads(ctx context.Context, l UploadLister, prefix string, age time.Duration) (int, error) {
	aborted := 0
	before := time.Now().Add(-age)
	for page := (UploadPage{More: true}); page.More; {
		var err error
		if page, err = l.ListUploads(ctx, prefix, page.NextKey, page.NextID); err != nil {
			return aborted, err
		}
		if page.More && page.NextKey == "" {
			return aborted, errors.New("list uploads: the store says that there are more, but not where")
		}
		for _, u := range page.Uploads {
			if !u.Began.Before(before) {
				continue
			}
			if err := l.AbortUpload(ctx, u); err != nil {
				return aborted, err
			}
			aborted++
		}
	}
	return aborted, nil
}
