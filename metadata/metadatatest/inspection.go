package metadatatest

import (
	"bytes"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

// InspectionDatabase is a database that tests damage.
type InspectionDatabase interface {
	Database
	// SetCounts sets what a file says of its rows, past the store's back.
	SetCounts(t testing.TB, id uuid.UUID, liveRuns int, liveBytes int64)
	// DropKey makes a file lose the last of its keys.
	DropKey(t testing.TB, id uuid.UUID)
	// DropRow removes a row, and nothing else.
	DropRow(t testing.TB, partition metadata.PartitionID, offset int64)
}

// RunInspection runs the tests of metadata.Inspection.
func RunInspection(t *testing.T, create func(t testing.TB) Database) {
	for _, test := range []test{
		{"FilesComeWithTheirRows", filesComeWithTheirRows},
		{"FilesAreListedInSlices", filesAreListedInSlices},
		{"FilesAreLookedAt", filesAreLookedAt},
		{"RowsComeInSlices", rowsComeInSlices},
		{"RowsOfDeletedPartitions", rowsOfDeletedPartitions},
		{"RowsWithHoles", rowsWithHoles},
		{"AbortedTransactionsComeWithTheirMarkers", abortedTransactionsComeWithTheirMarkers},
		{"WrongCountsAreFoundAndCorrected", wrongCountsAreFoundAndCorrected},
		{"FileWithoutRowsDies", fileWithoutRowsDies},
		{"LostKeysAreFoundAgain", lostKeysAreFoundAgain},
		{"UnmarkedFilesAreMergedAgain", unmarkedFilesAreMergedAgain},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, create(t))
			test.run(f)
			f.checkInvariants()
		})
	}
}

func (f *fixture) inspection() metadata.Inspection {
	f.Helper()
	i, ok := f.store.(metadata.Inspection)
	if !ok {
		f.Fatal("the store can't be inspected")
	}
	return i
}

func (f *fixture) damaged() InspectionDatabase {
	f.Helper()
	db, ok := f.db.(InspectionDatabase)
	if !ok {
		f.Fatal("the database can't be damaged")
	}
	return db
}

// allFiles lists all files, few at a time.
func (f *fixture) allFiles(limit int) (files []metadata.InspectedFile) {
	f.Helper()
	var after uuid.UUID
	for {
		some, err := f.inspection().ListFiles(f.ctx, after, limit)
		f.must(err)
		if len(some) == 0 {
			return files
		}
		if len(some) > limit {
			f.Fatalf("%d files, asked for %d", len(some), limit)
		}
		files = append(files, some...)
		after = some[len(some)-1].ID
	}
}

func filesComeWithTheirRows(f *fixture) {
	p := f.topic("t", 3).Partitions
	live := newFile(f, appendTo(p[2], plain(1, 1)), appendTo(p[0], plain(2, 5), idempotent(3, 0, 0, 1), idempotent(3, 0, 0, 1), plain(1, 1)))
	dead := newFile(f, appendTo(p[0], idempotent(3, 0, 0, 1)))
	commits := f.commit(live, dead).Commits
	if len(commits[0].Runs) != 3 {
		f.Fatalf("runs %+v", commits[0].Runs)
	}
	files := f.allFiles(10)
	if len(files) != 2 {
		f.Fatalf("files %+v", files)
	}
	want := metadata.InspectedFile{ID: live.ID, State: metadata.FileLive, Size: live.Size, Seq: commits[0].Seq, LiveRuns: 3, LiveBytes: live.Size, Runs: slices.Clone(commits[0].Runs), KeysKnown: true}
	sortRuns(want.Runs)
	for _, got := range files {
		switch {
		case got.ID == live.ID && !reflect.DeepEqual(got, want):
			f.Errorf("live file\ngot  %+v\nwant %+v", got, want)
		case got.ID == dead.ID && (got.State != metadata.FileDead || got.Size != dead.Size || time.Since(got.DiedAt).Abs() > time.Hour || got.Runs != nil):
			f.Errorf("dead file %+v", got)
		}
	}
	f.must(f.store.DeleteTopic(f.ctx, f.topicID("t")))
	for _, got := range f.allFiles(10) {
		if got.State != metadata.FileDead {
			f.Errorf("file of a deleted topic: %+v", got)
		}
	}
}

