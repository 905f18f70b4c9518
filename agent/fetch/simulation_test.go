package fetch

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/protocol"
)

// consumed are the offsets of the records that a consumer of the isolation level gives to its
// application, from what a fetch from the offset answered. It works as the
// Java consumer: the aborted transactions whose first offset is passed are those that count, until
// their producer's marker. next is where it goes on.
func consumed(t testing.TB, level isolation, offset int64, p *kmsg.FetchResponseTopicPartition) (records []int64, next int64) {
	t.Helper()
	next = offset
	aborted := slices.Clone(p.AbortedTransactions)
	slices.SortFunc(aborted, func(a, b kmsg.FetchResponseTopicPartitionAbortedTransaction) int {
		return cmp.Compare(a.FirstOffset, b.FirstOffset)
	})
	skipped := map[int64]bool{} // producers
	for rest := p.RecordBatches; len(rest) > 0; {
		batch, behind, err := protocol.NextBatch(rest)
		if err != nil || !batch.CheckCRC() {
			t.Fatalf("error %v, or a wrong CRC", err)
		}
		last := batch.BaseOffset() + int64(batch.LastOffsetDelta())
		for len(aborted) > 0 && aborted[0].FirstOffset <= last {
			skipped[aborted[0].ProducerID] = true
			aborted = aborted[1:]
		}
		switch {
		case batch.IsControl():
			for record, err := range batch.Records(0) {
				if err != nil {
					t.Fatal(err)
				}
				if record.Key[3] == 0 { // an abort
					delete(skipped, batch.ProducerID())
				}
			}
		case level == readCommitted && batch.IsTransactional() && skipped[batch.ProducerID()]:
		default:
			for record, err := range batch.Records(0) { // compaction leaves some out
				if err != nil {
					t.Fatal(err)
				}
				if record.Offset >= offset {
					records = append(records, record.Offset)
				}
			}
		}
		next, rest = last+1, behind
	}
	return records, next
}

// A transactional log grows at random, is merged, compacted and trimmed, and its old files are deleted.
// Consumers of both levels read it at random through agents whose tails lag, are short, or know
// nothing: each gets exactly the records that count, in order, and finds them by their timestamps.
func TestConsumersSeeWhatCounts(t *testing.T) {
	for range 4 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { simulate(t, seed) })
	}
}

// simulation is a log of one topic, and what reads it.
type simulation struct {
	*cluster
	t *testing.T
	r *rand.Rand
	// fates are the records of each partition by offset.
	fates [3][]*fate
	// times are their timestamps. removed are those that compaction took away, which
	// consumers may have seen or not.
	times   [3][]int64
	removed [3]map[int64]bool
	// told are those that nobody sees any more who has the commit of the number.
	told      [3]map[int64]int64
	producers []*producer
	open      map[int]*fate // by the index of the producer
	agents    []*agent
	readers   []*simulatedReader
}

// fate is what becomes of records: they count unless they are aborted. Markers never do.
type fate struct{ marker, ended, aborted bool }

type simulatedReader struct {
	level     isolation
	partition int32
	next      int64
	// records are the offsets that it got, of all that it passed over; now and
	// then it begins anew somewhere.
	records, passed []int64
}

func simulate(t *testing.T, seed uint64) {
	s := &simulation{cluster: newCluster(t, 3), t: t, r: rand.New(rand.NewPCG(seed, 0)), open: map[int]*fate{}}
	for p := range s.removed {
		s.removed[p], s.told[p] = map[int64]bool{}, map[int64]int64{}
	}
	for range 5 {
		s.producers = append(s.producers, s.cluster.producer(t))
	}
	for _, limit := range []int{1, 8, 64, DefaultTailRuns} {
		a := s.lonelyAgent(t)
		a.tail.limit = limit
		if limit%16 == 0 {
			// It seeks in small runs, too, and has no copy of a file that is deleted.
			a.blocks.config.BlockBytes, a.blocks.cache = 200, newCache(0)
		}
		a.tail.Reset(0)
		s.agents = append(s.agents, a)
	}
	for range 12 {
		s.readers = append(s.readers, &simulatedReader{level: isolation(s.r.IntN(2)), partition: int32(s.r.IntN(3))})
	}
	for range 600 {
		s.step()
	}
	for _, producer := range slices.Sorted(maps.Keys(s.open)) {
		s.endOf(producer)
	}
	for _, a := range s.agents {
		for a.tail.Seq() < s.lastSeq(t) {
			s.follow(a)
		}
	}
	replans := 0
	for _, a := range s.agents {
		replans += counted(a.planner.metrics.replans)
	}
	t.Logf("%d files were gone", replans)
	for _, reader := range s.readers {
		for reader.next < int64(len(s.fates[reader.partition])) {
			s.fetch(reader)
		}
		s.check(reader)
	}
}

