package fetch

import (
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
	files map[uuid.UUID]*span
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
	source  *storedSource
	loading int64
}

// span is what the plan needs of one file.
type span struct {
	from, to int64
	items    int
}

func newWindow(b *Blocks, parts []asked, plans []plan) *window {
	w := &window{blocks: b, first: make([]int, len(plans)), files: map[uuid.UUID]*span{}}
	for i := range plans {
		p := &plans[i]
		w.first[i] = len(w.items)
		room := p.bytes
		for k := range p.runs {
			run, from := &p.runs[k], p.place(k)
			length := storedLength(run, from, parts[i].offset, room)
			room -= sizeFrom(run, parts[i].offset)
			w.items = append(w.items, item{run: run, pool: p.pool, from: from.stored, length: length})
			if run.Encoding != metadata.EncodingMarker {
				w.span(run, from.stored, length)
			}
		}
	}
	return w
}

func (w *window) span(run *metadata.Run, from, length int64) {
	from += run.Position
	to := from + length
	s := w.files[run.FileID]
	if s == nil {
		w.files[run.FileID] = &span{from, to, 1}
		return
	}
	s.from, s.to = min(s.from, from), max(s.to, to)
	s.items++
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

// start loads the next item. Others of the same file are loaded with it, if
// that is one read: partitions that are fetched together were often written
// together.
func (w *window) start() {
	it := &w.items[w.started]
	w.started++
	if it.run.Encoding == metadata.EncodingMarker {
		return // there is nothing to load
	}
	if s := w.files[it.run.FileID]; s.items > 1 && s.to-s.from <= w.blocks.config.RangeBytes {
		it.loading = w.blocks.load(it.run.FileID, s.from, s.to-s.from, it.pool).missing
		s.items = 0
	}
	it.source = newStoredSource(w.blocks, it.run, it.pool, it.from, it.length)
	it.loading += it.source.loading.missing
	w.ahead += it.loading
}
