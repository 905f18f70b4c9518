package fetch

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

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
		if err == nil {
			err = batch.Validate()
		}
		if err != nil {
			t.Fatal(err)
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
			for at := max(offset, batch.BaseOffset()); at <= last; at++ {
				records = append(records, at)
			}
		}
		next, rest = last+1, behind
	}
	return records, next
}

// A transactional log grows at random, and consumers of both levels read it at random
// through agents whose tails lag, are short, or know nothing: each gets exactly the
// records that count, in order.
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
	fates     [3][]*fate
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
	for range 5 {
		s.producers = append(s.producers, s.cluster.producer(t))
	}
	for _, limit := range []int{1, 8, 64, DefaultTailRuns} {
		a := s.lonelyAgent(t)
		a.tail.limit = limit
		a.tail.Reset(0)
		s.agents = append(s.agents, a)
	}
	for range 12 {
		s.readers = append(s.readers, &simulatedReader{level: isolation(s.r.IntN(2)), partition: int32(s.r.IntN(3))})
	}
	for range 400 {
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
	case n < 60:
		s.follow(s.agents[s.r.IntN(len(s.agents))])
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
		batch := makeBatch(s.t, protocol.CodecNone, recs(n, s.r.IntN(200), 0)...)
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
		}
	}
}

func (s *simulation) deleteSome() {
	p := int32(s.r.IntN(3))
	b := s.bounds(s.t, p)
	s.deleteRecords(s.t, p, b.LogStartOffset+s.r.Int64N(b.NextOffset-b.LogStartOffset+1)/2)
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
	reader.records, reader.next = append(reader.records, records...), next
}

// check compares what the reader got with what counted of the offsets that it passed.
func (s *simulation) check(reader *simulatedReader) {
	var want []int64
	for _, at := range reader.passed {
		if f := s.fates[reader.partition][at]; !f.marker && (reader.level == readUncommitted || !f.aborted) {
			want = append(want, at)
		}
	}
	if !slices.Equal(reader.records, want) {
		s.t.Errorf("level %d, partition %d: got offsets %v, want %v", reader.level, reader.partition, reader.records, want)
	}
}
