package objstoretest_test

import (
	"context"
	"errors"
	"testing"

	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/memory"
	"github.com/wadi-log/wadi/objstore/objstoretest"
)

var errFault = errors.New("fault")

func TestFaultyWithoutFaultsKeepsTheContract(t *testing.T) {
	objstoretest.Run(t, func(testing.TB) objstore.Bucket { return objstoretest.NewFaulty(memory.Open()) })
}

func stored(t *testing.T, b objstore.Bucket, key string) bool {
	t.Helper()
	_, err := b.Get(t.Context(), key, 0, -1)
	if err != nil && !errors.Is(err, objstore.ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

func TestFaultyFailsAndPersistsAsTold(t *testing.T) {
	for _, persisted := range []bool{false, true} {
		store := memory.Open()
		f := objstoretest.NewFaulty(store)
		f.Fail(objstoretest.Put, 2, objstoretest.Fault{Err: errFault, Persisted: persisted})
		if err := f.Delete(t.Context(), "other"); err != nil {
			t.Errorf("Delete, which should not fail: %v", err)
		}
		for _, key := range []string{"a", "b"} {
			if err := f.Put(t.Context(), key, nil); !errors.Is(err, errFault) || stored(t, store, key) != persisted {
				t.Errorf("Put: %v, stored %v; want %v, stored %v", err, stored(t, store, key), errFault, persisted)
			}
		}
		if err := f.Put(t.Context(), "c", nil); err != nil || !stored(t, store, "c") {
			t.Errorf("Put after the faults: %v", err)
		}
		if n := f.Calls(objstoretest.Put); n != 3 {
			t.Errorf("%d Puts are counted, want 3", n)
		}
	}
}

func TestFaultyBlocksBeforeOrAfterTheStore(t *testing.T) {
	for _, after := range []bool{false, true} {
		store := memory.Open()
		f := objstoretest.NewFaulty(store)
		called, release := make(chan string, 2), make(chan struct{})
		f.Inject(func(op objstoretest.Op, key string) objstoretest.Fault {
			called <- string(op) + " " + key
			if after {
				return objstoretest.Fault{BlockReply: release}
			}
			return objstoretest.Fault{Block: release}
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- f.Put(ctx, "given-up", nil) }()
		if got := <-called; got != "put given-up" {
			t.Errorf("the hook is called for %q", got)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("a blocked Put ends with %v, want %v", err, context.Canceled)
		}
		go func() { done <- f.Put(t.Context(), "released", nil) }()
		<-called
		close(release)
		if err := <-done; err != nil || !stored(t, store, "released") {
			t.Errorf("a released Put: %v", err)
		}
		if !after && stored(t, store, "given-up") {
			t.Error("a Put that was given up before it reached the store is stored")
		}
	}
}
