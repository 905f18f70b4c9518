package postgres

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/metadatatest"
	"github.com/wadi-log/wadi/test/harness"
)

func BenchmarkStore(b *testing.B) {
	metadatatest.Benchmark(b, newDatabases(harness.Postgres(b)))
}

// BenchmarkEndAgainstCommit compares the end of a transaction with the least that
// Postgres does for a durable change, an UPDATE of one row in one round trip. They take
// turns, so that both meet the same machine.
func BenchmarkEndAgainstCommit(b *testing.B) {
	for _, partitions := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("partitions=%d", partitions), func(b *testing.B) {
			f := newTransactionFixture(b, harness.Postgres(b))
			topic, err := f.observer.CreateTopic(b.Context(), metadata.NewTopic{Name: "bench", Partitions: int32(partitions)})
			f.must(err)
			exec(b, f.url, `CREATE TABLE bare (n bigint) WITH (fillfactor = 10)`)
			exec(b, f.url, `INSERT INTO bare VALUES (0)`)
			conn := dial(b, f.url)
			var ends, commits []time.Duration
			f.producer = f.change(f.ending(true)).Producer
			for b.Loop() {
				_, err := f.observer.CommitFiles(b.Context(), []metadata.File{f.file(topic.Partitions...)})
				f.must(err)
				f.change(f.putAside(1, f.partition))
				start := time.Now()
				f.producer = f.change(f.ending(true)).Producer
				ends = append(ends, time.Since(start))

				bare := &pgx.Batch{}
				for _, query := range []string{begin, `UPDATE bare SET n = n + 1`, `COMMIT`} {
					bare.Queue(query)
				}
				start = time.Now()
				f.must(conn.SendBatch(b.Context(), bare).Close())
				commits = append(commits, time.Since(start))
			}
			slices.Sort(ends)
			slices.Sort(commits)
			for name, at := range map[string]int{"p50": len(ends) / 2, "p99": len(ends) * 99 / 100} {
				b.ReportMetric(float64(ends[at].Microseconds())/1000, "end-"+name+"-ms")
				b.ReportMetric(float64(commits[at].Microseconds())/1000, "commit-"+name+"-ms")
				b.ReportMetric(float64(ends[at])/float64(commits[at]), "ratio-"+name)
			}
		})
	}
}
