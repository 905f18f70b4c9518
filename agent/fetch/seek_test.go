package fetch

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/objstore/objstoretest"
	"github.com/wadi-log/wadi/protocol"
)

// largeRun is a merged run of n batches of one record of about 10,000 bytes, half of which
// compression saves, read by blocks of 64 KiB.
func largeRun(t *testing.T, compression datafile.Compression, cacheBytes int64, n int) *modelLog {
	config := DefaultBlocksConfig(cacheBytes)
	config.BlockBytes, config.RangeBytes = 64<<10, 256<<10
	m := &modelLog{f: newReadFixture(t, memoryBucket(), config), r: rand.New(rand.NewPCG(1, 2))}
	var batches []protocol.Batch
	noise := rand.NewChaCha8([32]byte{})
	for i := range n {
		const size = 10_000
		b := makeBatch(t, protocol.CodecNone, rec{int64(1000 + i), size})
		var half [size / 2]byte
		_, _ = noise.Read(half[:])
		hex.Encode(b[len(b)-1-size:], half[:])
		resum(b)
		batches = append(batches, m.place(b))
	}
	m.merge(t, compression, batches, false)
	return m
}

var mergeCompressions = []datafile.Compression{datafile.None, datafile.Zstd}

// read is the number of bytes that were read from the bucket.
func (f *readFixture) readBytes() int64 { return int64(counted(f.metrics.getBytes[Cold])) }

func TestAFetchInTheMiddleReadsLittle(t *testing.T) {
	for _, compression := range mergeCompressions {
		t.Run(string(compression), func(t *testing.T) {
			m := largeRun(t, compression, 64<<20, 800)
			run := m.runs[0]
			if got := m.fetch(t, 500, m.end, 30_000); got.err != nil || !bytes.Equal(got.batches, m.want(500, m.end, 30_000)) {
				t.Fatalf("%d bytes, error %v", len(got.batches), got.err)
			}
			// A frame of 1 MiB, and what of an estimate is too much.
			if n, limit := m.f.readBytes(), int64(1<<20+1<<18); n > limit || run.StoredSize < 3<<20 {
				t.Errorf("read %d of %d bytes, want up to %d", n, run.StoredSize, limit)
			}
			if n := m.f.bucket.Calls(objstoretest.Get); n > 8 {
				t.Errorf("%d reads", n)
			}
		})
	}
}

// TestStepsThroughARunReadEachByteOnce: however small they are, with a cache that holds a part of the
// run, and by few reads.
func TestStepsThroughARunReadEachByteOnce(t *testing.T) {
	for _, compression := range mergeCompressions {
		for _, begin := range []int64{0, 100} {
			t.Run(fmt.Sprintf("%s, from %d", compression, begin), func(t *testing.T) {
				m := largeRun(t, compression, 4<<20, 1000)
				run := m.runs[0]
				for offset := begin; offset < m.end; {
					parts, plans := []asked{{1, offset, 40_000}}, []plan{m.plan(offset, m.end, 40_000)}
					got := m.f.read(t.Context(), parts, plans, limits{maxBytes: 1 << 30}, noReplan(t))[0]
					if got.err != nil || !bytes.Equal(got.batches, m.want(offset, m.end, 40_000)) {
						t.Fatalf("at %d: %d bytes, error %v", offset, len(got.batches), got.err)
					}
					offset = got.next
					m.f.readAhead(parts, plans)
					m.f.blocks.reads.Wait()
				}
				blocks := (run.Position+int64(run.StoredSize))>>16 + 1
				if n, limit := m.f.readBytes(), (blocks+1)<<16; n > limit {
					t.Errorf("read %d bytes of a run of %d, want up to %d", n, run.StoredSize, limit)
				}
				// Frames are larger than what is read ahead at once here.
				if n, limit := int64(m.f.bucket.Calls(objstoretest.Get)), blocks/4+20; n > limit && compression == datafile.None {
					t.Errorf("%d reads of %d blocks, want up to %d", n, blocks, limit)
				}
			})
		}
	}
}

// TestALargeFetchHoldsAWindow: what is asked for at once is loaded a part at a time.
func TestALargeFetchHoldsAWindow(t *testing.T) {
	m := largeRun(t, datafile.None, 64<<20, 10)
	run := m.runs[0]
	run.StoredSize, run.Size = 1<<30, 1<<30
	s := newStoredSource(m.f.blocks, &run, Cold, 0, 1<<29)
	if s.upTo != sourceBytes || s.wanted != 1<<29 {
		t.Errorf("%d bytes loading of %d wanted", s.upTo, s.wanted)
	}
	m.f.blocks.reads.Wait()
}

