package metadatatest

import (
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

var transactionUpkeepTests = []test{
	{"TransactionOutlivesTopic", transactionOutlivesTopic},
	{"TransactionOutlivesRecords", transactionOutlivesRecords},
	{"MarkersAreTrimmed", markersAreTrimmed},
	{"MarkersAreReclaimed", markersAreReclaimed},
	{"MarkersHaveASize", markersHaveASize},
	{"ProducersInTransactionsStay", producersInTransactionsStay},
	{"OverdueTransactionsEnd", overdueTransactionsEnd},
	{"OverdueForOneAgentOnly", overdueForOneAgentOnly},
	{"IdleTransactionsAreForgotten", idleTransactionsAreForgotten},
}

func transactionOutlivesTopic(f *fixture) {
	gone, stays := f.topic("gone", 2), f.topic("stays", 1).Partitions[0]
	for _, commit := range []bool{true, false} {
		p := f.producer("t")
		p.write(1, gone.Partitions[0], stays)
		p.add(gone.Partitions[1])
		f.must(f.store.DeleteTopic(f.ctx, gone.ID))
		f.wantOutcome(f.commitOne(gone.Partitions[0], p.batch(gone.Partitions[0], 1)), refused(metadata.ErrUnknownPartition))
		commits := p.end(commit)
		if len(commits) != 1 || len(commits[0].Runs) != 1 || commits[0].Runs[0].Partition != stays {
			f.Errorf("feed entries %+v", commits)
		}
		f.wantMarkers(commits)
		gone = f.topic("gone", 2)
	}
	f.wantStable([]metadata.PartitionID{stays}, 4)
	if n, err := f.store.ReclaimDeleted(f.ctx, 100); err != nil || n != 0 {
		f.Errorf("reclaimed %d more, %v", n, err)
	}
}

// transactionOutlivesRecords: nothing is unstable before the log start.
func transactionOutlivesRecords(f *fixture) {
	part := f.topic("t", 1).Partitions[0]
	ask := []metadata.PartitionID{part}
	p, q := f.producer("t"), f.producer("u")
	p.write(5, part)
	q.write(5, part)
	f.deleteRecords(part, 3, 3) // within a batch
	f.wantStable(ask, 3)
	f.deleteRecords(part, metadata.AllRecords, 10)
	f.wantStable(ask, 10)
	p.write(5, part)
	f.wantStable(ask, 10)
	f.wantMarkers(q.end(false)) // 15
	f.wantStable(ask, 10)
	f.wantMarkers(p.end(false)) // 16
	f.wantStable(ask, 17)
	found, err := f.store.FindRuns(f.ctx, []metadata.RunQuery{{Partition: part, Offset: 10, MaxBytes: math.MaxInt64, MaxRuns: 1}})
	f.must(err)
	want := []metadata.AbortedTransaction{
		{Partition: part, ProducerID: q.ID, FirstOffset: 5, LastOffset: 15, StableOffset: 10},
		{Partition: part, ProducerID: p.ID, FirstOffset: 0, LastOffset: 16, StableOffset: 17},
	}
	if !slices.Equal(found[0].Aborted, want) {
		f.Errorf("aborted %+v, want %+v", found[0].Aborted, want)
	}
}

// aborted are all that a reader from the offset to the end learns of.
func (f *fixture) aborted(partition metadata.PartitionID, offset int64) []metadata.AbortedTransaction {
	f.Helper()
	found, err := f.store.FindRuns(f.ctx, []metadata.RunQuery{{Partition: partition, Offset: offset, MaxBytes: math.MaxInt64, MaxRuns: math.MaxInt}})
	f.must(err)
	return found[0].Aborted
}

func markersAreTrimmed(f *fixture) {
	part := f.topic("t", 1).Partitions[0]
	p := f.producer("t")
	for n := range 6 {
		p.write(1, part)
		p.end(n%2 == 0)
	}
	f.db.SetLogStart(f, part, 9) // 5 runs of a record, and the markers at 1, 3, 5 and 7
	f.trim(4, 4)
	f.trim(100, 5)
	f.trim(100, 0)
	if got := f.aborted(part, 9); len(got) != 1 || got[0].LastOffset != 11 {
		f.Errorf("left: %+v", got)
	}
	f.deleteRecords(part, metadata.AllRecords, 12)
	f.trim(100, 0)
	p.write(1, part)
	p.end(false)
	if got := f.aborted(part, 12); len(got) != 1 || got[0].FirstOffset != 12 || got[0].LastOffset != 13 {
		f.Errorf("aborted %+v", got)
	}
	checkContiguousFrom(f, f.runsFrom(part, 12), 12, 14)
}

func markersAreReclaimed(f *fixture) {
	gone, stays := f.topic("gone", 1), f.topic("stays", 1).Partitions[0]
	p := f.producer("t")
	for n := range 4 {
		p.write(1, gone.Partitions[0], stays)
		p.end(n%2 == 0)
	}
	f.must(f.store.DeleteTopic(f.ctx, gone.ID))
	if n, err := f.store.ReclaimDeleted(f.ctx, 100); err != nil || n != 0 {
		f.Errorf("reclaimed %d more, %v", n, err)
	}
	if got := f.aborted(stays, 0); len(got) != 2 {
		f.Errorf("of the other topic: %+v", got)
	}
	checkContiguous(f, f.runs(stays), 8)
}

func markersHaveASize(f *fixture) {
	part := f.topic("t", 1).Partitions[0]
	p := f.producer("t")
	p.write(5, part)
	p.end(true)
	sizes, err := f.store.PartitionSizes(f.ctx, []metadata.PartitionID{part})
	f.must(err)
	if want := int64(50 + metadata.MarkerSize); sizes[0] != want {
		f.Errorf("size %d, want %d", sizes[0], want)
	}
	// They count against a reader's budget, too.
	for budget, want := range map[int64]int{50 + metadata.MarkerSize - 1: 1, 50 + metadata.MarkerSize: 2} {
		found, err := f.store.FindRuns(f.ctx, []metadata.RunQuery{{Partition: part, MaxBytes: budget, MaxRuns: 10}})
		f.must(err)
		if len(found[0].Runs) != want {
			f.Errorf("%d runs for %d bytes, want %d", len(found[0].Runs), budget, want)
		}
	}
}

func producersInTransactionsStay(f *fixture) {
	parts := f.topic("t", 2).Partitions
	f.commitOne(parts[0], plain(7, 1))
	p, q := f.producer("t"), f.producer("u")
	p.write(2, parts...)
	p.end(true)
	p.write(2, parts[0])
	q.write(1, parts[0])
	starts := func(want ...[2]int64) {
		f.Helper()
		active, err := f.other().store.ActiveProducers(f.ctx, parts)
		f.must(err)
		var got [][2]int64
		for _, a := range slices.Concat(active...) {
			got = append(got, [2]int64{a.ProducerID, a.TransactionStart})
		}
		if !slices.Equal(got, want) {
			f.Errorf("got %v, want %v", got, want)
		}
	}
	expire := func(limit, want int) {
		f.Helper()
		if n, err := f.store.ExpireProducers(f.ctx, time.Hour, limit); err != nil || n != want {
			f.Errorf("expired %d, %v; want %d", n, err, want)
		}
	}
	starts([2]int64{p.ID, 10}, [2]int64{q.ID, 12}, [2]int64{p.ID, -1})
	f.db.Age(f, 2*time.Hour)
	expire(1, 1) // also when those that stay come first
	expire(100, 0)
	starts([2]int64{p.ID, 10}, [2]int64{q.ID, 12})
	p.end(false)
	starts([2]int64{p.ID, -1}, [2]int64{q.ID, 12})
	expire(100, 1)
	starts([2]int64{q.ID, 12})
}

// overdue returns who is, and requires as many.
func (f *fixture) overdue(limit, want int) []metadata.OverdueTransaction {
	f.Helper()
	overdue, err := f.store.OverdueTransactions(f.ctx, limit)
	f.must(err)
	if len(overdue) != want {
		f.Fatalf("overdue: %+v, want %d", overdue, want)
	}
	return overdue
}

func overdueTransactionsEnd(f *fixture) {
	part := f.topic("t", 1).Partitions[0]
	f.producer("idle")
	ended := f.producer("ended")
	ended.write(1, part)
	ended.end(true)
	p, empty := f.producer("t\xff"), f.producer("empty")
	p.write(1, part)
	empty.add(part)
	f.overdue(10, 0)
	f.changeOne(p.id, metadata.ExpireTransaction{Producer: p.ProducerEpoch}, metadata.ErrInvalidTransactionState)
	f.db.Age(f, 30*time.Second)
	young := f.producer("young")
	young.write(1, part)
	f.db.Age(f, 31*time.Second)
	f.overdue(1, 1)
	overdue := f.overdue(10, 2)
	slices.SortFunc(overdue, func(a, b metadata.OverdueTransaction) int { return int(a.Producer.ID - b.Producer.ID) })
	if want := []metadata.OverdueTransaction{{ID: p.id, Producer: p.ProducerEpoch}, {ID: "empty", Producer: empty.ProducerEpoch}}; !slices.Equal(overdue, want) {
		f.Errorf("overdue: %+v, want %+v", overdue, want)
	}
	var requests []metadata.TransactionRequest
	for _, o := range overdue {
		requests = append(requests, metadata.TransactionRequest{ID: o.ID, Op: metadata.ExpireTransaction{Producer: o.Producer}})
	}
	changed := f.change(requests...)
	f.must(errors.Join(changed.Results[0].Err, changed.Results[1].Err))
	if len(changed.Commits) != 1 || len(changed.Commits[0].Aborted) != 1 {
		f.Errorf("feed entries %+v", changed.Commits)
	}
	f.overdue(10, 0)
	f.wantOutcome(f.commitOne(part, p.batch(part, 1)), refused(metadata.ErrInvalidProducerEpoch))
	f.changeOne(p.id, p.ending(true).Op, metadata.ErrInvalidTransactionState)
	p.end(false) // It learns of its new epoch, and goes on.
	p.write(1, part)
	p.end(true)
	young.end(true)
}

// overdueForOneAgentOnly: agents that find the same transaction overdue end it once.
func overdueForOneAgentOnly(f *fixture) {
	part := f.topic("t", 1).Partitions[0]
	p := f.producer("t")
	p.write(1, part)
	f.db.Age(f, time.Hour)
	request := metadata.TransactionRequest{ID: "t", Op: metadata.ExpireTransaction{Producer: f.overdue(10, 1)[0].Producer}}
	const agents = 3
	changes := make([]metadata.TransactionsChanged, agents)
	var wg sync.WaitGroup
	for i := range agents {
		agent := f.other()
		wg.Go(func() {
			var err error
			if changes[i], err = agent.store.ChangeTransactions(f.ctx, []metadata.TransactionRequest{request}); err != nil {
				f.Error(err)
			}
		})
	}
	wg.Wait()
	ended := 0
	for _, c := range changes {
		if len(c.Results) != 1 || c.Results[0].Err == nil != (len(c.Commits) == 1) {
			f.Fatalf("got %+v", changes)
		}
		ended += len(c.Commits)
	}
	if markers := f.bothKinds(part)[1]; ended != 1 || len(markers) != 1 {
		f.Errorf("%d agents ended it, with %d markers", ended, len(markers))
	}
}

func idleTransactionsAreForgotten(f *fixture) {
	part := f.topic("t", 1).Partitions[0]
	open, used := f.producer("open"), f.producer("used")
	f.producer("idle")
	f.producer("also idle").write(1, part)
	f.producer("also idle") // aborts it
	open.write(1, part)
	forget := func(limit, want int) {
		f.Helper()
		if n, err := f.store.ForgetTransactions(f.ctx, time.Hour, limit); err != nil || n != want {
			f.Fatalf("forgot %d, %v; want %d", n, err, want)
		}
	}
	forget(10, 0)
	f.db.Age(f, 2*time.Hour)
	used.write(1, part)
	used.end(true)
	forget(1, 1)
	forget(10, 1)
	forget(10, 0)
	for id, want := range map[string]bool{"open": true, "used": true, "idle": false, "also idle": false} {
		if found, _, err := f.store.Transactions(f.ctx, []string{id}); err != nil || found[0].ProducerID >= 0 != want {
			f.Errorf("%+v, %v", found, err)
		}
	}
	open.end(true)
	again := f.producer("idle")
	again.write(1, part)
	again.end(true)
}
