package metadatatest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

var replaceTests = slices.Concat([]test{
	{"ReplacedRunsAreFound", replacedRunsAreFound},
	{"MergedFilesAreMergedAgain", mergedFilesAreMergedAgain},
	{"MarkersAreAbsorbed", markersAreAbsorbed},
	{"StaleRunsAreLeft", staleRunsAreLeft},
	{"TrimmedRunsAreNoLoss", trimmedRunsAreNoLoss},
	{"ReplacedRunsAreNotTrimmed", replacedRunsAreNotTrimmed},
	{"RunsOfDeletedTopicsAreLeft", runsOfDeletedTopicsAreLeft},
	{"LostReplyOfReplacement", lostReplyOfReplacement},
	{"OldFilesReplaceNothing", oldFilesReplaceNothing},
	{"WrongReplacementsAreRefused", wrongReplacementsAreRefused},
	{"CancelledReplacementChangesNothing", cancelledReplacementChangesNothing},
	{"ReplacementsOfTheSameRunsAtOnce", replacementsOfTheSameRunsAtOnce},
},
	seeded("ReplacementsAndDeletionsAtOnce", replacementsAndDeletionsAtOnce),
)

func replacedRunsAreFound(f *fixture) {
	p := f.topic("t", 2).Partitions
	var files []metadata.File
	for i := range int64(4) {
		files = append(files, newFile(f, appendTo(p[0], plain(10, i)), appendTo(p[1], plain(1, 100-i))))
	}
	f.commit(files...)
	before := f.rows(p[0])
	bounds := []metadata.Bounds{f.bounds(p[0]), f.bounds(p[1])}
	seq, err := f.store.LastSeq(f.ctx)
	f.must(err)

	r := replacement(f, before[1:], f.rows(p[1])[2:])
	r.Seq = 2
	f.replace(r, true, true)

	if got, want := f.runs(p[0]), []metadata.Run{before[0], r.Runs[0].Run}; !slices.Equal(got, want) {
		f.Errorf("got  %+v\nwant %+v", got, want)
	}
	for _, offset := range []int64{10, 25, 39} {
		if got := f.runsFrom(p[0], offset); !slices.Equal(got, []metadata.Run{r.Runs[0].Run}) {
			f.Errorf("from %d: %+v", offset, got)
		}
	}
	found, err := f.store.RunByTimestamp(f.ctx, []metadata.TimestampQuery{{Partition: p[0], Timestamp: 0}, {Partition: p[0], Timestamp: 1}, {Partition: p[0], Timestamp: 3}})
	f.must(err)
	for i, want := range []metadata.Run{before[0], r.Runs[0].Run, r.Runs[0].Run} {
		if !found[i].Found || found[i].Run != want {
			f.Errorf("by timestamp: %+v, want %+v", found[i], want)
		}
	}
	sizes, err := f.store.PartitionSizes(f.ctx, p)
	f.must(err)
	if !slices.Equal(sizes, []int64{400, 40}) || !slices.Equal([]metadata.Bounds{f.bounds(p[0]), f.bounds(p[1])}, bounds) {
		f.Errorf("sizes %v, bounds %+v and %+v, before %+v", sizes, f.bounds(p[0]), f.bounds(p[1]), bounds)
	}
	if got, err := f.store.LastSeq(f.ctx); err != nil || got != seq {
		f.Errorf("the feed tells of it: %d after %d, %v", got, seq, err)
	}
	for i, want := range []FileRow{{LiveRuns: 2, LiveBytes: 1 << 20}, {LiveRuns: 1, LiveBytes: 1<<20 - 100}, {Dead: true}, {Dead: true}} {
		want.ID, want.Size = files[i].ID, 1<<20
		if !want.Dead {
			want.Seq, want.Keys = int64(i)+2, 2
		}
		if got := f.file(files[i].ID); got != want {
			f.Errorf("file %d: %+v, want %+v", i, got, want)
		}
	}
	want := FileRow{ID: r.FileID, Size: r.Size, Level: 1, Seq: 2, LiveRuns: 2, LiveBytes: r.Size, Keys: 2}
	if got := f.file(r.FileID); got != want {
		f.Errorf("the new file: %+v, want %+v", got, want)
	}
	// The log goes on.
	f.wantOutcome(f.commitOne(p[0], plain(1, 1)), accepted(40))
}

