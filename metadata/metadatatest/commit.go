package metadatatest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

var commitTests = append([]test{
	{"OffsetsAreAssignedInOrder", offsetsAreAssignedInOrder},
	{"FramedAppendIsKept", framedAppendIsKept},
	{"NothingToCommit", nothingToCommit},
	{"LostReplyIsAnsweredAgain", lostReplyIsAnsweredAgain},
	{"RefusalIsAnsweredAgain", refusalIsAnsweredAgain},
	{"RepetitionBesideNewFile", repetitionBesideNewFile},
	{"RepetitionAfterPartitionWasDeleted", repetitionAfterPartitionWasDeleted},
	{"FailedCallChangesNothing", failedCallChangesNothing},
	{"CancelledCallChangesNothing", cancelledCallChangesNothing},
	{"UnknownPartitionHarmsNoOther", unknownPartitionHarmsNoOther},
	{"OldFileIsRefused", oldFileIsRefused},
	{"FileFromTheFutureOutlivesTrim", fileFromTheFutureOutlivesTrim},
	{"FileWithoutAcceptedBatchIsDeletable", fileWithoutAcceptedBatchIsDeletable},
	{"SameFileFromTwoAgents", sameFileFromTwoAgents},
	{"ManyPartitions", manyPartitions},
}, seeded("ConcurrentCommitters", concurrentCommitters)...)

func offsetsAreAssignedInOrder(f *fixture) {
	p := f.topic("t", 2).Partitions
	first := newFile(f, appendTo(p[0], plain(3, 10), plain(2, 5)), appendTo(p[1], plain(1, 7)))
	second := newFile(f, appendTo(p[1], plain(4, 1)), appendTo(p[0], plain(1, 20)))
	result := f.commit(first, second)
	want := []metadata.FileResult{
		{Outcomes: [][]metadata.Outcome{{accepted(0), accepted(3)}, {accepted(0)}}, LogStartOffsets: []int64{0, 0}},
		{Outcomes: [][]metadata.Outcome{{accepted(1)}, {accepted(5)}}, LogStartOffsets: []int64{0, 0}},
	}
	if !reflect.DeepEqual(result.Files, want) {
		f.Fatalf("got %+v, want %+v", result.Files, want)
	}
	wantRuns := []metadata.Run{
		{Partition: p[0], BaseOffset: 0, Records: 5, FileID: first.ID, Position: 100, StoredSize: 50, Size: 50, MaxTimestamp: 10},
		{Partition: p[0], BaseOffset: 5, Records: 1, FileID: second.ID, Position: 100, StoredSize: 10, Size: 10, MaxTimestamp: 20},
		{Partition: p[1], BaseOffset: 0, Records: 1, FileID: first.ID, Position: 100, StoredSize: 10, Size: 10, MaxTimestamp: 7},
		{Partition: p[1], BaseOffset: 1, Records: 4, FileID: second.ID, Position: 100, StoredSize: 40, Size: 40, MaxTimestamp: 7},
	}
	if got := slices.Concat(f.runs(p[0]), f.runs(p[1])); !slices.Equal(got, wantRuns) {
		f.Fatalf("got  %+v\nwant %+v", got, wantRuns)
	}
	wantBounds := noneOpen(metadata.Bounds{Exists: true, NextOffset: 6, MaxTimestamp: 20})
	if got := f.bounds(p[0]); got != wantBounds {
		f.Fatalf("got %+v, want %+v", got, wantBounds)
	}
	// What the call returned, and what every agent reads in the feed, is the same.
	feed := f.feed(1)
	if !reflect.DeepEqual(result.Commits, feed) || len(feed) != 2 || feed[0].Seq != 2 {
		f.Fatalf("returned %+v\nfeed     %+v", result.Commits, feed)
	}
	got := slices.Concat(feed[0].Runs, feed[1].Runs)
	if sortRuns(got); !slices.Equal(got, wantRuns) {
		f.Fatalf("feed: got  %+v\nwant %+v", got, wantRuns)
	}
}

func framedAppendIsKept(f *fixture) {
	p := f.topic("t", 1).Partitions
	a := appendTo(p[0], idempotent(1, 0, 0, 1), idempotent(1, 0, 0, 1), idempotent(1, 0, 1, 2))
	a.Encoding, a.Position, a.StoredSize = metadata.EncodingFramed, 1<<33, 17
	file := newFile(f, a)
	f.commit(file)
	want := []metadata.Run{
		{Partition: p[0], BaseOffset: 0, Records: 1, FileID: file.ID, Encoding: metadata.EncodingFramed, Position: 1 << 33, StoredSize: 17, Size: 10, MaxTimestamp: 1},
		{Partition: p[0], BaseOffset: 1, Records: 2, FileID: file.ID, Encoding: metadata.EncodingFramed, Position: 1 << 33, StoredSize: 17, Skip: 20, Size: 20, MaxTimestamp: 1},
	}
	if got := f.runs(p[0]); !slices.Equal(got, want) {
		f.Fatalf("got  %+v\nwant %+v", got, want)
	}
}

