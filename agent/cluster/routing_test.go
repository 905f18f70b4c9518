package cluster

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wadi-log/wadi/metadata"
)

func brokerIDs(list []Broker) (ids []int32) {
	for _, b := range list {
		ids = append(ids, b.NodeID)
	}
	return ids
}

// agents are agents that serve, with addresses of their own.
func agents(nodeIDs ...int32) []metadata.Agent {
	list := make([]metadata.Agent, len(nodeIDs))
	for i, id := range nodeIDs {
		list[i] = metadata.Agent{NodeID: id, Listeners: at(fmt.Sprintf("agent-%d", id), 9092), State: metadata.Serving}
	}
	return list
}

func nodeIDs(list []metadata.Agent) []int32 {
	ids := make([]int32, len(list))
	for i, a := range list {
		ids[i] = a.NodeID
	}
	return ids
}

// listed are the brokers of agents with the default listener.
func listed(alive []metadata.Agent) []Broker {
	return brokers(alive, metadata.DefaultListener, hints{})
}

func TestBrokersWithOneAddressAreOne(t *testing.T) {
	alive := agents(4, 2, 9, 3, 1)
	for i := range alive {
		if alive[i].NodeID != 9 {
			alive[i].Listeners = at("lb", 9092)
		}
	}
	alive[0].Listeners[0].Port = 9093 // agent 4
	got := listed(alive)
	if want := []int32{1, 4, 9}; !slices.Equal(brokerIDs(got), want) {
		t.Errorf("brokers are %v, want %v", brokerIDs(got), want)
	}
	if got[0].Host != "lb" || got[0].Port != 9092 {
		t.Errorf("the load balancer is shown as %s:%d", got[0].Host, got[0].Port)
	}
}

func TestBrokerOfAgentsInSeveralZonesIsInNoneOfThem(t *testing.T) {
	alive := agents(1, 2, 3)
	for i, zone := range []string{"a", "a", "b"} {
		alive[i].Zone = zone
		alive[i].Listeners = at("lb", 9092)
	}
	if got := listed(alive[:2]); got[0].Zone != "a" {
		t.Errorf("two agents of zone a are shown in %q", got[0].Zone)
	}
	if got := listed(alive); got[0].Zone != "" || !got[0].in("a") || !got[0].in("b") || got[0].in("") {
		t.Errorf("agents of two zones: %+v", got[0])
	}
}

