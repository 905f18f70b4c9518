package bench

import (
	"fmt"
	"math"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/test/harness"
)

const (
	// backfills is how many consumers read everything from the start, again and again.
	backfills = 8
	// backfillStretch is how long they read, or don't, at a time.
	backfillStretch = 8 * time.Second
	// besideLoad is what is written each steadyTick besides: 5 MB/s.
	besideLoad = 500_000
)

// BenchmarkCatchUpIsolation is how long a producer of single records waits, and how long it takes until
// a consumer at the end of the log has them, beside a steady load of 5 MB/s: in turns without and with eight consumers
// that read a log of 1 GiB from its start through the same agent, of which its cache holds a sixteenth.
func BenchmarkCatchUpIsolation(b *testing.B) {
	for _, p := range places {
		b.Run(p.name, func(b *testing.B) {
			options, _ := p.open(b)
			options.Flags = append(options.Flags, "--cache-bytes=64MiB")
			a := harness.Agent(b, options)
			createTopic(b, a.Bootstrap(), "old", loadPartitions)
			old := newLoad()
			produceAll(b, a.Bootstrap(), old.frames("old"), old.count, loadInFlight)
			a.Stop()
			a.Restart() // the end of the old log is no longer in memory
			createTopic(b, a.Bootstrap(), "load", loadPartitions)
			createTopic(b, a.Bootstrap(), "probe", 1)
			stop := steadily(b, a.Bootstrap(), besideLoad, loadPartitions)
			var produced, consumed [2][]time.Duration // by whether consumers catch up: 0 no, 1 yes
			var read int64
			for turn := range 6 {
				on := turn % 2
				stopReading := func() int64 { return 0 }
				if on == 1 {
					stopReading = readOn(b, a.Bootstrap(), backfills, startAt0("old", loadPartitions, old.recordsEach()))
				}
				waits, lags := probeTail(b, a.Bootstrap(), backfillStretch)
				read += stopReading()
				produced[on], consumed[on] = append(produced[on], waits...), append(consumed[on], lags...)
			}
			stop()
			a.Stop() // in its own time: it may have merges to end
			b.ReportMetric(quantile(produced[0], 0.5), "produce-p50-ms")
			b.ReportMetric(quantile(produced[0], 0.99), "produce-p99-ms")
			b.ReportMetric(quantile(produced[1], 0.5)/quantile(produced[0], 0.5), "produce-p50-ratio")
			b.ReportMetric(quantile(produced[1], 0.99)/quantile(produced[0], 0.99), "produce-p99-ratio")
			b.ReportMetric(quantile(consumed[0], 0.5), "tail-p50-ms")
			b.ReportMetric(quantile(consumed[0], 0.99), "tail-p99-ms")
			b.ReportMetric(quantile(consumed[1], 0.5)/quantile(consumed[0], 0.5), "tail-p50-ratio")
			b.ReportMetric(quantile(consumed[1], 0.99)/quantile(consumed[0], 0.99), "tail-p99-ratio")
			b.ReportMetric(mbPerSecond(read, 3*backfillStretch), "catch-up-MB/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// probeTail produces a record every 20 ms to the topic "probe", and returns how long each waited for its
// acknowledgement, and how long after it was sent a consumer had it.
func probeTail(b *testing.B, address string, period time.Duration) (waits, lags []time.Duration) {
	b.Helper()
	producer, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = producer.Close() }()
	consumer, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = consumer.Close() }()
	batch, _ := randomBatch(0, 1)
	frame := produceFrame("probe", []int32{0}, batch)

	first, _, err := produceOne(producer, frame)
	if err != nil {
		b.Fatal(err)
	}
	var mu sync.Mutex
	sent := []time.Time{time.Now()} // by offset, from first on
	count := int(period / probeEvery)
	consumed := make(chan error, 1)
	go func() {
		r := reading{conn: consumer, topic: "probe", turn: []int32{0}, offsets: map[int32]int64{0: first}, end: math.MaxInt64}
		for r.offsets[0] <= first+int64(count) {
			had := r.offsets[0]
			if _, err := r.more(); err != nil {
				consumed <- err
				return
			}
			now := time.Now()
			mu.Lock()
			for offset := max(had, first+1); offset < r.offsets[0]; offset++ {
				lags = append(lags, now.Sub(sent[offset-first]))
			}
			mu.Unlock()
		}
		consumed <- nil
	}()
	pace := time.NewTicker(probeEvery)
	defer pace.Stop()
	for range count {
		<-pace.C
		mu.Lock()
		sent = append(sent, time.Now())
		mu.Unlock()
		_, took, err := produceOne(producer, frame)
		if err != nil {
			b.Fatal(err)
		}
		waits = append(waits, took)
	}
	if err := <-consumed; err != nil {
		b.Fatal(err)
	}
	return waits, lags
}

// probeEvery is the time between two records of a probe.
const probeEvery = 20 * time.Millisecond

// produceOne sends a request with one partition, and returns the offset that its batch got and how long the answer took.
func produceOne(conn net.Conn, frame []byte) (offset int64, took time.Duration, err error) {
	start := time.Now()
	if _, err := conn.Write(frame); err != nil {
		return 0, 0, err
	}
	body, err := readFrame(conn)
	if err != nil {
		return 0, 0, err
	}
	took = time.Since(start)
	resp := kmsg.NewPtrProduceResponse()
	resp.SetVersion(9)
	if err := resp.ReadFrom(body[5:]); err != nil { // correlation ID, tags
		return 0, 0, err
	}
	p := resp.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
		return 0, 0, fmt.Errorf("probe: %w", err)
	}
	return p.BaseOffset, took, nil
}
