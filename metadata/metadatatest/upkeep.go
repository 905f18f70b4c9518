package metadatatest

import (
	"math"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

var upkeepTests = []test{
	{"StoreHasTheClock", storeHasTheClock},
	{"CompactionGoesOn", compactionGoesOn},
	{"CompactionsInOrderAsked", compactionsInOrderAsked},
	{"FeedTellsOfCompactions", feedTellsOfCompactions},
	{"CompactionsAtOnce", compactionsAtOnce},
	{"CompactionForgetsAborted", compactionForgetsAborted},
	{"CompactionEndsWithItsTopic", compactionEndsWithItsTopic},
	{"DeadFilesByAge", deadFilesByAge},
	{"OnlyDeadFilesAreForgotten", onlyDeadFilesAreForgotten},
	{"LeasesAreExclusive", leasesAreExclusive},
	{"LeaseForOneAgentOnly", leaseForOneAgentOnly},
}

func storeHasTheClock(f *fixture) {
	before := time.Now()
	now, err := f.store.Now(f.ctx)
	f.must(err)
	if d := now.Sub(before); d < -time.Minute || d > time.Minute {
		f.Errorf("the clock is off by %v", d)
	}
}

func (f *fixture) compaction(partition metadata.PartitionID) metadata.Compaction {
	f.Helper()
	got, err := f.store.Compactions(f.ctx, []metadata.PartitionID{partition})
	f.must(err)
	return got[0]
}

func (f *fixture) finishCompaction(partition metadata.PartitionID, cleanUntil int64) {
	f.Helper()
	f.finishCompactions(metadata.CompactedUntil{Partition: partition, Offset: cleanUntil})
}

func (f *fixture) finishCompactions(finished ...metadata.CompactedUntil) []metadata.Commit {
	f.Helper()
	commits, err := f.store.FinishCompactions(f.ctx, finished)
	f.must(err)
	return commits
}

func compactionGoesOn(f *fixture) {
	p := f.topic("t", 1).Partitions[0]
	is := func(cleanUntil, clean, dirty, dirtySince int64) {
		f.Helper()
		got := f.compaction(p)
		got.CleanedAt = time.Time{}
		want := metadata.Compaction{Bounds: f.bounds(p), CleanUntil: cleanUntil, CleanBytes: clean, DirtyBytes: dirty, DirtySince: dirtySince}
		if got != want {
			f.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
	is(0, 0, 0, -1)
	for i := range int64(6) {
		f.commitOne(p, plain(10, 100*i)) // 100 bytes each
	}
	is(0, 0, 600, 0)
	if got := f.compaction(p).CleanedAt; !got.IsZero() {
		f.Errorf("cleaned at %v", got)
	}
	f.finishCompaction(p, 20)
	is(20, 200, 400, 200)
	now, err := f.store.Now(f.ctx)
	f.must(err)
	if age := now.Sub(f.compaction(p).CleanedAt); age < -time.Second || age > time.Minute {
		f.Errorf("cleaned %v ago", age)
	}
	f.db.Age(f, time.Hour)
	if age := now.Sub(f.compaction(p).CleanedAt); age < 59*time.Minute {
		f.Errorf("cleaned %v ago", age)
	}
	f.finishCompaction(p, 30)
	f.finishCompaction(p, 25) // a rival that is late
	is(30, 300, 300, 300)
	// What was merged across counts as dirty.
	f.replace(replacement(f, f.rows(p)[2:4]), true)
	is(30, 200, 400, 300)
	f.deleteRecords(p, 15, 15)
	is(30, 100, 400, 300)
	f.deleteRecords(p, 45, 45)
	is(45, 0, 200, 400)
	f.finishCompaction(p, 60)
	is(60, 200, 0, -1)
	f.finishCompaction(12345, 60) // gone meanwhile
}

func compactionsInOrderAsked(f *fixture) {
	p := f.topic("t", 2).Partitions
	f.commitOne(p[1], plain(10, 7))
	f.finishCompaction(p[1], 10)
	got, err := f.store.Compactions(f.ctx, []metadata.PartitionID{p[1], 12345, p[0], p[1]})
	f.must(err)
	var until []int64
	for _, c := range got {
		until = append(until, c.CleanUntil, c.NextOffset)
	}
	if want := []int64{10, 10, -1, -1, 0, 0, 10, 10}; !slices.Equal(until, want) {
		f.Errorf("clean until and next offsets %v, want %v", until, want)
	}
	if got[1].Exists || got[1].DirtySince != -1 {
		f.Errorf("of no partition: %+v", got[1])
	}
	if got, err := f.store.Compactions(f.ctx, nil); err != nil || len(got) != 0 {
		f.Errorf("of none: %+v, %v", got, err)
	}
}

// feedTellsOfCompactions: one entry for all partitions of a call, and none for what readers know already.
func feedTellsOfCompactions(f *fixture) {
	topic := f.topic("t", 3)
	p := topic.Partitions
	for _, id := range p {
		f.commitOne(id, plain(10, 1))
	}
	until := func(i int, offset int64) metadata.CompactedUntil {
		return metadata.CompactedUntil{Partition: p[i], Offset: offset}
	}
	gone := metadata.CompactedUntil{Partition: 12345, Offset: 5}
	for _, step := range []struct {
		finished, told []metadata.CompactedUntil
	}{
		{[]metadata.CompactedUntil{until(2, 4), gone, until(0, 10)}, []metadata.CompactedUntil{until(0, 10), until(2, 4)}},
		{[]metadata.CompactedUntil{until(2, 4), until(0, 10)}, nil}, // the answer was lost
		{[]metadata.CompactedUntil{until(2, 3), until(1, 0)}, nil},
		{[]metadata.CompactedUntil{until(0, 10), until(1, 1), until(2, 6), until(2, 5)}, []metadata.CompactedUntil{until(1, 1), until(2, 6)}},
		{[]metadata.CompactedUntil{gone}, nil},
		{nil, nil},
	} {
		last, err := f.store.LastSeq(f.ctx)
		f.must(err)
		var want []metadata.Commit
		if step.told != nil {
			want = []metadata.Commit{{Seq: last + 1, Compacted: step.told}}
		}
		f.db.Age(f, time.Hour)
		if got := f.finishCompactions(step.finished...); !reflect.DeepEqual(got, want) {
			f.Errorf("%v: returned %+v, want %+v", step.finished, got, want)
		}
		if got := f.feed(last); !reflect.DeepEqual(got, want) {
			f.Errorf("%v: the feed tells %+v, want %+v", step.finished, got, want)
		}
		now, err := f.store.Now(f.ctx)
		f.must(err)
		for _, c := range step.finished {
			if c == gone {
				continue
			}
			if age := now.Sub(f.compaction(c.Partition).CleanedAt); age > time.Minute {
				f.Errorf("%v: the pass over partition %d ended %v ago", step.finished, c.Partition, age)
			}
		}
	}
	for i, want := range []int64{10, 1, 6} {
		if got := f.compaction(p[i]).CleanUntil; got != want {
			f.Errorf("partition %d is clean until %d, want %d", i, got, want)
		}
	}
	f.must(f.store.DeleteTopic(f.ctx, topic.ID))
	if got := f.finishCompactions(until(0, 11), until(1, 11)); len(got) != 0 {
		f.Errorf("told of partitions that are gone: %+v", got)
	}
}

// compactionsAtOnce, through several stores, while files are committed: the feed tells of each rise once.
func compactionsAtOnce(f *fixture) {
	p := f.topic("t", 3).Partitions
	var wg sync.WaitGroup
	for i := range 3 {
		store := f.db.Open(f)
		wg.Go(func() {
			for offset := range int64(20) {
				var finished []metadata.CompactedUntil
				for j := range p {
					finished = append(finished, metadata.CompactedUntil{Partition: p[(i+j)%3], Offset: offset + 1})
				}
				if _, err := store.FinishCompactions(f.ctx, finished); err != nil {
					f.Error(err)
				}
				if _, err := store.CommitFiles(f.ctx, []metadata.File{newFile(f, appendTo(p[i], plain(1, 1)))}); err != nil {
					f.Error(err)
				}
			}
		})
	}
	wg.Wait()
	until := map[metadata.PartitionID]int64{}
	for _, commit := range f.feed(0) {
		for _, c := range commit.Compacted {
			if c.Offset <= until[c.Partition] {
				f.Errorf("commit %d: partition %d from %d to %d", commit.Seq, c.Partition, until[c.Partition], c.Offset)
			}
			until[c.Partition] = c.Offset
		}
	}
	for _, id := range p {
		if got := f.compaction(id).CleanUntil; got != 20 || until[id] != 20 {
			f.Errorf("partition %d is clean until %d, the feed told of %d; want 20", id, got, until[id])
		}
	}
}

// compactionForgetsAborted transactions, but not before whoever reads by an older plan is done.
func compactionForgetsAborted(f *fixture) {
	parts := f.topic("t", 2).Partitions
	part := parts[0]
	p := f.producer("p")
	for range 4 {
		p.write(1, parts...) // 0, 2, 4, 6
		p.end(false)         // 1, 3, 5, 7
	}
	left := func(want ...int64) {
		f.Helper()
		var got []int64
		for _, a := range f.aborted(part, 0) {
			got = append(got, a.LastOffset)
		}
		if !slices.Equal(got, want) {
			f.Errorf("aborted up to %v, want %v", got, want)
		}
		if n := len(f.aborted(parts[1], 0)); n != 4 {
			f.Errorf("%d in another partition", n)
		}
	}
	f.replace(replacement(f, f.rows(part)), true)
	f.finishCompaction(part, 4)
	left(1, 3, 5, 7)
	f.db.Age(f, metadata.MaxFileAge-time.Minute)
	f.finishCompaction(part, 6)
	left(1, 3, 5, 7)
	f.db.Age(f, 2*time.Minute)
	f.finishCompaction(part, 6) // the first one is old enough now
	left(5, 7)
	f.finishCompaction(part, 8)
	left(5, 7)
	f.db.Age(f, metadata.MaxFileAge+time.Minute)
	f.finishCompaction(part, 8)
	left(7)
	f.db.Age(f, metadata.MaxFileAge+time.Minute)
	f.finishCompaction(part, 8)
	left()
}

func compactionEndsWithItsTopic(f *fixture) {
	gone := f.topic("gone", 1)
	p := gone.Partitions[0]
	f.commitOne(p, plain(1, 1))
	f.finishCompaction(p, 1)
	f.must(f.store.DeleteTopic(f.ctx, gone.ID))
	if got := f.compaction(p); got.Exists || got.CleanUntil != -1 || !got.CleanedAt.IsZero() {
		f.Errorf("got %+v", got)
	}
	f.finishCompaction(p, 1)
}

// dead lists the dead files that died before the time.
func (f *fixture) dead(before time.Time, limit int) []metadata.DeadFile {
	f.Helper()
	files, err := f.store.DeadFiles(f.ctx, before, limit)
	f.must(err)
	return files
}

func deadFilesByAge(f *fixture) {
	p := f.topic("t", 1).Partitions[0]
	var want []uuid.UUID
	for i := range int64(3) {
		file := newFile(f, appendTo(p, plain(10, 1)))
		file.Size = 100 + i
		f.commit(file)
		f.deleteRecords(p, metadata.AllRecords, 10*(i+1))
		want = append(want, file.ID)
		f.db.Age(f, time.Minute)
	}
	now, err := f.store.Now(f.ctx)
	f.must(err)
	ids := func(files []metadata.DeadFile) (ids []uuid.UUID) {
		for _, file := range files {
			ids = append(ids, file.ID)
		}
		return ids
	}
	all := f.dead(now, 10)
	if got := ids(all); !slices.Equal(got, want) {
		f.Fatalf("got %v, want %v, the longest dead first", got, want)
	}
	for i, file := range all {
		died := now.Add(-time.Duration(3-i) * time.Minute)
		if d := file.DiedAt.Sub(died); file.Size != 100+int64(i) || d < -30*time.Second || d > 30*time.Second {
			f.Errorf("%+v, want one of size %d that died at %v", file, 100+i, died)
		}
	}
	if got := ids(f.dead(now, 2)); !slices.Equal(got, want[:2]) {
		f.Errorf("two of them: %v", got)
	}
	if got := ids(f.dead(all[1].DiedAt, 10)); !slices.Equal(got, want[:1]) {
		f.Errorf("before the second died: %v", got)
	}
	if got := f.dead(time.UnixMilli(0), 10); len(got) != 0 {
		f.Errorf("before everything: %v", got)
	}
}

func onlyDeadFilesAreForgotten(f *fixture) {
	p := f.topic("t", 1).Partitions[0]
	live, dead := newFile(f, appendTo(p, plain(1, 1))), newFile(f, appendTo(p, plain(1, 1)))
	f.commit(dead)
	f.deleteRecords(p, metadata.AllRecords, 1)
	f.commit(live)
	ids := []uuid.UUID{uuid.New(), live.ID, dead.ID, live.ID}
	known := func(want ...bool) {
		f.Helper()
		got, err := f.other().store.KnownFiles(f.ctx, ids)
		f.must(err)
		if !slices.Equal(got, want) {
			f.Errorf("known: %v, want %v", got, want)
		}
	}
	known(false, true, true, true)
	f.must(f.store.ForgetFiles(f.ctx, ids))
	known(false, true, false, true)
	f.must(f.store.ForgetFiles(f.ctx, ids))
	f.must(f.store.ForgetFiles(f.ctx, nil))
	if got, err := f.store.KnownFiles(f.ctx, nil); err != nil || len(got) != 0 {
		f.Errorf("none: %v, %v", got, err)
	}
	checkContiguousFrom(f, f.runsFrom(p, 1), 1, 2)
	if got := f.dead(time.Now().Add(time.Hour), 10); len(got) != 0 {
		f.Errorf("dead: %+v", got)
	}
	// Its commit is answered as before.
	f.wantOutcome(f.commit(dead).Files[0].Outcomes[0][0], accepted(0))
	known(false, true, false, true)
}

func leasesAreExclusive(f *fixture) {
	a, b := uuid.New(), uuid.New()
	acquire := func(holder uuid.UUID, name string, period time.Duration, want bool) {
		f.Helper()
		got, err := f.store.AcquireLease(f.ctx, holder, name, period)
		f.must(err)
		if got != want {
			f.Errorf("acquired: %v, want %v", got, want)
		}
	}
	acquire(a, "x", time.Minute, true)
	acquire(b, "x", time.Minute, false)
	acquire(b, "y", time.Minute, true)
	f.db.Age(f, 50*time.Second)
	acquire(a, "x", time.Minute, true) // renewed
	f.db.Age(f, 50*time.Second)
	acquire(b, "x", time.Minute, false)
	acquire(a, "y", time.Minute, true) // ended
	f.must(f.store.ReleaseLease(f.ctx, b, "x"))
	acquire(b, "x", time.Minute, false)
	f.must(f.store.ReleaseLease(f.ctx, a, "x"))
	f.must(f.store.ReleaseLease(f.ctx, a, "x"))
	acquire(b, "x", time.Minute, true)
	// The period counts from now, also when it is shorter.
	acquire(b, "x", time.Second, true)
	f.db.Age(f, 2*time.Second)
	acquire(a, "x", time.Minute, true)
	acquire(b, "x", time.Minute, false)
	// Nobody waits for longer than he would have it himself.
	acquire(b, "x", time.Hour, false)
	acquire(b, "x", 30*time.Second, true)
	acquire(a, "x", time.Minute, false)
	acquire(b, "x", 2*time.Hour, true)
	acquire(a, "x", time.Minute, true)
	acquire(b, "x", time.Minute, false)
	// However long ago it ended.
	f.db.Age(f, time.Duration(math.MaxInt32)*time.Second)
	acquire(b, "x", time.Minute, true)
	acquire(a, "x", time.Minute, false)
}

func leaseForOneAgentOnly(f *fixture) {
	agents := []*fixture{f, f.other(), f.other()}
	for range 10 {
		var acquired atomic.Int32
		var wg sync.WaitGroup
		for _, agent := range agents {
			wg.Go(func() {
				got, err := agent.store.AcquireLease(f.ctx, uuid.New(), "x", time.Minute)
				if err != nil {
					f.Error(err)
				}
				if got {
					acquired.Add(1)
				}
			})
		}
		wg.Wait()
		if n := acquired.Load(); n != 1 {
			f.Fatalf("%d agents have the lease", n)
		}
		f.db.Age(f, 2*time.Minute)
	}
}
