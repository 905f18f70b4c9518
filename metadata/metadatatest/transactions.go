package metadatatest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

var transactionTests = slices.Concat([]test{
	{"ProducerIsInitialized", producerIsInitialized},
	{"IDsAreAnyBytes", transactionalIDsAreAnyBytes},
	{"PartitionsAndGroupsAreAdded", partitionsAndGroupsAreAdded},
	{"VerifyingAddsNothing", verifyingAddsNothing},
	{"RefusalHarmsNoOther", refusalHarmsNoOther},
	{"RepeatedCallsChangeNothing", repeatedCallsChangeNothing},
	{"EpochsRunOut", epochsRunOut},
	{"InitializingAborts", initializingAborts},
	{"WrongCallsChangeNothing", wrongCallsChangeNothing},
	{"CancelledChangeChangesNothing", cancelledChangeChangesNothing},
}, transactionCommitTests, transactionOffsetTests, transactionUpkeepTests, randomTransactionTests)

// change requires that the call succeeds, not that the requests do.
func (f *fixture) change(requests ...metadata.TransactionRequest) metadata.TransactionsChanged {
	f.Helper()
	changed, err := f.store.ChangeTransactions(f.ctx, requests)
	f.must(err)
	if len(changed.Results) != len(requests) {
		f.Fatalf("%d results for %d requests", len(changed.Results), len(requests))
	}
	return changed
}

// changeOne makes one request and requires the error, nil for none.
func (f *fixture) changeOne(id string, op metadata.TransactionOp, want error) metadata.TransactionResult {
	f.Helper()
	result := f.change(metadata.TransactionRequest{ID: id, Op: op}).Results[0]
	if !errors.Is(result.Err, want) || want == nil && result.Err != nil {
		f.Fatalf("%T of %.40q: got error %v, want %v", op, id, result.Err, want)
	}
	return result
}

// transaction reads one transactional ID, without the times if they are what they should be.
func (f *fixture) transaction(id string) metadata.Transaction {
	f.Helper()
	found, now, err := f.store.Transactions(f.ctx, []string{id})
	f.must(err)
	if len(found) != 1 || time.Since(now).Abs() > time.Minute {
		f.Fatalf("at %v got %+v", now, found)
	}
	return f.timeless(found[0], now)
}

func (f *fixture) timeless(t metadata.Transaction, now time.Time) metadata.Transaction {
	f.Helper()
	known, open := t.ProducerID >= 0, t.State == metadata.TransactionOngoing
	if recent := now.Sub(t.UpdatedAt).Abs() < time.Minute; recent != known {
		f.Fatalf("at %v: %+v", now, t)
	}
	if recent := now.Sub(t.StartedAt).Abs() < time.Minute; recent != open || !open && !t.StartedAt.IsZero() {
		f.Fatalf("at %v: %+v", now, t)
	}
	t.StartedAt, t.UpdatedAt = time.Time{}, time.Time{}
	return t
}

func (f *fixture) wantTransaction(want metadata.Transaction) {
	f.Helper()
	if got := f.transaction(want.ID); !reflect.DeepEqual(got, want) {
		f.Fatalf("got  %+v\nwant %+v", got, want)
	}
}

func (f *fixture) newProducerID() int64 {
	f.Helper()
	id, err := f.store.AllocateProducerIDs(f.ctx, 1)
	f.must(err)
	return id
}

// producer is a client with a transactional ID.
type producer struct {
	*fixture
	id      string
	version metadata.TransactionVersion
	metadata.ProducerEpoch
	// sequences are those of its next batches.
	sequences map[metadata.PartitionID]int32
}

// producer initialises a producer of TransactionV2, which fences those before it.
func (f *fixture) producer(id string) *producer {
	f.Helper()
	p := &producer{fixture: f, id: id, version: metadata.TransactionV2}
	p.is(f.changeOne(id, f.init(metadata.NoProducer), nil).Producer)
	return p
}

func (f *fixture) init(expected metadata.ProducerEpoch) metadata.InitProducer {
	f.Helper()
	return metadata.InitProducer{Timeout: time.Minute, Expected: expected, NewProducerID: f.newProducerID()}
}

