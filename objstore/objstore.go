// Package objstore holds immutable objects in somebody else's storage.
//
// [Bucket] is the contract; dir (a directory, the embedded default), s3
// (AWS SDK), minio (minio-go) and memory implement it, objstoretest is the
// suite that all of them pass. [Retry], [Hedge] and [Metrics] are decorators,
// one file each, and work on any Bucket; the agent stacks them as
//
//	Retry(Hedge(Metrics(store)))
//
// so that metrics count the requests that reach the store, which are the bill.
//
// The package knows nothing of records, topics or the metadata store.
package objstore

import (
	"context"
	"errors"
	"io"
	"time"
)

// Bucket stores immutable objects under keys like "data/3f/2026112300/<id>",
// which [CheckKey] must accept. All methods are safe for concurrent use and
// honour ctx.
type Bucket interface {
	// Put stores the object durably under key: when it returns nil, the bytes
	// survive a crash of this machine (dir) or are acknowledged by the store.
	// An object is never visible in part. Putting the same key again with the
	// same bytes is allowed and changes nothing (a retry after a lost reply);
	// other bytes under an existing key are a programmer's error. Put neither
	// changes body nor keeps it after it returns. Errors: ErrConfig, ErrKey, or
	// anything else for "unknown whether stored": put the same bytes again.
	Put(ctx context.Context, key string, body []byte) error
	// Get returns length bytes from offset; length -1 means to the end. Fewer
	// bytes only where the object ends. The slice is the caller's own. Errors:
	// ErrNotFound; ErrRange when the offset lies at or behind the end of the
	// object, except that offset 0 of an empty object gives no bytes and no error.
	Get(ctx context.Context, key string, offset, length int64) ([]byte, error)
	// List calls visit for each object whose key starts with prefix, in key
	// order (bytewise), until visit returns an error, which List returns. The
	// prefix may end in the middle of a name. Objects put or deleted meanwhile
	// may or may not be visited.
	List(ctx context.Context, prefix string, visit func(ObjectInfo) error) error
	// Delete removes the objects; those that don't exist are no error. With an
	// error, some of them may be gone: delete them again.
	Delete(ctx context.Context, keys ...string) error
	// Close releases connections, after all calls have returned. The objects stay.
	io.Closer
}

// ObjectInfo describes a stored object.
type ObjectInfo struct {
	Key      string
	Size     int64
	Modified time.Time
}

// Errors of a store. Any other error may be healed by a retry.
var (
	// ErrNotFound: no object has this key.
	ErrNotFound = errors.New("object not found")
	// ErrRange: the offset lies at or behind the end of the object, or is no offset.
	ErrRange = errors.New("range outside the object")
	// ErrKey: the key is no legal key of an object (see CheckKey).
	ErrKey = errors.New("invalid object key")
	// ErrConfig: the store refuses us for a reason that retrying can't heal:
	// no such bucket, wrong credentials, no permission, read-only. The message
	// names the setting and what to do. Never retried.
	ErrConfig = errors.New("object store misconfigured")
	// ErrSlowDown: the store asks for fewer requests (503 SlowDown, 429).
	ErrSlowDown = errors.New("object store asks to slow down")
)

// final tells whether err would be the same on another attempt.
func final(err error) bool {
	return errors.Is(err, ErrNotFound) || errors.Is(err, ErrRange) ||
		errors.Is(err, ErrKey) || errors.Is(err, ErrConfig)
}