func nothingToCommit(f *fixture) {
	result := f.commit()
	if len(result.Files) != 0 || len(result.Commits) != 0 {
		f.Fatalf("got %+v", result)
	}
}

func lostReplyIsAnsweredAgain(f *fixture) {
	p := f.topic("t", 2).Partitions
	file := newFile(f,
		appendTo(p[0], plain(3, 1), idempotent(5, 0, 7, 1), idempotent(5, 0, 7, 1), idempotent(5, 0, 9, 1)),
		appendTo(p[1], plain(1, 1)),
		appendTo(999, plain(1, 1)))
	first := f.commit(file)
	f.commitOne(p[0], plain(1, 1))

	other := f.other()
	for range 2 {
		again := other.commit(file)
		if !reflect.DeepEqual(again.Files, first.Files) || len(again.Commits) != 0 {
			f.Fatalf("got %+v, want %+v and no feed entry", again, first.Files)
		}
	}
	// The replay record counts, not the file's age.
	f.db.Age(f, 24*time.Hour)
	if again := other.commit(file); !reflect.DeepEqual(again.Files, first.Files) {
		f.Fatalf("a day later: got %+v, want %+v", again.Files, first.Files)
	}
	checkContiguous(f, f.runs(p[0]), 5)

	changed := file
	changed.Appends = changed.Appends[:1]
	if _, err := other.store.CommitFiles(f.ctx, []metadata.File{changed}); err == nil {
		f.Fatal("other contents under the same file ID were taken for a repetition")
	}
}

func refusalIsAnsweredAgain(f *fixture) {
	p := f.topic("t", 1).Partitions
	f.wantOutcome(f.commitOne(p[0], idempotent(5, 0, 0, 1)), accepted(0))
	early := newFile(f, appendTo(p[0], idempotent(5, 0, 2, 1)))
	f.wantOutcome(f.commit(early).Files[0].Outcomes[0][0], refused(metadata.ErrOutOfOrderSequence))
	f.wantOutcome(f.commitOne(p[0], idempotent(5, 0, 1, 1)), accepted(1))
	// Now it would be in order; but its sender may have been told otherwise.
	f.wantOutcome(f.commit(early).Files[0].Outcomes[0][0], refused(metadata.ErrOutOfOrderSequence))
}

func repetitionBesideNewFile(f *fixture) {
	p := f.topic("t", 1).Partitions
	first, second := newFile(f, appendTo(p[0], plain(2, 1))), newFile(f, appendTo(p[0], plain(3, 1)))
	f.commit(first)
	result := f.commit(first, second)
	f.wantOutcome(result.Files[0].Outcomes[0][0], accepted(0))
	f.wantOutcome(result.Files[1].Outcomes[0][0], accepted(2))
	if len(result.Commits) != 1 || result.Commits[0].Runs[0].FileID != second.ID {
		f.Fatalf("feed entries %+v", result.Commits)
	}
}

func repetitionAfterPartitionWasDeleted(f *fixture) {
	topic := f.topic("t", 1)
	file := newFile(f, appendTo(topic.Partitions[0], plain(2, 1)))
	f.commit(file)
	f.must(f.store.DeleteTopic(f.ctx, topic.ID))
	again := f.commit(file)
	f.wantOutcome(again.Files[0].Outcomes[0][0], accepted(0))
	if got := again.Files[0].LogStartOffsets[0]; got != -1 {
		f.Fatalf("log start offset %d of a partition that is gone", got)
	}
}

func failedCallChangesNothing(f *fixture) {
	p := f.topic("t", 1).Partitions
	before := newFile(f, appendTo(p[0], plain(1, 1)))
	f.commit(before)
	spoiled := before
	spoiled.Appends = nil
	twice := newFile(f, appendTo(p[0], plain(1, 1)), appendTo(p[0], plain(1, 1)))
	for _, bad := range []metadata.File{spoiled, twice} {
		good := newFile(f, appendTo(p[0], idempotent(1, 0, 0, 1)))
		if _, err := f.store.CommitFiles(f.ctx, []metadata.File{good, bad}); err == nil {
			f.Fatalf("committed %+v", bad)
		}
		if got := f.bounds(p[0]).NextOffset; got != 1 {
			f.Fatalf("next offset %d after a failed call", got)
		}
	}
	f.wantOutcome(f.commitOne(p[0], idempotent(1, 0, 9, 1)), accepted(1))
}

