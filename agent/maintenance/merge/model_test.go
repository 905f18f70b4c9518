package merge

import (
	"math/rand/v2"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/time/rate"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/protocol"
)

// TestMergesKeepRandomLogsAsTheyAre plays producers, plain, idempotent with duplicates, and transactional, beside
// merges up to the highest level, and holds the log to the model after each step, and both to the bounds.
func TestMergesKeepRandomLogsAsTheyAre(t *testing.T) {
	random := seeded(t)
	c := newCluster(t, 1, 7, 20)
	m := c.merger(Config{FileBytes: 128 << 10}) // so that files are cut, and some runs
	for i := range m.claims[1:] {
		m.claims[i+1].MaxFiles = 12
	}
	reg := prometheus.NewRegistry()
	p := maintenance.NewProgress("merge", rate.NewLimiter(rate.Inf, 1<<20), maintenance.NewMetrics(reg))
	players := []*player{newPlayer(t, c), newPlayer(t, c)}
	idempotent := &idempotent{id: c.begin(t).ID, sequences: map[at]int32{}}
	most := 0
	for step := range 150 {
		c.playStep(t, random, players, idempotent)
		if step%3 == 2 {
			if _, err := m.Round(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		if step%30 == 29 {
			c.check(t)
		}
	}
	for _, player := range players {
		player.finish(t, c)
	}
	for more := true; more; {
		var err error
		if more, err = m.Round(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	c.check(t)
	for partition := range c.want {
		runs := c.runs(t, partition)
		most = max(most, len(runs))
		// What waits on each level (a file of producers may have several, around duplicates), what is settled, and what is
		// cut because it is larger than a file.
		var bytes int64
		for _, b := range c.want[partition] {
			bytes += int64(len(b))
		}
		if bound := 3*4 + 2*11 + 150/(4*12) + 1 + int(2*bytes/(128<<10)); len(runs) > bound {
			t.Errorf("partition %d of %d bytes has %d rows, more than %d", partition, bytes, len(runs), bound)
		}
	}
	written := total(t, reg, "wadi_job_written_bytes_total")
	if written == 0 {
		t.Fatal("nothing was merged")
	}
	amplification := (float64(c.produced) + written) / float64(c.produced)
	t.Logf("write amplification %.2f: %d bytes by producers, %.0f by merges; at most %d rows of a partition", amplification, c.produced, written, most)
	if amplification > 1+metadata.MaxFileLevel {
		t.Errorf("write amplification is %.2f", amplification)
	}
}

func total(t *testing.T, reg *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, metric := range f.GetMetric() {
				sum += metric.GetCounter().GetValue()
			}
		}
	}
	if n, err := testutil.GatherAndCount(reg, name); err != nil || n == 0 {
		t.Fatalf("no metric %s: %v", name, err)
	}
	return sum
}

// player writes transactions.
type player struct {
	*transaction
	open bool
}

func newPlayer(t *testing.T, c *cluster) *player { return &player{transaction: c.begin(t)} }

func (p *player) finish(t *testing.T, c *cluster) {
	if p.open {
		c.end(t, p.transaction, true)
		p.open = false
	}
}

// idempotent is a producer that sends its last batches again.
type idempotent struct {
	id        int64
	sequences map[at]int32
	last      map[at]protocol.Batch
}

// playStep commits one file with batches of all kinds, or ends transactions, or deletes records.
func (c *cluster) playStep(t *testing.T, random *rand.Rand, players []*player, again *idempotent) {
	t.Helper()
	if random.IntN(25) == 0 {
		c.deleteSome(t, random)
	}
	if p := players[random.IntN(len(players))]; p.open && random.IntN(3) == 0 {
		c.end(t, p.transaction, random.IntN(3) > 0)
		p.open = false
	}
	batches := map[at][]protocol.Batch{}
	sent := map[at]protocol.Batch{}
	for topic := range c.topics {
		for index := range c.topics[topic].Partitions {
			place := at{topic, int32(index)}
			for range random.IntN(4) {
				size := 5 + random.IntN(400)
				if random.IntN(60) == 0 {
					size = 30_000
				}
				b := makeBatch(t, random, 1+random.IntN(4), size)
				if random.IntN(6) == 0 {
					var err error
					if b, err = protocol.Recompress(b, protocol.CodecLZ4, protocol.CodecLZ4.DefaultLevel(), 1<<20); err != nil {
						t.Fatal(err)
					}
				}
				switch random.IntN(4) {
				case 0:
					p := players[random.IntN(len(players))]
					b = p.batch(place, b)
					p.open = true
				case 1:
					// The duplicate lies between others, which are no neighbours then.
					if last, ok := again.last[place]; ok && random.IntN(2) == 0 {
						batches[place] = append(batches[place], last)
						break
					}
					if _, ok := sent[place]; ok {
						break
					}
					b = setProducer(b, again.id, 0, again.sequences[place], false)
					again.sequences[place] += b.LastOffsetDelta() + 1
					sent[place] = b
				}
				batches[place] = append(batches[place], b)
			}
		}
	}
	if again.last == nil {
		again.last = map[at]protocol.Batch{}
	}
	if len(batches) == 0 {
		return
	}
	c.produce(t, []datafile.Compression{datafile.Auto, datafile.None}[random.IntN(2)], batches)
	for place, b := range sent {
		again.last[place] = b
	}
}

// deleteSome raises the log start of a partition to the beginning of a batch.
func (c *cluster) deleteSome(t *testing.T, random *rand.Rand) {
	t.Helper()
	topic := c.topics[random.IntN(len(c.topics))]
	partition := topic.Partitions[random.IntN(len(topic.Partitions))]
	want := c.want[partition]
	if len(want) == 0 {
		return
	}
	keep := random.IntN(len(want))
	bounds, err := c.store.Store.Bounds(t.Context(), []metadata.PartitionID{partition})
	if err != nil {
		t.Fatal(err)
	}
	before := want[keep].BaseOffset()
	if before > bounds[0].StableOffset {
		return
	}
	if _, err := c.store.Store.DeleteRecords(t.Context(), []metadata.RecordsDeletion{{Partition: partition, Before: before}}); err != nil {
		t.Fatal(err)
	}
	c.start[partition] = max(c.start[partition], before)
}
