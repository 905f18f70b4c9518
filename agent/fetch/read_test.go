package fetch

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/objstore/objstoretest"
	"github.com/wadi-log/wadi/protocol"
)

// readFixture has files in a bucket, whose runs it gives offsets itself.
type readFixture struct {
	*reader
	bucket *objstoretest.Faulty
	next   map[metadata.PartitionID]int64
}

// read is the reader's, whose arena is never put back here: the parts stay. Plans that share nothing have all the room that was asked for.
func (f *readFixture) read(ctx context.Context, parts []asked, plans []plan, lim limits, replan func(int, int64) plan) []readPart {
	for i := range plans {
		if plans[i].room == 0 {
			plans[i].room = parts[i].maxBytes
		}
	}
	out, _ := f.reader.read(ctx, parts, plans, lim, replan)
	return out
}

func newReadFixture(t testing.TB, bucket *objstoretest.Faulty, config BlocksConfig) *readFixture {
	blocks := NewBlocks(bucket, nil, config, testMetrics())
	t.Cleanup(blocks.Close)
	return &readFixture{reader: newReader(blocks, blocks.metrics, quiet()), bucket: bucket, next: map[metadata.PartitionID]int64{}}
}

// write stores one file with the batches of some partitions and returns their runs.
func (f *readFixture) write(t testing.TB, c datafile.Compression, batches map[metadata.PartitionID][]protocol.Batch) map[metadata.PartitionID]metadata.Run {
	t.Helper()
	var inputs []datafile.Input
	for p, list := range batches {
		in := datafile.Input{TopicID: uuid.Max, Partition: int32(p)}
		for _, b := range list {
			in.Batches = append(in.Batches, datafile.Batch{Bytes: b, Compressed: b.Codec() != protocol.CodecNone,
				Records: b.LastOffsetDelta() + 1, MaxTimestamp: b.MaxTimestamp(), ProducerID: -1})
		}
		inputs = append(inputs, in)
	}
	file, err := datafile.Encode(newFileID(t), c, inputs)
	if err == nil {
		err = f.bucket.Put(t.Context(), datafile.Key(file.ID), file.Bytes)
	}
	if err != nil {
		t.Fatal(err)
	}
	runs := map[metadata.PartitionID]metadata.Run{}
	for _, s := range file.Sections {
		p := metadata.PartitionID(s.Partition)
		runs[p] = metadata.Run{Partition: p, BaseOffset: f.next[p], Records: s.Records, FileID: file.ID,
			Encoding: metadata.Encoding(s.Encoding), Position: s.Position, StoredSize: s.StoredSize, Size: s.Size, MaxTimestamp: s.MaxTimestamp}
		f.next[p] += int64(s.Records)
	}
	return runs
}

// planned is a plan of the runs.
func planned(runs ...metadata.Run) plan {
	p := plan{runs: runs}
	for _, r := range runs {
		p.until = r.NextOffset()
		p.bytes += int64(r.Size)
	}
	return p
}

// noReplan fails the test when it is asked for.
func noReplan(t *testing.T) func(int, int64) plan {
	return func(i int, _ int64) plan {
		t.Errorf("partition %d was planned anew", i)
		return plan{err: errOffsetOutOfRange}
	}
}

// one reads one partition without other limits than room.
func (f *readFixture) one(t *testing.T, offset, room int64, runs ...metadata.Run) ([]byte, error) {
	t.Helper()
	got := f.read(t.Context(), []asked{{1, offset, room}}, []plan{planned(runs...)}, limits{maxBytes: 1 << 30}, noReplan(t))
	return got[0].batches, got[0].err
}

// variants are ways for batches to lie in a file, and blocks to read them by.
var variants = []struct {
	name       string
	file       datafile.Compression
	batch      protocol.Codec
	blockBytes int64
}{
	{"raw", datafile.None, protocol.CodecNone, 4 << 20},
	{"raw, many blocks", datafile.None, protocol.CodecNone, 777},
	{"s2 frames", datafile.S2, protocol.CodecNone, 4 << 20},
	{"s2 frames, many blocks", datafile.S2, protocol.CodecNone, 777},
	{"zstd frames, many blocks", datafile.Zstd, protocol.CodecNone, 100},
	{"lz4 batches, blocks smaller than a header", datafile.Auto, protocol.CodecLZ4, 33},
}

