package metadatatest

import (
	"math"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

var producerTests = []test{
	{"DuplicateAnswersWithOriginalOffset", duplicateAnswersWithOriginalOffset},
	{"OutOfOrder", outOfOrder},
	{"FencedByNewerEpoch", fencedByNewerEpoch},
	{"SequenceWraps", sequenceWraps},
	{"StateIsPerPartition", stateIsPerPartition},
	{"DuplicateSplitsRun", duplicateSplitsRun},
	{"IdleStateExpires", idleStateExpires},
	{"IDsAreNeverGivenTwice", idsAreNeverGivenTwice},
	{"ActiveProducersAreShown", activeProducersAreShown},
}

// duplicateAnswersWithOriginalOffset: the client's retry came through another agent.
func duplicateAnswersWithOriginalOffset(f *fixture) {
	p := f.topic("t", 1).Partitions
	other := f.other()
	for i := range int32(6) {
		f.wantOutcome(f.commitOne(p[0], idempotent(9, 0, i*2, 2)), accepted(int64(i)*2))
	}
	for i := range int32(5) {
		f.wantOutcome(other.commitOne(p[0], idempotent(9, 0, 2+i*2, 2)), duplicate(2+int64(i)*2))
	}
	// Older than the last five: Kafka calls it out of order, too.
	f.wantOutcome(other.commitOne(p[0], idempotent(9, 0, 0, 2)), refused(metadata.ErrOutOfOrderSequence))
	if got := f.bounds(p[0]).NextOffset; got != 12 {
		f.Fatalf("next offset %d", got)
	}
}

func outOfOrder(f *fixture) {
	p := f.topic("t", 1).Partitions
	f.wantOutcome(f.commitOne(p[0], idempotent(9, 0, 100, 5)), accepted(0))
	f.wantOutcome(f.commitOne(p[0], idempotent(9, 0, 106, 5)), refused(metadata.ErrOutOfOrderSequence))
	f.wantOutcome(f.commitOne(p[0], idempotent(9, 0, 104, 5)), refused(metadata.ErrOutOfOrderSequence))
	f.wantOutcome(f.commitOne(p[0], idempotent(9, 0, 105, 5)), accepted(5))
}

func fencedByNewerEpoch(f *fixture) {
	p := f.topic("t", 1).Partitions
	f.wantOutcome(f.commitOne(p[0], idempotent(9, 3, 0, 1)), accepted(0))
	f.wantOutcome(f.commitOne(p[0], idempotent(9, 4, 1, 1)), refused(metadata.ErrOutOfOrderSequence))
	f.wantOutcome(f.commitOne(p[0], idempotent(9, 4, 0, 1)), accepted(1))
	f.wantOutcome(f.commitOne(p[0], idempotent(9, 3, 1, 1)), refused(metadata.ErrInvalidProducerEpoch))
	f.wantOutcome(f.commitOne(p[0], idempotent(9, math.MaxInt16, 0, 1)), accepted(2))
}

func sequenceWraps(f *fixture) {
	p := f.topic("t", 1).Partitions
	f.wantOutcome(f.commitOne(p[0], idempotent(9, 0, math.MaxInt32, 1)), accepted(0))
	f.wantOutcome(f.commitOne(p[0], idempotent(9, 0, 0, 1)), accepted(1))
	f.wantOutcome(f.commitOne(p[0], idempotent(8, 0, math.MaxInt32-1, 4)), accepted(2))
	f.wantOutcome(f.commitOne(p[0], idempotent(8, 0, 2, 1)), accepted(6))
	f.wantOutcome(f.commitOne(p[0], idempotent(8, 0, math.MaxInt32-1, 4)), duplicate(2))
}

func stateIsPerPartition(f *fixture) {
	p := f.topic("t", 2).Partitions
	f.wantOutcome(f.commitOne(p[0], idempotent(9, 0, 0, 1)), accepted(0))
	f.wantOutcome(f.commitOne(p[1], idempotent(9, 0, 50, 1)), accepted(0))
	f.wantOutcome(f.commitOne(p[0], idempotent(8, 0, 70, 1)), accepted(1))
	f.wantOutcome(f.commitOne(p[0], idempotent(9, 0, 1, 1)), accepted(2))
}

func duplicateSplitsRun(f *fixture) {
	p := f.topic("t", 1).Partitions
	f.commitOne(p[0], idempotent(9, 0, 0, 1))
	result := f.commit(newFile(f, appendTo(p[0], plain(2, 1), idempotent(9, 0, 0, 1), plain(3, 1), idempotent(9, 0, 1, 1))))
	want := []metadata.Outcome{accepted(1), duplicate(0), accepted(3), accepted(6)}
	if got := result.Files[0].Outcomes[0]; !slices.Equal(got, want) {
		f.Fatalf("got %+v, want %+v", got, want)
	}
	runs := f.runs(p[0])[1:]
	if len(runs) != 2 || runs[0].Position != 100 || runs[0].Size != 20 || runs[1].Position != 130 || runs[1].Size != 40 {
		f.Fatalf("runs %+v", runs)
	}
	checkContiguous(f, f.runs(p[0]), 7)
}

func idleStateExpires(f *fixture) {
	p := f.topic("t", 3).Partitions
	f.commit(newFile(f, appendTo(p[0], idempotent(9, 4, 0, 1)), appendTo(p[1], idempotent(9, 4, 0, 1)), appendTo(p[2], idempotent(9, 4, 0, 1))))
	expire := func(limit, want int) {
		f.Helper()
		n, err := f.store.ExpireProducers(f.ctx, time.Hour, limit)
		f.must(err)
		if n != want {
			f.Fatalf("expired %d states, want %d", n, want)
		}
	}
	expire(10, 0)
	f.db.Age(f, 2*time.Hour)
	f.wantOutcome(f.commitOne(p[1], idempotent(9, 4, 1, 1)), accepted(1))
	expire(1, 1)
	expire(10, 1)
	expire(10, 0)
	// Forgotten: any epoch and sequence will do. Not so the one in use.
	f.wantOutcome(f.commitOne(p[0], idempotent(9, 0, 77, 1)), accepted(1))
	f.wantOutcome(f.commitOne(p[1], idempotent(9, 0, 77, 1)), refused(metadata.ErrInvalidProducerEpoch))
}

func idsAreNeverGivenTwice(f *fixture) {
	stores := []metadata.Store{f.store, f.db.Open(f)}
	var mu sync.Mutex
	given := map[int64]bool{}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for count := 1; count < 20; count++ {
				first, err := stores[i%2].AllocateProducerIDs(f.ctx, count)
				if err != nil {
					f.Error(err)
					return
				}
				mu.Lock()
				for id := first; id < first+int64(count); id++ {
					if id < 0 || given[id] {
						f.Errorf("ID %d was given before", id)
					}
					given[id] = true
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if _, err := f.store.AllocateProducerIDs(f.ctx, 0); err == nil {
		f.Error("a block of 0 IDs was given")
	}
}

func activeProducersAreShown(f *fixture) {
	topic := f.topic("t", 3)
	p := topic.Partitions
	before := time.Now().Add(-time.Minute) // the store's clock is another one
	f.commitOne(p[0], idempotent(9, 2, 0, 5))
	f.commitOne(p[0], idempotent(9, 2, 5, 1))
	f.commitOne(p[0], idempotent(3, 0, math.MaxInt32, 2))
	f.commitOne(p[0], plain(1, 1))
	f.commitOne(p[1], idempotent(9, 3, 0, 1))
	ask := []metadata.PartitionID{p[2], p[1], math.MaxInt32, p[0]}
	got, err := f.db.Open(f).ActiveProducers(f.ctx, ask)
	f.must(err)
	for i := range got {
		for j := range got[i] {
			if at := got[i][j].SeenAt; at.Before(before) || at.After(before.Add(2*time.Minute)) {
				f.Errorf("producer %d was seen at %v", got[i][j].ProducerID, at)
			}
			got[i][j].SeenAt = time.Time{}
		}
	}
	want := [][]metadata.ActiveProducer{nil, {{ProducerID: 9, Epoch: 3, LastSequence: 0, TransactionStart: -1}}, nil,
		{{ProducerID: 3, LastSequence: 0, TransactionStart: -1}, {ProducerID: 9, Epoch: 2, LastSequence: 5, TransactionStart: -1}}}
	if !reflect.DeepEqual(got, want) {
		f.Errorf("got %+v, want %+v", got, want)
	}
	// Deleted records leave their producers, a deleted topic takes them along.
	f.deleteRecords(p[1], metadata.AllRecords, 1)
	if got, err = f.store.ActiveProducers(f.ctx, p[1:2]); err != nil || len(got[0]) != 1 {
		f.Errorf("after the records were deleted: %+v, %v", got, err)
	}
	f.must(f.store.DeleteTopic(f.ctx, topic.ID))
	if got, err = f.store.ActiveProducers(f.ctx, ask); err != nil || len(got) != 4 || len(slices.Concat(got...)) != 0 {
		f.Errorf("after the topic was deleted: %+v, %v", got, err)
	}
	if got, err = f.store.ActiveProducers(f.ctx, nil); err != nil || len(got) != 0 {
		f.Errorf("asked for none: %+v, %v", got, err)
	}
}
