package cluster

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// brokers are the agents as clients of the one listener see them.
func brokers(nodeIDs ...int32) []Broker {
	return Brokers(agents(nodeIDs...), metadata.DefaultListener)
}

func brokerIDs(list []Broker) (ids []int32) {
	for _, b := range list {
		ids = append(ids, b.NodeID)
	}
	return ids
}

func agents(nodeIDs ...int32) []metadata.Agent {
	list := make([]metadata.Agent, len(nodeIDs))
	for i, id := range nodeIDs {
		list[i] = metadata.Agent{NodeID: id, Listeners: at(fmt.Sprintf("agent-%d", id), 9092)}
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

func TestBrokersWithOneAddressAreOne(t *testing.T) {
	alive := agents(4, 2, 9, 3, 1)
	for i := range alive {
		if alive[i].NodeID != 9 {
			alive[i].Listeners = at("lb", 9092)
		}
	}
	alive[0].Listeners[0].Port = 9093 // agent 4
	got := Brokers(alive, metadata.DefaultListener)
	if want := []int32{1, 4, 9}; !slices.Equal(brokerIDs(got), want) {
		t.Errorf("brokers are %v, want %v", brokerIDs(got), want)
	}
	if got[0].Host != "lb" || got[0].Port != 9092 {
		t.Errorf("the load balancer is shown as %s:%d", got[0].Host, got[0].Port)
	}
}

func TestRoutingIsTheSameOnEveryAgent(t *testing.T) {
	brokers := brokers(1, 2, 3, 4, 5)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 100 {
		shuffled := slices.Clone(brokers)
		rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		client := protocol.Client{ID: fmt.Sprintf("client-%d", i), Host: "10.0.0.1"}
		if a, b := Leader(client, brokers), Leader(client, shuffled); a != b {
			t.Errorf("the leader of %s is %d or %d, by the order of brokers", client.ID, a.NodeID, b.NodeID)
		}
		if a, b := Coordinator(0, client.ID, brokers), Coordinator(0, client.ID, shuffled); a != b {
			t.Errorf("the coordinator of %s is %d or %d, by the order of brokers", client.ID, a.NodeID, b.NodeID)
		}
		if c := Controller(shuffled); c.NodeID != 1 {
			t.Errorf("the controller is %d, want 1", c.NodeID)
		}
	}
}

// TestRoutingIsPinned fails when the hash changes: agents of two releases
// must give the same advice during an upgrade.
func TestRoutingIsPinned(t *testing.T) {
	brokers := brokers(1, 2, 3, 4, 5, 6, 7)
	var got []int32
	for _, id := range []string{"", "rdkafka", "sarama", "kgo", "console-consumer"} {
		got = append(got, Leader(protocol.Client{ID: id, Host: "10.0.0.1"}, brokers).NodeID, Coordinator(0, id, brokers).NodeID)
	}
	if want := []int32{6, 6, 6, 1, 7, 5, 3, 2, 6, 6}; !slices.Equal(got, want) {
		t.Errorf("leaders and coordinators are %v, want %v", got, want)
	}
}

func TestRoutingSpreadsAndMovesLittle(t *testing.T) {
	const clients = 10_000
	before := brokers(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
	gone := slices.DeleteFunc(slices.Clone(before), func(b Broker) bool { return b.NodeID == 4 })
	count := map[int32]int{}
	for i := range clients {
		client := protocol.Client{ID: fmt.Sprintf("app-%d", i%100), Host: fmt.Sprintf("10.0.%d.%d", i/256, i%256)}
		was, is := Leader(client, before).NodeID, Leader(client, gone).NodeID
		count[was]++
		if was != 4 && is != was {
			t.Fatalf("client %v moved from %d to %d when 4 went", client, was, is)
		}
	}
	for id, n := range count {
		if mean := clients / len(before); n < mean*8/10 || n > mean*12/10 {
			t.Errorf("agent %d has %d of %d clients", id, n, clients)
		}
	}
}
