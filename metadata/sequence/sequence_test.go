package sequence

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

func idempotent(epoch int16, sequence, records int32) metadata.Batch {
	return metadata.Batch{Size: 10, Records: records, MaxTimestamp: 1, ProducerID: 7, ProducerEpoch: epoch, BaseSequence: sequence}
}

func oneAppend(batches ...metadata.Batch) metadata.Append {
	a := metadata.Append{Partition: 1, Batches: batches}
	for _, b := range batches {
		a.StoredSize += b.Size
	}
	return a
}

func (w *world) file(appends ...metadata.Append) metadata.File {
	return metadata.File{ID: w.nextFileID(), Size: 1, Appends: appends}
}

func TestProducerRules(t *testing.T) {
	const last = math.MaxInt32
	accepted := func(offset int64) metadata.Outcome { return metadata.Outcome{BaseOffset: offset} }
	duplicate := func(offset int64) metadata.Outcome {
		return metadata.Outcome{BaseOffset: offset, Duplicate: true}
	}
	refused := func(err error) metadata.Outcome { return metadata.Outcome{BaseOffset: -1, Err: err} }
	type step struct {
		batch metadata.Batch
		want  metadata.Outcome
	}
	for name, steps := range map[string][]step{
		"unknown producer starts anywhere": {
			{idempotent(3, 500, 2), accepted(0)},
			{idempotent(3, 502, 1), accepted(2)},
		},
		"sequence after the last one wraps to 0": {
			{idempotent(0, last, 1), accepted(0)},
			{idempotent(0, 0, 1), accepted(1)},
		},
		"batch straddles the wrap": {
			{idempotent(0, last-1, 4), accepted(0)},
			{idempotent(0, 2, 1), accepted(4)},
			{idempotent(0, last-1, 4), duplicate(0)},
		},
		"wrap is no newer epoch": {
			{idempotent(0, last, 1), accepted(0)},
			{idempotent(0, 1, 1), refused(metadata.ErrOutOfOrderSequence)},
		},
		"gap": {
			{idempotent(0, 0, 1), accepted(0)},
			{idempotent(0, 2, 1), refused(metadata.ErrOutOfOrderSequence)},
			{idempotent(0, 1, 1), accepted(1)},
		},
		"window holds five batches": {
			{idempotent(0, 0, 1), accepted(0)},
			{idempotent(0, 1, 1), accepted(1)},
			{idempotent(0, 2, 1), accepted(2)},
			{idempotent(0, 3, 1), accepted(3)},
			{idempotent(0, 4, 1), accepted(4)},
			{idempotent(0, 0, 1), duplicate(0)},
			{idempotent(0, 5, 1), accepted(5)},
			{idempotent(0, 0, 1), refused(metadata.ErrOutOfOrderSequence)},
			{idempotent(0, 1, 1), duplicate(1)},
		},
		"same first sequence, other length is no duplicate": {
			{idempotent(0, 0, 3), accepted(0)},
			{idempotent(0, 0, 2), refused(metadata.ErrOutOfOrderSequence)},
		},
		"older epoch is fenced, even for a batch that was accepted": {
			{idempotent(4, 0, 1), accepted(0)},
			{idempotent(5, 0, 1), accepted(1)},
			{idempotent(4, 0, 1), refused(metadata.ErrInvalidProducerEpoch)},
			{idempotent(4, 1, 1), refused(metadata.ErrInvalidProducerEpoch)},
		},
		"newer epoch starts at 0": {
			{idempotent(4, 0, 1), accepted(0)},
			{idempotent(5, 1, 1), refused(metadata.ErrOutOfOrderSequence)},
			{idempotent(5, 0, 1), accepted(1)},
			{idempotent(5, 1, 1), accepted(2)},
		},
	} {
		t.Run(name+", one call each", func(t *testing.T) {
			w := newWorld(t, 1)
			for i, s := range steps {
				d := w.commit([]metadata.File{w.file(oneAppend(s.batch))})
				if got := d.Files[0].Result.Outcomes[0][0]; got != s.want {
					t.Fatalf("step %d: got %+v, want %+v", i, got, s.want)
				}
			}
		})
		t.Run(name+", all in one append", func(t *testing.T) {
			w := newWorld(t, 1)
			var batches []metadata.Batch
			var want []metadata.Outcome
			for _, s := range steps {
				batches, want = append(batches, s.batch), append(want, s.want)
			}
			d := w.commit([]metadata.File{w.file(oneAppend(batches...))})
			if got := d.Files[0].Result.Outcomes[0]; !slices.Equal(got, want) {
				t.Fatalf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestRefusedBatchSplitsRun(t *testing.T) {
	for name, encoding := range map[string]metadata.Encoding{"raw": metadata.EncodingRaw, "framed": metadata.EncodingFramed} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1)
			a := oneAppend(idempotent(0, 0, 2), idempotent(0, 0, 2), idempotent(0, 2, 3), idempotent(0, 5, 1))
			a.Encoding, a.Position, a.Batches[3].MaxTimestamp = encoding, 1000, 99
			d := w.commit([]metadata.File{w.file(a)})
			first := metadata.Run{Partition: 1, BaseOffset: 0, Records: 2, FileID: fileID(w.state.Now, 1), Encoding: encoding, Position: 1000, StoredSize: 10, Size: 10, MaxTimestamp: 1}
			second := metadata.Run{Partition: 1, BaseOffset: 2, Records: 4, FileID: fileID(w.state.Now, 1), Encoding: encoding, Position: 1020, StoredSize: 20, Size: 20, MaxTimestamp: 99}
			if encoding == metadata.EncodingFramed {
				first.StoredSize, second.StoredSize = 40, 40
				second.Position, second.Skip = 1000, 20
			}
			if want := []metadata.Run{first, second}; !slices.Equal(d.Files[0].Runs, want) {
				t.Fatalf("got  %+v\nwant %+v", d.Files[0].Runs, want)
			}
		})
	}
}

func TestRunOfTooManyRecordsSplits(t *testing.T) {
	w := newWorld(t, 1)
	b := metadata.Batch{Size: 1, Records: math.MaxInt32, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}
	d, err := Decide(w.state, []metadata.File{w.file(oneAppend(b, b))})
	if err != nil {
		t.Fatal(err)
	}
	if runs := d.Files[0].Runs; len(runs) != 2 || runs[1].BaseOffset != math.MaxInt32 || d.Partitions[0].NextOffset != 2*math.MaxInt32 {
		t.Fatalf("runs %+v, partitions %+v", runs, d.Partitions)
	}
}

func TestFileAge(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	v4 := uuid.UUID{6: 0x40, 8: 0x80}
	for _, c := range []struct {
		name string
		id   uuid.UUID
		old  bool
	}{
		{"just young enough", fileID(now.Add(-metadata.MaxFileAge), 1), false},
		{"a millisecond too old", fileID(now.Add(-metadata.MaxFileAge-time.Millisecond), 1), true},
		{"agent's clock a little ahead", fileID(now.Add(metadata.MaxFileAge), 1), false},
		{"agent's clock far ahead", fileID(now.Add(metadata.MaxFileAge+time.Millisecond), 1), true},
		{"version 4", v4, true},
		{"zero", uuid.UUID{}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			state := State{Now: now, Partitions: map[metadata.PartitionID]Partition{1: {LogStartOffset: 3, NextOffset: 5, FirstUnstable: -1}}}
			files := []metadata.File{
				{ID: c.id, Size: 1, Appends: []metadata.Append{oneAppend(idempotent(0, 0, 1))}},
				{ID: fileID(now, 2), Size: 1, Appends: []metadata.Append{oneAppend(idempotent(0, 1, 1))}},
			}
			d, err := Decide(state, files)
			if err != nil {
				t.Fatal(err)
			}
			got := d.Files[0]
			if errors.Is(got.Result.Outcomes[0][0].Err, metadata.ErrFileTooOld) != c.old || got.Fresh == c.old || (len(got.Runs) == 0) != c.old {
				t.Errorf("got %+v", got)
			}
			if got.Result.LogStartOffsets[0] != 3 {
				t.Errorf("log start offset %d", got.Result.LogStartOffsets[0])
			}
			// The file behind shares its fate: a later batch must not pass an earlier one.
			next := d.Files[1]
			if errors.Is(next.Result.Outcomes[0][0].Err, metadata.ErrFileTooOld) != c.old || next.Fresh == c.old {
				t.Errorf("the file behind: %+v", next)
			}
		})
	}
}

