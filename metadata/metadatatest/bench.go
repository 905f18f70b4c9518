package metadatatest

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

// Benchmark measures commits of one data file each, which adds one batch to
// each of the same 100 partitions, by 1, 4 and 16 agents at once. Every agent
// is a store of its own. It then measures reads, and what groups and transactions do.
// create makes a fresh database.
func Benchmark(b *testing.B, create func(t testing.TB) Database) {
	for _, idempotent := range []bool{false, true} {
		for _, agents := range []int{1, 4, 16} {
			name := fmt.Sprintf("Commit/agents=%d", agents)
			if idempotent {
				name = fmt.Sprintf("CommitIdempotent/agents=%d", agents)
			}
			b.Run(name, func(b *testing.B) { benchmarkCommit(newFixtureB(b, create(b)), b, agents, idempotent) })
		}
	}
	b.Run("Feed", func(b *testing.B) { benchmarkFeed(newFixtureB(b, create(b)), b) })
	b.Run("FindRuns", func(b *testing.B) { benchmarkFindRuns(newFixtureB(b, create(b)), b) })
	b.Run("RunByTimestamp", func(b *testing.B) { benchmarkRunByTimestamp(newFixtureB(b, create(b)), b) })
	b.Run("Merge", func(b *testing.B) { benchmarkMerge(newFixtureB(b, create(b)), b) })
	benchmarkGroups(b, create)
	benchmarkTransactions(b, create)
}

func newFixtureB(b *testing.B, db Database) *fixture {
	return &fixture{TB: b, ctx: b.Context(), db: db, store: db.Open(b)}
}

const benchPartitions = 100

// benchFile is a file of agent's n-th commit: a batch for each partition, from
// one producer per agent and partition when idempotent.
func benchFile(t testing.TB, partitions []metadata.PartitionID, agent, n int, isIdempotent bool) metadata.File {
	appends := make([]metadata.Append, len(partitions))
	for i, id := range partitions {
		batch := plain(10, time.Now().UnixMilli())
		if isIdempotent {
			batch.ProducerID, batch.ProducerEpoch, batch.BaseSequence = int64(agent), 0, int32(n*10)
		}
		appends[i] = metadata.Append{Partition: id, Position: int64(i) * 100, StoredSize: batch.Size, Batches: []metadata.Batch{batch}}
	}
	return newFile(t, appends...)
}

func benchmarkCommit(f *fixture, b *testing.B, agents int, isIdempotent bool) {
	partitions := f.topic("bench", benchPartitions).Partitions
	stores := make([]metadata.Store, agents)
	for i := range stores {
		stores[i] = f.db.Open(b)
		_, err := stores[i].CommitFiles(f.ctx, []metadata.File{benchFile(b, partitions, i, 0, isIdempotent)})
		f.must(err)
	}
	var next atomic.Int64
	took := make([][]time.Duration, agents)
	var wg sync.WaitGroup
	b.ResetTimer()
	for i, store := range stores {
		wg.Go(func() {
			for n := 1; next.Add(1) <= int64(b.N); n++ {
				start := time.Now()
				if _, err := store.CommitFiles(f.ctx, []metadata.File{benchFile(b, partitions, i, n, isIdempotent)}); err != nil {
					b.Error(err)
					return
				}
				took[i] = append(took[i], time.Since(start))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	all := slices.Concat(took...)
	slices.Sort(all)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
}

// fill commits n files to the benchmark's partitions, ten in a call.
func (f *fixture) fill(n int) []metadata.PartitionID {
	partitions := f.topic("bench", benchPartitions).Partitions
	for range n / 10 {
		files := make([]metadata.File, 10)
		for i := range files {
			files[i] = benchFile(f, partitions, 0, 0, false)
		}
		f.commit(files...)
	}
	return partitions
}

// benchmarkFeed reads the last commit of 100 partitions, as a follower that keeps up.
func benchmarkFeed(f *fixture, b *testing.B) {
	f.fill(500)
	for b.Loop() {
		if got, err := f.store.Commits(f.ctx, 500, 100); err != nil || len(got) != 1 {
			b.Fatal(got, err)
		}
	}
}

// benchmarkFindRuns asks for 64 partitions from the middle of the log on, 16 runs each.
func benchmarkFindRuns(f *fixture, b *testing.B) {
	var queries []metadata.RunQuery
	for _, id := range f.fill(1000)[:64] {
		queries = append(queries, metadata.RunQuery{Partition: id, Offset: 5005, MaxBytes: 1600, MaxRuns: 64})
	}
	for b.Loop() {
		if got, err := f.store.FindRuns(f.ctx, queries); err != nil || len(got[63].Runs) != 16 {
			b.Fatal(got, err)
		}
	}
}

func benchmarkRunByTimestamp(f *fixture, b *testing.B) {
	partition := f.fill(1000)[0]
	runs := f.runs(partition)
	middle := runs[len(runs)/2].MaxTimestamp
	for b.Loop() {
		if got, err := f.store.RunByTimestamp(f.ctx, []metadata.TimestampQuery{{Partition: partition, Timestamp: middle}}); err != nil || !got[0].Found {
			b.Fatal(got, err)
		}
	}
}
