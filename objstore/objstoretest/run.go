// Package objstoretest is the contract of [objstore.Bucket] as tests, which
// every store passes ([Run]), and a store that fails on demand for the tests
// of others ([Faulty]).
package objstoretest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wadi-log/wadi/objstore"
)

// Run tests the contract against buckets that open returns. Each must be empty
// and not be shared; Run closes it.
func Run(t *testing.T, open func(t testing.TB) objstore.Bucket) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, objstore.Bucket)
	}{
		{"GetReturnsTheRangeAsked", testRanges},
		{"EmptyObject", testEmptyObject},
		{"LargeObject", testLargeObject},
		{"GetOfNoObject", testNotFound},
		{"PutAgainWithTheSameBytes", testPutAgain},
		{"PutLeavesTheBodyToItsCaller", testBodyIsTheCallers},
		{"GetReturnsTheCallersOwnSlice", testSliceIsTheCallers},
		{"ListIsInKeyOrder", testListOrder},
		{"ListTakesAnyPrefix", testListPrefix},
		{"ListStopsWhenTheVisitorFails", testListStops},
		{"ListGoesBeyondOnePage", testListPages},
		{"ListDescribesObjects", testListDescribes},
		{"DeleteIsIdempotent", testDelete},
		{"DeleteLeavesNeighbours", testDeleteLeavesNeighbours},
		{"OddButLegalKeys", testOddKeys},
		{"IllegalKeysAndRangesAreRefused", testIllegal},
		{"CancelledContext", testCancelled},
		{"ConcurrentCalls", testConcurrency},
		{"PutsAndDeletesInOneFolder", testFolderRaces},
		{"ProbeFindsItUsable", testProbe},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := open(t)
			t.Cleanup(func() {
				if err := b.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			test.run(t, b)
		})
	}
}

// Bytes returns n bytes that don't compress and depend on seed.
func Bytes(n int, seed uint64) []byte {
	var key [32]byte
	copy(key[:], fmt.Sprint(seed))
	data := make([]byte, n)
	rand.NewChaCha8(key).Read(data) // never fails
	return data
}

func put(t *testing.T, b objstore.Bucket, key string, body []byte) {
	t.Helper()
	if err := b.Put(t.Context(), key, body); err != nil {
		t.Fatalf("Put(%q): %v", key, err)
	}
}

func wantBytes(t *testing.T, b objstore.Bucket, key string, offset, length int64, want []byte) {
	t.Helper()
	got, err := b.Get(t.Context(), key, offset, length)
	if err != nil {
		t.Fatalf("Get(%q, %d, %d): %v", key, offset, length, err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("Get(%q, %d, %d) = %d bytes, want %d; or they differ", key, offset, length, len(got), len(want))
	}
}

func wantGetError(t *testing.T, b objstore.Bucket, key string, offset, length int64, want error) {
	t.Helper()
	if got, err := b.Get(t.Context(), key, offset, length); !errors.Is(err, want) {
		t.Fatalf("Get(%q, %d, %d) = %d bytes, error %v; want error %v", key, offset, length, len(got), err, want)
	}
}

func list(t *testing.T, b objstore.Bucket, prefix string) []string {
	t.Helper()
	var keys []string
	err := b.List(t.Context(), prefix, func(o objstore.ObjectInfo) error {
		keys = append(keys, o.Key)
		return nil
	})
	if err != nil {
		t.Fatalf("List(%q): %v", prefix, err)
	}
	return keys
}

func wantList(t *testing.T, b objstore.Bucket, prefix string, want ...string) {
	t.Helper()
	if got := list(t, b, prefix); !slices.Equal(got, want) {
		t.Fatalf("List(%q) = %q, want %q", prefix, got, want)
	}
}

func testRanges(t *testing.T, b objstore.Bucket) {
	body := Bytes(1000, 1)
	put(t, b, "data/object", body)
	for _, r := range []struct{ offset, length, end int64 }{
		{0, -1, 1000}, {0, 1000, 1000}, {0, 1, 1}, {0, 0, 0},
		{10, 20, 30}, {10, 0, 10}, {999, 1, 1000}, {999, -1, 1000},
		{500, -1, 1000}, {500, 500, 1000}, {500, 501, 1000}, {0, 1 << 40, 1000}, {1, 1<<63 - 1, 1000},
	} {
		wantBytes(t, b, "data/object", r.offset, r.length, body[r.offset:r.end])
	}
	for _, r := range []struct{ offset, length int64 }{{1000, -1}, {1000, 1}, {1000, 0}, {1 << 40, 10}} {
		wantGetError(t, b, "data/object", r.offset, r.length, objstore.ErrRange)
	}
}

func testEmptyObject(t *testing.T, b objstore.Bucket) {
	put(t, b, "empty", nil)
	for _, length := range []int64{-1, 0, 10} {
		wantBytes(t, b, "empty", 0, length, nil)
		wantGetError(t, b, "empty", 1, length, objstore.ErrRange)
	}
	wantList(t, b, "", "empty")
}

func testLargeObject(t *testing.T, b objstore.Bucket) {
	body := Bytes(16<<20, 2)
	put(t, b, "large", body)
	wantBytes(t, b, "large", 0, -1, body)
	wantBytes(t, b, "large", 9<<20, 5<<20, body[9<<20:14<<20])
	wantBytes(t, b, "large", 16<<20-5, -1, body[16<<20-5:])
}

func testNotFound(t *testing.T, b objstore.Bucket) {
	wantGetError(t, b, "no/such/object", 0, -1, objstore.ErrNotFound)
	put(t, b, "folder/object", []byte("x"))
	for _, key := range []string{"folder", "folder/objec", "folder/object2", "folder/object/below"} {
		wantGetError(t, b, key, 0, 1, objstore.ErrNotFound)
	}
}

func testPutAgain(t *testing.T, b objstore.Bucket) {
	body := Bytes(100_000, 3)
	for range 3 {
		put(t, b, "data/again", body)
		wantBytes(t, b, "data/again", 0, -1, body)
	}
	wantList(t, b, "", "data/again")
}

func testBodyIsTheCallers(t *testing.T, b objstore.Bucket) {
	body := Bytes(1<<20, 4)
	want := slices.Clone(body)
	put(t, b, "data/body", body)
	if !bytes.Equal(body, want) {
		t.Fatal("Put changed its argument")
	}
	clear(body)
	wantBytes(t, b, "data/body", 0, -1, want)
}

func testSliceIsTheCallers(t *testing.T, b objstore.Bucket) {
	want := Bytes(1000, 5)
	put(t, b, "data/slice", want)
	got, err := b.Get(t.Context(), "data/slice", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	clear(got)
	wantBytes(t, b, "data/slice", 0, -1, want)
}
