package agent

import (
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/agent/cluster"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// brokerFacts are the broker configs that tell what this agent is.
func (a *Agent) brokerFacts() map[string]string {
	listeners := make([]string, len(a.kafkaListeners))
	for i, l := range a.kafkaListeners {
		listeners[i] = l.String()
	}
	return map[string]string{
		"listeners":       strings.Join(listeners, ","),
		"log.dirs":        redact(a.config.ObjectsURL()),
		"max.connections": strconv.Itoa(a.config.MaxConnections),
	}
}

// adminAgents is the register as the admin APIs see it.
type adminAgents struct {
	*cluster.Membership
	router *cluster.Router
}

// Place implements admin.Agents.
func (a adminAgents) Place(client protocol.Client) func(topic uuid.UUID, partition int32) (replicas []int32, here bool) {
	view := a.router.View(client)
	var last uuid.UUID
	var place *cluster.Placement // the last topic's, which has worked out neighbouring partitions
	return func(topic uuid.UUID, partition int32) ([]int32, bool) {
		if place == nil || topic != last {
			last, place = topic, view.Topic(topic)
		}
		return place.Replicas(partition), view.Here(place.Leader(partition))
	}
}

// Brokers implements admin.Agents.
func (a adminAgents) Brokers(client protocol.Client) (ids []int32) {
	for _, b := range a.router.View(client).Brokers {
		ids = append(ids, b.NodeID)
	}
	return ids
}

// Controller implements admin.Agents.
func (a adminAgents) Controller(client protocol.Client) (int32, metadata.Listener) {
	b := a.router.View(client).Controller()
	return b.NodeID, metadata.Listener{Name: client.Listener, Host: b.Host, Port: b.Port}
}
