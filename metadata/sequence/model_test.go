package sequence

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

// model is the sequencer as one would write it without thinking of cost: each
// partition is the list of all batches that it ever accepted.
type model struct {
	partitions map[metadata.PartitionID][]modelBatch
	ids        map[string]*modelID
}

type modelBatch struct {
	metadata.Batch
	offset int64
	// tx is the transaction that the batch belongs to, or that the marker ends.
	tx     *modelTransaction
	marker bool
}

// sequences lists each record's sequence, counting as Kafka does.
func sequences(b metadata.Batch) []int64 {
	out := make([]int64, b.Records)
	next := int64(b.BaseSequence)
	for i := range out {
		out[i] = next
		if next++; next == 1<<31 {
			next = 0
		}
	}
	return out
}

func (m *model) nextOffset(id metadata.PartitionID) int64 {
	offset := int64(0)
	for _, b := range m.partitions[id] {
		offset += int64(b.Records)
	}
	return offset
}

func (m *model) commit(id metadata.PartitionID, b metadata.Batch, now time.Time) metadata.Outcome {
	refused := func(err error) metadata.Outcome { return metadata.Outcome{BaseOffset: -1, Err: err} }
	if _, ok := m.partitions[id]; !ok {
		return refused(metadata.ErrUnknownPartition)
	}
	var own []modelBatch
	for _, before := range m.partitions[id] {
		if before.ProducerID == b.ProducerID && !before.marker {
			own = append(own, before)
		}
	}
	var transactionalID *modelID
	if b.ProducerID >= 0 {
		if offset, ok := modelDuplicate(own, b); ok {
			return metadata.Outcome{BaseOffset: offset, Duplicate: true}
		}
		if b.Transactional {
			var err error
			if transactionalID, err = m.mayEnter(id, b); err != nil {
				return refused(err)
			}
		}
		if err := modelFollows(own, b); err != nil {
			return refused(err)
		}
	}
	entry := modelBatch{Batch: b, offset: m.nextOffset(id)}
	if transactionalID != nil {
		transactionalID.begin(metadata.TransactionV2, now)
		entry.tx = transactionalID.open
		entry.tx.partitions[id] = true
	}
	m.partitions[id] = append(m.partitions[id], entry)
	return metadata.Outcome{BaseOffset: entry.offset}
}

// modelDuplicate looks for the batch among the producer's last ones.
func modelDuplicate(own []modelBatch, b metadata.Batch) (offset int64, ok bool) {
	for i := len(own) - 1; i >= max(0, len(own)-5); i-- {
		o := own[i]
		same := o.ProducerEpoch == b.ProducerEpoch && o.BaseSequence == b.BaseSequence && o.Records == b.Records
		if same && o.ProducerEpoch == own[len(own)-1].ProducerEpoch {
			return o.offset, true
		}
	}
	return 0, false
}

// modelFollows judges whether the batch may follow the producer's own.
func modelFollows(own []modelBatch, b metadata.Batch) error {
	if len(own) == 0 {
		if b.AddsPartition && b.BaseSequence != 0 {
			return metadata.ErrOutOfOrderSequence
		}
		return nil
	}
	newest := own[len(own)-1]
	switch {
	case b.ProducerEpoch < newest.ProducerEpoch:
		return metadata.ErrInvalidProducerEpoch
	case b.ProducerEpoch > newest.ProducerEpoch && b.BaseSequence == 0:
		return nil
	case b.ProducerEpoch > newest.ProducerEpoch:
		return metadata.ErrOutOfOrderSequence
	}
	all := sequences(newest.Batch)
	if want := (all[len(all)-1] + 1) % (1 << 31); int64(b.BaseSequence) != want {
		return metadata.ErrOutOfOrderSequence
	}
	return nil
}

// world drives Decide and DecideTransactions and the model side by side, keeping the
// state as a store would.
type world struct {
	t     testing.TB
	model model
	ids   uint64
	// state is everything that there is; Transactions are by producer ID.
	state State
	transactionRows
}

func newWorld(t testing.TB, partitions int) *world {
	w := &world{t: t, state: State{
		Now:           time.UnixMilli(1_800_000_000_000),
		Partitions:    map[metadata.PartitionID]Partition{},
		Producers:     map[ProducerKey]Producer{},
		Transactions:  map[int64]metadata.Transaction{},
		InTransaction: map[ProducerKey]int64{},
	}, model: model{
		partitions: map[metadata.PartitionID][]modelBatch{},
		ids:        map[string]*modelID{},
	}, transactionRows: newTransactionRows()}
	for i := range partitions {
		id := metadata.PartitionID(i + 1)
		w.state.Partitions[id] = Partition{MaxTimestamp: -1, FirstUnstable: -1}
		w.model.partitions[id] = []modelBatch{}
	}
	return w
}

// fileID makes a UUIDv7 dated at the time.
func fileID(at time.Time, n uint64) uuid.UUID {
	id := uuid.UUID{6: 0x70, 8: 0x80}
	ms := at.UnixMilli()
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	for i := range 7 {
		id[15-i] = byte(n >> (8 * i))
	}
	return id
}

