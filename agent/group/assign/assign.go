// Package assign gives the partitions of topics to the members of a consumer
// group: the server-side assignors of KIP-848, uniform and range.
//
// It guarantees that each partition of a topic goes to exactly one of the topic's
// subscribers, and that the same input, in whatever order, gives the same output.
// It refuses to know epochs, sessions and what members own at the moment:
// an assignment is where a group should get to, not the way there.
package assign

import (
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// Partitions are partitions of topics, by topic ID. The lists are sorted and
// none is empty, so that equal sets are equal values.
type Partitions map[uuid.UUID][]int32

// Len returns the number of partitions.
func (p Partitions) Len() int {
	n := 0
	for _, partitions := range p {
		n += len(partitions)
	}
	return n
}

// Contains reports whether the partition is among them.
func (p Partitions) Contains(topic uuid.UUID, partition int32) bool {
	_, found := slices.BinarySearch(p[topic], partition)
	return found
}

// Equal reports whether both are the same partitions.
func (p Partitions) Equal(q Partitions) bool {
	return maps.EqualFunc(p, q, slices.Equal[[]int32])
}

// Topics returns the topics in the order of their IDs.
func (p Partitions) Topics() []uuid.UUID {
	return slices.SortedFunc(maps.Keys(p), compareIDs)
}

// Member is what assignors know of a member.
type Member struct {
	ID string
	// InstanceID is "" for a dynamic member.
	InstanceID string
	// Topics are those it subscribes to, without duplicates. Topics that are
	// not in the partition counts don't exist and are passed over.
	Topics []uuid.UUID
	// Target is what the assignor gave it the last time. It may name topics and
	// partitions that are gone, or that others claim too.
	Target Partitions
}

// An Assignor returns what each member shall get, in the order of members.
// partitions has the number of partitions of each topic.
type Assignor func(members []Member, partitions map[uuid.UUID]int32) []Partitions

// Names of the assignors, in the order of Kafka's default of group.consumer.assignors.
const (
	Uniform = "uniform"
	Range   = "range"
)

// ByName returns the assignor with that name.
func ByName(name string) (Assignor, bool) {
	switch name {
	case Uniform:
		return uniform, true
	case Range:
		return ranges, true
	}
	return nil, false
}

// subscriptions is the input in dense form: members and topics by number, in
// an order that doesn't depend on how they were given.
type subscriptions struct {
	members []Member
	// original has for each of members its place in the caller's list.
	original []int
	topics   []topic
	// alike says that all members subscribe to the same topics.
	alike bool
}

type topic struct {
	id         uuid.UUID
	partitions int32
	// subscribers are member numbers, ascending.
	subscribers []int
}

// subscribe sorts members by compare and topics by ID.
func subscribe(members []Member, partitions map[uuid.UUID]int32, compare func(a, b Member) int) subscriptions {
	s := subscriptions{original: make([]int, len(members)), members: make([]Member, len(members))}
	for i := range members {
		s.original[i] = i
	}
	slices.SortFunc(s.original, func(a, b int) int { return compare(members[a], members[b]) })
	subscribers := make(map[uuid.UUID][]int)
	for i, at := range s.original {
		s.members[i] = members[at]
		for _, id := range members[at].Topics {
			if partitions[id] > 0 {
				subscribers[id] = append(subscribers[id], i)
			}
		}
	}
	s.alike = true
	for _, id := range slices.SortedFunc(maps.Keys(subscribers), compareIDs) {
		s.topics = append(s.topics, topic{id: id, partitions: partitions[id], subscribers: subscribers[id]})
		s.alike = s.alike && len(subscribers[id]) == len(members)
	}
	return s
}

// inOrder puts what the members got into the order in which the caller gave them.
func (s subscriptions) inOrder(got []Partitions) []Partitions {
	out := make([]Partitions, len(got))
	for i, at := range s.original {
		out[at] = got[i]
	}
	return out
}

func byID(a, b Member) int { return strings.Compare(a.ID, b.ID) }

func compareIDs(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) }
