package fetch

import (
	"math"

	"github.com/google/uuid"
	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// kind says what a cache entry holds of a file.
type kind uint8

const (
	wholeFile    kind = iota // at is 0
	fileBlock                // at is the block's number
	decodedFrame             // at is the frame's position in the file
)

type cacheKey struct {
	file uuid.UUID
	kind kind
	at   int64
}

// cache holds bytes up to a limit and forgets what was used longest ago: in a
// log that is what is needed least. (An admission policy by frequency, as in
// TinyLFU, refuses what was just written in favour of what was read often
// yesterday.)
//
// It has two parts. What tailing consumers read is hot, what a backfill reads
// is cold. Cold entries take what room is left, but never more of it from the
// hot ones than coldShare. Not safe for concurrent use.
type cache struct {
	limit     int64
	hot, cold part
}

// coldShare is the part of the cache that cold entries may hold against hot ones: a quarter.
const coldShare = 4

// part is one list in order of use.
type part struct {
	entries *simplelru.LRU[cacheKey, []byte]
	bytes   int64
}

func newCache(limit int64) *cache {
	c := &cache{limit: limit}
	c.hot.init()
	c.cold.init()
	return c
}

func (p *part) init() {
	// The count is unlimited, for evict counts bytes; the error is for counts below one.
	p.entries, _ = simplelru.NewLRU(math.MaxInt, func(_ cacheKey, b []byte) { p.bytes -= int64(cap(b)) })
}

func (c *cache) get(key cacheKey) ([]byte, bool) {
	if b, ok := c.hot.entries.Get(key); ok {
		return b, true
	}
	return c.cold.entries.Get(key)
}

// add enters the bytes, which nobody changes from now on.
func (c *cache) add(key cacheKey, b []byte, pool Pool) {
	if int64(cap(b)) > c.limit/2 {
		return
	}
	c.hot.entries.Remove(key)
	c.cold.entries.Remove(key)
	p := &c.hot
	if pool.cold() {
		p = &c.cold
	}
	p.entries.Add(key, b)
	p.bytes += int64(cap(b))
	for c.bytes() > c.limit {
		if c.hot.entries.Len() == 0 || c.cold.bytes > c.limit/coldShare {
			c.cold.entries.RemoveOldest()
		} else {
			c.hot.entries.RemoveOldest()
		}
	}
}

func (c *cache) bytes() int64 { return c.hot.bytes + c.cold.bytes }

// drop removes everything of a file.
func (c *cache) drop(file uuid.UUID) {
	for _, p := range []*part{&c.hot, &c.cold} {
		for _, key := range p.entries.Keys() {
			if key.file == file {
				p.entries.Remove(key)
			}
		}
	}
}
