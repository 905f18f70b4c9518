package metadatatest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

var offsetTests = slices.Concat([]test{
	{"WrittenOffsetsAreFetched", writtenOffsetsAreFetched},
	{"DecideSeesGroups", decideSeesGroups},
	{"DecideSeesEnteredGroup", decideSeesEnteredGroup},
	{"RefusalChangesNothing", refusalChangesNothing},
	{"GroupEnteredForNothingGoes", groupEnteredForNothingGoes},
	{"OffsetsNeedTheirGroup", offsetsNeedTheirGroup},
	{"LaterPutCounts", laterPutCounts},
	{"CommittedAnewIsSpared", committedAnewIsSpared},
	{"CommitTimeIsTheStores", commitTimeIsTheStores},
	{"CancelledWriteChangesNothing", cancelledWriteChangesNothing},
	{"GroupStaysWhileOffsetsAreWritten", groupStaysWhileOffsetsAreWritten},
	{"OlderGenerationNeverLands", olderGenerationNeverLands},
	{"ManyOffsets", manyOffsets},
	{"IdleGroups", idleGroups},
	{"OffsetsOfDeletedPartitionsAreTrimmed", offsetsOfDeletedPartitionsAreTrimmed},
}, seeded("ConcurrentWriters", concurrentWriters), seeded("WritersAndDeleters", writersAndDeleters))

type decider = func(now time.Time, groups []metadata.Group) (metadata.OffsetChanges, error)

// decided is a decision made before.
func decided(changes metadata.OffsetChanges) decider {
	return func(time.Time, []metadata.Group) (metadata.OffsetChanges, error) { return changes, nil }
}

// refsOf names the groups of the changes, each once, to be entered if need be.
func refsOf(changes metadata.OffsetChanges) (refs []metadata.GroupRef) {
	state := plainGroup("simple")
	for _, o := range changes.Put {
		if !slices.ContainsFunc(refs, func(r metadata.GroupRef) bool { return r.ID == o.GroupID }) {
			refs = append(refs, metadata.GroupRef{ID: o.GroupID, Create: &state})
		}
	}
	return refs
}

// putOffsets writes the offsets; groups that don't exist are entered.
func (f *fixture) putOffsets(offsets ...metadata.Offset) {
	f.Helper()
	changes := metadata.OffsetChanges{Put: offsets}
	f.must(f.store.WriteOffsets(f.ctx, refsOf(changes), decided(changes)))
}

func (f *fixture) deleteOffsets(keys ...metadata.OffsetKey) {
	f.Helper()
	var refs []metadata.GroupRef
	for _, key := range keys {
		refs = append(refs, metadata.GroupRef{ID: key.GroupID})
	}
	f.must(f.store.WriteOffsets(f.ctx, refs, decided(metadata.OffsetChanges{Delete: keys})))
}

// offsetsOf are all of a group.
func (f *fixture) offsetsOf(id string) []metadata.Offset {
	f.Helper()
	offsets, err := f.store.FetchOffsets(f.ctx, []metadata.OffsetQuery{{GroupID: id}})
	f.must(err)
	return offsets[0]
}

// wantOffsets compares without the time of commit, which must be now.
func (f *fixture) wantOffsets(got []metadata.Offset, want ...metadata.Offset) {
	f.Helper()
	same := slices.EqualFunc(got, want, func(a, b metadata.Offset) bool {
		recent, sameExpiry := time.Since(a.CommittedAt).Abs() < time.Minute, a.ExpireAt.Equal(b.ExpireAt)
		a.CommittedAt, b.CommittedAt, a.ExpireAt, b.ExpireAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
		return recent && sameExpiry && a == b
	})
	if !same {
		f.Fatalf("got  %+v\nwant %+v", got, want)
	}
}

