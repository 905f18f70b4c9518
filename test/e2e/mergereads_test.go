package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/test/harness"
)

// TestReadersSeeNothingOfMerges reads a log from its beginning again and again, at both isolation levels,
// while it is written in transactions, merged, and its old files are deleted: no reader is told of
// an error, retriable ones included, and none misses an offset.
func TestReadersSeeNothingOfMerges(t *testing.T) {
	eachSetup(t, func(t *testing.T, options harness.AgentOptions) {
		options.Flags = append(options.Flags, "--merge-after=1s", "--merge-bytes=1048576", "--delete-grace=1s", "--snapshot-interval=0", "--cache-bytes=16777216")
		agents := []*harness.AgentProcess{harness.Agent(t, options)}
		if options.Metadata != "" {
			agents = append(agents, harness.Agent(t, options))
		}
		m := &mergeReads{t: t, stop: make(chan struct{})}
		for _, a := range agents {
			m.bootstraps = append(m.bootstraps, a.Bootstrap())
		}
		createTopic(t, m.bootstraps[0], mergeReadsTopic, 1)
		var all sync.WaitGroup
		all.Go(m.write)
		all.Go(func() { m.readAgain(kgo.ReadUncommitted()) })
		all.Go(func() { m.readAgain(kgo.ReadCommitted()) })
		eventually(t, "files are merged and deleted", func() bool {
			merged, deleted := 0.0, 0.0
			for _, a := range agents {
				metrics := a.Metrics()
				merged += metrics[`wadi_job_files_total{name="merge"}`]
				deleted += metrics[`wadi_job_files_total{name="delete"}`]
			}
			return t.Failed() || merged >= 4 && deleted >= 10
		})
		close(m.stop)
		all.Wait()
	})
}

const mergeReadsTopic = "merged"

type mergeReads struct {
	t          *testing.T
	bootstraps []string
	stop       chan struct{}
}

func (m *mergeReads) stopped() bool {
	select {
	case <-m.stop:
		return true
	default:
		return m.t.Failed()
	}
}

// write writes up to 500 transactions of three records, which number those that are committed, and aborts each third.
func (m *mergeReads) write() {
	ctx, cancel := context.WithTimeout(m.t.Context(), 5*time.Minute)
	defer cancel()
	producer, err := kgo.NewClient(kgo.WithContext(ctx), kgo.AlwaysRetryEOF(), kgo.SeedBrokers(m.bootstraps[0]), kgo.TransactionalID("writer"), kgo.DefaultProduceTopic(mergeReadsTopic))
	if err != nil {
		m.t.Error(err)
		return
	}
	defer producer.Close()
	committed := 0
	for i := 0; i < 500 && err == nil && !m.stopped(); i++ {
		end, number := kgo.TryAbort, func(int) string { return "aborted" }
		if i%3 != 1 {
			first := committed
			end, number = kgo.TryCommit, func(k int) string { return fmt.Sprint(first + k) }
			committed += 3
		}
		err = producer.BeginTransaction()
		for k := 0; k < 3 && err == nil; k++ {
			err = producer.ProduceSync(m.t.Context(), &kgo.Record{Key: []byte(number(k)), Value: make([]byte, 2000)}).FirstErr()
		}
		if err == nil {
			err = producer.EndTransaction(m.t.Context(), end)
		}
	}
	if err != nil {
		m.t.Errorf("write: %v", err)
	}
}

// readAgain reads the log as it is, from its beginning, through one agent after the other, once
// more after the end.
func (m *mergeReads) readAgain(level kgo.IsolationLevel) {
	for pass := 0; ; pass++ {
		last := m.stopped()
		if err := m.read(m.bootstraps[pass%len(m.bootstraps)], level); err != nil {
			m.t.Errorf("pass %d, committed %v: %v", pass, level == kgo.ReadCommitted(), err)
			return
		}
		if last {
			return
		}
	}
}

func (m *mergeReads) read(bootstrap string, level kgo.IsolationLevel) error {
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	consumer, err := kgo.NewClient(kgo.AlwaysRetryEOF(), kgo.SeedBrokers(bootstrap), kgo.FetchIsolationLevel(level), kgo.KeepControlRecords(), kgo.KeepRetryableFetchErrors(),
		kgo.FetchMaxPartitionBytes(50_000), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{mergeReadsTopic: {0: kgo.NewOffset().At(0)}}))
	if err != nil {
		return err
	}
	defer consumer.Close()
	ends, err := kadm.NewClient(consumer).ListCommittedOffsets(ctx, mergeReadsTopic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("ask for the end: %w", err)
	}
	end, _ := ends.Lookup(mergeReadsTopic, 0)
	committed := 0
	for next := int64(0); next < end.Offset; {
		fetches := consumer.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return err
		}
		for _, e := range fetches.Errors() {
			return fmt.Errorf("at %d of %d: %w", next, end.Offset, e.Err)
		}
		for _, r := range fetches.Records() {
			if r.Offset < next || level == kgo.ReadUncommitted() && r.Offset != next {
				return fmt.Errorf("offset %d where %d should be", r.Offset, next)
			}
			next = r.Offset + 1
			if r.Attrs.IsControl() || level == kgo.ReadUncommitted() && string(r.Key) == "aborted" {
				continue
			}
			if string(r.Key) != fmt.Sprint(committed) {
				return fmt.Errorf("record %q at offset %d, want %d", r.Key, r.Offset, committed)
			}
			committed++
		}
	}
	return nil
}