func TestReadFromAnyOffset(t *testing.T) {
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			config := DefaultBlocksConfig(1 << 20)
			config.BlockBytes = v.blockBytes
			f := newReadFixture(t, memoryBucket(), config)
			var runs []metadata.Run
			var starts []int64 // of batches
			at := int64(0)
			for file := range 3 {
				var list []protocol.Batch
				for i := range 4 {
					list = append(list, makeBatch(t, v.batch, recs(i+1, 300, int64(1000*file))...))
					starts = append(starts, at)
					at += int64(i + 1)
				}
				runs = append(runs, f.write(t, v.file, map[metadata.PartitionID][]protocol.Batch{1: list, 2: list})[1])
			}
			for k, start := range starts {
				end := at
				if k+1 < len(starts) {
					end = starts[k+1]
				}
				for offset := start; offset < end; offset++ {
					from := runs[k/4:]
					got, err := f.one(t, offset, 1<<20, from...)
					if err != nil {
						t.Fatalf("offset %d: %v", offset, err)
					}
					if first, next := offsetsOf(t, got); first != start || next != at {
						t.Fatalf("offset %d: got %d to %d, want the batch that contains it (%d) up to %d", offset, first, next, start, at)
					}
				}
			}
		})
	}
}

func TestReadLimits(t *testing.T) {
	f := newReadFixture(t, memoryBucket(), DefaultBlocksConfig(1<<20))
	batch := makeBatch(t, protocol.CodecNone, recs(10, 100, 0)...)
	size := int64(batch.Size())
	batches := []protocol.Batch{batch, batch, batch}
	runs := f.write(t, datafile.None, map[metadata.PartitionID][]protocol.Batch{1: batches, 2: batches, 3: batches})
	for _, c := range []struct {
		name     string
		maxBytes int64
		rooms    [3]int64
		want     [3]int // batches
	}{
		{"all", 1 << 20, [3]int64{1 << 20, 1 << 20, 1 << 20}, [3]int{3, 3, 3}},
		{"whole batches only", 1 << 20, [3]int64{2*size - 1, 2 * size, 2*size + 1}, [3]int{1, 2, 2}},
		{"total in the order asked", 4*size + 1, [3]int64{2 * size, 1 << 20, 1 << 20}, [3]int{2, 2, 0}},
		{"one batch above the total limit", 1, [3]int64{1 << 20, 1 << 20, 1 << 20}, [3]int{1, 0, 0}},
		{"one batch above its own limit", 1 << 20, [3]int64{1, 1, 1 << 20}, [3]int{1, 0, 3}},
		{"one batch with no room at all", 0, [3]int64{0, 0, 0}, [3]int{1, 0, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			parts, plans := make([]asked, 3), make([]plan, 3)
			for i := range 3 {
				p := metadata.PartitionID(i + 1)
				parts[i], plans[i] = asked{p, 0, c.rooms[i]}, planned(runs[p])
			}
			got := f.read(t.Context(), parts, plans, limits{maxBytes: c.maxBytes}, noReplan(t))
			for i := range got {
				if got[i].err != nil || len(got[i].batches) != c.want[i]*int(size) {
					t.Errorf("partition %d: %d bytes, error %v; want %d batches of %d", i+1, len(got[i].batches), got[i].err, c.want[i], size)
				}
				offsetsOf(t, got[i].batches)
			}
		})
	}
}

func TestReadInSmallStepsSeesEverything(t *testing.T) {
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			config := DefaultBlocksConfig(1 << 20)
			config.BlockBytes = v.blockBytes
			f := newReadFixture(t, memoryBucket(), config)
			var want, got []byte
			var list []protocol.Batch
			for i := range 30 {
				list = append(list, makeBatch(t, v.batch, recs(1+i%3, 50*i, 0)...))
			}
			run := f.write(t, v.file, map[metadata.PartitionID][]protocol.Batch{1: list})[1]
			want, err := f.one(t, 0, 1<<30, run)
			if err != nil {
				t.Fatal(err)
			}
			for offset := int64(0); offset < run.NextOffset(); {
				part, err := f.one(t, offset, 1000, run)
				if err != nil {
					t.Fatal(err)
				}
				first, next := offsetsOf(t, part)
				if first != offset {
					t.Fatalf("asked for %d, got %d", offset, first)
				}
				got, offset = append(got, part...), next
			}
			if !bytes.Equal(got, want) {
				t.Error("the steps are not the whole")
			}
		})
	}
}