func TestCommittedFileKeepsItsResult(t *testing.T) {
	w := newWorld(t, 1)
	f := w.file(oneAppend(idempotent(0, 0, 1)))
	before := [][]metadata.Outcome{{{BaseOffset: 42}}}
	state := w.state
	state.Now = state.Now.Add(24 * time.Hour)
	state.Committed = map[uuid.UUID][][]metadata.Outcome{f.ID: before}
	d, err := Decide(state, []metadata.File{f})
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Files[0]; got.Fresh || got.Runs != nil || got.Result.Outcomes[0][0] != before[0][0] || len(d.Partitions) != 0 || len(d.Producers) != 0 {
		t.Fatalf("got %+v", d)
	}
	f.Appends = append(f.Appends, metadata.Append{Partition: 2, StoredSize: 1, Batches: []metadata.Batch{{Size: 1, Records: 1, ProducerID: -1}}})
	if _, err := Decide(state, []metadata.File{f}); err == nil {
		t.Fatal("other contents under the same file ID were taken for a repetition")
	}
}

func TestKeys(t *testing.T) {
	b := func(pid int64) metadata.Batch { return metadata.Batch{Size: 1, Records: 1, ProducerID: pid} }
	tx := func(pid int64) metadata.Batch {
		return metadata.Batch{Size: 1, Records: 1, ProducerID: pid, Transactional: true}
	}
	partitions, producers, transactional := Keys([]metadata.File{
		{Appends: []metadata.Append{{Partition: 9, Batches: []metadata.Batch{b(5), tx(5), tx(5), b(-1), b(4)}}}},
		{Appends: []metadata.Append{{Partition: 2, Batches: []metadata.Batch{b(-1), tx(3)}}, {Partition: 9, Batches: []metadata.Batch{b(5), tx(3)}}}},
	})
	if !slices.Equal(partitions, []metadata.PartitionID{2, 9}) || !slices.Equal(producers, []ProducerKey{{2, 3}, {9, 3}, {9, 4}, {9, 5}}) ||
		!slices.Equal(transactional, []int64{3, 5}) {
		t.Fatalf("got %v, %v, %v", partitions, producers, transactional)
	}
}

