package cluster

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// zoned are agents of the zones, with the node IDs from 1 on.
func zoned(zones ...string) []metadata.Agent {
	var list []metadata.Agent
	for i, zone := range zones {
		a := agents(int32(i + 1))[0]
		a.Zone = zone
		list = append(list, a)
	}
	return list
}

// used returns the brokers at which a client finds partitions: as leaders, and as others.
func used(v *View) (leaders, others []int32) {
	for topic := range 10 {
		place := v.Topic(topicID(topic))
		for p := range int32(12) {
			replicas := place.Replicas(p)
			if replicas[0] != place.Leader(p).NodeID {
				panic("the leader is not the first replica")
			}
			leaders, others = append(leaders, replicas[0]), append(others, replicas[1:]...)
		}
	}
	slices.Sort(leaders)
	slices.Sort(others)
	return slices.Compact(leaders), slices.Compact(others)
}

func TestClientIsLedToItsZone(t *testing.T) {
	router := NewRouter(view(zoned("a", "b", "a", "b", "", "c")), NewZones(
		[]Network{{netip.MustParsePrefix("10.1.0.0/16"), "a"}}, map[string]string{"PLAINTEXT": "c"}))
	for _, tc := range []struct {
		id, host    string
		want, shown []int32
	}{
		{"app,zone=a", "", []int32{1, 3}, []int32{1, 3}},
		{"app,zone=b", "10.1.0.1", []int32{2, 4}, []int32{2, 4}},
		{"app", "10.1.0.1", []int32{1, 3}, []int32{1, 3}},
		// When the only one dies, its clients must know of others.
		{"app", "10.2.0.1", []int32{6}, []int32{1, 2, 3, 4, 5, 6}},
	} {
		v := router.View(protocol.Client{ID: tc.id, Host: tc.host, Listener: "PLAINTEXT"})
		leaders, others := used(v)
		if !slices.Equal(leaders, tc.want) || len(others) > 0 {
			t.Errorf("%s at %s: %v and %v, want %v", tc.id, tc.host, leaders, others, tc.want)
		}
		if !slices.Equal(brokerIDs(v.Brokers), tc.shown) || v.Controller().NodeID != tc.shown[0] {
			t.Errorf("%s at %s: brokers %v, want %v", tc.id, tc.host, brokerIDs(v.Brokers), tc.shown)
		}
		for i := range 100 {
			if b := v.Coordinator(groupKey, fmt.Sprint(i)); !slices.Contains(tc.shown, b.NodeID) {
				t.Errorf("%s at %s: coordinator %d", tc.id, tc.host, b.NodeID)
			}
		}
	}
}

func TestZoneIsShownAloneWhenEnoughDoEachJob(t *testing.T) {
	for _, tc := range []struct {
		name  string
		roles []string // of the agents in the zone
		alone bool
	}{
		{"two for everything", []string{"produce consume", "produce consume"}, true},
		{"two for each", []string{"produce", "consume", "produce", "consume"}, true},
		{"one for records", []string{"produce consume", "consume", "consume"}, false},
		{"one for consumers", []string{"produce", "produce consume", "produce"}, false},
	} {
		alive := zoned(append(slices.Repeat([]string{"a"}, len(tc.roles)), "b", "b")...)
		for i, roles := range tc.roles {
			alive[i].Roles = strings.Fields(roles)
		}
		v := viewOf(protocol.Client{ID: "zone=a", Listener: metadata.DefaultListener}, alive...)
		if got := len(v.Brokers) == len(tc.roles); got != tc.alone || !got && len(v.Brokers) != len(alive) {
			t.Errorf("%s: brokers %v", tc.name, brokerIDs(v.Brokers))
		}
	}
}

// TestAgentsOfOtherZonesServeWhoComesToThem as before, shown or not.
func TestAgentsOfOtherZonesServeWhoComesToThem(t *testing.T) {
	alive := zoned("a", "a", "b", "b")
	alive[2].Roles, alive[3].Roles = []string{"consume"}, []string{"produce"}
	alive[3].Listeners = alive[2].Listeners // a balancer's
	inA := protocol.Client{ID: "zone=a", Listener: metadata.DefaultListener}
	router := NewRouter(departed{self: alive[2], others: alive}, Zones{})
	if !router.TakesRecords(inA) {
		t.Error("records are not taken behind an address that takes records")
	}
	if to := router.ReadElsewhere(inA, 18, ""); to == nil {
		t.Error("a consumer of another zone is not sent there")
	} else if id, sent := to(topicID(1), 0, 0, true); !sent || id != 1 && id != 2 {
		t.Errorf("it is sent to %d", id)
	}
}

func TestZoneWithoutAgentsIsNone(t *testing.T) {
	alive := zoned("a", "b", "b")
	alive[0].State = metadata.Draining
	all := viewOf(protocol.Client{ID: "app", Host: "h", Listener: metadata.DefaultListener}, alive...)
	for _, zone := range []string{"a", "x"} {
		v := viewOf(protocol.Client{ID: "zone=" + zone + ",app", Host: "h", Listener: metadata.DefaultListener}, alive...)
		if leaders, _ := used(v); !slices.Equal(leaders, []int32{2, 3}) || !slices.Equal(leadersOf(v, topicID(1), 9), leadersOf(all, topicID(1), 9)) {
			t.Errorf("zone %s is led to %v", zone, leaders)
		}
	}
}