func (w *world) nextFileID() uuid.UUID {
	w.ids++
	return fileID(w.state.Now, w.ids)
}

// read returns what a store would read of the state: what Keys names.
func (w *world) read(files []metadata.File) State {
	partitions, producers, transactional := Keys(files)
	state := State{
		Now:           w.state.Now,
		Partitions:    pick(w.state.Partitions, partitions),
		Producers:     pick(w.state.Producers, producers),
		Transactions:  pick(w.state.Transactions, transactional),
		InTransaction: map[ProducerKey]int64{},
	}
	for _, key := range producers {
		if first, ok := w.state.InTransaction[key]; ok && slices.Contains(transactional, key.ProducerID) {
			state.InTransaction[key] = first
		}
	}
	return state
}

func pick[K comparable, V any](all map[K]V, keys []K) map[K]V {
	picked := map[K]V{}
	for _, k := range keys {
		if v, ok := all[k]; ok {
			picked[k] = v
		}
	}
	return picked
}

// commit decides on the files, compares with the model, checks the runs and
// applies the new states.
func (w *world) commit(files []metadata.File) Decision {
	w.t.Helper()
	if err := Validate(files); err != nil {
		w.t.Fatalf("Validate: %v", err)
	}
	state := w.read(files)
	before := fmt.Sprint(state)
	d, err := Decide(state, files)
	if err != nil {
		w.t.Fatalf("Decide: %v", err)
	}
	if after := fmt.Sprint(state); after != before {
		w.t.Fatalf("Decide changed its input:\n%s\n%s", before, after)
	}
	for i, f := range files {
		for j, a := range f.Appends {
			for k, b := range a.Batches {
				got, want := d.Files[i].Result.Outcomes[j][k], w.model.commit(a.Partition, b, w.state.Now)
				if got.BaseOffset != want.BaseOffset || got.Duplicate != want.Duplicate || !errors.Is(got.Err, want.Err) {
					w.t.Fatalf("file %d, partition %d, batch %+v: got %+v, want %+v", i, a.Partition, b, got, want)
				}
			}
		}
		w.checkRuns(f, d.Files[i])
		w.follow(metadata.Commit{Runs: d.Files[i].Runs, Stable: d.Files[i].Stable})
	}
	w.apply(d)
	w.check()
	return d
}

func (w *world) apply(d Decision) {
	w.t.Helper()
	for _, c := range d.Partitions {
		w.state.Partitions[c.ID] = c.Partition
	}
	for _, c := range d.Producers {
		if _, known := w.state.Producers[c.ProducerKey]; known == c.New {
			w.t.Fatalf("producer %+v: New is %v", c.ProducerKey, c.New)
		}
		if len(c.Last) == 0 || len(c.Last) > Window {
			w.t.Fatalf("producer %+v remembers %d batches", c.ProducerKey, len(c.Last))
		}
		w.state.Producers[c.ProducerKey] = c.Producer
	}
	for _, c := range d.Transactions {
		w.putTransaction(c)
	}
	for _, c := range d.TransactionPartitions {
		key := ProducerKey{Partition: c.Partition, ProducerID: c.ProducerID}
		if first, joined := w.state.InTransaction[key]; joined == c.New || joined && first >= 0 || c.FirstOffset < 0 {
			w.t.Fatalf("%+v goes over first offset %d, %v", c, first, joined)
		}
		w.state.InTransaction[key] = c.FirstOffset
	}
}

// check compares the partitions with the model's.
func (w *world) check() {
	w.t.Helper()
	for id, log := range w.model.partitions {
		p := w.state.Partitions[id]
		wantMax := int64(-1)
		for _, b := range log {
			wantMax = max(wantMax, b.MaxTimestamp)
		}
		if p.NextOffset != w.model.nextOffset(id) || p.MaxTimestamp != wantMax {
			w.t.Fatalf("partition %d: got %+v, want next offset %d and max timestamp %d", id, p, w.model.nextOffset(id), wantMax)
		}
	}
	w.checkTransactions()
}

// checkRuns: the runs hold the accepted batches and nothing else, in order,
// byte by byte, and no two of them could be one.
func (w *world) checkRuns(f metadata.File, d FileDecision) {
	w.t.Helper()
	runs := d.Runs
	for i, a := range f.Appends {
		pos, covered, previousEnd := int32(0), int64(0), int32(-1)
		for j, b := range a.Batches {
			o := d.Result.Outcomes[i][j]
			start := pos
			pos += b.Size
			if o.Err != nil || o.Duplicate {
				continue
			}
			if covered == 0 {
				if len(runs) == 0 {
					w.t.Fatalf("accepted batch %+v lies in no run", b)
				}
				if start == previousEnd {
					w.t.Fatalf("runs split at %d without need", start)
				}
				w.checkRunStart(f.ID, a, runs[0], o.BaseOffset, start)
			}
			covered += int64(b.Size)
			if runs[0].BaseOffset > o.BaseOffset || runs[0].NextOffset() < o.BaseOffset+int64(b.Records) {
				w.t.Fatalf("batch at %d is outside of run %+v", o.BaseOffset, runs[0])
			}
			if covered == int64(runs[0].Size) {
				if runs[0].NextOffset() != o.BaseOffset+int64(b.Records) {
					w.t.Fatalf("run %+v does not end with batch %+v", runs[0], o)
				}
				runs, covered, previousEnd = runs[1:], 0, pos
			}
		}
		if covered != 0 {
			w.t.Fatalf("run %+v holds more than its batches", runs[0])
		}
	}
	if len(runs) != 0 {
		w.t.Fatalf("runs that hold no accepted batch: %+v", runs)
	}
}

