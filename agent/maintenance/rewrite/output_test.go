package rewrite

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sequence"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/objstore/memory"
	"github.com/wadi-log/wadi/objstore/objstoretest"
	"github.com/wadi-log/wadi/protocol"
	"github.com/wadi-log/wadi/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// swaps notes what a metadata store was asked for. Its clock is two hours ahead of ours.
type swaps struct {
	asked []metadata.Replacement
	// fail decides on the call after so many others.
	fail func(calls int) error
}

func (s *swaps) Now(context.Context) (time.Time, error) { return time.Now().Add(2 * time.Hour), nil }

func (s *swaps) ReplaceRuns(_ context.Context, r metadata.Replacement) ([]bool, error) {
	r.Runs = slices.Clone(r.Runs)
	s.asked = append(s.asked, r)
	if s.fail != nil {
		if err := s.fail(len(s.asked) - 1); err != nil {
			return nil, err
		}
	}
	taken := make([]bool, len(r.Runs))
	for i := range taken {
		taken[i] = true
	}
	return taken, nil
}

func output(t testing.TB, bucket objstore.Bucket, store Store) *Output {
	t.Helper()
	o, err := NewOutput(bucket, store, progress(), datafile.Auto)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func keys(runs []metadata.Run) []metadata.RunKey {
	var keys []metadata.RunKey
	for _, r := range runs {
		keys = append(keys, metadata.RunKey{BaseOffset: r.BaseOffset, FileID: r.FileID})
	}
	return keys
}

// merge writes each log into one section, and makes that the log's only run.
func merge(t *testing.T, bucket objstore.Bucket, store *swaps, o *Output, origin Origin, logs []*log) {
	t.Helper()
	r := NewReader(bucket, progress(), 8<<20)
	for p, l := range logs {
		place := Place{TopicID: topicID, Index: int32(p), Partition: metadata.PartitionID(p)}
		if err := o.Begin(place, l.runs[0].BaseOffset); err != nil {
			t.Fatal(err)
		}
		for b, err := range r.Batches(t.Context(), l.runs) {
			if err == nil {
				err = o.Add(b)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := o.End(l.next, 5, keys(l.runs)); err != nil {
			t.Fatal(err)
		}
	}
	commit(t, store, o, origin, logs)
}

func commit(t *testing.T, store *swaps, o *Output, origin Origin, logs []*log) {
	t.Helper()
	taken, err := o.Commit(t.Context(), origin)
	if err != nil || len(taken) != len(logs) || slices.Contains(taken, false) {
		t.Fatalf("taken %v, %v", taken, err)
	}
	done := store.asked[len(store.asked)-1]
	for p, run := range done.Runs {
		if run.Run.FileID != done.FileID || !run.Merged || run.NextOffset() != logs[p].next || run.MaxTimestamp != 5 ||
			!slices.Equal(run.Replaces, keys(logs[p].runs)) {
			t.Errorf("run %+v", run)
		}
		logs[p].runs = []metadata.Run{run.Run}
	}
}

func TestOutputIsReadAsWhatItReplaces(t *testing.T) {
	bucket, store := memory.Open(), &swaps{}
	random := seeded(t)
	logs := []*log{{}, {}, {}}
	origin := Origin{Level: 1}
	for i := range 20 {
		batches := make([][]protocol.Batch, len(logs))
		for p := range batches {
			for range 1 + random.IntN(3) {
				batches[p] = append(batches[p], makeBatch(t, protocol.CodecNone, 1+random.IntN(5), 10+random.IntN(20_000), p == 2))
			}
		}
		id := put(t, bucket, datafile.Auto, logs, batches)
		origin.Sources = append(origin.Sources, datafile.Source{FileID: id, Seq: int64(100 - i)})
		logs[1].end(1, i%2 == 0)
	}
	o := output(t, bucket, store)
	merge(t, bucket, store, o, origin, logs)

	done := store.asked[0]
	if done.Level != 1 || done.Seq != 81 {
		t.Errorf("level %d, seq %d", done.Level, done.Seq)
	}
	if ahead := time.Until(datafile.IDTime(done.FileID)); ahead < time.Hour {
		t.Errorf("the file's ID is of a time %v from now, not of the store's", ahead)
	}
	object, err := bucket.Get(t.Context(), datafile.Key(done.FileID), 0, -1)
	if err != nil || int64(len(object)) != done.Size {
		t.Fatalf("object of %d bytes, %v; the store was told %d", len(object), err, done.Size)
	}
	footer, err := datafile.ReadFooter(object)
	if err != nil || !slices.Equal(footer.Sources, origin.Sources) {
		t.Errorf("sources %v, %v", footer.Sources, err)
	}
	if logs[0].runs[0].Encoding != metadata.EncodingFramed || logs[2].runs[0].Encoding != metadata.EncodingRaw {
		t.Error("what compresses is not framed, or noise is")
	}
	for _, l := range logs {
		l.check(t, NewReader(bucket, progress(), 0))
	}

	// Once more: merged runs are read like others.
	merge(t, bucket, store, o, origin, logs)
	for _, l := range logs {
		l.check(t, NewReader(bucket, progress(), 0))
	}
}

func TestOutputTakesStoredBytesOver(t *testing.T) {
	bucket, store := memory.Open(), &swaps{}
	o := output(t, bucket, store)
	// Two merged files: the second goes on where the first ends.
	logs := []*log{{}, {}}
	var parts [2][]metadata.Run
	for range 2 {
		first := []int64{logs[0].next, logs[1].next}
		for p := range logs {
			logs[p].runs = nil
		}
		batches := make([][]protocol.Batch, len(logs))
		for p := range batches {
			for range 40 {
				batches[p] = append(batches[p], makeBatch(t, protocol.CodecNone, 4, 10_000, p == 1))
			}
		}
		put(t, bucket, datafile.Auto, logs, batches)
		merge(t, bucket, store, o, Origin{Level: 1}, logs)
		for p := range logs {
			if got := logs[p].runs[0].BaseOffset; got != first[p] {
				t.Fatalf("run from %d, want %d", got, first[p])
			}
			parts[p] = append(parts[p], logs[p].runs[0])
		}
	}
	counted := objstoretest.NewFaulty(bucket)
	r := NewReader(counted, progress(), 64<<20)
	var all []metadata.Run
	for p := range logs {
		logs[p].runs = parts[p]
		all = append(all, parts[p]...)
	}
	window := r.Load(t.Context(), all)
	if n := counted.Calls(objstoretest.Get); n != 2 {
		t.Errorf("%d requests for two files", n)
	}
	for p, l := range logs {
		if err := o.Begin(Place{TopicID: topicID, Index: int32(p), Partition: metadata.PartitionID(p)}, 0); err != nil {
			t.Fatal(err)
		}
		for _, run := range l.runs {
			if ok, err := o.AddStored(t.Context(), window, run); !ok || err != nil {
				t.Fatalf("taken over: %v, %v", ok, err)
			}
		}
		if err := o.End(l.next, 5, keys(l.runs)); err != nil {
			t.Fatal(err)
		}
	}
	commit(t, store, o, Origin{Level: 2}, logs)
	for _, l := range logs {
		l.check(t, NewReader(bucket, progress(), 0))
	}

	// An index that is damaged is made anew from the batches; a damaged batch is not taken over.
	for _, test := range []struct {
		name    string
		at      func(metadata.Run) int64
		damaged bool
	}{
		{"index", func(r metadata.Run) int64 { return r.Position + int64(r.StoredSize) + 30 }, false},
		{"bytes", func(r metadata.Run) int64 { return r.Position + int64(r.StoredSize)/2 }, true},
	} {
		for p, l := range logs {
			run := l.runs[0]
			key := datafile.Key(run.FileID)
			object, err := bucket.Get(t.Context(), key, 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			object[test.at(run)] ^= 1
			spoilt := memory.Open()
			if err := spoilt.Put(t.Context(), key, object); err != nil {
				t.Fatal(err)
			}
			window := NewReader(spoilt, progress(), 64<<20).Load(t.Context(), l.runs)
			if err := o.Begin(Place{TopicID: topicID, Index: int32(p)}, 0); err != nil {
				t.Fatal(err)
			}
			ok, err := o.AddStored(t.Context(), window, run)
			var at *RunError
			if ok || errors.Is(err, ErrDamaged) != test.damaged || errors.As(err, &at) != test.damaged {
				t.Errorf("damaged %s: taken over %v, %v", test.name, ok, err)
			}
			o.Abandon()
		}
	}
}

func TestOutputCommitAsksAgainByTheSameID(t *testing.T) {
	for _, test := range []struct {
		name  string
		err   error
		times int
		calls int
		ok    bool
	}{
		{"a lost reply", metadata.ErrOutcomeUnknown, 2, 3, true},
		{"a store that is away for a moment", metadata.ErrUnavailable, 1, 2, true},
		{"a call that takes too long", context.DeadlineExceeded, 1, 2, true},
		{"a store that is away", metadata.ErrUnavailable, 1000, storeTries, false},
		{"a file that took too long", metadata.ErrFileTooOld, 1000, 1, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bucket := memory.Open()
				store := &swaps{fail: func(calls int) error {
					if calls < test.times {
						return test.err
					}
					return nil
				}}
				o := output(t, bucket, store)
				section(t, o, 0)
				taken, err := o.Commit(t.Context(), Origin{Level: 1})
				if (err == nil) != test.ok || len(store.asked) != test.calls || test.ok && !slices.Equal(taken, []bool{true}) ||
					!test.ok && !errors.Is(err, test.err) {
					t.Errorf("taken %v, %v in %d calls", taken, err, len(store.asked))
				}
				for _, r := range store.asked {
					if r.FileID != store.asked[0].FileID {
						t.Error("a retry has another ID")
					}
				}
				// It is empty and takes the next file.
				if o.Sections() != 0 || o.Replaced() != 0 {
					t.Error("something is left")
				}
				store.fail = nil
				section(t, o, 0)
				if taken, err := o.Commit(t.Context(), Origin{Level: 1}); err != nil || !slices.Equal(taken, []bool{true}) {
					t.Errorf("the next file: %v, %v", taken, err)
				}
			})
		})
	}
}

func TestOutputThatIsNotStoredSwapsNothing(t *testing.T) {
	bucket, store := objstoretest.NewFaulty(memory.Open()), &swaps{}
	bucket.Fail(objstoretest.Put, 1, objstoretest.Fault{Err: objstore.ErrSlowDown, Persisted: true})
	o := output(t, bucket, store)
	section(t, o, 0)
	if _, err := o.Commit(t.Context(), Origin{}); !errors.Is(err, objstore.ErrSlowDown) || len(store.asked) > 0 {
		t.Errorf("%v, %d calls of the store", err, len(store.asked))
	}
	section(t, o, 0)
	if _, err := o.Commit(t.Context(), Origin{}); err != nil || len(store.asked) != 1 {
		t.Errorf("the next file: %v, %d calls of the store", err, len(store.asked))
	}
}

func TestOutputWithoutSectionsIsNone(t *testing.T) {
	bucket, store := objstoretest.NewFaulty(memory.Open()), &swaps{}
	o := output(t, bucket, store)
	if err := o.Begin(Place{TopicID: topicID}, 0); err != nil {
		t.Fatal(err)
	}
	if err := o.Add(makeBatch(t, protocol.CodecNone, 1, 100, false)); err != nil {
		t.Fatal(err)
	}
	o.Abandon()
	if taken, err := o.Commit(t.Context(), Origin{}); err != nil || taken != nil || bucket.Calls(objstoretest.Put) > 0 || len(store.asked) > 0 {
		t.Errorf("taken %v, %v", taken, err)
	}
}

// section adds a partition of one batch, that replaces two rows.
func section(t *testing.T, o *Output, index int32) {
	t.Helper()
	b := makeBatch(t, protocol.CodecNone, 3, 100, true)
	err := errors.Join(o.Begin(Place{TopicID: topicID, Index: index, Partition: 7}, 0), o.Add(b),
		o.End(3, 5, []metadata.RunKey{{FileID: uuid.Max}, {BaseOffset: 1, FileID: uuid.Max}}))
	if err != nil || o.Sections() != 1 || o.Replaced() != 2 || o.Size() < int64(len(b)) {
		t.Fatalf("%v; %d sections, %d rows, %d bytes", err, o.Sections(), o.Replaced(), o.Size())
	}
}

// The metadata store numbers partitions in another order than files have them.
func TestOutputTellsOfItsSectionsInTheirOrder(t *testing.T) {
	store := &picky{}
	o := output(t, memory.Open(), store)
	for index, partition := range []metadata.PartitionID{30, 10, 20} {
		for _, base := range []int64{0, 3} {
			b := makeBatch(t, protocol.CodecNone, 3, 100, true)
			b.SetBaseOffset(base)
			err := errors.Join(o.Begin(Place{TopicID: topicID, Index: int32(index), Partition: partition}, base), o.Add(b),
				o.End(base+3, 5, []metadata.RunKey{{BaseOffset: base, FileID: uuid.Max}}))
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	taken, err := o.Commit(t.Context(), Origin{Level: 1})
	// It took the first run that it was told of, 0 of partition 10, and the fourth, 3 of partition 20.
	if err != nil || !slices.Equal(taken, []bool{false, false, true, false, false, true}) {
		t.Errorf("taken %v, %v", taken, err)
	}
	if len(store.asked) != 1 || sequence.ValidateReplacement(store.asked[0]) != nil {
		t.Errorf("the store was asked for %+v", store.asked)
	}
}

// picky takes every third run.
type picky struct{ swaps }

func (s *picky) ReplaceRuns(ctx context.Context, r metadata.Replacement) ([]bool, error) {
	taken, err := s.swaps.ReplaceRuns(ctx, r)
	for i := range taken {
		taken[i] = i%3 == 0
	}
	return taken, err
}
