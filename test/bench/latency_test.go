package bench

import (
	"testing"
	"time"

	"github.com/wadi-log/wadi/test/harness"
)

// BenchmarkLatency is one producer at a low rate: a record every 20 ms. What it
// waits for is the file's time in memory, its PUT and its commit; the agent
// measures those three in the same run.
func BenchmarkLatency(b *testing.B) {
	for _, p := range places {
		b.Run(p.name, func(b *testing.B) {
			options, _ := p.open(b)
			a := harness.Agent(b, options)
			createTopic(b, a.Bootstrap(), "latency", 1)
			batch, _ := randomBatch(0, 1)
			frame := produceFrame("latency", []int32{0}, batch)
			before := a.Metrics()
			var waits []time.Duration
			pace := time.NewTicker(20 * time.Millisecond)
			defer pace.Stop()
			for range 500 {
				<-pace.C
				waits = append(waits, produceAll(b, a.Bootstrap(), [][]byte{frame}, 1, 1))
			}
			after := a.Metrics()
			parts := 0.0
			for _, step := range []string{"buffered", "put", "commit"} {
				name := "wadi_produce_" + step + "_seconds"
				parts += 1000 * (after[name+"_sum"] - before[name+"_sum"]) / (after[name+"_count"] - before[name+"_count"])
			}
			b.ReportMetric(quantile(waits, 0.5), "p50-ms")
			b.ReportMetric(quantile(waits, 0.99), "p99-ms")
			b.ReportMetric(parts, "wait+PUT+commit-ms")
			b.ReportMetric(quantile(waits, 0.5)/parts, "p50/parts")
			b.ReportMetric(0, "ns/op")
		})
	}
}
