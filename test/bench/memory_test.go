package bench

import (
	"math"
	"testing"
	"time"

	"github.com/wadi-log/wadi/test/harness"
)

const (
	// memoryFor is how long the memory of an agent is watched under each load.
	memoryFor = 20 * time.Second
	// memoryReaders read all that is written.
	memoryReaders = 2
	// memoryLimit is what the agent may use.
	memoryLimit = 512 << 20
)

// BenchmarkMemory is what an agent in a cgroup of 512 MiB (with --memory=512MiB, where none can be made) holds of them: under 20 MB/s from producers and
// 40 MB/s to two consumers at the end of the log, with merges and all else that agents do, over
// 1,000 partitions; and then with eight consumers besides that read everything from the start.
func BenchmarkMemory(b *testing.B) {
	for _, p := range places {
		b.Run(p.name, func(b *testing.B) {
			options, _ := p.open(b)
			options.Flags = append(options.Flags, "--merge-after=5s")
			if err := inCgroup(b, &options, memoryLimit); err != nil {
				b.Logf("the agent has --memory=512MiB, since there can be no cgroup: %v", err)
				options.Flags = append(options.Flags, "--memory=512MiB")
			}
			a := harness.Agent(b, options)
			if got, want := a.Metrics()["go_gc_gomemlimit_bytes"], 0.9*memoryLimit; math.Abs(got-want) > 0.01*want {
				b.Errorf("the agent's garbage collector keeps within %v bytes, want %v", got, want)
			}
			createTopic(b, a.Bootstrap(), "old", loadPartitions)
			old := newLoad()
			produceAll(b, a.Bootstrap(), old.frames("old"), old.count, loadInFlight)
			a.Stop()
			a.Restart()
			createTopic(b, a.Bootstrap(), "load", steadyPartitions)
			stop := steadily(b, a.Bootstrap(), steadyLoad, steadyPartitions)
			stopTailing := readOn(b, a.Bootstrap(), memoryReaders, func(r *reading) {
				startAt0("load", steadyPartitions, math.MaxInt64)(r)
				r.minBytes = 1 << 20
			})
			peak, mean := resident(b, a, memoryFor)
			stopBackfill := readOn(b, a.Bootstrap(), backfills, startAt0("old", loadPartitions, old.recordsEach()))
			peakBeside, _ := resident(b, a, memoryFor)
			caughtUp := stopBackfill()
			read := stopTailing()
			written := stop()
			a.Stop() // in its own time: it has merges to end
			b.ReportMetric(peak/(1<<20), "RSS-peak-MiB")
			b.ReportMetric(mean/(1<<20), "RSS-mean-MiB")
			b.ReportMetric(peakBeside/(1<<20), "RSS-peak-catching-up-MiB")
			b.ReportMetric(mbPerSecond(written, 2*memoryFor), "in-MB/s")
			b.ReportMetric(mbPerSecond(read, 2*memoryFor), "out-MB/s")
			b.ReportMetric(mbPerSecond(caughtUp, memoryFor), "catch-up-MB/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// resident watches what the agent holds of the machine's memory, in bytes.
func resident(b *testing.B, a *harness.AgentProcess, period time.Duration) (peak, mean float64) {
	b.Helper()
	pace := time.NewTicker(50 * time.Millisecond)
	defer pace.Stop()
	n := 0.0
	for end := time.Now().Add(period); time.Now().Before(end); n++ {
		<-pace.C
		rss := float64(used(b, a).RSS)
		peak, mean = max(peak, rss), mean+rss
	}
	return peak, mean / n
}
