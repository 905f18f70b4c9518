package metadatatest

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"

	"github.com/wadi-log/wadi/metadata"
)

var recordTests = slices.Concat([]test{
	{"DeletedRecordsAreNotFound", deletedRecordsAreNotFound},
	{"LogStartWithinARun", logStartWithinARun},
	{"WrongDeletionsHarmNoOther", wrongDeletionsHarmNoOther},
	{"RepeatedDeletionChangesNothing", repeatedDeletionChangesNothing},
	{"DeletionIsInTheFeed", deletionIsInTheFeed},
	{"EmptiedPartitionGoesOn", emptiedPartitionGoesOn},
	{"TrimStopsAtItsLimit", trimStopsAtItsLimit},
	{"SizesFollowTheRecords", sizesFollowTheRecords},
	{"DeletedTopicAfterDeletedRecords", deletedTopicAfterDeletedRecords},
}, seeded("DeletionsAndCommitsAtOnce", deletionsAndCommitsAtOnce))

// deleteRecords deletes through the fixture's store and requires the log start.
func (f *fixture) deleteRecords(partition metadata.PartitionID, before, logStart int64) metadata.RecordsDeleted {
	f.Helper()
	deleted, err := f.store.DeleteRecords(f.ctx, []metadata.RecordsDeletion{{Partition: partition, Before: before}})
	f.must(err)
	if want := []metadata.DeletedRecords{{LogStartOffset: logStart}}; !reflect.DeepEqual(deleted.Partitions, want) {
		f.Fatalf("deleted before %d: %+v, want %+v", before, deleted.Partitions, want)
	}
	return deleted
}

// runsFrom reads the runs from the offset to the partition's end.
func (f *fixture) runsFrom(partition metadata.PartitionID, offset int64) (all []metadata.Run) {
	f.Helper()
	for {
		found, err := f.store.FindRuns(f.ctx, []metadata.RunQuery{{Partition: partition, Offset: offset, MaxBytes: 1 << 40, MaxRuns: metadata.MaxRuns}})
		f.must(err)
		if len(found[0].Runs) == 0 {
			return all
		}
		all = append(all, found[0].Runs...)
		offset = all[len(all)-1].NextOffset()
	}
}

func (f *fixture) trim(limit, want int) {
	f.Helper()
	n, err := f.store.TrimRuns(f.ctx, limit)
	f.must(err)
	if n != want {
		f.Fatalf("trimmed %d runs, want %d", n, want)
	}
}

func deletedRecordsAreNotFound(f *fixture) {
	topic := f.topic("t", 2)
	p, other := topic.Partitions[0], topic.Partitions[1]
	files := make([]metadata.File, 4)
	for i := range files {
		files[i] = newFile(f, appendTo(p, plain(5, int64(i*10))), appendTo(other, plain(1, 1)))
	}
	f.commit(files...)
	f.deleteRecords(p, 10, 10)

	if got, want := f.bounds(p), noneOpen(metadata.Bounds{Exists: true, LogStartOffset: 10, NextOffset: 20, MaxTimestamp: 30}); got != want {
		f.Errorf("bounds %+v, want %+v", got, want)
	}
	for _, offset := range []int64{0, 9, 20} {
		if runs := f.runsFrom(p, offset); len(runs) != 0 {
			f.Errorf("from %d: %+v", offset, runs)
		}
	}
	if runs := f.runsFrom(p, 10); len(runs) != 2 || runs[0].BaseOffset != 10 {
		f.Errorf("from 10: %+v", runs)
	}
	found, err := f.store.RunByTimestamp(f.ctx, []metadata.TimestampQuery{{Partition: p, Timestamp: 0}, {Partition: p, Timestamp: 25}})
	f.must(err)
	if !found[0].Found || found[0].Run.BaseOffset != 10 || !found[1].Found || found[1].Run.BaseOffset != 15 {
		f.Errorf("by timestamp: %+v", found)
	}
	// The other partition keeps its records, and its runs keep the files.
	checkContiguous(f, f.runs(other), 4)
	counts := f.db.FileCounts(f)
	for i, file := range files {
		want := FileCount{LiveRuns: 2, Rows: 2}
		if i < 2 {
			want = FileCount{LiveRuns: 1, Rows: 1}
		}
		if got := counts[file.ID]; got != want {
			f.Errorf("file %d: %+v, want %+v", i, got, want)
		}
	}
	f.trim(100, 0)
	// What a commit answers with.
	if got := f.commit(newFile(f, appendTo(p, plain(1, 1)))).Files[0].LogStartOffsets[0]; got != 10 {
		f.Errorf("the commit says that the log starts at %d", got)
	}
}