func (s *simulation) step() {
	switch n := s.r.IntN(100); {
	case n < 25:
		s.write()
	case n < 35:
		if producers := slices.Sorted(maps.Keys(s.open)); len(producers) > 0 {
			s.endOf(producers[s.r.IntN(len(producers))])
		}
	case n < 36:
		s.deleteSome()
	case n < 40:
		s.agents[s.r.IntN(len(s.agents))].tail.forget(s.topic.Partitions[s.r.IntN(3)])
	case n < 45:
		reader := s.readers[s.r.IntN(len(s.readers))]
		reader.next = s.r.Int64N(int64(len(s.fates[reader.partition])) + 1)
	case n < 57:
		s.follow(s.agents[s.r.IntN(len(s.agents))])
	case n < 63:
		s.mergeSome()
	case n < 65:
		s.deleteDead(s.t, time.Now().Add(time.Hour))
	case n < 72:
		s.list()
	default:
		s.fetch(s.readers[s.r.IntN(len(s.readers))])
	}
}

// write commits a file in which batches with and without transactions alternate.
func (s *simulation) write() {
	batches := map[int32][]protocol.Batch{}
	for range 1 + s.r.IntN(6) {
		p := int32(s.r.IntN(3))
		n := 1 + s.r.IntN(4)
		records := make([]rec, n)
		for i := range records {
			records[i] = rec{timestamp: s.r.Int64N(1000), size: s.r.IntN(200)}
			s.times[p] = append(s.times[p], records[i].timestamp)
		}
		batch := makeBatch(s.t, protocol.CodecNone, records...)
		f := &fate{ended: true}
		if s.r.IntN(3) > 0 {
			i := s.r.IntN(len(s.producers))
			if s.open[i] == nil {
				s.open[i] = &fate{}
			}
			f = s.open[i]
			batch = s.producers[i].batch(p, batch)
		}
		batches[p] = append(batches[p], batch)
		for range n {
			s.fates[p] = append(s.fates[p], f)
		}
	}
	s.commit(s.t, datafile.Auto, batches)
}

func (s *simulation) endOf(producer int) {
	f := s.open[producer]
	delete(s.open, producer)
	f.ended, f.aborted = true, s.r.IntN(2) == 0
	for _, commit := range s.end(s.t, s.producers[producer], !f.aborted) {
		for _, run := range commit.Runs {
			p := slices.Index(s.topic.Partitions, run.Partition)
			s.fates[p] = append(s.fates[p], &fate{marker: true, ended: true})
			s.times[p] = append(s.times[p], -1)
		}
	}
}

func (s *simulation) deleteSome() {
	p := int32(s.r.IntN(3))
	b := s.bounds(s.t, p)
	s.deleteRecords(s.t, p, b.LogStartOffset+s.r.Int64N(b.NextOffset-b.LogStartOffset+1)/2)
}

// mergeSome merges neighbouring runs, merged ones too, and compacts them where all is decided.
func (s *simulation) mergeSome() {
	p := int32(s.r.IntN(3))
	runs := s.runsOf(s.t, p)
	if len(runs) == 0 {
		return
	}
	from := s.r.IntN(len(runs))
	runs = runs[from : from+1+s.r.IntN(min(len(runs)-from, 20))]
	var keep func(protocol.Batch, protocol.Key) bool
	if s.r.IntN(2) == 0 && runs[len(runs)-1].NextOffset() <= s.bounds(s.t, p).StableOffset {
		keep = func(_ protocol.Batch, k protocol.Key) bool {
			if s.r.IntN(3) == 0 || s.fates[p][k.Offset].aborted && s.r.IntN(2) == 0 {
				s.removed[p][k.Offset] = true
			}
			return !s.removed[p][k.Offset]
		}
	}
	compression := []datafile.Compression{datafile.None, datafile.S2, datafile.Auto}[s.r.IntN(3)]
	if !s.merge(s.t, compression, p, runs, keep) {
		s.t.Fatal("a merge was refused that nobody disturbed")
	}
	if keep != nil && s.r.IntN(2) == 0 {
		s.tell(p, runs[len(runs)-1].NextOffset())
	}
}

// tell agents that a partition is compacted up to the offset.
func (s *simulation) tell(p int32, until int64) {
	seq := s.finishCompaction(s.t, p, until)
	for at := range s.removed[p] {
		if _, told := s.told[p][at]; seq > 0 && at < until && !told {
			s.told[p][at] = seq
		}
	}
}

