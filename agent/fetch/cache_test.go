package fetch

import (
	"testing"

	"github.com/google/uuid"
)

func blockKey(file uuid.UUID, at int64) cacheKey { return cacheKey{file, fileBlock, at} }

func TestCacheForgetsWhatWasUsedLongestAgo(t *testing.T) {
	c, f := newCache(100), uuid.New()
	for i := range int64(5) {
		c.add(blockKey(f, i), make([]byte, 20), Hot)
	}
	c.get(blockKey(f, 0))
	c.add(blockKey(f, 5), make([]byte, 20), Hot)
	if _, ok := c.get(blockKey(f, 0)); !ok {
		t.Error("what was just used is gone")
	}
	if _, ok := c.get(blockKey(f, 1)); ok {
		t.Error("what was used longest ago is still there")
	}
	if c.bytes() != 100 {
		t.Errorf("holds %d bytes, want 100", c.bytes())
	}
}

func TestCacheBackfillDoesNotDisplaceTheTail(t *testing.T) {
	c, tail, old := newCache(100), uuid.New(), uuid.New()
	for i := range int64(10) {
		c.add(blockKey(tail, i), make([]byte, 10), Hot)
	}
	for i := range int64(50) {
		c.add(blockKey(old, i), make([]byte, 10), Cold)
	}
	hot := 0
	for i := range int64(10) {
		if _, ok := c.get(blockKey(tail, i)); ok {
			hot++
		}
	}
	if hot < 7 || c.bytes() > 100 {
		t.Errorf("%d of 10 hot blocks are left, %d bytes; want 7 or more, at most 100", hot, c.bytes())
	}
	if _, ok := c.get(blockKey(old, 49)); !ok {
		t.Error("the newest cold block is gone")
	}
}

func TestCacheColdMayUseFreeRoom(t *testing.T) {
	c, f := newCache(100), uuid.New()
	for i := range int64(10) {
		c.add(blockKey(f, i), make([]byte, 10), Cold)
	}
	if c.bytes() != 100 {
		t.Errorf("holds %d bytes, want 100", c.bytes())
	}
}

func TestCacheCountsBytesThroughReplaceAndDrop(t *testing.T) {
	c, f, g := newCache(1000), uuid.New(), uuid.New()
	c.add(blockKey(f, 0), make([]byte, 100), Cold)
	c.add(blockKey(f, 0), make([]byte, 50), Hot)
	c.add(blockKey(g, 0), make([]byte, 30), Cold)
	c.add(cacheKey{f, wholeFile, 0}, make([]byte, 400), Hot)
	c.add(cacheKey{g, wholeFile, 0}, make([]byte, 501), Hot) // more than half: not kept
	if c.bytes() != 480 {
		t.Errorf("holds %d bytes, want 480", c.bytes())
	}
	c.drop(f)
	if c.bytes() != 30 {
		t.Errorf("holds %d bytes after the drop, want 30", c.bytes())
	}
}
