package recovery

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sequence"
)

// world is a cluster that loses its metadata store. Agents have clocks of their own; their files commit some time after
// they got their IDs, or never; answers get lost, and idempotent producers send again, through any agent.
type world struct {
	t   *testing.T
	rng *rand.Rand
	now time.Time
	// skew is how much an agent's clock may be off.
	skew time.Duration
	// lose is how often something goes wrong.
	lose float64

	agents    []*modelAgent
	producers []*modelProducer
	topic     metadata.SnapshotTopic
	state     sequence.State // of the store that gets lost
	seq       int64
	committed []*file // in the order of commits
	orphans   []*file
	// acked are the batches that producers were told of, in each partition.
	acked map[metadata.PartitionID][]metadata.Batch
}

type modelAgent struct {
	skew time.Duration
	open *file
	ids  uint64
}

type modelProducer struct {
	id        int64
	epoch     int16
	sequences map[metadata.PartitionID]int32
	plain     bool
	// waiting are its batches without an answer, oldest first.
	waiting []sent
}

type sent struct {
	partition metadata.PartitionID
	batch     metadata.Batch
	file      *file
}

const modelPartitions = 4

func newWorld(t *testing.T, seed uint64, skew time.Duration, lose float64) *world {
	t.Logf("seed %d", seed)
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), now: time.UnixMilli(1_800_000_000_000).UTC(), skew: skew, lose: lose,
		topic: metadata.SnapshotTopic{ID: uuid.UUID{0: 1}, Name: "t", Configs: map[string]string{}},
		state: sequence.State{Partitions: map[metadata.PartitionID]sequence.Partition{}, Producers: map[sequence.ProducerKey]sequence.Producer{}},
		acked: map[metadata.PartitionID][]metadata.Batch{},
	}
	for i := range modelPartitions {
		id := metadata.PartitionID(i + 1)
		w.topic.Partitions = append(w.topic.Partitions, id)
		w.state.Partitions[id] = sequence.Partition{MaxTimestamp: -1, FirstUnstable: -1}
	}
	for range 1 + w.rng.IntN(4) {
		a := &modelAgent{}
		if skew > 0 {
			a.skew = time.Duration(w.rng.Int64N(int64(2*skew))) - skew
		}
		w.agents = append(w.agents, a)
	}
	for i := range 1 + w.rng.IntN(6) {
		w.producers = append(w.producers, &modelProducer{id: int64(i + 1), sequences: map[metadata.PartitionID]int32{}, plain: i > 0 && w.rng.IntN(3) == 0})
	}
	return w
}

// step lets a producer send, and an agent ship what it holds.
func (w *world) step() {
	w.now = w.now.Add(time.Duration(w.rng.Int64N(int64(2 * time.Second))))
	agent := w.agents[w.rng.IntN(len(w.agents))]
	for range 1 + w.rng.IntN(4) {
		w.producers[w.rng.IntN(len(w.producers))].send(w, agent)
	}
	w.ship(agent)
}

// send sends what has no answer once more, or else a new batch or a few.
func (p *modelProducer) send(w *world, a *modelAgent) {
	if len(p.waiting) > 0 {
		for i := range p.waiting {
			if p.waiting[i].file == nil {
				p.waiting[i].file = a.append(w, p.waiting[i].partition, p.waiting[i].batch)
			}
		}
		return
	}
	if !p.plain && w.rng.IntN(20) == 0 {
		p.epoch++ // as after an error that it can't recover from
		clear(p.sequences)
	}
	for range 1 + w.rng.IntN(3) {
		partition := w.topic.Partitions[w.rng.IntN(modelPartitions)]
		b := metadata.Batch{Size: 10 + w.rng.Int32N(100), Records: 1 + w.rng.Int32N(5), MaxTimestamp: w.rng.Int64N(1000), ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}
		if !p.plain {
			b.ProducerID, b.ProducerEpoch, b.BaseSequence = p.id, p.epoch, p.sequences[partition]
			p.sequences[partition] += b.Records
		}
		p.waiting = append(p.waiting, sent{partition, b, a.append(w, partition, b)})
	}
}

