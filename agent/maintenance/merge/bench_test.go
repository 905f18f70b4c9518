package merge

import (
	"testing"

	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/protocol"
)

// BenchmarkMerge merges files of 1,000 partitions from memory, for the first time, which compresses them anew.
func BenchmarkMerge(b *testing.B) {
	const partitions, files = 1000, 16
	for b.Loop() {
		b.StopTimer()
		c := newCluster(b, partitions)
		random := seeded(b)
		batches := map[at][]protocol.Batch{}
		for p := range int32(partitions) {
			batches[at{0, p}] = []protocol.Batch{makeBatch(b, random, 4, 1000)}
		}
		for range files {
			c.produce(b, datafile.Auto, batches)
		}
		m := c.merger(Config{FileBytes: 16 << 20, MemoryBytes: 256 << 20})
		m.claims[0].MaxFiles, m.claims[1].MaxFiles = files, 1000
		b.StartTimer()
		more, err := m.merge(b.Context(), progress(), outputsOf(b, m), m.claims[0])
		if !more || err != nil {
			b.Fatal(more, err)
		}
		b.SetBytes(c.produced)
	}
}
