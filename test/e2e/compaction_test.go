package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/test/harness"
)

// TestCompactedTopicsKeepTheLatestRecords writes through one agent, with all codecs and in transactions that are
// committed or aborted, while the agents compact, and reads through all of them. The topic becomes compacted in
// the middle of it.
func TestCompactedTopicsKeepTheLatestRecords(t *testing.T) {
	eachSetup(t, func(t *testing.T, options harness.AgentOptions) {
		const topic, partitions, keys = "compacted", 3, 40
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		rng := rand.New(rand.NewPCG(seed, 0))
		options.Flags = append(options.Flags, "--kafka-config=log.cleaner.backoff.ms=200")
		writer := harness.Agent(t, options)
		agents := []*harness.AgentProcess{writer}
		if options.Metadata != "" { // the embedded set-up is one agent
			agents = append(agents, harness.Agent(t, options))
		}
		admin := kadm.NewClient(client(t, kgo.SeedBrokers(writer.Bootstrap())))
		configure := func(name, value string) {
			t.Helper()
			changed, err := admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: name, Value: &value}}, topic)
			if err == nil {
				err = changed[0].Err
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		createTopic(t, writer.Bootstrap(), topic, partitions)
		configure("delete.retention.ms", "86400000")
		configure("min.cleanable.dirty.ratio", "0.01")

		// latest is what counts of each key: the last committed record, perhaps a tombstone.
		latest := map[string]compactedRecord{}
		codecs := []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}
		var plain []*kgo.Client
		for _, codec := range codecs {
			plain = append(plain, client(t, kgo.SeedBrokers(writer.Bootstrap()), kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(codec)))
		}
		transactional := client(t, kgo.SeedBrokers(writer.Bootstrap()), kgo.DefaultProduceTopic(topic), kgo.TransactionalID("compacted"))
		produced := 0
		round := func() {
			t.Helper()
			var records []*kgo.Record
			for range 30 {
				r := &kgo.Record{Key: fmt.Appendf(nil, "key %d", rng.IntN(keys)), Value: fmt.Appendf(nil, "value %d", produced)}
				if rng.IntN(6) == 0 {
					r.Value = nil
				}
				produced++
				records = append(records, r)
			}
			counts := true
			c := plain[rng.IntN(len(plain))]
			if rng.IntN(2) == 0 {
				c = transactional
				if err := c.BeginTransaction(); err != nil {
					t.Fatal(err)
				}
				defer func() {
					if err := c.EndTransaction(t.Context(), kgo.TransactionEndTry(counts)); err != nil {
						t.Fatal(err)
					}
				}()
				counts = rng.IntN(3) > 0
			}
			if err := c.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
				t.Fatal(err)
			}
			for _, r := range records {
				if before, ok := latest[string(r.Key)]; counts && (!ok || before.offset < r.Offset) {
					latest[string(r.Key)] = compactedRecord{r.Partition, r.Offset, string(r.Value), r.Value == nil}
				}
			}
		}
		keyless := &kgo.Record{Value: []byte("no key")}
		if err := plain[0].ProduceSync(t.Context(), keyless).FirstErr(); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			round()
		}
		configure("cleanup.policy", "compact")
		for range 10 {
			round()
		}

		// Whatever is compacted by now, nothing of what counts is missing.
		for _, agent := range agents {
			got := readCompacted(t, agent.Bootstrap(), topic)
			for key, want := range latest {
				if records := got[key]; len(records) == 0 || records[len(records)-1] != want {
					t.Errorf("%q meanwhile: got %v, want %v in the end", key, records, want)
				}
			}
		}
		harness.Eventually(t, time.Minute, func() error {
			removed := 0.0
			for _, agent := range agents {
				removed += agent.Metrics()[`wadi_job_records_total{name="compact"}`]
			}
			if want := produced + 1 - len(latest); int(removed) != want {
				return fmt.Errorf("%v records are gone, of %d that must go", removed, want)
			}
			return nil
		})
		for _, agent := range agents {
			metrics := agent.Metrics()
			if n := metrics[`wadi_job_damaged_total{name="compact"}`]; n > 0 {
				t.Errorf("%v runs are damaged", n)
			}
			// A round may fail on a machine that stands still, and the next one does its work.
			if failed, runs := metrics[`wadi_job_errors_total{name="compact"}`], metrics[`wadi_job_runs_total{name="compact"}`]; failed > max(1, runs/10) {
				t.Errorf("%v of %v rounds failed", failed, runs)
			}
		}
		// In the end nothing else is left, soon also for the agents that have just written and read what is gone.
		for _, agent := range agents {
			harness.Eventually(t, time.Minute, func() error {
				got := readCompacted(t, agent.Bootstrap(), topic)
				for key, want := range latest {
					if records := got[key]; len(records) != 1 || records[0] != want {
						return fmt.Errorf("%q: got %v, want only %v", key, records, want)
					}
				}
				if len(got) != len(latest) {
					return fmt.Errorf("%d keys, want %d", len(got), len(latest))
				}
				return nil
			})
		}
	})
}

// compactedRecord is what is left of a key.
type compactedRecord struct {
	partition int32
	offset    int64
	value     string
	tombstone bool
}

// readCompacted reads all that is committed, by key. What ends a partition may be the end of a transaction, or offsets
// of which nothing is left: so it reads on from there by hand.
func readCompacted(t *testing.T, bootstrap, topic string) map[string][]compactedRecord {
	t.Helper()
	c := client(t, kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	defer c.Close()
	ends, err := kadm.NewClient(c).ListCommittedOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	byKey := map[string][]compactedRecord{}
	at := map[int32]int64{}
	for {
		left := false
		ends.Each(func(o kadm.ListedOffset) { left = left || at[o.Partition] < o.Offset })
		if !left {
			return byKey
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		fetches := c.PollFetches(ctx)
		cancel()
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			at[r.Partition] = r.Offset + 1
			if !r.Attrs.IsControl() {
				byKey[string(r.Key)] = append(byKey[string(r.Key)], compactedRecord{r.Partition, r.Offset, string(r.Value), r.Value == nil})
			}
		})
	}
}