// TestPartitionIsShownInEveryZoneToWhoMayBeInAny: the client may have a client.rack, of which its
// Metadata requests say nothing, and a consumer goes only to replicas that it knows of.
func TestPartitionIsShownInEveryZoneToWhoMayBeInAny(t *testing.T) {
	v := viewOf(client, zoned("a", "b", "c", "a")...)
	zones := map[int32]string{1: "a", 2: "b", 3: "c", 4: "a"}
	for p := range int32(24) {
		var in []string
		for _, id := range v.Topic(topicID(1)).Replicas(p) {
			in = append(in, zones[id])
		}
		if slices.Sort(in); !slices.Equal(in, []string{"a", "b", "c"}) {
			t.Errorf("partition %d is shown in %v", p, in)
		}
	}
	for _, alive := range [][]metadata.Agent{zoned("", ""), zoned("a", "a"), agents(1)} {
		if _, others := used(viewOf(client, alive...)); len(others) > 0 {
			t.Errorf("%+v: also shown on %v", alive, others)
		}
	}
}

func TestViewBehindABalancerIsOneBroker(t *testing.T) {
	alive := zoned("a", "b", "c")
	for i := range alive {
		alive[i].Listeners = at("lb", 9092)
		alive[i].Roles = [][]string{{"produce"}, {"consume"}, {"jobs"}}[i]
	}
	for _, id := range []string{"app", "zone=b", "zone=c"} {
		v := viewOf(protocol.Client{ID: id, Listener: metadata.DefaultListener}, alive...)
		leaders, others := used(v)
		if len(v.Brokers) != 1 || !slices.Equal(leaders, []int32{1}) || len(others) > 0 || !v.Here(v.Topic(topicID(1)).Leader(0)) {
			t.Errorf("%s: brokers %v, leaders %v, others %v", id, brokerIDs(v.Brokers), leaders, others)
		}
	}
}

func TestLeadersProduceAndReplicasConsume(t *testing.T) {
	alive := zoned("a", "a", "b", "b")
	for i, role := range []string{"produce", "consume", "produce", "consume"} {
		alive[i].Roles = []string{role}
	}
	for id, want := range map[string][2][]int32{
		"zone=a": {{1}, {2}},
		"zone=b": {{3}, {4}},
		"app":    {{1, 3}, {2, 4}},
	} {
		leaders, others := used(viewOf(protocol.Client{ID: id, Listener: metadata.DefaultListener}, alive...))
		if !slices.Equal(leaders, want[0]) || !slices.Equal(others, want[1]) {
			t.Errorf("%s: leaders %v, others %v, want %v", id, leaders, others, want)
		}
	}
	// No one in zone a takes records, so clients there write elsewhere, and read at home.
	alive[0].Roles = []string{"consume"}
	if leaders, others := used(viewOf(protocol.Client{ID: "zone=a", Listener: metadata.DefaultListener}, alive...)); !slices.Equal(leaders, []int32{3}) || !slices.Equal(others, []int32{1, 2}) {
		t.Errorf("leaders %v, others %v", leaders, others)
	}
}

func TestAgentThatLeftIsStillShownWhereThereIsNoOther(t *testing.T) {
	alive := agents(1, 2)
	alive[0].Listeners = append(alive[0].Listeners, metadata.Listener{Name: "EXTERNAL", Host: "outside", Port: 1})
	router := NewRouter(departed{self: alive[0], others: alive[1:]}, Zones{})
	for listener, want := range map[string]int32{"EXTERNAL": 1, metadata.DefaultListener: 2} {
		if got := brokerIDs(router.View(protocol.Client{Listener: listener}).Brokers); !slices.Equal(got, []int32{want}) {
			t.Errorf("%s: brokers %v, want %d", listener, got, want)
		}
	}
}

// departed is the register as an agent sees it that has left.
type departed struct {
	self   metadata.Agent
	others []metadata.Agent
}

func (d departed) Alive() []metadata.Agent { return d.others }
func (d departed) Self() metadata.Agent    { return d.self }

func BenchmarkViewAndTopic(b *testing.B) {
	for _, n := range []int{1, 4, 40} {
		var alive []metadata.Agent
		for i := range n {
			alive = append(alive, zoned(fmt.Sprint("zone-", i%3))[0])
			alive[i].NodeID = int32(i + 1)
			alive[i].Listeners = at(fmt.Sprint("agent-", i+1), 9092)
		}
		router := NewRouter(view(alive), Zones{})
		b.Run(fmt.Sprintf("agents=%d/view", n), func(b *testing.B) {
			for b.Loop() {
				router.View(client)
			}
		})
		b.Run(fmt.Sprintf("agents=%d/topic of 1000 partitions", n), func(b *testing.B) {
			v := router.View(client)
			for b.Loop() {
				place := v.Topic(topicID(1))
				for p := range int32(1000) {
					place.Replicas(p)
				}
			}
		})
	}
}
