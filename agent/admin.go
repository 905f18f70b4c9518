package agent

import (
	"slices"
	"strconv"

	"github.com/wadi-log/wadi/agent/cluster"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// brokerFacts are the broker configs that tell what this agent is.
func (a *Agent) brokerFacts() map[string]string {
	return map[string]string{
		"listeners":       "PLAINTEXT://" + a.KafkaAddr(),
		"log.dirs":        redact(a.config.ObjectsURL()),
		"max.connections": strconv.Itoa(a.config.MaxConnections),
	}
}

// adminAgents is the register as the admin APIs see it.
type adminAgents struct{ *cluster.Membership }

// Leader implements admin.Agents.
func (a adminAgents) Leader(client protocol.Client) (nodeID int32, here bool) {
	leader := cluster.Leader(client, cluster.Brokers(a.Alive(), client.Listener))
	return leader.NodeID, slices.Contains(a.Self().Listeners, metadata.Listener{Name: client.Listener, Host: leader.Host, Port: leader.Port})
}

// Controller implements admin.Agents.
func (a adminAgents) Controller(client protocol.Client) (int32, metadata.Listener) {
	b := cluster.Controller(cluster.Brokers(a.Alive(), client.Listener))
	return b.NodeID, metadata.Listener{Name: client.Listener, Host: b.Host, Port: b.Port}
}