// logStartWithinARun: a batch is never cut, and the run that holds it stays.
func logStartWithinARun(f *fixture) {
	p := f.topic("t", 1).Partitions[0]
	for range 3 {
		f.commitOne(p, plain(10, 1))
	}
	for _, before := range []int64{1, 9, 11, 19} {
		f.deleteRecords(p, before, before)
		if runs := f.runsFrom(p, before); len(runs) == 0 || runs[0].BaseOffset != before/10*10 || runs[0].Records != 10 {
			f.Fatalf("from %d: %+v", before, runs)
		}
		if runs := f.runsFrom(p, before-1); len(runs) != 0 {
			f.Fatalf("from %d: %+v", before-1, runs)
		}
	}
	if runs := f.runsFrom(p, 19); len(runs) != 2 {
		f.Fatalf("%d runs are left, want 2", len(runs))
	}
	f.trim(100, 0)
}

func wrongDeletionsHarmNoOther(f *fixture) {
	gone, topic := f.topic("gone", 1), f.topic("t", 3)
	p := topic.Partitions
	f.must(f.store.DeleteTopic(f.ctx, gone.ID))
	for _, id := range p {
		f.commitOne(id, plain(10, 1))
	}
	wrong := func(err error) metadata.DeletedRecords { return metadata.DeletedRecords{LogStartOffset: -1, Err: err} }
	deleted, err := f.store.DeleteRecords(f.ctx, []metadata.RecordsDeletion{
		{Partition: p[2], Before: metadata.AllRecords},
		{Partition: p[1], Before: 11},
		{Partition: gone.Partitions[0], Before: 0},
		{Partition: p[1], Before: -2},
		{Partition: p[0], Before: 4},
		{Partition: math.MaxInt32, Before: metadata.AllRecords},
	})
	f.must(err)
	want := []metadata.DeletedRecords{
		{LogStartOffset: 10}, wrong(metadata.ErrOffsetOutOfRange), wrong(metadata.ErrUnknownPartition), wrong(metadata.ErrOffsetOutOfRange),
		{LogStartOffset: 4}, wrong(metadata.ErrUnknownPartition),
	}
	if !reflect.DeepEqual(deleted.Partitions, want) {
		f.Fatalf("got %+v, want %+v", deleted.Partitions, want)
	}
	for i, start := range []int64{4, 0, 10} {
		if got := f.bounds(p[i]).LogStartOffset; got != start {
			f.Errorf("partition %d starts at %d, want %d", i, got, start)
		}
	}
}

// repeatedDeletionChangesNothing: who lost the reply asks again, perhaps through
// another agent, and is told the same.
func repeatedDeletionChangesNothing(f *fixture) {
	p := f.topic("t", 1).Partitions[0]
	f.commitOne(p, plain(10, 1))
	f.deleteRecords(p, metadata.AllRecords, 10)
	before := f.feed(0)
	f.store = f.db.Open(f)
	for _, again := range []int64{metadata.AllRecords, 10, 3, 0} {
		if deleted := f.deleteRecords(p, again, 10); len(deleted.Commits) != 0 {
			f.Errorf("before %d: %+v", again, deleted.Commits)
		}
	}
	if deleted, err := f.store.DeleteRecords(f.ctx, nil); err != nil || len(deleted.Partitions)+len(deleted.Commits) != 0 {
		f.Errorf("no deletion: %+v, %v", deleted, err)
	}
	if after := f.feed(0); len(after) != len(before) {
		f.Errorf("what changed nothing is in the feed: %+v", after[len(before):])
	}
}

