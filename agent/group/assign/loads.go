package assign

import (
	"container/heap"
	"slices"
)

// loads is a heap of member numbers: the least loaded on top, or the most
// loaded, and the first by number among equals.
type loads struct {
	load       []int // by member number
	members    []int
	at         []int // position in members by member number, nobody where it isn't in it
	descending bool
}

func newLoads(load, members []int, descending bool) *loads {
	l := &loads{load: load, members: slices.Clone(members), at: slices.Repeat([]int{nobody}, len(load)), descending: descending}
	for i, member := range l.members {
		l.at[member] = i
	}
	heap.Init(l)
	return l
}

// fix is called when the load of member has changed.
func (l *loads) fix(member int) {
	if l.at[member] != nobody {
		heap.Fix(l, l.at[member])
	}
}

func (l *loads) Len() int { return len(l.members) }

func (l *loads) Less(i, j int) bool {
	x, y := l.members[i], l.members[j]
	if l.load[x] != l.load[y] {
		return (l.load[x] < l.load[y]) != l.descending
	}
	return x < y
}

func (l *loads) Swap(i, j int) {
	l.members[i], l.members[j] = l.members[j], l.members[i]
	l.at[l.members[i]], l.at[l.members[j]] = i, j
}

// Push is part of heap.Interface; members never come back.
func (l *loads) Push(any) { panic("assign: a heap of loads only shrinks") }

// Pop is part of heap.Interface.
func (l *loads) Pop() any {
	last := len(l.members) - 1
	member := l.members[last]
	l.members, l.at[member] = l.members[:last], nobody
	return member
}