// append puts the batch into the agent's open file.
func (a *modelAgent) append(w *world, partition metadata.PartitionID, b metadata.Batch) *file {
	if a.open == nil {
		a.open = &file{id: w.newID(a), size: 1 << 20}
	}
	i := slices.IndexFunc(a.open.sections, func(s section) bool { return s.Partition == partition })
	if i < 0 {
		i = len(a.open.sections)
		a.open.sections = append(a.open.sections, section{topic: w.topic.ID, index: int32(partition) - 1, Append: metadata.Append{Partition: partition}})
	}
	s := &a.open.sections[i]
	s.Batches = append(s.Batches, b)
	s.StoredSize += b.Size
	return a.open
}

// newID makes an ID by the agent's clock; those of one agent ascend.
func (w *world) newID(a *modelAgent) uuid.UUID {
	a.ids = max(a.ids+1, uint64(w.now.Add(a.skew).UnixMilli()))
	id := uuid.UUID{6: 0x70, 8: 0x80}
	for i := range 6 {
		id[i] = byte(a.ids >> (40 - 8*i))
	}
	id[15] = byte(w.rng.Uint32())
	id[14] = byte(w.rng.Uint32())
	return id
}

// ship commits the agent's open file, unless something goes wrong.
func (w *world) ship(a *modelAgent) {
	f := a.open
	if f == nil {
		return
	}
	a.open = nil
	if w.rng.Float64() < w.lose {
		// Put, and never committed: whoever waits sends again.
		w.orphans = append(w.orphans, f)
		w.forget(f)
		return
	}
	w.commit(f)
	if w.rng.Float64() < w.lose {
		w.forget(f) // the answer got lost
		return
	}
	w.answer(f)
}

func (w *world) commit(f *file) {
	commit := metadata.File{ID: f.id, Size: f.size}
	for _, s := range f.sections {
		commit.Appends = append(commit.Appends, s.Append)
	}
	w.state.Now = f.at()
	d, err := sequence.Decide(w.state, []metadata.File{commit})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, p := range d.Partitions {
		w.state.Partitions[p.ID] = p.Partition
	}
	for _, p := range d.Producers {
		w.state.Producers[p.ProducerKey] = p.Producer
	}
	w.seq++
	f.seq = w.seq
	w.committed = append(w.committed, f)
	for i, s := range f.sections {
		for j, o := range d.Files[0].Result.Outcomes[i] {
			if o.Err == nil && !o.Duplicate {
				w.acked[s.Partition] = append(w.acked[s.Partition], s.Batches[j])
			}
		}
	}
}

// forget has those who wait for the file send again; plain producers give up, since they can't tell duplicates.
func (w *world) forget(f *file) {
	for _, p := range w.producers {
		if p.plain {
			p.waiting = slices.DeleteFunc(p.waiting, func(s sent) bool { return s.file == f })
		}
		for i := range p.waiting {
			if p.waiting[i].file == f {
				p.waiting[i].file = nil
			}
		}
	}
}

func (w *world) answer(f *file) {
	for _, p := range w.producers {
		p.waiting = slices.DeleteFunc(p.waiting, func(s sent) bool { return s.file == f })
	}
}

// snapshot is the store as it is now, as a recovery reads it.
func (w *world) snapshot() *state {
	s := &state{
		head:       metadata.SnapshotHead{At: w.now, LastSeq: w.seq, NextPartitionID: modelPartitions + 1, NextProducerID: 100},
		topics:     map[uuid.UUID]*metadata.SnapshotTopic{},
		partitions: map[metadata.PartitionID]*metadata.SnapshotPartition{},
		producers:  map[sequence.ProducerKey]producer{},
		live:       map[uuid.UUID]struct{}{}, dead: map[uuid.UUID]struct{}{},
		offsets: map[groupPartition]metadata.SnapshotGroupOffset{},
	}
	topic := w.topic
	topic.Partitions = slices.Clone(topic.Partitions)
	s.topics[topic.ID] = &topic
	for id, p := range w.state.Partitions {
		s.partitions[id] = &metadata.SnapshotPartition{ID: id, NextOffset: p.NextOffset, MaxTimestamp: p.MaxTimestamp, FirstUnstable: -1, LastAborted: -1}
	}
	for key, p := range w.state.Producers {
		s.producers[key] = producer{Producer: p}
	}
	for _, f := range w.committed {
		s.live[f.id] = struct{}{}
	}
	return s
}