func deletionIsInTheFeed(f *fixture) {
	p := f.topic("t", 3).Partitions
	f.commit(newFile(f, appendTo(p[0], plain(5, 1)), appendTo(p[1], plain(5, 1)), appendTo(p[2], plain(5, 1))))
	seq, err := f.store.LastSeq(f.ctx)
	f.must(err)
	deleted, err := f.store.DeleteRecords(f.ctx, []metadata.RecordsDeletion{{Partition: p[2], Before: 5}, {Partition: p[1], Before: 0}, {Partition: p[0], Before: 2}})
	f.must(err)
	want := []metadata.Commit{{Seq: seq + 1, LogStarts: []metadata.LogStart{{Partition: p[0], Offset: 2}, {Partition: p[2], Offset: 5}}}}
	if !reflect.DeepEqual(deleted.Commits, want) {
		f.Errorf("returned %+v, want %+v", deleted.Commits, want)
	}
	if got := f.feed(seq); !reflect.DeepEqual(got, want) {
		f.Errorf("the feed has %+v, want %+v", got, want)
	}
}

// emptiedPartitionGoesOn where it was: offsets and producers' sequences.
func emptiedPartitionGoesOn(f *fixture) {
	p := f.topic("t", 1).Partitions[0]
	f.wantOutcome(f.commitOne(p, idempotent(9, 0, 0, 10)), accepted(0))
	f.deleteRecords(p, metadata.AllRecords, 10)
	if got, want := f.bounds(p), noneOpen(metadata.Bounds{Exists: true, LogStartOffset: 10, NextOffset: 10, MaxTimestamp: 1}); got != want {
		f.Errorf("bounds %+v, want %+v", got, want)
	}
	found, err := f.store.RunByTimestamp(f.ctx, []metadata.TimestampQuery{{Partition: p, Timestamp: 0}})
	f.must(err)
	if found[0].Found || !found[0].Exists {
		f.Errorf("by timestamp: %+v", found)
	}
	f.wantOutcome(f.commitOne(p, idempotent(9, 0, 0, 10)), duplicate(0))
	f.wantOutcome(f.commitOne(p, idempotent(9, 0, 10, 10)), accepted(10))
	if runs := f.runsFrom(p, 10); len(runs) != 1 || runs[0].BaseOffset != 10 {
		f.Errorf("runs %+v", runs)
	}
}

