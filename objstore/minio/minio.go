// Package minio is an object store in a bucket of MinIO, or of anything that
// speaks the S3 protocol, through minio-go.
//
// An object is one PUT, read by ranged GETs. The store acknowledges a PUT when it
// is durable, and is consistent: what it acknowledged is seen by every later
// read and listing. It needs no AWS configuration: an address and two keys.
//
// The library's own retries are off: one layer retries, objstore.Retry, which
// knows what may be repeated and for how long. (The library still pauses for up to
// 200 ms before it returns a failure that it would have retried.)
package minio

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	miniogo "github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/internal/s3wire"
)

// Bucket is a bucket, or the part of one under a prefix.
type Bucket struct {
	core      miniogo.Core
	transport *http.Transport
	bucket    string
	prefix    string // "" or ending in a slash
	store     s3wire.Store
	checksums bool // whether the store may be sent checksum headers
}

// Open returns the bucket after trying out that it can be written, read,
// listed and deleted from. Errors: objstore.ErrConfig; others mean that the
// store can't be reached or doesn't answer now.
func Open(ctx context.Context, c Config) (*Bucket, error) {
	return open(ctx, c, objstore.Probe)
}

// OpenReadOnly is Open for who only reads and lists: it tries out no more than
// that, and writes nothing.
func OpenReadOnly(ctx context.Context, c Config) (*Bucket, error) {
	return open(ctx, c, objstore.ProbeReading)
}

func open(ctx context.Context, c Config, probe func(context.Context, objstore.Bucket) error) (*Bucket, error) {
	if c.AccessKey == "" || c.SecretKey == "" {
		return nil, fmt.Errorf("%w: minio:// needs credentials; set WADI_OBJECTS_ACCESS_KEY and WADI_OBJECTS_SECRET_KEY", objstore.ErrConfig)
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment}
	s3wire.Tune(transport)
	client, err := miniogo.New(c.Endpoint, &miniogo.Options{
		Creds:           credentials.NewStaticV4(c.AccessKey, c.SecretKey, ""),
		Secure:          c.TLS,
		Transport:       transport,
		Region:          c.Region,
		TrailingHeaders: true, // the library takes no ready-made checksum without
		MaxRetries:      1,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: --objects: %q is no host:port of a store; correct it: %w", objstore.ErrConfig, c.Endpoint, err)
	}
	b := &Bucket{
		core:      miniogo.Core{Client: client},
		transport: transport,
		bucket:    c.Bucket,
		store: s3wire.Store{
			Bucket: c.Bucket, Endpoint: client.EndpointURL().String(),
			KeysFrom: "WADI_OBJECTS_ACCESS_KEY, WADI_OBJECTS_SECRET_KEY",
		},
		checksums: !s3utils.IsGoogleEndpoint(*client.EndpointURL()),
	}
	if c.Prefix != "" {
		b.prefix = c.Prefix + "/"
	}
	if err := probe(ctx, objstore.Retry(b, objstore.DefaultRetryPolicy())); err != nil {
		transport.CloseIdleConnections()
		return nil, fmt.Errorf("try out the object store: %w", err)
	}
	return b, nil
}

// Close implements objstore.Bucket.
func (b *Bucket) Close() error {
	b.transport.CloseIdleConnections()
	return nil
}

// explain turns the library's error into ours.
func (b *Bucket) explain(ctx context.Context, verb, key string, err error) error {
	f := s3wire.Failure{Verb: verb, Key: key, Err: err}
	var response miniogo.ErrorResponse
	if errors.As(err, &response) {
		f.Code, f.Status = response.Code, response.StatusCode
	}
	return b.store.Explain(ctx, f)
}
