package compact

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/agent/maintenance/rewrite"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/protocol"
)

// modelLog is what compaction is to do to a partition, said in the simplest way: one record after the other.
type modelLog struct {
	records  []*modelRecord
	logStart int64
}

type modelRecord struct {
	keyed
	offset      int64
	transaction *modelTransaction // nil without one
	batch       *modelBatch
	gone        bool
}

type modelTransaction struct{ ended, committed bool }

type modelBatch struct {
	last int64
	// horizon is when its tombstones may go, 0 before a pass has cleaned it.
	horizon int64
}

func (r *modelRecord) counts() bool {
	return r.transaction == nil || r.transaction.ended && r.transaction.committed
}

// pass does what a pass up to the offset end at the time now does. A record that only records from end on replace
// may go, too, if they lie before the last stable offset: then stays asks whether it did.
func (m *modelLog) pass(end, stable, now, retention int64, stays func(offset int64) bool) {
	latest := map[string]int64{} // of records before end
	beyond := map[string]bool{}  // keys of records behind
	for _, r := range m.records {
		switch {
		case r.gone || r.key == nil || !r.counts() || r.offset >= stable:
		case r.offset < end:
			latest[string(r.key)] = r.offset
		default:
			beyond[string(r.key)] = true
		}
	}
	tombstones := map[*modelBatch]bool{}
	for _, r := range m.records {
		if r.offset >= end || r.gone {
			continue
		}
		horizon := r.batch.horizon
		switch {
		case r.key == nil, r.transaction != nil && !r.counts(), latest[string(r.key)] > r.offset:
			r.gone = true
		case r.value == nil && horizon > 0 && (horizon < now || horizon == now && !stays(r.offset)):
			r.gone = true // of two passes that began at the same time one may have given the horizon
		case beyond[string(r.key)] && !stays(r.offset):
			r.gone = true
		case r.value == nil:
			tombstones[r.batch] = true
		}
	}
	for b := range tombstones {
		if b.horizon == 0 && b.last < end {
			b.horizon = now + retention
		}
	}
}

// view is what a consumer reads from the offset on.
func (m *modelLog) view(offset, stable int64, committed bool) (view []*modelRecord) {
	for _, r := range m.records {
		if r.offset >= offset && !r.gone && (!committed || r.counts() && r.offset < stable) {
			view = append(view, r)
		}
	}
	return view
}

// player plays a random workload on a world and on the models of its partitions.
type player struct {
	*world
	rng        *rand.Rand
	topic      metadata.Topic
	retention  int64
	models     []*modelLog
	producers  []*metadata.ProducerEpoch
	open       []*modelTransaction // of each producer, nil without one
	compactors []*Compactor
	passes     int
}

func newPlayer(w *world, seed uint64) *player {
	rng := rand.New(rand.NewPCG(seed, 0))
	p := &player{world: w, rng: rng, retention: []int64{0, 1000, 3_600_000}[rng.IntN(3)]}
	p.topic = p.world.topic("t", 2, "delete.retention.ms", fmt.Sprint(p.retention))
	for i := range 2 {
		p.models = append(p.models, &modelLog{})
		p.producers = append(p.producers, p.producer(fmt.Sprint("p", i)))
		p.open = append(p.open, nil)
	}
	for range 2 {
		// Few keys make many passes; none at all, one record a pass.
		p.compactors = append(p.compactors, p.compactor([]int64{0, 3, 8, 1000}[rng.IntN(4)]))
	}
	return p
}

