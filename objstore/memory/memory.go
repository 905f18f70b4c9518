// Package memory is an object store in the memory of this process: for tests,
// and for trying Wadi out with --objects=mem:.
//
// It keeps the contract of [objstore.Bucket] except that nothing survives the
// process. It is not bounded: what is put stays until it is deleted.
package memory

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wadi-log/wadi/objstore"
)

// Bucket is an object store in memory.
type Bucket struct {
	mu      sync.RWMutex
	objects map[string]object // guarded by mu; the bytes are never changed
}

type object struct {
	data     []byte
	modified time.Time
}

// ParseURL checks a --objects URL of this store, which is "mem:" and nothing
// else. Errors: objstore.ErrConfig.
func ParseURL(raw string) error {
	if raw != "mem:" {
		return fmt.Errorf("%w: --objects: %q: write mem: alone, the store in memory takes no path or option", objstore.ErrConfig, raw)
	}
	return nil
}

// Open returns an empty bucket.
func Open() *Bucket { return &Bucket{objects: map[string]object{}} }

// Put implements objstore.Bucket.
func (b *Bucket) Put(ctx context.Context, key string, body []byte) error {
	if err := objstore.CheckKey(key); err != nil {
		return fmt.Errorf("put: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	o := object{data: slices.Clone(body), modified: time.Now()}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.objects[key] = o
	return nil
}

// Get implements objstore.Bucket.
func (b *Bucket) Get(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	if err := objstore.CheckKey(key); err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	if err := objstore.CheckRange(offset, length); err != nil {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	b.mu.RLock()
	o, ok := b.objects[key]
	b.mu.RUnlock()
	size := int64(len(o.data))
	switch {
	case !ok:
		return nil, fmt.Errorf("get %s: %w", key, objstore.ErrNotFound)
	case offset > 0 && offset >= size:
		return nil, fmt.Errorf("get %s: %w: offset %d of %d bytes", key, objstore.ErrRange, offset, size)
	case length < 0 || length > size-offset:
		length = size - offset
	}
	return slices.Clone(o.data[offset : offset+length]), nil
}

// List implements objstore.Bucket. It visits the objects that are there when it begins.
func (b *Bucket) List(ctx context.Context, prefix string, visit func(objstore.ObjectInfo) error) error {
	b.mu.RLock()
	objects := maps.Clone(b.objects)
	b.mu.RUnlock()
	for _, key := range slices.Sorted(maps.Keys(objects)) {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("list %s: %w", prefix, err)
		}
		o := objects[key]
		if err := visit(objstore.ObjectInfo{Key: key, Size: int64(len(o.data)), Modified: o.modified}); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("list %s: %w", prefix, err)
	}
	return nil
}

// Delete implements objstore.Bucket.
func (b *Bucket) Delete(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if err := objstore.CheckKey(key); err != nil {
			return fmt.Errorf("delete: %w", err)
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, key := range keys {
		delete(b.objects, key)
	}
	return nil
}

// Close implements objstore.Bucket. The objects stay as long as the Bucket is referenced.
func (b *Bucket) Close() error { return nil }