func (f *fixture) topicID(name string) uuid.UUID {
	f.Helper()
	topics, err := f.store.TopicsByName(f.ctx, []string{name})
	f.must(err)
	return topics[0].ID
}

func filesAreListedInSlices(f *fixture) {
	p := f.topic("t", 1).Partitions[0]
	var want []uuid.UUID
	for i := range 7 {
		file := newFile(f, appendTo(p, plain(1, 1)))
		if i%3 == 1 {
			file = newFile(f, appendTo(p, idempotent(1, 0, 500, 1))) // once, and then a duplicate: dead
		}
		want = append(want, file.ID)
		f.commit(file)
	}
	slices.SortFunc(want, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	for _, limit := range []int{1, 2, 3, 100} {
		var got []uuid.UUID
		for _, file := range f.allFiles(limit) {
			got = append(got, file.ID)
		}
		if !slices.Equal(got, want) {
			f.Errorf("%d at a time: %v, want %v", limit, got, want)
		}
	}
}

func filesAreLookedAt(f *fixture) {
	p := f.topic("t", 1).Partitions[0]
	live, dead, unknown := newFile(f, appendTo(p, idempotent(3, 0, 0, 1))), newFile(f, appendTo(p, idempotent(3, 0, 0, 1))), newFile(f)
	f.commit(live, dead)
	files, err := f.inspection().InspectFiles(f.ctx, []uuid.UUID{unknown.ID, dead.ID, live.ID, unknown.ID})
	f.must(err)
	for i, want := range []struct {
		id    uuid.UUID
		state metadata.FileState
	}{{unknown.ID, metadata.FileUnknown}, {dead.ID, metadata.FileDead}, {live.ID, metadata.FileLive}, {unknown.ID, metadata.FileUnknown}} {
		if files[i].ID != want.id || files[i].State != want.state || files[i].Runs != nil {
			f.Errorf("file %d: %+v, want %+v", i, files[i], want)
		}
	}
	if files[2].Size != live.Size || files[2].LiveRuns != 1 || files[2].LiveBytes != live.Size || files[1].Size != dead.Size {
		f.Errorf("files %+v", files)
	}
}

func rowsComeInSlices(f *fixture) {
	p := f.topic("t", 2).Partitions
	for i := range 5 {
		f.commit(newFile(f, appendTo(p[0], plain(10, int64(i)))))
		f.commitOne(p[1], plain(1, 1))
	}
	all := f.runs(p[0])
	for _, c := range []struct {
		offset int64
		limit  int
		want   []metadata.Run
	}{
		{0, 2, all[:2]}, {9, 2, all[:2]}, {10, 2, all[1:3]}, {25, 100, all[2:]}, {50, 2, all[4:]}, {1000, 2, all[4:]}, {-1, 1, all[:1]},
	} {
		got, err := f.inspection().InspectRows(f.ctx, p[0], c.offset, c.limit)
		f.must(err)
		if !slices.Equal(got.Runs, c.want) || got.Bounds != f.bounds(p[0]) || got.Deleted || len(got.Aborted) > 0 {
			f.Errorf("%d rows from %d: %+v\nwant %+v", c.limit, c.offset, got, c.want)
		}
	}
	// Rows before the log start are there until they are trimmed.
	f.db.SetLogStart(f, p[0], 35)
	got, err := f.inspection().InspectRows(f.ctx, p[0], 0, 100)
	f.must(err)
	if !slices.Equal(got.Runs, all) || got.LogStartOffset != 35 {
		f.Errorf("with a log start of 35: %+v", got)
	}
	empty, err := f.inspection().InspectRows(f.ctx, 4711, 0, 100)
	f.must(err)
	if empty.Bounds != f.bounds(4711) || empty.Exists || empty.Deleted || len(empty.Runs)+len(empty.Aborted) > 0 {
		f.Errorf("a partition that never was: %+v", empty)
	}
}

func rowsOfDeletedPartitions(f *fixture) {
	topic := f.topic("t", 1)
	p := topic.Partitions[0]
	f.commitOne(p, plain(1, 1))
	f.must(f.store.DeleteTopic(f.ctx, topic.ID))
	for {
		got, err := f.inspection().InspectRows(f.ctx, p, 0, 100)
		f.must(err)
		if got.Exists || !got.Deleted && len(got.Runs) > 0 {
			f.Errorf("rows of a deleted topic: %+v", got)
		}
		n, err := f.store.ReclaimDeleted(f.ctx, 1)
		f.must(err)
		if n == 0 {
			break
		}
	}
}

func rowsWithHoles(f *fixture) {
	p := f.topic("t", 1).Partitions[0]
	var file metadata.File
	for i := range 3 {
		next := newFile(f, appendTo(p, plain(10, 1)))
		if i == 1 {
			file = next
		}
		f.commit(next)
	}
	all := f.runs(p)
	f.damaged().DropRow(f, p, 10)
	got, err := f.inspection().InspectRows(f.ctx, p, 15, 100)
	f.must(err)
	if want := []metadata.Run{all[0], all[2]}; !slices.Equal(got.Runs, want) {
		f.Errorf("rows %+v, want %+v", got.Runs, want)
	}
	// The file lost its row, and doesn't know.
	counts := f.recount(false, file.ID)
	if c := counts[0]; c.Rows != 0 || c.LiveRuns != 1 || !c.Wrong() {
		f.Errorf("count %+v", c)
	}
	f.recount(true, file.ID)
	f.db.SetLogStart(f, p, 20)
	_, err = f.store.TrimRuns(f.ctx, 100)
	f.must(err)
}

func abortedTransactionsComeWithTheirMarkers(f *fixture) {
	p := f.topic("t", 1).Partitions[0]
	var want []metadata.AbortedTransaction
	for range 3 {
		producer := f.producer("t")
		producer.write(2, p)
		want = append(want, producer.end(false)[0].Aborted...)
		producer = f.producer("t")
		producer.write(1, p)
		producer.end(true)
	}
	for _, c := range []struct {
		offset int64
		limit  int
		want   []metadata.AbortedTransaction
	}{
		// Of each round: two records, a marker, a record, a marker.
		{0, 100, want}, {0, 1, nil}, {0, 2, want[:1]}, {2, 1, want[:1]}, {3, 1, nil}, {3, 100, want[1:]}, {5, 5, want[1:2]}, {100, 100, nil},
	} {
		got, err := f.inspection().InspectRows(f.ctx, p, c.offset, c.limit)
		f.must(err)
		if !slices.Equal(got.Aborted, c.want) {
			f.Errorf("%d rows from %d: aborted %+v, want %+v", c.limit, c.offset, got.Aborted, c.want)
		}
	}
}

func (f *fixture) recount(repair bool, ids ...uuid.UUID) []metadata.FileRecount {
	f.Helper()
	counts, err := f.inspection().RecountFiles(f.ctx, ids, repair)
	f.must(err)
	if len(counts) != len(ids) {
		f.Fatalf("%d counts of %d files", len(counts), len(ids))
	}
	return counts
}

func wrongCountsAreFoundAndCorrected(f *fixture) {
	p := f.topic("t", 2).Partitions
	right := newFile(f, appendTo(p[0], plain(1, 1)))
	wrong := newFile(f, appendTo(p[0], plain(1, 1)), appendTo(p[1], plain(3, 1)))
	f.commit(right, wrong)
	ids := []uuid.UUID{right.ID, newFile(f).ID, wrong.ID}
	for _, c := range f.recount(false, ids...) {
		if c.Wrong() {
			f.Errorf("without damage: %+v", c)
		}
	}
	for _, damage := range []struct {
		runs  int
		bytes int64
		want  metadata.FileRecount
	}{
		{1, wrong.Size, metadata.FileRecount{Known: true, LiveRuns: 1, LiveBytes: wrong.Size, Rows: 2, RowBytes: 40, RightBytes: wrong.Size}},
		{5, wrong.Size, metadata.FileRecount{Known: true, LiveRuns: 5, LiveBytes: wrong.Size, Rows: 2, RowBytes: 40, RightBytes: wrong.Size}},
		{2, wrong.Size + 1, metadata.FileRecount{Known: true, LiveRuns: 2, LiveBytes: wrong.Size + 1, Rows: 2, RowBytes: 40, RightBytes: wrong.Size}},
	} {
		f.damaged().SetCounts(f, wrong.ID, damage.runs, damage.bytes)
		for _, repair := range []bool{false, true} {
			got := f.recount(repair, ids...)
			if got[0].Wrong() || got[1] != (metadata.FileRecount{}) || got[2] != damage.want || !got[2].Wrong() {
				f.Errorf("%d runs of %d bytes, repair %v: %+v", damage.runs, damage.bytes, repair, got)
			}
		}
		if got := f.recount(false, wrong.ID)[0]; got.Wrong() || got.LiveRuns != 2 || got.LiveBytes != wrong.Size {
			f.Errorf("after the repair: %+v", got)
		}
	}
	// Whoever counts down later comes to nothing at the right time.
	f.must(f.store.DeleteTopic(f.ctx, f.topicID("t")))
	files, err := f.inspection().InspectFiles(f.ctx, []uuid.UUID{wrong.ID})
	f.must(err)
	if files[0].State != metadata.FileDead {
		f.Errorf("after its last run: %+v", files[0])
	}
}

func fileWithoutRowsDies(f *fixture) {
	p := f.topic("t", 1).Partitions[0]
	f.commitOne(p, plain(1, 1))
	file := newFile(f, appendTo(p, plain(2, 1)))
	f.commit(file)
	f.damaged().DropRow(f, p, 1)
	f.recount(true, file.ID)
	files, err := f.inspection().InspectFiles(f.ctx, []uuid.UUID{file.ID})
	f.must(err)
	if files[0].State != metadata.FileDead || files[0].Size != file.Size || files[0].DiedAt.IsZero() {
		f.Errorf("file %+v", files[0])
	}
	if c := f.recount(true, file.ID)[0]; c.Known || c.Wrong() {
		f.Errorf("dead file: %+v", c)
	}
	f.must(f.store.DeleteTopic(f.ctx, f.topicID("t"))) // whose rows have a hole
}

func unmarkedFilesAreMergedAgain(f *fixture) {
	p := f.topic("t", 1).Partitions[0]
	for range 3 {
		f.commitOne(p, plain(1, 1))
	}
	claim := claimAll(0)
	files := f.claimFiles(claim, 3)
	unmark := func(id uuid.UUID, level int16, want bool) {
		f.Helper()
		got, err := f.inspection().UnmarkFile(f.ctx, id, level)
		f.must(err)
		if got != want {
			f.Errorf("unmarked %v, want %v", got, want)
		}
	}
	unmark(files[0].ID, 1, false) // which is not marked
	unmark(newFile(f).ID, 0, false)
	f.must(f.store.ReleaseFiles(f.ctx, claim.Holder, fileIDs(files[:1]), true))
	f.must(f.store.ReleaseFiles(f.ctx, claim.Holder, fileIDs(files[1:]), false))
	claim.Holder = uuid.New()
	f.must(f.store.ReleaseFiles(f.ctx, claim.Holder, fileIDs(f.claimFiles(claim, 2)), false))
	unmark(files[0].ID, 0, true)
	unmark(files[0].ID, 1, false)
	f.claimFiles(claim, 3)
	f.must(f.store.DeleteTopic(f.ctx, f.topicID("t")))
	unmark(files[0].ID, 0, false)
}

func lostKeysAreFoundAgain(f *fixture) {
	p := f.topic("t", 2).Partitions
	file := newFile(f, appendTo(p[0], plain(1, 1)), appendTo(p[1], plain(3, 1)))
	f.commit(file)
	f.damaged().DropKey(f, file.ID)
	files := f.allFiles(10)
	if len(files[0].Runs) != 1 || files[0].LiveRuns != 2 {
		f.Errorf("file without a key: %+v", files[0])
	}
	if c := f.recount(true, file.ID)[0]; c.Unkeyed != 1 || c.Rows != 2 || !c.Wrong() {
		f.Errorf("count %+v", c)
	}
	if c := f.recount(true, file.ID)[0]; c.Wrong() {
		f.Errorf("after the repair: %+v", c)
	}
	if files := f.allFiles(10); len(files[0].Runs) != 2 {
		f.Errorf("after the repair: %+v", files[0])
	}
}
