package machine

import (
	"slices"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/agent/group/assign"
)

// divide returns the partitions of p that are in q, and those that are not.
func divide(p, q assign.Partitions) (in, out assign.Partitions) {
	for topic, list := range p {
		for _, n := range list {
			if q.Contains(topic, n) {
				in = add(in, topic, n)
			} else {
				out = add(out, topic, n)
			}
		}
	}
	return in, out
}

// split returns the partitions of p of the topics, and the others.
func split(p assign.Partitions, topics map[uuid.UUID]bool) (in, out assign.Partitions) {
	for topic, list := range p {
		if topics[topic] {
			in = add(in, topic, list...)
		} else {
			out = add(out, topic, list...)
		}
	}
	return in, out
}

// union returns the partitions of both, which have none in common.
func union(p, q assign.Partitions) assign.Partitions {
	both := make(assign.Partitions, len(p)+len(q))
	gather(both, p)
	gather(both, q)
	return sorted(both)
}

// gather adds partitions to those of p; the lists are not sorted then.
func gather(p, q assign.Partitions) {
	for topic, list := range q {
		p[topic] = append(p[topic], list...)
	}
}

func sorted(p assign.Partitions) assign.Partitions {
	for _, list := range p {
		slices.Sort(list)
	}
	return p
}

func add(p assign.Partitions, topic uuid.UUID, list ...int32) assign.Partitions {
	if p == nil {
		p = make(assign.Partitions)
	}
	p[topic] = append(p[topic], list...)
	return p
}
