package cluster

import (
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

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

// metadataAge is how often clients ask for Metadata if nothing is amiss.
const metadataAge = 5 * time.Minute

// Elsewhere returns the broker from which a consumer is to read a partition from an offset on; false if here. records tells
// whether there are any.
type Elsewhere = func(topic uuid.UUID, partition int32, offset int64, records bool) (nodeID int32, elsewhere bool)

// ReadElsewhere returns the brokers to which a consumer is sent for each partition, all of them replicas that Metadata
// shows to it now; nil when it is served here for all. version is that of its Fetch. rack is its client.rack, "" for
// none: the zone of a client of which nothing else tells it. It is sent elsewhere when this agent lacks the role, drains,
// or is not in its zone, and there are agents for which that is otherwise; and it is served when it asks again
// for what it should have read there.
func (r *Router) ReadElsewhere(client protocol.Client, version int16, rack string) Elsewhere {
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
	if able && !listed {
		return nil
	}
	places := map[uuid.UUID]*Placement{}
	return func(topic uuid.UUID, partition int32, offset int64, records bool) (int32, bool) {
		place, ok := places[topic]
		if !ok {
			place = v.Topic(topic)
			places[topic] = place
		}
		id := place.reader(which.zone, partition).NodeID
		if strands(client, version) && !r.memory.known(id, client.Listener) {
			return 0, false
		}
		return id, r.sent.tell(client, topic, partition, offset, records)
	}
}

// strands reports whether the client, sent to a broker that it doesn't know, reads the partition no more until it asks for
// Metadata by itself. kafkajs does, which doesn't tell its name and asks by Fetch 11; others ask for Metadata at once, but for
// franz-go 1.20.4 to 1.21.3.
func strands(client protocol.Client, version int16) bool {
	return version < 12 && client.SoftwareName == ""
}
