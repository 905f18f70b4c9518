package cluster

import (
	"fmt"
	"testing"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// parse makes agents of texts like "p a" (role p, c, b for both or j for neither; zone) or "b a lb" (behind that
// address), with the node IDs from 1 on.
func parse(texts ...string) []metadata.Agent {
	list := agents()
	for i, text := range texts {
		var role, zone, address string
		if n, err := fmt.Sscan(text, &role, &zone, &address); n == 0 {
			panic(err)
		}
		a := agents(int32(i + 1))[0]
		a.Roles = map[string][]string{"b": {"produce", "consume"}, "p": {"produce"}, "c": {"consume"}, "j": {"jobs"}}[role]
		if zone != "-" {
			a.Zone = zone
		}
		if address != "" {
			a.Listeners = at(address, 9092)
		}
		list = append(list, a)
	}
	return list
}

// TestRequestsAtTheFirstAgent: what the first of the agents does with a client's records, and where it sends its consumers.
func TestRequestsAtTheFirstAgent(t *testing.T) {
	for _, tc := range []struct {
		name   string
		agents []metadata.Agent
		id     string
		rack   string
		takes  bool
		reads  int32 // where, 0 for here
	}{
		{"alone", parse("b -"), "app", "", true, 0},
		{"alone, and only for producers", parse("p -"), "app", "", true, 0},
		{"alone, and only for consumers", parse("c -"), "app", "", true, 0},
		{"alone, and only for jobs", parse("j -"), "app", "", true, 0},
		{"one for each", parse("p -", "c -"), "app", "", true, 2},
		{"one for each, the other way", parse("c -", "p -"), "app", "", false, 0},
		{"for jobs, beside another", parse("j -", "b -"), "app", "", false, 2},
		{"for jobs, beside one of each", parse("j -", "p -", "c -"), "app", "", false, 3},
		{"no consumer there is", parse("p -", "p -"), "app", "", true, 0},
		{"behind one address", parse("p - lb", "c - lb"), "app", "", true, 0},
		{"behind one address, the other way", parse("c - lb", "p - lb"), "app", "", true, 0},
		{"behind an address that lacks a role", parse("c - lb", "c - lb", "p -"), "app", "", false, 0},
		{"all at one address for the client", parse("c -", "p -"), "wadi_host=h:1", "", true, 0},
		{"rack of the agent", parse("b a", "b b"), "app", "a", true, 0},
		{"rack of another", parse("b a", "b b"), "app", "b", true, 2},
		{"rack of nobody", parse("b a", "b b"), "app", "c", true, 0},
		{"rack of one who does not consume", parse("b a", "p b"), "app", "b", true, 0},
		{"rack, and agents without zones", parse("b -", "b -"), "app", "b", true, 0},
		{"rack, and an agent without a zone", parse("b -", "b b"), "app", "b", true, 2},
		{"rack behind one address", parse("b a lb", "b b lb"), "app", "b", true, 0},
		{"zone before the rack", parse("b a", "b b"), "zone=a", "b", true, 0},
		{"zone of another", parse("b a", "b b"), "zone=b", "", true, 2},
		{"zone of nobody", parse("b a", "b b"), "zone=c", "", true, 0},
		{"zone of nobody, a rack", parse("b a", "b b"), "zone=c", "b", true, 0},
		{"zone in which another one consumes", parse("p a", "c a", "c b"), "zone=a", "", true, 2},
		{"zone in which nobody consumes", parse("p a", "p a", "c b"), "zone=a", "", true, 3},
		{"zone of another, where nobody consumes", parse("b a", "p b"), "zone=b", "", true, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			router := NewRouter(view(tc.agents), Zones{})
			client := protocol.Client{ID: tc.id, Host: "10.0.0.1", Port: 1, Listener: metadata.DefaultListener}
			if got := router.TakesRecords(client); got != tc.takes {
				t.Errorf("records are taken: %v, want %v", got, tc.takes)
			}
			v := router.View(client)
			if !tc.takes && v.Here(v.Topic(topicID(1)).Leader(0)) {
				t.Error("records are refused by the agent that the client is told to write to")
			}
			reads := int32(0)
			if to := router.ReadElsewhere(client, 18, tc.rack); to != nil {
				reads, _ = to(topicID(1), 0, 0, true)
				shown := false
				for _, id := range v.Topic(topicID(1)).Replicas(0) {
					shown = shown || id == reads
				}
				if !shown {
					t.Errorf("sent to %d, which is none of the replicas that the client knows", reads)
				}
			}
			if reads != tc.reads {
				t.Errorf("consumers are sent to %d, want %d", reads, tc.reads)
			}
		})
	}
}

// TestWhoIsSentElsewhereIsServedThere: no two agents send a consumer to one another.
func TestWhoIsSentElsewhereIsServedThere(t *testing.T) {
	alive := parse("p a", "c a", "c a", "b b", "c b", "p c", "j c", "b -")
	byID := map[int32]int{}
	for i, a := range alive {
		byID[a.NodeID] = i
	}
	for self := range alive {
		for _, id := range []string{"app", "zone=a", "zone=b", "zone=c", "zone=d"} {
			for _, rack := range []string{"", "a", "b", "c", "d"} {
				client := protocol.Client{ID: id, Host: "10.0.0.1", Port: 1, Listener: metadata.DefaultListener}
				to := NewRouter(seenBy{alive, self}, Zones{}).ReadElsewhere(client, 18, rack)
				if to == nil {
					continue
				}
				for p := range int32(24) {
					next, _ := to(topicID(1), p, 0, true)
					if NewRouter(seenBy{alive, byID[next]}, Zones{}).ReadElsewhere(client, 18, rack) != nil {
						t.Fatalf("%s with rack %q is sent from %d to %d, and on from there", id, rack, alive[self].NodeID, next)
					}
				}
			}
		}
	}
}

// seenBy is a register that doesn't change, as one of the agents sees it.
type seenBy struct {
	alive []metadata.Agent
	self  int
}

func (r seenBy) Alive() []metadata.Agent { return r.alive }
func (r seenBy) Self() metadata.Agent    { return r.alive[r.self] }

// TestDrainingAgentTakesRecordsAndSendsConsumersOn: those that were sent to it would keep to it after it is gone.
func TestDrainingAgentTakesRecordsAndSendsConsumersOn(t *testing.T) {
	client := client
	alive := parse("b a", "b b", "b a")
	alive[0].State = metadata.Draining
	router := NewRouter(view(alive), Zones{})
	if !router.TakesRecords(client) {
		t.Error("records are refused")
	}
	for rack, want := range map[string]int32{"a": 3, "b": 2} {
		client.Port++
		if id, sent := router.ReadElsewhere(client, 18, rack)(topicID(1), 0, 0, true); !sent || id != want {
			t.Errorf("a consumer in rack %s is sent to %d, %v, want to %d", rack, id, sent, want)
		}
	}
	if NewRouter(view(alive[:1]), Zones{}).ReadElsewhere(client, 18, "a") != nil {
		t.Error("a consumer is sent away from the only agent")
	}
}
