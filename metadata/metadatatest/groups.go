package metadatatest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

var groupTests = []test{
	{"StoredGroupIsLoaded", storedGroupIsLoaded},
	{"IDsAreAnyBytes", idsAreAnyBytes},
	{"ChangesByVersion", changesByVersion},
	{"VersionsAreNeverReused", versionsAreNeverReused},
	{"CreatedAtOnce", createdAtOnce},
	{"ChangedAtOnce", changedAtOnce},
	{"CancelledStoreChangesNothing", cancelledStoreChangesNothing},
	{"KnownVersionComesWithoutState", knownVersionComesWithoutState},
	{"VersionsInTheOrderAsked", versionsInTheOrderAsked},
	{"DeferChangesNoVersion", deferChangesNoVersion},
	{"DeletedGroupLeavesNothing", deletedGroupLeavesNothing},
	{"UsedGroupStays", usedGroupStays},
	{"DueGroupsAreClaimed", dueGroupsAreClaimed},
	{"ClaimedAtOnce", claimedAtOnce},
	{"BeatsOfAllAgents", beatsOfAllAgents},
	{"BeatsOfManyGroups", beatsOfManyGroups},
	{"OldBeatsAreTrimmed", oldBeatsAreTrimmed},
	{"HeardThroughTheSlowestAgent", heardThroughTheSlowestAgent},
}

// plainGroup is a state that changes by itself never.
func plainGroup(state string) metadata.GroupState {
	return metadata.GroupState{State: []byte(state), Type: "classic", ProtocolType: "consumer", Phase: "Stable"}
}

func dueGroup(state string, due time.Time) metadata.GroupState {
	g := plainGroup(state)
	g.Due = due
	return g
}

// storeGroup requires success.
func (f *fixture) storeGroup(id string, version int64, state metadata.GroupState) int64 {
	f.Helper()
	stored, err := f.store.StoreGroup(f.ctx, id, version, state)
	f.must(err)
	return stored
}

// loadGroup loads one group, of which nothing is known.
func (f *fixture) loadGroup(id string) metadata.Group {
	f.Helper()
	return f.loadGroups(metadata.GroupRef{ID: id})[0]
}

func (f *fixture) loadGroups(refs ...metadata.GroupRef) []metadata.Group {
	f.Helper()
	groups, now, err := f.store.LoadGroups(f.ctx, refs)
	f.must(err)
	if len(groups) != len(refs) {
		f.Fatalf("%d groups for %d refs", len(groups), len(refs))
	}
	if off := time.Since(now).Abs(); off > time.Minute {
		f.Fatalf("the store's clock is off by %s", off)
	}
	return groups
}

// wantGroup compares; times as instants.
func (f *fixture) wantGroup(got, want metadata.Group) {
	f.Helper()
	sameDue := got.Due.Equal(want.Due)
	sameBeats := maps.EqualFunc(got.Beats, want.Beats, time.Time.Equal)
	got.Due, want.Due, got.Beats, want.Beats = time.Time{}, time.Time{}, nil, nil
	if !reflect.DeepEqual(got, want) || !sameDue || !sameBeats {
		f.Fatalf("got  %+v\nwant %+v\nsame due %v, same beats %v", got, want, sameDue, sameBeats)
	}
}

// soon and ago are times that every store keeps as they are.
func soon(d time.Duration) time.Time { return time.Now().Add(d).Truncate(time.Microsecond) }
func ago(d time.Duration) time.Time  { return soon(-d) }

