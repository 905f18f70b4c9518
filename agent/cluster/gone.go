package cluster

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

// goneFor is how long the node ID of an agent that is gone stays shown: longer than clients keep to a replica that
// they were sent to. franz-go asks its leader again after half an hour, kafkajs and librdkafka before 2.1 after five minutes.
const goneFor = time.Hour

// memory knows the agents that this process has seen, which the register forgets when they are gone. What it knows is
// a help and no more: an agent that started later knows less.
type memory struct {
	mu   sync.Mutex
	seen map[int32]sighting // by node ID
	last time.Time          // when somebody looked
}

type sighting struct {
	agent metadata.Agent
	// since is when it was first seen serving, with no look in between at which it was not; at is when it was seen last.
	since, at time.Time
}

// note returns the agents that were seen in the last time and are no longer there, by node ID. The list
// must be none of the caller's that changes.
func (m *memory) note(alive []metadata.Agent) (gone []metadata.Agent) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen == nil {
		m.seen = map[int32]sighting{}
	}
	for _, a := range alive {
		s, known := m.seen[a.NodeID]
		if !known || s.at.Before(m.last) || a.State != metadata.Serving {
			s.since = now
		}
		s.agent, s.at = a, now
		m.seen[a.NodeID] = s
	}
	m.last = now
	maps.DeleteFunc(m.seen, func(_ int32, s sighting) bool { return now.Sub(s.at) >= goneFor })
	if len(m.seen) == len(alive) {
		return nil
	}
	for id, s := range m.seen {
		if !slices.ContainsFunc(alive, func(a metadata.Agent) bool { return a.NodeID == id }) {
			gone = append(gone, s.agent)
		}
	}
	slices.SortFunc(gone, func(a, b metadata.Agent) int { return cmp.Compare(a.NodeID, b.NodeID) })
	return gone
}

// known reports whether all clients must have heard of the broker ID, that of an agent which serves for so long.
func (m *memory) known(id int32, listener string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.seen {
		if l, ok := listenerOf(s.agent, listener); ok && (s.agent.BrokerID(l) == id || s.agent.NodeID == id) && m.last.Sub(s.since) >= metadataAge {
			return s.at.Equal(m.last)
		}
	}
	return false
}

// standIns are brokers with the IDs of agents that are gone and left nobody at their address, at the addresses of others
// that consumers may read from, if possible in the same zone. Some consumers that were sent to a replica keep to its node ID
// for long (see goneFor); they would wait for one that never returns. Where agents are all alike nobody is ever
// sent on, and there are none.
func (v *View) standIns(alive, gone []metadata.Agent, listener string) []Broker {
	if !slices.ContainsFunc(append(slices.Clone(alive), gone...), func(a metadata.Agent) bool {
		return a.Zone != alive[0].Zone || !a.HasRole(metadata.RoleProduce) || !a.HasRole(metadata.RoleConsume)
	}) {
		return nil
	}
	var list []Broker
	for _, a := range gone {
		l, ok := listenerOf(a, listener)
		id := a.BrokerID(l)
		if !ok || slices.ContainsFunc(slices.Concat(v.Brokers, list), func(b Broker) bool { return b.NodeID == id }) {
			continue
		}
		b := choose("gone\x00"+strconv.Itoa(int(id)), near(a.Zone, v.Brokers, func(b Broker) bool { return b.consumes }))
		list = append(list, Broker{NodeID: id, Host: b.Host, Port: b.Port, Zone: a.Zone})
	}
	return list
}
