package metadatatest

import (
	"bytes"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

var agentTests = []test{
	{"RegisteredAgentsAreListed", registeredAgentsAreListed},
	{"DeadAgentGivesWay", deadAgentGivesWay},
	{"DeadAgentKeepsItsNodeIDForADay", deadAgentKeepsItsNodeIDForADay},
	{"SameNameGivesWay", sameNameGivesWay},
	{"AgentsBehindOneAddress", agentsBehindOneAddress},
	{"AddressKeepsItsBrokerID", addressKeepsItsBrokerID},
	{"RestartedBeforeTimeout", restartedBeforeTimeout},
	{"RegisterAtOnce", registerAtOnce},
	{"RemovedAgentIsGone", removedAgentIsGone},
	{"ClusterIDIsStable", clusterIDIsStable},
	{"ClusterSecretIsStable", clusterSecretIsStable},
	{"Ping", ping},
}

func newAgent(nodeID, port int32) metadata.Agent {
	return metadata.Agent{
		NodeID: nodeID, Incarnation: uuid.New(), Name: fmt.Sprint("agent-", port), Zone: "a",
		Listeners: []metadata.Listener{{Name: metadata.DefaultListener, Host: "wadi.example", Port: port}, {Name: "EXTERNAL", Host: "lb.example", Port: 9094}},
		Peer:      "wadi.example:9093", Roles: []string{"produce", "jobs"}, Version: "v1.2.3", StartedAt: time.UnixMilli(1_700_000_000_000), State: metadata.Serving,
		Load: metadata.AgentLoad{Connections: 1, BytesIn: 2, BytesOut: 3, Put: 4, Commit: 5, MemoryBytes: 6},
	}
}

// register registers the agent and requires the node ID.
func (f *fixture) register(agent metadata.Agent, want int32) metadata.Agent {
	f.Helper()
	entered, err := f.store.RegisterAgent(f.ctx, agent)
	f.must(err)
	if entered.NodeID != want {
		f.Fatalf("registered as %d, want %d", entered.NodeID, want)
	}
	return entered
}

// brokerIDs requires the broker IDs of an agent's two listeners.
func (f *fixture) brokerIDs(agent metadata.Agent, own, balanced int32) {
	f.Helper()
	if l := agent.Listeners; l[0].BrokerID != own || l[1].BrokerID != balanced {
		f.Fatalf("agent %d has the broker IDs %d and %d, want %d and %d", agent.NodeID, l[0].BrokerID, l[1].BrokerID, own, balanced)
	}
}

// beat renews the agent and requires who is alive.
func (f *fixture) beat(agent metadata.Agent, want ...metadata.Agent) {
	f.Helper()
	got, err := f.store.BeatAgent(f.ctx, agent)
	f.must(err)
	if !reflect.DeepEqual(got, want) {
		f.Fatalf("alive: got  %+v\nwant %+v", got, want)
	}
}

func registeredAgentsAreListed(f *fixture) {
	first := f.register(newAgent(0, 1), 1)
	fifth := f.register(newAgent(5, 5), 5)
	second := f.register(newAgent(0, 2), 2)
	f.beat(second, first, second, fifth)
	_, err := f.store.RegisterAgent(f.ctx, newAgent(5, 9))
	f.wantErr(err, metadata.ErrNodeIDInUse)
	first.Zone, first.State, first.Load.Connections, first.Listeners = "b", metadata.Draining, 7, first.Listeners[:1]
	f.beat(first, first, second, fifth)
}

func deadAgentGivesWay(f *fixture) {
	dead := f.register(newAgent(0, 1), 1)
	f.db.Age(f, metadata.AgentTimeout+time.Second)
	second := f.register(newAgent(2, 2), 2)
	f.beat(second, second)
	// It was only slow, and its ID is free.
	f.beat(dead, dead, second)
	f.db.Age(f, metadata.AgentTimeout+time.Second)
	successor := f.register(newAgent(1, 3), 1)
	_, err := f.store.BeatAgent(f.ctx, dead)
	f.wantErr(err, metadata.ErrNodeIDInUse)
	f.beat(successor, successor)
	f.register(newAgent(2, 4), 2)
}

// deadAgentKeepsItsNodeIDForADay: whoever starts meanwhile takes another one, unless it
// is told to take just that.
func deadAgentKeepsItsNodeIDForADay(f *fixture) {
	first, second := f.register(newAgent(0, 1), 1), f.register(newAgent(0, 2), 2)
	f.must(f.store.RemoveAgent(f.ctx, first.NodeID, first.Incarnation))
	f.db.Age(f, metadata.NodeIDReserved-time.Minute)
	third := f.register(newAgent(0, 3), 3)
	f.beat(third, third)
	first = f.register(newAgent(0, 1), 1)
	f.beat(first, first, third)

	f.db.Age(f, 2*time.Minute) // now a day after the second's last beat
	fourth := f.register(newAgent(0, 4), 2)
	f.beat(fourth, fourth)
	f.register(newAgent(0, 2), 4)
	_, err := f.store.BeatAgent(f.ctx, second)
	f.wantErr(err, metadata.ErrNodeIDInUse)
}

// sameNameGivesWay: a restarted agent keeps its ID, and is not listed twice.
func sameNameGivesWay(f *fixture) {
	before, neighbour := f.register(newAgent(0, 1), 1), f.register(newAgent(0, 2), 2)
	after := f.register(newAgent(0, 1), 1)
	f.beat(after, after, neighbour)
	_, err := f.store.BeatAgent(f.ctx, before)
	f.wantErr(err, metadata.ErrNameInUse)
	f.beat(after, after, neighbour)
	moved := f.register(newAgent(7, 1), 7)
	f.beat(moved, neighbour, moved)
	_, err = f.store.RegisterAgent(f.ctx, newAgent(2, 1))
	f.wantErr(err, metadata.ErrNodeIDInUse)
}

// agentsBehindOneAddress: a load balancer's address is everybody's.
func agentsBehindOneAddress(f *fixture) {
	first, second := newAgent(0, 1), newAgent(0, 2)
	second.Listeners[0].Port = first.Listeners[0].Port
	first, second = f.register(first, 1), f.register(second, 2)
	f.beat(first, first, second)
	f.beat(second, first, second)
}

// addressKeepsItsBrokerID as long as one of the last day was there, whoever they are. (All agents of these tests share their second address.)
func addressKeepsItsBrokerID(f *fixture) {
	first, second := f.register(newAgent(0, 1), 1), f.register(newAgent(0, 2), 2)
	f.brokerIDs(first, 1, 1)
	f.brokerIDs(second, 2, 1)
	f.must(f.store.RemoveAgent(f.ctx, first.NodeID, first.Incarnation))
	f.db.Age(f, metadata.NodeIDReserved-time.Minute)
	third := f.register(newAgent(0, 3), 3)
	f.brokerIDs(third, 3, 1)
	f.db.Age(f, 2*time.Minute)              // a day after the first two
	fourth := f.register(newAgent(0, 4), 2) // not 1: that is how clients know an address
	f.brokerIDs(fourth, 2, 1)
	f.beat(fourth, fourth)

	// All are gone, and one comes back from before there were broker IDs, whose beats tell of none.
	f.db.Age(f, metadata.AgentTimeout+time.Second)
	fourth.Listeners[1].BrokerID = 0
	f.beat(fourth, fourth)
	f.brokerIDs(f.register(newAgent(0, 5), 4), 4, 1)
	f.db.Age(f, metadata.NodeIDReserved)
	f.brokerIDs(f.register(newAgent(0, 6), 1), 1, 1)
	f.brokerIDs(f.register(newAgent(0, 7), 2), 2, 1)

	// Where an agent with a set node ID is alone, that is it.
	f.db.Age(f, metadata.AgentTimeout+time.Second)
	f.brokerIDs(f.register(newAgent(9, 8), 9), 9, 9)
}

func restartedBeforeTimeout(f *fixture) {
	before := f.register(newAgent(4, 1), 4)
	after := f.register(newAgent(4, 1), 4)
	f.beat(after, after)
	_, err := f.store.BeatAgent(f.ctx, before)
	f.wantErr(err, metadata.ErrNameInUse)
}

func registerAtOnce(f *fixture) {
	stores := []metadata.Store{f.store, f.db.Open(f)}
	const agents = 8
	ids, balanced := make([]int32, agents), make([]int32, agents)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			agent, err := stores[i%2].RegisterAgent(f.ctx, newAgent(0, int32(i+1)))
			if err != nil {
				f.Error(err)
				return
			}
			ids[i], balanced[i] = agent.NodeID, agent.Listeners[1].BrokerID
		})
	}
	wg.Wait()
	slices.Sort(ids)
	if len(slices.Compact(balanced)) != 1 {
		f.Errorf("the broker IDs of one address are %v", balanced)
	}
	if want := []int32{1, 2, 3, 4, 5, 6, 7, 8}; !slices.Equal(ids, want) {
		f.Fatalf("got %v", ids)
	}
}

