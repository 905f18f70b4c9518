package cluster

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
	"github.com/wadi-log/wadi/protocol/configs"
)

// TestAnswersAgree: whatever the agents are, and whoever asks, all APIs tell of the same brokers, of which there is
// one at least, and nothing is led to any other.
func TestAnswersAgree(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	store := &direct{Store: openStore(t)}
	create(t, store, "t", 30)
	for range 100 {
		register := randomRegister(rng)
		router := NewRouter(register, NewZones(testNetworks(t), map[string]string{"EXTERNAL": "b"}))
		c := New(store, router, configs.Broker{MaxRequestPartitions: 100}, noFeatures, clusterID, slog.New(slog.DiscardHandler))
		clients := []protocol.Client{client}
		for _, l := range register.Self().Listeners {
			for _, id := range []string{"app", "app,zone=a", "zone=d", "wadi_host=tunnel", "wadi_host=[::1]:1,zone=b"} {
				clients = append(clients, protocol.Client{ID: id, Host: "10.1.2.3", Listener: l.Name})
			}
		}
		for _, client := range clients {
			checkAnswers(t, c, client)
		}
		register.forget(rng)
		for _, client := range clients {
			checkAnswers(t, c, client)
		}
		if t.Failed() {
			t.Fatalf("the agents are %+v, and one of them, which may have left, is %+v", register.alive, register.self)
		}
	}
}

// anyRegister is a register in which this agent may be or not.
type anyRegister struct {
	alive []metadata.Agent
	self  metadata.Agent
}

func (r *anyRegister) Alive() []metadata.Agent { return slices.Clone(r.alive) }
func (r *anyRegister) Self() metadata.Agent    { return r.self }

// forget has some of the others die.
func (r *anyRegister) forget(rng *rand.Rand) {
	left := slices.DeleteFunc(r.Alive(), func(a metadata.Agent) bool { return a.NodeID != r.self.NodeID && rng.IntN(2) == 0 })
	if len(left) > 0 {
		r.alive = left
	}
}

func randomRegister(rng *rand.Rand) *anyRegister {
	pick := func(of ...string) string { return of[rng.IntN(len(of))] }
	var all []metadata.Agent
	for i := range 1 + rng.IntN(12) {
		a := agents(int32(2*i + 1))[0]
		a.Zone = pick("", "a", "b", "c")
		a.State = metadata.AgentState(pick("serving", "serving", "slow", "draining", "of a newer version"))
		a.Roles = [][]string{nil, {"produce", "consume", "jobs"}, {"produce"}, {"consume"}, {"jobs"}}[rng.IntN(5)]
		if rng.IntN(4) == 0 {
			a.Listeners = at("lb", 9092)
		}
		if rng.IntN(2) == 0 {
			a.Listeners = append(a.Listeners, metadata.Listener{Name: "EXTERNAL", Host: pick("out", a.Listeners[0].Host), Port: 19092})
		}
		if rng.IntN(2) == 0 { // what no register should come to
			for l := range a.Listeners {
				a.Listeners[l].BrokerID = int32(rng.IntN(30))
			}
		}
		all = append(all, a)
	}
	r := &anyRegister{alive: all, self: all[rng.IntN(len(all))]}
	if len(all) > 1 && rng.IntN(4) == 0 {
		r.alive = slices.DeleteFunc(r.Alive(), func(a metadata.Agent) bool { return a.NodeID == r.self.NodeID })
	}
	return r
}

func checkAnswers(t *testing.T, c *Cluster, client protocol.Client) {
	t.Helper()
	told := func(id int32, host string, port int32) string { return fmt.Sprint(id, " ", host, " ", port) }
	meta := c.Metadata(t.Context(), client, metadataRequest(13, "t"))
	var shown []int32
	var addresses []string
	for _, b := range meta.Brokers {
		if b.Host == "" || b.Port <= 0 || slices.Contains(shown, b.NodeID) {
			t.Errorf("%+v: broker %+v among %v", client, b, shown)
		}
		shown, addresses = append(shown, b.NodeID), append(addresses, told(b.NodeID, b.Host, b.Port))
	}
	described := c.DescribeCluster(t.Context(), client, kmsg.NewPtrDescribeClusterRequest())
	var brokers []int32
	var at []string
	for _, b := range described.Brokers {
		if !slices.Contains(addresses, told(b.NodeID, b.Host, b.Port)) {
			t.Errorf("%+v: DescribeCluster has %+v, Metadata %q", client, b, addresses)
		}
		brokers, at = append(brokers, b.NodeID), append(at, told(b.NodeID, b.Host, b.Port))
	}
	if len(brokers) == 0 || !slices.Contains(brokers, meta.ControllerID) || meta.ControllerID != described.ControllerID {
		t.Errorf("%+v: brokers %v, controllers %d and %d", client, brokers, meta.ControllerID, described.ControllerID)
	}
	for kind := range int8(2) {
		find := kmsg.NewPtrFindCoordinatorRequest()
		find.Version, find.CoordinatorType, find.CoordinatorKeys = 4, kind, []string{"g", "h", "i"}
		for _, found := range c.FindCoordinator(t.Context(), client, find).Coordinators {
			if !slices.Contains(at, told(found.NodeID, found.Host, found.Port)) {
				t.Errorf("%+v: the coordinator of %s is %+v, brokers are %q", client, found.Key, found, at)
			}
		}
	}
	partitions := c.DescribeTopicPartitions(t.Context(), client, describeRequest(100, "", "t")).Topics[0].Partitions
	for i, p := range meta.Topics[0].Partitions {
		if !slices.Contains(brokers, p.Leader) || !slices.Contains(p.Replicas, p.Leader) || !slices.Equal(p.ISR, p.Replicas) {
			t.Errorf("%+v: partition %d is led by %d and on %v, in sync %v; brokers are %v", client, p.Partition, p.Leader, p.Replicas, p.ISR, brokers)
		}
		for j, id := range p.Replicas {
			if !slices.Contains(brokers, id) || slices.Contains(p.Replicas[:j], id) {
				t.Errorf("%+v: partition %d is on %v; brokers are %v", client, p.Partition, p.Replicas, brokers)
			}
		}
		if q := partitions[i]; q.Partition != p.Partition || q.LeaderID != p.Leader || q.LeaderEpoch != p.LeaderEpoch || !slices.Equal(q.Replicas, p.Replicas) {
			t.Errorf("%+v: Metadata has %+v, DescribeTopicPartitions %+v", client, p, q)
		}
	}
}
