package cluster

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// known makes an agent with a broker ID of its address, 0 for none.
func known(nodeID int32, address string, brokerID int32) metadata.Agent {
	a := agents(nodeID)[0]
	a.Listeners = []metadata.Listener{{Name: metadata.DefaultListener, Host: address, Port: 9092, BrokerID: brokerID}}
	return a
}

func TestBrokerHasTheIDOfItsAddress(t *testing.T) {
	for name, tc := range map[string]struct {
		alive []metadata.Agent
		want  string
	}{
		"behind a balancer, without the first one": {[]metadata.Agent{known(2, "lb", 1), known(3, "lb", 1)}, "1 lb"},
		"two balancers":                     {[]metadata.Agent{known(2, "lb", 1), known(3, "lb2", 4), known(5, "lb2", 4)}, "1 lb, 4 lb2"},
		"beside agents of an older version": {[]metadata.Agent{known(2, "lb", 0), known(3, "lb", 4), known(4, "lb", 4)}, "2 lb"},
		"agents that differ":                {[]metadata.Agent{known(2, "lb", 9), known(3, "lb", 8)}, "8 lb"},
		"an agent that had another node ID": {[]metadata.Agent{known(1, "a", 1), known(4, "b", 2), known(3, "c", 3)}, "1 a, 2 b, 3 c"},
		// Agent 1 has moved from the balancer to its own address, then 2, and 3 will.
		"one of three moved":     {[]metadata.Agent{known(1, "a", 1), known(2, "lb", 1), known(3, "lb", 1)}, "1 a, 2 lb"},
		"two of three moved":     {[]metadata.Agent{known(1, "a", 1), known(2, "b", 2), known(3, "lb", 1)}, "1 a, 2 b, 3 lb"},
		"two addresses, one ID":  {[]metadata.Agent{known(2, "a", 7), known(3, "b", 7)}, "3 b, 7 a"},
		"a chain of taken IDs":   {[]metadata.Agent{known(1, "a", 2), known(2, "b", 3), known(3, "c", 4)}, "1 a, 2 b, 4 c"},
		"the fallback was taken": {[]metadata.Agent{known(2, "a", 5), known(4, "b", 2), known(5, "c", 5)}, "2 a, 4 b, 5 c"},
	} {
		for range 5 {
			rand.Shuffle(len(tc.alive), func(i, j int) { tc.alive[i], tc.alive[j] = tc.alive[j], tc.alive[i] })
			got := ""
			for i, b := range listed(tc.alive) {
				if i > 0 {
					got += ", "
				}
				got += fmt.Sprint(b.NodeID, " ", b.Host)
			}
			if got != tc.want {
				t.Errorf("%s: %s, want %s", name, got, tc.want)
				break
			}
		}
	}
}

// TestBrokersHaveDifferentIDs, whatever agents say.
func TestBrokersHaveDifferentIDs(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 5_000 {
		var alive []metadata.Agent
		for _, i := range rng.Perm(8)[:1+rng.IntN(7)] {
			alive = append(alive, known(int32(1+i), string(rune('a'+rng.IntN(5))), int32(rng.IntN(10))))
		}
		ids := brokerIDs(listed(alive))
		if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != len(ids) {
			t.Fatalf("brokers are %v of %+v (seed %d)", ids, alive, seed)
		}
	}
}

func TestStateAndRolesOfAgentsDoNotMoveTheBrokerID(t *testing.T) {
	alive := []metadata.Agent{known(2, "lb", 2), known(3, "lb", 2), known(4, "lb", 2)}
	for _, state := range []metadata.AgentState{metadata.Draining, metadata.Slow} {
		alive[0].State = state
		if got := brokerIDs(listed(alive)); !slices.Equal(got, []int32{2}) {
			t.Errorf("agent 2 is %s: brokers are %v", state, got)
		}
	}
}

// TestBrokerIDOutlivesAgents plays a fleet behind a balancer, with a register: agents come and go in any order, also all of
// them, and every agent tells its clients the same at all times.
func TestBrokerIDOutlivesAgents(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	store := openStore(t)
	fleet := map[string]*Membership{}
	join := func(name string) {
		self := metadata.Agent{Name: name, Listeners: []metadata.Listener{
			{Name: "INTERNAL", Host: name, Port: 9092}, {Name: "EXTERNAL", Host: "lb", Port: 9092},
		}}
		fleet[name] = NewMembership(store, self, &load{}, slog.New(slog.DiscardHandler))
		register(t, fleet[name])
	}
	for step := range 60 {
		name := fmt.Sprint("agent-", rng.IntN(4))
		switch m := fleet[name]; {
		case m == nil:
			join(name)
		case rng.IntN(2) == 0:
			m.leave(t.Context())
			delete(fleet, name)
		default: // killed, and started again under another name
			if err := store.RemoveAgent(t.Context(), m.Self().NodeID, m.Self().Incarnation); err != nil {
				t.Fatal(err)
			}
			delete(fleet, name)
			join(fmt.Sprint(name, "-", step))
		}
		for name, m := range fleet {
			if err := m.beat(t.Context()); err != nil {
				t.Fatal(err)
			}
			router := NewRouter(m, Zones{})
			outside := router.View(protocol.Client{ID: "c", Listener: "EXTERNAL"})
			if got := brokerIDs(outside.Brokers); !slices.Equal(got, []int32{1}) || outside.Controller().NodeID != 1 ||
				outside.Coordinator(groupKey, "g").NodeID != 1 || outside.Topic(topicID(1)).Leader(0).NodeID != 1 || len(outside.StandIns) > 0 {
				t.Fatalf("step %d: %s shows %v (seed %d)", step, name, outside.Brokers, seed)
			}
			inside := brokerIDs(router.View(protocol.Client{ID: "c", Listener: "INTERNAL"}).Brokers)
			if want := nodeIDs(m.Alive()); !slices.Equal(inside, want) {
				t.Fatalf("step %d: inside %s shows %v, want %v (seed %d)", step, name, inside, want, seed)
			}
		}
	}
}
