package fetch

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/semaphore"

	"github.com/wadi-log/wadi/objstore"
)

// Pool separates reads near the end of the log from those far behind it, so
// that a backfill does not make tailing consumers wait.
type Pool uint8

const (
	// Hot reads what the tail names.
	Hot Pool = iota
	// Cold reads what the metadata store had to be asked for.
	Cold
	// PeerHot and PeerCold read the same for other agents of the zone. They have places of their own:
	// if two agents used up theirs for blocks of each other, neither could read any.
	PeerHot
	PeerCold

	pools = int(iota)
)

func (p Pool) String() string { return [pools]string{"hot", "cold", "peer_hot", "peer_cold"}[p] }

// cold: what was read is kept with what backfills read.
func (p Pool) cold() bool { return p == Cold || p == PeerCold }

// forPeer: another agent asks, which took this one for the owner.
func (p Pool) forPeer() bool { return p == PeerHot || p == PeerCold }

// BlocksConfig bounds the block cache. Sizes are in bytes.
type BlocksConfig struct {
	// CacheBytes is the size of the cache.
	CacheBytes int64
	// BlockBytes is the unit of reading and caching; files are cut at its multiples.
	BlockBytes int64
	// RangeBytes bounds one read of neighbouring blocks.
	RangeBytes int64
	// PartBytes is the part of a file that has one owner in a zone, so all agents must have the
	// same, and the same BlockBytes.
	PartBytes int64
	// HotBytes and ColdBytes bound what each pool reads at once, and again what is asked of other
	// agents for it; PeerBytes bounds each of those for peers.
	HotBytes, ColdBytes, PeerBytes int64
	// Prefetches bounds the reads ahead of catching-up consumers that run at once.
	Prefetches int64
	// ReadTimeout bounds one read, with its wait for a place in the pool.
	ReadTimeout time.Duration
}

// DefaultBlocksConfig returns the bounds for a cache of the size.
func DefaultBlocksConfig(cacheBytes int64) BlocksConfig {
	return BlocksConfig{
		CacheBytes:  cacheBytes,
		BlockBytes:  4 << 20,
		RangeBytes:  16 << 20,
		PartBytes:   16 << 20,
		HotBytes:    64 << 20,
		ColdBytes:   64 << 20,
		PeerBytes:   64 << 20,
		Prefetches:  4,
		ReadTimeout: time.Minute,
	}
}

// stepAhead is how much is read ahead of a consumer at a time: a whole range, if some consumers
// can do so without driving each other's blocks out of the cache.
func (c BlocksConfig) stepAhead() int64 {
	return max(c.BlockBytes, min(c.RangeBytes, c.CacheBytes/coldShare/4)/c.BlockBytes*c.BlockBytes)
}

// errShortFile: the object ends before the bytes that the index names.
var errShortFile = errors.New("data file is shorter than the index says")

var errBlocksClosed = errors.New("block cache is closed")

// Blocks reads data files by aligned blocks, each at most once at a time, and
// keeps what was read or just written. Bytes that it gave out are never
// changed, and stay valid after they left the cache.
type Blocks struct {
	bucket  objstore.Bucket
	zone    Zone
	config  BlocksConfig
	metrics *Metrics

	// base is the parent of all reads: a read serves whoever asks for the
	// block, so no single request's end stops it. Close does.
	base  context.Context
	stop  context.CancelFunc
	reads sync.WaitGroup
	pools [pools]*semaphore.Weighted
	// asks bounds what is asked of other agents at once, for Hot and for Cold. It has none of the places of
	// pools: another agent may wait for a read that waits for one of these, and two would wait for each other.
	asks    [Cold + 1]*semaphore.Weighted
	forward *semaphore.Weighted
	way     *way
	merges  *way

	mu      sync.Mutex
	closed  bool
	cache   *cache
	flights map[cacheKey]*flight
	doubted doubts
}

// flight is a block on its way.
type flight struct {
	done chan struct{} // closed when data and err are set
	data []byte
	err  error
	// owner is the agent that is asked for it, nil for the object store.
	owner Source
}