func mergedFilesAreMergedAgain(f *fixture) {
	p := f.topic("t", 2).Partitions
	for range 6 {
		f.commit(newFile(f, appendTo(p[0], plain(10, 1)), appendTo(p[1], plain(5, 2))))
	}
	for level := range int16(2) {
		claim := claimAll(level)
		claim.MaxFiles = 2
		for range []int{3, 1}[level] {
			files := f.claimFiles(claim, 2)
			var rows [2][]metadata.Run
			for _, file := range files {
				if file.Level != level || len(file.Runs) != 2 {
					f.Fatalf("claimed %+v", file)
				}
				rows[0], rows[1] = append(rows[0], file.Runs[0]), append(rows[1], file.Runs[1])
			}
			r := replacement(f, rows[0], rows[1])
			r.Level, r.Seq = metadata.FileLevel(level+1, r.Size, len(r.Runs)), files[0].Seq
			f.replace(r, true, true)
			for _, file := range files {
				if !f.file(file.ID).Dead {
					f.Errorf("file %+v lives", file)
				}
			}
		}
		f.claimFiles(claim, 0)
	}
	for i, id := range p {
		rows := f.rows(id)
		if len(rows) != 2 || !rows[0].Merged || rows[0].Records != []int32{40, 20}[i] || !rows[1].Merged || f.file(rows[0].FileID).Level != 2 || f.file(rows[1].FileID).Level != 1 {
			f.Errorf("partition %d: %+v", i, rows)
		}
	}
}

// markersAreAbsorbed: their rows go, what they aborted stays known as long as its records.
func markersAreAbsorbed(f *fixture) {
	gone, stays := f.topic("gone", 1), f.topic("stays", 1)
	p := f.producer("p")
	for n := range 4 {
		p.write(1, gone.Partitions[0], stays.Partitions[0]) // 0, 2, 4, 6
		p.end(n%2 == 0)                                     // 1, 3, 5, 7
	}
	part := stays.Partitions[0]
	aborted := f.aborted(part, 0)
	if len(aborted) != 2 {
		f.Fatalf("aborted %+v", aborted)
	}
	r := replacement(f, f.rows(gone.Partitions[0])[:7], f.rows(part)[:5], f.rows(part)[5:])
	f.replace(r, true, true, true)
	if got := f.aborted(part, 0); !slices.Equal(got, aborted) {
		f.Errorf("aborted %+v, want %+v", got, aborted)
	}
	checkContiguous(f, f.runs(part), 8)
	if rows := f.rows(part); len(rows) != 2 {
		f.Errorf("rows %+v", rows)
	}
	f.deleteRecords(part, 4, 4)
	if got := f.aborted(part, 4); !slices.Equal(got, aborted[1:]) {
		f.Errorf("aborted from 4 on: %+v", got)
	}
	f.deleteRecords(part, 5, 5) // the first run, with the first abort's marker
	f.trim(10, 0)
	f.must(f.store.DeleteTopic(f.ctx, gone.ID)) // checkInvariants sees what is left
	f.deleteRecords(part, metadata.AllRecords, 8)
	if got := f.aborted(part, 0); len(got) != 0 {
		f.Errorf("aborted %+v of nothing", got)
	}
	if !f.file(r.FileID).Dead {
		f.Errorf("the file lives: %+v", f.file(r.FileID))
	}
}