func TestReadBatchAboveAFrame(t *testing.T) {
	f := newReadFixture(t, memoryBucket(), DefaultBlocksConfig(64<<20))
	large := makeBatch(t, protocol.CodecNone, recs(3, 1<<20, 0)...)
	small := makeBatch(t, protocol.CodecNone, recs(2, 10, 0)...)
	run := f.write(t, datafile.S2, map[metadata.PartitionID][]protocol.Batch{1: {small, large, small}})[1]
	for _, offset := range []int64{0, 1, 2, 4, 5, 6} {
		got, err := f.one(t, offset, 16<<20, run)
		if err != nil {
			t.Fatal(err)
		}
		if first, next := offsetsOf(t, got); first > offset || next != 7 {
			t.Errorf("offset %d: got %d to %d", offset, first, next)
		}
	}
}

// A run may begin and end within the section, where the sequencer refused
// batches around it.
func TestReadPartOfASection(t *testing.T) {
	for _, c := range []datafile.Compression{datafile.None, datafile.S2} {
		t.Run(string(c), func(t *testing.T) {
			f := newReadFixture(t, memoryBucket(), DefaultBlocksConfig(1<<20))
			batch := makeBatch(t, protocol.CodecNone, recs(10, 1000, 0)...)
			run := f.write(t, c, map[metadata.PartitionID][]protocol.Batch{1: {batch, batch, batch}})[1]
			size := int32(batch.Size())
			run.Records, run.Size = 10, size
			if run.Encoding == metadata.EncodingFramed {
				run.Skip = size
			} else {
				run.Position, run.StoredSize = run.Position+int64(size), size
			}
			run.BaseOffset = 500
			got, err := f.one(t, 505, 1<<20, run)
			if err != nil || len(got) != int(size) {
				t.Fatalf("%d bytes, error %v; want %d", len(got), err, size)
			}
			if first, next := offsetsOf(t, got); first != 500 || next != 510 {
				t.Errorf("got %d to %d, want 500 to 510", first, next)
			}
		})
	}
}

func TestReadPlansAnewWhenAFileIsGone(t *testing.T) {
	f := newReadFixture(t, memoryBucket(), DefaultBlocksConfig(1<<20))
	batch := makeBatch(t, protocol.CodecNone, recs(10, 300, 0)...)
	merged := f.write(t, datafile.None, map[metadata.PartitionID][]protocol.Batch{1: {batch, batch}})[1]
	gone := merged
	gone.FileID = newFileID(t)
	other := f.write(t, datafile.None, map[metadata.PartitionID][]protocol.Batch{2: {batch}})[2]
	for _, c := range []struct {
		name string
		anew plan
		want int
		err  error
	}{
		{"moved", planned(merged), 2, nil},
		{"really gone", planned(gone), 0, objstore.ErrNotFound},
		{"behind the log start by now", plan{err: errOffsetOutOfRange}, 0, errOffsetOutOfRange},
	} {
		t.Run(c.name, func(t *testing.T) {
			calls := 0
			got := f.read(t.Context(), []asked{{1, 0, 1 << 20}, {2, 0, 1 << 20}}, []plan{planned(gone), planned(other)},
				limits{maxBytes: 1 << 20}, func(int, int64) plan { calls++; return c.anew })
			if len(got[0].batches) != c.want*batch.Size() || !errors.Is(got[0].err, c.err) || calls != 1 {
				t.Errorf("%d bytes, error %v, %d plans; want %d batches, error %v, one plan", len(got[0].batches), got[0].err, calls, c.want, c.err)
			}
			if len(got[1].batches) != batch.Size() || got[1].err != nil {
				t.Errorf("other partition: %d bytes, error %v", len(got[1].batches), got[1].err)
			}
		})
	}
}

