package objstoretest

import (
	"errors"
	"fmt"
	"github.com/wadi-log/wadi/objstore"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

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