func writtenOffsetsAreFetched(f *fixture) {
	p := f.topic("t", 4).Partitions
	full := metadata.Offset{GroupID: "a", Partition: p[0], Offset: math.MaxInt64, LeaderEpoch: math.MaxInt32, Metadata: "\x00 é \xff" + strings.Repeat("m", 4096), ExpireAt: soon(time.Hour)}
	plain := metadata.Offset{GroupID: "a", Partition: p[2], LeaderEpoch: -1}
	other := metadata.Offset{GroupID: "b", Partition: p[0], Offset: 7, LeaderEpoch: -1}
	f.putOffsets(plain, other, full)
	got, err := f.store.FetchOffsets(f.ctx, []metadata.OffsetQuery{
		{GroupID: "b"}, {GroupID: "a", Partitions: []metadata.PartitionID{p[2], p[3], p[0], p[2]}}, {GroupID: "nonesuch"}, {GroupID: "a"},
		{GroupID: "a", Partitions: []metadata.PartitionID{}}, {GroupID: "a", Partitions: []metadata.PartitionID{p[1]}}, {GroupID: "b", Partitions: []metadata.PartitionID{p[0]}},
	})
	f.must(err)
	for i, want := range [][]metadata.Offset{{other}, {full, plain}, nil, {full, plain}, nil, nil, {other}} {
		f.wantOffsets(got[i], want...)
	}
	// What is written again is replaced as a whole; the rest stays.
	full = metadata.Offset{GroupID: "a", Partition: p[0], Offset: 3}
	f.putOffsets(full)
	f.wantOffsets(f.offsetsOf("a"), full, plain)
	f.deleteOffsets(metadata.OffsetKey{GroupID: "a", Partition: p[0]}, metadata.OffsetKey{GroupID: "b", Partition: p[3]}, metadata.OffsetKey{GroupID: "nonesuch", Partition: p[0]})
	f.wantOffsets(f.offsetsOf("a"), plain)
	f.wantOffsets(f.offsetsOf("b"), other)
	if got, err := f.store.FetchOffsets(f.ctx, nil); err != nil || len(got) != 0 {
		f.Fatalf("nothing asked: %+v, %v", got, err)
	}
}

func decideSeesGroups(f *fixture) {
	due := soon(time.Hour)
	known := f.storeGroup("known", 0, plainGroup("x"))
	version := f.storeGroup("g", 0, dueGroup("y", due))
	f.must(f.store.BeatMembers(f.ctx, uuid.New(), []metadata.GroupBeats{{GroupID: "g", Members: map[string]time.Time{"m": ago(0)}}}))
	without := plainGroup("x")
	without.State = nil
	refs := []metadata.GroupRef{{ID: "nonesuch", Known: known}, {ID: "known", Known: known}, {ID: "g", Known: known}, {ID: "g"}}
	called := 0
	f.must(f.store.WriteOffsets(f.ctx, refs, func(now time.Time, groups []metadata.Group) (metadata.OffsetChanges, error) {
		called++
		if len(groups) != len(refs) || time.Since(now).Abs() > time.Minute {
			f.Fatalf("at %s got %+v", now, groups)
		}
		f.wantGroup(groups[0], metadata.Group{ID: "nonesuch"})
		f.wantGroup(groups[1], metadata.Group{ID: "known", Version: known, GroupState: without})
		f.wantGroup(groups[2], metadata.Group{ID: "g", Version: version, GroupState: dueGroup("y", due)})
		f.wantGroup(groups[3], groups[2])
		return metadata.OffsetChanges{}, nil
	}))
	if called == 0 {
		f.Fatal("nobody was asked")
	}
	f.must(f.store.WriteOffsets(f.ctx, nil, decided(metadata.OffsetChanges{})))
}

func decideSeesEnteredGroup(f *fixture) {
	version := f.storeGroup("old", 0, plainGroup("old"))
	p := f.topic("t", 1).Partitions[0]
	due := soon(time.Hour)
	fresh := dueGroup("fresh", due)
	refs := []metadata.GroupRef{{ID: "new", Create: &fresh}, {ID: "old", Create: &fresh}}
	var entered int64
	f.must(f.store.WriteOffsets(f.ctx, refs, func(_ time.Time, groups []metadata.Group) (metadata.OffsetChanges, error) {
		entered = groups[0].Version
		f.wantGroup(groups[0], metadata.Group{ID: "new", Version: entered, GroupState: fresh})
		f.wantGroup(groups[1], metadata.Group{ID: "old", Version: version, GroupState: plainGroup("old")})
		return metadata.OffsetChanges{Put: []metadata.Offset{{GroupID: "new", Partition: p}}}, nil
	}))
	if entered < 1 || entered == version {
		f.Fatalf("entered as version %d", entered)
	}
	f.wantGroup(f.loadGroup("new"), metadata.Group{ID: "new", Version: entered, GroupState: fresh})
	f.storeGroup("new", entered, plainGroup("changed"))
}

