package recovery

import (
	"cmp"
	"container/heap"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"
)

// clockTolerance is how much apart the times in two files' IDs must be to say which one was committed
// first: agents' clocks differ, and a file is committed some time after it got its ID.
const clockTolerance = 30 * time.Second

// ordering is an order of files, and what speaks for it.
type ordering struct {
	files []*file
	// after holds the pairs of files of which one follows from the other: by the numbers of their commits or by
	// the sequences of a producer.
	after map[[2]*file]struct{}
	// contradictions counts files that had to be taken although others should have come first.
	contradictions int
}

// order puts the files into the order in which they were committed, as far as it is known.
func order(files []*file) ordering {
	o := ordering{after: map[[2]*file]struct{}{}}
	files = slices.Clone(files)
	slices.SortFunc(files, (*file).compare)
	o.byCommits(files)
	o.bySequences(files)
	o.sort(files)
	return o
}

// certain tells whether it is known that b was committed after a.
func (o ordering) certain(a, b *file) bool {
	if a.seq > 0 && b.seq > 0 {
		return a.seq < b.seq
	}
	if _, ok := o.after[[2]*file{a, b}]; ok {
		return true
	}
	_, contrary := o.after[[2]*file{b, a}]
	return !contrary && b.at().Sub(a.at()) > clockTolerance
}

func (o ordering) follows(a, b *file) {
	if a != b {
		o.after[[2]*file{a, b}] = struct{}{}
	}
}

// byCommits takes over the numbers of commits.
func (o ordering) byCommits(files []*file) {
	known := slices.DeleteFunc(slices.Clone(files), func(f *file) bool { return f.seq == 0 })
	slices.SortStableFunc(known, func(a, b *file) int { return cmp.Compare(a.seq, b.seq) })
	for i := 1; i < len(known); i++ {
		o.follows(known[i-1], known[i])
	}
}

// writer is an idempotent producer in a partition.
type writer struct {
	topic    uuid.UUID
	index    int32
	producer int64
}

// chunk is where a batch begins, in its producer's sequence.
type chunk struct {
	writer
	epoch int16
	first int32
}

// bySequences finds what follows from producers' sequences: a batch comes after the one that it continues, and after
// those of older epochs.
func (o ordering) bySequences(files []*file) {
	copies := map[chunk][]*file{}
	next := map[chunk]chunk{}
	epochs := map[writer]map[int16]*ends{}
	for _, f := range files {
		for _, s := range f.sections {
			for _, b := range s.Batches {
				if b.ProducerID < 0 {
					continue
				}
				c := chunk{writer{s.topic, s.index, b.ProducerID}, b.ProducerEpoch, b.BaseSequence}
				if n := len(copies[c]); n == 0 || copies[c][n-1] != f {
					copies[c] = append(copies[c], f)
				}
				next[c] = chunk{c.writer, c.epoch, int32((int64(c.first) + int64(b.Records)) & math.MaxInt32)}
				if epochs[c.writer] == nil {
					epochs[c.writer] = map[int16]*ends{}
				}
				epochs[c.writer][c.epoch] = &ends{}
			}
		}
	}
	continues := map[chunk]bool{}
	for c, n := range next {
		o.inTurn(copies[c], copies[n])
		continues[n] = true
	}
	for c, n := range next {
		of := epochs[c.writer][c.epoch]
		if len(copies[n]) == 0 {
			of.tails = append(of.tails, c)
		}
		if !continues[c] {
			of.heads = append(of.heads, c)
		}
	}
	for _, all := range epochs {
		ascending := slices.Sorted(maps.Keys(all))
		for i := 1; i < len(ascending); i++ {
			for _, tail := range all[ascending[i-1]].tails {
				for _, head := range all[ascending[i]].heads {
					o.inTurn(copies[tail], copies[head])
				}
			}
		}
	}
}

// ends are batches of an epoch that none continues, and that continue none.
type ends struct{ tails, heads []chunk }

// inTurn notes that a batch comes before another one. Each may be in several files, since its producer sent it again, and counts
// in the first. A file that has both is no matter where.
func (o ordering) inTurn(before, after []*file) {
	first := before[0]
	for _, f := range before[1:] {
		// What is known to be committed comes before what may be, whatever their clocks say.
		if f.seq > 0 && (first.seq == 0 || f.seq < first.seq) {
			first = f
		}
	}
	for _, f := range after {
		if !slices.Contains(before, f) {
			o.follows(first, f)
		}
	}
}

// sort takes the files one by one: of those that nothing must precede any more, the one with the earliest
// time. Where what must come first goes round in a circle, the earliest of all is taken.
func (o *ordering) sort(files []*file) {
	followers, waits := map[*file][]*file{}, map[*file]int{}
	for pair := range o.after {
		followers[pair[0]] = append(followers[pair[0]], pair[1])
		waits[pair[1]]++
	}
	var ready fileHeap
	for _, f := range files {
		if waits[f] == 0 {
			ready = append(ready, f) // ascending, hence a heap
		}
	}
	taken := make(map[*file]bool, len(files))
	for rest := files; len(o.files) < len(files); {
		if len(ready) == 0 {
			for taken[rest[0]] {
				rest = rest[1:]
			}
			o.contradictions++
			ready = append(ready, rest[0])
		}
		f := heap.Pop(&ready).(*file)
		if taken[f] {
			continue
		}
		taken[f] = true
		o.files = append(o.files, f)
		for _, g := range followers[f] {
			if waits[g]--; waits[g] == 0 && !taken[g] {
				heap.Push(&ready, g)
			}
		}
	}
}

// fileHeap is a heap of files by time.
type fileHeap []*file

func (h fileHeap) Len() int           { return len(h) }
func (h fileHeap) Less(i, j int) bool { return h[i].compare(h[j]) < 0 }
func (h fileHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *fileHeap) Push(f any)        { *h = append(*h, f.(*file)) }
func (h *fileHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