func cancelledCallChangesNothing(f *fixture) {
	p := f.topic("t", 1).Partitions
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	_, err := f.store.CommitFiles(ctx, []metadata.File{newFile(f, appendTo(p[0], plain(1, 1)))})
	f.wantErr(err, metadata.ErrUnavailable)
	if got := f.bounds(p[0]).NextOffset; got != 0 {
		f.Fatalf("next offset %d", got)
	}
}

func unknownPartitionHarmsNoOther(f *fixture) {
	gone, stays := f.topic("gone", 1), f.topic("stays", 1)
	f.must(f.store.DeleteTopic(f.ctx, gone.ID))
	file := newFile(f, appendTo(gone.Partitions[0], plain(1, 1), plain(1, 1)), appendTo(stays.Partitions[0], plain(1, 1)), appendTo(1<<30, plain(1, 1)))
	result := f.commit(file, newFile(f, appendTo(stays.Partitions[0], plain(1, 1))))
	for _, o := range slices.Concat(result.Files[0].Outcomes[0], result.Files[0].Outcomes[2]) {
		f.wantOutcome(o, refused(metadata.ErrUnknownPartition))
	}
	f.wantOutcome(result.Files[0].Outcomes[1][0], accepted(0))
	f.wantOutcome(result.Files[1].Outcomes[0][0], accepted(1))
	if got, want := result.Files[0].LogStartOffsets, []int64{-1, 0, -1}; !slices.Equal(got, want) {
		f.Fatalf("log start offsets %v, want %v", got, want)
	}
	if runs := f.runs(gone.Partitions[0]); len(runs) != 0 {
		f.Fatalf("runs of a deleted partition: %+v", runs)
	}
}

func oldFileIsRefused(f *fixture) {
	p := f.topic("t", 1).Partitions
	before, err := f.store.LastSeq(f.ctx)
	f.must(err)
	v4 := newFile(f, appendTo(p[0], plain(1, 1)))
	v4.ID = uuid.New()
	for name, file := range map[string]metadata.File{
		"older than the deadline": datedFile(f, time.Now().Add(-metadata.MaxFileAge-time.Minute), appendTo(p[0], plain(1, 1))),
		"from a clock far ahead":  datedFile(f, time.Now().Add(metadata.MaxFileAge+time.Minute), appendTo(p[0], plain(1, 1))),
		"no UUIDv7":               v4,
	} {
		f.Log(name)
		result := f.commit(newFile(f, appendTo(p[0], plain(1, 1))), file, newFile(f, appendTo(p[0], plain(1, 1))))
		if o := result.Files[0].Outcomes[0][0]; o.Err != nil {
			f.Fatalf("the file before it: %+v", o)
		}
		f.wantOutcome(result.Files[1].Outcomes[0][0], refused(metadata.ErrFileTooOld))
		f.wantOutcome(result.Files[2].Outcomes[0][0], refused(metadata.ErrFileTooOld))
		if _, known := f.db.FileCounts(f)[file.ID]; known {
			f.Fatal("the file was entered")
		}
	}
	after, err := f.store.LastSeq(f.ctx)
	f.must(err)
	if after != before+3 {
		f.Fatalf("%d feed entries, want 3", after-before)
	}
	f.commit(datedFile(f, time.Now().Add(-metadata.MaxFileAge+time.Minute), appendTo(p[0], plain(1, 1))))
	checkContiguous(f, f.runs(p[0]), 4)
}

func fileFromTheFutureOutlivesTrim(f *fixture) {
	p := f.topic("t", 1).Partitions
	ahead := datedFile(f, time.Now().Add(8*time.Minute), appendTo(p[0], plain(1, 1)))
	f.commit(ahead)
	f.commitOne(p[0], plain(1, 1))
	f.db.Age(f, metadata.MaxFileAge+time.Minute)
	_, err := f.store.TrimFeed(f.ctx, 0, 100)
	f.must(err)
	f.wantOutcome(f.commit(ahead).Files[0].Outcomes[0][0], accepted(0))
	if got := f.bounds(p[0]).NextOffset; got != 2 {
		f.Fatalf("committed twice: next offset %d", got)
	}
}

func fileWithoutAcceptedBatchIsDeletable(f *fixture) {
	p := f.topic("t", 1).Partitions
	f.commitOne(p[0], idempotent(1, 0, 0, 1))
	file := newFile(f, appendTo(p[0], idempotent(1, 0, 0, 1)))
	f.wantOutcome(f.commit(file).Files[0].Outcomes[0][0], duplicate(0))
	if count, known := f.db.FileCounts(f)[file.ID]; !known || count.LiveRuns != 0 {
		f.Fatalf("got %+v, %v; want the file with 0 live runs, for whoever deletes objects", count, known)
	}
}

