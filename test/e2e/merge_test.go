package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/test/harness"
)

// TestSmallFilesAreMerged makes many small files, plain and of transactions, while a consumer follows them and, where
// two agents share the work, one of these is killed; and reads everything again from what is left.
func TestSmallFilesAreMerged(t *testing.T) {
	eachSetup(t, func(t *testing.T, options harness.AgentOptions) {
		const topic, paid, partitions, rounds = "merged", "paid", 8, 60
		options.Flags = append(options.Flags, "--merge-after=1s", "--delete-grace=2s", "--snapshot-interval=0")
		agent := harness.Agent(t, options)
		bucket := bucketOf(t, agent, options)
		createTopic(t, agent.Bootstrap(), topic, partitions)
		createTopic(t, agent.Bootstrap(), paid, 1)
		var victim *harness.AgentProcess
		if options.Metadata != "" {
			victim = harness.Agent(t, options)
		}
		follower := client(t, kgo.SeedBrokers(agent.Bootstrap()), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		writer := client(t, kgo.SeedBrokers(agent.Bootstrap()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		payer := client(t, kgo.SeedBrokers(agent.Bootstrap()), kgo.TransactionalID("payer"), kgo.DefaultProduceTopic(paid))
		followed := map[int32]int64{}
		follow := func(until int64) {
			for p := int32(0); p < partitions; {
				if followed[p] >= until {
					p++
					continue
				}
				fetches := follower.PollFetches(t.Context())
				if err := fetches.Err(); err != nil {
					t.Fatal(err)
				}
				fetches.EachRecord(func(r *kgo.Record) {
					if r.Offset != followed[r.Partition] || string(r.Value) != fmt.Sprint(r.Offset) {
						t.Fatalf("partition %d: got %d with %q, want %d", r.Partition, r.Offset, r.Value, followed[r.Partition])
					}
					followed[r.Partition]++
				})
			}
		}
		var committed []string
		merged := 0.0 // when it was asked for last
		for round := range rounds {
			var records []*kgo.Record
			for p := range int32(partitions) {
				records = append(records, &kgo.Record{Topic: topic, Partition: p, Value: []byte(fmt.Sprint(round))})
			}
			if err := writer.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
				t.Fatal(err)
			}
			if err := payer.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			if err := payer.ProduceSync(t.Context(), kgo.StringRecord(fmt.Sprint(round))).FirstErr(); err != nil {
				t.Fatal(err)
			}
			commit := kgo.TryCommit
			if round%3 == 0 {
				commit = kgo.TryAbort
			} else {
				committed = append(committed, fmt.Sprint(round))
			}
			if err := payer.EndTransaction(t.Context(), commit); err != nil {
				t.Fatal(err)
			}
			if round%20 == 19 {
				follow(int64(round + 1))
				if victim == nil {
					before := merged
					eventually(t, "a merge", func() bool {
						merged = agent.Metrics()[`wadi_job_files_total{name="merge"}`]
						return merged > before
					})
				}
			}
			if round == rounds/2 && victim != nil {
				victim.Kill()
			}
		}
		// What the killed agent had claimed is free within a minute.
		harness.Eventually(t, 3*time.Minute, func() error {
			if n := agent.Metrics()[`wadi_merge_waiting_files{level="0"}`]; n > 1 {
				return fmt.Errorf("%v small files are left", n)
			}
			if n := len(dataFiles(t, bucket)); n > rounds/2 {
				return fmt.Errorf("%d data files are left of %d", n, 2*rounds)
			}
			return nil
		})

		follower = client(t, kgo.SeedBrokers(agent.Bootstrap()), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		followed = map[int32]int64{}
		follow(rounds)
		reader := client(t, kgo.SeedBrokers(agent.Bootstrap()), kgo.ConsumeTopics(paid), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		var got []string
		for len(got) < len(committed) {
			fetches := reader.PollFetches(t.Context())
			if err := fetches.Err(); err != nil {
				t.Fatal(err)
			}
			fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
		}
		if !slices.Equal(got, committed) {
			t.Errorf("committed transactions are %v, want %v", got, committed)
		}
		if n := agent.Metrics()[`wadi_job_damaged_total{name="merge"}`]; n > 0 {
			t.Errorf("%v runs are counted as damaged", n)
		}
	})
}