// is takes the producer to go on with.
func (p *producer) is(now metadata.ProducerEpoch) {
	if now != p.ProducerEpoch {
		p.sequences = map[metadata.PartitionID]int32{}
	}
	p.ProducerEpoch = now
}

// batch is the producer's next one in the partition.
func (p *producer) batch(partition metadata.PartitionID, records int32) metadata.Batch {
	b := idempotent(p.ID, p.Epoch, p.sequences[partition], records)
	b.Transactional, b.AddsPartition = true, p.version == metadata.TransactionV2
	p.sequences[partition] += records
	return b
}

// write commits one batch for each of the partitions, in one file, and returns their offsets.
func (p *producer) write(records int32, partitions ...metadata.PartitionID) []int64 {
	p.Helper()
	var appends []metadata.Append
	for _, id := range partitions {
		appends = append(appends, appendTo(id, p.batch(id, records)))
	}
	offsets := make([]int64, len(partitions))
	for i, o := range p.commit(newFile(p, appends...)).Files[0].Outcomes {
		if o[0].Err != nil || o[0].Duplicate {
			p.Fatalf("partition %d: %+v", partitions[i], o[0])
		}
		offsets[i] = o[0].BaseOffset
	}
	return offsets
}

// add adds partitions, as clients of TransactionV1 do.
func (p *producer) add(partitions ...metadata.PartitionID) {
	p.Helper()
	p.changeOne(p.id, metadata.AddToTransaction{Producer: p.ProducerEpoch, Partitions: partitions}, nil)
}

// putAside puts offsets of one group aside and requires the error, nil for none.
func (p *producer) putAside(group string, version int64, want error, offsets ...metadata.Offset) {
	p.Helper()
	for i := range offsets {
		offsets[i].GroupID = group
	}
	op := metadata.TransactionOffsets{Producer: p.ProducerEpoch, GroupID: group, GroupVersion: version, Version: p.version, Offsets: offsets}
	p.changeOne(p.id, op, want)
}

// end ends the transaction, requires success, and returns the feed entries.
func (p *producer) end(commit bool) []metadata.Commit {
	p.Helper()
	changed := p.change(p.ending(commit))
	p.must(changed.Results[0].Err)
	p.is(changed.Results[0].Producer)
	return changed.Commits
}

func (p *producer) ending(commit bool) metadata.TransactionRequest {
	p.Helper()
	return metadata.TransactionRequest{ID: p.id, Op: metadata.EndTransaction{
		Producer: p.ProducerEpoch, Commit: commit, Version: p.version, NewProducerID: p.newProducerID(),
	}}
}

func producerIsInitialized(f *fixture) {
	f.wantTransaction(metadata.Transaction{ID: "t", ProducerID: -1})
	id := f.newProducerID()
	init := metadata.InitProducer{Timeout: time.Hour, Expected: metadata.NoProducer, NewProducerID: id}
	want := metadata.Transaction{ID: "t", ProducerID: id, LastProducerID: -1, LastEpoch: -1, Version: metadata.TransactionV1, Timeout: time.Hour}
	for _, c := range []struct {
		expected metadata.ProducerEpoch
		err      error
		epoch    int16
		last     int16
	}{
		{metadata.NoProducer, nil, 0, -1},
		{metadata.NoProducer, nil, 1, -1},
		{metadata.ProducerEpoch{ID: id, Epoch: 1}, nil, 2, 1},
		{metadata.ProducerEpoch{ID: id, Epoch: 1}, nil, 2, 1}, // the reply was lost
		{metadata.ProducerEpoch{ID: id, Epoch: 0}, metadata.ErrProducerFenced, 2, 1},
		{metadata.ProducerEpoch{ID: id + 1, Epoch: 2}, metadata.ErrProducerFenced, 2, 1},
		{metadata.NoProducer, nil, 3, -1},
		{metadata.ProducerEpoch{ID: id, Epoch: 1}, metadata.ErrProducerFenced, 3, -1},
	} {
		init.Expected = c.expected
		want.Epoch, want.LastEpoch = c.epoch, c.last
		got := f.changeOne("t", init, c.err)
		if c.err == nil && got.Producer != (metadata.ProducerEpoch{ID: id, Epoch: c.epoch}) {
			f.Errorf("%+v: got %+v", c, got)
		}
		f.wantTransaction(want)
		init.NewProducerID = f.newProducerID() // is for IDs that don't exist
	}
	init.Expected, init.Timeout = metadata.NoProducer, 1500*time.Millisecond
	f.changeOne("t", init, nil)
	want.Epoch, want.Timeout = 4, init.Timeout
	f.other().wantTransaction(want)
	if got := f.news(); len(got) != 0 {
		f.Errorf("in the feed: %+v", got)
	}
}