func staleRunsAreLeft(f *fixture) {
	p := f.topic("t", 2).Partitions
	for range 5 {
		f.commit(newFile(f, appendTo(p[0], plain(10, 1)), appendTo(p[1], plain(10, 1))))
	}
	rows, others := f.rows(p[0]), f.rows(p[1])
	first := replacement(f, rows[1:3])
	f.replace(first, true)
	for name, stale := range map[string][]metadata.Run{
		"the same runs":     rows[1:3],
		"some of them":      rows[2:3],
		"more":              rows[1:4],
		"they reach in":     rows[2:4],
		"they reach out":    rows[0:2],
		"all":               rows,
		"a run left out":    {rows[0], rows[3]},
		"beyond the end":    {{Partition: p[0], BaseOffset: 50, Records: 10, FileID: uuid.New(), Size: 10, MaxTimestamp: 1}},
		"unknown partition": {{Partition: 12345, BaseOffset: 0, Records: 10, FileID: uuid.New(), Size: 10, MaxTimestamp: 1}},
	} {
		r := replacement(f, stale)
		f.replace(r, false)
		if !f.file(r.FileID).Dead {
			f.Errorf("%s: a file without runs lives", name)
		}
	}
	if got, want := f.rows(p[0]), []metadata.Run{rows[0], first.Runs[0].Run, rows[3], rows[4]}; !slices.Equal(got, want) {
		f.Errorf("got  %+v\nwant %+v", got, want)
	}
	short := replacement(f, rows[3:5])
	short.Runs[0].Records--
	f.replace(short, false)
	// One that is stale harms no other of its file.
	both := replacement(f, rows[0:2], rows[3:5], others[:4])
	f.replace(both, false, true, true)
	if got := f.file(both.FileID); got.LiveRuns != 2 || got.Keys != 2 || got.LiveBytes != both.Size-int64(both.Runs[0].StoredSize) {
		f.Errorf("the file of two runs: %+v", got)
	}
}

func trimmedRunsAreNoLoss(f *fixture) {
	p := f.topic("t", 1).Partitions[0]
	for range 6 {
		f.commitOne(p, plain(10, 1))
	}
	rows := f.rows(p)
	f.deleteRecords(p, 25, 25) // two of them, and half of the third
	whole := replacement(f, rows[:4])
	f.replace(whole, true)
	if got := f.runsFrom(p, 25); !slices.Equal(got, []metadata.Run{whole.Runs[0].Run, rows[4], rows[5]}) {
		f.Errorf("got %+v", got)
	}
	// Not trimmed yet, it is as good.
	f.db.SetLogStart(f, p, 45)
	f.replace(replacement(f, []metadata.Run{whole.Runs[0].Run, rows[4]}), true)
	f.trim(10, 0)
	// All of it gone.
	f.deleteRecords(p, 55, 55)
	f.replace(replacement(f, []metadata.Run{whole.Runs[0].Run, rows[4]}), false)
	f.deleteRecords(p, metadata.AllRecords, 60)
	f.replace(replacement(f, rows[5:]), false)
}

// replacedRunsAreNotTrimmed: a run is gone because another took its place, which reaches beyond
// the log start but was not trimmed yet.
func replacedRunsAreNotTrimmed(f *fixture) {
	p := f.topic("t", 1).Partitions[0]
	for range 4 {
		f.commitOne(p, plain(10, 1))
	}
	rows := f.rows(p)
	f.replace(replacement(f, rows[:2]), true)
	f.db.SetLogStart(f, p, 25)
	f.replace(replacement(f, rows[1:3]), false)
	f.checkFiles()
	f.trim(10, 1)
	f.replace(replacement(f, rows[1:3]), true)
}

func runsOfDeletedTopicsAreLeft(f *fixture) {
	gone, stays := f.topic("gone", 1), f.topic("stays", 1)
	g, s := gone.Partitions[0], stays.Partitions[0]
	for range 3 {
		f.commit(newFile(f, appendTo(g, plain(1, 1)), appendTo(s, plain(1, 1))))
	}
	r := replacement(f, f.rows(g), f.rows(s))
	f.must(f.store.DeleteTopic(f.ctx, gone.ID))
	f.replace(r, false, true)
	if got := f.file(r.FileID); got.LiveRuns != 1 {
		f.Errorf("the file: %+v", got)
	}
}

func lostReplyOfReplacement(f *fixture) {
	p := f.topic("t", 2).Partitions
	for range 3 {
		f.commit(newFile(f, appendTo(p[0], plain(10, 1)), appendTo(p[1], plain(10, 1))))
	}
	rows := f.rows(p[0])
	r := replacement(f, rows[:2], f.rows(p[1]))
	stale := replacement(f, rows[1:2])
	f.replace(r, true, true)
	f.replace(stale, false)
	other := f.other()
	other.replace(r, true, true)
	other.replace(stale, false)
	// However late; and what was replaced or trimmed since doesn't stand.
	f.db.Age(f, 24*time.Hour)
	other.replace(r, true, true)
	f.deleteRecords(p[1], metadata.AllRecords, 30)
	f.replace(r, true, false)
	f.replace(replacement(f, []metadata.Run{r.Runs[0].Run, rows[2]}), true)
	f.replace(r, false, false)
}

