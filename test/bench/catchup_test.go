package bench

import (
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/agent/maintenance/merge"
	pgstore "github.com/wadi-log/wadi/metadata/postgres"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/test/harness"
)

// The log that is caught up with: data files as agents write them, 8 MiB with all the partitions.
const (
	catchUpPartitions  = 120
	catchUpConnections = 4
	catchUpBatchBytes  = 16 << 10
	catchUpBytes       = 512 << 20
)

// catchUps are who catches up: the partitions of each consumer, which has a connection of its own.
var catchUps = []struct {
	name      string
	consumers [][]int32
}{
	{"all", [][]int32{partitionRange(0, 30), partitionRange(30, 60), partitionRange(60, 90), partitionRange(90, 120)}},
	{"tenth", [][]int32{partitionRange(48, 60)}},
	{"one", [][]int32{{77}}},
}

// BenchmarkCatchUp reads a log from its beginning through an agent that has nothing of it in memory:
// all partitions, a tenth and one, first as it was produced, then merged. For each it reports
// MB/s, reads and bytes read of the object store by what consumers got, and merged over unmerged. Nothing
// is compressed, for the same batches come again and again.
func BenchmarkCatchUp(b *testing.B) {
	options, bucket := places[1].open(b)
	options.Flags = append(options.Flags, "--roles=produce,consume", "--file-compression=none")
	a := harness.Agent(b, options)
	createTopic(b, a.Bootstrap(), "log", catchUpPartitions)
	count, records := produceLog(b, a.Bootstrap())
	unmerged := catchUp(b, a, records)
	took := mergeAll(b, options.Metadata, bucket)
	merged := catchUp(b, a, records)
	for i, c := range catchUps {
		b.ReportMetric(unmerged[i].speed, c.name+"-unmerged-MB/s")
		b.ReportMetric(merged[i].speed, c.name+"-merged-MB/s")
		b.ReportMetric(merged[i].speed/unmerged[i].speed, c.name+"-speed-ratio")
		b.ReportMetric(unmerged[i].gets, c.name+"-unmerged-GETs/GiB")
		b.ReportMetric(merged[i].gets, c.name+"-merged-GETs/GiB")
		b.ReportMetric(merged[i].gets/unmerged[i].gets, c.name+"-GETs-ratio")
		b.ReportMetric(unmerged[i].bytes, c.name+"-unmerged-read/got")
		b.ReportMetric(merged[i].bytes, c.name+"-merged-read/got")
	}
	b.ReportMetric(mbPerSecond(int64(count)*catchUpBatchBytes, took), "merge-MB/s")
	b.ReportMetric(0, "ns/op") // one run is one measurement; its time means nothing
}

// produceLog writes the log, and returns its number of batches and of records by partition.
func produceLog(b *testing.B, address string) (batches int, records int64) {
	b.Helper()
	frames := make([][]byte, catchUpConnections)
	inBatch := 0
	for i := range frames {
		list := make([][]byte, catchUpPartitions)
		for p := range list {
			list[p], inBatch = randomBatch(uint64(i*catchUpPartitions+p), catchUpBatchBytes)
		}
		frames[i] = produceFrame("log", partitionRange(0, catchUpPartitions), list...)
	}
	count := catchUpBytes / (catchUpConnections * catchUpPartitions * catchUpBatchBytes)
	produceAll(b, address, frames, count, loadInFlight)
	batches = count * catchUpConnections * catchUpPartitions
	return batches, int64(count * catchUpConnections * inBatch)
}

// caughtUp is what it took: MB/s, reads of the object store for each GiB that consumers got, and bytes read for each byte.
type caughtUp struct{ speed, gets, bytes float64 }

// catchUp measures each of catchUps with an agent that was started for it.
func catchUp(b *testing.B, a *harness.AgentProcess, records int64) []caughtUp {
	b.Helper()
	results := make([]caughtUp, len(catchUps))
	for i, c := range catchUps {
		a.Stop()
		a.Restart()
		before := a.Metrics()
		got, took := fetchAll(b, a.Bootstrap(), "log", c.consumers, records)
		after := a.Metrics()
		pools := func(m map[string]float64, name string) float64 {
			return m[name+`{pool="hot"}`] + m[name+`{pool="cold"}`]
		}
		reads := func(name string) float64 { return pools(after, name) - pools(before, name) }
		results[i] = caughtUp{
			speed: mbPerSecond(got, took),
			gets:  reads("wadi_fetch_gets_total") / (float64(got) / (1 << 30)),
			bytes: reads("wadi_fetch_get_bytes_total") / float64(got),
		}
	}
	return results
}

// mergeAll merges until no merge is due, and returns how long that took.
func mergeAll(b *testing.B, url string, bucket objstore.Bucket) time.Duration {
	b.Helper()
	store, err := pgstore.Open(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	reg := prometheus.NewRegistry()
	config := merge.Config{After: time.Millisecond, FileBytes: 64 << 20, MemoryBytes: 256 << 20, Compression: datafile.None}
	merger := merge.New(config, bucket, store, merge.NewMetrics(reg), slog.New(slog.DiscardHandler))
	progress := maintenance.NewProgress("merge", rate.NewLimiter(rate.Inf, 1<<30), maintenance.NewMetrics(reg))
	start := time.Now()
	for more := true; more; {
		if more, err = merger.Round(b.Context(), progress); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start)
}
