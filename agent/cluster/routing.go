package cluster

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// Broker is an agent, or all those behind one address, as the clients of a listener see it.
type Broker struct {
	NodeID int32
	Host   string
	Port   int32
	Zone   string
}

// Brokers returns the agents as the clients of a listener see them, by node ID: agents that
// advertise the same address there (a load balancer's) are one broker, with the lowest
// node ID among them; those without such a listener are none. Every agent of one register arrives at the same list.
func Brokers(alive []metadata.Agent, listener string) []Broker {
	type address struct {
		host string
		port int32
	}
	sorted := slices.Clone(alive)
	slices.SortFunc(sorted, func(a, b metadata.Agent) int { return cmp.Compare(a.NodeID, b.NodeID) })
	seen := make(map[address]struct{}, len(sorted))
	var brokers []Broker
	for _, a := range sorted {
		i := slices.IndexFunc(a.Listeners, func(l metadata.Listener) bool { return l.Name == listener })
		if i < 0 {
			continue
		}
		at := address{a.Listeners[i].Host, a.Listeners[i].Port}
		if _, known := seen[at]; known {
			continue
		}
		seen[at] = struct{}{}
		brokers = append(brokers, Broker{a.NodeID, at.host, at.port, a.Zone})
	}
	return brokers
}

// Leader returns the broker that the client is told to take for every
// partition. One agent per client keeps batches large; clients spread over
// the agents. Brokers must not be empty.
func Leader(client protocol.Client, brokers []Broker) Broker {
	return choose("leader\x00"+client.ID+"\x00"+client.Host, brokers)
}

// Coordinator returns the broker that all clients are told to take as the
// coordinator of a group or transactional ID, so that requests of one group
// meet in one agent. Brokers must not be empty.
func Coordinator(kind int8, key string, brokers []Broker) Broker {
	return choose("coordinator\x00"+strconv.Itoa(int(kind))+"\x00"+key, brokers)
}

// Controller returns the broker that is told to be the controller: the
// lowest node ID, so that all clients are told the same. Brokers must not be empty.
func Controller(brokers []Broker) Broker {
	return slices.MinFunc(brokers, func(a, b Broker) int { return cmp.Compare(a.NodeID, b.NodeID) })
}

// choose is rendezvous hashing: each broker draws a number for the key and the
// highest wins. A broker that comes takes an equal share from each of the
// others, one that goes leaves its keys to all of them, and nothing else moves.
func choose(key string, brokers []Broker) Broker {
	seed := xxhash.Sum64String(key)
	return slices.MaxFunc(brokers, func(a, b Broker) int {
		if c := cmp.Compare(draw(seed, a.NodeID), draw(seed, b.NodeID)); c != 0 {
			return c
		}
		return cmp.Compare(b.NodeID, a.NodeID)
	})
}

// draw mixes a key's hash with a node ID (the finalizer of splitmix64, which
// spreads neighbouring node IDs over the whole range).
func draw(seed uint64, nodeID int32) uint64 {
	x := seed + uint64(uint32(nodeID))*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
