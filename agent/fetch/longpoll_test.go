package fetch

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/objstore/objstoretest"
	"github.com/wadi-log/wadi/protocol"
)

// background starts a fetch and returns where its answer comes.
func (a *agent) background(t testing.TB, ctx context.Context, req *kmsg.FetchRequest) <-chan *kmsg.FetchResponse {
	answer := make(chan *kmsg.FetchResponse, 1)
	before := a.tail.Waiting()
	go func() { answer <- a.answer(ctx, req) }()
	for a.tail.Waiting() == before {
		select {
		case resp := <-answer:
			t.Fatalf("answered instead of waiting: %+v", resp.Topics)
		default:
		}
	}
	return answer
}

func TestLongPollWakesForCommitsOfItsOwnAgent(t *testing.T) {
	c := newCluster(t, 2)
	a := c.lonelyAgent(t) // its follower could bring the commit before the cache has its bytes
	a.tail.Reset(c.lastSeq(t))
	batch := makeBatch(t, protocol.CodecNone, recs(10, 100, 0)...)
	req := fetchFrom(0, 0)
	req.MaxWaitMillis, req.MinBytes = longWait, int32(2*batch.Size())
	answer := a.background(t, t.Context(), req)
	a.produce(t, map[int32][]protocol.Batch{1: {batch}})
	if a.tail.Waiting() == 0 {
		t.Error("woke for too little")
	}
	a.produce(t, map[int32][]protocol.Batch{0: {batch}})
	for i, p := range (<-answer).Topics[0].Partitions {
		if first, next := offsetsOf(t, p.RecordBatches); first != 0 || next != 10 {
			t.Errorf("partition %d: %d to %d, want 0 to 10", i, first, next)
		}
	}
	if n := c.bucket.Calls(objstoretest.Get); n != 0 {
		t.Errorf("%d reads of what this agent wrote, want none", n)
	}
}

func TestLongPollWakesForCommitsOfAnotherAgent(t *testing.T) {
	c := newCluster(t, 1)
	reader, writer := c.agent(t), c.agent(t)
	req := fetchFrom(0)
	req.MaxWaitMillis = longWait
	answer := reader.background(t, t.Context(), req)
	writer.produce(t, map[int32][]protocol.Batch{0: {makeBatch(t, protocol.CodecNone, recs(10, 100, 0)...)}})
	p := (<-answer).Topics[0].Partitions[0]
	if first, next := offsetsOf(t, p.RecordBatches); first != 0 || next != 10 || p.HighWatermark != 10 {
		t.Errorf("%d to %d, high watermark %d; want 0 to 10", first, next, p.HighWatermark)
	}
}

func TestLongPollEndsAtMaxWaitWithWhatThereIs(t *testing.T) {
	c := newCluster(t, 1)
	a := c.agent(t)
	req := fetchFrom(0)
	req.MaxWaitMillis, req.MinBytes = 20, 1<<20
	if p := a.fetch(t, req)[0]; p.ErrorCode != 0 || len(p.RecordBatches) != 0 || p.HighWatermark != 0 {
		t.Errorf("empty partition: %+v", p)
	}
	a.produce(t, map[int32][]protocol.Batch{0: {makeBatch(t, protocol.CodecNone, recs(10, 100, 0)...)}})
	if _, next := offsetsOf(t, a.fetch(t, req)[0].RecordBatches); next != 10 {
		t.Errorf("records up to %d, want 10", next)
	}
}

func TestLongPollEndsWithItsClientOrADrain(t *testing.T) {
	c := newCluster(t, 1)
	a := c.agent(t)
	req := fetchFrom(0)
	req.MaxWaitMillis = longWait
	ctx, cancel := context.WithCancel(t.Context())
	answer := a.background(t, ctx, req)
	cancel()
	if resp := <-answer; len(resp.Topics[0].Partitions) != 1 || resp.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Errorf("after the cancellation: %+v", resp)
	}
	answer = a.background(t, t.Context(), req)
	a.Drain()
	if resp := <-answer; resp.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Errorf("at the drain: %+v", resp)
	}
	a.fetch(t, req) // does not wait any more
	if n := a.tail.Waiting(); n != 0 {
		t.Errorf("%d wait, want none", n)
	}
}

func TestLongPollHearsThatItsTopicIsGone(t *testing.T) {
	c := newCluster(t, 1)
	a := c.agent(t)
	req := fetchFrom(0)
	req.MaxWaitMillis = longWait
	answer := a.background(t, t.Context(), req)
	if err := c.store.DeleteTopic(t.Context(), c.topic.ID); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "fetch", (<-answer).Topics[0].Partitions[0].ErrorCode, kerr.UnknownTopicOrPartition)
}
