package objstoretest

import (
	"context"
	"sync"
	"time"

	"github.com/wadi-log/wadi/objstore"
)

// Op names a method of a Bucket.
type Op string

// The operations that can fail.
const (
	Put    Op = "put"
	Get    Op = "get"
	List   Op = "list"
	Delete Op = "delete"
)

// Fault says what happens to one call. The zero Fault is none.
type Fault struct {
	// Block, if set, makes the call wait before anything else, until it is
	// closed or the call's ctx ends (which ends the call with ctx's error).
	Block <-chan struct{}
	// Err, if set, is what the call returns. Without Persisted it never
	// reaches the store.
	Err error
	// Persisted: the call is carried out, then Err is returned all the same, as
	// when a reply is lost. With BlockReply it waits in between.
	Persisted bool
	// BlockReply, if set, makes the call wait after it was carried out: the
	// store has the object, its caller doesn't know yet. If ctx ends meanwhile, its
	// error is returned.
	BlockReply <-chan struct{}
}

// Hook decides on the fault of a call. It is called in the call's goroutine,
// before anything else, by several at a time; key is the prefix for List and
// the first key for Delete.
type Hook func(op Op, key string) Fault

// Faulty wraps a Bucket and fails as its hook says.
type Faulty struct {
	objstore.Bucket
	mu    sync.Mutex // not held while hook runs
	hook  Hook
	calls map[Op]int
}

// NewFaulty returns b with no faults.
func NewFaulty(b objstore.Bucket) *Faulty {
	return &Faulty{Bucket: b, calls: map[Op]int{}}
}

// Inject makes hook decide on all calls from now on; nil ends all faults.
func (f *Faulty) Inject(hook Hook) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = hook
}

// Fail makes the next n calls of op suffer the fault, and no other ones.
func (f *Faulty) Fail(op Op, n int, fault Fault) {
	var mu sync.Mutex
	f.Inject(func(called Op, _ string) Fault {
		mu.Lock()
		defer mu.Unlock()
		if called != op || n == 0 {
			return Fault{}
		}
		n--
		return fault
	})
}

// FailUntil makes all calls fail with err until a time, without reaching the store.
func (f *Faulty) FailUntil(over time.Time, err error) {
	f.Inject(func(Op, string) Fault {
		if time.Now().Before(over) {
			return Fault{Err: err}
		}
		return Fault{}
	})
}

// Calls returns how often op was called, with and without faults.
func (f *Faulty) Calls(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[op]
}

// Put implements objstore.Bucket.
func (f *Faulty) Put(ctx context.Context, key string, body []byte) error {
	return f.call(ctx, Put, key, func() error { return f.Bucket.Put(ctx, key, body) })
}

// Get implements objstore.Bucket.
func (f *Faulty) Get(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	var data []byte
	err := f.call(ctx, Get, key, func() (err error) {
		data, err = f.Bucket.Get(ctx, key, offset, length)
		return err
	})
	if err != nil {
		return nil, err
	}
	return data, nil
}

// List implements objstore.Bucket.
func (f *Faulty) List(ctx context.Context, prefix string, visit func(objstore.ObjectInfo) error) error {
	return f.call(ctx, List, prefix, func() error { return f.Bucket.List(ctx, prefix, visit) })
}

// Delete implements objstore.Bucket.
func (f *Faulty) Delete(ctx context.Context, keys ...string) error {
	first := ""
	if len(keys) > 0 {
		first = keys[0]
	}
	return f.call(ctx, Delete, first, func() error { return f.Bucket.Delete(ctx, keys...) })
}

func (f *Faulty) call(ctx context.Context, op Op, key string, do func() error) error {
	f.mu.Lock()
	f.calls[op]++
	hook := f.hook
	f.mu.Unlock()
	var fault Fault
	if hook != nil {
		fault = hook(op, key)
	}
	if err := wait(ctx, fault.Block); err != nil {
		return err
	}
	if fault.Err != nil && !fault.Persisted {
		return fault.Err
	}
	if err := do(); err != nil {
		return err
	}
	if err := wait(ctx, fault.BlockReply); err != nil {
		return err
	}
	return fault.Err
}

// wait waits for the channel, if there is one, and no longer than ctx lasts.
func wait(ctx context.Context, released <-chan struct{}) error {
	if released == nil {
		return nil
	}
	select {
	case <-released:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
