package fetch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/semaphore"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/objstore/objstoretest"
	"github.com/wadi-log/wadi/protocol"
)

// longWait is a max_wait that no test waits out.
const longWait = 10 * 60 * 1000

func wantCode(t *testing.T, what string, got int16, want *kerr.Error) {
	t.Helper()
	code := int16(0)
	if want != nil {
		code = want.Code
	}
	if got != code {
		t.Errorf("%s: error %v, want %v", what, kerr.ErrorForCode(got), want)
	}
}

func TestFetchReturnsWhatWasProduced(t *testing.T) {
	c := newCluster(t, 2)
	a := c.agent(t)
	batch := makeBatch(t, protocol.CodecNone, recs(10, 100, 0)...)
	a.produce(t, map[int32][]protocol.Batch{0: {batch, batch}, 1: {batch}})
	for version := int16(4); version <= 18; version++ {
		req := fetchFrom(5, 10)
		req.Version, req.IsolationLevel = version, int8(version%2)
		if version >= 13 {
			req.Topics[0].Topic, req.Topics[0].TopicID = "", c.topic.ID
		}
		resp := a.answer(t.Context(), req)
		if resp.Topics[0].Topic != req.Topics[0].Topic || resp.Topics[0].TopicID != req.Topics[0].TopicID {
			t.Errorf("version %d: answer is for topic %q %v", version, resp.Topics[0].Topic, resp.Topics[0].TopicID)
		}
		got := resp.Topics[0].Partitions
		if first, next := offsetsOf(t, got[0].RecordBatches); first != 0 || next != 20 {
			t.Errorf("version %d: partition 0 has %d to %d, want 0 to 20", version, first, next)
		}
		if got[1].RecordBatches == nil || len(got[1].RecordBatches) != 0 {
			t.Errorf("version %d: records at the end of the partition are %v, want none, and not null", version, got[1].RecordBatches)
		}
		for i, hw := range []int64{20, 10} {
			p := got[i]
			wantCode(t, fmt.Sprintf("version %d, partition %d", version, i), p.ErrorCode, nil)
			if p.HighWatermark != hw || p.LastStableOffset != hw || p.LogStartOffset != 0 || p.PreferredReadReplica != -1 {
				t.Errorf("version %d: bounds %+v, want 0 to %d", version, p, hw)
			}
			if (p.AbortedTransactions != nil) != (req.IsolationLevel == int8(readCommitted)) {
				t.Errorf("version %d: aborted transactions %v at isolation level %d", version, p.AbortedTransactions, req.IsolationLevel)
			}
		}
		if again, err := roundTrip(resp); err != nil || len(again.Topics[0].Partitions) != 2 {
			t.Errorf("version %d: the answer can't be read: %v", version, err)
		}
	}
}

func roundTrip(resp *kmsg.FetchResponse) (*kmsg.FetchResponse, error) {
	again := &kmsg.FetchResponse{Version: resp.Version}
	return again, again.ReadFrom(resp.AppendTo(nil))
}

func TestFetchErrorsStayWithTheirPartition(t *testing.T) {
	c := newCluster(t, 6)
	a := c.agent(t)
	batch := makeBatch(t, protocol.CodecNone, recs(10, 100, 0)...)
	all := map[int32][]protocol.Batch{}
	for p := range int32(6) {
		all[p] = []protocol.Batch{batch}
	}
	a.produce(t, all)
	for _, version := range []int16{4, 12, 13, 18} {
		req := fetchFrom(0, 11, -1, 0, 0, 0)
		req.Version, req.MaxWaitMillis, req.MinBytes = version, longWait, 1<<20
		parts := req.Topics[0].Partitions
		parts[3].Partition = 6
		parts[4].CurrentLeaderEpoch = 1
		parts[5].CurrentLeaderEpoch = -2
		other := kmsg.NewFetchRequestTopic()
		other.Topic, other.TopicID = "nobody", uuid.New()
		other.Partitions = parts[:1]
		if version >= 13 {
			req.Topics[0].TopicID = c.topic.ID
		}
		req.Topics = append(req.Topics, other)
		resp := a.answer(t.Context(), req) // at once, for there are errors
		unknown := kerr.UnknownTopicOrPartition
		if version >= 13 {
			unknown = kerr.UnknownTopicID
		}
		got := append(resp.Topics[0].Partitions, resp.Topics[1].Partitions...)
		for i, want := range []*kerr.Error{nil, kerr.OffsetOutOfRange, kerr.OffsetOutOfRange, kerr.UnknownTopicOrPartition,
			kerr.UnknownLeaderEpoch, kerr.FencedLeaderEpoch, unknown} {
			wantCode(t, fmt.Sprintf("version %d, item %d", version, i), got[i].ErrorCode, want)
			if want != nil && (got[i].HighWatermark != -1 || got[i].LastStableOffset != -1 || len(got[i].RecordBatches) != 0 || got[i].RecordBatches == nil) {
				t.Errorf("version %d, item %d: an error with %+v", version, i, got[i])
			}
		}
		if first, next := offsetsOf(t, got[0].RecordBatches); first != 0 || next != 10 {
			t.Errorf("version %d: the good partition has %d to %d", version, first, next)
		}
	}
}