func transactionalIDsAreAnyBytes(f *fixture) {
	long := strings.Repeat("t", 32<<10)
	ids := []string{"t", "T", "é", "e\u0301", "\x00", "\x00\x00", "\xff\xfe", "a/b", "'; --", long, long[1:], long[1:] + "u"}
	partition := f.topic("t", 1).Partitions[0]
	var want []metadata.Transaction
	var requests []metadata.TransactionRequest
	for _, id := range ids {
		p := f.producer(id)
		p.write(1, partition)
		p.changeOne(id, metadata.AddToTransaction{Producer: p.ProducerEpoch, Group: &id}, nil)
		want = append(want, metadata.Transaction{
			ID: id, ProducerID: p.ID, State: metadata.TransactionOngoing, LastProducerID: -1, LastEpoch: -1, Version: metadata.TransactionV2,
			Timeout: time.Minute, Partitions: []metadata.PartitionID{partition}, Groups: []string{id},
		})
		requests = append(requests, metadata.TransactionRequest{ID: id, Op: f.init(metadata.NoProducer)})
	}
	got, now, err := f.store.Transactions(f.ctx, append([]string{"nonesuch"}, ids...))
	f.must(err)
	for i := range got {
		got[i] = f.timeless(got[i], now)
	}
	if !reflect.DeepEqual(got, append([]metadata.Transaction{{ID: "nonesuch", ProducerID: -1}}, want...)) {
		f.Errorf("got %.2000v", got)
	}
	list, now, err := f.store.ListTransactions(f.ctx)
	f.must(err)
	for i := range list {
		list[i] = f.timeless(list[i], now)
		want[i].Partitions, want[i].Groups = nil, nil
	}
	byID := func(a, b metadata.Transaction) int { return strings.Compare(a.ID, b.ID) }
	slices.SortFunc(list, byID)
	slices.SortFunc(want, byID)
	if !reflect.DeepEqual(list, want) {
		f.Errorf("listed %.2000v", list)
	}
	if runs := f.change(requests...).Commits[0].Runs; len(runs) != len(ids) {
		f.Errorf("%d markers for %d transactions", len(runs), len(ids))
	}
}

func partitionsAndGroupsAreAdded(f *fixture) {
	parts := f.topic("t", 4).Partitions
	p := f.producer("t")
	add := func(group *string, partitions ...metadata.PartitionID) {
		f.Helper()
		op := metadata.AddToTransaction{Producer: p.ProducerEpoch, Partitions: partitions, Group: group}
		p.changeOne("t", op, nil)
	}
	want := metadata.Transaction{
		ID: "t", ProducerID: p.ID, LastProducerID: -1, LastEpoch: -1, State: metadata.TransactionOngoing,
		Version: metadata.TransactionV1, Timeout: time.Minute,
	}
	a, b := "a", "\xffb"
	add(nil, parts[3], parts[1])
	want.Partitions = []metadata.PartitionID{parts[1], parts[3]}
	f.wantTransaction(want)
	started := f.startOf("t")
	add(&b)
	add(&a, parts[0], parts[3])
	want.Partitions = []metadata.PartitionID{parts[0], parts[1], parts[3]}
	want.Groups = []string{a, b}
	f.other().wantTransaction(want)
	if again := f.startOf("t"); !again.Equal(started) {
		f.Errorf("started at %v, then at %v", started, again)
	}
	// Nothing was written, so nothing is unstable, and the end needs no markers.
	before := f.news()
	p.version = metadata.TransactionV1
	if commits := p.end(true); len(commits) != 0 || len(f.news()) != len(before) {
		f.Errorf("the end of an empty transaction: %+v", commits)
	}
	want.State, want.Partitions, want.Groups = metadata.TransactionCommitted, nil, nil
	f.wantTransaction(want)
	// The next one starts with nothing.
	p.add(parts[2])
	want.State, want.Partitions = metadata.TransactionOngoing, []metadata.PartitionID{parts[2]}
	f.wantTransaction(want)
	p.end(false)
}