// list looks for a record by its timestamp, or for the one with the largest.
func (s *simulation) list() {
	a, p, level := s.agents[s.r.IntN(len(s.agents))], s.r.IntN(3), isolation(s.r.IntN(2))
	b := s.bounds(s.t, int32(p))
	asked := s.r.Int64N(1100)
	least := asked
	if s.r.IntN(3) == 0 {
		asked, least = maxTimestampOffset, 0
	}
	want, timestamp := int64(-1), int64(-1)
	for at := b.LogStartOffset; at < b.NextOffset; at++ {
		if !s.removed[p][at] && s.times[p][at] >= least {
			want, timestamp = at, s.times[p][at]
			if asked >= 0 {
				break
			}
			least = timestamp + 1
		}
	}
	if want >= level.end(&b) {
		want, timestamp = -1, -1
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.IsolationLevel = 11, int8(level)
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic = "t"
	partition := kmsg.NewListOffsetsRequestTopicPartition()
	partition.Partition, partition.Timestamp = int32(p), asked
	topic.Partitions = append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	got := a.ListOffsets(s.t.Context(), protocol.Client{}, req).Topics[0].Partitions[0]
	wantCode(s.t, "list offsets", got.ErrorCode, nil)
	if got.Offset != want || got.Timestamp != timestamp {
		s.t.Fatalf("partition %d, level %d, timestamp %d: offset %d with %d, want %d with %d", p, level, asked, got.Offset, got.Timestamp, want, timestamp)
	}
}

// follow gives the agent some of the commits that it lacks.
func (s *simulation) follow(a *agent) {
	commits, err := s.store.Commits(s.t.Context(), a.tail.Seq(), 1+s.r.IntN(10))
	if err != nil {
		s.t.Fatal(err)
	}
	if a.tail.Apply(commits) {
		s.t.Fatal("gap")
	}
}

// fetch reads on, through any agent.
func (s *simulation) fetch(reader *simulatedReader) {
	a := s.agents[s.r.IntN(len(s.agents))]
	req := fetchFrom(reader.next)
	req.IsolationLevel, req.MaxBytes = int8(reader.level), int32(s.r.IntN(2000))
	req.Topics[0].Partitions[0].Partition = reader.partition
	p := a.fetch(s.t, req)[0]
	if p.ErrorCode == kerr.OffsetOutOfRange.Code {
		reader.next = s.bounds(s.t, reader.partition).LogStartOffset
		return
	}
	wantCode(s.t, "fetch", p.ErrorCode, nil)
	end := p.HighWatermark
	if reader.level == readCommitted {
		end = p.LastStableOffset
	}
	records, next := consumed(s.t, reader.level, reader.next, &p)
	switch {
	case next > max(end, reader.next):
		s.t.Fatalf("level %d: got records up to %d, may read up to %d", reader.level, next, end)
	case next == reader.next && next < end:
		s.t.Fatalf("level %d: stuck at %d, may read up to %d", reader.level, next, end)
	case p.LastStableOffset > p.HighWatermark || (p.AbortedTransactions == nil) != (reader.level == readUncommitted):
		s.t.Fatalf("level %d: stable up to %d of %d, aborted %v", reader.level, p.LastStableOffset, p.HighWatermark, p.AbortedTransactions)
	}
	for at := reader.next; at < next; at++ {
		reader.passed = append(reader.passed, at)
		if reader.level == readCommitted && !s.fates[reader.partition][at].ended {
			s.t.Fatalf("offset %d was read as committed while its transaction was open", at)
		}
	}
	for _, at := range records {
		if seq, told := s.told[reader.partition][at]; told && seq <= a.tail.Seq() {
			s.t.Fatalf("offset %d was removed before commit %d, and read after commit %d", at, seq, a.tail.Seq())
		}
	}
	reader.records, reader.next = append(reader.records, records...), next
}

// check compares what the reader got with what counted of the offsets that it passed.
func (s *simulation) check(reader *simulatedReader) {
	var want []int64
	removed := func(at int64) bool { return s.removed[reader.partition][at] }
	reader.records = slices.DeleteFunc(reader.records, removed)
	for _, at := range slices.DeleteFunc(reader.passed, removed) {
		if f := s.fates[reader.partition][at]; !f.marker && (reader.level == readUncommitted || !f.aborted) {
			want = append(want, at)
		}
	}
	if !slices.Equal(reader.records, want) {
		s.t.Errorf("level %d, partition %d: got offsets %v, want %v", reader.level, reader.partition, reader.records, want)
	}
}
