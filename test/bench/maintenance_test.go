package bench

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/test/harness"
)

const (
	// stretch is how long maintenance stays on, or off, at a time.
	stretch = 20 * time.Second
	// steadyLoad is what is written each steadyTick: 20 MB/s over 1,000 partitions.
	steadyLoad       = 2_000_000
	steadyTick       = 100 * time.Millisecond
	steadyPartitions = 1000
	// steadyQuarters is how many ticks it takes until all partitions had their turn.
	steadyQuarters = 4
)

// states are what maintenance is like in turns.
var states = [...]string{"off", "behind", "on"}

// BenchmarkProduceBesideMaintenance is how long a producer of single records waits
// beside a steady load, with maintenance off and on in turns: what merging costs those who
// write. The first stretch with maintenance catches up with the one without, so
// it merges twice what came in; the next one merges what comes.
func BenchmarkProduceBesideMaintenance(b *testing.B) {
	for _, p := range places {
		b.Run(p.name, func(b *testing.B) {
			options, _ := p.open(b)
			a := harness.Agent(b, options)
			createTopic(b, a.Bootstrap(), "load", steadyPartitions)
			createTopic(b, a.Bootstrap(), "probe", 1)
			stop := steadily(b, a.Bootstrap(), steadyLoad, steadyPartitions)
			var waits [len(states)][]time.Duration
			var merged [len(states)]float64
			for turn := range 3 * len(states) {
				state := turn % len(states)
				pauseJobs(b, a.Bootstrap(), state == 0)
				before := a.Metrics()[`wadi_job_written_bytes_total{name="merge"}`]
				waits[state] = append(waits[state], probe(b, a.Bootstrap(), stretch)...)
				merged[state] += a.Metrics()[`wadi_job_written_bytes_total{name="merge"}`] - before
			}
			loaded := stop()
			for i, name := range states {
				b.ReportMetric(quantile(waits[i], 0.5), name+"-p50-ms")
				b.ReportMetric(quantile(waits[i], 0.99), name+"-p99-ms")
				b.ReportMetric(merged[i]/1e6, name+"-merged-MB")
				if i > 0 {
					b.ReportMetric(quantile(waits[i], 0.99)/quantile(waits[0], 0.99), "p99-"+name+"/off")
				}
			}
			b.ReportMetric(mbPerSecond(loaded, time.Duration(3*len(states))*stretch), "load-MB/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// pauseJobs pauses all background work of all agents, or lets it go on. An agent acts
// on it within a moment; a round that runs ends first.
func pauseJobs(b *testing.B, bootstrap string, pause bool) {
	b.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	change := kadm.AlterConfig{Op: kadm.DeleteConfig, Name: "wadi.jobs.paused"}
	if pause {
		all := "all"
		change.Op, change.Value = kadm.SetConfig, &all
	}
	answers, err := kadm.NewClient(client).AlterBrokerConfigs(context.WithoutCancel(b.Context()), []kadm.AlterConfig{change})
	if err != nil {
		b.Fatal(err)
	}
	for _, answer := range answers {
		if answer.Err != nil {
			b.Fatal(answer.Err)
		}
	}
}

// probe produces a record every 20 ms and returns how long each waited.
func probe(b *testing.B, address string, period time.Duration) (waits []time.Duration) {
	b.Helper()
	batch, _ := randomBatch(0, 1)
	frame := produceFrame("probe", []int32{0}, batch)
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	for end := time.Now().Add(period); time.Now().Before(end); {
		<-pace.C
		waits = append(waits, produceAll(b, address, [][]byte{frame}, 1, 1))
	}
	return waits
}

// steadily writes so many bytes each steadyTick to the topic "load" until stop is called, which returns the bytes that
// were acknowledged. Each tick's request goes to a quarter of the partitions.
func steadily(b *testing.B, address string, bytes, partitions int) (stop func() int64) {
	b.Helper()
	var frames [steadyQuarters][]byte
	batch, _ := randomBatch(1, max(1, bytes*steadyQuarters/partitions-recordBytes))
	for i := range frames {
		frames[i] = produceFrame("load", partitionRange(i*partitions/steadyQuarters, (i+1)*partitions/steadyQuarters), batch)
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan struct{})
	errs := make(chan error, 2)
	answered := make(chan int)
	sent := make(chan int, 1<<16)
	go func() {
		defer close(sent)
		pace := time.NewTicker(steadyTick)
		defer pace.Stop()
		for i := 0; ; i++ {
			select {
			case <-ended:
				return
			case <-pace.C:
			}
			sent <- i
			if _, err := conn.Write(frames[i%steadyQuarters]); err != nil {
				errs <- err
				return
			}
		}
	}()
	go func() {
		n := 0
		for range sent {
			if _, err := readFrame(conn); err != nil {
				errs <- err
				break
			}
			n++
		}
		answered <- n
	}()
	return func() int64 {
		close(ended)
		n := <-answered
		select {
		case err := <-errs:
			b.Fatal(err)
		default:
		}
		if err := conn.Close(); err != nil {
			b.Fatal(err)
		}
		return int64(n) * int64(len(batch)) * int64(partitions) / steadyQuarters
	}
}
