package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/test/harness"
)

// TestTransactionsThroughTwoAgents commits and aborts with franz-go, and reads in both
// isolation levels through the other agent. One transaction stays open until the end.
func TestTransactionsThroughTwoAgents(t *testing.T) {
	eachSetup(t, func(t *testing.T, options harness.AgentOptions) {
		const topic, partitions = "transactions", 3
		writer := harness.Agent(t, options)
		reader := writer // the embedded set-up is one agent
		if options.Metadata != "" {
			reader = harness.Agent(t, options)
		}
		createTopic(t, writer.Bootstrap(), topic, partitions)
		producer := func(id string) *kgo.Client {
			return client(t, kgo.SeedBrokers(writer.Bootstrap()), kgo.TransactionalID(id), kgo.DefaultProduceTopic(topic),
				kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionTimeout(time.Minute))
		}
		begin := func(c *kgo.Client, name string) {
			t.Helper()
			if err := c.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			for p := range int32(partitions) {
				if err := c.ProduceSync(t.Context(), &kgo.Record{Partition: p, Value: fmt.Appendf(nil, "%s %d", name, p)}).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
		}
		end := func(c *kgo.Client, commit kgo.TransactionEndTry) {
			t.Helper()
			if err := c.EndTransaction(t.Context(), commit); err != nil {
				t.Fatal(err)
			}
		}
		one, two := producer("one"), producer("two")
		var committed, all []string
		for i := range 10 {
			name := fmt.Sprint("transaction ", i)
			begin(one, name)
			commit := kgo.TryAbort
			if i%3 != 1 {
				commit = kgo.TryCommit
				committed = append(committed, name+" 0", name+" 1", name+" 2")
			}
			all = append(all, name+" 0", name+" 1", name+" 2")
			end(one, commit)
		}
		begin(two, "open")
		all = append(all, "open 0", "open 1", "open 2")
		expect := func(level kgo.IsolationLevel, want []string) {
			t.Helper()
			got := readValues(t, reader.Bootstrap(), topic, level, len(want))
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("read %q, want %q", got, want)
			}
		}
		expect(kgo.ReadCommitted(), slices.Clone(committed))
		expect(kgo.ReadUncommitted(), slices.Clone(all))

		// What another producer of the same ID finds open is aborted, and the first one fenced.
		begin(producer("two"), "successor")
		if err := two.EndTransaction(t.Context(), kgo.TryCommit); !errors.Is(err, kerr.InvalidProducerEpoch) && !errors.Is(err, kerr.ProducerFenced) {
			t.Errorf("the fenced producer commits: %v", err)
		}
		expect(kgo.ReadCommitted(), slices.Clone(committed))

		described, err := kadm.NewClient(client(t, kgo.SeedBrokers(reader.Bootstrap()))).DescribeTransactions(t.Context(), "one", "two")
		if err != nil {
			t.Fatal(err)
		}
		if s := described["two"]; s.State != "Ongoing" || len(s.Topics[topic]) != partitions {
			t.Errorf("two is described as %+v", s)
		}
		if s := described["one"]; s.State != "CompleteCommit" || len(s.Topics) != 0 {
			t.Errorf("one is described as %+v", s)
		}
	})
}

// readValues reads as many values from the topic's start, and makes sure that no more
// come for a moment.
func readValues(t *testing.T, bootstrap, topic string, level kgo.IsolationLevel, n int) (values []string) {
	t.Helper()
	c := client(t, kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(level))
	poll := func(d time.Duration) bool {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
		return ctx.Err() == nil
	}
	for len(values) < n && poll(time.Minute) {
	}
	poll(500 * time.Millisecond)
	return values
}
