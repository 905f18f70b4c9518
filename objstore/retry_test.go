package objstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/memory"
	"github.com/wadi-log/wadi/objstore/objstoretest"
)

// call calls one method of b, whose object is "key".
func call(ctx context.Context, b objstore.Bucket, op objstoretest.Op) error {
	switch op {
	case objstoretest.Put:
		return b.Put(ctx, "key", []byte("body"))
	case objstoretest.Get:
		_, err := b.Get(ctx, "key", 0, -1)
		return err
	case objstoretest.List:
		return b.List(ctx, "", func(objstore.ObjectInfo) error { return nil })
	default:
		return b.Delete(ctx, "key")
	}
}

var allOps = []objstoretest.Op{objstoretest.Put, objstoretest.Get, objstoretest.List, objstoretest.Delete}

func newFaulty(t *testing.T) *objstoretest.Faulty {
	t.Helper()
	b := memory.Open()
	if err := b.Put(t.Context(), "key", []byte("body")); err != nil {
		t.Fatal(err)
	}
	return objstoretest.NewFaulty(b)
}

func TestRetryHealsPassingFailures(t *testing.T) {
	for _, op := range allOps {
		for _, fault := range []objstoretest.Fault{
			{Err: errPassing},
			{Err: errPassing, Persisted: true},
			{Err: fmt.Errorf("put: %w", objstore.ErrSlowDown)},
			{Err: context.DeadlineExceeded}, // the store's own timeout, not the caller's
		} {
			t.Run(fmt.Sprintf("%s/%v/persisted=%v", op, fault.Err, fault.Persisted), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					faulty := newFaulty(t)
					faulty.Fail(op, 3, fault)
					b := objstore.Retry(faulty, objstore.DefaultRetryPolicy())
					if err := call(t.Context(), b, op); err != nil {
						t.Errorf("%s: %v", op, err)
					}
					if n := faulty.Calls(op); n != 4 {
						t.Errorf("%s was called %d times, want 4", op, n)
					}
				})
			})
		}
	}
}

func TestRetryLeavesFinalErrorsAlone(t *testing.T) {
	for _, op := range allOps {
		for _, final := range []error{objstore.ErrConfig, objstore.ErrKey, objstore.ErrNotFound, objstore.ErrRange} {
			synctest.Test(t, func(t *testing.T) {
				faulty := newFaulty(t)
				faulty.Fail(op, 3, objstoretest.Fault{Err: fmt.Errorf("why: %w", final)})
				b := objstore.Retry(faulty, objstore.DefaultRetryPolicy())
				if err := call(t.Context(), b, op); !errors.Is(err, final) {
					t.Errorf("%s: %v, want %v", op, err, final)
				}
				if n := faulty.Calls(op); n != 1 {
					t.Errorf("%s failed with %v and was called %d times, want once", op, final, n)
				}
			})
		}
	}
}

func TestRetryGivesUpAfterItsAttempts(t *testing.T) {
	policy := objstore.RetryPolicy{Attempts: 5, MinDelay: 100 * time.Millisecond, MaxDelay: 400 * time.Millisecond, Total: time.Hour}
	for _, op := range allOps {
		synctest.Test(t, func(t *testing.T) {
			faulty := newFaulty(t)
			var at []time.Time
			faulty.Inject(func(objstoretest.Op, string) objstoretest.Fault {
				at = append(at, time.Now())
				return objstoretest.Fault{Err: errPassing}
			})
			if err := call(t.Context(), objstore.Retry(faulty, policy), op); !errors.Is(err, errPassing) {
				t.Errorf("%s: %v, want %v", op, err, errPassing)
			}
			if len(at) != 5 {
				t.Fatalf("%s was called %d times, want 5", op, len(at))
			}
			// The clock is synthetic: exact but for the jitter.
			for i, millis := range []int{100, 200, 400, 400} {
				pause := time.Duration(millis) * time.Millisecond
				if got := at[i+1].Sub(at[i]); got < pause/2 || got > pause*3/2 {
					t.Errorf("%s: pause %d is %v, want %v give or take half", op, i, got, pause)
				}
			}
		})
	}
}

