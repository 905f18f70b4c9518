package cluster

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"github.com/wadi-log/wadi/metadata"
)

// Broker is an agent, or all those behind one address, as a client sees them.
type Broker struct {
	// NodeID is the broker ID of the address.
	NodeID int32
	Host   string
	Port   int32
	// Zone is that of the agents behind the address, "" when they are in several.
	Zone string

	// zones are those of the agents behind the address, without "".
	zones []string
	// produces and consumes tell whether clients are to be sent there for that.
	produces, consumes bool
	// rank is the lowest of the agents behind the address.
	rank int
	// first is the lowest node ID of them.
	first int32
}

// in reports whether an agent behind the address is in the zone.
func (b Broker) in(zone string) bool { return slices.Contains(b.zones, zone) }

// at reports whether the broker has the address.
func (b Broker) at(l metadata.Listener) bool { return b.Host == l.Host && b.Port == l.Port }

// anyRole is one that every agent has.
const anyRole = ""

// brokers returns the agents as a client of a listener sees them, by node ID. Agents with the same
// address there (a load balancer's, or the one that the client wants all to have) are one broker, with
// the roles of all. Every agent of one register arrives at the same list.
//
// Only those are in it that clients are to be sent to: for each role the agents that serve, the slow ones where
// none serves, the draining ones where those are all. A role that no agent has is everybody's. The list is
// empty only when no agent has the listener.
func brokers(alive []metadata.Agent, listener string, h hints) []Broker {
	var agents []metadata.Agent
	for _, a := range alive {
		if _, ok := listenerOf(a, listener); ok {
			agents = append(agents, a)
		}
	}
	slices.SortFunc(agents, func(a, b metadata.Agent) int { return cmp.Compare(a.NodeID, b.NodeID) })
	produces, consumes := offering(agents, metadata.RoleProduce), offering(agents, metadata.RoleConsume)
	switch p, c := slices.Contains(produces, true), slices.Contains(consumes, true); {
	case !p && !c:
		produces = offering(agents, anyRole)
		consumes = produces
	case !p:
		produces = consumes
	case !c:
		consumes = produces
	}
	var list []Broker
	index := map[string]int{} // in the list, by address
	for i, a := range agents {
		l, _ := listenerOf(a, listener)
		id := a.BrokerID(l)
		l = h.apply(l)
		address := l.Address()
		at, known := index[address]
		if !known {
			at = len(list)
			index[address] = at
			list = append(list, Broker{NodeID: id, Host: l.Host, Port: l.Port, rank: math.MaxInt, first: a.NodeID})
		}
		b := &list[at]
		b.NodeID = min(b.NodeID, id)
		if produces[i] || consumes[i] {
			b.add(a, produces[i], consumes[i])
		}
	}
	settle(list, agents, func(a metadata.Agent) int {
		l, _ := listenerOf(a, listener)
		return index[h.apply(l).Address()]
	})
	list = slices.DeleteFunc(list, func(b Broker) bool { return !b.produces && !b.consumes })
	slices.SortFunc(list, func(a, b Broker) int { return cmp.Compare(a.NodeID, b.NodeID) })
	return list
}

// add counts in an agent to which clients are sent.
func (b *Broker) add(a metadata.Agent, produces, consumes bool) {
	if !b.produces && !b.consumes {
		b.Zone = a.Zone
	}
	b.produces, b.consumes, b.rank = b.produces || produces, b.consumes || consumes, min(b.rank, rank(a))
	if b.Zone != a.Zone {
		b.Zone = ""
	}
	if a.Zone != "" && !b.in(a.Zone) {
		b.zones = append(b.zones, a.Zone)
	}
}

// settle makes sure that no two brokers have one ID. That happens when agents move from a load balancer's address to
// their own, or when the register lost what they were: then the ID is that of the agent which has it as its node ID, or of the
// first broker in the list, and the other broker has the lowest node ID of its agents. at tells which broker an agent is behind.
func settle(list []Broker, agents []metadata.Agent, at func(metadata.Agent) int) {
	if !slices.ContainsFunc(list, func(b Broker) bool { return b.NodeID != b.first }) {
		return // node IDs, so no two are the same
	}
	home := make(map[int32]int, len(agents))
	for _, a := range agents {
		home[a.NodeID] = at(a)
	}
	taken := make(map[int32]bool, len(list))
	for i := range list {
		b := &list[i]
		if j, ok := home[b.NodeID]; ok && i != j || taken[b.NodeID] {
			b.NodeID = b.first
		}
		taken[b.NodeID] = true
	}
}

// listenerOf returns the agent's listener of that name.
func listenerOf(a metadata.Agent, name string) (l metadata.Listener, ok bool) {
	i := slices.IndexFunc(a.Listeners, func(l metadata.Listener) bool { return l.Name == name })
	if i < 0 {
		return l, false
	}
	return a.Listeners[i], true
}

// offering tells which of the agents clients are to be sent to for the role: those that have it and
// are in the best state among them.
func offering(agents []metadata.Agent, role string) []bool {
	able := func(a metadata.Agent) bool { return role == anyRole || a.HasRole(role) }
	best := math.MaxInt
	for _, a := range agents {
		if able(a) {
			best = min(best, rank(a))
		}
	}
	offers := make([]bool, len(agents))
	for i, a := range agents {
		offers[i] = able(a) && rank(a) == best
	}
	return offers
}

// rank orders states: clients are sent to agents of a higher rank when there is none of a lower one.
func rank(a metadata.Agent) int {
	switch a.State {
	case metadata.Serving:
		return 0
	case metadata.Slow:
		return 1
	}
	return 2
}

// coordinator returns the broker that all clients are told to take as the
// coordinator of a group or transactional ID, so that requests of one group
// meet in one agent, of each zone whose clients are shown only that. There must be brokers.
func coordinator(kind int8, key string, list []Broker) Broker {
	best := slices.MinFunc(list, func(a, b Broker) int { return cmp.Compare(a.rank, b.rank) }).rank
	able := slices.DeleteFunc(slices.Clone(list), func(b Broker) bool { return b.rank > best })
	return choose("coordinator\x00"+strconv.Itoa(int(kind))+"\x00"+key, able)
}

// choose is rendezvous hashing: each broker draws a number for the key and the
// highest wins. A broker that comes takes an equal share from each of the
// others, one that goes leaves its keys to all of them, and nothing else moves.
func choose(key string, list []Broker) Broker {
	return slices.MinFunc(list, byDraw(xxhash.Sum64String(key)))
}

// byDraw orders brokers by what they draw, the highest first.
func byDraw(seed uint64) func(a, b Broker) int {
	return func(a, b Broker) int {
		return cmp.Or(cmp.Compare(draw(seed, b.NodeID), draw(seed, a.NodeID)), cmp.Compare(a.NodeID, b.NodeID))
	}
}

// draw mixes a key's hash with a node ID (the finalizer of splitmix64, which
// spreads neighbouring node IDs over the whole range).
func draw(seed uint64, nodeID int32) uint64 {
	x := seed + uint64(uint32(nodeID))*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
