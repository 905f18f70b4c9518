package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/test/harness"
)

// TestDeletedRecordsAreGoneOnEveryAgent deletes records through one agent, and
// asks for them through it and through another one, which had just served them.
func TestDeletedRecordsAreGoneOnEveryAgent(t *testing.T) {
	const topic, records, perBatch, logStart = "deleted", 100, 10, 45
	options := setups[1].options(t)
	deleter, other := harness.Agent(t, options), harness.Agent(t, options)
	createTopic(t, deleter.Bootstrap(), topic, 1)
	start := time.UnixMilli(time.Now().Add(-time.Hour).UnixMilli()) // in milliseconds, as Kafka keeps it
	writer := client(t, kgo.SeedBrokers(deleter.Bootstrap()), kgo.DefaultProduceTopic(topic))
	for batch := range records / perBatch {
		var some []*kgo.Record
		for i := range perBatch {
			n := batch*perBatch + i
			some = append(some, &kgo.Record{Value: []byte(fmt.Sprint(n)), Timestamp: start.Add(time.Duration(n) * time.Second)})
		}
		if err := writer.ProduceSync(t.Context(), some...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	agents := []asked{askAgent(t, "the deleter", deleter, topic), askAgent(t, "the other agent", other, topic)}
	for _, a := range agents {
		eventually(t, a.name+" has all records", func() bool { return a.fetch(records).ErrorCode == 0 })
		if p := a.fetch(0); p.ErrorCode != 0 || len(p.RecordBatches) == 0 || a.list(-2) != 0 {
			t.Fatalf("%s: error %d, %d bytes", a.name, p.ErrorCode, len(p.RecordBatches))
		}
	}

	if p := agents[0].deleteBefore(logStart); p.ErrorCode != 0 || p.LowWatermark != logStart {
		t.Fatalf("delete: error %d, low watermark %d", p.ErrorCode, p.LowWatermark)
	}
	// It never serves them again.
	if p := agents[0].fetch(logStart - 1); p.ErrorCode != kerr.OffsetOutOfRange.Code {
		t.Errorf("fetch before the log start: error %d, %d bytes", p.ErrorCode, len(p.RecordBatches))
	}
	for _, a := range agents {
		eventually(t, a.name+" knows the log start", func() bool { return a.fetch(logStart-1).ErrorCode == kerr.OffsetOutOfRange.Code })
		if p := a.fetch(logStart); p.ErrorCode != 0 || p.LogStartOffset != logStart || len(p.RecordBatches) == 0 {
			t.Errorf("%s: fetch at the log start: error %d, log start %d, %d bytes", a.name, p.ErrorCode, p.LogStartOffset, len(p.RecordBatches))
		}
		for timestamp, want := range map[int64]int64{-2: logStart, -1: records, start.UnixMilli(): logStart, start.Add(60 * time.Second).UnixMilli(): 60} {
			if got := a.list(timestamp); got != want {
				t.Errorf("%s: offset for timestamp %d is %d, want %d", a.name, timestamp, got, want)
			}
		}
	}

	// A consumer that stood before the log start goes on there.
	reader := client(t, kgo.SeedBrokers(other.Bootstrap()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(10)}}))
	for next := int64(logStart); next < records; {
		fetches := reader.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset != next || string(r.Value) != fmt.Sprint(next) {
				t.Fatalf("got offset %d with %q, want %d", r.Offset, r.Value, next)
			}
			next++
		})
	}
}

// asked is one agent that is asked for a topic's first partition itself, whatever
// Metadata says of leaders.
type asked struct {
	t      *testing.T
	name   string
	broker *kgo.Broker
	topic  string
}

func askAgent(t *testing.T, name string, agent *harness.AgentProcess, topic string) asked {
	t.Helper()
	return asked{t, name, client(t, kgo.SeedBrokers(agent.Bootstrap())).SeedBrokers()[0], topic}
}

func (a asked) request(req kmsg.Request) kmsg.Response {
	a.t.Helper()
	resp, err := a.broker.RetriableRequest(a.t.Context(), req)
	if err != nil {
		a.t.Fatalf("%s: %v", a.name, err)
	}
	return resp
}

func (a asked) fetch(offset int64) kmsg.FetchResponseTopicPartition {
	a.t.Helper()
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes = 1 << 20
	topic, partition := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	topic.Topic, partition.FetchOffset, partition.PartitionMaxBytes = a.topic, offset, 1<<20
	topic.Partitions = append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	return a.request(oldFetch{req}).(*kmsg.FetchResponse).Topics[0].Partitions[0]
}

func (a asked) list(timestamp int64) int64 {
	a.t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	topic, partition := kmsg.NewListOffsetsRequestTopic(), kmsg.NewListOffsetsRequestTopicPartition()
	topic.Topic, partition.Timestamp = a.topic, timestamp
	topic.Partitions = append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	p := a.request(req).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
	if p.ErrorCode != 0 {
		a.t.Fatalf("%s: list offsets: error %d", a.name, p.ErrorCode)
	}
	return p.Offset
}

func (a asked) deleteBefore(offset int64) kmsg.DeleteRecordsResponseTopicPartition {
	a.t.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	topic, partition := kmsg.NewDeleteRecordsRequestTopic(), kmsg.NewDeleteRecordsRequestTopicPartition()
	topic.Topic, partition.Offset = a.topic, offset
	topic.Partitions = append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	return a.request(req).(*kmsg.DeleteRecordsResponse).Topics[0].Partitions[0]
}
