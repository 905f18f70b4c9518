package agent

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-log/wadi/agent/cluster"
	"github.com/wadi-log/wadi/metadata"
)

// ListedAgent is one agent in the answer of GET /v1/agents, which is a JSON list of them by node ID.
type ListedAgent struct {
	NodeID    int32               `json:"node_id"`
	Name      string              `json:"name"`
	Zone      string              `json:"zone,omitempty"`
	State     metadata.AgentState `json:"state"`
	Listeners []metadata.Listener `json:"listeners"`
	Peer      string              `json:"peer,omitempty"`
	Roles     []string            `json:"roles"`
	Version   string              `json:"version"`
	StartedAt time.Time           `json:"started_at"`
	// AgeSeconds is how long the process runs, by the clocks of the two agents.
	AgeSeconds int64              `json:"age_seconds"`
	Load       metadata.AgentLoad `json:"load"`
	// Self marks the agent that answered.
	Self bool `json:"self"`
}

// agentsHandler lists the agents that are alive, as this one knows since its last beat.
func agentsHandler(m *cluster.Membership) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		self, now := m.Self().NodeID, time.Now()
		list := []ListedAgent{}
		for _, a := range m.Alive() {
			list = append(list, ListedAgent{
				NodeID: a.NodeID, Name: a.Name, Zone: a.Zone, State: a.State, Listeners: a.Listeners, Peer: a.Peer,
				Roles: a.Roles, Version: a.Version, StartedAt: a.StartedAt.UTC(), AgeSeconds: int64(max(0, now.Sub(a.StartedAt)).Seconds()),
				Load: a.Load, Self: a.NodeID == self,
			})
		}
		w.Header().Set("Content-Type", "application/json")
		// A peer that left needs no answer.
		_ = json.NewEncoder(w).Encode(list)
	}
}

// registerAgentStates registers how many agents this one knows in each state, and its own.
func registerAgentStates(reg prometheus.Registerer, m *cluster.Membership) {
	for _, state := range []metadata.AgentState{metadata.Serving, metadata.Slow, metadata.Draining} {
		labels := prometheus.Labels{"state": string(state)}
		reg.MustRegister(
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "wadi_agent_state", Help: "1 for the state that this agent is in: slow ones get clients only when there is no other.", ConstLabels: labels,
			}, func() float64 {
				if m.Self().State == state {
					return 1
				}
				return 0
			}),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "wadi_agents", Help: "Agents that are alive, as this one knows, by state.", ConstLabels: labels,
			}, func() float64 {
				n := 0.
				for _, a := range m.Alive() {
					if a.State == state {
						n++
					}
				}
				return n
			}))
	}
}
