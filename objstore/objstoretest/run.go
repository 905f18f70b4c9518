// Package objstoretest is the contract of [objstore.Bucket] as tests, which
// every store passes ([Run]), and a store that fails on demand for the tests
// of others ([Faulty]).
package objstoretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

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

// sortedKeys hold what sorts otherwise once a slash takes part: "-", "." and
// space come before it, digits and letters after.
var sortedKeys = []string{
	"a", "b c/1", "b-c/1", "b-c/2", "b.c", "b/1", "b/1x/2", "b/2", "b/c/d/e", "b/c0", "b0", "bb/a", "c/é", "c/日本",
}

func putSorted(t *testing.T, b objstore.Bucket) {
	t.Helper()
	shuffled := slices.Clone(sortedKeys)
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	for _, key := range shuffled {
		put(t, b, key, []byte(key))
	}
}

func testListOrder(t *testing.T, b objstore.Bucket) {
	wantList(t, b, "")
	putSorted(t, b)
	wantList(t, b, "", sortedKeys...)
}

func testListPrefix(t *testing.T, b objstore.Bucket) {
	putSorted(t, b)
	for _, prefix := range []string{"b", "b/", "b/1", "b/1x", "b/1x/", "b/c", "b/c/d/", "b-", "b-c/", "c/", "c/é", "x", "b/x/", "a", "a/", "b/c/d/e/f/g", "é"} {
		var want []string
		for _, key := range sortedKeys {
			if strings.HasPrefix(key, prefix) {
				want = append(want, key)
			}
		}
		wantList(t, b, prefix, want...)
	}
}

func testListStops(t *testing.T, b objstore.Bucket) {
	putSorted(t, b)
	stop := errors.New("enough")
	var visited []string
	err := b.List(t.Context(), "b", func(o objstore.ObjectInfo) error {
		if visited = append(visited, o.Key); len(visited) == 4 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || !slices.Equal(visited, sortedKeys[1:5]) {
		t.Fatalf("List visited %q and returned %v, want %q and the visitor's error", visited, err, sortedKeys[1:5])
	}
}

// manyKeys is more than S3 lists and deletes in one request.
const manyKeys = 1050

func putMany(t *testing.T, b objstore.Bucket) []string {
	t.Helper()
	keys := make([]string, manyKeys)
	var wg sync.WaitGroup
	next := make(chan int)
	for range 16 {
		wg.Go(func() {
			for i := range next {
				if err := b.Put(t.Context(), keys[i], []byte{byte(i)}); err != nil {
					t.Errorf("Put(%q): %v", keys[i], err)
				}
			}
		})
	}
	for i := range keys {
		keys[i] = fmt.Sprintf("many/%02x/%04d", i%3, i)
		next <- i
	}
	close(next)
	wg.Wait()
	slices.Sort(keys)
	return keys
}

func testListPages(t *testing.T, b objstore.Bucket) {
	keys := putMany(t, b)
	wantList(t, b, "many/", keys...)
	if err := b.Delete(t.Context(), keys...); err != nil {
		t.Fatalf("Delete of %d keys: %v", len(keys), err)
	}
	wantList(t, b, "")
}

func testListDescribes(t *testing.T, b objstore.Bucket) {
	before := time.Now().Add(-time.Minute)
	put(t, b, "data/described", Bytes(12345, 6))
	err := b.List(t.Context(), "data/", func(o objstore.ObjectInfo) error {
		if o.Size != 12345 || o.Modified.Before(before) || o.Modified.After(time.Now().Add(time.Minute)) {
			t.Errorf("List describes the object as %+v, want 12345 bytes, modified now", o)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func testDelete(t *testing.T, b objstore.Bucket) {
	put(t, b, "a/b/c", []byte("1"))
	put(t, b, "a/d", []byte("2"))
	for range 2 {
		if err := b.Delete(t.Context(), "a/b/c", "a/never", "never/there", "a/d"); err != nil {
			t.Fatalf("Delete: %v", err)
		}
		wantGetError(t, b, "a/b/c", 0, -1, objstore.ErrNotFound)
		wantList(t, b, "")
	}
	if err := b.Delete(t.Context()); err != nil {
		t.Fatalf("Delete of nothing: %v", err)
	}
	put(t, b, "a/b/c", []byte("3")) // its folders come back
	wantBytes(t, b, "a/b/c", 0, -1, []byte("3"))
}

func testDeleteLeavesNeighbours(t *testing.T, b objstore.Bucket) {
	putSorted(t, b)
	if err := b.Delete(t.Context(), "b/1", "b/c/d/e", "b", "b/c", "b/1x"); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	var want []string
	for _, key := range sortedKeys {
		if key != "b/1" && key != "b/c/d/e" {
			want = append(want, key)
		}
	}
	wantList(t, b, "", want...)
}

func testOddKeys(t *testing.T, b objstore.Bucket) {
	keys := []string{
		"odd/ leading and trailing ", "odd/!$&'()*,;=:@~_", "odd/%2F%00", "odd/a+b?c#d", "odd/[x]{y}|^`", `odd/"<quoted>"&amp;`,
		"odd/a..b", "odd/trailing.", "odd/ß漢字😀", "odd/" + strings.Repeat("n", 255),
		strings.Repeat("0123456789/", objstore.MaxKeyBytes/11) + "end",
	}
	for i, key := range keys {
		if err := objstore.CheckKey(key); err != nil {
			t.Fatalf("CheckKey: %v", err)
		}
		put(t, b, key, []byte{byte(i)})
	}
	for i, key := range keys {
		wantBytes(t, b, key, 0, -1, []byte{byte(i)})
		wantList(t, b, key, key)
	}
	sorted := slices.Sorted(slices.Values(keys))
	wantList(t, b, "", sorted...)
	if err := b.Delete(t.Context(), keys...); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	wantList(t, b, "")
}

func testIllegal(t *testing.T, b objstore.Bucket) {
	for _, key := range []string{
		"", "/", "/absolute", "folder/", "a//b", ".", "..", "../up", "a/../b", "a/./b", ".hidden", "a/.hidden", `a\b`,
		"nul\x00", "tab\t", "line\n", "bad utf-8 \xff", strings.Repeat("n", 256), strings.Repeat("long/", objstore.MaxKeyBytes/5+1) + "x",
	} {
		if err := b.Put(t.Context(), key, []byte("x")); !errors.Is(err, objstore.ErrKey) {
			t.Errorf("Put(%q): %v, want %v", key, err, objstore.ErrKey)
		}
		if _, err := b.Get(t.Context(), key, 0, -1); !errors.Is(err, objstore.ErrKey) {
			t.Errorf("Get(%q): %v, want %v", key, err, objstore.ErrKey)
		}
		if err := b.Delete(t.Context(), "legal", key); !errors.Is(err, objstore.ErrKey) {
			t.Errorf("Delete(%q): %v, want %v", key, err, objstore.ErrKey)
		}
	}
	wantList(t, b, "")
	put(t, b, "object", []byte("x"))
	wantGetError(t, b, "object", -1, 1, objstore.ErrRange)
	wantGetError(t, b, "object", 0, -2, objstore.ErrRange)
}

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

func testProbe(t *testing.T, b objstore.Bucket) {
	if err := objstore.Probe(t.Context(), b); err != nil {
		t.Errorf("Probe: %v", err)
	}
	wantList(t, b, "")
}
