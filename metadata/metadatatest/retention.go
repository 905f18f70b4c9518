package metadatatest

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

var retentionTests = slices.Concat([]test{
	{"RetentionByTime", retentionByTime},
	{"RetentionBySize", retentionBySize},
	{"RetentionWithoutTimestamps", retentionWithoutTimestamps},
},
	seeded("RetentionFollowsTheRows", retentionFollowsTheRows),
)

func (f *fixture) wantRetained(q metadata.RetentionQuery, want int64) {
	f.Helper()
	got, err := f.store.RetainedFrom(f.ctx, []metadata.RetentionQuery{q})
	f.must(err)
	if len(got) != 1 || got[0] != want {
		f.Errorf("%+v: from %v, want %d", q, got, want)
	}
}

func retentionByTime(f *fixture) {
	p := f.topic("t", 2).Partitions
	for i := range int64(5) {
		f.commitOne(p[0], plain(10, 100*i)) // 0, 100, ... at 0, 10, ...
	}
	by := func(before, want int64) {
		f.Helper()
		f.wantRetained(metadata.RetentionQuery{Partition: p[0], Before: before, MaxBytes: -1}, want)
	}
	for before, want := range map[int64]int64{-1: 0, 0: 0, 1: 10, 100: 10, 101: 20, 400: 40, 401: 50, math.MaxInt64: 50} {
		by(before, want)
	}
	f.deleteRecords(p[0], 25, 25)
	for before, want := range map[int64]int64{-1: 25, 0: 25, 200: 25, 201: 30, 401: 50} {
		by(before, want)
	}
	// A run is dropped once its last timestamp is, whatever was in it before.
	f.replace(replacement(f, f.rows(p[0])[1:]), true)
	for before, want := range map[int64]int64{200: 25, 201: 30, 400: 30, 401: 50} {
		by(before, want)
	}
	answers, err := f.store.RetainedFrom(f.ctx, []metadata.RetentionQuery{
		{Partition: p[1], Before: 5, MaxBytes: -1}, {Partition: p[0], Before: 201, MaxBytes: -1}, {Partition: 12345, Before: 1, MaxBytes: 1}, {Partition: p[0], Before: -1, MaxBytes: -1},
	})
	f.must(err)
	if want := []int64{0, 30, 0, 25}; !slices.Equal(answers, want) {
		f.Errorf("answers %v, want %v", answers, want)
	}
	if answers, err := f.store.RetainedFrom(f.ctx, nil); err != nil || len(answers) != 0 {
		f.Errorf("no queries: %v, %v", answers, err)
	}
	if got := f.bounds(p[0]).LogStartOffset; got != 25 {
		f.Errorf("asking moved the log start to %d", got)
	}
}

func retentionBySize(f *fixture) {
	part := f.topic("t", 1).Partitions[0]
	for range 5 {
		f.commitOne(part, plain(10, 1)) // 100 bytes each
	}
	by := func(size, want int64) {
		f.Helper()
		f.wantRetained(metadata.RetentionQuery{Partition: part, Before: -1, MaxBytes: size}, want)
	}
	for size, want := range map[int64]int64{-1: 0, 0: 50, 1: 40, 100: 40, 101: 30, 499: 0, 500: 0, 501: 0, math.MaxInt64: 0} {
		by(size, want)
	}
	f.deleteRecords(part, 25, 25)
	for size, want := range map[int64]int64{-1: 25, 0: 50, 200: 30, 201: 25, 300: 25, 1000: 25} {
		by(size, want)
	}
	// Whichever asks for more counts.
	f.commitOne(part, plain(10, 7))
	for _, c := range [][3]int64{{7, 300, 50}, {1, 100, 50}, {1, 300, 30}, {2, -1, 50}, {8, 300, 60}} {
		f.wantRetained(metadata.RetentionQuery{Partition: part, Before: c[0], MaxBytes: c[1]}, c[2])
	}
	// Markers have a size, as elsewhere.
	p := f.producer("p")
	p.write(1, part)
	p.end(true)
	by(metadata.MarkerSize, 61)
	by(metadata.MarkerSize+1, 60)
}