func (w *world) checkRunStart(file uuid.UUID, a metadata.Append, r metadata.Run, offset int64, start int32) {
	w.t.Helper()
	if r.FileID != file || r.Partition != a.Partition || r.Encoding != a.Encoding || r.BaseOffset != offset {
		w.t.Fatalf("run %+v of partition %d starts at offset %d", r, a.Partition, offset)
	}
	if a.Encoding == metadata.EncodingRaw {
		if r.Position != a.Position+int64(start) || r.Skip != 0 || r.StoredSize != r.Size {
			w.t.Fatalf("raw run %+v does not start at %d + %d", r, a.Position, start)
		}
	} else if r.Position != a.Position || r.StoredSize != a.StoredSize || r.Skip != start {
		w.t.Fatalf("framed run %+v does not start at %d in %+v", r, start, a)
	}
}

// producerScript makes batches that mostly follow their producer's last one,
// near the wrap, and sometimes repeat, skip, or change the epoch.
type producerScript struct {
	epoch   int16
	next    int32
	history []metadata.Batch
}

func (p *producerScript) batch(choose func(n int) int, id int64) metadata.Batch {
	b := metadata.Batch{
		Size: int32(1 + choose(50)), Records: int32(1 + choose(5)), MaxTimestamp: int64(choose(1000)) - 1,
		ProducerID: id, ProducerEpoch: p.epoch, BaseSequence: p.next,
	}
	switch choose(10) {
	case 0:
		if len(p.history) > 0 {
			return p.history[len(p.history)-1-choose(min(len(p.history), 8))]
		}
	case 1:
		b.BaseSequence = addSequence(b.BaseSequence, int32(choose(3)))
	case 2:
		b.ProducerEpoch += int16(choose(3) - 1)
		if b.ProducerEpoch < 0 {
			b.ProducerEpoch = 0
		}
		if choose(4) > 0 {
			b.BaseSequence = 0
		}
		p.epoch = b.ProducerEpoch
	}
	p.next = addSequence(b.BaseSequence, b.Records)
	p.history = append(p.history, b)
	return b
}

// play commits files without transactions that the choices describe, in calls of several files.
func play(t testing.TB, calls int, choose func(n int) int) {
	const partitions, producers = 3, 3
	w := newWorld(t, partitions)
	scripts := map[ProducerKey]*producerScript{}
	for range calls {
		files := make([]metadata.File, 1+choose(3))
		for i := range files {
			files[i] = metadata.File{ID: w.nextFileID(), Size: 1}
			// One partition more than exists: unknown to the store.
			for id := 1; id <= partitions+1; id++ {
				if choose(3) == 0 {
					continue
				}
				a := metadata.Append{Partition: metadata.PartitionID(id), Encoding: metadata.Encoding(choose(2)), Position: int64(choose(100))}
				for range 1 + choose(4) {
					key := ProducerKey{Partition: a.Partition, ProducerID: int64(choose(producers+1)) - 1}
					b := metadata.Batch{Size: int32(1 + choose(50)), Records: int32(1 + choose(5)), MaxTimestamp: int64(choose(1000)), ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}
					if key.ProducerID >= 0 {
						if scripts[key] == nil {
							scripts[key] = &producerScript{next: addSequence(1<<31-20, int32(choose(30)))}
						}
						b = scripts[key].batch(choose, key.ProducerID)
					}
					a.Batches = append(a.Batches, b)
					a.StoredSize += b.Size
				}
				files[i].Appends = append(files[i].Appends, a)
			}
		}
		w.commit(files)
	}
}

func TestDecideAgreesWithNaiveModel(t *testing.T) {
	for i := range 300 {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		t.Run(fmt.Sprintf("seed=%d,%d", seed, i), func(t *testing.T) { play(t, 30, rng.IntN) })
	}
}

func FuzzDecide(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("a producer near the wrap, then some more of it, and a duplicate"))
	f.Add([]byte{2, 1, 0, 1, 3, 1, 9, 9, 9, 1, 0, 0, 0, 2, 2, 2, 200, 201, 202, 203})
	f.Fuzz(func(t *testing.T, choices []byte) {
		calls := 1 + min(len(choices)/16, 20)
		play(t, calls, func(n int) int {
			if len(choices) == 0 {
				return 0
			}
			c := int(choices[0])
			choices = choices[1:]
			return c % n
		})
	})
}