// produce writes a file of some batches to both partitions.
func (p *player) write() {
	codecs := []protocol.Codec{protocol.CodecNone, protocol.CodecNone, protocol.CodecGzip, protocol.CodecSnappy, protocol.CodecLZ4, protocol.CodecZstd}
	var batches []placed
	var noted [][]*modelRecord
	for range 1 + p.rng.IntN(4) {
		index := p.rng.IntN(2)
		records := make([]keyed, 1+p.rng.IntN(5))
		batch := &modelBatch{}
		transaction, who := (*modelTransaction)(nil), p.rng.IntN(4)
		if who < 2 {
			if p.open[who] == nil {
				p.open[who] = &modelTransaction{}
			}
			transaction = p.open[who]
		}
		var notes []*modelRecord
		for i := range records {
			r := keyed{key: fmt.Appendf(nil, "k%d", p.rng.IntN(9)), value: fmt.Appendf(nil, "v%d", p.rng.Uint32()), timestamp: time.Now().UnixMilli() - p.rng.Int64N(1000)}
			switch p.rng.IntN(12) {
			case 0, 1, 2:
				r.value = nil
			case 3:
				r.key = nil // from when the topic was not compacted
			case 4:
				r.value = bytes.Repeat(r.value, 50)
			}
			records[i] = r
			notes = append(notes, &modelRecord{keyed: r, transaction: transaction, batch: batch})
		}
		b := p.batch(codecs[p.rng.IntN(len(codecs))], records...)
		switch {
		case transaction != nil:
			b = p.by(*p.producers[who], true, p.topic.Partitions[index], b)
		case p.rng.IntN(4) == 0:
			b.SetLogAppendTime(time.Now().UnixMilli())
			for _, n := range notes {
				n.timestamp = b.MaxTimestamp()
			}
		}
		batches, noted = append(batches, placed{p.topic, int32(index), b}), append(noted, notes)
	}
	for i, offset := range p.produce(batches...) {
		for k, r := range noted[i] {
			r.offset = offset + int64(k)
			r.batch.last = r.offset
		}
		m := p.models[batches[i].index]
		m.records = append(m.records, noted[i]...)
	}
	for _, m := range p.models {
		slices.SortFunc(m.records, func(a, b *modelRecord) int { return int(a.offset - b.offset) })
	}
}

func (p *player) finish(who int, commit bool) {
	if p.open[who] != nil {
		p.end(fmt.Sprint("p", who), p.producers[who], commit)
		p.open[who].ended, p.open[who].committed = true, commit
		p.open[who] = nil
	}
}

// cleaned does a round of compaction, and all that it did to the models.
func (p *player) round() {
	c := p.compactors[p.rng.IntN(2)]
	c.config.FileBytes = []int64{1, 500, 1 << 20}[p.rng.IntN(3)]
	c.config.WindowBytes = []int64{100, 1 << 20}[p.rng.IntN(2)]
	c.slice = []int64{1, 1000, 1 << 30}[p.rng.IntN(3)]
	p.store.finished = map[metadata.PartitionID]int64{}
	now := time.Now().UnixMilli()
	if c.large != nil {
		now = c.large.now.UnixMilli() // it goes on with a pass
	}
	c.due = nil
	if _, err := c.Round(p.Context(), p.progress); err != nil {
		p.Fatal(err)
	}
	for index, id := range p.topic.Partitions {
		end, passed := p.store.finished[id]
		if !passed {
			p.sync(index)
			continue
		}
		p.passes++
		stands := map[int64]bool{}
		for _, r := range p.read(id, p.models[index].logStart, false) {
			stands[r.Offset] = true
		}
		p.models[index].pass(end, p.bounds(id).StableOffset, now, p.retention, func(offset int64) bool { return stands[offset] })
	}
}