func TestRetryGivesUpAfterItsTime(t *testing.T) {
	policy := objstore.RetryPolicy{Attempts: 1000, MinDelay: time.Second, MaxDelay: time.Second, Total: 10 * time.Second}
	for _, op := range []objstoretest.Op{objstoretest.Put, objstoretest.Delete} {
		for name, fault := range map[string]objstoretest.Fault{
			"failing": {Err: errPassing},
			"hanging": {Block: make(chan struct{})},
		} {
			t.Run(fmt.Sprint(op, "/", name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					if name == "hanging" { // a channel belongs to one bubble
						fault.Block = make(chan struct{})
					}
					faulty := newFaulty(t)
					faulty.Fail(op, 1000, fault)
					start := time.Now()
					err := call(t.Context(), objstore.Retry(faulty, policy), op)
					if !errors.Is(err, context.DeadlineExceeded) || fault.Err != nil && !errors.Is(err, fault.Err) {
						t.Errorf("error %v, want %v and the last attempt's", err, context.DeadlineExceeded)
					}
					if took := time.Since(start); took < 10*time.Second || took > 11*time.Second {
						t.Errorf("gave up after %v, want 10 s (and what the bytes take)", took)
					}
				})
			})
		}
	}
}

func TestRetryEndsWithItsCaller(t *testing.T) {
	for _, op := range allOps {
		synctest.Test(t, func(t *testing.T) {
			faulty := newFaulty(t)
			faulty.Fail(op, 1000, objstoretest.Fault{Err: errPassing})
			policy := objstore.RetryPolicy{Attempts: 1000, MinDelay: time.Minute, MaxDelay: time.Minute, Total: time.Hour}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- call(ctx, objstore.Retry(faulty, policy), op) }()
			synctest.Wait() // in its first pause
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) || !errors.Is(err, errPassing) {
				t.Errorf("%s: %v, want %v and the last attempt's error", op, err, context.Canceled)
			}
			if n := faulty.Calls(op); n != 1 {
				t.Errorf("%s was called %d times, want once", op, n)
			}
		})
	}
}

// brokenLister fails a listing after so many objects, each time.
type brokenLister struct {
	objstore.Bucket
	after []int // one for each listing
}

func (b *brokenLister) List(ctx context.Context, prefix string, visit func(objstore.ObjectInfo) error) error {
	if len(b.after) == 0 {
		return b.Bucket.List(ctx, prefix, visit)
	}
	left := b.after[0]
	b.after = b.after[1:]
	return b.Bucket.List(ctx, prefix, func(o objstore.ObjectInfo) error {
		if left == 0 {
			return errPassing
		}
		left--
		return visit(o)
	})
}

func TestRetriedListVisitsEachObjectOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.Open()
		want := []string{"a", "b", "c", "d", "e"}
		for _, key := range want {
			if err := store.Put(t.Context(), key, nil); err != nil {
				t.Fatal(err)
			}
		}
		b := objstore.Retry(&brokenLister{store, []int{2, 0, 1, 4}}, objstore.DefaultRetryPolicy())
		var got []string
		err := b.List(t.Context(), "", func(o objstore.ObjectInfo) error {
			got = append(got, o.Key)
			return nil
		})
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("List visits %q, error %v; want %q", got, err, want)
		}
	})
}

func TestRetryDoesNotRepeatAFailingVisitor(t *testing.T) {
	faulty := newFaulty(t)
	b := objstore.Retry(faulty, objstore.DefaultRetryPolicy())
	err := b.List(t.Context(), "", func(objstore.ObjectInfo) error { return errPassing })
	if !errors.Is(err, errPassing) || faulty.Calls(objstoretest.List) != 1 {
		t.Errorf("List: %v after %d calls; want the visitor's error after one", err, faulty.Calls(objstoretest.List))
	}
}

func TestTransferTimeIsBounded(t *testing.T) {
	for bytes, want := range map[int64]time.Duration{
		0: 0, 8 << 20: 2 * time.Second, -1: 64 * time.Second, 1 << 30: 256 * time.Second, 1<<63 - 1: 256 * time.Second,
	} {
		if got := objstore.TransferTime(bytes); got != want {
			t.Errorf("TransferTime(%d) = %v, want %v", bytes, got, want)
		}
	}
}
