package admin

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
)

// behind are agents 2 and 3 at a balancer's address, which clients know as broker 1 since an agent 1 was there; and
// agent 4, which has an address of its own besides.
func behind() view {
	lb := metadata.Listener{Name: metadata.DefaultListener, Host: "lb", Port: 9092, BrokerID: 1}
	own := metadata.Listener{Name: "INTERNAL", Host: "four", Port: 9092, BrokerID: 4}
	return view{
		{NodeID: 2, Listeners: []metadata.Listener{lb}},
		{NodeID: 3, Listeners: []metadata.Listener{lb}},
		{NodeID: 4, Listeners: []metadata.Listener{lb, own}},
	}
}

func TestConfigsOfTheBrokerBehindABalancer(t *testing.T) {
	a, topics := newTestAdmin(t, nil)
	a.agents = behind()
	for name, want := range map[string]string{
		"1": "ok",
		"2": "INVALID_REQUEST: Unexpected broker id, expected a registered one or empty string, but received 2", // no client knows it
		"4": "ok",
		"5": "INVALID_REQUEST: Unexpected broker id, expected a registered one or empty string, but received 5",
	} {
		for _, kind := range []kmsg.ConfigResourceType{brokerResource, loggerResource} {
			if got := describeOne(t, a, kind, name); result(got.ErrorCode, got.ErrorMessage) != want {
				t.Errorf("describe %v %s: %s, want %s", kind, name, result(got.ErrorCode, got.ErrorMessage), want)
			}
		}
		r := resource{brokerResource, name}
		got := a.IncrementalAlterConfigs(t.Context(), client, incrementRequest(r, set("message.max.bytes", "5000"))).Resources[0]
		if result(got.ErrorCode, got.ErrorMessage) != want {
			t.Errorf("alter %s: %s, want %s", name, result(got.ErrorCode, got.ErrorMessage), want)
		}
	}
	described := describeOne(t, a, brokerResource, "1")
	for _, c := range described.Configs {
		want := map[string]string{"broker.id": "1", "node.id": "1", "message.max.bytes": "5000"}[c.Name]
		if want != "" && (c.Value == nil || *c.Value != want) {
			t.Errorf("%s is %v, want %s", c.Name, c.Value, want)
		}
	}
	if got := setOn(t, topics, resource{brokerResource, "1"}); got != "message.max.bytes=5000" {
		t.Errorf("set on broker 1: %q", got)
	}
	req := kmsg.NewPtrListConfigResourcesRequest()
	req.Version, req.ResourceTypes = 1, []int8{int8(brokerResource)}
	var names []string
	for _, r := range a.ListConfigResources(t.Context(), client, req).ConfigResources {
		names = append(names, r.Name)
	}
	if want := []string{"1", "4"}; !slices.Equal(names, want) {
		t.Errorf("resources are %q, want %q", names, want)
	}
}

func describeOne(t *testing.T, a *Admin, kind kmsg.ConfigResourceType, name string) kmsg.DescribeConfigsResponseResource {
	t.Helper()
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Version = 4
	req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kind, ResourceName: name}}
	return onTheWire(t, a.DescribeConfigs(t.Context(), client, req)).Resources[0]
}

func TestPartitionsCanBeAssignedToTheBrokerBehindABalancer(t *testing.T) {
	a, _ := newTestAdmin(t, nil)
	a.agents = behind()
	if why := a.checkReplicas([][]int32{{1}}); why != nil {
		t.Errorf("broker 1: %v", why)
	}
	if why := a.checkReplicas([][]int32{{2}}); why == nil {
		t.Error("broker 2, which no client knows, is taken")
	}
}

func TestQuorumIsOfBrokersThatClientsKnow(t *testing.T) {
	a, _ := newTestAdmin(t, nil)
	agents := behind()
	a.agents = agents[:2]
	var p kmsg.DescribeQuorumResponseTopicPartition
	a.quorum(&p, client, 7)
	if len(p.CurrentVoters) != 1 || p.CurrentVoters[0].ReplicaID != 1 || p.LeaderID != 1 || len(p.Observers) != 0 {
		t.Errorf("leader %d, voters %+v, observers %+v", p.LeaderID, p.CurrentVoters, p.Observers)
	}
}
