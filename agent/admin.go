package agent

import (
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
func (a adminAgents) Leader(client protocol.Client) metadata.Agent {
	return cluster.Leader(client, cluster.Brokers(a.Alive()))
}

// Controller implements admin.Agents.
func (a adminAgents) Controller() metadata.Agent {
	return cluster.Controller(cluster.Brokers(a.Alive()))
}
