package metadatatest

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

// benchmarkMerge claims 100 data files of 100 partitions and replaces their 10,000 rows by
// 100, as many as a merge does in one transaction at most.
func benchmarkMerge(f *fixture, b *testing.B) {
	const files = 100
	partitions := f.topic("bench", benchPartitions).Partitions
	var claims, replacements time.Duration
	for b.Loop() {
		for range files / 10 {
			some := make([]metadata.File, 10)
			for i := range some {
				some[i] = benchFile(f, partitions, 0, 0, false)
			}
			f.commit(some...)
		}
		start := time.Now()
		claim := metadata.FileClaim{Holder: uuid.New(), For: time.Minute, MaxFiles: files, MaxBytes: 1 << 40, MaxRuns: 1 << 20}
		claimed := f.claimFiles(claim, files)
		claims += time.Since(start)

		groups := make([][]metadata.Run, benchPartitions)
		for _, file := range claimed {
			for i, r := range file.Runs {
				groups[i] = append(groups[i], r)
			}
		}
		r := replacement(f, groups...)
		start = time.Now()
		taken, err := f.store.ReplaceRuns(f.ctx, r)
		replacements += time.Since(start)
		f.must(err)
		if slices.Contains(taken, false) {
			b.Fatal("not all was taken")
		}
	}
	b.ReportMetric(float64(claims.Milliseconds())/float64(b.N), "claim-ms")
	b.ReportMetric(float64(replacements.Milliseconds())/float64(b.N), "replace-ms")
	b.ReportMetric(0, "ns/op")
}
