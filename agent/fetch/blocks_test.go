package fetch

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/objstore/memory"
	"github.com/wadi-log/wadi/objstore/objstoretest"
)

// smallBlocks is a config where few bytes make many blocks.
func smallBlocks(cacheBytes int64) BlocksConfig {
	c := DefaultBlocksConfig(cacheBytes)
	c.BlockBytes, c.RangeBytes, c.PartBytes, c.HotBytes, c.ColdBytes = 1000, 3000, 3000, 8000, 4000
	return c
}

type blocksFixture struct {
	*Blocks
	bucket *objstoretest.Faulty
	file   uuid.UUID
	body   []byte
}

func newBlocksFixture(t *testing.T, config BlocksConfig) *blocksFixture {
	f := &blocksFixture{bucket: objstoretest.NewFaulty(memory.Open()), file: newFileID(t), body: objstoretest.Bytes(10_500, 1)}
	if err := f.bucket.Put(t.Context(), datafile.Key(f.file), f.body); err != nil {
		t.Fatal(err)
	}
	f.Blocks = NewBlocks(f.bucket, nil, config, testMetrics())
	t.Cleanup(f.Close)
	return f
}

func newFileID(t testing.TB) uuid.UUID {
	id, err := uuid.NewV7()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func testMetrics() *Metrics { return NewMetrics(prometheus.NewRegistry()) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// bytesOf waits for a range and joins its pieces.
func (f *blocksFixture) bytesOf(ctx context.Context, position, length int64) ([]byte, error) {
	pieces, err := f.load(f.file, position, length, Hot).wait(ctx)
	return bytes.Join(pieces, nil), err
}

func TestBlocksReturnAnyRange(t *testing.T) {
	f := newBlocksFixture(t, smallBlocks(5000)) // half of the file: blocks come and go
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 500 {
		position := r.Int64N(10_500)
		length := 1 + r.Int64N(10_500-position)
		got, err := f.bytesOf(t.Context(), position, length)
		if err != nil || !bytes.Equal(got, f.body[position:position+length]) {
			t.Fatalf("range of %d from %d: wrong bytes, error %v", length, position, err)
		}
	}
	if got := f.cache.bytes(); got > 5000 {
		t.Errorf("cache holds %d bytes, limit 5000", got)
	}
}

func TestBlocksReadNeighboursTogether(t *testing.T) {
	for _, c := range []struct {
		name             string
		position, length int64
		gets             int
	}{
		{"one block", 1000, 1000, 1},
		{"two blocks", 1999, 2, 1},
		{"three blocks", 0, 3000, 1},
		{"more than a range", 0, 10_500, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newBlocksFixture(t, smallBlocks(20_000))
			for range 2 { // the second time all of it is in the cache
				if _, err := f.bytesOf(t.Context(), c.position, c.length); err != nil {
					t.Fatal(err)
				}
			}
			if got := f.bucket.Calls(objstoretest.Get); got != c.gets {
				t.Errorf("%d reads, want %d", got, c.gets)
			}
		})
	}
	t.Run("around what is there", func(t *testing.T) {
		f := newBlocksFixture(t, smallBlocks(20_000))
		if _, err := f.bytesOf(t.Context(), 1000, 1); err != nil {
			t.Fatal(err)
		}
		if got, err := f.bytesOf(t.Context(), 0, 4000); err != nil || !bytes.Equal(got, f.body[:4000]) {
			t.Fatalf("wrong bytes, error %v", err)
		}
		if got := f.bucket.Calls(objstoretest.Get); got != 3 {
			t.Errorf("%d reads, want 3: block 1, block 0, blocks 2 and 3", got)
		}
	})
}

func TestBlocksAreReadOnceForAllWhoWait(t *testing.T) {
	f := newBlocksFixture(t, smallBlocks(20_000))
	gate := make(chan struct{})
	f.bucket.Fail(objstoretest.Get, 1, objstoretest.Fault{Block: gate})
	var all sync.WaitGroup
	for range 10 {
		l := f.load(f.file, 500, 1000, Hot)
		all.Go(func() {
			if pieces, err := l.wait(t.Context()); err != nil || !bytes.Equal(bytes.Join(pieces, nil), f.body[500:1500]) {
				t.Errorf("wrong bytes, error %v", err)
			}
		})
	}
	close(gate)
	all.Wait()
	if got := f.bucket.Calls(objstoretest.Get); got != 1 {
		t.Errorf("%d reads, want 1", got)
	}
}

func TestBlocksReadGoesOnWithoutTheOneWhoAsked(t *testing.T) {
	f := newBlocksFixture(t, smallBlocks(20_000))
	gate := make(chan struct{})
	f.bucket.Fail(objstoretest.Get, 1, objstoretest.Fault{Block: gate})
	ctx, cancel := context.WithCancel(t.Context())
	first, second := f.load(f.file, 0, 10, Hot), f.load(f.file, 0, 10, Hot)
	cancel()
	if _, err := first.wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	close(gate)
	if _, err := second.wait(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestBlocksErrorsAreNotKept(t *testing.T) {
	f := newBlocksFixture(t, smallBlocks(20_000))
	broken := errors.New("broken")
	f.bucket.Fail(objstoretest.Get, 1, objstoretest.Fault{Err: broken})
	if _, err := f.bytesOf(t.Context(), 0, 10); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
	if _, err := f.bytesOf(t.Context(), 0, 10); err != nil {
		t.Error(err)
	}
}

func TestBlocksBeyondTheEndAreAShortFile(t *testing.T) {
	f := newBlocksFixture(t, smallBlocks(20_000))
	for _, position := range []int64{10_499, 10_500, 50_000} {
		if _, err := f.bytesOf(t.Context(), position, 2); !errors.Is(err, errShortFile) {
			t.Errorf("range from %d: error %v, want %v", position, err, errShortFile)
		}
	}
	if _, err := f.load(newFileID(t), 0, 1, Hot).wait(t.Context()); !errors.Is(err, objstore.ErrNotFound) {
		t.Errorf("missing file: error %v, want %v", err, objstore.ErrNotFound)
	}
}

func TestFilledFilesAreNotRead(t *testing.T) {
	f := newBlocksFixture(t, smallBlocks(50_000))
	f.Fill(f.file, f.body)
	if got, err := f.bytesOf(t.Context(), 100, 9000); err != nil || !bytes.Equal(got, f.body[100:9100]) {
		t.Fatalf("wrong bytes, error %v", err)
	}
	if got := f.bucket.Calls(objstoretest.Get); got != 0 {
		t.Errorf("%d reads, want none", got)
	}
	f.Drop(f.file)
	if _, err := f.bytesOf(t.Context(), 100, 10); err != nil {
		t.Fatal(err)
	}
	if got := f.bucket.Calls(objstoretest.Get); got != 1 {
		t.Errorf("%d reads after the drop, want 1", got)
	}
}

func TestBackfillDoesNotHoldUpTheTail(t *testing.T) {
	f := newBlocksFixture(t, smallBlocks(20_000))
	gate := make(chan struct{})
	defer close(gate)
	old := newFileID(t)
	f.bucket.Inject(func(_ objstoretest.Op, key string) objstoretest.Fault {
		if key == datafile.Key(old) {
			return objstoretest.Fault{Block: gate}
		}
		return objstoretest.Fault{}
	})
	for i := range int64(100) {
		f.load(old, i*1000, 1, Cold)
	}
	if _, err := f.bytesOf(t.Context(), 0, 3000); err != nil {
		t.Error(err)
	}
}

func TestPrefetchIsBounded(t *testing.T) {
	f := newBlocksFixture(t, smallBlocks(20_000))
	gate := make(chan struct{})
	f.bucket.Inject(func(objstoretest.Op, string) objstoretest.Fault { return objstoretest.Fault{Block: gate} })
	started := 0
	for i := range int64(10) {
		if f.prefetch(f.file, i*1000, 1) {
			started++
		}
	}
	if started != int(f.config.Prefetches) {
		t.Errorf("%d started, want %d", started, f.config.Prefetches)
	}
	close(gate)
	if got, err := f.bytesOf(t.Context(), 0, 4000); err != nil || !bytes.Equal(got, f.body[:4000]) {
		t.Fatalf("wrong bytes, error %v", err)
	}
}

func TestClosedBlocksReadNoMore(t *testing.T) {
	f := newBlocksFixture(t, smallBlocks(20_000))
	gate := make(chan struct{})
	f.bucket.Inject(func(objstoretest.Op, string) objstoretest.Fault { return objstoretest.Fault{Block: gate} })
	under := f.load(f.file, 0, 1, Hot)
	f.Close() // ends the read under way, which would wait for the gate
	if _, err := under.wait(t.Context()); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	if _, err := f.bytesOf(t.Context(), 5000, 1); !errors.Is(err, errBlocksClosed) {
		t.Errorf("error %v, want %v", err, errBlocksClosed)
	}
}
