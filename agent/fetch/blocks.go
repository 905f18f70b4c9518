package fetch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/semaphore"

	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
)

// Pool separates reads near the end of the log from those far behind it, so
// that a backfill does not make tailing consumers wait.
type Pool uint8

const (
	// Hot reads what the tail names.
	Hot Pool = iota
	// Cold reads what the metadata store had to be asked for.
	Cold
)

func (p Pool) String() string {
	if p == Cold {
		return "cold"
	}
	return "hot"
}

// BlocksConfig bounds the block cache. Sizes are in bytes.
type BlocksConfig struct {
	// CacheBytes is the size of the cache.
	CacheBytes int64
	// BlockBytes is the unit of reading and caching; files are cut at its multiples.
	BlockBytes int64
	// RangeBytes bounds one read of neighbouring blocks.
	RangeBytes int64
	// HotBytes and ColdBytes bound what each pool reads at once.
	HotBytes, ColdBytes int64
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
		HotBytes:    64 << 20,
		ColdBytes:   64 << 20,
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
	config  BlocksConfig
	metrics *Metrics

	// base is the parent of all reads: a read serves whoever asks for the
	// block, so no single request's end stops it. Close does.
	base    context.Context
	stop    context.CancelFunc
	reads   sync.WaitGroup
	pools   [2]*semaphore.Weighted
	forward *semaphore.Weighted

	mu      sync.Mutex
	closed  bool
	cache   *cache
	flights map[cacheKey]*flight
}

// flight is a block on its way.
type flight struct {
	done chan struct{} // closed when data and err are set
	data []byte
	err  error
}

// NewBlocks makes a cache over the bucket. Close ends its reads.
func NewBlocks(bucket objstore.Bucket, config BlocksConfig, metrics *Metrics) *Blocks {
	base, stop := context.WithCancel(context.Background())
	return &Blocks{
		bucket: bucket, config: config, metrics: metrics, base: base, stop: stop,
		pools: [2]*semaphore.Weighted{
			Hot: semaphore.NewWeighted(config.HotBytes), Cold: semaphore.NewWeighted(config.ColdBytes)},
		forward: semaphore.NewWeighted(config.Prefetches),
		cache:   newCache(config.CacheBytes),
		flights: map[cacheKey]*flight{},
	}
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
	if whole, ok := b.cache.get(cacheKey{file: file, kind: wholeFile}); ok {
		b.mu.Unlock()
		b.metrics.hits.Inc()
		l.whole = whole
		return l
	}
	var hits int
	var missing []int64
	l.blocks = make([]*flight, 0, last-l.first+1)
	for i := l.first; i <= last; i++ {
		key := cacheKey{file, fileBlock, i}
		f := b.flights[key]
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
					b.flights[key] = f
					missing = append(missing, i)
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

// startReads reads the blocks (ascending), neighbours together. b.mu is held,
// so that Close waits for all of them.
func (b *Blocks) startReads(file uuid.UUID, blocks []int64, pool Pool) {
	atOnce := max(1, int(b.config.RangeBytes/b.config.BlockBytes))
	for len(blocks) > 0 {
		n := 1
		for n < len(blocks) && n < atOnce && blocks[n] == blocks[0]+int64(n) {
			n++
		}
		first := blocks[0]
		b.reads.Go(func() { b.read(file, first, n, pool) })
		blocks = blocks[n:]
	}
}

// read reads n blocks from the first on, and lands their flights.
func (b *Blocks) read(file uuid.UUID, first int64, n int, pool Pool) {
	size := b.config.BlockBytes
	body, err := b.get(file, first*size, int64(n)*size, pool)
	if errors.Is(err, objstore.ErrRange) {
		err = fmt.Errorf("%w: %w", errShortFile, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range n {
		key := cacheKey{file, fileBlock, first + int64(i)}
		f := b.flights[key]
		delete(b.flights, key)
		f.data, f.err = cutBlock(body, int64(i)*size, size, n > 1), err
		if err == nil {
			b.add(key, f.data, pool)
		}
		close(f.done)
	}
}

// cutBlock returns a block of what was read. Blocks read together get copies,
// because a slice of the whole would keep all of it in memory while the cache counts
// a part.
func cutBlock(body []byte, from, size int64, shared bool) []byte {
	from = min(from, int64(len(body)))
	block := body[from:min(from+size, int64(len(body)))]
	if shared {
		return append(make([]byte, 0, len(block)), block...)
	}
	return block[:len(block):len(block)]
}

func (b *Blocks) get(file uuid.UUID, position, length int64, pool Pool) ([]byte, error) {
	ctx, cancel := context.WithTimeout(b.base, b.config.ReadTimeout)
	defer cancel()
	weight := min(length, b.config.HotBytes, b.config.ColdBytes)
	if err := b.pools[pool].Acquire(ctx, weight); err != nil {
		return nil, fmt.Errorf("wait for a place to read data file %v: %w", file, err)
	}
	defer b.pools[pool].Release(weight)
	body, err := b.bucket.Get(ctx, datafile.Key(file), position, length)
	b.metrics.read(pool, len(body))
	if err != nil {
		return nil, fmt.Errorf("read data file %v from byte %d: %w", file, position, err)
	}
	return body, nil
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