// sameFileFromTwoAgents: a repetition that runs beside its first attempt.
func sameFileFromTwoAgents(f *fixture) {
	p := f.topic("t", 1).Partitions
	stores := []metadata.Store{f.store, f.db.Open(f)}
	for i := range int64(20) {
		file := newFile(f, appendTo(p[0], plain(1, 1)))
		offsets := make([]int64, len(stores))
		var wg sync.WaitGroup
		for j, store := range stores {
			wg.Go(func() {
				result, err := store.CommitFiles(f.ctx, []metadata.File{file})
				if err != nil {
					f.Error(err)
					return
				}
				offsets[j] = result.Files[0].Outcomes[0][0].BaseOffset
			})
		}
		wg.Wait()
		if offsets[0] != i || offsets[1] != i {
			f.Fatalf("offsets %v, want %d twice", offsets, i)
		}
	}
	checkContiguous(f, f.runs(p[0]), 20)
}

func manyPartitions(f *fixture) {
	const n = 2000
	p := f.topic("t", n).Partitions
	var appends []metadata.Append
	for i, id := range p {
		appends = append(appends, appendTo(id, idempotent(int64(i), 0, 0, 1), idempotent(int64(i), 0, 0, 1), idempotent(int64(i), 0, 1, 1)))
	}
	for range 2 {
		result := f.commit(newFile(f, appends...))
		for i, outcomes := range result.Files[0].Outcomes {
			if outcomes[0].BaseOffset != 0 || !outcomes[1].Duplicate || outcomes[2].BaseOffset != 1 {
				f.Fatalf("append %d: %+v", i, outcomes)
			}
		}
	}
	bounds, err := f.store.Bounds(f.ctx, p)
	f.must(err)
	for i, b := range bounds {
		if b.NextOffset != 2 {
			f.Fatalf("partition %d: %+v", p[i], b)
		}
	}
}

// concurrentCommitters: several agents commit to the same partitions at once,
// now and then repeat a file, and deliver their producers' batches twice.
func concurrentCommitters(f *fixture, seed uint64) {
	const committers, commits = 4, 25
	p := f.topic("t", 5).Partitions
	stores := []metadata.Store{f.store, f.db.Open(f)}
	records := make([]map[metadata.PartitionID]int64, committers)
	var wg sync.WaitGroup
	for i := range committers {
		records[i] = map[metadata.PartitionID]int64{}
		wg.Go(func() {
			c := committer{store: stores[i%2], rng: rand.New(rand.NewPCG(seed, uint64(i))), producer: int64(i), accepted: records[i], sequences: map[metadata.PartitionID]int32{}}
			for range commits {
				if err := c.step(f, p); err != nil {
					f.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for _, id := range p {
		want := int64(0)
		for _, r := range records {
			want += r[id]
		}
		checkContiguous(f, f.runs(id), want)
		if got := f.bounds(id).NextOffset; got != want {
			f.Fatalf("partition %d ends at %d, but %d records were accepted", id, got, want)
		}
	}
}

// committer is one agent with one idempotent producer.
type committer struct {
	store     metadata.Store
	rng       *rand.Rand
	producer  int64
	accepted  map[metadata.PartitionID]int64
	sequences map[metadata.PartitionID]int32
}

func (c *committer) step(f *fixture, partitions []metadata.PartitionID) error {
	var appends []metadata.Append
	for _, id := range partitions {
		if c.rng.IntN(3) == 0 {
			continue
		}
		b := idempotent(c.producer, 0, c.sequences[id], 1+c.rng.Int32N(4))
		c.sequences[id] += b.Records
		c.accepted[id] += int64(b.Records)
		appends = append(appends, appendTo(id, b))
	}
	file := newFile(f, appends...)
	result, err := c.store.CommitFiles(f.ctx, []metadata.File{file})
	if err != nil {
		return err
	}
	for _, outcomes := range result.Files[0].Outcomes {
		if o := outcomes[0]; o.Err != nil || o.Duplicate {
			return fmt.Errorf("producer %d: %+v", c.producer, o)
		}
	}
	if c.rng.IntN(4) == 0 {
		again, err := c.store.CommitFiles(f.ctx, []metadata.File{file})
		if err != nil || !reflect.DeepEqual(again.Files, result.Files) {
			return errors.Join(err, fmt.Errorf("repeated: got %+v, want %+v", again.Files, result.Files))
		}
	}
	if c.rng.IntN(4) == 0 {
		// The producer retries through another file.
		again, err := c.store.CommitFiles(f.ctx, []metadata.File{newFile(f, appends...)})
		if err != nil {
			return err
		}
		for i, outcomes := range again.Files[0].Outcomes {
			if want := duplicate(result.Files[0].Outcomes[i][0].BaseOffset); outcomes[0] != want {
				return fmt.Errorf("retried: got %+v, want %+v", outcomes[0], want)
			}
		}
	}
	return nil
}