func oldFilesReplaceNothing(f *fixture) {
	p := f.topic("t", 1).Partitions[0]
	f.commitOne(p, plain(1, 1))
	before := f.rows(p)
	for _, off := range []time.Duration{-metadata.MaxFileAge - time.Minute, metadata.MaxFileAge + time.Minute} {
		r := replacement(f, before)
		r.FileID = datedFile(f, time.Now().Add(off)).ID
		r.Runs[0].FileID = r.FileID
		_, err := f.store.ReplaceRuns(f.ctx, r)
		f.wantErr(err, metadata.ErrFileTooOld)
		known, err := f.store.KnownFiles(f.ctx, []uuid.UUID{r.FileID})
		if f.must(err); known[0] {
			f.Error("a refused file is known")
		}
	}
	if got := f.rows(p); !slices.Equal(got, before) {
		f.Errorf("got %+v", got)
	}
}

func wrongReplacementsAreRefused(f *fixture) {
	p := f.topic("t", 1).Partitions[0]
	f.commitOne(p, plain(1, 1))
	for name, change := range map[string]func(*metadata.Replacement){
		"not merged":      func(r *metadata.Replacement) { r.Runs[0].Merged = false },
		"wrong timestamp": func(r *metadata.Replacement) { r.Runs[0].MaxTimestamp = 2 },
	} {
		r := replacement(f, f.rows(p))
		change(&r)
		if taken, err := f.store.ReplaceRuns(f.ctx, r); err == nil {
			f.Errorf("%s: %v", name, taken)
		}
	}
	if f.rows(p)[0].Merged {
		f.Error("replaced")
	}
}

func cancelledReplacementChangesNothing(f *fixture) {
	p := f.topic("t", 1).Partitions[0]
	f.commitOne(p, plain(1, 1))
	before := f.rows(p)
	r := replacement(f, before)
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	_, err := f.store.ReplaceRuns(ctx, r)
	f.wantErr(err, metadata.ErrUnavailable)
	if got := f.rows(p); !slices.Equal(got, before) {
		f.Errorf("got %+v", got)
	}
	f.replace(r, true)
}

// replacementsOfTheSameRunsAtOnce: two agents merged the same files, or files
// that overlap. Of each partition one of them wins, and no offset is lost.
func replacementsOfTheSameRunsAtOnce(f *fixture) {
	const agents, rounds, partitions = 3, 8, 4
	p := f.topic("t", partitions).Partitions
	stores := make([]*fixture, agents)
	for i := range stores {
		stores[i] = f.other()
	}
	for round := range rounds {
		for range 4 {
			var appends []metadata.Append
			for _, id := range p {
				appends = append(appends, appendTo(id, plain(2, 1)))
			}
			f.commit(newFile(f, appends...))
		}
		standing := map[metadata.PartitionID][]metadata.Run{}
		for _, r := range f.db.Runs(f) {
			standing[r.Partition] = append(standing[r.Partition], r)
		}
		rivals := make([]metadata.Replacement, agents)
		for i := range rivals {
			var groups [][]metadata.Run
			for _, id := range p {
				rows := standing[id][len(standing[id])-4:]
				if round%2 == 1 {
					rows = rows[i%2 : 3+i%2] // they overlap by two
				}
				groups = append(groups, rows)
			}
			rivals[i] = replacement(f, groups...)
		}
		taken := make([][]bool, agents)
		var wg sync.WaitGroup
		for i, store := range stores {
			wg.Go(func() {
				var err error
				if taken[i], err = store.store.ReplaceRuns(f.ctx, rivals[i]); err != nil {
					f.Error(err)
				}
			})
		}
		wg.Wait()
		if f.Failed() {
			return
		}
		for j, id := range p {
			var winners []metadata.Run
			for i := range rivals {
				if taken[i][j] {
					winners = append(winners, rivals[i].Runs[j].Run)
				}
			}
			runs := f.runs(id)
			if len(winners) != 1 || !slices.Contains(runs, winners[0]) {
				f.Fatalf("round %d, partition %d: taken %+v, runs %+v", round, j, winners, runs)
			}
			checkContiguous(f, runs, int64(8*(round+1)))
		}
		f.checkFiles()
	}
}