// lost is what a recovery finds in the bucket beside what the snapshot knows. known is how many of the commits since
// the snapshot merged files tell of.
func (w *world) lost(s *state, known int) []*file {
	var files []*file
	for _, f := range slices.Concat(w.committed, w.orphans) {
		if s.knows(f.id) {
			continue
		}
		f := *f
		if f.seq == 0 || f.seq > s.head.LastSeq+int64(known) {
			f.seq = 0
		}
		f.proven = f.seq > 0
		files = append(files, &f)
	}
	w.rng.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
	return files
}

// logOf is what the replay has put into a partition, batch by batch, with offsets, from its rows alone.
func logOf(t *testing.T, r *replay, partition metadata.PartitionID) (batches []metadata.Batch, offsets []int64) {
	t.Helper()
	files := map[uuid.UUID]*file{}
	for _, f := range r.order.files {
		files[f.id] = f
	}
	for _, run := range r.runs {
		if run.Partition != partition || run.Encoding == metadata.EncodingMarker {
			continue
		}
		f := files[run.FileID]
		s := f.sections[slices.IndexFunc(f.sections, func(s section) bool { return r.state.topics[s.topic].Partitions[s.index] == partition })]
		at, offset := int32(0), run.BaseOffset
		for _, b := range s.Batches {
			if int64(at) >= run.Position-s.Position && int64(at) < run.Position-s.Position+int64(run.Size) {
				batches, offsets = append(batches, b), append(offsets, offset)
				offset += int64(b.Records)
			}
			at += b.Size
		}
		if offset != run.NextOffset() {
			t.Fatalf("run %+v has batches up to %d", run, offset)
		}
	}
	return batches, offsets
}

func (w *world) recover(s *state, known int) *replay {
	w.t.Helper()
	r := newReplay(s, order(w.lost(s, known)), nil, &Report{})
	if err := r.run(); err != nil {
		w.t.Fatal(err)
	}
	r.finish()
	return r
}

// check compares what was restored with what producers were told.
func (w *world) check(s *state, before map[metadata.PartitionID]int, start map[metadata.PartitionID]int64, r *replay) {
	w.t.Helper()
	for _, id := range w.topic.Partitions {
		batches, offsets := logOf(w.t, r, id)
		next := start[id]
		for i, b := range batches {
			if offsets[i] != next {
				w.t.Fatalf("partition %d: batch at %d, want %d", id, offsets[i], next)
			}
			next += int64(b.Records)
		}
		if s.partitions[id].NextOffset != next {
			w.t.Fatalf("partition %d ends at %d, its batches at %d", id, s.partitions[id].NextOffset, next)
		}
		w.checkProducers(id, batches, w.acked[id][before[id]:])
	}
}

// checkProducers: what was acknowledged since the snapshot is there; that of an idempotent producer
// once, and in its order.
func (w *world) checkProducers(id metadata.PartitionID, batches, acked []metadata.Batch) {
	w.t.Helper()
	count := map[metadata.Batch]int{}
	byProducer, want := map[int64][]metadata.Batch{}, map[int64][]metadata.Batch{}
	for _, b := range batches {
		count[b]++
		byProducer[b.ProducerID] = append(byProducer[b.ProducerID], b)
	}
	for _, b := range acked {
		if count[b] == 0 || b.ProducerID >= 0 && count[b] != 1 {
			w.t.Fatalf("partition %d: batch %+v is there %d times", id, b, count[b])
		}
		want[b.ProducerID] = append(want[b.ProducerID], b)
	}
	delete(want, -1)
	for producer, want := range want {
		got := slices.DeleteFunc(byProducer[producer], func(b metadata.Batch) bool { return !slices.Contains(want, b) })
		if !slices.Equal(got, want) {
			i := 0
			for i < min(len(got), len(want)) && got[i] == want[i] {
				i++
			}
			w.t.Fatalf("partition %d, producer %d: %d batches, want %d; from the %d. on they differ: got %+v", id, producer, len(got), len(want), i, got[i:])
		}
	}
}

