package cluster

import (
	"cmp"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/google/uuid"
)

// Placement is where a client finds the partitions of one topic. It is for one goroutine.
type Placement struct {
	leaders spread
	readers []readersOf
}

type readersOf struct {
	readers
	spread spread
}

// Topic returns where the client finds the topic's partitions.
func (v *View) Topic(id uuid.UUID) *Placement {
	topic := xxhash.Sum64(id[:])
	p := &Placement{leaders: spread{topic: topic, over: v.leaders}}
	for _, r := range v.readers {
		p.readers = append(p.readers, readersOf{r, spread{topic: topic, over: r.few}})
	}
	return p
}

// Leader returns the broker that the client is told to write the partition to.
func (p *Placement) Leader(partition int32) Broker { return p.leaders.of(partition) }

// Replicas returns the node IDs of the brokers that the client may be told to read the partition from, the
// leader first: it alone, unless its roles or its zone are such that some clients are sent to another one.
func (p *Placement) Replicas(partition int32) []int32 {
	leader := p.leaders.of(partition)
	replicas := []int32{leader.NodeID}
	for i := range p.readers {
		if r := &p.readers[i]; !r.has(leader.NodeID) {
			if id := r.spread.of(partition).NodeID; !slices.Contains(replicas, id) {
				replicas = append(replicas, id)
			}
		}
	}
	return replicas
}

// reader returns the broker that the client is to read the partition from, if it is in the zone: one
// of the replicas.
func (p *Placement) reader(zone string, partition int32) Broker {
	leader := p.leaders.of(partition)
	for i := range p.readers {
		if r := &p.readers[i]; r.zone == zone && !r.has(leader.NodeID) {
			return r.spread.of(partition)
		}
	}
	return leader
}

// blockPartitions is how many neighbouring partitions of a topic are spread over brokers together.
// It can be divided by every number of brokers up to four, and by six.
const blockPartitions = 12

// spread gives partitions of a topic to brokers, at most 12: to each as many of a block, give or take one. Within that it is
// rendezvous hashing. Each partition goes to the broker that draws most for it among those that have room; so when
// a broker comes or goes, little more than its share moves (a third more, where hashing alone
// would leave one of four brokers with twice the partitions of another).
type spread struct {
	topic uint64
	over  []Broker

	// What was worked out last.
	block int32 // counted from 1; 0 is none
	given [blockPartitions]Broker
}

func (s *spread) of(partition int32) Broker {
	if len(s.over) == 1 {
		return s.over[0]
	}
	if block := partition/blockPartitions + 1; block != s.block {
		s.block = block
		s.give((block - 1) * blockPartitions)
	}
	return s.given[partition%blockPartitions]
}

// give spreads the block that begins with the partition.
func (s *spread) give(first int32) {
	type bid struct {
		draw             uint64
		position, broker int
	}
	bids := make([]bid, 0, blockPartitions*len(s.over))
	for position := range blockPartitions {
		seed := draw(s.topic, first+int32(position))
		for i, b := range s.over {
			bids = append(bids, bid{draw(seed, b.NodeID), position, i})
		}
	}
	slices.SortFunc(bids, func(a, b bid) int {
		return cmp.Or(cmp.Compare(b.draw, a.draw), cmp.Compare(a.position, b.position), cmp.Compare(s.over[a.broker].NodeID, s.over[b.broker].NodeID))
	})
	share, more := blockPartitions/len(s.over), blockPartitions%len(s.over)
	has := make([]int, len(s.over))
	var done [blockPartitions]bool
	for _, b := range bids {
		switch {
		case done[b.position]:
			continue
		case has[b.broker] < share:
		case has[b.broker] == share && more > 0:
			more--
		default:
			continue
		}
		done[b.position] = true
		has[b.broker]++
		s.given[b.position] = s.over[b.broker]
	}
}
