package fetch

import (
	"cmp"
	"slices"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore/datafile"
)

const (
	// windowBytes bounds what one request reads from the object store before
	// it has used what it read before.
	windowBytes = 16 << 20
	// walkSlack is loaded beyond the estimate of what a part of a run needs.
	walkSlack = 64 << 10
)

// window loads the runs of a plan ahead of the reader, which comes to them in
// the plan's order.
type window struct {
	blocks *Blocks
	items  []item
	// first[i] is the first item of the plan's i-th partition.
	first []int
	// items[:read] are used or passed over, items[read:started] are loading:
	// ahead bytes of them.
	read, started int
	ahead         int64
}

// item is one run of the plan.
type item struct {
	run     *metadata.Run
	pool    Pool
	from    int64 // in its stored bytes
	length  int64
	span    *span
	source  *storedSource
	loading int64
}

// begin and end are the item's bytes in its file.
func (it *item) begin() int64 { return it.run.Position + it.from }
func (it *item) end() int64   { return it.begin() + it.length }

// span is what the plan needs of one file, or a part of that which is one read.
type span struct {
	from, to int64
	items    int
}

func newWindow(b *Blocks, parts []asked, plans []plan) *window {
	w := &window{blocks: b, first: make([]int, len(plans))}
	for i := range plans {
		p := &plans[i]
		w.first[i] = len(w.items)
		room := p.bytes
		for k := range p.runs {
			run, from := &p.runs[k], p.place(k)
			length := storedLength(run, from, parts[i].offset, room)
			room -= sizeFrom(run, parts[i].offset)
			w.items = append(w.items, item{run: run, pool: p.pool, from: from.stored, length: length})
		}
	}
	w.findSpans()
	return w
}

// findSpans joins items of one file to spans, in the order in which they lie there. A span is at most one
// read, and has no gap that would be a read of its own.
func (w *window) findSpans() {
	files := map[uuid.UUID][]*item{}
	for i := range w.items {
		if it := &w.items[i]; it.run.Encoding != metadata.EncodingMarker {
			files[it.run.FileID] = append(files[it.run.FileID], it)
		}
	}
	config := &w.blocks.config
	for _, items := range files {
		slices.SortFunc(items, func(a, b *item) int { return cmp.Compare(a.begin(), b.begin()) })
		s := &span{}
		for _, it := range items {
			if to := max(s.to, it.end()); s.items == 0 || to-s.from > config.RangeBytes || it.begin()-s.to > 2*config.BlockBytes {
				s = &span{from: it.begin()}
			}
			s.to = max(s.to, it.end())
			s.items++
			it.span = s
		}
	}
}

// storedLength estimates how many of the run's stored bytes, from a place on, hold the
// batches from the offset on, up to room bytes of them. Should it be too few, the reader
// loads the rest.
func storedLength(run *metadata.Run, from place, offset, room int64) int64 {
	need := max(room, 0) + walkSlack
	if from.at == 0 {
		need += int64(run.Size) - sizeFrom(run, offset)
	}
	if run.Encoding == metadata.EncodingFramed {
		decoded := int64(run.Skip) + int64(run.Size)
		need = (need+from.skip+datafile.MaxFrameSize)*int64(run.StoredSize)/max(decoded, 1) + walkSlack
	}
	return min(need, int64(run.StoredSize)-from.stored)
}

// source returns the source of the k-th run of a partition, and starts to load
// what comes after it. Items before it are passed over.
func (w *window) source(part, k int) *storedSource {
	at := w.first[part] + k
	for ; w.read < at; w.read++ {
		w.ahead -= w.items[w.read].loading
	}
	w.started = max(w.started, w.read)
	if w.started == at {
		w.start()
	}
	for w.started < len(w.items) && w.ahead < windowBytes {
		w.start()
	}
	return w.items[at].source
}

// start loads the next item. Others that lie near it are loaded with it: partitions that
// are fetched together were often written together.
func (w *window) start() {
	it := &w.items[w.started]
	w.started++
	if it.run.Encoding == metadata.EncodingMarker {
		return // there is nothing to load
	}
	if s := it.span; s.items > 1 {
		it.loading = w.blocks.load(it.run.FileID, s.from, s.to-s.from, it.pool).missing
		s.items = 0
	}
	it.source = newStoredSource(w.blocks, it.run, it.pool, it.from, it.length)
	it.loading += it.source.loading.missing
	w.ahead += it.loading
}