// trimStopsAtItsLimit: what a deletion leaves, maintenance removes in slices.
func trimStopsAtItsLimit(f *fixture) {
	p := f.topic("t", 3).Partitions
	for range 10 {
		f.commit(newFile(f, appendTo(p[0], plain(2, 1)), appendTo(p[1], plain(2, 1)), appendTo(p[2], plain(2, 1))))
	}
	f.db.SetLogStart(f, p[0], 15) // 7 runs before it, and one around it
	f.db.SetLogStart(f, p[1], 20) // all 10 runs
	f.trim(0, 0)
	f.trim(4, 4)
	f.trim(10, 10)
	f.trim(10, 3)
	f.trim(10, 0)
	for i, want := range []int{3, 0, 10} {
		if runs := f.runsFrom(p[i], []int64{15, 20, 0}[i]); len(runs) != want {
			f.Errorf("partition %d has %d runs, want %d", i, len(runs), want)
		}
	}
	// Agents that trim at the same time remove each run once.
	f.db.SetLogStart(f, p[2], 20)
	var wg sync.WaitGroup
	var mu sync.Mutex
	removed := 0
	for range 3 {
		store := f.db.Open(f)
		wg.Go(func() {
			for n := 1; n > 0; {
				var err error
				if n, err = store.TrimRuns(f.ctx, 2); err != nil {
					f.Error(err)
				}
				mu.Lock()
				removed += n
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	f.trim(10, 10-removed) // those that one found locked by another and so left
	if runs := f.runsFrom(p[2], 0); len(runs) != 0 {
		f.Errorf("left over: %+v", runs)
	}
}

func sizesFollowTheRecords(f *fixture) {
	topic := f.topic("t", 3)
	p := topic.Partitions
	sizes := func(ask ...metadata.PartitionID) []int64 {
		f.Helper()
		got, err := f.store.PartitionSizes(f.ctx, ask)
		f.must(err)
		return got
	}
	for i := range int32(4) {
		f.commit(newFile(f, appendTo(p[0], plain(10, 1), idempotent(9, 0, i/2, 1)), appendTo(p[1], plain(1, 1))))
	}
	// 4 of 100 bytes, and the two that are no duplicates of 10 bytes.
	if got, want := sizes(p[2], p[0], math.MaxInt32, p[1], p[0]), []int64{0, 420, -1, 40, 420}; !slices.Equal(got, want) {
		f.Errorf("sizes %v, want %v", got, want)
	}
	// The run that holds the log start counts in full, whatever is still there of
	// those before it does not.
	f.db.SetLogStart(f, p[0], 12)
	if got, want := sizes(p[0]), []int64{310}; !slices.Equal(got, want) {
		f.Errorf("sizes %v after the log start moved, want %v", got, want)
	}
	f.deleteRecords(p[0], metadata.AllRecords, 42)
	if got, want := sizes(p...), []int64{0, 40, 0}; !slices.Equal(got, want) {
		f.Errorf("sizes %v after all was deleted, want %v", got, want)
	}
	if got := sizes(); len(got) != 0 {
		f.Errorf("asked for none: %v", got)
	}
	f.must(f.store.DeleteTopic(f.ctx, topic.ID))
	if got, want := sizes(p...), []int64{-1, -1, -1}; !slices.Equal(got, want) {
		f.Errorf("sizes %v of a deleted topic, want %v", got, want)
	}
	f.trim(100, 0)
}

// deletedTopicAfterDeletedRecords: what one removal left is removed by the other.
func deletedTopicAfterDeletedRecords(f *fixture) {
	topic := f.topic("t", 1)
	p := topic.Partitions[0]
	for range 3 {
		f.commitOne(p, plain(10, 1))
	}
	f.db.SetLogStart(f, p, 25)
	f.must(f.store.DeleteTopic(f.ctx, topic.ID))
	f.trim(100, 0)
	for id, count := range f.db.FileCounts(f) {
		if count != (FileCount{}) {
			f.Errorf("file %s: %+v", id, count)
		}
	}
}

// deletionsAndCommitsAtOnce, through several stores: each partition's runs go on
// from its log start without holes, log starts never fall, and the feed tells
// of each rise.
func deletionsAndCommitsAtOnce(f *fixture, seed uint64) {
	p := f.topic("t", 2).Partitions
	var wg sync.WaitGroup
	for i := range uint64(2) {
		committer, deleter := f.db.Open(f), f.db.Open(f)
		wg.Go(func() {
			for range 20 {
				if _, err := committer.CommitFiles(f.ctx, []metadata.File{newFile(f, appendTo(p[0], plain(3, 1)), appendTo(p[1], plain(1, 1)))}); err != nil {
					f.Error(err)
				}
			}
		})
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, i))
			last := [2]int64{}
			for range 20 {
				deletions := make([]metadata.RecordsDeletion, 2)
				for j := range deletions {
					deletions[j] = metadata.RecordsDeletion{Partition: p[j], Before: last[j] + rng.Int64N(8) - 2}
				}
				deleted, err := deleter.DeleteRecords(f.ctx, deletions)
				if err != nil {
					f.Error(err)
					return
				}
				for j, d := range deleted.Partitions {
					if d.Err == nil && d.LogStartOffset < max(last[j], deletions[j].Before) {
						f.Errorf("partition %d: deleted before %d after %d, and the log starts at %d", j, deletions[j].Before, last[j], d.LogStartOffset)
					}
					last[j] = max(last[j], d.LogStartOffset)
				}
			}
		})
	}
	wg.Wait()
	starts := map[metadata.PartitionID]int64{}
	for _, c := range f.feed(0) {
		for _, l := range c.LogStarts {
			if l.Offset <= starts[l.Partition] {
				f.Errorf("commit %d: partition %d from %d to %d", c.Seq, l.Partition, starts[l.Partition], l.Offset)
			}
			starts[l.Partition] = l.Offset
		}
	}
	f.trim(1000, 0)
	for i, id := range p {
		b := f.bounds(id)
		if want := []int64{120, 40}[i]; b.NextOffset != want || b.LogStartOffset != starts[id] {
			f.Errorf("partition %d: %+v, want next offset %d, log start %d", i, b, want, starts[id])
		}
		if b.LogStartOffset == b.NextOffset {
			continue
		}
		at := b.LogStartOffset
		for j, r := range f.runsFrom(id, at) {
			if r.BaseOffset != at && (j > 0 || r.BaseOffset > at || r.NextOffset() <= at) {
				f.Errorf("partition %d: run %+v at %d", i, r, at)
			}
			at = r.NextOffset()
		}
		if at != b.NextOffset {
			f.Errorf("partition %d: the runs end at %d, want %d", i, at, b.NextOffset)
		}
	}
}