func storedGroupIsLoaded(f *fixture) {
	due := soon(time.Hour)
	first := metadata.GroupState{State: []byte{0, 1, 0xff}, Type: "consumer", Phase: "Reconciling", Due: due}
	second := metadata.GroupState{State: []byte(strings.Repeat("state ", 50_000)), Type: "classic", ProtocolType: "\x00connect\xff", Phase: "Empty"}
	third := metadata.GroupState{State: []byte{}}
	a, b, c := f.storeGroup("a", 0, first), f.storeGroup("b", 0, second), f.storeGroup("c", 0, metadata.GroupState{})
	groups := f.loadGroups(metadata.GroupRef{ID: "b"}, metadata.GroupRef{ID: "nonesuch", Known: 7}, metadata.GroupRef{ID: "a"}, metadata.GroupRef{ID: "c"}, metadata.GroupRef{ID: "b"})
	for i, want := range []metadata.Group{
		{ID: "b", Version: b, GroupState: second}, {ID: "nonesuch"}, {ID: "a", Version: a, GroupState: first}, {ID: "c", Version: c, GroupState: third}, {ID: "b", Version: b, GroupState: second},
	} {
		f.wantGroup(groups[i], want)
	}
	f.loadGroups()

	// Everything changes, on another agent too.
	other := f.other()
	a = other.storeGroup("a", a, second)
	f.wantGroup(f.loadGroup("a"), metadata.Group{ID: "a", Version: a, GroupState: second})
	list, err := f.store.ListGroups(f.ctx)
	f.must(err)
	slices.SortFunc(list, func(a, b metadata.GroupInfo) int { return strings.Compare(a.ID, b.ID) })
	want := []metadata.GroupInfo{{ID: "a", Type: "classic", ProtocolType: "\x00connect\xff", Phase: "Empty"}, {ID: "b", Type: "classic", ProtocolType: "\x00connect\xff", Phase: "Empty"}, {ID: "c"}}
	if !slices.Equal(list, want) {
		f.Fatalf("got  %+v\nwant %+v", list, want)
	}
}

func idsAreAnyBytes(f *fixture) {
	long := strings.Repeat("g", 32<<10)
	ids := []string{"", "g", "G", "é", "e\u0301", "\x00", "\x00\x00", "\xff\xfe", "a/b", "'; --", long, long[1:], long[1:] + "h"}
	partition := f.topic("t", 1).Partitions[0]
	at := ago(time.Second)
	for i, id := range ids {
		f.storeGroup(id, 0, dueGroup(strconv.Itoa(i), ago(time.Minute)))
		f.must(f.store.BeatMembers(f.ctx, uuid.New(), []metadata.GroupBeats{{GroupID: id, Members: map[string]time.Time{id: at}}}))
		f.putOffsets(metadata.Offset{GroupID: id, Partition: partition, Offset: int64(i), Metadata: id})
	}
	for i, id := range ids {
		group := f.loadGroup(id)
		if string(group.State) != strconv.Itoa(i) || len(group.Beats) != 1 || !group.Beats[id].Equal(at) {
			f.Fatalf("group %d is %.200v", i, group)
		}
		if got := f.offsetsOf(id); len(got) != 1 || got[0].Offset != int64(i) || got[0].Metadata != id || got[0].GroupID != id {
			f.Fatalf("offsets of group %d: %.200v", i, got)
		}
	}
	want := slices.Sorted(slices.Values(ids))
	list, err := f.store.ListGroups(f.ctx)
	f.must(err)
	var listed []string
	for _, info := range list {
		listed = append(listed, info.ID)
	}
	claimed, err := f.store.ClaimDueGroups(f.ctx, 100, time.Hour)
	f.must(err)
	for what, got := range map[string][]string{"listed": listed, "claimed": claimed, "idle": f.idleGroups(soon(time.Hour), 2)} {
		if slices.Sort(got); !slices.Equal(got, want) {
			f.Errorf("%s: %.200q", what, got)
		}
	}
}

func changesByVersion(f *fixture) {
	_, err := f.store.StoreGroup(f.ctx, "g", 5, plainGroup("x"))
	f.wantErr(err, metadata.ErrGroupVersion)
	f.wantGroup(f.loadGroup("g"), metadata.Group{ID: "g"})
	first := f.storeGroup("g", 0, plainGroup("first"))
	second := f.storeGroup("g", first, plainGroup("second"))
	if first < 1 || second == first {
		f.Fatalf("versions %d and %d", first, second)
	}
	for _, stale := range []int64{0, first, second + 1, -1} {
		_, err := f.store.StoreGroup(f.ctx, "g", stale, dueGroup("stale", soon(0)))
		f.wantErr(err, metadata.ErrGroupVersion)
		f.wantErr(f.store.DeleteGroup(f.ctx, "g", stale), metadata.ErrGroupVersion)
	}
	f.wantGroup(f.loadGroup("g"), metadata.Group{ID: "g", Version: second, GroupState: plainGroup("second")})
	// The same state again is a change, too.
	if third := f.storeGroup("g", second, plainGroup("second")); third == second {
		f.Fatal("the version stays")
	}
}

