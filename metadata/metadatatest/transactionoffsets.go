package metadatatest

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

var transactionOffsetTests = []test{
	{"OffsetsWaitForTheirTransaction", offsetsWaitForTheirTransaction},
	{"AbortedOffsetsAreGone", abortedOffsetsAreGone},
	{"LastOfAllOffsetsCounts", lastOfAllOffsetsCounts},
	{"OffsetsAreFencedByTheirGroup", offsetsAreFencedByTheirGroup},
	{"NoOffsetOfAnOlderVersionLands", noOffsetOfAnOlderVersionLands},
	{"DeletedGroupTakesItsOffsetsAlong", deletedGroupTakesItsOffsetsAlong},
	{"GroupWithWaitingOffsetsIsInUse", groupWithWaitingOffsetsIsInUse},
	{"WaitingOffsetsOfDeletedPartitions", waitingOffsetsOfDeletedPartitions},
	{"ManyWaitingOffsets", manyWaitingOffsets},
}

func offsetsWaitForTheirTransaction(f *fixture) {
	parts := f.topic("t", 3).Partitions
	before := metadata.Offset{GroupID: "g", Partition: parts[0], Offset: 3, LeaderEpoch: 1, Metadata: "before", ExpireAt: soon(time.Hour)}
	stays := metadata.Offset{GroupID: "g", Partition: parts[2], Offset: 5}
	f.putOffsets(before, stays)
	version := f.loadGroup("g").Version
	p := f.producer("t")
	over := metadata.Offset{GroupID: "g", Partition: parts[0], Offset: math.MaxInt64, LeaderEpoch: math.MaxInt32, Metadata: "\x00 é \xff" + strings.Repeat("m", 4096)}
	fresh := metadata.Offset{GroupID: "g", Partition: parts[1], Offset: 0, LeaderEpoch: -1}
	p.putAside("g", version, nil, fresh, over)
	f.wantTransaction(metadata.Transaction{
		ID: "t", ProducerID: p.ID, LastProducerID: -1, LastEpoch: -1, State: metadata.TransactionOngoing,
		Version: metadata.TransactionV2, Timeout: time.Minute, Groups: []string{"g"},
	})

	pending := before
	pending.Unstable = true
	f.wantPending(pending, parts[1], stays)
	if f.loadGroup("g").Version != version {
		f.Error("the group's version changed")
	}
	put := time.Now()
	f.db.Age(f, time.Minute/2) // and the time of putting aside becomes that of the commit
	p.end(true)
	f.wantOffsets(f.offsetsOf("g"), over, fresh, stays)
	if at := f.offsetsOf("g")[0].CommittedAt; put.Sub(at) < time.Minute/2 {
		f.Errorf("put aside half a minute ago, committed at %v", at)
	}
	if f.loadGroup("g").Version != version {
		f.Error("the group's version changed")
	}
}

// wantPending: of group g the first is committed and unstable, the second not
// committed but unstable, the third as it was. All, and each by itself.
func (f *fixture) wantPending(first metadata.Offset, second metadata.PartitionID, third metadata.Offset) {
	f.Helper()
	group := first.GroupID
	got, err := f.other().store.FetchOffsets(f.ctx, []metadata.OffsetQuery{
		{GroupID: group}, {GroupID: group, Partitions: []metadata.PartitionID{third.Partition, second, first.Partition}},
		{GroupID: group, Partitions: []metadata.PartitionID{second}}, {GroupID: group, Partitions: []metadata.PartitionID{}}, {GroupID: "other"},
	})
	f.must(err)
	if len(got[0]) != 3 || !slices.Equal(got[0], got[1]) || !slices.Equal(got[0][1:2], got[2]) || len(got[3])+len(got[4]) != 0 {
		f.Fatalf("got %+v", got)
	}
	if want := (metadata.Offset{GroupID: group, Partition: second, Offset: -1, LeaderEpoch: -1, Unstable: true}); got[0][1] != want {
		f.Errorf("got %+v, want %+v", got[0][1], want)
	}
	f.wantOffsets([]metadata.Offset{got[0][0], got[0][2]}, first, third)
}

func abortedOffsetsAreGone(f *fixture) {
	parts := f.topic("t", 2).Partitions
	before := metadata.Offset{GroupID: "g", Partition: parts[0], Offset: 3}
	f.putOffsets(before)
	p := f.producer("t")
	p.putAside("g", f.loadGroup("g").Version, nil, metadata.Offset{Partition: parts[0], Offset: 7}, metadata.Offset{Partition: parts[1], Offset: 8})
	if commits := p.end(false); len(commits) != 0 {
		f.Errorf("without a batch, the end is in the feed: %+v", commits)
	}
	f.wantOffsets(f.offsetsOf("g"), before)
	// With TransactionV1 the group is added first.
	p.version = metadata.TransactionV1
	version := f.loadGroup("g").Version
	p.putAside("g", version, metadata.ErrInvalidTransactionState, metadata.Offset{Partition: parts[1], Offset: 9})
	group := "g"
	f.changeOne("t", metadata.AddToTransaction{Producer: p.ProducerEpoch, Group: &group}, nil)
	f.wantOffsets(f.offsetsOf("g"), before)
	p.putAside("g", version, nil, metadata.Offset{Partition: parts[1], Offset: 9})
	p.end(true)
	f.wantOffsets(f.offsetsOf("g"), before, metadata.Offset{GroupID: "g", Partition: parts[1], Offset: 9})
}

