package metadata

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// listens makes listeners of addresses, each a name and a broker ID, 0 for none.
func listens(address string, brokerID int32) []Listener {
	return []Listener{{Name: DefaultListener, Host: address, Port: 9092, BrokerID: brokerID}}
}

func TestNodeIDOfAnAgentThatRegisters(t *testing.T) {
	for _, c := range []struct {
		asked, own  int32
		alive, dead []int32
		want        int32 // 0: in use
	}{
		{0, 0, nil, nil, 1},
		{0, 0, []int32{1, 2, 4}, nil, 3},
		{0, 0, []int32{1, 4}, []int32{2, 3}, 5},
		{0, 7, []int32{1}, []int32{2}, 7},
		{5, 7, []int32{1}, nil, 5},
		{5, 5, nil, nil, 5},
		{5, 7, []int32{5}, nil, 0},
		{5, 7, []int32{1}, []int32{5}, 5},
	} {
		var register []Registered
		enter := func(alive bool, ids ...int32) {
			for _, id := range ids {
				name := fmt.Sprint("other-", id)
				register = append(register, Registered{Agent{NodeID: id, Name: name, Listeners: listens(name, 0)}, alive})
			}
		}
		enter(true, c.alive...)
		enter(false, c.dead...)
		if c.own != 0 {
			register = append(register, Registered{Agent{NodeID: c.own, Name: "own", Listeners: listens("own", 0)}, false})
		}
		got, err := Enter(Agent{NodeID: c.asked, Name: "own", Listeners: listens("own", 0)}, register)
		if got.NodeID != c.want || errors.Is(err, ErrNodeIDInUse) != (c.want == 0) {
			t.Errorf("%+v: got %d, %v", c, got.NodeID, err)
		}
	}
}

func TestBrokerIDOfAnAddress(t *testing.T) {
	row := func(name string, nodeID int32, address string, brokerID int32, alive bool) Registered {
		return Registered{Agent{NodeID: nodeID, Name: name, Listeners: listens(address, brokerID)}, alive}
	}
	for name, c := range map[string]struct {
		register []Registered
		asked    int32
		// Node ID and broker ID of agent "a", which registers at "lb".
		node, broker int32
	}{
		"the first of an address":                      {nil, 0, 1, 1},
		"another one of it":                            {[]Registered{row("b", 1, "lb", 1, true)}, 0, 2, 1},
		"after all are gone":                           {[]Registered{row("b", 3, "lb", 2, false)}, 0, 1, 2},
		"beside another address":                       {[]Registered{row("b", 1, "lb2", 1, true)}, 0, 2, 2},
		"an ID that clients know another address by":   {[]Registered{row("b", 2, "lb2", 1, true)}, 0, 3, 3},
		"the agent was there before":                   {[]Registered{row("a", 5, "lb", 2, true)}, 0, 5, 2},
		"the agent was elsewhere":                      {[]Registered{row("a", 5, "lb2", 2, true)}, 0, 5, 5},
		"agents of an older version":                   {[]Registered{row("b", 2, "lb", 0, true), row("c", 3, "lb", 0, true)}, 0, 1, 2},
		"older agents, of which one is gone":           {[]Registered{row("b", 2, "lb", 0, false), row("c", 3, "lb", 0, true)}, 0, 1, 2},
		"agents that differ":                           {[]Registered{row("b", 2, "lb", 7, true), row("c", 3, "lb", 4, true)}, 0, 1, 4},
		"a set node ID, with others there":             {[]Registered{row("b", 2, "lb", 2, true)}, 1, 1, 2},
		"a set node ID, where others were":             {[]Registered{row("b", 2, "lb", 2, false)}, 1, 1, 1},
		"a set node ID, where the agent was before":    {[]Registered{row("a", 2, "lb", 2, true)}, 1, 1, 1},
		"a node ID from before there were broker IDs":  {[]Registered{row("a", 3, "lb", 0, false)}, 0, 3, 3},
		"an agent that took the node ID, and no other": {[]Registered{row("b", 1, "direct", 1, true), row("c", 2, "lb", 1, true)}, 0, 3, 1},
	} {
		asking := Agent{NodeID: c.asked, Name: "a", Listeners: listens("lb", 9)} // what it says itself is nothing
		got, err := Enter(asking, c.register)
		if err != nil || got.NodeID != c.node || got.Listeners[0].BrokerID != c.broker {
			t.Errorf("%s: node %d, broker %d, %v; want %d and %d", name, got.NodeID, got.Listeners[0].BrokerID, err, c.node, c.broker)
		}
		if asking.Listeners[0].BrokerID != 9 {
			t.Errorf("%s: the caller's listeners changed", name)
		}
	}
}

