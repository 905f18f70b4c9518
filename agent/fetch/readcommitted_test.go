package fetch

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore/objstoretest"
	"github.com/wadi-log/wadi/protocol"
)

// committed makes a request one for committed records.
func committed(req *kmsg.FetchRequest) *kmsg.FetchRequest {
	req.IsolationLevel = int8(readCommitted)
	return req
}

// firsts are the producers and first offsets of aborted transactions.
func firsts(p *kmsg.FetchResponseTopicPartition) (list [][2]int64) {
	for _, a := range p.AbortedTransactions {
		list = append(list, [2]int64{a.ProducerID, a.FirstOffset})
	}
	return list
}

// knowing are an agent whose tail has everything, and one that asks the store.
func knowing(t *testing.T, c *cluster) map[string]*agent {
	tail, store := c.lonelyAgent(t), c.lonelyAgent(t)
	tail.tail.Reset(0)
	for _, p := range c.topic.Partitions {
		tail.tail.learn(tail.tail.snapshot(), p, learned(0, 0))
	}
	commits, err := c.store.Commits(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	tail.tail.Apply(commits)
	return map[string]*agent{"tail": tail, "store": store}
}

// TestFetchCommitted: transactions of two producers, the second of which is
// aborted first, then one that is open, in a run that holds plain records before it.
func TestFetchCommitted(t *testing.T) {
	c := newCluster(t, 1)
	one, two, three := c.producer(t), c.producer(t), c.producer(t)
	batch := makeBatch(t, protocol.CodecNone, recs(10, 100, 0)...)
	c.produce(t, map[int32][]protocol.Batch{0: {batch, one.batch(0, batch), two.batch(0, batch)}}) // 0, 10, 20
	c.end(t, two, false)                                                                           // 30
	c.produce(t, map[int32][]protocol.Batch{0: {one.batch(0, batch), two.batch(0, batch)}})        // 31, 41
	c.end(t, one, false)                                                                           // 51
	c.end(t, two, true)                                                                            // 52
	c.produce(t, map[int32][]protocol.Batch{0: {batch, three.batch(0, batch), batch}})             // 53, 63, 73
	const stable, end = 63, 83
	size := int32(batch.Size())
	for name, a := range knowing(t, c) {
		for _, q := range []struct {
			offset  int64
			max     int32
			next    int64
			aborted [][2]int64
		}{
			{0, 1 << 20, stable, [][2]int64{{one.ID, 10}, {two.ID, 20}}},
			{0, size, 10, nil},
			{0, 2 * size, 20, [][2]int64{{one.ID, 10}}},
			{5, 3 * size, 30, [][2]int64{{one.ID, 10}, {two.ID, 20}}},
			{30, 78, 31, [][2]int64{{one.ID, 10}, {two.ID, 20}}},
			{31, size, 41, [][2]int64{{one.ID, 10}}},
			{51, 78, 52, [][2]int64{{one.ID, 10}}},
			{52, 1 << 20, stable, nil},
			{62, 1 << 20, stable, nil},
			{63, 1 << 20, -1, nil},
			{70, 1 << 20, -1, nil},
			{end, 1 << 20, -1, nil},
		} {
			for version := int16(4); version <= 12; version += 8 {
				req := committed(fetchFrom(q.offset))
				req.Version, req.Topics[0].Partitions[0].PartitionMaxBytes = version, q.max
				p := a.fetch(t, req)[0]
				_, next := offsetsOf(t, p.RecordBatches)
				if p.ErrorCode != 0 || next != q.next || p.LastStableOffset != stable || p.HighWatermark != end {
					t.Errorf("%s, from %d: error %d, up to %d, stable %d, high watermark %d; want up to %d",
						name, q.offset, p.ErrorCode, next, p.LastStableOffset, p.HighWatermark, q.next)
				}
				if p.AbortedTransactions == nil || !slices.Equal(firsts(&p), q.aborted) {
					t.Errorf("%s, from %d: aborted %v, want %v, and not null", name, q.offset, p.AbortedTransactions, q.aborted)
				}
				req.IsolationLevel, req.Topics[0].Partitions[0].PartitionMaxBytes = int8(readUncommitted), 1<<20
				p = a.fetch(t, req)[0]
				if _, next := offsetsOf(t, p.RecordBatches); q.offset < end && next != end || p.LastStableOffset != stable || p.AbortedTransactions != nil {
					t.Errorf("%s, uncommitted from %d: up to %d, stable %d, aborted %v", name, q.offset, next, p.LastStableOffset, p.AbortedTransactions)
				}
			}
		}
	}
}

// TestFetchCommittedOfMovedRuns: the plan that is made when a file is gone has
// the aborted transactions of its own runs.
func TestFetchCommittedOfMovedRuns(t *testing.T) {
	c := newCluster(t, 1)
	a := c.lonelyAgent(t)
	batch := makeBatch(t, protocol.CodecNone, recs(10, 100, 0)...)
	c.produce(t, map[int32][]protocol.Batch{0: {batch}})
	a.tail.Reset(c.lastSeq(t))
	stale, err := c.store.FindRuns(t.Context(), []metadata.RunQuery{{Partition: c.topic.Partitions[0], MaxRuns: 1}})
	if err != nil {
		t.Fatal(err)
	}
	stale[0].Runs[0].FileID = newFileID(t) // where it was before it moved
	a.tail.learn(a.tail.snapshot(), c.topic.Partitions[0], &stale[0])
	producer := c.producer(t)
	c.produce(t, map[int32][]protocol.Batch{0: {producer.batch(0, batch)}})
	want := [][2]int64{{producer.ID, 10}}
	c.end(t, producer, false)
	p := a.fetch(t, committed(fetchFrom(0)))[0]
	if _, next := offsetsOf(t, p.RecordBatches); p.ErrorCode != 0 || next != 21 || p.LastStableOffset != 21 || p.HighWatermark != 21 {
		t.Errorf("error %d, up to %d, stable %d, high watermark %d; want 21", p.ErrorCode, next, p.LastStableOffset, p.HighWatermark)
	}
	if got := firsts(&p); !slices.Equal(got, want) {
		t.Errorf("aborted %v, want %v", got, want)
	}
}

// TestIdleCommittedFetchesDoNotAskTheStore: also where an open transaction began long ago.
func TestIdleCommittedFetchesDoNotAskTheStore(t *testing.T) {
	c := newCluster(t, 1)
	a := knowing(t, c)["tail"]
	a.tail.limit = 4
	producer := c.producer(t)
	batch := makeBatch(t, protocol.CodecNone, recs(10, 100, 0)...)
	for range 20 {
		a.produce(t, map[int32][]protocol.Batch{0: {producer.batch(0, batch)}})
	}
	req := committed(fetchFrom(0))
	a.fetch(t, req) // learns the log start again, which went with the chain
	asked := c.store.count("FindRuns")
	req.MaxWaitMillis = 20 // with nothing to wake for
	for _, offset := range []int64{0, 50, 200} {
		req.Topics[0].Partitions[0].FetchOffset = offset
		if p := a.fetch(t, req)[0]; p.ErrorCode != 0 || len(p.RecordBatches) != 0 || p.LastStableOffset != 0 || p.HighWatermark != 200 {
			t.Errorf("from %d: error %d, %d bytes, stable %d of %d", offset, p.ErrorCode, len(p.RecordBatches), p.LastStableOffset, p.HighWatermark)
		}
	}
	if n := c.store.count("FindRuns") - asked; n != 0 {
		t.Errorf("%d queries", n)
	}
}

// TestPlansCountDecidedBytes: min_bytes is compared with nothing else.
func TestPlansCountDecidedBytes(t *testing.T) {
	c := newCluster(t, 1)
	producer := c.producer(t)
	batch := makeBatch(t, protocol.CodecNone, recs(10, 100, 0)...)
	size := int64(batch.Size())
	c.produce(t, map[int32][]protocol.Batch{0: {batch}})
	c.produce(t, map[int32][]protocol.Batch{0: {batch, batch, producer.batch(0, batch), batch}})
	c.produce(t, map[int32][]protocol.Batch{0: {batch}})
	for name, a := range knowing(t, c) {
		for offset, want := range map[int64]int64{0: 3 * size, 10: 2 * size, 20: size, 25: size / 2, 30: 0, 60: 0} {
			for level, want := range map[isolation]int64{readCommitted: want, readUncommitted: size * (60 - offset) / 10} {
				plans := make([]plan, 1)
				a.planner.plan(t.Context(), level, []asked{{c.topic.Partitions[0], offset, 1 << 20}}, 1<<20, plans)
				if p := plans[0]; p.err != nil || p.bytes != want || len(p.ahead) != 0 {
					t.Errorf("%s, level %d, from %d: %d bytes in %d runs and %d ahead, error %v; want %d bytes",
						name, level, offset, p.bytes, len(p.runs), len(p.ahead), p.err, want)
				}
			}
		}
	}
}

// TestLongPollForCommittedRecordsCountsFromItsOffset: what was there undecided
// when it began counts, what is decided below its offset doesn't.
func TestLongPollForCommittedRecordsCountsFromItsOffset(t *testing.T) {
	batch := makeBatch(t, protocol.CodecNone, recs(10, 100, 0)...)
	for _, minBytes := range []int{1, batch.Size() + metadata.MarkerSize} {
		c := newCluster(t, 1)
		a := c.agent(t)
		one, two := c.producer(t), c.producer(t)
		a.produce(t, map[int32][]protocol.Batch{0: {one.batch(0, batch), two.batch(0, batch), batch}})
		req := committed(fetchFrom(20))
		req.MaxWaitMillis, req.MinBytes = longWait, int32(minBytes)
		answer := a.background(t, t.Context(), req)
		a.end(t, one, true) // decides 0 to 10
		if a.tail.Waiting() == 0 {
			t.Errorf("min_bytes %d: woke for what lies before it", minBytes)
		}
		a.end(t, two, true)
		p := (<-answer).Topics[0].Partitions[0]
		if first, next := offsetsOf(t, p.RecordBatches); first != 20 || next != 32 {
			t.Errorf("min_bytes %d: %d to %d, want 20 to 32", minBytes, first, next)
		}
	}
}

func TestLongPollForCommittedRecordsWakesAtTheEndOfATransaction(t *testing.T) {
	for name, writerIsReader := range map[string]bool{"own agent": true, "another agent": false} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 1)
			reader := c.agent(t)
			writer := reader
			if !writerIsReader {
				writer = c.agent(t)
			}
			producer := c.producer(t)
			batch := makeBatch(t, protocol.CodecNone, recs(10, 100, 0)...)
			req := committed(fetchFrom(0))
			req.MaxWaitMillis, req.MinBytes = longWait, int32(batch.Size()+metadata.MarkerSize)
			answer := reader.background(t, t.Context(), req)
			writer.produce(t, map[int32][]protocol.Batch{0: {producer.batch(0, batch), batch, batch}})
			for reader.tail.Seq() < c.lastSeq(t) {
				reader.follower.Kick()
			}
			if reader.tail.Waiting() == 0 {
				t.Error("woke for what is not decided")
			}
			writer.end(t, producer, false)
			p := (<-answer).Topics[0].Partitions[0]
			if _, next := offsetsOf(t, p.RecordBatches); next != 31 || p.LastStableOffset != 31 || !slices.Equal(firsts(&p), [][2]int64{{producer.ID, 0}}) {
				t.Errorf("up to %d, stable %d, aborted %v", next, p.LastStableOffset, firsts(&p))
			}
		})
	}
}