func TestFetchSessions(t *testing.T) {
	c := newCluster(t, 1)
	a := c.agent(t)
	for _, s := range []struct {
		id, epoch int32
		want      *kerr.Error
	}{
		{0, -1, nil}, {0, 0, nil}, {77, 0, nil}, {77, -1, nil},
		{77, 1, kerr.FetchSessionIDNotFound}, {0, 1, kerr.FetchSessionIDNotFound}, {0, -2, kerr.FetchSessionIDNotFound},
	} {
		req := fetchFrom(0)
		req.SessionID, req.SessionEpoch = s.id, s.epoch
		resp := a.answer(t.Context(), req)
		wantCode(t, fmt.Sprintf("session %d, epoch %d", s.id, s.epoch), resp.ErrorCode, s.want)
		if resp.SessionID != 0 || (len(resp.Topics) == 0) != (s.want != nil) {
			t.Errorf("session %d, epoch %d: answered session %d and %d topics", s.id, s.epoch, resp.SessionID, len(resp.Topics))
		}
	}
}

func TestFetchDuplicatesAndNothing(t *testing.T) {
	c := newCluster(t, 1)
	a := c.agent(t)
	a.produce(t, map[int32][]protocol.Batch{0: {makeBatch(t, protocol.CodecNone, recs(10, 100, 0)...)}})
	req := fetchFrom(0, 0)
	req.Topics[0].Partitions[1].Partition = 0
	for i, p := range a.fetch(t, req) {
		if first, next := offsetsOf(t, p.RecordBatches); p.ErrorCode != 0 || first != 0 || next != 10 {
			t.Errorf("item %d: error %d, %d to %d", i, p.ErrorCode, first, next)
		}
	}
	req.Topics, req.MinBytes, req.MaxWaitMillis = nil, 1, longWait
	if resp := a.answer(t.Context(), req); resp.ErrorCode != 0 || len(resp.Topics) != 0 {
		t.Errorf("a request for nothing got %+v", resp)
	}
}

func TestFetchOfAPartitionThatTheCatalogStillHas(t *testing.T) {
	c := newCluster(t, 1)
	gone := c.createTopic(t, "gone", 1)
	if err := c.store.DeleteTopic(t.Context(), gone.ID); err != nil {
		t.Fatal(err)
	}
	a := c.agent(t)
	a.Fetcher.topics = staleTopics{gone}
	for version, want := range map[int16]*kerr.Error{12: kerr.UnknownTopicOrPartition, 13: kerr.UnknownTopicID} {
		req := fetchFrom(0)
		req.Version = version
		wantCode(t, fmt.Sprintf("version %d", version), a.fetch(t, req)[0].ErrorCode, want)
	}
}

// staleTopics is a catalog that doesn't know yet that its topic was deleted.
type staleTopics struct{ topic metadata.Topic }

func (s staleTopics) TopicByName(context.Context, string) (metadata.Topic, error) {
	return s.topic, nil
}
func (s staleTopics) TopicByID(context.Context, uuid.UUID) (metadata.Topic, error) {
	return s.topic, nil
}

func TestIdleFetchesDoNotAskTheStore(t *testing.T) {
	c := newCluster(t, 3)
	a := c.agent(t)
	req := fetchFrom(0, 0, 0)
	a.fetch(t, req)
	before := c.store.count("FindRuns")
	for range 10 {
		a.fetch(t, req)
	}
	if n := c.store.count("FindRuns") - before; n != 0 {
		t.Errorf("%d queries, want none", n)
	}
}