// lastOfAllOffsetsCounts, whether it was committed or put aside, and in whatever order
// the transactions end.
func lastOfAllOffsetsCounts(f *fixture) {
	parts := f.topic("t", 5).Partitions
	version := f.storeGroup("g", 0, plainGroup("x"))
	p, q := f.producer("t"), f.producer("u")
	var want []metadata.Offset
	// Each step goes to the partitions whose words have that letter in this place:
	// p and q put aside, c commits, and the last one counts.
	for i, word := range []string{"pc", "cp", "pq", "qp", "pcp"} {
		want = append(want, metadata.Offset{GroupID: "g", Partition: parts[i], Offset: int64(len(word))})
		for n, who := range word {
			o := metadata.Offset{GroupID: "g", Partition: parts[i], Offset: int64(n + 1)}
			switch who {
			case 'p':
				p.putAside("g", version, nil, o)
			case 'q':
				q.putAside("g", version, nil, o)
			case 'c':
				f.must(f.store.WriteOffsets(f.ctx, []metadata.GroupRef{{ID: "g"}}, decided(metadata.OffsetChanges{Put: []metadata.Offset{o}})))
			}
		}
	}
	for _, o := range f.offsetsOf("g") {
		if !o.Unstable {
			f.Errorf("stable: %+v", o)
		}
	}
	q.end(true)
	if got := f.offsetsOf("g"); !got[2].Unstable || got[2].Offset != 2 {
		f.Errorf("after one of the transactions ended: %+v", got[2])
	}
	p.end(true)
	f.wantOffsets(f.offsetsOf("g"), want...)
	// What is deleted after it was put aside is gone for the transaction as well, unless the
	// deletion means what was committed until then.
	p.putAside("g", version, nil, metadata.Offset{Partition: parts[0], Offset: 9}, metadata.Offset{Partition: parts[1], Offset: 9})
	f.deleteOffsets(metadata.OffsetKey{GroupID: "g", Partition: parts[0], CommittedAt: f.offsetsOf("g")[0].CommittedAt}, metadata.OffsetKey{GroupID: "g", Partition: parts[1]})
	p.end(true)
	want[0].Offset = 9
	f.wantOffsets(f.offsetsOf("g"), slices.Delete(want, 1, 2)...)
}

func offsetsAreFencedByTheirGroup(f *fixture) {
	part := f.topic("t", 1).Partitions[0]
	old := f.storeGroup("g", 0, plainGroup("x"))
	version := f.storeGroup("g", old, plainGroup("y"))
	p := f.producer("t")
	for _, c := range []struct {
		group   string
		version int64
	}{{"g", old}, {"g", 0}, {"g", version + 1}, {"nonesuch", 0}, {"nonesuch", version}} {
		p.putAside(c.group, c.version, metadata.ErrGroupVersion, metadata.Offset{Partition: part, Offset: 1})
	}
	if got := f.transaction("t").State; got != metadata.TransactionEmpty {
		f.Errorf("a refusal made the transaction %v", got)
	}
	f.wantOffsets(f.offsetsOf("g"))
	p.putAside("g", version, nil, metadata.Offset{Partition: part, Offset: 2})
	// A rebalance doesn't take back what was allowed before.
	f.storeGroup("g", version, plainGroup("z"))
	p.end(true)
	f.wantOffsets(f.offsetsOf("g"), metadata.Offset{GroupID: "g", Partition: part, Offset: 2})
}

// noOffsetOfAnOlderVersionLands: once a group is in its next version, and somebody
// has put an offset aside in that, none of the version before may come after it.
func noOffsetOfAnOlderVersionLands(f *fixture) {
	const putters, versions = 3, 10
	part := f.topic("t", 1).Partitions[0]
	version := f.storeGroup("g", 0, plainGroup(""))
	keeper := f.producer("keeper")
	var producers []*producer
	put := make(chan int64) // versions in which an offset was put aside
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range putters {
		p := f.other().producer(fmt.Sprint("t", i))
		producers = append(producers, p)
		wg.Go(func() {
			for {
				version, err := p.putCurrent("g", part)
				if err != nil && !errors.Is(err, metadata.ErrGroupVersion) {
					f.Error(err)
				}
				select {
				case put <- version:
				case <-stop:
					return
				}
			}
		})
	}
	for range versions {
		version = f.storeGroup("g", version, plainGroup(""))
		for <-put != version && !f.Failed() {
		}
		keeper.putAside("g", version, nil, metadata.Offset{Partition: part, Offset: version})
	}
	close(stop)
	wg.Wait()
	for _, p := range append(producers, keeper) {
		if f.transaction(p.id).State != metadata.TransactionOngoing {
			continue // it always came too late
		}
		p.end(true)
		if p == keeper {
			f.wantOffsets(f.offsetsOf("g"), metadata.Offset{GroupID: "g", Partition: part, Offset: version})
		}
	}
}

