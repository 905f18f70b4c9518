package metadata

import (
	"cmp"
	"fmt"
	"slices"
)

// Registered is an agent in a register that beat or left within NodeIDReserved.
type Registered struct {
	Agent
	Alive bool
}

// Enter decides what an agent that registers is known by, for both stores: it returns the agent with its node ID and
// with its listeners' broker IDs. NodeID 0 takes the one of the agent's own name, else the lowest from 1 that is
// nobody's and that clients know nobody by; a set one may be a dead agent's. Errors: ErrNodeIDInUse.
//
// The broker ID of an address is what the agents there say already, alive or not, the lowest if they
// differ. So it stays while agents come and go, also all at once. An address that is new has the node ID of its first agent;
// and so has one at which an agent with a set node ID is alone.
func Enter(agent Agent, register []Registered) (Agent, error) {
	set := agent.NodeID != 0
	id, err := nodeID(agent, register)
	if err != nil {
		return Agent{}, err
	}
	agent.NodeID = id
	agent.Listeners = slices.Clone(agent.Listeners)
	for i := range agent.Listeners {
		l := &agent.Listeners[i]
		said, shared := brokerID(agent.Name, *l, register)
		if set && !shared {
			said = id
		}
		l.BrokerID = cmp.Or(said, id)
	}
	return agent, nil
}

func nodeID(agent Agent, register []Registered) (int32, error) {
	var own int32
	held := map[int32]bool{}
	for _, r := range register {
		if r.Name == agent.Name {
			own = r.NodeID
			continue
		}
		if r.Alive && r.NodeID == agent.NodeID {
			return 0, fmt.Errorf("%w: %d", ErrNodeIDInUse, agent.NodeID)
		}
		held[r.NodeID] = true
		for _, l := range r.Listeners {
			held[r.BrokerID(l)] = true
		}
	}
	if id := cmp.Or(agent.NodeID, own); id != 0 {
		return id, nil
	}
	id := int32(1)
	for held[id] {
		id++
	}
	return id, nil
}

// Refuse says why the beat of an agent does not count, whose entry another process has: ErrNameInUse or ErrNodeIDInUse.
func Refuse(agent Agent, alive []Agent) error {
	if slices.ContainsFunc(alive, func(a Agent) bool { return a.NodeID == agent.NodeID && a.Name == agent.Name }) {
		return fmt.Errorf("%w: %s", ErrNameInUse, agent.Name)
	}
	return fmt.Errorf("%w: %d", ErrNodeIDInUse, agent.NodeID)
}

// brokerID returns what is said to be the broker ID at a listener's address, 0 for nothing, and whether an agent
// of another name is alive there.
func brokerID(name string, at Listener, register []Registered) (id int32, shared bool) {
	for _, r := range register {
		for _, l := range r.Listeners {
			if l.Host != at.Host || l.Port != at.Port {
				continue
			}
			if said := r.BrokerID(l); id == 0 || said < id {
				id = said
			}
			shared = shared || r.Alive && r.Name != name
		}
	}
	return id, shared
}