func TestFetchAheadOfTheTailIsConfirmedByTheStore(t *testing.T) {
	c := newCluster(t, 1)
	a := c.lonelyAgent(t) // never hears of commits
	a.tail.Reset(0)
	a.fetch(t, fetchFrom(0)) // the tail now says that the partition ends at 0
	c.produce(t, map[int32][]protocol.Batch{0: {makeBatch(t, protocol.CodecNone, recs(10, 100, 0)...)}})
	if p := a.fetch(t, fetchFrom(10))[0]; p.ErrorCode != 0 || p.HighWatermark != 10 {
		t.Errorf("at the end: error %d, high watermark %d", p.ErrorCode, p.HighWatermark)
	}
	if _, next := offsetsOf(t, a.fetch(t, fetchFrom(5))[0].RecordBatches); next != 10 {
		t.Errorf("records up to %d, want 10", next)
	}
	wantCode(t, "behind the end", a.fetch(t, fetchFrom(11))[0].ErrorCode, kerr.OffsetOutOfRange)
}

func TestFetchWhileTheMetadataStoreIsAway(t *testing.T) {
	c := newCluster(t, 2)
	a := c.agent(t)
	batch := makeBatch(t, protocol.CodecNone, recs(10, 100, 0)...)
	a.produce(t, map[int32][]protocol.Batch{0: {batch}})
	a.fetch(t, fetchFrom(0)) // learns the log start of partition 0
	c.store.inject(func(string) error { return metadata.ErrUnavailable })
	got := a.fetch(t, fetchFrom(0, 0))
	if _, next := offsetsOf(t, got[0].RecordBatches); got[0].ErrorCode != 0 || next != 10 {
		t.Errorf("what the tail knows: error %d, records up to %d", got[0].ErrorCode, next)
	}
	wantCode(t, "what it does not know", got[1].ErrorCode, kerr.NotLeaderForPartition)
	c.store.inject(nil)
	wantCode(t, "when the store is back", a.fetch(t, fetchFrom(0, 0))[1].ErrorCode, nil)
}

func TestFetchWhileTheObjectStoreIsAway(t *testing.T) {
	c := newCluster(t, 1)
	a := c.agent(t)
	c.produce(t, map[int32][]protocol.Batch{0: {makeBatch(t, protocol.CodecNone, recs(10, 100, 0)...)}})
	c.bucket.Inject(func(objstoretest.Op, string) objstoretest.Fault { return objstoretest.Fault{Err: errors.New("503")} })
	for version, want := range map[int16]*kerr.Error{5: kerr.NotLeaderForPartition, 12: kerr.KafkaStorageError} {
		req := fetchFrom(0)
		req.Version = version
		wantCode(t, fmt.Sprintf("version %d", version), a.fetch(t, req)[0].ErrorCode, want)
	}
	c.bucket.Inject(nil)
	if _, next := offsetsOf(t, a.fetch(t, fetchFrom(0))[0].RecordBatches); next != 10 {
		t.Errorf("records up to %d, want 10", next)
	}
}

func TestFetchOfDamagedOrMissingData(t *testing.T) {
	c := newCluster(t, 2)
	a := c.agent(t)
	batch := makeBatch(t, protocol.CodecNone, recs(10, 100, 0)...)
	bad := append(protocol.Batch(nil), batch...)
	bad[len(bad)-1]++
	c.produce(t, map[int32][]protocol.Batch{0: {bad}, 1: {batch}})
	got := a.fetch(t, fetchFrom(0, 0))
	wantCode(t, "damaged", got[0].ErrorCode, kerr.CorruptMessage)
	if _, next := offsetsOf(t, got[1].RecordBatches); next != 10 {
		t.Errorf("the other partition has records up to %d, want 10", next)
	}

	_, file, _ := c.commit(t, datafile.Auto, map[int32][]protocol.Batch{1: {batch}})
	if err := c.bucket.Delete(t.Context(), datafile.Key(file.ID)); err != nil {
		t.Fatal(err)
	}
	req := fetchFrom(0, 10)
	req.Topics[0].Partitions = req.Topics[0].Partitions[1:]
	req.MaxWaitMillis = longWait // until the tail has heard of the commit
	wantCode(t, "missing", a.fetch(t, req)[0].ErrorCode, kerr.KafkaStorageError)
}

