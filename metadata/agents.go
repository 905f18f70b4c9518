package metadata

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// Agent is a registered agent: what others have to know of it.
type Agent struct {
	// NodeID is the agent's number, from 1, and the broker ID at an address that no other agent had before.
	NodeID int32
	// Incarnation tells two processes of one node ID apart.
	Incarnation uuid.UUID
	// Name tells agents apart across restarts: a new incarnation of the same name takes over
	// the old one's entry. Several agents behind one load balancer share addresses, never Name.
	Name string
	Zone string
	// Listeners are where clients are told to connect to, by the listener that they
	// come from; never none.
	Listeners []Listener
	// Peer is the host:port where other agents ask for blocks of data files, "" for nowhere.
	Peer string
	// Roles are what the agent does, see HasRole.
	Roles   []string
	Version string // the program's
	// StartedAt is when the process started, by its own clock.
	StartedAt time.Time
	State     AgentState
	Load      AgentLoad
}

// The roles that an agent can have.
const (
	RoleProduce = "produce"
	RoleConsume = "consume"
	RoleJobs    = "jobs"
)

// HasRole reports whether the agent does that. One that tells of no roles is of a version in which all
// had all.
func (a Agent) HasRole(role string) bool { return len(a.Roles) == 0 || slices.Contains(a.Roles, role) }

// BrokerID is the broker ID at the address of one of the agent's listeners. An agent that tells of none is of a version in
// which it was the lowest node ID of those there.
func (a Agent) BrokerID(l Listener) int32 { return cmp.Or(l.BrokerID, a.NodeID) }

// ConfigID is the broker ID whose configs are the agent's: that of its listeners if they have the same, as they have
// behind a load balancer, else its node ID.
func (a Agent) ConfigID() int32 {
	id := a.BrokerID(a.Listeners[0])
	for _, l := range a.Listeners[1:] {
		if a.BrokerID(l) != id {
			return a.NodeID
		}
	}
	return id
}

// Listener is one of an agent's Kafka listeners, as clients see it.
type Listener struct {
	// Name is Kafka's name of the listener (PLAINTEXT, EXTERNAL ...), the same on all agents.
	Name string `json:"name"`
	Host string `json:"host"`
	Port int32  `json:"port"`
	// BrokerID is by what clients know the address, whichever agents are there: see [Agent.BrokerID].
	BrokerID int32 `json:"broker_id,omitempty"`
}

// Address is where clients connect to, as host:port.
func (l Listener) Address() string { return net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port))) }

// String is Kafka's form of a listener: NAME://host:port.
func (l Listener) String() string { return l.Name + "://" + l.Address() }

// AgentState says whether clients are to be sent to an agent.
type AgentState string

const (
	// Serving agents take clients.
	Serving AgentState = "serving"
	// Slow agents work, but their stores answer much later than those of the others:
	// clients are sent to them only when there is nobody else.
	Slow AgentState = "slow"
	// Draining agents still answer those who come, and will stop soon.
	Draining AgentState = "draining"
)

// AgentLoad is what an agent had to do lately. Rates are those of the last few beats.
type AgentLoad struct {
	Connections int64 `json:"connections"`
	// BytesIn and BytesOut are bytes a second from and to clients.
	BytesIn  int64 `json:"bytes_in"`
	BytesOut int64 `json:"bytes_out"`
	// Put and Commit are how long the object store and the metadata store take to answer: medians, 0 for unknown.
	Put    time.Duration `json:"put_ns"`
	Commit time.Duration `json:"commit_ns"`
	// MemoryBytes is what the process holds of the machine's memory.
	MemoryBytes int64 `json:"memory_bytes"`
}

const (
	// AgentTimeout is how long after its last beat an agent counts as alive.
	AgentTimeout = 10 * time.Second
	// NodeIDReserved is how long after its last beat an agent's node ID is kept for its name, and after the
	// last beat of all agents there, the broker ID for an address.
	NodeIDReserved = 24 * time.Hour
)

// Agents is the register of agents that are alive.
type Agents interface {
	// RegisterAgent enters the agent, and returns it with the node ID and the listeners' broker IDs that it has
	// from now on: [Enter] has the rules. A set NodeID must not be a live agent's, else ErrNodeIDInUse. An agent of
	// the same Name, dead or not, gives way: it was us.
	RegisterAgent(ctx context.Context, agent Agent) (Agent, error)
	// BeatAgent renews the registration, with all that is new of the agent, and returns the agents
	// alive now, by node ID, read in the same round trip. Those whose programs must not go on with the schema are
	// not among them, and get ErrSchema. Enters the agent again when it had been taken for dead but
	// its ID is still free; else ErrNodeIDInUse, or ErrNameInUse if the agent that has it is of the same Name.
	BeatAgent(ctx context.Context, agent Agent) ([]Agent, error)
	// RemoveAgent takes the agent out of those that are alive, at once. Its node ID stays kept for its name.
	RemoveAgent(ctx context.Context, nodeID int32, incarnation uuid.UUID) error
	// ClusterSecret is what agents of one cluster know and nobody else: 32 random
	// bytes, made when they were first asked for. No snapshot has them.
	ClusterSecret(ctx context.Context) ([]byte, error)
}

// agentDetails is what an agent's row holds as JSON, so that agents of other versions, which know
// more or less of one another, can share a register. Times are milliseconds.
type agentDetails struct {
	Listeners []Listener `json:"listeners"`
	Peer      string     `json:"peer,omitempty"`
	Roles     []string   `json:"roles"`
	Version   string     `json:"version"`
	StartedAt int64      `json:"started_at"`
	State     AgentState `json:"state"`
	Load      AgentLoad  `json:"load"`
	// Schema is the version of the schema that the agent's program knows: migrations ask for it.
	Schema int64 `json:"schema"`
}

// Details returns, for a store whose program knows the schema of the version, what of the agent has no column of its own.
func (a Agent) Details(schema int64) ([]byte, error) {
	return json.Marshal(agentDetails{a.Listeners, a.Peer, a.Roles, a.Version, a.StartedAt.UnixMilli(), a.State, a.Load, schema})
}

// SetDetails takes over what Details returned. A store also gives the address that it has in
// columns, which is all that the oldest agents tell.
func (a *Agent) SetDetails(details []byte, host string, port int32) error {
	d := agentDetails{State: Serving}
	if err := json.Unmarshal(details, &d); err != nil {
		return fmt.Errorf("details of agent %d: %w", a.NodeID, err)
	}
	if len(d.Listeners) == 0 {
		d.Listeners = []Listener{{Name: DefaultListener, Host: host, Port: port}}
	}
	a.Listeners, a.Peer, a.Roles, a.Version, a.State, a.Load = d.Listeners, d.Peer, d.Roles, d.Version, d.State, d.Load
	a.StartedAt = time.UnixMilli(d.StartedAt)
	return nil
}

// DefaultListener is the name of a listener that was given none, as in Kafka.
const DefaultListener = "PLAINTEXT"