func TestADamagedIndexSlowsReadingDown(t *testing.T) {
	other := largeRun(t, datafile.None, 1<<20, 100)
	foreign := other.index(t)
	for name, damage := range map[string]func(index []byte) []byte{
		"bit flip":        func(b []byte) []byte { b[30] ^= 1; return b },
		"magic":           func(b []byte) []byte { b[0] = 'X'; return b },
		"missing":         func(b []byte) []byte { return nil },
		"cut short":       func(b []byte) []byte { return b[:len(b)/2] },
		"another section": func([]byte) []byte { return foreign },
	} {
		t.Run(name, func(t *testing.T) {
			m := largeRun(t, datafile.None, 64<<20, 50)
			m.runs[0].BaseOffset, m.end = 1000, 1050
			for i, b := range m.batches {
				b.SetBaseOffset(1000 + int64(i))
			}
			m.runs[0] = m.f.merge(t, datafile.None, 1000, 1050, m.batches)
			run := m.runs[0]
			key := datafile.Key(run.FileID)
			body, err := m.f.bucket.Get(t.Context(), key, 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			end := run.Position + int64(run.StoredSize)
			broken := append(slices.Clone(body[:end]), damage(m.index(t))...)
			if err = m.f.bucket.Delete(t.Context(), key); err == nil {
				err = m.f.bucket.Put(t.Context(), key, broken)
			}
			if err != nil {
				t.Fatal(err)
			}
			got := m.fetch(t, 1030, m.end, 30_000)
			if got.err != nil || !bytes.Equal(got.batches, m.want(1030, m.end, 30_000)) {
				t.Errorf("%d bytes, error %v", len(got.batches), got.err)
			}
			if n := counted(m.f.metrics.corrupt); n != 1 {
				t.Errorf("counted %d times, want once", n)
			}
		})
	}
}

// index is the index behind the first run.
func (m *modelLog) index(t *testing.T) []byte {
	run := m.runs[0]
	b, err := m.f.bucket.Get(t.Context(), datafile.Key(run.FileID), run.Position+int64(run.StoredSize), -1)
	if err != nil {
		t.Fatal(err)
	}
	size, err := datafile.IndexSize(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:size]
}

// TestAStoreThatFailsWhileSeeking is the error of its partition, and asked for a new plan when the file is gone.
func TestAStoreThatFailsWhileSeeking(t *testing.T) {
	m := largeRun(t, datafile.None, 64<<20, 50)
	broken := errors.New("broken")
	m.f.bucket.Inject(func(objstoretest.Op, string) objstoretest.Fault { return objstoretest.Fault{Err: broken} })
	if got := m.fetch(t, 30, m.end, 1); !errors.Is(got.err, broken) || !errors.Is(got.err, errUnread) {
		t.Errorf("error %v, want %v", got.err, broken)
	}
	m.f.bucket.Inject(nil)
	gone := m.plan(30, m.end, 1)
	gone.runs = slices.Clone(gone.runs)
	gone.runs[0].FileID = newFileID(t)
	for name, c := range map[string]struct {
		anew plan
		err  error
	}{"moved": {m.plan(30, m.end, 1), nil}, "really gone": {gone, objstore.ErrNotFound}} {
		plans, calls := []plan{gone}, 0
		got := m.f.read(t.Context(), []asked{{1, 30, 1}}, plans, limits{maxBytes: 1}, func(_ int, end int64) plan {
			calls++
			if end != m.end {
				t.Errorf("%s: the run that is gone ends at %d, want %d", name, end, m.end)
			}
			return c.anew
		})[0]
		if !errors.Is(got.err, c.err) || calls != 1 || c.err == nil && !bytes.Equal(got.batches, m.want(30, m.end, 1)) {
			t.Errorf("%s: %d bytes, error %v, %d plans", name, len(got.batches), got.err, calls)
		}
	}
}

func TestReadMergedRunThatIsNotWhatTheIndexSaysIsDamage(t *testing.T) {
	at := func(base int64, records int) protocol.Batch {
		b := makeBatch(t, protocol.CodecNone, recs(records, 100, 0)...)
		b.SetBaseOffset(base)
		b.SetLeaderEpoch(protocol.LeaderEpoch)
		return b
	}
	good := []protocol.Batch{at(103, 5), at(108, 2), at(115, 5)} // offsets 100 to 120
	same := func(*metadata.Run) {}
	for name, c := range map[string]struct {
		batches []protocol.Batch
		lie     func(*metadata.Run)
		// want are the batches before the damage.
		want int
	}{
		"nothing":                     {good, same, 3},
		"more offsets":                {good, func(r *metadata.Run) { r.Records++ }, 3},
		"fewer offsets":               {good, func(r *metadata.Run) { r.Records-- }, 2},
		"far fewer offsets":           {good, func(r *metadata.Run) { r.Records = 15 }, 2},
		"begins before its run":       {good, func(r *metadata.Run) { r.BaseOffset, r.Records = 104, 16 }, 0},
		"fewer bytes":                 {good, func(r *metadata.Run) { r.Size--; r.StoredSize-- }, 2},
		"overlapping batches":         {[]protocol.Batch{at(103, 5), at(107, 2), at(115, 5)}, same, 1},
		"offsets that go back":        {[]protocol.Batch{at(103, 5), at(50, 2), at(115, 5)}, same, 1},
		"an offset far away":          {[]protocol.Batch{at(103, 5), at(1<<63-1, 2), at(115, 5)}, same, 1},
		"a negative offset":           {[]protocol.Batch{at(-103, 5), at(108, 2), at(115, 5)}, same, 0},
		"ends before its run":         {good[:2], same, 2},
		"not merged, though it is so": {good, func(r *metadata.Run) { r.Merged = false }, 3},
	} {
		t.Run(name, func(t *testing.T) {
			m := &modelLog{f: newReadFixture(t, memoryBucket(), DefaultBlocksConfig(1<<20))}
			body := bytes.Join([][]byte{c.batches[0], nil}, nil)
			for _, b := range c.batches[1:] {
				body = append(body, b...)
			}
			run := metadata.Run{Partition: 1, BaseOffset: 100, Records: 20, FileID: newFileID(t), Size: int32(len(body)), StoredSize: int32(len(body)), Merged: true}
			if err := m.f.bucket.Put(t.Context(), datafile.Key(run.FileID), append(body, make([]byte, 1000)...)); err != nil {
				t.Fatal(err)
			}
			c.lie(&run)
			p := planned(run)
			p.until = 1 << 62
			read := func(offset int64) readPart {
				return m.f.read(t.Context(), []asked{{1, offset, 1 << 20}}, []plan{p}, limits{maxBytes: 1 << 20}, noReplan(t))[0]
			}
			got := read(run.BaseOffset)
			if want := bytes.Join(asBytes(c.batches[:c.want]), nil); name != "not merged, though it is so" && !bytes.Equal(got.batches, want) {
				t.Errorf("%d bytes, want %d", len(got.batches), len(want))
			}
			for got.err == nil && got.next < run.NextOffset() && len(got.batches) > 0 {
				got = read(got.next)
			}
			if name == "nothing" && got.err != nil || name != "nothing" && !isDamage(got.err) {
				t.Errorf("error %v", got.err)
			}
		})
	}
}

func asBytes(batches []protocol.Batch) [][]byte {
	out := make([][]byte, len(batches))
	for i, b := range batches {
		out[i] = b
	}
	return out
}

// TestPartitionsOfAFileAreReadTogether: neighbours by one read each range, whatever the order they are asked for.
func TestPartitionsOfAFileAreReadTogether(t *testing.T) {
	config := DefaultBlocksConfig(64 << 20)
	config.BlockBytes, config.RangeBytes = 1000, 16_000
	f := newReadFixture(t, memoryBucket(), config)
	const partitions = 60 // of about 1 KB: 4 ranges
	batches := map[metadata.PartitionID][]protocol.Batch{}
	for p := range metadata.PartitionID(partitions) {
		batches[p] = []protocol.Batch{makeBatch(t, protocol.CodecNone, recs(1, 920, 0)...)}
	}
	runs := f.write(t, datafile.None, batches)
	for name, c := range map[string]struct {
		fetched []int
		reads   int
	}{
		"all":             {rand.New(rand.NewPCG(3, 1)).Perm(partitions), 5},
		"some neighbours": {[]int{20, 22, 21, 23}, 1},
		"far apart":       {[]int{0, 10, 1, 50}, 3},
		"one":             {[]int{30}, 1},
	} {
		var parts []asked
		var plans []plan
		for _, p := range c.fetched {
			parts = append(parts, asked{metadata.PartitionID(p), 0, 1 << 20})
			plans = append(plans, planned(runs[metadata.PartitionID(p)]))
		}
		f.blocks.Drop(runs[0].FileID)
		before := f.bucket.Calls(objstoretest.Get)
		for i, got := range f.read(t.Context(), parts, plans, limits{maxBytes: 1 << 30}, noReplan(t)) {
			if got.err != nil || len(got.batches) != batches[0][0].Size() {
				t.Errorf("%s, partition %d: %d bytes, error %v", name, i, len(got.batches), got.err)
			}
		}
		if n := f.bucket.Calls(objstoretest.Get) - before; n > c.reads {
			t.Errorf("%s: %d reads, want up to %d", name, n, c.reads)
		}
	}
}