// retentionWithoutTimestamps: some clients write none (-1).
func retentionWithoutTimestamps(f *fixture) {
	part := f.topic("t", 1).Partitions[0]
	made := time.Now()
	f.commit(datedFile(f, made.Add(-3*time.Minute), appendTo(part, plain(10, -1)))) // 0
	f.commit(datedFile(f, made.Add(-2*time.Minute), appendTo(part, plain(10, -1)))) // 10
	p := f.producer("p")
	batch := p.batch(part, 1)
	batch.MaxTimestamp = -1
	f.commit(datedFile(f, made.Add(-time.Minute), appendTo(part, batch))) // 20
	p.end(true)                                                           // 21, about now
	f.commitOne(part, plain(10, 5))                                       // 22, from long ago
	by := func(ago time.Duration, want int64) {
		f.Helper()
		f.wantRetained(metadata.RetentionQuery{Partition: part, Before: made.Add(-ago).UnixMilli(), MaxBytes: -1}, want)
	}
	by(time.Hour, 0)
	by(3*time.Minute, 0)
	by(3*time.Minute-time.Second, 10)
	by(time.Minute, 20)
	by(time.Minute-time.Second, 21)
	by(-time.Hour, 32)
	f.wantRetained(metadata.RetentionQuery{Partition: part, Before: 5, MaxBytes: -1}, 0)
}

// retentionFollowsTheRows compares with a walk over all rows.
func retentionFollowsTheRows(f *fixture, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	parts := f.topic("t", 3).Partitions
	for range 40 {
		var appends []metadata.Append
		for _, id := range parts[:2] {
			appends = append(appends, appendTo(id, plain(1+rng.Int32N(20), rng.Int64N(1000))))
		}
		f.commit(newFile(f, appends...))
	}
	for range 10 {
		if _, err := f.mergeSome(parts[rng.IntN(2)], rng); err != nil {
			f.Fatal(err)
		}
	}
	f.db.SetLogStart(f, parts[0], rng.Int64N(f.bounds(parts[0]).NextOffset+1))
	var queries []metadata.RetentionQuery
	var want []int64
	for range 300 {
		q := metadata.RetentionQuery{Partition: parts[rng.IntN(3)], Before: rng.Int64N(1100) - 50, MaxBytes: rng.Int64N(10_000) - 500}
		q.Before, q.MaxBytes = max(q.Before, -1), max(q.MaxBytes, -1)
		queries = append(queries, q)
		want = append(want, f.retainedFrom(q))
	}
	got, err := f.store.RetainedFrom(f.ctx, queries)
	f.must(err)
	for i, q := range queries {
		if got[i] != want[i] {
			f.Fatalf("%+v: from %d, want %d; bounds %+v, rows %+v", q, got[i], want[i], f.bounds(q.Partition), f.runsFrom(q.Partition, f.bounds(q.Partition).LogStartOffset))
		}
	}
	for {
		n, err := f.store.TrimRuns(f.ctx, 100)
		if f.must(err); n == 0 {
			return
		}
	}
}

// retainedFrom is the rule word by word.
func (f *fixture) retainedFrom(q metadata.RetentionQuery) int64 {
	start := f.bounds(q.Partition).LogStartOffset
	rows := f.runsFrom(q.Partition, start)
	for len(rows) > 0 {
		rest := int64(0)
		for _, r := range rows[1:] {
			rest += int64(r.Size)
		}
		byTime := q.Before >= 0 && rows[0].MaxTimestamp < q.Before
		bySize := q.MaxBytes >= 0 && rest >= q.MaxBytes
		if !byTime && !bySize {
			break
		}
		start, rows = rows[0].NextOffset(), rows[1:]
	}
	return start
}
