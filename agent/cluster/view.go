package cluster

import (
	"maps"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// agentsPerClient is the number of agents among which a client's partitions are spread. Few
// agents get larger requests of each client. But up to so many agents all clients agree on each partition's one writer, whose
// cache serves its readers, and all agents get the same: see "Measured" in ARCHITECTURE.md.
const agentsPerClient = 8

// enoughInZone is how many agents of a zone, for each role, are all that its clients are shown, so that whatever they
// ask of whichever stays in the zone. Fewer might all be gone at once, and many clients never ask again those
// that they started with.
const enoughInZone = 2

// Router tells clients which agents there are, and which to take for what.
type Router struct {
	agents Agents
	zones  Zones
	// sent are the consumers that were sent elsewhere.
	sent *sent
	// memory is of agents that are gone.
	memory memory
}

// NewRouter makes it. Agents of one cluster should have the same zones, or clients are told
// something else by each.
func NewRouter(agents Agents, zones Zones) *Router {
	return &Router{agents: agents, zones: zones, sent: newSent()}
}

// View is the cluster as one client sees it. All is advice, since any agent serves any
// request; but the same on all agents, and it changes only with the list of agents.
type View struct {
	// Brokers are those that the client is to connect to, by node ID; never none.
	Brokers []Broker
	// StandIns have the node IDs of agents that are gone, for consumers that know only those.
	StandIns []Broker

	// all are Brokers, and those that are not shown since they are in other zones.
	all []Broker
	// zone is the client's, "" when it has none, or nobody there takes clients.
	zone string
	// leaders are those that the client writes to.
	leaders []Broker
	// readers are where the client may have to read, by the zone that it may turn out to be in: one
	// if its zone is known, else one without a zone, which comes first, and one for each zone.
	readers []readers
	// here is this agent's address, as the client sees it.
	here metadata.Listener
}

// readers are the brokers at which clients of a zone, "" for none, may read.
type readers struct {
	zone string
	all  []Broker
	// few are those of them that this client is sent to.
	few []Broker
}

func (r readers) has(nodeID int32) bool {
	return slices.ContainsFunc(r.all, func(b Broker) bool { return b.NodeID == nodeID })
}

// View returns the cluster as the client is to see it.
func (r *Router) View(client protocol.Client) *View {
	h, self, alive := parseHints(client.ID), r.agents.Self(), r.agents.Alive()
	gone := r.memory.note(alive)
	v := &View{all: brokers(alive, client.Listener, h)}
	if len(v.all) == 0 { // this agent has left, and no other has the listener
		v.all = brokers([]metadata.Agent{self}, client.Listener, h)
	}
	v.Brokers = v.all
	if l, ok := listenerOf(self, client.Listener); ok {
		v.here = h.apply(l)
	}
	if zone := r.zones.of(client, h); slices.ContainsFunc(v.all, func(b Broker) bool { return b.in(zone) }) {
		v.zone, v.Brokers = zone, shown(zone, v.all)
	}
	// Hints are no part of the key: a client that is told its zone keeps its agents.
	key := xxhash.Sum64String("client\x00" + h.name + "\x00" + client.Host)
	v.leaders = few(key, near(v.zone, v.Brokers, func(b Broker) bool { return b.produces }))
	for _, zone := range v.readersZones() {
		all := near(zone, v.Brokers, func(b Broker) bool { return b.consumes })
		v.readers = append(v.readers, readers{zone, all, few(key, all)})
	}
	if len(gone) > 0 {
		v.StandIns = v.standIns(alive, gone, client.Listener)
	}
	return v
}

// Zone returns the zone of a client, "" where nothing tells it.
func (r *Router) Zone(client protocol.Client) string {
	return r.zones.of(client, parseHints(client.ID))
}

// Coordinator returns the broker to take as the coordinator of a group or transactional ID.
func (v *View) Coordinator(kind int8, key string) Broker { return coordinator(kind, key, v.Brokers) }

// Controller returns the broker to take for the controller: the lowest node ID of those shown, so that all
// clients that see the same agents are told the same.
func (v *View) Controller() Broker { return v.Brokers[0] }

// Here reports whether that is this agent, or one behind the same address.
func (v *View) Here(b Broker) bool { return b.at(v.here) }

// readersIn are those for a client that turned out to be in the zone.
func (v *View) readersIn(zone string) readers {
	for _, r := range v.readers {
		if r.zone == zone {
			return r
		}
	}
	return v.readers[0]
}

// readersZones are the zones for which the client may need readers.
func (v *View) readersZones() []string {
	if v.zone != "" {
		return []string{v.zone}
	}
	zones := map[string]struct{}{"": {}}
	for _, b := range v.Brokers {
		if b.consumes {
			for _, zone := range b.zones {
				zones[zone] = struct{}{}
			}
		}
	}
	return slices.Sorted(maps.Keys(zones)) // "" comes first
}

// shown returns the brokers of a zone if they are enough, else all.
func shown(zone string, all []Broker) []Broker {
	var in []Broker
	produce, consume := 0, 0
	for _, b := range all {
		if b.in(zone) {
			in = append(in, b)
			if b.produces {
				produce++
			}
			if b.consumes {
				consume++
			}
		}
	}
	if produce < enoughInZone || consume < enoughInZone {
		return all
	}
	return in
}

// near returns the brokers of a zone that are able, or all that are when there is none in the
// zone. There must be one.
func near(zone string, list []Broker, able func(Broker) bool) []Broker {
	var all, in []Broker
	for _, b := range list {
		if able(b) {
			all = append(all, b)
			if b.in(zone) {
				in = append(in, b)
			}
		}
	}
	if len(in) > 0 {
		return in
	}
	return all
}

// few returns those of the brokers that are the client's, by rendezvous hashing.
func few(client uint64, list []Broker) []Broker {
	if len(list) <= agentsPerClient {
		return list
	}
	sorted := slices.Clone(list)
	slices.SortFunc(sorted, byDraw(client))
	return sorted[:agentsPerClient]
}
