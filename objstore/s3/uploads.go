package s3

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/wadi-log/wadi/objstore/internal/s3wire"
)

// AbortUploads implements objstore.Uploads, for multipart uploads.
func (b *Bucket) AbortUploads(ctx context.Context, prefix string, age time.Duration) (int, error) {
	return s3wire.AbortUploads(ctx, uploads{b}, prefix, age)
}

// uploads implements s3wire.UploadLister.
type uploads struct{ *Bucket }

func (b uploads) ListUploads(ctx context.Context, prefix, afterKey, afterID string) (s3wire.UploadPage, error) {
	ctx, deadline := s3wire.NewDeadline(ctx, 0)
	defer deadline.Stop()
	input := &awss3.ListMultipartUploadsInput{
		Bucket: b.bucket, Prefix: aws.String(b.prefix + prefix), EncodingType: types.EncodingTypeUrl,
	}
	if afterKey != "" {
		input.KeyMarker, input.UploadIdMarker = &afterKey, &afterID
	}
	out, err := b.client.ListMultipartUploads(ctx, input)
	if err != nil {
		return s3wire.UploadPage{}, b.explain(ctx, "abort", prefix, err)
	}
	decode := func(key *string) string {
		if out.EncodingType != types.EncodingTypeUrl {
			return aws.ToString(key)
		}
		decoded, failed := url.QueryUnescape(aws.ToString(key))
		if failed != nil {
			err = fmt.Errorf("list uploads of %s: key as the store escapes it: %w", prefix, failed)
		}
		return decoded
	}
	page := s3wire.UploadPage{NextKey: decode(out.NextKeyMarker), NextID: aws.ToString(out.NextUploadIdMarker), More: aws.ToBool(out.IsTruncated)}
	for _, u := range out.Uploads {
		page.Uploads = append(page.Uploads, s3wire.Upload{
			Key: strings.TrimPrefix(decode(u.Key), b.prefix), ID: aws.ToString(u.UploadId), Began: aws.ToTime(u.Initiated),
		})
	}
	return page, err
}

func (b uploads) AbortUpload(ctx context.Context, u s3wire.Upload) error {
	ctx, deadline := s3wire.NewDeadline(ctx, 0)
	defer deadline.Stop()
	_, err := b.client.AbortMultipartUpload(ctx, &awss3.AbortMultipartUploadInput{
		Bucket: b.bucket, Key: aws.String(b.prefix + u.Key), UploadId: &u.ID,
	})
	var api smithy.APIError
	if err == nil || errors.As(err, &api) && api.ErrorCode() == "NoSuchUpload" {
		return nil
	}
	return b.explain(ctx, "abort", u.Key, err)
}