// putCurrent puts aside the version in which it finds the group.
func (p *producer) putCurrent(group string, partition metadata.PartitionID) (version int64, err error) {
	versions, _, err := p.store.GroupVersions(p.ctx, []string{group})
	if err != nil {
		return 0, err
	}
	changed, err := p.store.ChangeTransactions(p.ctx, []metadata.TransactionRequest{{ID: p.id, Op: metadata.TransactionOffsets{
		Producer: p.ProducerEpoch, GroupID: group, GroupVersion: versions[0], Version: metadata.TransactionV2,
		Offsets: []metadata.Offset{{GroupID: group, Partition: partition, Offset: versions[0]}},
	}}})
	if err != nil {
		return 0, err
	}
	return versions[0], changed.Results[0].Err
}

func deletedGroupTakesItsOffsetsAlong(f *fixture) {
	part := f.topic("t", 1).Partitions[0]
	version, other := f.storeGroup("g", 0, plainGroup("x")), f.storeGroup("other", 0, plainGroup("x"))
	p := f.producer("t")
	p.putAside("g", version, nil, metadata.Offset{Partition: part, Offset: 1})
	p.putAside("other", other, nil, metadata.Offset{Partition: part, Offset: 2})
	f.must(f.store.DeleteGroup(f.ctx, "g", version))
	f.wantOffsets(f.offsetsOf("g"))
	p.putAside("g", version, metadata.ErrGroupVersion, metadata.Offset{Partition: part, Offset: 1})
	f.storeGroup("g", 0, plainGroup("another"))
	p.end(true)
	f.wantOffsets(f.offsetsOf("g"))
	f.wantOffsets(f.offsetsOf("other"), metadata.Offset{GroupID: "other", Partition: part, Offset: 2})
}

func groupWithWaitingOffsetsIsInUse(f *fixture) {
	part := f.topic("t", 1).Partitions[0]
	version := f.storeGroup("g", 0, plainGroup("x"))
	f.storeGroup("idle", 0, plainGroup("x"))
	p := f.producer("t")
	idle := func(want ...string) {
		f.Helper()
		got := f.idleGroups(ago(time.Hour), 2)
		if slices.Sort(got); !slices.Equal(got, want) {
			f.Errorf("idle: %q, want %q", got, want)
		}
	}
	idle("g", "idle")
	p.putAside("g", version, nil, metadata.Offset{Partition: part, Offset: 1})
	f.db.Age(f, 2*time.Hour)
	f.wantErr(f.store.DeleteUnusedGroup(f.ctx, "g", version), metadata.ErrGroupVersion)
	idle("idle")
	p.end(false)
	idle("g", "idle")
	f.must(f.store.DeleteUnusedGroup(f.ctx, "g", version))
}

// waitingOffsetsOfDeletedPartitions go when their transaction ends, or later.
func waitingOffsetsOfDeletedPartitions(f *fixture) {
	gone, stays := f.topic("gone", 1), f.topic("stays", 1).Partitions[0]
	version := f.storeGroup("g", 0, plainGroup("x"))
	p, q := f.producer("t"), f.producer("u")
	p.putAside("g", version, nil, metadata.Offset{Partition: gone.Partitions[0], Offset: 1}, metadata.Offset{Partition: stays, Offset: 2})
	q.putAside("g", version, nil, metadata.Offset{Partition: gone.Partitions[0], Offset: 3})
	f.must(f.store.DeleteTopic(f.ctx, gone.ID))
	trim := func(want int) {
		f.Helper()
		if n, err := f.store.TrimOffsets(f.ctx, 100); err != nil || n != want {
			f.Errorf("trimmed %d, %v; want %d", n, err, want)
		}
	}
	trim(0)
	p.end(true)
	q.end(false)
	trim(1)
	f.wantOffsets(f.offsetsOf("g"), metadata.Offset{GroupID: "g", Partition: stays, Offset: 2})
}

func manyWaitingOffsets(f *fixture) {
	const groups = 10
	parts := f.topic("t", 200).Partitions
	p := f.producer("t")
	want := make([][]metadata.Offset, groups)
	for i := range want {
		id := fmt.Sprint("g", i)
		for n, part := range parts {
			want[i] = append(want[i], metadata.Offset{GroupID: id, Partition: part, Offset: int64(i * n)})
		}
		p.putAside(id, f.storeGroup(id, 0, plainGroup("x")), nil, slices.Clone(want[i])...)
	}
	p.write(1, parts...)
	p.end(true)
	for i := range want {
		f.wantOffsets(f.offsetsOf(fmt.Sprint("g", i)), want[i]...)
	}
}
