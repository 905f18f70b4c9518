package objstoretest

import (
	"errors"
	"github.com/wadi-log/wadi/objstore"
	"slices"
	"strings"
	"testing"
)

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

func testProbe(t *testing.T, b objstore.Bucket) {
	if err := objstore.Probe(t.Context(), b); err != nil {
		t.Errorf("Probe: %v", err)
	}
	wantList(t, b, "")
}