// sync takes over to the model what a pass did that is not over: if it may do it.
func (p *player) sync(index int) {
	m, id := p.models[index], p.topic.Partitions[index]
	stable, now := p.bounds(id).StableOffset, time.Now().UnixMilli()
	stands, latest := map[int64]bool{}, map[string]int64{}
	for _, r := range p.read(id, m.logStart, false) {
		stands[r.Offset] = true
	}
	for _, r := range m.records {
		if !r.gone && r.key != nil && r.counts() && r.offset < stable {
			latest[string(r.key)] = r.offset
		}
	}
	runs, _ := p.runsFrom(id, m.logStart)
	horizons := map[int64]int64{} // by the last offset of the batch
	for _, b := range p.batches(runs) {
		if ms, has := b.DeleteHorizon(); has {
			horizons[b.BaseOffset()+int64(b.LastOffsetDelta())] = ms
		}
	}
	for _, r := range m.records {
		if !r.gone && !stands[r.offset] {
			r.gone = true
			expired := r.value == nil && r.batch.horizon > 0 && r.batch.horizon <= now
			if r.offset >= stable || r.key != nil && r.counts() && latest[string(r.key)] <= r.offset && !expired {
				p.Errorf("partition %d: the record at %d went in the middle of a pass", index, r.offset)
			}
		}
		if r.batch.horizon == 0 {
			r.batch.horizon = horizons[r.batch.last]
		}
	}
}

// merge puts all runs of a partition, or some, into one, as the job of that name does.
func (p *player) merge() {
	index := p.rng.IntN(2)
	id := p.topic.Partitions[index]
	runs, _ := p.runsFrom(id, p.models[index].logStart)
	if len(runs) < 2 {
		return
	}
	from := p.rng.IntN(len(runs) - 1)
	runs = runs[from : from+2+p.rng.IntN(len(runs)-from-1)]
	p.mergeRuns(index, runs)
}

func (w *world) mergeInto(topic metadata.Topic, index int, runs []metadata.Run) {
	w.Helper()
	out, err := rewrite.NewOutput(w.bucket, w.store, w.progress, datafile.Auto)
	if err == nil {
		err = out.Begin(rewrite.Place{TopicID: topic.ID, Index: int32(index), Partition: topic.Partitions[index]}, runs[0].BaseOffset)
	}
	for _, b := range w.batches(runs) {
		if err == nil {
			err = out.Add(b)
		}
	}
	if err != nil {
		w.Fatal(err)
	}
	var keys []metadata.RunKey
	for _, r := range runs {
		keys = append(keys, metadata.RunKey{BaseOffset: r.BaseOffset, FileID: r.FileID})
	}
	last := runs[len(runs)-1]
	if err := out.End(last.NextOffset(), last.MaxTimestamp, keys); err != nil {
		w.Fatal(err)
	}
	if taken, err := out.Commit(w.Context(), rewrite.Origin{Level: 1}); err != nil || !taken[0] {
		w.Fatalf("taken %v, %v", taken, err)
	}
}

func (p *player) mergeRuns(index int, runs []metadata.Run) { p.mergeInto(p.topic, index, runs) }

// trim deletes records from the front.
func (p *player) trim() {
	index := p.rng.IntN(2)
	id := p.topic.Partitions[index]
	bounds := p.bounds(id)
	if bounds.NextOffset == bounds.LogStartOffset {
		return
	}
	before := min(bounds.LogStartOffset+p.rng.Int64N(10), bounds.NextOffset)
	if _, err := p.store.DeleteRecords(p.Context(), []metadata.RecordsDeletion{{Partition: id, Before: before}}); err != nil {
		p.Fatal(err)
	}
	m := p.models[index]
	m.logStart = before
	m.records = slices.DeleteFunc(m.records, func(r *modelRecord) bool { return r.offset < before })
}

// check reads from every offset on, as both kinds of consumers, and looks at the batches.
func (p *player) check() {
	p.Helper()
	for index, id := range p.topic.Partitions {
		m, bounds := p.models[index], p.bounds(id)
		for offset := bounds.LogStartOffset; offset < bounds.NextOffset; offset++ {
			runs, aborted := p.runsFrom(id, offset)
			batches := p.batches(runs)
			for _, committed := range []bool{false, true} {
				end := int64(math.MaxInt64)
				if committed {
					end = bounds.StableOffset
				}
				p.compare(decode(p, batches, aborted, offset, end, committed), m.view(offset, bounds.StableOffset, committed), index, offset, committed)
			}
			if p.Failed() {
				p.FailNow()
			}
		}
		p.checkRows(id, bounds)
	}
}