func versionsAreNeverReused(f *fixture) {
	seen := map[int64]bool{}
	fresh := func(version int64) int64 {
		f.Helper()
		if seen[version] || version < 1 {
			f.Fatalf("version %d again", version)
		}
		seen[version] = true
		return version
	}
	for range 3 {
		f.store = f.db.Open(f)
		v := fresh(f.storeGroup("g", 0, plainGroup("")))
		fresh(f.storeGroup("other", f.loadGroup("other").Version, plainGroup("")))
		v = fresh(f.storeGroup("g", v, plainGroup("")))
		f.must(f.store.DeleteGroup(f.ctx, "g", v))
		f.wantErr(f.store.DeleteGroup(f.ctx, "g", v), metadata.ErrGroupVersion)
		_, err := f.store.StoreGroup(f.ctx, "g", v, plainGroup(""))
		f.wantErr(err, metadata.ErrGroupVersion)
	}
}

func createdAtOnce(f *fixture) {
	stores := []metadata.Store{f.store, f.db.Open(f)}
	for i := range 10 {
		id := fmt.Sprint("g", i)
		var winners atomic.Int64
		var wg sync.WaitGroup
		for j := range 6 {
			wg.Go(func() {
				_, err := stores[j%2].StoreGroup(f.ctx, id, 0, plainGroup(fmt.Sprint(j)))
				if err == nil {
					winners.Add(1)
				} else if !errors.Is(err, metadata.ErrGroupVersion) {
					f.Error(err)
				}
			})
		}
		wg.Wait()
		if n := winners.Load(); n != 1 {
			f.Fatalf("%d of them created it", n)
		}
	}
}

