package objstoretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"github.com/wadi-log/wadi/objstore"
	"sync"
	"testing"
)

func testCancelled(t *testing.T, b objstore.Bucket) {
	put(t, b, "object", []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, getErr := b.Get(ctx, "object", 0, -1)
	for call, err := range map[string]error{
		"Put":    b.Put(ctx, "other", []byte("x")),
		"Get":    getErr,
		"List":   b.List(ctx, "", func(objstore.ObjectInfo) error { return nil }),
		"Delete": b.Delete(ctx, "object"),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context: %v, want %v", call, err, context.Canceled)
		}
	}
	wantList(t, b, "", "object")
}

func testConcurrency(t *testing.T, b objstore.Bucket) {
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 20 {
				key := fmt.Sprintf("shared/%02d/%d-%d", i%4, worker, i)
				body := Bytes(1000*(i+1), uint64(worker*100+i))
				if err := b.Put(t.Context(), key, body); err != nil {
					t.Errorf("Put(%q): %v", key, err)
					return
				}
				got, err := b.Get(t.Context(), key, 0, -1)
				if err != nil || !bytes.Equal(got, body) {
					t.Errorf("Get(%q) after Put: %d bytes, error %v", key, len(got), err)
				}
				if i%2 == 0 {
					if err := b.Delete(t.Context(), key); err != nil {
						t.Errorf("Delete(%q): %v", key, err)
					}
				}
			}
		})
	}
	wg.Wait()
	if got := list(t, b, "shared/"); len(got) != 80 {
		t.Errorf("List finds %d objects, want 80", len(got))
	}
}

// testFolderRaces puts and deletes the only object of a folder over and over:
// a store made of folders removes the folder while another Put enters it.
func testFolderRaces(t *testing.T, b objstore.Bucket) {
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 50 {
				key := fmt.Sprintf("x/y/z/%d", worker)
				if err := b.Put(t.Context(), key, []byte{byte(i)}); err != nil {
					t.Errorf("Put(%q): %v", key, err)
					return
				}
				got, err := b.Get(t.Context(), key, 0, -1)
				if err != nil || !bytes.Equal(got, []byte{byte(i)}) {
					t.Errorf("Get(%q) after Put: %v, error %v", key, got, err)
				}
				if err := b.Delete(t.Context(), key); err != nil {
					t.Errorf("Delete(%q): %v", key, err)
				}
			}
		})
	}
	wg.Wait()
	wantList(t, b, "")
}