// A merge moved the runs to another file after the tail had learned of them.
func TestFetchFindsMovedRuns(t *testing.T) {
	c := newCluster(t, 1)
	a := c.agent(t)
	batch := makeBatch(t, protocol.CodecNone, recs(10, 100, 0)...)
	_, _, commits := c.commit(t, datafile.Auto, map[int32][]protocol.Batch{0: {batch}})
	moved := commits[0].Runs[0]
	moved.FileID = newFileID(t)
	stale := metadata.PartitionRuns{Bounds: metadata.Bounds{Exists: true, NextOffset: 10}, Runs: []metadata.Run{moved}}
	for a.tail.Seq() < commits[0].Seq {
		a.follower.Kick()
	}
	a.tail.forget(c.topic.Partitions[0])
	a.tail.learn(a.tail.snapshot(), c.topic.Partitions[0], &stale)
	if p := a.fetch(t, fetchFrom(0))[0]; p.ErrorCode != 0 || len(p.RecordBatches) != batch.Size() {
		t.Errorf("error %d, %d bytes; want %d", p.ErrorCode, len(p.RecordBatches), batch.Size())
	}
	if _, err := c.bucket.Get(t.Context(), datafile.Key(moved.FileID), 0, 1); !errors.Is(err, objstore.ErrNotFound) {
		t.Errorf("the file that the tail named is there: %v", err)
	}
}

func TestFetchKeepsToTheServersLimit(t *testing.T) {
	c := newCluster(t, 3)
	a := c.agent(t)
	a.Fetcher.config.MaxBytes = 5000
	batch := makeBatch(t, protocol.CodecNone, recs(10, 150, 0)...)
	for range 3 {
		a.produce(t, map[int32][]protocol.Batch{0: {batch}, 1: {batch}, 2: {batch}})
	}
	req := fetchFrom(0, 0, 0)
	req.MinBytes, req.MaxWaitMillis = 1<<30, longWait // more than the server gives: not waited for
	total := 0
	for _, p := range a.fetch(t, req) {
		total += len(p.RecordBatches)
	}
	if total == 0 || total > 5000 {
		t.Errorf("%d bytes, want some and at most 5000", total)
	}
}

func TestFetchesTakeTurnsForMemory(t *testing.T) {
	c := newCluster(t, 1)
	a := c.agent(t)
	a.produce(t, map[int32][]protocol.Batch{0: {makeBatch(t, protocol.CodecNone, recs(10, 100, 0)...)}})
	a.Fetcher.config.ResponseBytes, a.Fetcher.responses[Hot] = 10, semaphore.NewWeighted(10) // less than one answer
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, next := offsetsOf(t, a.fetch(t, fetchFrom(0))[0].RecordBatches); next != 10 {
				t.Errorf("records up to %d, want 10", next)
			}
		})
	}
	all.Wait()

	a.Fetcher.topics = staleTopics{c.topic} // cached
	if !a.responses[Hot].TryAcquire(10) {
		t.Fatal("memory is still taken")
	}
	ctx, cancel := context.WithCancel(t.Context())
	answer := make(chan *kmsg.FetchResponse)
	go func() { answer <- a.answer(ctx, fetchFrom(0)) }()
	cancel() // the client does not wait for its turn
	if p := (<-answer).Topics[0].Partitions[0]; len(p.RecordBatches) != 0 || p.ErrorCode != 0 {
		t.Errorf("without memory: error %d, %d bytes", p.ErrorCode, len(p.RecordBatches))
	}
}

func TestFetchWithNegativeNumbers(t *testing.T) {
	c := newCluster(t, 1)
	a := c.agent(t)
	batch := makeBatch(t, protocol.CodecNone, recs(10, 150, 0)...)
	a.produce(t, map[int32][]protocol.Batch{0: {batch, batch}})
	req := fetchFrom(0)
	req.MaxBytes, req.MinBytes, req.MaxWaitMillis, req.Topics[0].Partitions[0].PartitionMaxBytes = -1, -1, -1, -1
	if p := a.fetch(t, req)[0]; len(p.RecordBatches) != batch.Size() {
		t.Errorf("%d bytes, want one batch of %d", len(p.RecordBatches), batch.Size())
	}
}

