package rewrite

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/objstore/memory"
	"github.com/wadi-log/wadi/objstore/objstoretest"
	"github.com/wadi-log/wadi/protocol"
)

func TestReaderYieldsBatchesWithTheirOffsets(t *testing.T) {
	random := seeded(t)
	bucket := memory.Open()
	logs := []*log{{}, {}, {}}
	for range 30 {
		batches := make([][]protocol.Batch, len(logs))
		for p := range batches {
			for range 1 + random.IntN(4) {
				codec := []protocol.Codec{protocol.CodecNone, protocol.CodecNone, protocol.CodecLZ4}[random.IntN(3)]
				size := 10 + random.IntN(2000)
				if random.IntN(20) == 0 {
					size = 300_000 // with several records, more than a frame
				}
				batches[p] = append(batches[p], makeBatch(t, codec, 1+random.IntN(8), size, random.IntN(2) == 0))
			}
		}
		compression := []datafile.Compression{datafile.None, datafile.S2, datafile.Zstd}[random.IntN(3)]
		put(t, bucket, compression, logs, batches)
		if random.IntN(3) == 0 {
			logs[1].end(1, random.IntN(2) == 0)
		}
	}
	for _, window := range []int64{0, 4 << 20, 64 << 20} {
		for _, l := range logs {
			l.check(t, NewReader(bucket, progress(), window))
		}
	}
}

// A duplicate leaves a gap in a section: the run begins in the middle of what its frames hold.
func TestReaderCutsARunOutOfItsFrames(t *testing.T) {
	bucket := memory.Open()
	first, second := makeBatch(t, protocol.CodecNone, 5, 1000, false), makeBatch(t, protocol.CodecNone, 7, 3000, false)
	l := &log{}
	put(t, bucket, datafile.S2, []*log{l}, [][]protocol.Batch{{first, second}})
	if l.runs[0].Encoding != metadata.EncodingFramed {
		t.Fatal("the section is not framed")
	}
	l.runs[0].Skip, l.runs[0].Size, l.runs[0].Records = int32(len(first)), int32(len(second)), 7
	l.want, l.next = nil, 0
	l.append(second)
	l.check(t, NewReader(bucket, progress(), 0))
}

func TestReaderReadsNeighboursInOneRequest(t *testing.T) {
	bucket := objstoretest.NewFaulty(memory.Open())
	logs := make([]*log, 100)
	for i := range logs {
		logs[i] = &log{}
	}
	for range 3 {
		batches := make([][]protocol.Batch, len(logs))
		for p := range batches {
			batches[p] = []protocol.Batch{makeBatch(t, protocol.CodecNone, 2, 100, true)}
		}
		put(t, bucket, datafile.None, logs, batches)
	}
	var runs []metadata.Run
	for _, l := range logs {
		runs = append(runs, l.runs...)
	}
	n := 0
	for _, err := range NewReader(bucket, progress(), 0).Batches(t.Context(), runs) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 300 || bucket.Calls(objstoretest.Get) != 3 {
		t.Errorf("%d batches of 300 in %d requests of 3", n, bucket.Calls(objstoretest.Get))
	}
}

// What lies between the runs that still live must not fill the memory.
func TestReaderReadsLittleOfSparseFiles(t *testing.T) {
	bucket := &measuring{Bucket: memory.Open()}
	logs := make([]*log, 2000)
	for i := range logs {
		logs[i] = &log{}
	}
	batches := make([][]protocol.Batch, len(logs))
	for p := range batches {
		batches[p] = []protocol.Batch{makeBatch(t, protocol.CodecNone, 1, 30_000, true)}
		if p%20 == 0 {
			batches[p][0] = makeBatch(t, protocol.CodecNone, 1, 100, true)
		}
	}
	put(t, bucket, datafile.None, logs, batches)
	var runs []metadata.Run
	for p := 0; p < len(logs); p += 2 {
		if p%20 == 0 || p%20 == 2 {
			runs = append(runs, logs[p].runs...)
		}
	}
	r := NewReader(bucket, progress(), MinWindowBytes)
	for len(runs) > 0 {
		bucket.read.Store(0)
		n := r.Fit(runs)
		r.Load(t.Context(), runs[:n])
		if bucket.read.Load() > MinWindowBytes {
			t.Fatalf("%d bytes in a window of %d", bucket.read.Load(), MinWindowBytes)
		}
		runs = runs[n:]
	}
}

