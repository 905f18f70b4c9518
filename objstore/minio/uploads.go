package minio

import (
	"context"
	"strings"
	"time"

	miniogo "github.com/minio/minio-go/v7"

	"github.com/wadi-log/wadi/objstore/internal/s3wire"
)

// AbortUploads implements objstore.Uploads, for multipart uploads. A MinIO server lists
// them by whole keys only and so shows none here; it drops them by itself, after a day.
func (b *Bucket) AbortUploads(ctx context.Context, prefix string, age time.Duration) (int, error) {
	return s3wire.AbortUploads(ctx, uploads{b}, prefix, age)
}

// uploads implements s3wire.UploadLister.
type uploads struct{ *Bucket }

func (b uploads) ListUploads(ctx context.Context, prefix, afterKey, afterID string) (s3wire.UploadPage, error) {
	ctx, deadline := s3wire.NewDeadline(ctx, 0)
	defer deadline.Stop()
	out, err := b.core.ListMultipartUploads(ctx, b.bucket, b.prefix+prefix, afterKey, afterID, "", 1000)
	if err != nil {
		return s3wire.UploadPage{}, b.explain(ctx, "abort", prefix, err)
	}
	page := s3wire.UploadPage{NextKey: out.NextKeyMarker, NextID: out.NextUploadIDMarker, More: out.IsTruncated}
	for _, u := range out.Uploads {
		page.Uploads = append(page.Uploads, s3wire.Upload{Key: strings.TrimPrefix(u.Key, b.prefix), ID: u.UploadID, Began: u.Initiated})
	}
	return page, nil
}

func (b uploads) AbortUpload(ctx context.Context, u s3wire.Upload) error {
	ctx, deadline := s3wire.NewDeadline(ctx, 0)
	defer deadline.Stop()
	err := b.core.AbortMultipartUpload(ctx, b.bucket, b.prefix+u.Key, u.ID)
	if err == nil || miniogo.ToErrorResponse(err).Code == miniogo.NoSuchUpload {
		return nil
	}
	return b.explain(ctx, "abort", u.Key, err)
}