func (w *world) counts() (acked map[metadata.PartitionID]int, next map[metadata.PartitionID]int64) {
	acked, next = map[metadata.PartitionID]int{}, map[metadata.PartitionID]int64{}
	for id, p := range w.state.Partitions {
		acked[id], next[id] = len(w.acked[id]), p.NextOffset
	}
	return acked, next
}

// Whatever clocks say and answers get lost: nothing acknowledged is missing, and what idempotent producers sent is there
// once and in order.
func TestReplayKeepsWhatWasAcknowledged(t *testing.T) {
	runs := 300
	if testing.Short() {
		runs = 50
	}
	first := rand.Uint64()
	for i := range runs {
		seed := first + uint64(i)
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			w := newWorld(t, seed, 5*time.Minute, 0.2)
			for range w.rng.IntN(100) {
				w.step()
			}
			s := w.snapshot()
			before, start := w.counts()
			for range w.rng.IntN(200) {
				w.step()
			}
			since := int(w.seq - s.head.LastSeq)
			r := w.recover(s, w.rng.IntN(since+1))
			w.check(s, before, start, r)
			// Each producer goes on until it is answered, so nothing is missing in between.
			for _, topic := range r.report.Topics {
				if len(topic.Forced) > 0 || r.report.Files.Contradictions > 0 {
					t.Errorf("forced: %+v, %d contradictions", topic.Forced, r.report.Files.Contradictions)
				}
			}
			for key, p := range w.state.Producers {
				if got := s.producers[key]; got.Precedes(metadata.Batch{ProducerEpoch: p.Epoch, BaseSequence: (p.Last[len(p.Last)-1].LastSequence)}) {
					continue // what it sends next follows, or was restored from an orphan already
				}
				t.Errorf("producer %+v: got %+v, the store had %+v", key, s.producers[key], p)
			}
		})
	}
}

// Where merged files name every commit, and no agent left files behind, all is exactly as it was: offsets, producers,
// timestamps, whatever the clocks say.
func TestReplayIsExactWhereCommitsAreKnown(t *testing.T) {
	first := rand.Uint64()
	for i := range 50 {
		seed := first + uint64(i)
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			w := newWorld(t, seed, 9*time.Minute, 0)
			for range w.rng.IntN(50) {
				w.step()
			}
			s := w.snapshot()
			for range w.rng.IntN(200) {
				w.step()
			}
			r := w.recover(s, int(w.seq-s.head.LastSeq))
			w.wantExact(s, r)
		})
	}
}

// The same without merged files, where the clocks are right and files far enough apart.
func TestReplayIsExactWhereClocksAreRight(t *testing.T) {
	first := rand.Uint64()
	for i := range 50 {
		seed := first + uint64(i)
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			w := newWorld(t, seed, 0, 0)
			s := w.snapshot()
			for range w.rng.IntN(200) {
				w.now = w.now.Add(clockTolerance + time.Second)
				w.step()
			}
			w.wantExact(s, w.recover(s, 0))
		})
	}
}

func (w *world) wantExact(s *state, r *replay) {
	w.t.Helper()
	for id, p := range w.state.Partitions {
		if got := s.partitionState(id); got != p {
			w.t.Errorf("partition %d: got %+v, want %+v", id, got, p)
		}
	}
	got := map[sequence.ProducerKey]sequence.Producer{}
	for key, p := range s.producers {
		got[key] = p.Producer
	}
	if !maps.EqualFunc(got, w.state.Producers, func(a, b sequence.Producer) bool { return a.Epoch == b.Epoch && slices.Equal(a.Last, b.Last) }) {
		w.t.Errorf("producers: got %+v, want %+v", got, w.state.Producers)
	}
	for _, topic := range r.report.Topics {
		if len(topic.Ranges)+len(topic.Forced) != 0 || topic.ByClock != 0 || r.report.Files.Contradictions != 0 {
			w.t.Errorf("in doubt: %+v, %d contradictions", topic, r.report.Files.Contradictions)
		}
	}
}