func TestNobodyHasTheTurnWhileAPlanIsMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newReadFixture(t, memoryBucket(), DefaultBlocksConfig(1<<20))
		batch := makeBatch(t, protocol.CodecNone, recs(10, 300, 0)...)
		first := f.write(t, datafile.None, map[metadata.PartitionID][]protocol.Batch{1: {batch}})[1]
		merged := f.write(t, datafile.None, map[metadata.PartitionID][]protocol.Batch{2: {batch}})[2]
		gone := merged
		gone.FileID = newFileID(t)
		// That the file is gone is known before the reader comes there, so it doesn't wait for it.
		gate := make(chan struct{})
		f.bucket.Inject(func(_ objstoretest.Op, key string) objstoretest.Fault {
			if key == datafile.Key(first.FileID) {
				return objstoretest.Fault{Block: gate}
			}
			return objstoretest.Fault{}
		})
		go func() {
			synctest.Wait()
			close(gate)
		}()
		turns := oneTurn()
		got := f.read(t.Context(), []asked{{1, 0, 1 << 20}, {2, 0, 1 << 20}}, []plan{planned(first), planned(gone)},
			limits{maxBytes: 1 << 20, turn: &turn{turns: turns}}, func(int, int64) plan {
				if !turns.places.TryAcquire(1) {
					t.Error("the reader keeps the turn while it asks for a plan")
					return planned(merged)
				}
				turns.places.Release(1)
				return planned(merged)
			})
		for i := range got {
			if got[i].err != nil || len(got[i].batches) != batch.Size() {
				t.Errorf("partition %d: %d bytes, error %v", i, len(got[i].batches), got[i].err)
			}
		}
		if !turns.places.TryAcquire(1) {
			t.Error("the turn was not given back")
		}
	})
}

func TestReadStoreThatFailsIsItsPartitionsOwn(t *testing.T) {
	f := newReadFixture(t, memoryBucket(), DefaultBlocksConfig(1<<20))
	batch := makeBatch(t, protocol.CodecNone, recs(10, 300, 0)...)
	a := f.write(t, datafile.None, map[metadata.PartitionID][]protocol.Batch{1: {batch}})[1]
	b := f.write(t, datafile.None, map[metadata.PartitionID][]protocol.Batch{2: {batch}})[2]
	broken := errors.New("broken")
	f.bucket.Inject(func(_ objstoretest.Op, key string) objstoretest.Fault {
		if key == datafile.Key(a.FileID) {
			return objstoretest.Fault{Err: broken}
		}
		return objstoretest.Fault{}
	})
	got := f.read(t.Context(), []asked{{1, 0, 1 << 20}, {2, 0, 1 << 20}}, []plan{planned(a), planned(b)}, limits{maxBytes: 1 << 20}, noReplan(t))
	if !errors.Is(got[0].err, broken) || !errors.Is(got[0].err, errUnread) {
		t.Errorf("error %v, want %v", got[0].err, broken)
	}
	if len(got[1].batches) != batch.Size() {
		t.Errorf("other partition: %d bytes, error %v", len(got[1].batches), got[1].err)
	}
}

func TestReadZstdForConsumersThatDoNotKnowIt(t *testing.T) {
	f := newReadFixture(t, memoryBucket(), DefaultBlocksConfig(1<<20))
	plain := makeBatch(t, protocol.CodecNone, recs(10, 300, 0)...)
	zstd := makeBatch(t, protocol.CodecZstd, recs(10, 300, 0)...)
	run := f.write(t, datafile.None, map[metadata.PartitionID][]protocol.Batch{1: {plain, zstd}})[1]
	read := func(offset int64) readPart {
		return f.read(t.Context(), []asked{{1, offset, 1 << 20}}, []plan{planned(run)}, limits{maxBytes: 1 << 20, noZstd: true}, noReplan(t))[0]
	}
	if got := read(0); got.err != nil || len(got.batches) != plain.Size() {
		t.Errorf("%d bytes, error %v; want the first batch", len(got.batches), got.err)
	}
	if got := read(10); !errors.Is(got.err, errZstd) {
		t.Errorf("error %v, want %v", got.err, errZstd)
	}
}

