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

// window loads the runs of plans ahead of the reader, which comes to them in
// the order of its items.
type window struct {
	blocks *Blocks
	items  []item
	// items[:read] are used or passed over, items[read:started] are loading:
	// ahead bytes of them.
	read, started int
	ahead         int64
	// over are the partitions of which nothing more is read.
	over []bool
}

// item is one run of the plan of a partition, which is the part-th.
type item struct {
	part    int
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
	loaded   bool
	// holder is the last item of it that has started: until that is passed, what was loaded counts as ahead.
	holder int
}

// costless: its bytes are on their way with those of an item before it, and should be taken hold of before they leave the cache. A marker
// has none.
func (it *item) costless() bool { return it.span == nil || it.span.loaded }

func newWindow(b *Blocks, parts []asked, plans []plan) *window {
	w := &window{blocks: b, over: make([]bool, len(plans))}
	for i := range plans {
		p := &plans[i]
		if p.err != nil {
			continue
		}
		room := p.bytes
		for k := range p.runs {
			run, from := &p.runs[k], p.place(k)
			length := storedLength(run, from, parts[i].offset, room)
			room -= sizeFrom(run, parts[i].offset)
			w.items = append(w.items, item{part: i, run: run, pool: p.pool, from: from.stored, length: length})
		}
	}
	w.items = byFile(w.items)
	w.findSpans()
	return w
}

// byFile puts items, which are sorted by partition, in an order in which those of one file are together and those of a partition
// as they were. So a file is read once for all partitions, however little of what a request needs fits into the cache. What
// the client asked for first stays first (KIP-74).
func byFile(items []item) []item {
	if len(items) == 0 || items[0].part == items[len(items)-1].part {
		return items
	}
	parts, left := steps(items)
	ordered := make([]item, 0, len(items))
	next := func(i int) {
		left[parts[i][0].file]--
		ordered, parts[i] = append(ordered, parts[i][0].items...), parts[i][1:]
	}
	// at are the partitions that have come to a file. It is ready when all have that need it.
	at := map[uuid.UUID][]int{}
	var ready []uuid.UUID
	come := func(i int) {
		if len(parts[i]) == 0 {
			return
		}
		file := parts[i][0].file
		if at[file] = append(at[file], i); len(at[file]) == left[file] {
			ready = append(ready, file)
		}
	}
	next(0)
	for i := range parts {
		come(i)
	}
	for len(ordered) < len(items) {
		if len(ready) == 0 {
			// Two files come in one order for one partition, in the other for another one: one of them is read twice.
			i := slices.IndexFunc(parts, func(rest []step) bool { return len(rest) > 0 })
			ready = append(ready, parts[i][0].file)
		}
		file := ready[0]
		ready = ready[1:]
		together := at[file]
		delete(at, file)
		slices.Sort(together)
		for _, i := range together {
			next(i)
		}
		for _, i := range together {
			come(i)
		}
	}
	return ordered
}

// step is what comes of one file in a row for one partition, with the markers that lie between.
type step struct {
	file  uuid.UUID
	items []item
}

// steps are those of each partition that has items, and for each file of how many of them it is.
func steps(items []item) (parts [][]step, of map[uuid.UUID]int) {
	of = map[uuid.UUID]int{}
	for i := 0; i < len(items); {
		part := items[i].part
		if i == 0 || part != items[i-1].part {
			parts = append(parts, nil)
		}
		s, n := step{}, i
		for ; n < len(items) && items[n].part == part; n++ {
			if run := items[n].run; run.Encoding != metadata.EncodingMarker {
				if s.file != uuid.Nil && run.FileID != s.file {
					break
				}
				s.file = run.FileID
			}
		}
		s.items = items[i:n]
		of[s.file]++
		parts[len(parts)-1] = append(parts[len(parts)-1], s)
		i = n
	}
	return parts, of
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

// source returns the source of an item, and starts to load
// what comes after it. Items before it are passed over.
func (w *window) source(at int) *storedSource {
	for ; w.read < at; w.read++ {
		w.ahead -= w.items[w.read].loading
		w.items[w.read].source = nil
	}
	w.started = max(w.started, w.read)
	if w.started == at {
		w.start()
	}
	for w.started < len(w.items) && (w.ahead < windowBytes || w.items[w.started].costless()) {
		w.start()
	}
	source := w.items[at].source
	w.items[at].source = nil // or it would hold the bytes that it has given out
	return source
}

// start loads the next item. Others that lie near it are loaded with it: partitions that
// are fetched together were often written together.
func (w *window) start() {
	at := w.started
	it := &w.items[at]
	w.started++
	if it.run.Encoding == metadata.EncodingMarker || w.over[it.part] {
		return // there is nothing to load
	}
	missing := int64(0)
	if s := it.span; s.items > 1 {
		if !s.loaded {
			missing = w.blocks.load(it.run.FileID, s.from, s.to-s.from, it.pool).missing
			s.loaded = true
		} else if s.holder >= w.read {
			held := &w.items[s.holder]
			it.loading, held.loading = held.loading, 0
		}
		s.holder = at
	}
	it.source = newStoredSource(w.blocks, it.run, it.pool, it.from, it.length)
	missing += it.source.loading.missing
	it.loading += missing
	w.ahead += missing
}
