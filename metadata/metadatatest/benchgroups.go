package metadatatest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

func benchmarkGroups(b *testing.B, create func(t testing.TB) Database) {
	for _, agents := range []int{1, 4} {
		b.Run(fmt.Sprintf("WriteOffsets/agents=%d", agents), func(b *testing.B) { benchmarkWriteOffsets(newFixtureB(b, create(b)), b, agents) })
	}
	for _, agents := range []int{1, 4} {
		b.Run(fmt.Sprintf("StoreGroup/agents=%d", agents), func(b *testing.B) { benchmarkStoreGroup(newFixtureB(b, create(b)), b, agents) })
	}
	b.Run("BeatMembers", func(b *testing.B) { benchmarkBeatMembers(newFixtureB(b, create(b)), b) })
	b.Run("LoadGroup", func(b *testing.B) { benchmarkLoadGroup(newFixtureB(b, create(b)), b) })
	b.Run("GroupVersions", func(b *testing.B) { benchmarkGroupVersions(newFixtureB(b, create(b)), b) })
	b.Run("ClaimDueGroups", func(b *testing.B) { benchmarkClaim(newFixtureB(b, create(b)), b) })
	b.Run("FetchOffsets", func(b *testing.B) { benchmarkFetchOffsets(newFixtureB(b, create(b)), b) })
}

// benchGroups enters groups with states of 10 KB.
func (f *fixture) benchGroups(n int) []metadata.GroupRef {
	refs := make([]metadata.GroupRef, n)
	var wg sync.WaitGroup
	for part := range 4 {
		wg.Go(func() {
			for i := part; i < n; i += 4 {
				id := fmt.Sprint("group-", i)
				version, err := f.store.StoreGroup(f.ctx, id, 0, benchState())
				if err != nil {
					f.Error(err)
				}
				refs[i] = metadata.GroupRef{ID: id, Known: version}
			}
		})
	}
	wg.Wait()
	return refs
}

// benchState doesn't compress, and is due in an hour.
func benchState() metadata.GroupState {
	state := make([]byte, 0, 10_000)
	for len(state) < cap(state) {
		id := uuid.New()
		state = append(state, id[:]...)
	}
	return dueGroup(string(state), soon(time.Hour))
}

// atOnce runs b.N calls of step, by several agents. Every agent is a store of its own.
func (f *fixture) atOnce(b *testing.B, agents int, step func(agent int, store metadata.Store) error) {
	stores := make([]metadata.Store, agents)
	for i := range stores {
		stores[i] = f.db.Open(b)
		f.must(step(i, stores[i]))
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for i, store := range stores {
		wg.Go(func() {
			for next.Add(1) <= int64(b.N) {
				if err := step(i, store); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
}

// benchmarkWriteOffsets writes 10 offsets of each of the same 100 groups in each
// call; every agent those of other partitions.
func benchmarkWriteOffsets(f *fixture, b *testing.B, agents int) {
	const groups, partitions = 100, 10
	refs := f.benchGroups(groups)
	var count atomic.Int64
	f.atOnce(b, agents, func(agent int, store metadata.Store) error {
		n := count.Add(1)
		return store.WriteOffsets(f.ctx, refs, func(_ time.Time, groups []metadata.Group) (metadata.OffsetChanges, error) {
			changes := metadata.OffsetChanges{Put: make([]metadata.Offset, 0, len(groups)*partitions)}
			for _, g := range groups {
				for p := range partitions {
					changes.Put = append(changes.Put, metadata.Offset{GroupID: g.ID, Partition: metadata.PartitionID(agent*partitions + p), Offset: n, LeaderEpoch: -1})
				}
			}
			return changes, nil
		})
	})
	b.ReportMetric(groups*partitions*float64(b.N)/b.Elapsed().Seconds(), "offsets/s")
}

// benchmarkStoreGroup changes groups that no other agent changes.
func benchmarkStoreGroup(f *fixture, b *testing.B, agents int) {
	const each = 25
	refs := f.benchGroups(each * agents)
	state := benchState()
	turns := make([]int, agents)
	f.atOnce(b, agents, func(agent int, store metadata.Store) error {
		ref := &refs[agent*each+turns[agent]%each]
		turns[agent]++
		var err error
		ref.Known, err = store.StoreGroup(f.ctx, ref.ID, ref.Known, state)
		return err
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "groups/s")
}

// benchmarkBeatMembers notes 7 members of each of 500 groups in each call.
func benchmarkBeatMembers(f *fixture, b *testing.B) {
	refs := f.benchGroups(500)
	beats := make([]metadata.GroupBeats, len(refs))
	for i, ref := range refs {
		beats[i] = metadata.GroupBeats{GroupID: ref.ID, Members: benchMembers(7)}
	}
	agent := uuid.New()
	for b.Loop() {
		f.must(f.store.BeatMembers(f.ctx, agent, beats))
	}
}

func benchMembers(n int) map[string]time.Time {
	members := map[string]time.Time{}
	for range n {
		members["consumer-"+uuid.NewString()] = ago(time.Second)
	}
	return members
}

// benchmarkLoadGroup loads a group of 20 members, of whom two agents hear.
func benchmarkLoadGroup(f *fixture, b *testing.B) {
	refs := f.benchGroups(200)
	members := benchMembers(20)
	for range 2 {
		f.must(f.store.BeatMembers(f.ctx, uuid.New(), []metadata.GroupBeats{{GroupID: refs[7].ID, Members: members}}))
	}
	for b.Loop() {
		if got, _, err := f.store.LoadGroups(f.ctx, []metadata.GroupRef{{ID: refs[7].ID}}); err != nil || len(got[0].Beats) != 20 {
			b.Fatal(got, err)
		}
	}
}

// benchmarkGroupVersions polls 50 of 1,000 groups.
func benchmarkGroupVersions(f *fixture, b *testing.B) {
	var ids []string
	for _, ref := range f.benchGroups(1000)[:50] {
		ids = append(ids, ref.ID)
	}
	for b.Loop() {
		if got, _, err := f.store.GroupVersions(f.ctx, ids); err != nil || len(got) != len(ids) {
			b.Fatal(got, err)
		}
	}
}

// benchmarkClaim finds that of 10,000 groups none is due.
func benchmarkClaim(f *fixture, b *testing.B) {
	f.benchGroups(10_000)
	for b.Loop() {
		if got, err := f.store.ClaimDueGroups(f.ctx, 100, time.Minute); err != nil || len(got) != 0 {
			b.Fatal(got, err)
		}
	}
}

// benchmarkFetchOffsets fetches all 10 offsets of 20 among 200 groups.
func benchmarkFetchOffsets(f *fixture, b *testing.B) {
	var queries []metadata.OffsetQuery
	var puts []metadata.Offset
	for i := range 200 {
		id := fmt.Sprint("group-", i)
		for p := range 10 {
			puts = append(puts, metadata.Offset{GroupID: id, Partition: metadata.PartitionID(p), LeaderEpoch: -1})
		}
		queries = append(queries, metadata.OffsetQuery{GroupID: id})
	}
	f.putOffsets(puts...)
	for b.Loop() {
		if got, err := f.store.FetchOffsets(f.ctx, queries[:20]); err != nil || len(got[19]) != 10 {
			b.Fatal(got, err)
		}
	}
}
