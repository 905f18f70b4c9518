package assign

import (
	"strings"

	"github.com/google/uuid"
)

// ranges gives each subscriber of a topic one contiguous range of its partitions,
// the first subscribers one more where it doesn't divide. Topics with as many
// partitions and the same subscribers are therefore co-partitioned:
// partition n of all of them goes to the same member.
//
// Static members come first, in the order of their instance IDs, so that a
// restart (a new member ID) doesn't move partitions.
func ranges(members []Member, partitions map[uuid.UUID]int32) []Partitions {
	s := subscribe(members, partitions, byInstance)
	got := make([]Partitions, len(members))
	for i := range got {
		got[i] = Partitions{}
	}
	for _, topic := range s.topics {
		share := topic.partitions / int32(len(topic.subscribers))
		extra := topic.partitions % int32(len(topic.subscribers))
		next := int32(0)
		for n, member := range topic.subscribers {
			end := next + share
			if int32(n) < extra {
				end++
			}
			if next == end { // more subscribers than partitions
				break
			}
			list := make([]int32, 0, end-next)
			for ; next < end; next++ {
				list = append(list, next)
			}
			got[member][topic.id] = list
		}
	}
	return s.inOrder(got)
}

func byInstance(a, b Member) int {
	switch {
	case a.InstanceID != "" && b.InstanceID != "":
		return strings.Compare(a.InstanceID, b.InstanceID)
	case a.InstanceID != "":
		return -1
	case b.InstanceID != "":
		return 1
	}
	return byID(a, b)
}
