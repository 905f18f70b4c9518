package metadatatest

import (
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

var claimTests = []test{
	{"ClaimsComeInTheOrderOfCommits", claimsComeInTheOrderOfCommits},
	{"ClaimsWaitUntilTheyAreFullOrDue", claimsWaitUntilTheyAreFullOrDue},
	{"ClaimsAreExclusive", claimsAreExclusive},
	{"ClaimsAtOnceAreDisjoint", claimsAtOnceAreDisjoint},
	{"LostClaimsAreNotRenewed", lostClaimsAreNotRenewed},
	{"DamagedFilesAreLeftAlone", damagedFilesAreLeftAlone},
	{"SparseFilesAreClaimed", sparseFilesAreClaimed},
	{"MarkersComeWithTheirRuns", markersComeWithTheirRuns},
	{"NoMoreMarkersThanRuns", noMoreMarkersThanRuns},
	{"ClaimsLeaveOutWhatIsDeleted", claimsLeaveOutWhatIsDeleted},
	{"WrongClaimsAreRefused", wrongClaimsAreRefused},
	{"BacklogByLevel", backlogByLevel},
}

func claimsComeInTheOrderOfCommits(f *fixture) {
	p := f.topic("t", 3).Partitions
	// IDs go the other way: the clocks of agents differ.
	now := time.Now()
	second := datedFile(f, now, appendTo(p[2], plain(1, 1)), appendTo(p[0], plain(2, 5)))
	third := datedFile(f, now.Add(-time.Minute), appendTo(p[0], plain(3, 7), idempotent(3, 0, 0, 1), idempotent(3, 0, 0, 1), plain(1, 1)))
	second.Size, third.Size = 200, 300
	commits := f.commit(second, third).Commits
	nothing := newFile(f, appendTo(p[0], idempotent(3, 0, 0, 1)))
	f.commit(nothing)

	got := f.claimFiles(claimAll(0), 2)
	want := []metadata.ClaimedFile{
		{ID: second.ID, Seq: commits[0].Seq, Size: 200, Runs: commits[0].Runs},
		{ID: third.ID, Seq: commits[1].Seq, Size: 300, Runs: commits[1].Runs},
	}
	if len(want[1].Runs) != 2 {
		f.Fatalf("runs %+v", want[1].Runs)
	}
	for i := range want {
		sortRuns(want[i].Runs)
		if got[i].ID != want[i].ID || got[i].Seq != want[i].Seq || got[i].Size != want[i].Size || got[i].Level != 0 || !slices.Equal(got[i].Runs, want[i].Runs) {
			f.Errorf("file %d:\ngot  %+v\nwant %+v", i, got[i], want[i])
		}
	}
	if !f.file(nothing.ID).Dead {
		f.Errorf("a file of which nothing was accepted lives")
	}
}

func claimsWaitUntilTheyAreFullOrDue(f *fixture) {
	p := f.topic("t", 1).Partitions[0]
	claim := claimAll(0)
	claim.MaxFiles, claim.Due = 4, time.Hour
	f.claimFiles(claim, 0)
	for n := range 4 {
		f.claimFiles(claim, 0)
		small := claim
		small.MaxBytes = 2 << 20 // as two files have
		for range min(1, n/2) {
			files := f.claimFiles(small, 2)
			f.must(f.store.ReleaseFiles(f.ctx, claim.Holder, fileIDs(files), false))
		}
		f.commitOne(p, plain(1, 1))
	}
	f.must(f.store.ReleaseFiles(f.ctx, claim.Holder, fileIDs(f.claimFiles(claim, 4)), false))
	claim.MaxFiles = 5
	f.claimFiles(claim, 0)
	f.db.Age(f, time.Hour)
	f.claimFiles(claim, 4)
}

func claimsAreExclusive(f *fixture) {
	p := f.topic("t", 1).Partitions[0]
	for range 4 {
		f.commitOne(p, plain(1, 1))
	}
	first, second := claimAll(0), claimAll(0)
	first.MaxFiles = 2
	held := f.claimFiles(first, 2)
	rest := f.claimFiles(second, 2)
	if held[1].Seq >= rest[0].Seq {
		f.Errorf("the first claim has %+v, the second %+v", held, rest)
	}
	f.claimFiles(claimAll(0), 0)
	// Who lost the reply asks again.
	if again := f.claimFiles(first, 2); !slices.Equal(fileIDs(again), fileIDs(held)) {
		f.Errorf("claimed %v, and again %v", fileIDs(held), fileIDs(again))
	}
	m := f.other().store
	f.must(m.ReleaseFiles(f.ctx, first.Holder, fileIDs(rest), false)) // not his
	f.must(m.ReleaseFiles(f.ctx, first.Holder, fileIDs(held), false))
	third := claimAll(0)
	if got := f.claimFiles(third, 2); !slices.Equal(fileIDs(got), fileIDs(held)) {
		f.Errorf("got %v, want those that were released, %v", fileIDs(got), fileIDs(held))
	}
	// A claim ends by itself.
	f.db.Age(f, 30*time.Second)
	f.claimFiles(claimAll(0), 0)
	f.db.Age(f, 31*time.Second)
	f.claimFiles(claimAll(0), 4)
}

func claimsAtOnceAreDisjoint(f *fixture) {
	p := f.topic("t", 1).Partitions[0]
	const agents, each = 4, 5
	for range agents * each {
		f.commitOne(p, plain(1, 1))
	}
	var wg sync.WaitGroup
	claimed := make([][]metadata.ClaimedFile, agents)
	for i := range agents {
		agent := f.other()
		wg.Go(func() {
			claim := claimAll(0)
			claim.MaxFiles = each
			// A store may pass over files that another is claiming right now.
			for range 100 {
				var err error
				if claimed[i], err = agent.store.ClaimFiles(agent.ctx, claim); err != nil {
					f.Error(err)
					return
				}
				if len(claimed[i]) > 0 {
					return
				}
			}
		})
	}
	wg.Wait()
	seen := map[uuid.UUID]bool{}
	for _, files := range claimed {
		if len(files) == 0 {
			f.Error("an agent got nothing")
		}
		for _, file := range files {
			if seen[file.ID] {
				f.Errorf("two have file %s", file.ID)
			}
			seen[file.ID] = true
		}
	}
}

func lostClaimsAreNotRenewed(f *fixture) {
	topic := f.topic("t", 1)
	p := f.topic("stays", 1).Partitions[0]
	f.commitOne(topic.Partitions[0], plain(1, 1))
	f.commitOne(p, plain(1, 1))
	f.commitOne(p, plain(1, 1))
	first, second := claimAll(0), claimAll(0)
	ids := fileIDs(f.claimFiles(first, 3))
	renew := func(holder uuid.UUID, want bool, files ...uuid.UUID) {
		f.Helper()
		held, err := f.store.RenewFiles(f.ctx, holder, files, time.Minute)
		f.must(err)
		if held != want {
			f.Errorf("renewed: %v, want %v", held, want)
		}
	}
	f.db.Age(f, 50*time.Second)
	renew(first.Holder, true, ids...)
	renew(second.Holder, false, ids...)
	f.db.Age(f, 50*time.Second)
	f.claimFiles(second, 0)
	// What ended, and nobody has taken, goes on; files that are gone are no loss.
	f.db.Age(f, time.Hour)
	f.must(f.store.DeleteTopic(f.ctx, topic.ID))
	renew(first.Holder, true, ids...)
	f.claimFiles(second, 0)
	f.must(f.store.ReleaseFiles(f.ctx, first.Holder, ids[1:2], false))
	renew(first.Holder, false, ids...)
	renew(first.Holder, true, ids[0], ids[2])
	f.db.Age(f, time.Hour)
	f.claimFiles(second, 2)
	renew(first.Holder, false, ids[2])
	renew(second.Holder, true, ids[1:]...)
}

func damagedFilesAreLeftAlone(f *fixture) {
	p := f.topic("t", 2).Partitions
	for range 3 {
		f.commit(newFile(f, appendTo(p[0], plain(1, 1)), appendTo(p[1], plain(2, 1))))
	}
	claim := claimAll(0)
	files := f.claimFiles(claim, 3)
	m := f.store
	f.must(m.ReleaseFiles(f.ctx, uuid.New(), fileIDs(files), true)) // who has no claim settles nothing
	f.must(m.ReleaseFiles(f.ctx, claim.Holder, fileIDs(files[:1]), true))
	f.must(m.ReleaseFiles(f.ctx, claim.Holder, fileIDs(files[1:]), false))
	if got := f.file(files[0].ID); got.Level != metadata.LevelDamaged || got.LiveRuns != 2 {
		f.Errorf("the damaged file: %+v", got)
	}
	f.claimFiles(claim, 2)
	// A merged one that is damaged and sparse, too.
	merged := replacement(f, f.rows(p[0])[1:], f.rows(p[1])[1:])
	f.replace(merged, true, true)
	f.claimFiles(claimAll(0), 0)
	f.deleteRecords(p[1], metadata.AllRecords, 6)
	sparse := claimAll(0)
	sparse.Sparse = true
	f.must(m.ReleaseFiles(f.ctx, sparse.Holder, fileIDs(f.claimFiles(sparse, 1)), true))
	sparse.Holder = uuid.New()
	f.claimFiles(sparse, 0)
	f.claimFiles(claimAll(1), 0)
}

func sparseFilesAreClaimed(f *fixture) {
	p := f.topic("t", 3).Partitions
	for range 2 {
		f.commit(newFile(f, appendTo(p[0], plain(10, 1)), appendTo(p[1], plain(20, 2)), appendTo(p[2], plain(20, 3))))
	}
	settled := replacement(f, f.rows(p[0]), f.rows(p[1]), f.rows(p[2]))
	settled.Level, settled.Seq = metadata.LevelSettled, 5
	f.replace(settled, true, true, true)
	sparse := claimAll(0)
	sparse.Sparse, sparse.Due = true, 0
	f.claimFiles(sparse, 0)
	f.deleteRecords(p[2], metadata.AllRecords, 40)
	f.claimFiles(sparse, 0) // three fifths live
	f.deleteRecords(p[1], metadata.AllRecords, 40)
	// A file of producers that is sparse is merged soon enough.
	young := newFile(f, appendTo(p[0], plain(1, 9)))
	f.commit(young)
	got := f.claimFiles(sparse, 1)
	if got[0].ID != settled.FileID || got[0].Seq != 5 || got[0].Level != metadata.LevelSettled || !slices.Equal(got[0].Runs, []metadata.Run{settled.Runs[0].Run}) {
		f.Errorf("claimed %+v", got)
	}
	again := replacement(f, got[0].Runs)
	again.Level = metadata.LevelSettled
	f.replace(again, true)
	if !f.file(settled.FileID).Dead {
		f.Error("the sparse file lives on")
	}
	f.claimFiles(sparse, 0)
}

// markersOf are the offsets of markers by partition.
func markersOf(files []metadata.ClaimedFile) map[metadata.PartitionID][]int64 {
	offsets := map[metadata.PartitionID][]int64{}
	for _, m := range files[0].Markers {
		offsets[m.Partition] = append(offsets[m.Partition], m.BaseOffset)
	}
	return offsets
}

func markersComeWithTheirRuns(f *fixture) {
	parts := f.topic("t", 2).Partitions
	a, b := parts[0], parts[1]
	p, q := f.producer("p"), f.producer("q")
	p.write(1, a)    // 0
	q.write(1, a, b) // 1, 0
	p.end(true)      // 2
	q.end(false)     // 3, 1
	p.write(2, a)    // 4
	p.end(true)      // 6
	f.commitOne(b, plain(1, 1))
	claim := claimAll(0)
	files := f.claimFiles(claim, 4)
	if got := markersOf(files); !slices.Equal(got[a], []int64{2, 3, 6}) || !slices.Equal(got[b], []int64{1}) {
		f.Errorf("markers %v", got)
	}
	for _, file := range files[1:] {
		if file.Markers != nil {
			f.Errorf("markers of another file than the first: %+v", file)
		}
	}
	for _, m := range files[0].Markers {
		if !slices.Contains(f.rows(m.Partition), m) {
			f.Errorf("there is no row %+v", m)
		}
	}
	// Those before the first run come, too, and not those that another's runs separate.
	f.must(f.store.ReleaseFiles(f.ctx, claim.Holder, fileIDs(files), false))
	claim.Holder, claim.MaxFiles = uuid.New(), 1
	if got := markersOf(f.claimFiles(claim, 1)); len(got) != 0 {
		f.Errorf("markers of the first file: %v", got)
	}
	second := claim
	second.Holder = uuid.New()
	if got := markersOf(f.claimFiles(second, 1)); !slices.Equal(got[a], []int64{2, 3}) || !slices.Equal(got[b], []int64{1}) {
		f.Errorf("markers of the second file: %v", got)
	}
	third := claim
	third.Holder = uuid.New()
	if got := markersOf(f.claimFiles(third, 1)); !slices.Equal(got[a], []int64{6}) || len(got[b]) != 0 {
		f.Errorf("markers of the third file, with those that the second came with: %v", got)
	}
	f.must(f.store.ReleaseFiles(f.ctx, second.Holder, []uuid.UUID{files[1].ID}, false))
	third.MaxFiles = 2
	if got := markersOf(f.claimFiles(third, 2)); !slices.Equal(got[a], []int64{2, 3, 6}) || !slices.Equal(got[b], []int64{1}) {
		f.Errorf("markers of the second and third file: %v", got)
	}
	// Nothing from before the log start.
	f.db.Age(f, time.Hour)
	f.db.SetLogStart(f, a, 3)
	third.Holder, third.MaxFiles = uuid.New(), 1000
	if got := markersOf(f.claimFiles(third, 4)); !slices.Equal(got[a], []int64{3, 6}) || !slices.Equal(got[b], []int64{1}) {
		f.Errorf("markers from the log start on: %v", got)
	}
	f.trim(100, 3)
}

func noMoreMarkersThanRuns(f *fixture) {
	part := f.topic("t", 1).Partitions[0]
	var producers []*producer
	for _, id := range []string{"a", "b", "c", "d"} {
		p := f.producer(id)
		p.write(1, part)
		producers = append(producers, p)
	}
	for _, p := range producers {
		p.end(true)
	}
	claim := claimAll(0)
	claim.MaxRuns = 3
	files := f.claimFiles(claim, 3)
	if got := files[0].Markers; len(got) != 0 {
		f.Errorf("markers %+v of runs that another separates from them", got)
	}
	f.must(f.store.ReleaseFiles(f.ctx, claim.Holder, fileIDs(files[:2]), false))
	claim.Holder, claim.MaxRuns = uuid.New(), 2
	f.db.Age(f, time.Hour)
	f.must(f.store.ReleaseFiles(f.ctx, claim.Holder, fileIDs(f.claimFiles(claim, 2)), true))
	claim.Holder = uuid.New()
	if got := f.claimFiles(claim, 2)[0].Markers; len(got) != 2 || got[0].BaseOffset != 4 || got[1].BaseOffset != 5 {
		f.Errorf("markers %+v, want the two next to the runs", got)
	}
}

func claimsLeaveOutWhatIsDeleted(f *fixture) {
	gone, stays := f.topic("gone", 1), f.topic("stays", 1).Partitions[0]
	for range 3 {
		f.commit(newFile(f, appendTo(gone.Partitions[0], plain(2, 1)), appendTo(stays, plain(2, 1))))
	}
	f.db.SetLogStart(f, stays, 3)
	f.db.SetLogStart(f, gone.Partitions[0], 1)
	var got []int64
	for _, file := range f.claimFiles(claimAll(0), 3) {
		for _, r := range file.Runs {
			got = append(got, int64(r.Partition), r.BaseOffset)
		}
	}
	g, s := int64(gone.Partitions[0]), int64(stays)
	if want := []int64{g, 0, g, 2, s, 2, g, 4, s, 4}; !slices.Equal(got, want) {
		f.Errorf("claimed (partition, offset) %v, want %v", got, want)
	}
	f.must(f.store.DeleteTopic(f.ctx, gone.ID))
	f.db.Age(f, time.Hour)
	for _, file := range f.claimFiles(claimAll(0), 3) {
		for _, r := range file.Runs {
			if r.Partition != stays {
				f.Errorf("claimed %+v of a deleted topic", r)
			}
		}
	}
	f.trim(100, 1)
}

func wrongClaimsAreRefused(f *fixture) {
	for _, level := range []int16{metadata.LevelSettled, metadata.LevelDamaged, metadata.MaxFileLevel} {
		if _, err := f.store.ClaimFiles(f.ctx, claimAll(level)); err == nil {
			f.Errorf("a claim of level %d", level)
		}
	}
}

func backlogByLevel(f *fixture) {
	p := f.topic("t", 1).Partitions[0]
	backlog := func(want ...int64) {
		f.Helper()
		levels, err := f.store.MergeBacklog(f.ctx)
		f.must(err)
		var got []int64
		for i, b := range levels {
			if int(b.Level) != i || b.OldestAt.IsZero() != (b.Files == 0) {
				f.Errorf("level %d: %+v", i, b)
			}
			got = append(got, b.Files, b.Bytes)
		}
		if !slices.Equal(got, want) {
			f.Errorf("files and bytes %v, want %v", got, want)
		}
	}
	backlog(0, 0, 0, 0, 0, 0)
	f.commitOne(p, plain(1, 1))
	f.db.Age(f, time.Hour)
	for range 3 {
		f.commitOne(p, plain(1, 1))
	}
	backlog(4, 4<<20, 0, 0, 0, 0)
	levels, err := f.store.MergeBacklog(f.ctx)
	f.must(err)
	now, err := f.store.Now(f.ctx)
	f.must(err)
	if age := now.Sub(levels[0].OldestAt); age < time.Hour || age > time.Hour+time.Minute {
		f.Errorf("the oldest is %v old", age)
	}
	f.claimFiles(claimAll(0), 4)
	backlog(4, 4<<20, 0, 0, 0, 0)
	rows := f.rows(p)
	one, settled := replacement(f, rows[:2]), replacement(f, rows[2:3])
	settled.Level = metadata.LevelSettled
	f.replace(one, true)
	f.replace(settled, true)
	backlog(1, 1<<20, 1, one.Size, 0, 0)
}