func TestListOffsetsOfCommittedRecords(t *testing.T) {
	c := newCluster(t, 1)
	a := c.lonelyAgent(t)
	done, open := c.producer(t), c.producer(t)
	at := func(timestamps ...int64) protocol.Batch {
		var records []rec
		for _, timestamp := range timestamps {
			records = append(records, rec{timestamp, 1})
		}
		return makeBatch(t, protocol.CodecNone, records...)
	}
	list := func(level isolation, timestamp int64) int64 {
		req := kmsg.NewPtrListOffsetsRequest()
		req.Version, req.IsolationLevel = 11, int8(level)
		topic := kmsg.NewListOffsetsRequestTopic()
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Timestamp = timestamp
		topic.Topic, topic.Partitions = "t", append(topic.Partitions, p)
		req.Topics = append(req.Topics, topic)
		got := a.ListOffsets(t.Context(), protocol.Client{}, req).Topics[0].Partitions[0]
		wantCode(t, "list offsets", got.ErrorCode, nil)
		if (got.Offset == -1) != (got.LeaderEpoch == -1) {
			t.Errorf("level %d, timestamp %d: %+v", level, timestamp, got)
		}
		return got.Offset
	}
	type answers struct{ uncommitted, committed int64 }
	check := func(when string, want map[int64]answers) {
		t.Helper()
		for timestamp, offsets := range want {
			got := answers{list(readUncommitted, timestamp), list(readCommitted, timestamp)}
			if got != offsets {
				t.Errorf("%s, timestamp %d: offsets %+v, want %+v", when, timestamp, got, offsets)
			}
		}
	}
	c.produce(t, map[int32][]protocol.Batch{0: {done.batch(0, at(100, 200))}})
	c.end(t, done, false)                                                               // 2
	c.produce(t, map[int32][]protocol.Batch{0: {at(300, 150), open.batch(0, at(400))}}) // 3, 5
	c.produce(t, map[int32][]protocol.Batch{0: {at(500, 350)}})                         // 6
	reads := c.bucket.Calls(objstoretest.Get)
	if got := list(readCommitted, 401); got != -1 || c.bucket.Calls(objstoretest.Get) != reads {
		t.Errorf("offset %d, and read %d times what may not be read", got, c.bucket.Calls(objstoretest.Get)-reads)
	}
	check("open", map[int64]answers{
		latestOffset: {8, 5}, earliestOffset: {0, 0}, earliestLocalOffset: {0, 0}, latestTieredOffset: {-1, -1},
		maxTimestampOffset: {6, -1}, // Kafka looks for it among all records, too
		100:                {0, 0}, 200: {1, 1}, 201: {3, 3}, 300: {3, 3}, 301: {5, -1}, 400: {5, -1}, 401: {6, -1}, 501: {-1, -1},
	})
	c.end(t, open, true) // 8
	check("ended", map[int64]answers{
		latestOffset: {9, 9}, maxTimestampOffset: {6, 6}, 301: {5, 5}, 401: {6, 6}, 501: {-1, -1}, 1_000_000: {-1, -1},
	})
	// The first run is a marker, with the maximum of the records before it.
	c.deleteRecords(t, 0, 2)
	check("the log starts with a marker", map[int64]answers{earliestOffset: {2, 2}, 100: {3, 3}, 200: {3, 3}, maxTimestampOffset: {6, 6}})
	c.deleteRecords(t, 0, 8)
	check("nothing but a marker", map[int64]answers{earliestOffset: {8, 8}, latestOffset: {9, 9}, 100: {-1, -1}, maxTimestampOffset: {-1, -1}})
}
