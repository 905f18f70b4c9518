package metadatatest

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/wadi-log/wadi/metadata"
)

var runTests = append([]test{
	{"BudgetsAndOffsets", budgetsAndOffsets},
	{"OutsideOfTheLog", outsideOfTheLog},
	{"AnswersInOrderAsked", answersInOrderAsked},
	{"MaxRunsIsBounded", maxRunsIsBounded},
	{"BoundsInOrderAsked", boundsInOrderAsked},
}, seeded("ByTimestamp", byTimestamp)...)

func budgetsAndOffsets(f *fixture) {
	p := f.topic("t", 2).Partitions
	// Runs of 3 records and 30 bytes at offsets 0, 3, 6, ... of both partitions.
	for range 10 {
		f.commit(newFile(f, appendTo(p[0], plain(3, 1)), appendTo(p[1], plain(3, 1))))
	}
	for _, c := range []struct {
		offset   int64
		maxBytes int64
		maxRuns  int
		want     []int64 // base offsets
	}{
		{0, 90, 100, []int64{0, 3, 6}},
		{0, 89, 100, []int64{0, 3}},
		{0, 91, 100, []int64{0, 3, 6}},
		{4, 60, 100, []int64{3, 6}},
		{5, 60, 100, []int64{3, 6}},
		{6, 60, 100, []int64{6, 9}},
		{0, 1000, 2, []int64{0, 3}},
		{0, 1, 100, []int64{0}},
		{0, 0, 0, []int64{0}},
		{0, -1, -1, []int64{0}},
		{29, 1000, 100, []int64{27}},
		{20, math.MaxInt64, math.MaxInt, []int64{18, 21, 24, 27}},
	} {
		found, err := f.store.FindRuns(f.ctx, []metadata.RunQuery{{Partition: p[1], Offset: c.offset, MaxBytes: c.maxBytes, MaxRuns: c.maxRuns}})
		f.must(err)
		var got []int64
		for _, r := range found[0].Runs {
			if r.Partition != p[1] {
				f.Fatalf("a run of another partition: %+v", r)
			}
			got = append(got, r.BaseOffset)
		}
		if !slices.Equal(got, c.want) {
			f.Errorf("%+v: got %v", c, got)
		}
		if want := noneOpen(metadata.Bounds{Exists: true, NextOffset: 30, MaxTimestamp: 1}); found[0].Bounds != want {
			f.Errorf("bounds %+v, want %+v", found[0].Bounds, want)
		}
	}
}

func outsideOfTheLog(f *fixture) {
	p := f.topic("t", 2).Partitions
	f.commitOne(p[0], plain(3, 1))
	for _, c := range []struct {
		partition metadata.PartitionID
		offset    int64
		want      metadata.Bounds
	}{
		{p[0], 3, metadata.Bounds{Exists: true, NextOffset: 3, MaxTimestamp: 1}},
		{p[0], 4, metadata.Bounds{Exists: true, NextOffset: 3, MaxTimestamp: 1}},
		{p[0], -1, metadata.Bounds{Exists: true, NextOffset: 3, MaxTimestamp: 1}},
		{p[1], 0, metadata.Bounds{Exists: true, MaxTimestamp: -1}},
		{12345, 0, metadata.Bounds{LogStartOffset: -1, NextOffset: -1, MaxTimestamp: -1}},
	} {
		found, err := f.store.FindRuns(f.ctx, []metadata.RunQuery{{Partition: c.partition, Offset: c.offset, MaxBytes: 100, MaxRuns: 10}})
		f.must(err)
		c.want = noneOpen(c.want)
		if found[0].Bounds != c.want || len(found[0].Runs) != 0 {
			f.Errorf("partition %d, offset %d: got %+v, want %+v and no runs", c.partition, c.offset, found[0], c.want)
		}
	}
}