// A consumer that catches up pays for each file once, however small its steps,
// and asks the store once per step.
func TestCatchingUpReadsEachFileOnce(t *testing.T) {
	c := newCluster(t, 3)
	batch := makeBatch(t, protocol.CodecNone, recs(10, 500, 0)...)
	const files = 20
	for range files {
		c.produce(t, map[int32][]protocol.Batch{0: {batch, batch}, 1: {batch, batch}, 2: {batch, batch}})
	}
	a := c.agent(t) // it knows nothing yet
	r := rand.New(rand.NewPCG(1, 1))
	readToTheEnd(t, a, r, [3]int64{20 * files, 20 * files, 20 * files})
	if n := c.bucket.Calls(objstoretest.Get); n != files {
		t.Errorf("%d reads of %d files", n, files)
	}
}

// Consumers that start at every offset and read in steps of all sizes, from
// two agents, while both of them write: each sees every offset once, in order.
func TestConcurrentFetchesSeeEveryOffset(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	const partitions, files, readers = 3, 40, 6
	c := newCluster(t, partitions)
	agents := []*agent{c.agent(t), c.agent(t)}
	// A tail as short as this is passed by readers from both sides.
	agents[1].tail.limit = 4
	var want [partitions]int64
	plans := make([][]map[int32][]protocol.Batch, len(agents))
	r := rand.New(rand.NewPCG(seed, 0))
	for w := range agents {
		for range files {
			batches := map[int32][]protocol.Batch{}
			for p := range int32(partitions) {
				for range r.IntN(3) {
					n := 1 + r.IntN(4)
					batches[p] = append(batches[p], makeBatch(t, protocol.CodecNone, recs(n, r.IntN(500), 0)...))
					want[p] += int64(n)
				}
			}
			if len(batches) > 0 {
				plans[w] = append(plans[w], batches)
			}
		}
	}
	var all sync.WaitGroup
	for w, a := range agents {
		all.Go(func() {
			for _, batches := range plans[w] {
				a.produce(t, batches)
			}
		})
	}
	for i := range readers {
		r := rand.New(rand.NewPCG(seed, uint64(i+1)))
		all.Go(func() { readToTheEnd(t, agents[i%2], r, want) })
	}
	all.Wait()
}

// readToTheEnd reads all partitions of the topic up to the offsets.
func readToTheEnd(t *testing.T, a *agent, r *rand.Rand, want [3]int64) {
	var at [3]int64
	for at != want {
		req := fetchFrom(at[:]...)
		req.MaxWaitMillis, req.MaxBytes = 50, int32(r.IntN(20_000))
		for i := range req.Topics[0].Partitions {
			req.Topics[0].Partitions[i].PartitionMaxBytes = int32(r.IntN(5000))
		}
		resp := a.answer(t.Context(), req)
		for i, p := range resp.Topics[0].Partitions {
			if p.ErrorCode != 0 {
				t.Errorf("partition %d at %d: %v", i, at[i], kerr.ErrorForCode(p.ErrorCode))
				return
			}
			if len(p.RecordBatches) == 0 {
				continue
			}
			first, next := offsetsOf(t, p.RecordBatches)
			if first != at[i] || next > p.HighWatermark {
				t.Errorf("partition %d: asked for %d, got %d to %d, high watermark %d", i, at[i], first, next, p.HighWatermark)
				return
			}
			at[i] = next
		}
	}
}

// TestEmptyFetchNeedsNoMemory: however many answers wait for slow clients, a
// consumer at the end of its partition is answered when its time is over.
func TestEmptyFetchNeedsNoMemory(t *testing.T) {
	c := newCluster(t, 1)
	a := c.agent(t)
	a.produce(t, map[int32][]protocol.Batch{0: {makeBatch(t, protocol.CodecNone, recs(10, 100, 0)...)}})
	for _, responses := range a.responses {
		if !responses.TryAcquire(a.config.ResponseBytes) {
			t.Fatal("memory is taken before anything is read")
		}
		defer responses.Release(a.config.ResponseBytes)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	waiting := make(chan *kmsg.FetchResponse, 1)
	go func() { waiting <- a.answer(ctx, fetchFrom(0)) }() // first in the queue for memory
	if p := a.fetch(t, fetchFrom(10))[0]; p.ErrorCode != 0 || len(p.RecordBatches) != 0 {
		t.Errorf("error %d, %d bytes", p.ErrorCode, len(p.RecordBatches))
	}
	cancel()
	<-waiting
}