func removedAgentIsGone(f *fixture) {
	first, second := f.register(newAgent(0, 1), 1), f.register(newAgent(0, 2), 2)
	f.must(f.store.RemoveAgent(f.ctx, first.NodeID, uuid.New())) // not its incarnation
	f.beat(second, first, second)
	f.must(f.store.RemoveAgent(f.ctx, first.NodeID, first.Incarnation))
	f.beat(second, second)
	third := f.register(newAgent(0, 3), 3)
	f.beat(third, second, third)
	// It was only being removed, and may come back as it was.
	f.beat(first, first, second, third)
}

func clusterIDIsStable(f *fixture) {
	id, err := f.store.ClusterID(f.ctx)
	f.must(err)
	if !regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]{21}$`).MatchString(id) {
		f.Fatalf("cluster ID %q", id)
	}
	if again, err := f.db.Open(f).ClusterID(f.ctx); err != nil || again != id {
		f.Fatalf("got %q, %v; was %q", again, err, id)
	}
}

func ping(f *fixture) { f.must(f.store.Ping(f.ctx)) }

func clusterSecretIsStable(f *fixture) {
	first, err := f.store.ClusterSecret(f.ctx)
	f.must(err)
	again, err := f.db.Open(f).ClusterSecret(f.ctx)
	f.must(err)
	if len(first) != 32 || !bytes.Equal(first, again) {
		f.Fatalf("got %d bytes, then others", len(first))
	}
}
