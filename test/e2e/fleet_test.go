package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/test/harness"
)

// TestLongPollWakesOnCommitOfAnotherAgent parks a fetch with a long wait at one
// agent and produces through another one.
func TestLongPollWakesOnCommitOfAnotherAgent(t *testing.T) {
	options := setups[1].options(t)
	reader, writer := harness.Agent(t, options), harness.Agent(t, options)
	createTopic(t, writer.Bootstrap(), "tail", 1)

	// Ask the reader itself, whatever Metadata says of leaders.
	fetch := kmsg.NewPtrFetchRequest()
	fetch.MaxWaitMillis, fetch.MinBytes, fetch.MaxBytes = 60_000, 1, 1<<20
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic = "tail"
	part := kmsg.NewFetchRequestTopicPartition()
	part.FetchOffset, part.PartitionMaxBytes = 0, 1<<20
	topic.Partitions = append(topic.Partitions, part)
	fetch.Topics = append(fetch.Topics, topic)

	c := client(t, kgo.SeedBrokers(reader.Bootstrap()))
	type result struct {
		resp kmsg.Response
		err  error
	}
	answered := make(chan result, 1)
	go func() {
		resp, err := c.SeedBrokers()[0].RetriableRequest(t.Context(), oldFetch{fetch})
		answered <- result{resp, err}
	}()
	eventually(t, "the fetch waits", func() bool { return reader.Metrics()["wadi_fetch_waiting"] == 1 })

	start := time.Now()
	produceOne(t, writer.Bootstrap(), "tail")
	got := <-answered
	if got.err != nil {
		t.Fatal(got.err)
	}
	p := got.resp.(*kmsg.FetchResponse).Topics[0].Partitions[0]
	if p.ErrorCode != 0 || len(p.RecordBatches) == 0 {
		t.Fatalf("the fetch was answered after %v with error %d and %d bytes", time.Since(start), p.ErrorCode, len(p.RecordBatches))
	}
	t.Logf("answered %v after the record was sent to another agent", time.Since(start))
}

// oldFetch keeps a fetch at a version that names topics.
type oldFetch struct{ *kmsg.FetchRequest }

func (oldFetch) MaxVersion() int16 { return 12 }

// TestAgentsOfOneClusterServeEachOthersTopics writes through each agent and
// reads everything through each agent.
func TestAgentsOfOneClusterServeEachOthersTopics(t *testing.T) {
	options := setups[1].options(t)
	agents := []*harness.AgentProcess{harness.Agent(t, options), harness.Agent(t, options), harness.Agent(t, options)}
	for i, a := range agents {
		topic := fmt.Sprint("topic-", i)
		createTopic(t, a.Bootstrap(), topic, 3)
		for _, writer := range agents {
			c := client(t, kgo.SeedBrokers(writer.Bootstrap()), kgo.DefaultProduceTopic(topic))
			for n := range 100 {
				if err := c.ProduceSync(t.Context(), kgo.StringRecord(fmt.Sprint(n))).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for i := range agents {
		for _, reader := range agents {
			if got := readAll(t, reader.Bootstrap(), fmt.Sprint("topic-", i)); len(got) != 300 {
				t.Errorf("read %d records of topic %d, want 300", len(got), i)
			}
		}
	}
}
