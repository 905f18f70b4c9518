// Package objstore holds immutable objects in somebody else's storage.
//
// [Bucket] is the contract; dir (a directory, the embedded default), s3
// (AWS SDK), minio (minio-go) and memory implement it, objstoretest is the
// suite that all of them pass. Retry, hedging and metrics are decorators, one
// file each, and work on any Bucket.
//
// The package knows nothing of records, topics or the metadata store.
package objstore

import (
	"context"
	"errors"
	"io"
	"time"
)

// Bucket stores immutable objects under keys like "data/3f/2026112300/<id>".
// All methods are safe for concurrent use and honour ctx.
type Bucket interface {
	// Put stores the object durably under key: when it returns nil, the bytes
	// survive a crash of this machine (dir) or are acknowledged by the store.
	// An object is never visible in part. Putting the same key again with the
	// same bytes is allowed and changes nothing (a retry after a lost reply);
	// other bytes under an existing key are a programmer's error. Put neither
	// changes body nor keeps it after it returns. Errors: ErrConfig, or anything else
	// for "unknown whether stored": put the same bytes again.
	Put(ctx context.Context, key string, body []byte) error
	// Get returns length bytes from offset; length -1 means to the end. Fewer
	// bytes only where the object ends. Errors: ErrNotFound; ErrRange when the
	// offset lies at or behind the end of the object.
	Get(ctx context.Context, key string, offset, length int64) ([]byte, error)
	// List calls visit for each object whose key starts with prefix, in key
	// order, until visit returns an error, which List returns.
	List(ctx context.Context, prefix string, visit func(ObjectInfo) error) error
	// Delete removes the objects; those that don't exist are no error.
	Delete(ctx context.Context, keys ...string) error
	// Close releases connections. The objects stay.
	io.Closer
}

// ObjectInfo describes a stored object.
type ObjectInfo struct {
	Key      string
	Size     int64
	Modified time.Time
}

var (
	// ErrNotFound: no object has this key.
	ErrNotFound = errors.New("object not found")
	// ErrRange: the offset lies at or behind the end of the object.
	ErrRange = errors.New("range outside the object")
	// ErrConfig: the store refuses us for a reason that retrying can't heal:
	// no such bucket, wrong credentials, no permission, read-only. The message
	// names the setting and what to do. Never retried.
	ErrConfig = errors.New("object store misconfigured")
)