// changedAtOnce counts in a group's state from several agents, while others put
// its Due off, take it for due and beat: no count is lost.
func changedAtOnce(f *fixture) {
	const counters, counts = 4, 15
	f.storeGroup("g", 0, dueGroup("0", ago(time.Hour)))
	var wg sync.WaitGroup
	for i := range counters {
		store := f.db.Open(f)
		wg.Go(func() {
			for done := 0; done < counts; {
				if err := countUp(f, store, i, &done); err != nil {
					f.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := f.loadGroup("g"); string(got.State) != strconv.Itoa(counters*counts) || len(got.Beats) != counters {
		f.Fatalf("got %+v", got)
	}
}

func countUp(f *fixture, store metadata.Store, i int, done *int) error {
	groups, _, err := store.LoadGroups(f.ctx, []metadata.GroupRef{{ID: "g"}})
	if err != nil {
		return err
	}
	count, err := strconv.Atoi(string(groups[0].State))
	if err != nil {
		return err
	}
	_, err = store.StoreGroup(f.ctx, "g", groups[0].Version, dueGroup(strconv.Itoa(count+1), ago(time.Hour)))
	switch {
	case err == nil:
		*done++
	case !errors.Is(err, metadata.ErrGroupVersion):
		return err
	}
	_, err = store.ClaimDueGroups(f.ctx, 1, 0)
	return errors.Join(err, store.DeferGroup(f.ctx, "g", groups[0].Version, ago(time.Hour)),
		store.BeatMembers(f.ctx, uuid.UUID{15: byte(i)}, []metadata.GroupBeats{{GroupID: "g", Members: map[string]time.Time{fmt.Sprint("m", i): ago(0)}}}))
}

func cancelledStoreChangesNothing(f *fixture) {
	version := f.storeGroup("g", 0, plainGroup("x"))
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	_, err := f.store.StoreGroup(ctx, "g", version, plainGroup("y"))
	f.wantErr(err, metadata.ErrUnavailable)
	f.wantErr(f.store.DeleteGroup(ctx, "g", version), metadata.ErrUnavailable)
	f.wantGroup(f.loadGroup("g"), metadata.Group{ID: "g", Version: version, GroupState: plainGroup("x")})
}

func knownVersionComesWithoutState(f *fixture) {
	due := soon(time.Minute)
	old := f.storeGroup("g", 0, plainGroup("x"))
	version := f.storeGroup("g", old, dueGroup("x", due))
	without := dueGroup("x", due)
	without.State = nil
	groups := f.loadGroups(metadata.GroupRef{ID: "g", Known: version}, metadata.GroupRef{ID: "g", Known: old}, metadata.GroupRef{ID: "g"})
	f.wantGroup(groups[0], metadata.Group{ID: "g", Version: version, GroupState: without})
	f.wantGroup(groups[1], metadata.Group{ID: "g", Version: version, GroupState: dueGroup("x", due)})
	f.wantGroup(groups[2], metadata.Group{ID: "g", Version: version, GroupState: dueGroup("x", due)})
}

func versionsInTheOrderAsked(f *fixture) {
	a, b := f.storeGroup("a", 0, plainGroup("")), f.storeGroup("b", 0, plainGroup(""))
	for _, c := range []struct {
		ids  []string
		want []int64
	}{{[]string{"b", "nonesuch", "a", "b", ""}, []int64{b, 0, a, b, 0}}, {nil, []int64{}}} {
		got, now, err := f.store.GroupVersions(f.ctx, c.ids)
		f.must(err)
		if !slices.Equal(got, c.want) || time.Since(now).Abs() > time.Minute {
			f.Fatalf("got %v at %s, want %v", got, now, c.want)
		}
	}
}

func deferChangesNoVersion(f *fixture) {
	old := f.storeGroup("g", 0, plainGroup("x"))
	version := f.storeGroup("g", old, plainGroup("x"))
	due := soon(time.Hour)
	f.must(f.store.DeferGroup(f.ctx, "g", version, due))
	f.must(f.store.DeferGroup(f.ctx, "g", old, ago(time.Hour)))
	f.must(f.store.DeferGroup(f.ctx, "nonesuch", 0, due))
	f.wantGroup(f.loadGroup("g"), metadata.Group{ID: "g", Version: version, GroupState: dueGroup("x", due)})
	f.must(f.store.DeferGroup(f.ctx, "g", version, time.Time{}))
	f.wantGroup(f.loadGroup("g"), metadata.Group{ID: "g", Version: version, GroupState: plainGroup("x")})
	f.wantGroup(f.loadGroup("nonesuch"), metadata.Group{ID: "nonesuch"})
}

func deletedGroupLeavesNothing(f *fixture) {
	partitions := f.topic("t", 3).Partitions
	versions := map[string]int64{}
	for _, id := range []string{"gone", "stays"} {
		versions[id] = f.storeGroup(id, 0, plainGroup("x"))
		f.must(f.store.BeatMembers(f.ctx, uuid.New(), []metadata.GroupBeats{{GroupID: id, Members: map[string]time.Time{"m": ago(0)}}}))
		for _, p := range partitions {
			f.putOffsets(metadata.Offset{GroupID: id, Partition: p, Offset: 1})
		}
	}
	f.wantErr(f.store.DeleteGroup(f.ctx, "gone", versions["stays"]), metadata.ErrGroupVersion)
	if got := f.offsetsOf("gone"); len(got) != 3 {
		f.Fatalf("offsets after a refused deletion: %+v", got)
	}
	f.must(f.store.DeleteGroup(f.ctx, "gone", versions["gone"]))
	f.wantErr(f.store.DeleteGroup(f.ctx, "nonesuch", 0), metadata.ErrGroupVersion)
	for range 2 {
		if got := f.offsetsOf("gone"); len(got) != 0 {
			f.Fatalf("offsets %+v", got)
		}
		if got := f.loadGroup("gone"); len(got.Beats) != 0 {
			f.Fatalf("beats %+v", got)
		}
		if got := f.loadGroup("stays"); got.Version != versions["stays"] || len(got.Beats) != 1 || len(f.offsetsOf("stays")) != 3 {
			f.Fatalf("the other one: %+v", got)
		}
		f.storeGroup("gone", f.loadGroup("gone").Version, plainGroup("anew"))
	}
}

// usedGroupStays: DeleteUnusedGroup leaves alone what has an offset, or is getting one.
func usedGroupStays(f *fixture) {
	p := f.topic("t", 1).Partitions[0]
	version := f.storeGroup("g", 0, plainGroup("x"))
	f.must(f.store.BeatMembers(f.ctx, uuid.New(), []metadata.GroupBeats{{GroupID: "g", Members: map[string]time.Time{"m": ago(0)}}}))
	other, refused := f.db.Open(f), make(chan error, 1)
	changes := metadata.OffsetChanges{Put: []metadata.Offset{{GroupID: "g", Partition: p, Offset: 7}}}
	f.must(f.store.WriteOffsets(f.ctx, refsOf(changes), func(time.Time, []metadata.Group) (metadata.OffsetChanges, error) {
		go func() { refused <- other.DeleteUnusedGroup(f.ctx, "g", version) }()
		return changes, nil
	}))
	f.wantErr(<-refused, metadata.ErrGroupVersion)
	f.wantErr(f.store.DeleteUnusedGroup(f.ctx, "g", version), metadata.ErrGroupVersion)
	f.wantOffsets(f.offsetsOf("g"), changes.Put...)

	f.deleteOffsets(metadata.OffsetKey{GroupID: "g", Partition: p})
	f.wantErr(f.store.DeleteUnusedGroup(f.ctx, "g", version+1), metadata.ErrGroupVersion)
	f.wantErr(f.store.DeleteUnusedGroup(f.ctx, "nonesuch", 0), metadata.ErrGroupVersion)
	f.must(f.store.DeleteUnusedGroup(f.ctx, "g", version))
	f.wantGroup(f.loadGroup("g"), metadata.Group{ID: "g"})
	f.wantErr(f.store.DeleteUnusedGroup(f.ctx, "g", version), metadata.ErrGroupVersion)
	f.storeGroup("g", 0, plainGroup("anew"))
	if got := f.loadGroup("g"); len(got.Beats) != 0 {
		f.Fatalf("beats of the one before: %+v", got)
	}
}

// claim requires the groups, in any order.
func (f *fixture) claim(limit int, lease time.Duration, want ...string) {
	f.Helper()
	got, err := f.store.ClaimDueGroups(f.ctx, limit, lease)
	f.must(err)
	if slices.Sort(got); !slices.Equal(got, want) {
		f.Fatalf("claimed %q, want %q", got, want)
	}
}

func dueGroupsAreClaimed(f *fixture) {
	f.storeGroup("never", 0, plainGroup(""))
	f.storeGroup("later", 0, dueGroup("", soon(time.Hour)))
	longest := f.storeGroup("longest", 0, dueGroup("", ago(time.Hour)))
	f.storeGroup("due", 0, dueGroup("", ago(time.Minute)))
	f.claim(0, time.Minute)
	f.claim(1, time.Minute, "longest") // it waits since before the other one
	f.claim(10, time.Minute, "due")
	f.claim(10, time.Minute)
	// The claim changed no version, so its holder can store.
	f.storeGroup("longest", longest, dueGroup("", soon(time.Hour)))
	f.db.Age(f, time.Minute+time.Second)
	f.claim(10, time.Minute, "due")
	f.db.Age(f, time.Hour)
	f.claim(10, time.Minute, "due", "later", "longest")
}

func claimedAtOnce(f *fixture) {
	const groups, claimers = 40, 4
	for i := range groups {
		f.storeGroup(fmt.Sprint("g", i), 0, dueGroup("", ago(time.Minute)))
	}
	var mu sync.Mutex
	claimed := map[string]int{}
	var wg sync.WaitGroup
	for range claimers {
		store := f.db.Open(f)
		wg.Go(func() {
			for {
				ids, err := store.ClaimDueGroups(f.ctx, 3, time.Hour)
				if err != nil {
					f.Error(err)
				}
				if len(ids) == 0 {
					return
				}
				mu.Lock()
				for _, id := range ids {
					claimed[id]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	// Who found nothing because others held the last ones has left; nobody is needed.
	f.claim(groups, time.Hour, []string{}...)
	if len(claimed) != groups {
		f.Fatalf("%d of %d groups claimed", len(claimed), groups)
	}
	for id, n := range claimed {
		if n != 1 {
			f.Errorf("%s was claimed %d times", id, n)
		}
	}
}

func beatsOfAllAgents(f *fixture) {
	first, second := uuid.New(), uuid.New()
	version := f.storeGroup("g", 0, plainGroup("x"))
	f.storeGroup("quiet", 0, plainGroup("y"))
	beat := func(agent uuid.UUID, id string, members map[string]time.Time) {
		f.Helper()
		f.must(f.store.BeatMembers(f.ctx, agent, []metadata.GroupBeats{{GroupID: id, Members: members}}))
	}
	times := make([]time.Time, 5)
	for i := range times {
		times[i] = ago(time.Duration(5-i) * time.Second)
	}
	want := func(beats map[string]time.Time) {
		f.Helper()
		f.wantGroup(f.loadGroup("g"), metadata.Group{ID: "g", Version: version, GroupState: plainGroup("x"), Beats: beats})
	}
	beat(first, "g", map[string]time.Time{"a": times[0], "b": times[3], "\x00\xff": times[0]})
	beat(second, "g", map[string]time.Time{"a": times[1], "b": times[2]})
	beat(first, "nonesuch", map[string]time.Time{"a": times[0]})
	want(map[string]time.Time{"a": times[1], "b": times[3], "\x00\xff": times[0]})
	// What an agent says replaces what it said; of two in a call the later counts.
	f.must(f.store.BeatMembers(f.ctx, first, []metadata.GroupBeats{
		{GroupID: "g", Members: map[string]time.Time{"z": times[4]}}, {GroupID: "g", Members: map[string]time.Time{"a": times[4]}}}))
	want(map[string]time.Time{"a": times[4], "b": times[2]})
	beat(first, "g", nil)
	want(map[string]time.Time{"a": times[1], "b": times[2]})
	f.must(f.store.BeatMembers(f.ctx, first, nil))
	f.wantGroup(f.loadGroup("quiet"), metadata.Group{ID: "quiet", Version: f.loadGroup("quiet").Version, GroupState: plainGroup("y")})
	if got := f.loadGroup("nonesuch"); got.Version != 0 || got.Beats != nil {
		f.Fatalf("got %+v", got)
	}
}

// beatsOfManyGroups come from two agents at once, while some groups go.
func beatsOfManyGroups(f *fixture) {
	const groups = 60
	at := ago(0)
	var beats []metadata.GroupBeats
	versions := make([]int64, groups)
	for i := range groups {
		id := fmt.Sprint("g", i)
		versions[i] = f.storeGroup(id, 0, plainGroup(""))
		beats = append(beats, metadata.GroupBeats{GroupID: id, Members: map[string]time.Time{"m": at}})
	}
	var wg sync.WaitGroup
	for range 2 {
		store := f.db.Open(f)
		wg.Go(func() {
			agent := uuid.New()
			for range 5 {
				if err := store.BeatMembers(f.ctx, agent, beats); err != nil {
					f.Error(err)
				}
			}
		})
	}
	for i := 0; i < groups; i += 2 {
		f.must(f.store.DeleteGroup(f.ctx, beats[i].GroupID, versions[i]))
	}
	wg.Wait()
	for i, b := range beats {
		if got := f.loadGroup(b.GroupID); len(got.Beats) != i%2 {
			f.Errorf("group %d: %+v", i, got)
		}
	}
}

func oldBeatsAreTrimmed(f *fixture) {
	f.storeGroup("g", 0, plainGroup("x"))
	beats := []metadata.GroupBeats{{GroupID: "g", Members: map[string]time.Time{"m": ago(0)}}}
	kept := uuid.New()
	for _, agent := range []uuid.UUID{uuid.New(), kept, uuid.New(), uuid.New()} {
		f.must(f.store.BeatMembers(f.ctx, agent, beats))
	}
	f.db.Age(f, time.Hour)
	f.must(f.store.BeatMembers(f.ctx, kept, beats))
	for _, want := range []int{2, 1, 0} {
		if n, err := f.store.TrimBeats(f.ctx, 30*time.Minute, 2); err != nil || n != want {
			f.Fatalf("trimmed %d, %v; want %d", n, err, want)
		}
	}
	if got := f.loadGroup("g"); len(got.Beats) != 1 {
		f.Fatalf("got %+v", got)
	}
}

func heardThroughTheSlowestAgent(f *fixture) {
	first, second := uuid.New(), uuid.New()
	heard := func(agent uuid.UUID, through, want time.Time) {
		f.Helper()
		if got, err := f.store.HeardThrough(f.ctx, agent, through); err != nil || !got.Equal(want) {
			f.Fatalf("everybody was heard until %v (%v), want %v", got, err, want)
		}
	}
	early, late, later := ago(time.Minute), ago(time.Second), ago(0)
	heard(first, late, late)
	heard(second, early, early)
	heard(first, later, early)
	heard(second, late, late)
	// Who says nothing any more is not waited for.
	f.db.Age(f, metadata.AgentTimeout+time.Second)
	heard(first, later, later)
	if _, err := f.store.TrimBeats(f.ctx, time.Second, 1); err != nil {
		f.Fatal(err)
	}
	heard(first, later, later)
	heard(second, late, late)
}