func refusalChangesNothing(f *fixture) {
	p := f.topic("t", 1).Partitions[0]
	before := metadata.Offset{GroupID: "old", Partition: p, Offset: 1}
	f.putOffsets(before)
	version := f.loadGroup("old").Version
	refusal := errors.New("not today")
	state := plainGroup("x")
	err := f.store.WriteOffsets(f.ctx, []metadata.GroupRef{{ID: "old"}, {ID: "new", Create: &state}}, func(time.Time, []metadata.Group) (metadata.OffsetChanges, error) {
		return metadata.OffsetChanges{Put: []metadata.Offset{{GroupID: "old", Partition: p, Offset: 2}, {GroupID: "new", Partition: p}}}, refusal
	})
	f.wantErr(err, refusal)
	f.wantOffsets(f.offsetsOf("old"), before)
	f.wantOffsets(f.offsetsOf("new"))
	if got := f.loadGroup("new"); got.Version != 0 || f.loadGroup("old").Version != version {
		f.Fatalf("a refusal entered %+v, or changed the other group", got)
	}
}

// groupEnteredForNothingGoes: nobody committed to it.
func groupEnteredForNothingGoes(f *fixture) {
	p := f.topic("t", 1).Partitions[0]
	state := plainGroup("x")
	refs := []metadata.GroupRef{{ID: "new", Create: &state}, {ID: "other", Create: &state}}
	for _, changes := range []metadata.OffsetChanges{
		{}, {Put: []metadata.Offset{{GroupID: "other", Partition: p}}}, {Delete: []metadata.OffsetKey{{GroupID: "new", Partition: p}}},
	} {
		f.must(f.store.WriteOffsets(f.ctx, refs, decided(changes)))
		if got := f.loadGroup("new"); got.Version != 0 {
			f.Fatalf("changes %+v left %+v", changes, got)
		}
	}
	if got := f.loadGroup("other"); got.Version == 0 {
		f.Fatal("the other group was not entered")
	}
}

func offsetsNeedTheirGroup(f *fixture) {
	p := f.topic("t", 1).Partitions[0]
	f.storeGroup("g", 0, plainGroup("x"))
	f.storeGroup("unlocked", 0, plainGroup("x"))
	for _, changes := range []metadata.OffsetChanges{
		{Put: []metadata.Offset{{GroupID: "g", Partition: p}, {GroupID: "nonesuch", Partition: p}}},
		{Put: []metadata.Offset{{GroupID: "g", Partition: p}, {GroupID: "unlocked", Partition: p}}},
		{Put: []metadata.Offset{{GroupID: "g", Partition: p}}, Delete: []metadata.OffsetKey{{GroupID: "unlocked", Partition: p}}},
	} {
		err := f.store.WriteOffsets(f.ctx, []metadata.GroupRef{{ID: "g"}, {ID: "nonesuch"}}, decided(changes))
		if err == nil || errors.Is(err, metadata.ErrUnavailable) || errors.Is(err, metadata.ErrOutcomeUnknown) {
			f.Fatalf("got %v, want an error that nobody retries", err)
		}
		f.wantOffsets(f.offsetsOf("g"))
		f.wantOffsets(f.offsetsOf("unlocked"))
	}
}

func laterPutCounts(f *fixture) {
	p := f.topic("t", 2).Partitions
	last := metadata.Offset{GroupID: "g", Partition: p[0], Offset: 1, Metadata: "last"}
	f.putOffsets(metadata.Offset{GroupID: "g", Partition: p[0], Offset: 9, Metadata: "first"}, metadata.Offset{GroupID: "g", Partition: p[1], Offset: 5}, last)
	f.wantOffsets(f.offsetsOf("g"), last, metadata.Offset{GroupID: "g", Partition: p[1], Offset: 5})
	// A key that is put and deleted is put.
	changes := metadata.OffsetChanges{Put: []metadata.Offset{last}, Delete: []metadata.OffsetKey{{GroupID: "g", Partition: p[0]}, {GroupID: "g", Partition: p[1]}}}
	for range 2 { // a repetition does no harm
		f.must(f.store.WriteOffsets(f.ctx, refsOf(changes), decided(changes)))
		f.wantOffsets(f.offsetsOf("g"), last)
	}
}