// A request over many files holds few of them in memory before it used them.
func TestReadLoadsAWindowAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := DefaultBlocksConfig(1 << 20)
		config.ColdBytes = 1 << 40
		bucket := memoryBucket()
		blocks := NewBlocks(bucket, nil, config, testMetrics())
		f := &readFixture{reader: newReader(blocks, blocks.metrics, quiet()), bucket: bucket, next: map[metadata.PartitionID]int64{}}
		batch := makeBatch(t, protocol.CodecNone, recs(10, 100, 0)...)
		var runs []metadata.Run
		for range 50 {
			runs = append(runs, f.write(t, datafile.None, map[metadata.PartitionID][]protocol.Batch{1: {batch}})[1])
		}
		gate := make(chan struct{})
		bucket.Inject(func(objstoretest.Op, string) objstoretest.Fault { return objstoretest.Fault{Block: gate} })
		cold := planned(runs...)
		cold.pool = Cold
		done := make(chan int)
		go func() {
			got := f.read(t.Context(), []asked{{1, 0, 1 << 20}}, []plan{cold}, limits{maxBytes: 1 << 20}, noReplan(t))
			done <- len(got[0].batches)
		}()
		want := windowBytes / int(config.BlockBytes)
		for i := range runs {
			synctest.Wait()
			if n := bucket.Calls(objstoretest.Get) - i; n > want || i == 0 && n < want {
				t.Errorf("%d files are being read after %d were, want %d", n, i, want)
			}
			gate <- struct{}{}
		}
		if n := <-done; n != 50*batch.Size() {
			t.Errorf("%d bytes, want 50 batches of %d", n, batch.Size())
		}
		blocks.Close()
	})
}

// Many partitions and files with limits of all kinds: what is returned is
// contiguous, starts where it should and keeps to the limits.
func TestReadRandomRequests(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	config := DefaultBlocksConfig(200_000)
	config.BlockBytes, config.RangeBytes = 5000, 15_000
	f := newReadFixture(t, memoryBucket(), config)
	const partitions = 8
	runs := map[metadata.PartitionID][]metadata.Run{}
	compressions := []datafile.Compression{datafile.None, datafile.S2, datafile.Zstd}
	for range 20 {
		batches := map[metadata.PartitionID][]protocol.Batch{}
		for p := range metadata.PartitionID(partitions) {
			for range r.IntN(4) {
				batches[p] = append(batches[p], makeBatch(t, protocol.CodecNone, recs(1+r.IntN(5), r.IntN(2000), 0)...))
			}
		}
		if len(batches) == 0 {
			continue
		}
		for p, run := range f.write(t, compressions[r.IntN(3)], batches) {
			runs[p] = append(runs[p], run)
		}
	}
	for range 300 {
		parts, plans := make([]asked, 0, partitions), make([]plan, 0, partitions)
		maxBytes := int64(r.IntN(60_000))
		for _, p := range r.Perm(partitions) {
			id := metadata.PartitionID(p)
			if f.next[id] == 0 {
				continue
			}
			a := asked{id, r.Int64N(f.next[id]), int64(r.IntN(20_000))}
			c := chain{runs: runs[id], end: f.next[id]}
			parts, plans = append(parts, a), append(plans, planned(c.from(a.offset)...))
		}
		share(parts, plans, maxBytes)
		got := f.read(t.Context(), parts, plans, limits{maxBytes: maxBytes}, noReplan(t))
		var total, returned int64
		for i := range got {
			if got[i].err != nil {
				t.Fatal(got[i].err)
			}
			n := int64(len(got[i].batches))
			if n == 0 {
				continue
			}
			first, next := offsetsOf(t, got[i].batches)
			if first > parts[i].offset || next <= parts[i].offset {
				t.Fatalf("asked for %d, got %d to %d", parts[i].offset, first, next)
			}
			if returned > 0 && n > parts[i].maxBytes {
				t.Fatalf("%d bytes of a partition limited to %d", n, parts[i].maxBytes)
			}
			returned++
			total += n
		}
		if len(parts) > 0 && returned == 0 {
			t.Fatal("nothing returned")
		}
		if returned > 1 && total > maxBytes {
			t.Fatalf("%d bytes in all, limit %d", total, maxBytes)
		}
	}
}
