package metadatatest

import (
	"math"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

var transactionCommitTests = []test{
	{"BatchBeginsTransaction", batchBeginsTransaction},
	{"BatchNeedsItsPartition", batchNeedsItsPartition},
	{"StragglersAreRefused", stragglersAreRefused},
	{"DuplicateOutlivesItsTransaction", duplicateOutlivesItsTransaction},
	{"CommittedTransactionIsMarked", committedTransactionIsMarked},
	{"AbortedTransactionIsMarked", abortedTransactionIsMarked},
	{"EachPartitionEndsOnItsOwn", eachPartitionEndsOnItsOwn},
	{"SeveralEndInOneCommit", severalEndInOneCommit},
	{"MarkersAreNoRecordsInTime", markersAreNoRecordsInTime},
	{"EndIsSeenAtOnce", endIsSeenAtOnce},
}

// wantStable requires the last stable offsets of partitions, however they are asked for.
func (f *fixture) wantStable(partitions []metadata.PartitionID, want ...int64) {
	f.Helper()
	bounds, err := f.store.Bounds(f.ctx, partitions)
	f.must(err)
	var queries []metadata.RunQuery
	var times []metadata.TimestampQuery
	for _, p := range partitions {
		queries = append(queries, metadata.RunQuery{Partition: p, MaxBytes: 1})
		times = append(times, metadata.TimestampQuery{Partition: p})
	}
	found, err := f.store.FindRuns(f.ctx, queries)
	f.must(err)
	byTime, err := f.store.RunByTimestamp(f.ctx, times)
	f.must(err)
	var got []int64
	for i, b := range bounds {
		if found[i].Bounds != b || byTime[i].Bounds != b {
			f.Fatalf("bounds %+v, then %+v and %+v", b, found[i].Bounds, byTime[i].Bounds)
		}
		got = append(got, b.StableOffset)
	}
	if !slices.Equal(got, want) {
		f.Fatalf("last stable offsets %v, want %v", got, want)
	}
	f.wantFeedStable(partitions, want)
}

// wantFeedStable follows the feed as agents do.
func (f *fixture) wantFeedStable(partitions []metadata.PartitionID, want []int64) {
	f.Helper()
	stable := map[metadata.PartitionID]int64{}
	for _, c := range f.feed(0) {
		for _, r := range c.Runs {
			stable[r.Partition] = r.NextOffset()
		}
		for _, s := range c.Stable {
			if _, touched := stable[s.Partition]; !touched {
				f.Errorf("commit %d: %+v, of a partition without a run", c.Seq, s)
			}
			stable[s.Partition] = s.Offset
		}
		for _, l := range c.LogStarts {
			stable[l.Partition] = max(stable[l.Partition], l.Offset)
		}
	}
	for i, p := range partitions {
		if stable[p] != want[i] {
			f.Errorf("by the feed, partition %d is stable to %d, want %d", p, stable[p], want[i])
		}
	}
}

func batchBeginsTransaction(f *fixture) {
	parts := f.topic("t", 3).Partitions
	f.commit(newFile(f, appendTo(parts[0], plain(5, 1)), appendTo(parts[1], plain(5, 1))))
	p := f.producer("t")
	want := metadata.Transaction{
		ID: "t", ProducerID: p.ID, LastProducerID: -1, LastEpoch: -1, State: metadata.TransactionOngoing,
		Version: metadata.TransactionV2, Timeout: time.Minute, Partitions: parts[:1],
	}
	p.write(2, parts[0])
	f.wantTransaction(want)
	f.wantStable(parts, 5, 5, 0)
	// Others go on beside it, and it goes on itself.
	f.commit(newFile(f, appendTo(parts[0], plain(1, 1), p.batch(parts[0], 1)), appendTo(parts[1], plain(1, 1))))
	f.wantStable(parts, 5, 6, 0)
	p.write(1, parts[0], parts[2])
	want.Partitions = []metadata.PartitionID{parts[0], parts[2]}
	f.other().wantTransaction(want)
	f.wantStable(parts, 5, 6, 0)
	if got := f.bounds(parts[0]).NextOffset; got != 10 {
		f.Errorf("next offset %d", got)
	}
	// One file begins the transactions of two producers, and writes twice to one partition.
	q, r := f.producer("u"), f.producer("v")
	f.commit(newFile(f, appendTo(parts[1], q.batch(parts[1], 1), r.batch(parts[1], 2), q.batch(parts[1], 1)), appendTo(parts[2], q.batch(parts[2], 1))))
	f.wantStable(parts, 5, 6, 0)
	q.end(true)
	f.wantStable(parts, 5, 7, 0)
	p.end(true)
	r.end(true)
	f.wantStable(parts, 11, 12, 4)
}

// batchNeedsItsPartition: with TransactionV1 it is added before.
func batchNeedsItsPartition(f *fixture) {
	parts := f.topic("t", 2).Partitions
	p := f.producer("t")
	p.version = metadata.TransactionV1
	f.wantOutcome(f.commitOne(parts[0], p.batch(parts[0], 1)), refused(metadata.ErrInvalidTransactionState))
	p.add(parts[0])
	f.wantStable(parts, 0, 0)
	p.sequences[parts[0]] = 0
	f.wantOutcome(f.commitOne(parts[0], p.batch(parts[0], 3)), accepted(0))
	f.wantOutcome(f.commitOne(parts[1], p.batch(parts[1], 1)), refused(metadata.ErrInvalidTransactionState))
	f.wantOutcome(f.commitOne(parts[0], p.batch(parts[0], 1)), accepted(3))
	f.wantStable(parts, 0, 0)
	p.end(true)
	f.wantStable(parts, 5, 0)
	// The epoch is the same, but nothing is in the next transaction yet.
	late := newFile(f, appendTo(parts[0], p.batch(parts[0], 1)), appendTo(999, p.batch(999, 1)))
	for range 2 { // the refusal is repeated as well
		got := f.commit(late).Files[0].Outcomes
		f.wantOutcome(got[0][0], refused(metadata.ErrInvalidTransactionState))
		f.wantOutcome(got[1][0], refused(metadata.ErrUnknownPartition))
		p.add(parts[0])
	}
	p.sequences[parts[0]] = 4
	f.wantOutcome(f.commitOne(parts[0], p.batch(parts[0], 1)), accepted(5))
	p.end(false)
}

// stragglersAreRefused: what arrives after the end, or of a producer that isn't known.
func stragglersAreRefused(f *fixture) {
	parts := f.topic("t", 2).Partitions
	p := f.producer("t")
	p.write(1, parts[0])
	straggler := newFile(f, appendTo(parts[0], p.batch(parts[0], 1)), appendTo(parts[1], plain(1, 1), p.batch(parts[1], 1)))
	p.end(false)
	stranger := producer{fixture: f, version: metadata.TransactionV2, ProducerEpoch: metadata.ProducerEpoch{ID: f.newProducerID()}, sequences: map[metadata.PartitionID]int32{}}
	strange := newFile(f, appendTo(parts[0], stranger.batch(parts[0], 1)))
	for range 2 {
		result := f.commit(straggler, strange)
		f.wantOutcome(result.Files[0].Outcomes[0][0], refused(metadata.ErrInvalidProducerEpoch))
		f.wantOutcome(result.Files[0].Outcomes[1][0], accepted(0))
		f.wantOutcome(result.Files[0].Outcomes[1][1], refused(metadata.ErrInvalidProducerEpoch))
		f.wantOutcome(result.Files[1].Outcomes[0][0], refused(metadata.ErrProducerIDMapping))
	}
	f.wantStable(parts, 2, 1)
	// With an epoch of its own, each transaction starts at sequence 0 everywhere.
	p.sequences[parts[1]] = 5
	f.wantOutcome(f.commitOne(parts[1], p.batch(parts[1], 1)), refused(metadata.ErrOutOfOrderSequence))
	f.wantStable(parts, 2, 1)
}

// duplicateOutlivesItsTransaction: the client repeats what had been accepted.
func duplicateOutlivesItsTransaction(f *fixture) {
	part := f.topic("t", 1).Partitions[0]
	p := f.producer("t")
	first, second := p.batch(part, 2), p.batch(part, 3)
	f.commit(newFile(f, appendTo(part, first, second)))
	f.wantOutcome(f.commitOne(part, first), duplicate(0))
	p.end(true)
	f.wantOutcome(f.other().commitOne(part, second), duplicate(2))
	f.wantStable([]metadata.PartitionID{part}, 6)
	if got := f.transaction("t").State; got != metadata.TransactionCommitted {
		f.Errorf("a duplicate made the transaction %v", got)
	}
}

func committedTransactionIsMarked(f *fixture) {
	part := f.topic("t", 1).Partitions[0]
	f.commitOne(part, plain(5, 100))
	p := f.producer("t")
	p.write(2, part)
	commits := p.end(true)
	if len(commits) != 1 || len(commits[0].Runs) != 1 || len(commits[0].Stable)+len(commits[0].Aborted)+len(commits[0].Topics) != 0 {
		f.Fatalf("feed entries %+v", commits)
	}
	run := commits[0].Runs[0]
	marker, ok := run.Marker()
	if at := time.UnixMilli(marker.Timestamp); !ok || time.Since(at).Abs() > time.Minute {
		f.Errorf("marker %+v of %v", marker, at)
	}
	want := metadata.Marker{ProducerID: p.ID, Epoch: 1, Commit: true, Timestamp: marker.Timestamp}
	if marker != want || run != want.Run(part, 7, 100) {
		f.Errorf("got %+v: %+v", run, marker)
	}
	f.wantMarkers(commits)
	if got, want := f.bounds(part), (metadata.Bounds{Exists: true, NextOffset: 8, StableOffset: 8, MaxTimestamp: 100}); got != want {
		f.Errorf("bounds %+v, want %+v", got, want)
	}
	f.wantOutcome(f.commitOne(part, plain(1, 1)), accepted(8))
	checkContiguous(f, f.runs(part), 9)
}

// wantMarkers: what the call returned is in the feed, and in the index.
func (f *fixture) wantMarkers(commits []metadata.Commit) {
	f.Helper()
	for _, c := range commits {
		if feed := f.feed(c.Seq - 1); !reflect.DeepEqual(feed[0], c) {
			f.Errorf("in the feed: %+v\nreturned:    %+v", feed[0], c)
		}
		for _, r := range c.Runs {
			if found := f.runsFrom(r.Partition, r.BaseOffset); found[0] != r {
				f.Errorf("in the index: %+v\nreturned:     %+v", found[0], r)
			}
		}
		for _, a := range c.Aborted {
			found, err := f.store.FindRuns(f.ctx, []metadata.RunQuery{{Partition: a.Partition, Offset: a.LastOffset, MaxBytes: math.MaxInt64, MaxRuns: 1}})
			f.must(err)
			if !slices.Contains(found[0].Aborted, a) {
				f.Errorf("found %+v\nreturned: %+v", found[0].Aborted, a)
			}
		}
	}
}

func abortedTransactionIsMarked(f *fixture) {
	part := f.topic("t", 1).Partitions[0]
	f.commitOne(part, plain(5, 1))
	p, q := f.producer("t"), f.producer("u")
	p.write(2, part) // 5
	q.write(1, part) // 7
	p.write(1, part) // 8
	commits := p.end(false)
	stable := []metadata.StableOffset{{Partition: part, Offset: 7}}
	aborted := []metadata.AbortedTransaction{{Partition: part, ProducerID: p.ID, FirstOffset: 5, LastOffset: 9, StableOffset: 7}}
	if len(commits) != 1 || !reflect.DeepEqual(commits[0].Stable, stable) || !reflect.DeepEqual(commits[0].Aborted, aborted) {
		f.Fatalf("feed entries %+v", commits)
	}
	if m, _ := commits[0].Runs[0].Marker(); m.Commit || m.Epoch != 1 || m.ProducerID != p.ID {
		f.Errorf("marker %+v", m)
	}
	f.wantMarkers(commits)
	f.wantStable([]metadata.PartitionID{part}, 7)
	f.wantMarkers(q.end(false))
	f.wantStable([]metadata.PartitionID{part}, 11)
	aborted = append(aborted, metadata.AbortedTransaction{Partition: part, ProducerID: q.ID, FirstOffset: 7, LastOffset: 10, StableOffset: 11})
	for _, c := range []struct {
		offset int64
		runs   int
		want   []metadata.AbortedTransaction
	}{
		{0, 1, nil}, {0, 2, aborted[:1]}, {0, 3, aborted}, {0, 100, aborted}, {5, 1, aborted[:1]}, {6, 1, aborted[:1]},
		{8, 1, aborted}, {9, 1, aborted}, {10, 1, aborted[1:]}, {11, 1, nil}, {-1, 1, nil},
	} {
		found, err := f.other().store.FindRuns(f.ctx, []metadata.RunQuery{{Partition: part, Offset: c.offset, MaxBytes: math.MaxInt64, MaxRuns: c.runs}})
		f.must(err)
		if !slices.Equal(found[0].Aborted, c.want) {
			f.Errorf("%d runs from %d: aborted %+v, want %+v", c.runs, c.offset, found[0].Aborted, c.want)
		}
	}
}

func eachPartitionEndsOnItsOwn(f *fixture) {
	parts := f.topic("t", 4).Partitions
	p, q := f.producer("t"), f.producer("u")
	q.write(1, parts[1])
	p.write(1, parts[0], parts[1], parts[2])
	p.add(parts[3])
	f.wantStable(parts, 0, 0, 0, 0)
	commits := p.end(true)
	var got []metadata.PartitionID
	for _, r := range commits[0].Runs {
		got = append(got, r.Partition)
	}
	if !slices.Equal(got, parts[:3]) || !reflect.DeepEqual(commits[0].Stable, []metadata.StableOffset{{Partition: parts[1], Offset: 0}}) {
		f.Errorf("feed entry %+v", commits[0])
	}
	f.wantMarkers(commits)
	f.wantStable(parts, 2, 0, 2, 0)
	q.end(true)
	f.wantStable(parts, 2, 4, 2, 0)
}

// severalEndInOneCommit, in the order of the requests.
func severalEndInOneCommit(f *fixture) {
	parts := f.topic("t", 2).Partitions
	p, q, r := f.producer("t"), f.producer("u"), f.producer("v")
	p.write(1, parts...)
	r.write(1, parts[1])
	q.write(1, parts...)
	changed := f.change(q.ending(true), p.ending(false))
	f.must(changed.Results[0].Err)
	f.must(changed.Results[1].Err)
	if len(changed.Commits) != 1 {
		f.Fatalf("feed entries %+v", changed.Commits)
	}
	c := changed.Commits[0]
	var got [][2]int64
	for _, run := range c.Runs {
		m, _ := run.Marker()
		got = append(got, [2]int64{m.ProducerID, run.BaseOffset})
	}
	if want := [][2]int64{{q.ID, 2}, {q.ID, 3}, {p.ID, 3}, {p.ID, 4}}; !slices.Equal(got, want) {
		f.Errorf("markers %v, want %v", got, want)
	}
	aborted := []metadata.AbortedTransaction{
		{Partition: parts[0], ProducerID: p.ID, FirstOffset: 0, LastOffset: 3, StableOffset: 4},
		{Partition: parts[1], ProducerID: p.ID, FirstOffset: 0, LastOffset: 4, StableOffset: 1},
	}
	if !reflect.DeepEqual(c.Aborted, aborted) || !reflect.DeepEqual(c.Stable, []metadata.StableOffset{{Partition: parts[1], Offset: 1}}) {
		f.Errorf("got %+v", c)
	}
	f.wantMarkers(changed.Commits)
	f.wantStable(parts, 4, 1)
	r.end(true)
}

// markersAreNoRecordsInTime: a lookup by time finds the run before them, if it is still there.
func markersAreNoRecordsInTime(f *fixture) {
	part := f.topic("t", 1).Partitions[0]
	p := f.producer("t")
	p.write(1, part)
	p.end(true)
	f.commitOne(part, plain(1, 50))
	found, err := f.store.RunByTimestamp(f.ctx, []metadata.TimestampQuery{{Partition: part, Timestamp: 1}, {Partition: part, Timestamp: 2}, {Partition: part, Timestamp: 51}})
	f.must(err)
	if !found[0].Found || found[0].Run.BaseOffset != 0 || !found[1].Found || found[1].Run.BaseOffset != 2 || found[2].Found {
		f.Errorf("found %+v", found)
	}
	f.deleteRecords(part, 1, 1)
	found, err = f.store.RunByTimestamp(f.ctx, []metadata.TimestampQuery{{Partition: part, Timestamp: 1}})
	f.must(err)
	if _, ok := found[0].Run.Marker(); !ok || found[0].Run.BaseOffset != 1 {
		f.Errorf("after the record was deleted: %+v", found)
	}
}

// endIsSeenAtOnce: readers see of an end over many partitions and groups all or
// nothing, be it a commit or an abort.
func endIsSeenAtOnce(f *fixture) {
	const partitions, groups, transactions = 40, 10, 6
	parts := f.topic("t", partitions).Partitions
	var runs []metadata.RunQuery
	for _, p := range parts {
		runs = append(runs, metadata.RunQuery{Partition: p, MaxBytes: math.MaxInt64, MaxRuns: math.MaxInt})
	}
	var offsets []metadata.OffsetQuery
	versions := make([]int64, groups)
	for i := range versions {
		id := string(rune('a' + i))
		versions[i] = f.storeGroup(id, 0, plainGroup("x"))
		offsets = append(offsets, metadata.OffsetQuery{GroupID: id})
	}
	p := f.producer("t")
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		reader := f.other()
		wg.Go(func() {
			for {
				reader.wantSame(runs, offsets)
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for n := range int64(transactions) {
		for i, version := range versions {
			p.putAside(offsets[i].GroupID, version, nil, metadata.Offset{Partition: parts[0], Offset: n})
		}
		p.write(1, parts...)
		p.end(n%3 != 1)
	}
	close(done)
	wg.Wait()
}

// wantSame: the partitions have the same bounds, runs and aborted transactions, the
// groups the same offsets.
func (f *fixture) wantSame(queries []metadata.RunQuery, groups []metadata.OffsetQuery) {
	found, err := f.store.FindRuns(f.ctx, queries)
	if err != nil {
		f.Error(err)
		return
	}
	for _, r := range found {
		if r.Bounds != found[0].Bounds || len(r.Runs) != len(found[0].Runs) || len(r.Aborted) != len(found[0].Aborted) {
			f.Errorf("at once: %+v and %+v", found[0], r)
		}
	}
	fetched, err := f.store.FetchOffsets(f.ctx, groups)
	if err != nil {
		f.Error(err)
		return
	}
	committed := func(offsets []metadata.Offset) int64 {
		if len(offsets) == 0 {
			return -1
		}
		return offsets[0].Offset
	}
	for _, offsets := range fetched {
		if committed(offsets) != committed(fetched[0]) {
			f.Errorf("at once: %+v and %+v", fetched[0], offsets)
		}
	}
}