// measuring adds up the bytes that were asked for.
type measuring struct {
	objstore.Bucket
	read atomic.Int64
}

func (m *measuring) Get(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	m.read.Add(length)
	return m.Bucket.Get(ctx, key, offset, length)
}

func TestReaderTellsDamageFromTrouble(t *testing.T) {
	for _, test := range []struct {
		name    string
		change  func(t *testing.T, bucket *objstoretest.Faulty, l *log)
		damaged bool
	}{
		{"a missing object", func(t *testing.T, bucket *objstoretest.Faulty, l *log) {
			if err := bucket.Delete(t.Context(), datafile.Key(l.runs[1].FileID)); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"a short object", func(t *testing.T, bucket *objstoretest.Faulty, l *log) { rewriteObject(t, bucket, l.runs[1], -40) }, true},
		{"an object cut off before the run", func(t *testing.T, bucket *objstoretest.Faulty, l *log) {
			rewriteObject(t, bucket, l.runs[1], -int(l.runs[1].StoredSize))
		}, true},
		{"a flipped bit", func(t *testing.T, bucket *objstoretest.Faulty, l *log) { rewriteObject(t, bucket, l.runs[1], 0) }, true},
		{"fewer offsets than the index has", func(_ *testing.T, _ *objstoretest.Faulty, l *log) { l.runs[1].Records++ }, true},
		{"more offsets than the index has", func(_ *testing.T, _ *objstoretest.Faulty, l *log) { l.runs[1].Records-- }, true},
		{"another size than the index has", func(_ *testing.T, _ *objstoretest.Faulty, l *log) { l.runs[1].Size-- }, true},
		{"a store that asks to wait", func(_ *testing.T, bucket *objstoretest.Faulty, l *log) {
			key := datafile.Key(l.runs[1].FileID)
			bucket.Inject(func(_ objstoretest.Op, asked string) objstoretest.Fault {
				if asked == key {
					return objstoretest.Fault{Err: objstore.ErrSlowDown}
				}
				return objstoretest.Fault{}
			})
		}, false},
	} {
		for _, compression := range []datafile.Compression{datafile.None, datafile.S2} {
			t.Run(test.name+", "+string(compression), func(t *testing.T) {
				bucket := objstoretest.NewFaulty(memory.Open())
				l := &log{}
				for range 3 {
					put(t, bucket, compression, []*log{l}, [][]protocol.Batch{{makeBatch(t, protocol.CodecNone, 2, 5000, false)}})
				}
				test.change(t, bucket, l)
				var got []int64
				var failed []error
				for b, err := range NewReader(bucket, progress(), 0).Batches(t.Context(), l.runs) {
					if err != nil {
						failed = append(failed, err)
						continue
					}
					got = append(got, b.BaseOffset())
				}
				if !slices.Equal(got, []int64{0, 4}) || len(failed) != 1 {
					t.Fatalf("batches at %v and errors %v", got, failed)
				}
				var at *RunError
				if !errors.As(failed[0], &at) || at.Run.BaseOffset != 2 || errors.Is(failed[0], ErrDamaged) != test.damaged {
					t.Errorf("error %v", failed[0])
				}
			})
		}
	}
}

// rewriteObject cuts bytes off a run's end and what follows, or flips a bit in its middle.
func rewriteObject(t *testing.T, bucket objstore.Bucket, run metadata.Run, cut int) {
	t.Helper()
	key := datafile.Key(run.FileID)
	b, err := bucket.Get(t.Context(), key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if cut == 0 {
		b[run.Position+int64(run.StoredSize)/2] ^= 4
	} else {
		b = b[:run.Position+int64(run.StoredSize)+int64(cut)]
	}
	if err := bucket.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if err := bucket.Put(t.Context(), key, b); err != nil {
		t.Fatal(err)
	}
}
