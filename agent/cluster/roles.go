package cluster

import (
	"time"

	"github.com/google/uuid"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

const (
	// sentFor is how long a connection whose consumer was sent elsewhere, and that asks here again, is
	// served: the client can't go there, or doesn't want to.
	sentFor = time.Minute
	// maxSent is the number of connections that are remembered. A forgotten one is sent away once more.
	maxSent = 16 << 10
)

// connection tells a client's connection from others.
type connection struct {
	host string
	port uint16
}

func newSent() *lru.Cache[connection, time.Time] {
	sent, err := lru.New[connection, time.Time](maxSent)
	if err != nil {
		panic(err) // only for a size below one
	}
	return sent
}

// TakesRecords reports whether the client's records are taken here. They are not when this agent lacks the role,
// neither has it an agent behind the same address, and another agent has it: then that
// is the one that Metadata tells the client to go to.
func (r *Router) TakesRecords(client protocol.Client) bool {
	if r.agents.Self().HasRole(metadata.RoleProduce) {
		return true
	}
	v := r.View(client)
	for _, b := range v.all {
		if v.Here(b) {
			return b.produces
		}
	}
	return false // not even shown to clients
}

// ReadElsewhere returns the brokers to which a consumer is sent for each partition, all of them replicas that Metadata
// shows to it; nil when it is served here. rack is its client.rack, "" for none: the zone of a client of which nothing
// else tells it. It is sent elsewhere when this agent lacks the role, drains, or is not in its zone, and there are
// agents for which that is otherwise; and it is served when it asks again.
func (r *Router) ReadElsewhere(client protocol.Client, rack string) func(topic uuid.UUID, partition int32) (nodeID int32) {
	self := r.agents.Self()
	// Who reads from an agent that drains is sent on as well, while it can be told where to.
	able := self.HasRole(metadata.RoleConsume) && self.State != metadata.Draining
	zone := r.Zone(client)
	if zone == "" {
		zone = rack
	}
	if able && (zone == "" || zone == self.Zone) {
		return nil // most requests, so nothing else is worked out
	}
	v := r.View(client)
	which := v.readersIn(zone)
	listed := false
	for _, b := range v.all {
		if v.Here(b) {
			listed = true
			if which.has(b.NodeID) {
				return nil
			}
		}
	}
	if able && !listed || !r.maySend(client) {
		return nil
	}
	places := map[uuid.UUID]*Placement{}
	return func(topic uuid.UUID, partition int32) int32 {
		place, ok := places[topic]
		if !ok {
			place = v.Topic(topic)
			places[topic] = place
		}
		return place.reader(which.zone, partition).NodeID
	}
}

// maySend notes that the client is sent elsewhere. It returns false if that was done already, and not long ago.
func (r *Router) maySend(client protocol.Client) bool {
	c := connection{client.Host, client.Port}
	now := time.Now()
	if at, sent := r.sent.Get(c); sent && now.Sub(at) < sentFor {
		return false
	}
	r.sent.Add(c, now)
	return true
}