func (f *fixture) startOf(id string) time.Time {
	f.Helper()
	found, _, err := f.store.Transactions(f.ctx, []string{id})
	f.must(err)
	return found[0].StartedAt
}

func verifyingAddsNothing(f *fixture) {
	parts := f.topic("t", 3).Partitions
	p := f.producer("t")
	p.add(parts[1])
	before := f.transaction("t")
	op := metadata.AddToTransaction{Producer: p.ProducerEpoch, Partitions: []metadata.PartitionID{parts[2], parts[1], parts[0]}, VerifyOnly: true}
	absent := f.changeOne("t", op, nil).Absent
	if slices.Sort(absent); !slices.Equal(absent, []metadata.PartitionID{parts[0], parts[2]}) {
		f.Errorf("absent: %v", absent)
	}
	f.wantTransaction(before)
	op.Producer.Epoch++
	f.changeOne("t", op, metadata.ErrProducerFenced)
}

// refusalHarmsNoOther: of one call, some requests are refused and the others done.
func refusalHarmsNoOther(f *fixture) {
	parts := f.topic("t", 2).Partitions
	version := f.storeGroup("g", 0, plainGroup("x"))
	ended, fenced, wrongGroup, adds := f.producer("ended"), f.producer("fenced"), f.producer("wrong group"), f.producer("adds")
	ended.write(1, parts[0])
	fenced.Epoch--
	offsets := []metadata.Offset{{GroupID: "g", Partition: parts[0], Offset: 5}}
	changed := f.change(
		metadata.TransactionRequest{ID: "fenced", Op: metadata.AddToTransaction{Producer: fenced.ProducerEpoch, Partitions: parts}},
		ended.ending(true),
		metadata.TransactionRequest{ID: "nonesuch", Op: metadata.EndTransaction{Producer: fenced.ProducerEpoch, Commit: true, Version: metadata.TransactionV2}},
		metadata.TransactionRequest{ID: "wrong group", Op: metadata.TransactionOffsets{
			Producer: wrongGroup.ProducerEpoch, GroupID: "g", GroupVersion: version + 1, Version: metadata.TransactionV2, Offsets: offsets}},
		metadata.TransactionRequest{ID: "adds", Op: metadata.AddToTransaction{Producer: adds.ProducerEpoch, Partitions: parts}},
		metadata.TransactionRequest{ID: "new", Op: f.init(metadata.NoProducer)},
	)
	for i, want := range []error{metadata.ErrProducerFenced, nil, metadata.ErrProducerIDMapping, metadata.ErrGroupVersion, nil, nil} {
		if err := changed.Results[i].Err; !errors.Is(err, want) || want == nil && err != nil {
			f.Errorf("request %d: got %v, want %v", i, err, want)
		}
	}
	for id, want := range map[string]metadata.TransactionState{
		"fenced": metadata.TransactionEmpty, "ended": metadata.TransactionCommitted, "wrong group": metadata.TransactionEmpty,
		"adds": metadata.TransactionOngoing, "new": metadata.TransactionEmpty,
	} {
		if got := f.transaction(id).State; got != want {
			f.Errorf("%s is %v, want %v", id, got, want)
		}
	}
	f.wantTransaction(metadata.Transaction{ID: "nonesuch", ProducerID: -1})
	f.wantOffsets(f.offsetsOf("g"))
	if len(changed.Commits) != 1 || len(changed.Commits[0].Runs) != 1 {
		f.Errorf("feed entries %+v", changed.Commits)
	}
}