func answersInOrderAsked(f *fixture) {
	p := f.topic("t", 3).Partitions
	f.commit(newFile(f, appendTo(p[0], plain(1, 1)), appendTo(p[1], plain(2, 1)), appendTo(p[2], plain(3, 1))))
	var queries []metadata.RunQuery
	var want []int64
	for _, i := range []int{2, 0, 1, 2, 2, 0} {
		queries = append(queries, metadata.RunQuery{Partition: p[i], MaxBytes: 100, MaxRuns: 10})
		want = append(want, int64(i+1))
	}
	found, err := f.store.FindRuns(f.ctx, queries)
	f.must(err)
	var got []int64
	for _, r := range found {
		if len(r.Runs) != 1 {
			f.Fatalf("got %+v", found)
		}
		got = append(got, r.NextOffset)
	}
	if !slices.Equal(got, want) {
		f.Fatalf("next offsets %v, want %v", got, want)
	}
	if found, err := f.store.FindRuns(f.ctx, nil); err != nil || len(found) != 0 {
		f.Fatalf("no queries: %+v, %v", found, err)
	}
}

func maxRunsIsBounded(f *fixture) {
	p := f.topic("t", 1).Partitions
	files := make([]metadata.File, metadata.MaxRuns+5)
	for i := range files {
		files[i] = newFile(f, appendTo(p[0], plain(1, 1)))
	}
	f.commit(files...)
	found, err := f.store.FindRuns(f.ctx, []metadata.RunQuery{{Partition: p[0], MaxBytes: math.MaxInt64, MaxRuns: math.MaxInt}})
	f.must(err)
	if got := len(found[0].Runs); got != metadata.MaxRuns {
		f.Fatalf("%d runs", got)
	}
	checkContiguous(f, f.runs(p[0]), int64(len(files)))
}

func boundsInOrderAsked(f *fixture) {
	p := f.topic("t", 2).Partitions
	f.commit(newFile(f, appendTo(p[0], plain(1, 5)), appendTo(p[1], plain(2, 7))))
	got, err := f.store.Bounds(f.ctx, []metadata.PartitionID{p[1], 999, p[0], p[1]})
	f.must(err)
	second := noneOpen(metadata.Bounds{Exists: true, NextOffset: 2, MaxTimestamp: 7})
	none := noneOpen(metadata.Bounds{LogStartOffset: -1, NextOffset: -1, MaxTimestamp: -1})
	want := []metadata.Bounds{second, none, noneOpen(metadata.Bounds{Exists: true, NextOffset: 1, MaxTimestamp: 5}), second}
	if !slices.Equal(got, want) {
		f.Fatalf("got  %+v\nwant %+v", got, want)
	}
}

// byTimestamp compares with a walk over all runs.
func byTimestamp(f *fixture, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	p := f.topic("t", 3).Partitions // the last one stays empty
	var files []metadata.File
	for range 60 {
		files = append(files, newFile(f,
			appendTo(p[0], plain(1+rng.Int32N(20), rng.Int64N(1000))),
			appendTo(p[1], plain(1+rng.Int32N(3), -1+rng.Int64N(1<<40)))))
	}
	f.commit(files...)
	queries := []metadata.TimestampQuery{{Partition: 12345, Timestamp: 1}}
	for _, id := range p {
		for _, r := range f.runs(id) {
			for d := int64(-1); d <= 1; d++ {
				queries = append(queries, metadata.TimestampQuery{Partition: id, Timestamp: r.MaxTimestamp + d})
			}
		}
		for _, timestamp := range []int64{math.MinInt64, -1, 0, math.MaxInt64} {
			queries = append(queries, metadata.TimestampQuery{Partition: id, Timestamp: timestamp})
		}
	}
	got, err := f.store.RunByTimestamp(f.ctx, queries)
	f.must(err)
	for i, q := range queries {
		want := metadata.TimestampRun{Bounds: f.bounds(q.Partition)}
		for _, r := range f.runs(q.Partition) {
			if r.MaxTimestamp >= q.Timestamp {
				want.Found, want.Run = true, r
				break
			}
		}
		if got[i] != want {
			f.Fatalf("%+v: got  %+v\nwant %+v", q, got[i], want)
		}
	}
}
