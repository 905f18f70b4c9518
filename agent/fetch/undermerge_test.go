package fetch

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/protocol"
)

// underMerge is a log that is written, read and merged at the same time. The timestamp of each record is
// its offset.
type underMerge struct {
	*cluster
	t       *testing.T
	agents  []*agent
	written [2]atomic.Int64 // by partition
	final   atomic.Bool     // nothing more will be written
	// requests are those that each reader has had an answer to.
	requests [4]atomic.Int64
	done     atomic.Bool
}

// TestMergesUnderReaders: files are merged again and again and deleted as soon as no request runs that
// began before they were dead. Readers at both isolation levels, through agents with and without a
// cache, meet neither an error nor a hole, and find each record by its timestamp.
func TestMergesUnderReaders(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	c := newCluster(t, 2)
	u := &underMerge{cluster: c, t: t, agents: []*agent{c.agent(t), c.agent(t)}}
	u.agents[1].blocks.config.BlockBytes, u.agents[1].blocks.cache = 5000, newCache(0)
	var readers, others sync.WaitGroup
	const files = 60
	others.Go(func() { u.write(rand.New(rand.NewPCG(seed, 0)), files) })
	others.Go(func() { u.mergeAll(rand.New(rand.NewPCG(seed, 1))) })
	for i := range u.requests {
		r := rand.New(rand.NewPCG(seed, uint64(2+i)))
		readers.Go(func() { u.read(r, i) })
	}
	readers.Wait()
	u.done.Store(true)
	others.Wait()
	for i, a := range u.agents {
		t.Logf("agent %d: %d files were gone", i, counted(a.planner.metrics.replans))
		if n := counted(a.planner.metrics.corrupt); n != 0 {
			t.Errorf("agent %d: %d times data was damaged or missing", i, n)
		}
	}
}

func (u *underMerge) write(r *rand.Rand, files int) {
	for file := range files {
		batches := map[int32][]protocol.Batch{}
		var next [2]int64
		for p := range next {
			next[p] = u.written[p].Load()
			for range 1 + r.IntN(4) {
				n := 1 + r.IntN(4)
				batches[int32(p)] = append(batches[int32(p)], makeBatch(u.t, protocol.CodecNone, recs(n, r.IntN(1000), next[p])...))
				next[p] += int64(n)
			}
		}
		u.agents[file%2].produce(u.t, batches)
		for p := range next {
			u.written[p].Store(next[p])
		}
	}
	u.final.Store(true)
}

func (u *underMerge) mergeAll(r *rand.Rand) {
	compressions := []datafile.Compression{datafile.None, datafile.S2, datafile.Auto}
	var dying time.Time
	var seen [4]int64
	for !u.done.Load() {
		p := int32(r.IntN(2))
		if runs := u.runsOf(u.t, p); len(runs) > 1 {
			from := r.IntN(len(runs) - 1)
			n := 2 + r.IntN(min(len(runs)-from-1, 30))
			u.merge(u.t, compressions[r.IntN(3)], p, runs[from:from+n], nil)
		}
		passed := true
		for i := range seen {
			passed = passed && u.requests[i].Load() > seen[i]+1
		}
		if passed {
			u.deleteDead(u.t, dying)
			dying = time.Now()
			for i := range seen {
				seen[i] = u.requests[i].Load()
			}
		}
	}
}

// read reads a partition from its beginning to its end, three times.
func (u *underMerge) read(r *rand.Rand, reader int) {
	p, level := int32(reader%2), isolation(reader/2)
	defer u.requests[reader].Store(1 << 40)
	for range 3 {
		for at := int64(0); ; u.requests[reader].Add(1) {
			if u.final.Load() && at == u.written[p].Load() {
				break
			}
			a := u.agents[r.IntN(2)]
			if r.IntN(4) == 0 && at > 0 {
				u.find(a, p, level, r.Int64N(at))
				continue
			}
			req := fetchFrom(at)
			req.MaxWaitMillis, req.IsolationLevel = 20, int8(level)
			req.Topics[0].Partitions[0].Partition, req.Topics[0].Partitions[0].PartitionMaxBytes = p, int32(r.IntN(20_000))
			got := a.answer(u.t.Context(), req).Topics[0].Partitions[0]
			if got.ErrorCode != 0 {
				u.t.Errorf("partition %d at %d: %v", p, at, kerr.ErrorForCode(got.ErrorCode))
				return
			}
			if len(got.RecordBatches) == 0 {
				continue
			}
			if first, next := offsetsOf(u.t, got.RecordBatches); first > at || next <= at || next > got.HighWatermark {
				u.t.Errorf("partition %d: asked for %d, got %d to %d, high watermark %d", p, at, first, next, got.HighWatermark)
				return
			}
			records, next := consumed(u.t, level, at, &got)
			for i, offset := range records {
				if offset != at+int64(i) {
					u.t.Errorf("partition %d: offset %d where %d should be", p, offset, at+int64(i))
				}
			}
			at = next
			if r.IntN(10) == 0 {
				at = r.Int64N(next) // reads some of it again
			}
		}
	}
}

// find looks for the record with the timestamp.
func (u *underMerge) find(a *agent, p int32, level isolation, timestamp int64) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.IsolationLevel = 11, int8(level)
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic = "t"
	partition := kmsg.NewListOffsetsRequestTopicPartition()
	partition.Partition, partition.Timestamp = p, timestamp
	topic.Partitions = append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	got := a.ListOffsets(u.t.Context(), protocol.Client{}, req).Topics[0].Partitions[0]
	if got.ErrorCode != 0 || got.Offset != timestamp || got.Timestamp != timestamp {
		u.t.Errorf("partition %d: timestamp %d: error %d, offset %d with %d", p, timestamp, got.ErrorCode, got.Offset, got.Timestamp)
	}
}
