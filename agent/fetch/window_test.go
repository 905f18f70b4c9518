package fetch

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/protocol"
)

// TestRunsOfOneFileAreReadTogether: some files have runs of most partitions, some of one, and after a merge a file is newer than those
// whose runs come after its own.
func TestRunsOfOneFileAreReadTogether(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		files := make([]uuid.UUID, 1+r.IntN(8))
		for i := range files {
			files[i] = newFileID(t)
		}
		merged := newFileID(t)
		var items []item
		for part := range r.IntN(6) {
			if r.IntN(2) == 0 {
				items = append(items, item{part: part, run: &metadata.Run{FileID: merged, BaseOffset: -1}})
			}
			for i, file := range files {
				if r.IntN(4) > 0 {
					items = append(items, item{part: part, run: &metadata.Run{FileID: file, BaseOffset: int64(i)}})
				}
				if r.IntN(4) == 0 {
					items = append(items, item{part: part, run: &metadata.Run{Encoding: metadata.EncodingMarker}})
				}
			}
		}
		got := byFile(slices.Clone(items))
		if len(items) > 0 && got[0] != items[0] {
			t.Fatalf("the first item is of partition %d", got[0].part)
		}
		again := slices.Clone(got)
		slices.SortStableFunc(again, func(a, b item) int { return a.part - b.part })
		if !slices.Equal(again, items) {
			t.Fatal("the items of a partition are others, or in another order")
		}
		var order []uuid.UUID
		for _, it := range got {
			if it.run.Encoding != metadata.EncodingMarker {
				order = append(order, it.run.FileID)
			}
		}
		order = slices.Compact(order)[min(1, len(order)):] // the first may come apart from the others of its file
		slices.SortFunc(order, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
		if len(slices.Compact(slices.Clone(order))) < len(order) {
			t.Fatal("a file comes twice")
		}
	}
}

// TestFilesInOppositeOrders: no two partitions have such, but what can't be is put in order all the same.
func TestFilesInOppositeOrders(t *testing.T) {
	a, b := &metadata.Run{FileID: newFileID(t)}, &metadata.Run{FileID: newFileID(t)}
	items := []item{{part: 0, run: a}, {part: 1, run: a}, {part: 1, run: b}, {part: 2, run: b}, {part: 2, run: a}}
	want := []item{{part: 0, run: a}, {part: 1, run: a}, {part: 1, run: b}, {part: 2, run: b}, {part: 2, run: a}}
	if got := byFile(items); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// TestEachBlockIsReadOnceForAllPartitions though the cache holds a part of what a request reads.
func TestEachBlockIsReadOnceForAllPartitions(t *testing.T) {
	config := DefaultBlocksConfig(4 << 20)
	config.BlockBytes, config.RangeBytes = 1<<20, 4<<20
	f := newReadFixture(t, memoryBucket(), config)
	const partitions, files = 6, 48
	batch := makeBatch(t, protocol.CodecNone, recs(1, 150_000, 0)...)
	batches := map[metadata.PartitionID][]protocol.Batch{}
	for p := range metadata.PartitionID(partitions) {
		batches[p] = []protocol.Batch{batch}
	}
	var parts []asked
	var plans []plan
	for range files {
		written := f.write(t, datafile.None, batches)
		for p := range metadata.PartitionID(partitions) {
			if len(parts) < partitions {
				parts, plans = append(parts, asked{p, 0, 1 << 30}), append(plans, plan{pool: Cold})
			}
			plans[p] = planned(append(plans[p].runs, written[p])...)
			plans[p].pool = Cold
		}
	}
	for i, got := range f.read(t.Context(), parts, plans, limits{maxBytes: 1 << 30}, noReplan(t)) {
		if got.err != nil || got.next != files {
			t.Errorf("partition %d: read up to %d, %v", i, got.next, got.err)
		}
	}
	if got := counted(f.metrics.fromStore); got != files {
		t.Errorf("%d blocks were read of %d files of one", got, files)
	}
}

// TestFirstPartitionsKeepTheirShare though the runs of another one come earlier, and are larger than what is left for it.
func TestFirstPartitionsKeepTheirShare(t *testing.T) {
	f := newReadFixture(t, memoryBucket(), DefaultBlocksConfig(1<<20))
	batch := makeBatch(t, protocol.CodecNone, recs(1, 1000, 0)...)
	var first, second []metadata.Run
	for n := range 5 {
		batches := map[metadata.PartitionID][]protocol.Batch{0: {batch, batch}}
		if n == 1 {
			batches[1] = slices.Repeat([]protocol.Batch{batch}, 6)
		}
		runs := f.write(t, datafile.None, batches)
		first = append(first, runs[0])
		if n == 1 {
			second = append(second, runs[1])
		}
	}
	size := int64(len(batch))
	parts, plans := []asked{{0, 0, 1 << 20}, {1, 0, 1 << 20}}, []plan{{until: 10, runs: first}, {until: 6, runs: second}}
	share(parts, plans, 11*size)
	got := f.read(t.Context(), parts, plans, limits{maxBytes: 11 * size}, noReplan(t))
	if got[0].next != 10 || got[1].next != 1 {
		t.Errorf("read up to %d and %d, want 10 and 1", got[0].next, got[1].next)
	}
}

// TestNothingIsLoadedOfAPartitionThatEnded early, say because a file of it was gone and it was read by another plan.
func TestNothingIsLoadedOfAPartitionThatEnded(t *testing.T) {
	f := newReadFixture(t, memoryBucket(), DefaultBlocksConfig(1<<20))
	batch := makeBatch(t, protocol.CodecNone, recs(1, 1000, 0)...)
	var plans [2]plan
	for range 3 {
		runs := f.write(t, datafile.None, map[metadata.PartitionID][]protocol.Batch{0: {batch}, 1: {batch}})
		for p := range plans {
			plans[p] = planned(append(plans[p].runs, runs[metadata.PartitionID(p)])...)
		}
	}
	w := newWindow(f.blocks, []asked{{0, 0, 1 << 20}, {1, 0, 1 << 20}}, plans[:])
	w.over[0] = true
	for at := range w.items {
		it := &w.items[at]
		if it.part == 0 {
			continue
		}
		if w.source(at) == nil {
			t.Errorf("item %d has no source", at)
		}
		for other, it := range w.items {
			if it.part == 0 && it.source != nil || other <= at && it.source != nil {
				t.Errorf("at item %d, item %d of partition %d is held", at, other, it.part)
			}
		}
	}
	if w.ahead < 0 || w.ahead > f.blocks.config.BlockBytes {
		t.Errorf("%d bytes are ahead of nothing", w.ahead)
	}
}