func (p *player) compare(got []*kgo.Record, want []*modelRecord, index int, offset int64, committed bool) {
	p.Helper()
	text := func(offset int64, key, value []byte, timestamp int64) string {
		return fmt.Sprintf("%d:%q(%v)=%q(%v)@%d", offset, key, key == nil, value, value == nil, timestamp)
	}
	var g, w []string
	for _, r := range got {
		g = append(g, text(r.Offset, r.Key, r.Value, r.Timestamp.UnixMilli()))
	}
	for _, r := range want {
		w = append(w, text(r.offset, r.key, r.value, r.timestamp))
	}
	if !slices.Equal(g, w) {
		p.Errorf("partition %d from offset %d, committed only: %v, after %d passes\ngot  %s\nwant %s", index, offset, committed, p.passes, g, w)
	}
}

// checkRows: the runs cover all offsets, and the last batch of each ends with it.
func (w *world) checkRows(id metadata.PartitionID, bounds metadata.Compaction) {
	w.Helper()
	runs, _ := w.runsFrom(id, bounds.LogStartOffset)
	if bounds.LogStartOffset == bounds.NextOffset {
		return
	}
	if runs[0].BaseOffset > bounds.LogStartOffset || runs[len(runs)-1].NextOffset() != bounds.NextOffset {
		w.Errorf("runs from %d to %d, log from %d to %d", runs[0].BaseOffset, runs[len(runs)-1].NextOffset(), bounds.LogStartOffset, bounds.NextOffset)
	}
	for i, r := range runs {
		if i > 0 && r.BaseOffset != runs[i-1].NextOffset() {
			w.Errorf("run from %d behind one to %d", r.BaseOffset, runs[i-1].NextOffset())
		}
		batches := w.batches([]metadata.Run{r})
		last := batches[len(batches)-1]
		if next := last.BaseOffset() + int64(last.LastOffsetDelta()) + 1; next != r.NextOffset() {
			w.Errorf("the run ends at %d, its last batch at %d", r.NextOffset(), next)
		}
	}
}

func TestCompactedLogIsTheModels(t *testing.T) {
	first, rounds := uint64(time.Now().UnixNano()), 8
	if testing.Short() {
		rounds = 3
	}
	for seed := first; seed < first+uint64(rounds); seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(w *world) { newPlayer(w, seed).play() })
		})
	}
}

func (p *player) play() {
	for range 60 {
		switch p.rng.IntN(14) {
		case 0, 1, 2, 3, 4:
			p.write()
		case 5, 6, 7:
			p.finish(p.rng.IntN(2), p.rng.IntN(2) == 0)
		case 8, 9, 10:
			p.round()
			p.check()
		case 11:
			p.wait([]time.Duration{10 * time.Second, 11 * time.Minute, 2 * time.Hour}[p.rng.IntN(3)])
		case 12:
			p.merge()
		case 13:
			if p.rng.IntN(3) == 0 {
				p.trim()
			}
		}
	}
	// In the end nothing is open, everything is clean and every horizon has passed.
	p.finish(0, true)
	p.finish(1, false)
	for range 4 {
		p.write()
		p.finish(0, p.rng.IntN(2) == 0)
		p.finish(1, p.rng.IntN(2) == 0)
		p.settle()
		p.wait(3 * time.Hour)
	}
	p.check()
}

// settle compacts until all is clean.
func (p *player) settle() {
	p.Helper()
	for range 1000 {
		clean := true
		for _, id := range p.topic.Partitions {
			b := p.bounds(id)
			clean = clean && b.CleanUntil == b.NextOffset
		}
		if clean {
			return
		}
		p.round()
	}
	p.Fatal("no end of passes")
}