// TestBrokerIDsStayWhileAgentsComeAndGo, in any order, as long as a day has not passed since the last one at the
// address; and no two addresses have the same.
func TestBrokerIDsStayWhileAgentsComeAndGo(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	addresses := []string{"lb-a", "lb-b", "lb-c"}
	const steps, day, agents = 6_000, 200, 12
	type row struct {
		Registered
		left int // step
	}
	rows := map[string]row{} // by name
	known := map[string]int32{}
	for step := range steps {
		var register []Registered
		there := map[string]bool{}
		for name, r := range rows {
			if !r.Alive && step-r.left >= day {
				delete(rows, name)
				continue
			}
			register = append(register, r.Registered)
			there[r.Listeners[0].Host] = true
		}
		for _, address := range addresses {
			if !there[address] {
				delete(known, address)
			}
		}
		// An agent stays at its address; its name goes with it, or is used once.
		i := rng.IntN(agents)
		name, address := fmt.Sprint("agent-", i), addresses[i%len(addresses)]
		if r := rows[name]; r.Alive {
			r.Alive, r.left = false, step
			if i%2 == 0 {
				delete(rows, name)
				name = fmt.Sprint(name, "-until-", step)
				r.Name = name
			}
			rows[name] = r
			continue
		}
		if step/1000%2 == 1 && i%len(addresses) == 0 {
			continue // the first address is left alone for days
		}
		rng.Shuffle(len(register), func(i, j int) { register[i], register[j] = register[j], register[i] })
		got, err := Enter(Agent{Name: name, Listeners: listens(address, 0)}, register)
		if err != nil {
			t.Fatal(err)
		}
		rows[name] = row{Registered{got, true}, 0}
		id := got.Listeners[0].BrokerID
		if was, ok := known[address]; ok && was != id {
			t.Fatalf("step %d: %s was broker %d and is %d (seed %d)", step, address, was, id, seed)
		}
		known[address] = id
		for other, taken := range known {
			if other != address && taken == id {
				t.Fatalf("step %d: %s and %s are both broker %d (seed %d)", step, address, other, id, seed)
			}
		}
		if id < 1 || id > 1000 || got.NodeID > 1000 {
			t.Fatalf("step %d: numbers grow: node %d, broker %d", step, got.NodeID, id)
		}
	}
}

func TestConfigsOfAnAgentAreThoseOfItsBrokerID(t *testing.T) {
	for _, c := range []struct {
		brokerIDs []int32
		want      int32
	}{
		{[]int32{5}, 5},
		{[]int32{1}, 1},
		{[]int32{1, 1}, 1},
		{[]int32{5, 1}, 5},
		{[]int32{1, 2}, 5},
		{[]int32{0}, 5},
	} {
		agent := Agent{NodeID: 5}
		for _, id := range c.brokerIDs {
			agent.Listeners = slices.Concat(agent.Listeners, listens("lb", id))
		}
		if got := agent.ConfigID(); got != c.want {
			t.Errorf("listeners with %v: %d, want %d", c.brokerIDs, got, c.want)
		}
	}
}