func TestValidate(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	good := func() []metadata.File {
		return []metadata.File{{ID: fileID(now, 1), Size: 1, Appends: []metadata.Append{oneAppend(idempotent(0, 0, 1))}}}
	}
	for _, c := range []struct {
		want  string
		spoil func(f []metadata.File) []metadata.File
	}{
		{"twice in one commit", func(f []metadata.File) []metadata.File { return append(f, f[0]) }},
		{"partition appears twice", func(f []metadata.File) []metadata.File {
			f[0].Appends = append(f[0].Appends, f[0].Appends[0])
			return f
		}},
		{"no batches", func(f []metadata.File) []metadata.File { f[0].Appends[0].Batches = nil; return f }},
		{"no range", func(f []metadata.File) []metadata.File { f[0].Appends[0].Position = -1; return f }},
		{"don't fill", func(f []metadata.File) []metadata.File { f[0].Appends[0].StoredSize++; return f }},
		{"unknown encoding", func(f []metadata.File) []metadata.File { f[0].Appends[0].Encoding = 2; return f }},
		{"0 records", func(f []metadata.File) []metadata.File { f[0].Appends[0].Batches[0].Records = 0; return f }},
		{"in -1 bytes", func(f []metadata.File) []metadata.File { f[0].Appends[0].Batches[0].Size = -1; return f }},
		{"sequence -1", func(f []metadata.File) []metadata.File { f[0].Appends[0].Batches[0].BaseSequence = -1; return f }},
		{"without a producer ID", func(f []metadata.File) []metadata.File {
			f[0].Appends[0].Batches[0] = metadata.Batch{Size: 10, Records: 1, ProducerID: -1, Transactional: true}
			return f
		}},
		{"not transactional", func(f []metadata.File) []metadata.File { f[0].Appends[0].Batches[0].AddsPartition = true; return f }},
		{"too much", func(f []metadata.File) []metadata.File {
			a := &f[0].Appends[0]
			a.Encoding = metadata.EncodingFramed
			a.Batches[0].Size = math.MaxInt32
			a.Batches = append(a.Batches, a.Batches[0])
			return f
		}},
	} {
		if err := Validate(c.spoil(good())); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
	if err := Validate(good()); err != nil {
		t.Error(err)
	}
}