// NewBlocks makes a cache over the bucket. What has an owner in the zone, which may be nil, is asked
// of that one. Close ends its reads.
func NewBlocks(bucket objstore.Bucket, zone Zone, config BlocksConfig, metrics *Metrics) *Blocks {
	base, stop := context.WithCancel(context.Background())
	b := &Blocks{
		bucket: bucket, zone: zone, config: config, metrics: metrics, base: base, stop: stop,
		forward: semaphore.NewWeighted(config.Prefetches),
		way:     newWay(wayFor),
		merges:  newWay(mergesFor),
		cache:   newCache(config.CacheBytes),
		flights: map[cacheKey]*flight{},
		doubted: newDoubts(),
	}
	for pool, places := range [pools]int64{Hot: config.HotBytes, Cold: config.ColdBytes, PeerHot: config.PeerBytes, PeerCold: config.PeerBytes} {
		b.pools[pool] = semaphore.NewWeighted(places)
	}
	b.asks = [...]*semaphore.Weighted{Hot: semaphore.NewWeighted(config.HotBytes), Cold: semaphore.NewWeighted(config.ColdBytes)}
	return b
}

// Close ends the reads under way and waits for them.
func (b *Blocks) Close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.stop()
	b.reads.Wait()
}

// Fill enters a file that was just written. The cache keeps body, which
// nobody may change any more.
func (b *Blocks) Fill(file uuid.UUID, body []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(cacheKey{file: file, kind: wholeFile}, body, Hot)
}

// Drop forgets a file's bytes, when they turned out to be damaged.
func (b *Blocks) Drop(file uuid.UUID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop(file)
}

// drop is Drop with b.mu held.
func (b *Blocks) drop(file uuid.UUID) {
	b.cache.drop(file)
	b.metrics.cached.Set(float64(b.cache.bytes()))
}

// add enters an entry; b.mu is held.
func (b *Blocks) add(key cacheKey, body []byte, pool Pool) {
	b.cache.add(key, body, pool)
	b.metrics.cached.Set(float64(b.cache.bytes()))
}

// load starts to read what the cache lacks of [position, position+length) and
// returns at once. length is at least 1.
func (b *Blocks) load(file uuid.UUID, position, length int64, pool Pool) *load {
	size := b.config.BlockBytes
	l := &load{position: position, length: length, blockBytes: size, first: position / size}
	last := (position + length - 1) / size

	b.mu.Lock()
	l.mark = b.doubted.count
	if whole, ok := b.cache.get(cacheKey{file: file, kind: wholeFile}); ok {
		b.mu.Unlock()
		b.metrics.hits.Inc()
		l.whole = whole
		return l
	}
	hits := 0
	var missing []missingBlock
	l.blocks = make([]*flight, 0, last-l.first+1)
	for i := l.first; i <= last; i++ {
		key := cacheKey{file, fileBlock, i}
		f := b.flight(key, pool)
		if f == nil {
			if data, ok := b.cache.get(key); ok {
				f = landed(data)
				hits++
			} else {
				f = &flight{done: make(chan struct{})}
				if b.closed {
					f.err = errBlocksClosed
					close(f.done)
				} else {
					f.owner = b.owner(file, i, pool)
					b.flights[key] = f
					missing = append(missing, missingBlock{i, f})
				}
			}
		}
		l.blocks = append(l.blocks, f)
	}
	l.missing = int64(len(missing)) * size
	b.startReads(file, missing, pool)
	b.mu.Unlock()
	b.metrics.hits.Add(float64(hits))
	b.metrics.misses.Add(float64(len(missing)))
	return l
}

// flight returns the read under way of a block, if that will do for the pool. b.mu is held.
func (b *Blocks) flight(key cacheKey, pool Pool) *flight {
	f := b.flights[key]
	if f != nil && f.owner != nil && b.direct(key.file, pool) {
		return nil
	}
	return f
}

// prefetch reads a range into the cache in the background, unless enough of
// that is going on. It reports whether it did, or there was nothing to read.
func (b *Blocks) prefetch(file uuid.UUID, position, length int64) bool {
	if !b.forward.TryAcquire(1) {
		return false
	}
	l := b.load(file, position, length, Cold)
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.missing == 0 || b.closed {
		b.forward.Release(1)
		return true
	}
	b.reads.Go(func() {
		defer b.forward.Release(1)
		// Its errors are those of whoever needs the blocks.
		_, _ = l.wait(b.base)
	})
	return true
}

// frame returns a decoded frame of a file, if a reader left it here.
func (b *Blocks) frame(file uuid.UUID, position int64) ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cache.get(cacheKey{file, decodedFrame, position})
}

// keepFrame keeps a decoded frame, which nobody may change any more, for the
// reader's next request.
func (b *Blocks) keepFrame(file uuid.UUID, position int64, decoded []byte, pool Pool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(cacheKey{file, decodedFrame, position}, decoded, pool)
}