func TestBrokersAreThoseOfTheListener(t *testing.T) {
	alive := agents(1, 2, 3)
	alive[1].Listeners = append(alive[1].Listeners, metadata.Listener{Name: "EXTERNAL", Host: "outside", Port: 19092})
	got := brokers(alive, "EXTERNAL", hints{})
	if len(got) != 1 || got[0].NodeID != 2 || got[0].Host != "outside" || got[0].Port != 19092 {
		t.Errorf("%+v", got)
	}
	if got := brokers(alive, "NONE", hints{}); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestClientCanGiveAllBrokersAnAddress(t *testing.T) {
	alive := agents(1, 2, 3)
	alive[2].Listeners[0].Port = 9093
	for id, want := range map[string][]string{
		"app":              {"1 agent-1:9092", "2 agent-2:9092", "3 agent-3:9093"},
		"wadi_host=tunnel": {"1 tunnel:9092", "3 tunnel:9093"},
		"wadi_host=h:1":    {"1 h:1"},
	} {
		var got []string
		for _, b := range brokers(alive, metadata.DefaultListener, parseHints(id)) {
			got = append(got, fmt.Sprintf("%d %s:%d", b.NodeID, b.Host, b.Port))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
}

// TestClientsAreSentToTheBestThatThereIs: letters are roles (b for both, j for none of them), and what follows the
// state (! slow, - draining). Brokers are shown with the roles that clients come for.
func TestClientsAreSentToTheBestThatThereIs(t *testing.T) {
	for _, tc := range []struct {
		agents []string
		want   string
	}{
		{[]string{"b", "b"}, "1 pc, 2 pc"},
		{[]string{"b", "b!"}, "1 pc"},
		{[]string{"b", "b-"}, "1 pc"},
		{[]string{"b!", "b-"}, "1 pc"},
		{[]string{"b!", "b!"}, "1 pc, 2 pc"},
		{[]string{"b-", "b-"}, "1 pc, 2 pc"},
		{[]string{"p", "c"}, "1 p, 2 c"},
		{[]string{"p", "b", "j"}, "1 p, 2 pc"},
		{[]string{"p", "p"}, "1 pc, 2 pc"},
		{[]string{"c", "j"}, "1 pc"},
		{[]string{"j", "j"}, "1 pc, 2 pc"},
		{[]string{"j!", "j"}, "2 pc"},
		{[]string{"p!", "c"}, "1 p, 2 c"},
		{[]string{"p!", "c-", "c!"}, "1 p, 3 c"},
		{[]string{"b!", "p"}, "1 c, 2 p"},
		{[]string{"b!", "j"}, "1 pc"},
		{[]string{"p-", "j"}, "1 pc"},
	} {
		alive := agents()
		for i, text := range tc.agents {
			a := agents(int32(i + 1))[0]
			a.Roles = map[byte][]string{'b': {"produce", "consume", "jobs"}, 'p': {"produce"}, 'c': {"consume"}, 'j': {"jobs"}}[text[0]]
			if len(text) > 1 {
				a.State = map[byte]metadata.AgentState{'!': metadata.Slow, '-': metadata.Draining}[text[1]]
			}
			alive = append(alive, a)
		}
		got := ""
		for i, b := range listed(alive) {
			if i > 0 {
				got += ", "
			}
			got += fmt.Sprint(b.NodeID, " ")
			if b.produces {
				got += "p"
			}
			if b.consumes {
				got += "c"
			}
		}
		if got != tc.want {
			t.Errorf("%v: %s, want %s", tc.agents, got, tc.want)
		}
	}
}

func TestAgentThatTellsNoRolesHasAll(t *testing.T) {
	if got := listed(agents(1)); !got[0].produces || !got[0].consumes {
		t.Errorf("%+v", got)
	}
}

func TestCoordinatorsAreAgentsInTheBestState(t *testing.T) {
	alive := agents(1, 2, 3)
	alive[0].Roles, alive[1].Roles, alive[2].Roles = []string{"produce"}, []string{"consume"}, []string{"consume"}
	alive[0].State = metadata.Slow
	list := listed(alive)
	if len(list) != 3 {
		t.Fatalf("%+v", list)
	}
	for i := range 100 {
		if c := coordinator(0, fmt.Sprint("group-", i), list); c.NodeID == 1 {
			t.Fatalf("the coordinator of group-%d is the slow one of three agents", i)
		}
	}
}

func TestCoordinatorsMoveLittle(t *testing.T) {
	const groups = 10_000
	before := listed(agents(1, 2, 3, 4, 5, 6, 7, 8, 9, 10))
	gone := listed(agents(1, 2, 3, 5, 6, 7, 8, 9, 10))
	count := map[int32]int{}
	for i := range groups {
		group := fmt.Sprint("group-", i)
		was, is := coordinator(0, group, before).NodeID, coordinator(0, group, gone).NodeID
		count[was]++
		if was != 4 && is != was {
			t.Fatalf("%s moved from %d to %d when 4 went", group, was, is)
		}
	}
	for id, n := range count {
		if mean := groups / len(before); n < mean*8/10 || n > mean*12/10 {
			t.Errorf("agent %d has %d of %d groups", id, n, groups)
		}
	}
}

// TestCoordinatorsArePinned fails when the hash changes: agents of two releases
// must give the same advice during an upgrade.
func TestCoordinatorsArePinned(t *testing.T) {
	list := listed(agents(1, 2, 3, 4, 5, 6, 7))
	var got []int32
	for _, key := range []string{"", "rdkafka", "sarama", "kgo", "console-consumer"} {
		got = append(got, coordinator(0, key, list).NodeID, coordinator(1, key, list).NodeID)
	}
	if want := []int32{6, 6, 1, 1, 5, 4, 2, 3, 6, 7}; !slices.Equal(got, want) {
		t.Errorf("coordinators are %v, want %v", got, want)
	}
}

func TestOrderOfTheRegisterDoesNotMatter(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	alive := agents(1, 2, 3, 4, 5, 6)
	for i := range alive {
		alive[i].Zone = string(rune('a' + i%2))
	}
	want := NewRouter(view(alive), Zones{}).View(client).Topic([16]byte{7})
	for range 20 {
		shuffled := slices.Clone(alive)
		rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		got := NewRouter(view(shuffled), Zones{}).View(client)
		if got.Controller().NodeID != 1 || !slices.IsSorted(brokerIDs(got.Brokers)) {
			t.Fatalf("brokers are %v", brokerIDs(got.Brokers))
		}
		place := got.Topic([16]byte{7})
		for p := range int32(30) {
			if a, b := want.Replicas(p), place.Replicas(p); !slices.Equal(a, b) {
				t.Fatalf("partition %d is on %v or %v, by the order of agents (seed %d)", p, a, b, seed)
			}
		}
	}
}