func committedAnewIsSpared(f *fixture) {
	p := f.topic("t", 3).Partitions
	for _, id := range p {
		f.putOffsets(metadata.Offset{GroupID: "g", Partition: id})
	}
	read := f.offsetsOf("g")
	f.putOffsets(metadata.Offset{GroupID: "g", Partition: p[0]}) // the same offset again
	var keys []metadata.OffsetKey
	for _, o := range read[:2] {
		keys = append(keys, metadata.OffsetKey{GroupID: "g", Partition: o.Partition, CommittedAt: o.CommittedAt})
	}
	f.deleteOffsets(append(keys, metadata.OffsetKey{GroupID: "g", Partition: p[2], CommittedAt: read[2].CommittedAt.Add(-time.Microsecond)})...)
	f.wantOffsets(f.offsetsOf("g"), metadata.Offset{GroupID: "g", Partition: p[0]}, metadata.Offset{GroupID: "g", Partition: p[2]})
}

func commitTimeIsTheStores(f *fixture) {
	p := f.topic("t", 1).Partitions[0]
	state := plainGroup("x")
	var told, before time.Time
	for range 3 {
		f.must(f.store.WriteOffsets(f.ctx, []metadata.GroupRef{{ID: "g", Create: &state}}, func(now time.Time, _ []metadata.Group) (metadata.OffsetChanges, error) {
			told = now
			return metadata.OffsetChanges{Put: []metadata.Offset{{GroupID: "g", Partition: p, CommittedAt: ago(time.Hour)}}}, nil
		}))
		if got := f.offsetsOf("g")[0].CommittedAt; !got.Equal(told) || !got.After(before) {
			f.Fatalf("committed at %s; the decision was made at %s, the one before at %s", got, told, before)
		}
		before = told
	}
}

func cancelledWriteChangesNothing(f *fixture) {
	p := f.topic("t", 1).Partitions[0]
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	changes := metadata.OffsetChanges{Put: []metadata.Offset{{GroupID: "g", Partition: p}}}
	f.wantErr(f.store.WriteOffsets(ctx, refsOf(changes), decided(changes)), metadata.ErrUnavailable)
	if got := f.loadGroup("g"); got.Version != 0 || len(f.offsetsOf("g")) != 0 {
		f.Fatalf("got %+v", got)
	}
}

// groupStaysWhileOffsetsAreWritten: neither a change nor the deletion of the
// group gets between a decision and its commit.
func groupStaysWhileOffsetsAreWritten(f *fixture) {
	other := f.db.Open(f)
	for id, change := range map[string]func(ctx context.Context, id string, version int64) error{
		"stored": func(ctx context.Context, id string, version int64) error {
			_, err := other.StoreGroup(ctx, id, version, plainGroup("y"))
			return err
		},
		"deleted": other.DeleteGroup,
	} {
		f.storeGroup(id, 0, plainGroup("x"))
		f.must(f.store.WriteOffsets(f.ctx, []metadata.GroupRef{{ID: id}}, func(_ time.Time, groups []metadata.Group) (metadata.OffsetChanges, error) {
			ctx, cancel := context.WithTimeout(f.ctx, 50*time.Millisecond)
			defer cancel()
			if err := change(ctx, id, groups[0].Version); !errors.Is(err, metadata.ErrUnavailable) && !errors.Is(err, metadata.ErrOutcomeUnknown) {
				f.Errorf("%s meanwhile: %v", id, err)
			}
			return metadata.OffsetChanges{}, nil
		}))
	}
}

// olderGenerationNeverLands: writers stamp an offset with the generation in
// which they found the group. Once the next one is stored, and somebody has
// committed in it, no offset of the one before may show up.
func olderGenerationNeverLands(f *fixture) {
	const writers, generations = 3, 12
	p := f.topic("t", 1).Partitions[0]
	version := f.storeGroup("g", 0, plainGroup("0"))
	var committed atomic.Int64 // the newest generation that a commit was acknowledged in
	stop := make(chan struct{})
	progress := make(chan struct{}, 1)
	var stores []metadata.Store // before any of them writes without a pause
	for range writers {
		stores = append(stores, f.db.Open(f))
	}
	var wg sync.WaitGroup
	for _, store := range stores {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				var generation int64
				err := Patiently(func() error {
					return store.WriteOffsets(f.ctx, []metadata.GroupRef{{ID: "g"}}, func(_ time.Time, groups []metadata.Group) (metadata.OffsetChanges, error) {
						var err error
						generation, err = strconv.ParseInt(string(groups[0].State), 10, 64)
						return metadata.OffsetChanges{Put: []metadata.Offset{{GroupID: "g", Partition: p, Offset: generation}}}, err
					})
				})
				if err != nil {
					f.Error(err)
					return
				}
				for before := committed.Load(); before < generation && !committed.CompareAndSwap(before, generation); before = committed.Load() {
				}
				select {
				case progress <- struct{}{}:
				default:
				}
			}
		})
	}
	for generation := int64(1); generation <= generations && !f.Failed(); generation++ {
		f.must(Patiently(func() (err error) {
			next, err := f.store.StoreGroup(f.ctx, "g", version, plainGroup(fmt.Sprint(generation)))
			if err == nil {
				version = next
			}
			return err
		}))
		for committed.Load() < generation && !f.Failed() {
			select {
			case <-progress:
			case <-f.ctx.Done():
			}
		}
		for range 5 {
			if got := f.offsetsOf("g")[0].Offset; got != generation {
				f.Errorf("an offset of generation %d in generation %d", got, generation)
			}
		}
	}
	close(stop)
	wg.Wait()
}

