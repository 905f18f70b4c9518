package assign

import (
	"cmp"
	"container/heap"
	"slices"

	"github.com/google/uuid"
)

// maxRounds bounds the passes over all topics that even out members whose
// subscriptions overlap without being alike. Each pass about halves what is left
// of the imbalance; where subscribers of each topic are alike, one pass is enough.
const maxRounds = 16

// uniform gives all members the same number of partitions, give or take one,
// as far as their subscriptions allow, and among the ways to do that keeps
// members at what they had.
//
// Where all members subscribe to the same topics the number of partitions
// that move is the least possible. Otherwise no single partition could move from a
// member to one that has two less.
func uniform(members []Member, partitions map[uuid.UUID]int32) []Partitions {
	b := balance{subscriptions: subscribe(members, partitions, byID)}
	b.start()
	if b.alike {
		b.trim()
	}
	b.handOut()
	if !b.alike {
		b.level()
	}
	return b.inOrder(b.result())
}

// balance is an assignment while it is made.
type balance struct {
	subscriptions
	// owner has for each topic the member number of each partition, or nobody.
	owner [][]int
	// load is the number of partitions of each member.
	load []int
}

const nobody = -1

// start takes over what members had, as far as it exists, is subscribed to and
// nobody else claimed it before.
func (b *balance) start() {
	b.load = make([]int, len(b.members))
	b.owner = make([][]int, len(b.topics))
	for t, topic := range b.topics {
		b.owner[t] = slices.Repeat([]int{nobody}, int(topic.partitions))
		for _, member := range topic.subscribers {
			for _, p := range b.members[member].Target[topic.id] {
				if p >= 0 && p < topic.partitions && b.owner[t][p] == nobody {
					b.owner[t][p] = member
					b.load[member]++
				}
			}
		}
	}
}

// trim takes from each member what is above its share, for members with the
// same subscriptions. The shares that are one larger go to members that already
// have as much, so that nothing moves only to even out who has the extra one.
func (b *balance) trim() {
	total := 0
	for _, topic := range b.topics {
		total += int(topic.partitions)
	}
	if len(b.members) == 0 {
		return
	}
	share, extras := total/len(b.members), total%len(b.members)
	above := make([]int, len(b.members))
	for member, load := range b.load {
		if load <= share {
			continue
		}
		above[member] = load - share
		if extras > 0 {
			above[member]--
			extras--
		}
	}
	// From the end, so that members keep a contiguous beginning.
	for t := len(b.topics) - 1; t >= 0; t-- {
		for p := len(b.owner[t]) - 1; p >= 0; p-- {
			if member := b.owner[t][p]; member != nobody && above[member] > 0 {
				above[member]--
				b.load[member]--
				b.owner[t][p] = nobody
			}
		}
	}
}

// handOut gives each free partition to the least loaded subscriber. Topics with
// the most partitions per subscriber come first: they decide the most, and
// those with many subscribers can fill the gaps they leave.
func (b *balance) handOut() {
	var least *loads
	for _, t := range b.order() {
		if !b.alike {
			least = nil
		}
		for p, owner := range b.owner[t] {
			if owner != nobody {
				continue
			}
			if least == nil {
				least = newLoads(b.load, b.topics[t].subscribers, false)
			}
			member := least.members[0]
			b.owner[t][p] = member
			b.load[member]++
			least.fix(member)
		}
	}
}

// level moves partitions from loaded members to less loaded ones until no move helps.
func (b *balance) level() {
	order := b.order()
	for range maxRounds {
		moved := false
		for _, t := range order {
			moved = b.levelTopic(t) || moved
		}
		if !moved {
			return
		}
	}
}

// levelTopic does so with the partitions of one topic.
func (b *balance) levelTopic(t int) (moved bool) {
	subscribers := b.topics[t].subscribers
	low := slices.MinFunc(subscribers, b.compareLoads)
	high := slices.MaxFunc(subscribers, b.compareLoads)
	if b.load[high]-b.load[low] <= 1 {
		return false
	}
	has := make(map[int][]int, len(subscribers)) // partitions by owner, ascending
	for p, owner := range b.owner[t] {
		has[owner] = append(has[owner], p)
	}
	givers := slices.DeleteFunc(slices.Clone(subscribers), func(member int) bool { return len(has[member]) == 0 })
	least, most := newLoads(b.load, subscribers, false), newLoads(b.load, givers, true)
	for most.Len() > 0 {
		from, to := most.members[0], least.members[0]
		if b.load[from]-b.load[to] <= 1 {
			break
		}
		last := len(has[from]) - 1
		b.owner[t][has[from][last]] = to
		has[from] = has[from][:last]
		b.load[from]--
		least.fix(from)
		if last == 0 { // nothing of this topic is left to give
			heap.Remove(most, most.at[from])
		} else {
			most.fix(from)
		}
		b.load[to]++
		least.fix(to)
		most.fix(to)
		moved = true
	}
	return moved
}

// order returns topic numbers by partitions per subscriber, descending, then by
// subscribers, ascending.
func (b *balance) order() []int {
	order := make([]int, len(b.topics))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		x, y := b.topics[i], b.topics[j]
		// x.partitions/x.subscribers > y.partitions/y.subscribers, without division
		return cmp.Or(
			cmp.Compare(int64(y.partitions)*int64(len(x.subscribers)), int64(x.partitions)*int64(len(y.subscribers))),
			cmp.Compare(len(x.subscribers), len(y.subscribers)),
		)
	})
	return order
}

func (b *balance) compareLoads(x, y int) int { return cmp.Compare(b.load[x], b.load[y]) }

// result lists what each member got.
func (b *balance) result() []Partitions {
	got := make([]Partitions, len(b.members))
	for member := range got {
		got[member] = Partitions{}
	}
	for t, topic := range b.topics {
		for p, member := range b.owner[t] {
			got[member][topic.id] = append(got[member][topic.id], int32(p))
		}
	}
	return got
}