// sight is what all can see of some partitions, a group and a transactional ID.
type sight struct {
	Transaction metadata.Transaction
	Found       []metadata.PartitionRuns
	Offsets     []metadata.Offset
	Feed        []metadata.Commit
}

func (f *fixture) see(id, group string, partitions ...metadata.PartitionID) sight {
	f.Helper()
	var queries []metadata.RunQuery
	for _, p := range partitions {
		queries = append(queries, metadata.RunQuery{Partition: p, MaxBytes: 1 << 40, MaxRuns: metadata.MaxRuns})
	}
	found, err := f.store.FindRuns(f.ctx, queries)
	f.must(err)
	offsets := f.offsetsOf(group)
	for i := range offsets {
		offsets[i].CommittedAt = time.Time{}
	}
	return sight{f.transaction(id), found, offsets, f.news()}
}

// repeatedCallsChangeNothing: the reply was lost, and another agent asks again.
func repeatedCallsChangeNothing(f *fixture) {
	parts := f.topic("t", 2).Partitions
	version := f.storeGroup("g", 0, plainGroup("x"))
	other := f.other()
	for _, v := range []metadata.TransactionVersion{metadata.TransactionV1, metadata.TransactionV2} {
		id, group := fmt.Sprint("t", v), "g"
		p := f.producer(id)
		p.version = v
		repeat := func(op metadata.TransactionOp) {
			f.Helper()
			request := metadata.TransactionRequest{ID: id, Op: op}
			first := f.change(request)
			f.must(first.Results[0].Err)
			before := f.see(id, "g", parts...)
			again := other.change(request)
			if !reflect.DeepEqual(again.Results, first.Results) || len(again.Commits) != 0 {
				f.Errorf("%T again: got %+v, want %+v and no feed entry", op, again, first.Results)
			}
			if after := other.see(id, "g", parts...); !reflect.DeepEqual(after, before) {
				f.Errorf("%T again: got  %+v\nwant %+v", op, after, before)
			}
			if got := first.Results[0].Producer; got != (metadata.ProducerEpoch{}) {
				p.is(got)
			}
		}
		for _, commit := range []bool{true, false} {
			repeat(f.init(p.ProducerEpoch))
			repeat(metadata.AddToTransaction{Producer: p.ProducerEpoch, Partitions: parts, Group: &group})
			repeat(metadata.TransactionOffsets{Producer: p.ProducerEpoch, GroupID: "g", GroupVersion: version, Version: v, Offsets: []metadata.Offset{
				{GroupID: "g", Partition: parts[0], Offset: 1, LeaderEpoch: -1}, {GroupID: "g", Partition: parts[1], Offset: 2, LeaderEpoch: -1}}})
			p.write(3, parts...)
			repeat(p.ending(commit).Op)
		}
	}
	if n := len(f.bothKinds(parts[0])[1]); n != 4 {
		f.Errorf("%d markers of 4 transactions", n)
	}
}

// bothKinds are the partition's runs of records and its markers.
func (f *fixture) bothKinds(partition metadata.PartitionID) (kinds [2][]metadata.Run) {
	f.Helper()
	for _, r := range f.runs(partition) {
		kind := 0
		if _, ok := r.Marker(); ok {
			kind = 1
		}
		kinds[kind] = append(kinds[kind], r)
	}
	return kinds
}

// epochsRunOut: the producer goes on under a new ID, and what it asked is answered again.
func epochsRunOut(f *fixture) {
	const last = 32766
	part := f.topic("t", 1).Partitions[0]
	p := f.producer("t")
	before := metadata.ProducerEpoch{ID: p.ID, Epoch: last}
	f.db.SetProducerEpoch(f, "t", last)
	p.is(before)
	p.write(1, part)
	ending := p.ending(true)
	changed := f.change(ending)
	f.must(changed.Results[0].Err)
	after := changed.Results[0].Producer
	if after.ID == before.ID || after.Epoch != 0 {
		f.Fatalf("goes on as %+v", after)
	}
	f.wantTransaction(metadata.Transaction{
		ID: "t", ProducerID: after.ID, LastProducerID: before.ID, LastEpoch: last, State: metadata.TransactionCommitted,
		Version: metadata.TransactionV2, Timeout: time.Minute,
	})
	if m, ok := changed.Commits[0].Runs[0].Marker(); !ok || m.ProducerID != before.ID || m.Epoch != last+1 {
		f.Errorf("marker %+v", m)
	}
	if again := f.other().change(ending); !reflect.DeepEqual(again.Results, changed.Results) {
		f.Errorf("again: %+v", again)
	}
	f.wantOutcome(f.commitOne(part, p.batch(part, 1)), refused(metadata.ErrProducerIDMapping))
	p.is(after)
	p.write(1, part)
	p.end(true)
}