func manyOffsets(f *fixture) {
	const groups = 40
	partitions := f.topic("t", 100).Partitions
	var puts []metadata.Offset
	var queries []metadata.OffsetQuery
	for i := range groups {
		for _, p := range partitions {
			puts = append(puts, metadata.Offset{GroupID: fmt.Sprint("g", i), Partition: p, Offset: int64(i)})
		}
		queries = append(queries, metadata.OffsetQuery{GroupID: fmt.Sprint("g", i)}, metadata.OffsetQuery{GroupID: fmt.Sprint("g", i), Partitions: partitions})
	}
	for range 2 {
		f.putOffsets(puts...)
		got, err := f.store.FetchOffsets(f.ctx, queries)
		f.must(err)
		for i, offsets := range got {
			f.wantOffsets(offsets, puts[i/2*len(partitions):(i/2+1)*len(partitions)]...)
		}
	}
}

// idleGroups asks for all, a few at a time.
func (f *fixture) idleGroups(before time.Time, limit int) (all []string) {
	f.Helper()
	for after := ""; ; after = all[len(all)-1] {
		some, err := f.store.IdleGroups(f.ctx, after, before, limit)
		f.must(err)
		if len(some) > limit {
			f.Fatalf("%d groups, limit %d", len(some), limit)
		}
		all = append(all, some...)
		if len(some) == 0 {
			return all
		}
	}
}

func idleGroups(f *fixture) {
	p := f.topic("t", 2).Partitions
	f.putOffsets(metadata.Offset{GroupID: "old", Partition: p[0]}, metadata.Offset{GroupID: "half old", Partition: p[0]})
	f.db.Age(f, time.Hour)
	f.putOffsets(
		metadata.Offset{GroupID: "half old", Partition: p[1]},
		metadata.Offset{GroupID: "young", Partition: p[0]}, metadata.Offset{GroupID: "young", Partition: p[1]},
		metadata.Offset{GroupID: "expired", Partition: p[0], ExpireAt: ago(time.Second)}, metadata.Offset{GroupID: "expired", Partition: p[1]},
		metadata.Offset{GroupID: "expires later", Partition: p[0], ExpireAt: soon(time.Hour)},
	)
	f.storeGroup("empty", 0, plainGroup("x"))
	for _, c := range []struct {
		before time.Time
		want   []string
	}{
		{ago(30 * time.Minute), []string{"empty", "expired", "half old", "old"}},
		{ago(2 * time.Hour), []string{"empty", "expired"}},
		{soon(time.Hour), []string{"empty", "expired", "expires later", "half old", "old", "young"}},
	} {
		got := f.idleGroups(c.before, 2)
		if slices.Sort(got); !slices.Equal(got, c.want) {
			f.Errorf("before %s: got %q, want %q", c.before, got, c.want)
		}
	}
}

func offsetsOfDeletedPartitionsAreTrimmed(f *fixture) {
	gone, stays := f.topic("gone", 3), f.topic("stays", 1)
	for _, p := range append(gone.Partitions, stays.Partitions...) {
		f.putOffsets(metadata.Offset{GroupID: "g", Partition: p})
	}
	trim := func(limit, want int) {
		f.Helper()
		if n, err := f.store.TrimOffsets(f.ctx, limit); err != nil || n != want {
			f.Fatalf("trimmed %d, %v; want %d", n, err, want)
		}
	}
	trim(10, 0)
	f.must(f.store.DeleteTopic(f.ctx, gone.ID))
	trim(2, 2)
	trim(2, 1)
	trim(2, 0)
	f.wantOffsets(f.offsetsOf("g"), metadata.Offset{GroupID: "g", Partition: stays.Partitions[0]})
}

