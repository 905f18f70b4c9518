package fetch

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/semaphore"

	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
)

// Source is another agent that can be asked for parts of data files.
type Source interface {
	// Read returns length bytes of the file from a position, fewer only where the file ends. The
	// slice is the caller's own. hot says that a tailing consumer waits. Errors: objstore.ErrRange as a
	// bucket's; any other means that the object store is to be asked, and comes soon enough for that.
	Read(ctx context.Context, file uuid.UUID, position, length int64, hot bool) ([]byte, error)
}

// Zone knows which agent of a zone reads what from the object store, for all of them.
type Zone interface {
	// Owner returns the agent for a part of a file (of BlocksConfig.PartBytes), nil for
	// this one, which asks the object store. It is called with locks held, and doesn't wait.
	Owner(file uuid.UUID, part int64) Source
}

// owner returns whom to ask for a block, nil for the object store. b.mu is held.
func (b *Blocks) owner(file uuid.UUID, block int64, pool Pool) Source {
	if b.direct(file, pool) {
		return nil
	}
	return b.zone.Owner(file, block*b.config.BlockBytes/b.config.PartBytes)
}

// direct: only the object store will do. A peer is never sent on to a third agent: two that
// take each other for the owner, while the zone changes, would wait for each other. b.mu is held.
func (b *Blocks) direct(file uuid.UUID, pool Pool) bool {
	return b.zone == nil || pool.forPeer() || b.doubted.has(file)
}

// ReadForPeer returns bytes of a file, in pieces, to an agent of the zone that asks this one for them, from
// the cache or the object store. Fewer only where the file ends. pool is PeerHot or PeerCold, length
// at least 1. Errors: objstore.ErrNotFound; objstore.ErrRange where the file ends before position.
func (b *Blocks) ReadForPeer(ctx context.Context, file uuid.UUID, position, length int64, pool Pool) ([][]byte, error) {
	pieces, err := b.load(file, position, length, pool).available(ctx)
	if errors.Is(err, errShortFile) {
		err = fmt.Errorf("%w: %w", objstore.ErrRange, err)
	}
	return pieces, err
}

// missingBlock is a block to be read.
type missingBlock struct {
	number int64
	flight *flight
}

// startReads reads the blocks (ascending), neighbours of one owner together. b.mu is held,
// so that Close waits for all of them.
func (b *Blocks) startReads(file uuid.UUID, blocks []missingBlock, pool Pool) {
	atOnce := max(1, int(b.config.RangeBytes/b.config.BlockBytes))
	for len(blocks) > 0 {
		n := 1
		for n < len(blocks) && n < atOnce && blocks[n].number == blocks[0].number+int64(n) && blocks[n].flight.owner == blocks[0].flight.owner {
			n++
		}
		together := blocks[:n:n]
		b.reads.Go(func() { b.read(file, together, pool) })
		blocks = blocks[n:]
	}
}

// read reads neighbouring blocks, and lands their flights.
func (b *Blocks) read(file uuid.UUID, blocks []missingBlock, pool Pool) {
	size, n := b.config.BlockBytes, int64(len(blocks))
	body, err := b.get(file, blocks[0].number*size, n*size, blocks[0].flight.owner, pool)
	if errors.Is(err, objstore.ErrRange) {
		err = fmt.Errorf("%w: %w", errShortFile, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, block := range blocks {
		f, key := block.flight, cacheKey{file, fileBlock, block.number}
		f.data, f.err = cutBlock(body, int64(i)*size, size, n > 1), err
		if b.flights[key] == f {
			delete(b.flights, key) // else one that had to be direct has taken its place
		}
		if err == nil && (f.owner == nil || !b.doubted.has(file)) {
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

// get reads from the owner or, without one or when it can't help, from the object store.
func (b *Blocks) get(file uuid.UUID, position, length int64, owner Source, pool Pool) ([]byte, error) {
	ctx, cancel := context.WithTimeout(b.base, b.config.ReadTimeout)
	defer cancel()
	blocks := float64(length / b.config.BlockBytes)
	if owner != nil {
		body, err := b.ask(ctx, owner, file, position, length, pool)
		switch {
		case err == nil:
			b.metrics.fromPeers.Add(blocks)
			return body, nil
		case errors.Is(err, objstore.ErrRange): // who needs the bytes will doubt that
			return nil, fmt.Errorf("read data file %v from byte %d: %w", file, position, err)
		}
		// The owner's trouble is counted by the source, and delays us only. That a file is gone is not believed either: it
		// may be the owner that looks in the wrong place, and consumers would be told that records are lost.
	}
	release, err := b.place(ctx, b.pools[pool], file, max(length, b.share(pool)))
	if err != nil {
		return nil, err
	}
	defer b.leave(release, pool, time.Now())
	body, err := b.bucket.Get(ctx, datafile.Key(file), position, length)
	b.metrics.read(pool, len(body))
	if err != nil {
		return nil, fmt.Errorf("read data file %v from byte %d: %w", file, position, err)
	}
	b.metrics.fromStore.Add(blocks)
	return body, nil
}

// ask reads from the owner. pool is Hot or Cold.
func (b *Blocks) ask(ctx context.Context, owner Source, file uuid.UUID, position, length int64, pool Pool) ([]byte, error) {
	release, err := b.place(ctx, b.asks[pool], file, length)
	if err != nil {
		return nil, err
	}
	defer release()
	return owner.Read(ctx, file, position, length, pool == Hot)
}

const (
	// coresOfColdRead is how many cores there are for each read of a backfill while there is somebody to make way for.
	coresOfColdRead = 2
	// pausePerRead is for how long nobody has the place of such a read after it, in times of that, while merges are behind.
	pausePerRead = 3
	// longRead bounds what counts of a read: beyond that it waited for a store that isn't at its limit for our sake.
	longRead = 100 * time.Millisecond
)

// MergesBehind says whether this agent's merges are far behind. While they are, and somebody produces or tails,
// pauses come between the reads of backfills. Otherwise, where both share cores or a store, merges may never catch up: the further
// they are behind, the more backfills read for each byte that they give out. What was said holds for a minute.
func (b *Blocks) MergesBehind(behind bool) {
	if behind {
		b.merges.make()
	} else {
		b.merges.unmake()
	}
}

// leave gives the place back of a read that began at the time: at once, or after a pause.
func (b *Blocks) leave(release func(), pool Pool, began time.Time) {
	if pool.cold() && b.way.made() && b.merges.made() {
		time.AfterFunc(pausePerRead*min(time.Since(began), longRead), release)
		return
	}
	release()
}

// share is what a read takes of its pool at least. While there is somebody to make way for, backfills have one or a few reads
// under way, however small: they read much more than they need from files that aren't merged yet, and would keep a store
// on this machine from those who produce and from merges, which are what makes backfills cheap.
func (b *Blocks) share(pool Pool) int64 {
	if !pool.cold() || !b.way.made() {
		return 0
	}
	bytes := b.config.ColdBytes
	if pool.forPeer() {
		bytes = b.config.PeerBytes
	}
	return bytes / int64(max(1, runtime.GOMAXPROCS(0)/coresOfColdRead))
}

// place waits for a place for a read of so many bytes.
func (b *Blocks) place(ctx context.Context, places *semaphore.Weighted, file uuid.UUID, bytes int64) (release func(), err error) {
	weight := min(bytes, b.config.HotBytes, b.config.ColdBytes, b.config.PeerBytes)
	if err := places.Acquire(ctx, weight); err != nil {
		return nil, fmt.Errorf("wait for a place to read data file %v: %w", file, err)
	}
	return func() { places.Release(weight) }, nil
}
