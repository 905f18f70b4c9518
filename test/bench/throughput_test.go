package bench

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/test/harness"
)

// The load: as much as 8 MiB data files of 12 partitions, from 8 connections.
const (
	loadPartitions  = 12
	loadConnections = 8
	loadInFlight    = 5
	loadBatchBytes  = 64 << 10
	loadTotalBytes  = 1 << 30
	fileBytes       = 8 << 20
	// storeConcurrency is how many PUTs or GETs the raw measurements keep under
	// way: as many as the agent does.
	storeConcurrency = 4
)

// BenchmarkThroughput produces, reads back cold, and reads while producing;
// each beside what the same store does without an agent.
func BenchmarkThroughput(b *testing.B) {
	for _, p := range places {
		b.Run(p.name, func(b *testing.B) {
			options, bucket := p.open(b)
			rawPut := rawPuts(b, bucket)
			a := harness.Agent(b, options)
			load := newLoad()

			createTopic(b, a.Bootstrap(), "produce", loadPartitions)
			before, counted := used(b, a), a.Metrics()
			took := produceAll(b, a.Bootstrap(), load.frames("produce"), load.count, loadInFlight)
			after, recounted := used(b, a), a.Metrics()
			rawPut = (rawPut + rawPuts(b, bucket)) / 2
			b.ReportMetric(mbPerSecond(load.bytes, took), "produce-MB/s")
			b.ReportMetric(mbPerSecond(load.bytes, took)/rawPut, "produce/raw-PUT")
			b.ReportMetric(perGiB(after.CPU-before.CPU, load.bytes), "produce-cpu-s/GiB")
			b.ReportMetric((recounted["go_memstats_mallocs_total"]-counted["go_memstats_mallocs_total"])/float64(load.records), "produce-allocs/record")

			a.Stop()
			a.Restart()
			before = used(b, a)
			read, took := fetchAll(b, a.Bootstrap(), "produce", load.readers(), load.recordsEach())
			after = used(b, a)
			rawGet := rawGets(b, bucket)
			b.ReportMetric(mbPerSecond(read, took), "cold-read-MB/s")
			b.ReportMetric(mbPerSecond(read, took)/rawGet, "cold-read/raw-GET")
			b.ReportMetric(perGiB(after.CPU-before.CPU, read), "cold-read-cpu-s/GiB")

			createTopic(b, a.Bootstrap(), "tail", loadPartitions)
			var producer sync.WaitGroup
			producer.Go(func() {
				for _, f := range load.frames("tail") {
					producer.Go(func() {
						if err := produceOver(a.Bootstrap(), f, load.count, loadInFlight); err != nil {
							b.Error(err)
						}
					})
				}
			})
			read, took = fetchAll(b, a.Bootstrap(), "tail", load.readers(), load.recordsEach())
			producer.Wait()
			b.ReportMetric(mbPerSecond(read, took), "tail-read-MB/s")
			b.ReportMetric(0, "ns/op") // one run is one measurement; its time means nothing
		})
	}
}

// load is a fixed amount of produce requests. All batches have the same size;
// those that may meet in a data file differ.
type load struct {
	batches [][]byte // for connection c and partition p at c*loadPartitions+p
	count   int      // requests of each connection
	bytes   int64
	records int64
}

func newLoad() load {
	var l load
	records := 0
	for i := range uint64(loadConnections * loadPartitions) {
		var batch []byte
		batch, records = randomBatch(i, loadBatchBytes)
		l.batches = append(l.batches, batch)
		l.bytes += int64(len(batch))
	}
	l.count = int(loadTotalBytes / l.bytes)
	l.bytes *= int64(l.count)
	l.records = int64(l.count * len(l.batches) * records)
	return l
}

// frames returns each connection's request: a batch for every partition.
func (l load) frames(topic string) [][]byte {
	frames := make([][]byte, loadConnections)
	for i := range frames {
		frames[i] = produceFrame(topic, partitionRange(0, loadPartitions), l.batches[i*loadPartitions:(i+1)*loadPartitions]...)
	}
	return frames
}

// readers returns the partitions that each of four consumers reads.
func (l load) readers() [][]int32 {
	var groups [][]int32
	for i := 0; i < loadPartitions; i += 3 {
		groups = append(groups, partitionRange(i, i+3))
	}
	return groups
}

func (l load) recordsEach() int64 { return l.records / loadPartitions }

// rawPuts puts as many bytes as the load in objects of a data file's size, and
// returns MB/s.
func rawPuts(b *testing.B, bucket objstore.Bucket) float64 {
	b.Helper()
	body, _ := randomBatch(0, fileBytes)
	prefix := "raw/" + uuid.NewString()
	n := loadTotalBytes / len(body)
	took := parallel(b, n, func(ctx context.Context, i int) error {
		return bucket.Put(ctx, fmt.Sprintf("%s/%d", prefix, i), body)
	})
	parallel(b, n, func(ctx context.Context, i int) error {
		return bucket.Delete(ctx, fmt.Sprintf("%s/%d", prefix, i))
	})
	return mbPerSecond(int64(n)*int64(len(body)), took)
}

// rawGets reads all data files whole and returns MB/s.
func rawGets(b *testing.B, bucket objstore.Bucket) float64 {
	b.Helper()
	var keys []string
	bytes := int64(0)
	if err := bucket.List(b.Context(), "data/", func(o objstore.ObjectInfo) error {
		keys, bytes = append(keys, o.Key), bytes+o.Size
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	took := parallel(b, len(keys), func(ctx context.Context, i int) error {
		_, err := bucket.Get(ctx, keys[i], 0, -1)
		return err
	})
	return mbPerSecond(bytes, took)
}

// parallel calls do for 0 to n-1, a few at a time, and returns how long all took.
func parallel(b *testing.B, n int, do func(ctx context.Context, i int) error) time.Duration {
	b.Helper()
	next := make(chan int)
	errs := make(chan error, storeConcurrency)
	start := time.Now()
	for range storeConcurrency {
		go func() {
			var failed error
			for i := range next {
				if failed == nil {
					failed = do(b.Context(), i)
				}
			}
			errs <- failed
		}()
	}
	for i := range n {
		next <- i
	}
	close(next)
	for range storeConcurrency {
		if err := <-errs; err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start)
}