// concurrentWriters write overlapping offsets of the same groups, in any order,
// from several agents. The last acknowledged write of each offset is one of what
// the writers did last to it.
func concurrentWriters(f *fixture, seed uint64) {
	const writers, writes, groups = 4, 20, 3
	partitions := f.topic("t", 6).Partitions
	last := make([]map[metadata.OffsetKey]int64, writers) // -1: deleted
	stores := []metadata.Store{f.store, f.db.Open(f)}
	var wg sync.WaitGroup
	for i := range writers {
		last[i] = map[metadata.OffsetKey]int64{}
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			for n := range writes {
				var changes metadata.OffsetChanges
				for range 1 + rng.IntN(20) {
					key := metadata.OffsetKey{GroupID: fmt.Sprint("g", rng.IntN(groups)), Partition: partitions[rng.IntN(len(partitions))]}
					value := int64(i*writes + n)
					if rng.IntN(4) == 0 {
						changes.Delete = append(changes.Delete, key)
						value = -1
					} else {
						changes.Put = append(changes.Put, metadata.Offset{GroupID: key.GroupID, Partition: key.Partition, Offset: value})
					}
					if value >= 0 || !slices.ContainsFunc(changes.Put, func(o metadata.Offset) bool { return o.GroupID == key.GroupID && o.Partition == key.Partition }) {
						last[i][key] = value
					}
				}
				refs := refsOf(changes)
				for _, key := range changes.Delete {
					refs = append(refs, metadata.GroupRef{ID: key.GroupID})
				}
				if err := stores[i%2].WriteOffsets(f.ctx, refs, decided(changes)); err != nil {
					f.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	f.checkLast(last)
}

func (f *fixture) checkLast(last []map[metadata.OffsetKey]int64) {
	f.Helper()
	now := map[metadata.OffsetKey]int64{}
	possible := map[metadata.OffsetKey][]int64{}
	for _, writer := range last {
		for key, value := range writer {
			possible[key] = append(possible[key], value)
			now[key] = -1
		}
	}
	for key := range possible {
		for _, o := range f.offsetsOf(key.GroupID) {
			now[metadata.OffsetKey{GroupID: o.GroupID, Partition: o.Partition}] = o.Offset
		}
	}
	for key, value := range now {
		if !slices.Contains(possible[key], value) {
			f.Errorf("%+v is at %d; the writers ended with %v", key, value, possible[key])
		}
	}
}

// writersAndDeleters: groups are entered, deleted and written to at once. What
// must hold afterwards is among the suite's invariants.
func writersAndDeleters(f *fixture, seed uint64) {
	const workers, steps, groups = 4, 25, 3
	partitions := f.topic("t", 3).Partitions
	var deleted atomic.Int64
	var wg sync.WaitGroup
	for i := range workers {
		store := f.db.Open(f)
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		wg.Go(func() {
			for range steps {
				ids := []string{fmt.Sprint("g", rng.IntN(groups)), fmt.Sprint("g", rng.IntN(groups))}
				var err error
				switch rng.IntN(3) {
				case 0:
					loaded, _, loadErr := store.LoadGroups(f.ctx, []metadata.GroupRef{{ID: ids[0]}})
					if err = loadErr; err == nil {
						err = store.DeleteGroup(f.ctx, ids[0], loaded[0].Version)
					}
					if err == nil {
						deleted.Add(1)
					}
				case 1:
					err = store.BeatMembers(f.ctx, uuid.UUID{15: byte(i)}, []metadata.GroupBeats{{GroupID: ids[0], Members: map[string]time.Time{"m": ago(0)}}})
				default:
					var changes metadata.OffsetChanges
					for _, id := range ids {
						changes.Put = append(changes.Put, metadata.Offset{GroupID: id, Partition: partitions[rng.IntN(len(partitions))]})
					}
					err = store.WriteOffsets(f.ctx, refsOf(changes), decided(changes))
				}
				if err != nil && !errors.Is(err, metadata.ErrGroupVersion) {
					f.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if deleted.Load() == 0 {
		f.Error("nobody deleted a group")
	}
}