// initializingAborts what the producer before left open.
func initializingAborts(f *fixture) {
	parts := f.topic("t", 2).Partitions
	version := f.storeGroup("g", 0, plainGroup("x"))
	before := f.producer("t")
	before.write(2, parts[0])
	before.add(parts[1]) // without a batch
	before.putAside("g", version, nil, metadata.Offset{Partition: parts[0], Offset: 1})
	changed := f.change(metadata.TransactionRequest{ID: "t", Op: f.init(metadata.NoProducer)})
	f.must(changed.Results[0].Err)
	if got, want := changed.Results[0].Producer, (metadata.ProducerEpoch{ID: before.ID, Epoch: before.Epoch + 1}); got != want {
		f.Errorf("got %+v, want %+v", got, want)
	}
	aborted := []metadata.AbortedTransaction{{Partition: parts[0], ProducerID: before.ID, FirstOffset: 0, LastOffset: 2, StableOffset: 3}}
	if len(changed.Commits) != 1 || !reflect.DeepEqual(changed.Commits[0].Aborted, aborted) || len(changed.Commits[0].Runs) != 1 {
		f.Errorf("feed entries %+v", changed.Commits)
	}
	f.wantOffsets(f.offsetsOf("g"))
	f.wantOutcome(f.commitOne(parts[0], before.batch(parts[0], 1)), refused(metadata.ErrInvalidProducerEpoch))
	f.changeOne("t", before.ending(true).Op, metadata.ErrProducerFenced)
	f.wantTransaction(metadata.Transaction{
		ID: "t", ProducerID: before.ID, Epoch: before.Epoch + 1, LastProducerID: -1, LastEpoch: -1, Version: metadata.TransactionV2, Timeout: time.Minute,
	})
}

func wrongCallsChangeNothing(f *fixture) {
	if changed := f.change(); len(changed.Commits) != 0 {
		f.Errorf("nothing asked: %+v", changed)
	}
	if found, _, err := f.store.Transactions(f.ctx, nil); err != nil || len(found) != 0 {
		f.Errorf("nothing asked: %+v, %v", found, err)
	}
	first := metadata.TransactionRequest{ID: "t", Op: f.init(metadata.NoProducer)}
	for what, second := range map[string]metadata.TransactionRequest{
		"the same ID twice": {ID: "t", Op: f.init(metadata.NoProducer)},
		"no ID":             {ID: "", Op: f.init(metadata.NoProducer)},
		"no operation":      {ID: "u"},
	} {
		_, err := f.store.ChangeTransactions(f.ctx, []metadata.TransactionRequest{first, second})
		if err == nil || errors.Is(err, metadata.ErrUnavailable) || errors.Is(err, metadata.ErrOutcomeUnknown) {
			f.Errorf("%s: got %v, want an error that nobody retries", what, err)
		}
	}
	f.wantTransaction(metadata.Transaction{ID: "t", ProducerID: -1})
}

func cancelledChangeChangesNothing(f *fixture) {
	part := f.topic("t", 1).Partitions[0]
	p := f.producer("t")
	p.write(1, part)
	before := f.see("t", "g", part)
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	_, err := f.store.ChangeTransactions(ctx, []metadata.TransactionRequest{p.ending(true)})
	f.wantErr(err, metadata.ErrUnavailable)
	if after := f.see("t", "g", part); !reflect.DeepEqual(after, before) {
		f.Errorf("got  %+v\nwant %+v", after, before)
	}
	p.end(true)
}
