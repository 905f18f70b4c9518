package chaos

import (
	"cmp"
	"fmt"
	"slices"
)

// progress is how far a group has read a partition.
type progress struct {
	log []Record
	// got tells which of the records any member got, and front how many of the first were got without a hole.
	got   []bool
	front int
	// committed is the highest offset that a member was told is committed.
	committed int64
	// repeats counts records that came to the group again.
	repeats int
}

// take notes that the group got record i.
func (p *progress) take(i int) {
	if p.got[i] {
		p.repeats++
	}
	p.got[i] = true
	for p.front < len(p.got) && p.got[p.front] {
		p.front++
	}
}

// ownership is a partition in a member's hands.
type ownership struct {
	// next is the number of the record that comes next, -1 at the beginning.
	next int
	// floor is the offset that was committed when it began.
	floor int64
}

// follow reads the events of the group that reads a topic, in their order, and returns how far it came in each partition.
func (v *verifier) follow(world World, topic string) []*progress {
	type seat struct {
		who       string
		partition int32
	}
	partitions := make([]*progress, len(v.Log[topic]))
	for p, log := range v.Log[topic] {
		partitions[p] = &progress{log: log, got: make([]bool, len(log))}
	}
	owned := map[seat]*ownership{}
	// Some clients don't tell what they are assigned: theirs is what they get.
	tells := map[string]bool{}
	for _, e := range v.Events {
		if !world.has(e.Who) || e.Topic != topic {
			continue
		}
		if e.Partition < 0 || int(e.Partition) >= len(partitions) {
			v.report(Foreign, "%s: %s speaks of partition %d", topic, e.Who, e.Partition)
			continue
		}
		p, at := partitions[e.Partition], seat{e.Who, e.Partition}
		switch e.Kind {
		case Assigned:
			tells[e.Who] = true
			owned[at] = &ownership{next: -1, floor: p.committed}
		case Revoked:
			delete(owned, at)
		case Committed:
			p.committed = max(p.committed, e.Offset)
		case Got:
			o := owned[at]
			if o == nil {
				if tells[e.Who] {
					v.report(Doubled, "%s: %s got %v, which it has no part in", topic, e.Who, place{e.Partition, e.Offset})
					continue
				}
				o = &ownership{next: -1}
				owned[at] = o
			}
			v.got(p, o, e, tells[e.Who])
		}
	}
	return partitions
}

// got checks a record that a member got, of a partition that is in its hands.
func (v *verifier) got(p *progress, o *ownership, e Event, tells bool) {
	at := place{e.Partition, e.Offset}
	i, found := slices.BinarySearchFunc(p.log, e.Offset, func(r Record, offset int64) int { return cmp.Compare(r.Offset, offset) })
	switch {
	case !found:
		v.report(Changed, "%s: %s got %.60q at %v, where nothing is committed", e.Topic, e.Who, e.Text, at)
		return
	case p.log[i].Value != e.Text:
		v.report(Changed, "%s: %s got %.60q at %v, where %.60q is", e.Topic, e.Who, e.Text, at, p.log[i].Value)
	}
	begins := o.next < 0 || !tells && i != o.next
	switch {
	case begins && i > p.front:
		v.report(Skipped, "%s: %s begins at %v, and nobody got offset %d", e.Topic, e.Who, at, p.log[p.front].Offset)
	case begins && e.Offset < o.floor:
		v.report(Doubled, "%s: %s begins at %v, though %d was committed before", e.Topic, e.Who, at, o.floor)
	case !begins && i > o.next:
		v.report(Skipped, "%s: %s got %v, and not offset %d before it", e.Topic, e.Who, at, p.log[o.next].Offset)
	case !begins && i < o.next:
		v.report(Doubled, "%s: %s got %v again", e.Topic, e.Who, at)
	}
	o.next = i + 1
	p.take(i)
}

// checkReaders checks the group that reads a topic.
func (v *verifier) checkReaders(world World, topic string) {
	for n, p := range v.follow(world, topic) {
		if p.front < len(p.log) {
			v.report(Skipped, "%s: the group did not get %v", topic, place{int32(n), p.log[p.front].Offset})
		}
	}
}

// Unfinished returns an error until everything is copied, and everything was read by the groups.
func (h *History) Unfinished() error {
	v := &verifier{History: *h, counts: map[Rule]int{}}
	for _, world := range h.Worlds {
		for p, log := range h.Log[world.Output()] {
			if n := len(h.Log[world.Input()][p]); len(log) < n {
				return fmt.Errorf("%s: %d of %d records of partition %d are copied", world.Name, len(log), n, p)
			}
		}
		for _, topic := range world.Topics() {
			for n, p := range v.follow(world, topic) {
				if p.front < len(p.log) {
					return fmt.Errorf("%s: the group has not got offset %d of partition %d", topic, p.log[p.front].Offset, n)
				}
			}
		}
	}
	return nil
}
