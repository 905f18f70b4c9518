package s3

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/internal/s3wire"
)

// keysPerDelete is the most that one DeleteObjects takes.
const keysPerDelete = 1000

// Put implements objstore.Bucket with one PutObject.
//
// The bytes are protected by a CRC-32C in a header, which the store compares
// before it acknowledges (a store too old to know the header ignores it), and
// not by the SHA-256 of the payload with which the SDK signs over plain HTTP: that
// costs us 0.6 s of CPU for each GiB where the CRC costs 0.2 s (with SHA
// instructions; several times as much without), and the store the same again.
// Whoever can change bytes on their way needs to be kept out by TLS.
func (b *Bucket) Put(ctx context.Context, key string, body []byte) error {
	if err := objstore.CheckKey(key); err != nil {
		return fmt.Errorf("put: %w", err)
	}
	return s3wire.Put(func() error { return b.put(ctx, key, body) })
}

func (b *Bucket) put(ctx context.Context, key string, body []byte) error {
	ctx, deadline := s3wire.NewDeadline(ctx, int64(len(body)))
	defer deadline.Stop()
	reader := s3wire.NewBody(body)
	defer reader.Detach()
	_, err := b.client.PutObject(ctx, &awss3.PutObjectInput{
		Bucket:         b.bucket,
		Key:            aws.String(b.prefix + key),
		Body:           reader,
		ContentLength:  aws.Int64(int64(len(body))),
		ChecksumCRC32C: aws.String(s3wire.CRC32C(body)),
	}, awss3.WithAPIOptions(v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware))
	if err != nil {
		return b.explain(ctx, "put", key, err)
	}
	return nil
}

// Get implements objstore.Bucket with one ranged GetObject.
func (b *Bucket) Get(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	if err := objstore.CheckKey(key); err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	if err := objstore.CheckRange(offset, length); err != nil {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	ctx, deadline := s3wire.NewDeadline(ctx, length)
	defer deadline.Stop()
	input := &awss3.GetObjectInput{Bucket: b.bucket, Key: aws.String(b.prefix + key)}
	if r := s3wire.ByteRange(offset, length); r != "" {
		input.Range = &r
	}
	out, err := b.client.GetObject(ctx, input)
	if err != nil {
		err = b.explain(ctx, "get", key, err)
		if offset == 0 && errors.Is(err, objstore.ErrRange) {
			return []byte{}, nil // an empty object
		}
		return nil, err
	}
	defer out.Body.Close()
	size := int64(-1)
	if out.ContentLength != nil {
		size = *out.ContentLength
	}
	data, err := s3wire.ReadBody(out.Body, size, aws.ToString(out.ContentRange), offset, length)
	if err != nil {
		return nil, b.explain(ctx, "get", key, err)
	}
	return data, nil
}

// List implements objstore.Bucket with a ListObjectsV2 for each 1,000 objects.
func (b *Bucket) List(ctx context.Context, prefix string, visit func(objstore.ObjectInfo) error) error {
	input := &awss3.ListObjectsV2Input{
		Bucket:       b.bucket,
		Prefix:       aws.String(b.prefix + prefix),
		EncodingType: types.EncodingTypeUrl, // XML can't say all that a key may hold
	}
	for {
		page, err := b.listPage(ctx, prefix, input)
		if err != nil {
			return err
		}
		for _, o := range page.Contents {
			key := aws.ToString(o.Key)
			if page.EncodingType == types.EncodingTypeUrl {
				if key, err = url.QueryUnescape(key); err != nil {
					return fmt.Errorf("list %s: key as the store escapes it: %w", prefix, err)
				}
			}
			info := objstore.ObjectInfo{
				Key:      strings.TrimPrefix(key, b.prefix),
				Size:     aws.ToInt64(o.Size),
				Modified: aws.ToTime(o.LastModified),
			}
			if err := visit(info); err != nil {
				return err
			}
		}
		if !aws.ToBool(page.IsTruncated) {
			return nil
		}
		if aws.ToString(page.NextContinuationToken) == "" {
			return fmt.Errorf("list %s: the store says that there is more, but not where", prefix)
		}
		input.ContinuationToken = page.NextContinuationToken
	}
}

func (b *Bucket) listPage(ctx context.Context, prefix string, input *awss3.ListObjectsV2Input) (*awss3.ListObjectsV2Output, error) {
	ctx, deadline := s3wire.NewDeadline(ctx, 0)
	defer deadline.Stop()
	page, err := b.client.ListObjectsV2(ctx, input)
	if err != nil {
		return nil, b.explain(ctx, "list", prefix, err)
	}
	return page, nil
}

// Delete implements objstore.Bucket with a DeleteObjects for each 1,000 keys.
func (b *Bucket) Delete(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if err := objstore.CheckKey(key); err != nil {
			return fmt.Errorf("delete: %w", err)
		}
	}
	for batch := range slices.Chunk(keys, keysPerDelete) {
		if err := b.deleteBatch(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bucket) deleteBatch(ctx context.Context, keys []string) error {
	ctx, deadline := s3wire.NewDeadline(ctx, 0)
	defer deadline.Stop()
	objects := make([]types.ObjectIdentifier, len(keys))
	for i, key := range keys {
		objects[i].Key = aws.String(b.prefix + key)
	}
	var options []func(*awss3.Options)
	if b.foreign {
		options = append(options, awss3.WithAPIOptions(md5InsteadOfCRC))
	}
	out, err := b.client.DeleteObjects(ctx, &awss3.DeleteObjectsInput{
		Bucket: b.bucket,
		Delete: &types.Delete{Objects: objects, Quiet: aws.Bool(true)},
	}, options...)
	if err != nil {
		return b.explain(ctx, "delete", "", err)
	}
	// The request as a whole succeeds although single keys fail.
	for _, failed := range out.Errors {
		code := aws.ToString(failed.Code)
		if code == "NoSuchKey" {
			continue
		}
		return b.store.Explain(ctx, s3wire.Failure{
			Verb: "delete", Key: strings.TrimPrefix(aws.ToString(failed.Key), b.prefix), Code: code,
			Err: fmt.Errorf("%s: %s", code, aws.ToString(failed.Message)),
		})
	}
	return nil
}

// md5InsteadOfCRC sends Content-MD5 with DeleteObjects, which S3 demanded
// until 2024 and stores of that time still do, in place of the CRC-32 header
// that the SDK sends today.
func md5InsteadOfCRC(stack *middleware.Stack) error {
	// Without this step the SDK's checksum step finds nothing to do.
	if _, err := stack.Initialize.Remove("AWSChecksum:SetupInputContext"); err != nil {
		return err
	}
	return smithyhttp.AddContentChecksumMiddleware(stack)
}
