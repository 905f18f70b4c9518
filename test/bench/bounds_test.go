package bench

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/wadi-log/wadi/test/harness"
	"github.com/wadi-log/wadi/test/measure"
)

// BenchmarkRequestsByPartitions sends the same bytes to 10 and to 10,000
// partitions: the number of requests to the object store is a matter of bytes
// and time alone.
func BenchmarkRequestsByPartitions(b *testing.B) {
	const total = 256 << 20
	for _, partitions := range []int{10, 10_000} {
		b.Run(fmt.Sprint(partitions), func(b *testing.B) {
			options, _ := places[1].open(b)
			options.Flags = append(options.Flags, "--put-rate=4", "--flush-interval=250ms")
			a := harness.Agent(b, options)
			createTopic(b, a.Bootstrap(), "wide", int32(partitions))
			const perRequest = 10_000_000
			batch, records := randomBatch(0, perRequest/partitions)
			frame := produceFrame("wide", partitionRange(0, partitions), batch)
			count := total / (partitions * len(batch))
			before := a.Metrics()
			produceAll(b, a.Bootstrap(), [][]byte{frame}, count, loadInFlight)
			puts := measure.Requests(a.Metrics(), "put") - measure.Requests(before, "put")
			sent := float64(count*partitions*len(batch)) / (1 << 30)

			a.Stop()
			a.Restart()
			read, _ := fetchAll(b, a.Bootstrap(), "wide", [][]int32{partitionRange(0, partitions)}, int64(count*records))
			b.ReportMetric(puts/sent, "PUT/GiB")
			b.ReportMetric(measure.Requests(a.Metrics(), "get")/(float64(read)/(1<<30)), "GET/GiB")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkIdle watches an agent with 10,000 partitions and no client.
func BenchmarkIdle(b *testing.B) {
	for _, p := range places {
		b.Run(p.name, func(b *testing.B) {
			options, _ := p.open(b)
			a := harness.Agent(b, options)
			createTopic(b, a.Bootstrap(), "idle", 10_000)
			before, counted := used(b, a), a.Metrics()
			const watch = 20 * time.Second
			<-time.After(watch)
			after, recounted := used(b, a), a.Metrics()
			b.ReportMetric(100*(after.CPU-before.CPU).Seconds()/watch.Seconds(), "cpu-%")
			b.ReportMetric(measure.Requests(recounted, "put")-measure.Requests(counted, "put"), "PUTs")
			b.ReportMetric(float64(after.RSS)/(1<<20), "RSS-MiB")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkOverload offers more than the agent may hold (320 MB of requests at
// once against --memory-bytes 64 MiB) and watches its memory: the second half
// must not need more than the first.
func BenchmarkOverload(b *testing.B) {
	for _, p := range places {
		b.Run(p.name, func(b *testing.B) {
			options, _ := p.open(b)
			options.Flags = append(options.Flags, "--memory-bytes=64MiB", "--cache-bytes=64MiB")
			a := harness.Agent(b, options)
			createTopic(b, a.Bootstrap(), "flood", loadPartitions)
			batch, _ := randomBatch(0, 85<<10)
			frame := produceFrame("flood", partitionRange(0, loadPartitions), batch)
			frames := make([][]byte, 64)
			for i := range frames {
				frames[i] = frame
			}
			var peaks [2]int64
			done := make(chan struct{})
			var watch sync.WaitGroup
			half := 0
			var mu sync.Mutex
			watch.Go(func() {
				for tick := time.NewTicker(50 * time.Millisecond); ; {
					select {
					case <-done:
						tick.Stop()
						return
					case <-tick.C:
						mu.Lock()
						peaks[half] = max(peaks[half], used(b, a).RSS)
						mu.Unlock()
					}
				}
			})
			for i := range peaks {
				mu.Lock()
				half = i
				mu.Unlock()
				produceAll(b, a.Bootstrap(), frames, 10, 5)
			}
			close(done)
			watch.Wait()
			runtime.KeepAlive(frames)
			b.ReportMetric(float64(peaks[0])/(1<<20), "RSS-1st-half-MiB")
			b.ReportMetric(float64(peaks[1])/(1<<20), "RSS-2nd-half-MiB")
			b.ReportMetric(0, "ns/op")
		})
	}
}
