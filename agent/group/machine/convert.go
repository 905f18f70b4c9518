package machine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/group/assign"
)

// upgraded returns the group of the consumer protocol that the classic group becomes when a
// member of the consumer protocol joins. The members keep what they have, in the
// generation that they know. With the new member the epoch grows, so that whoever waits for an
// answer, or sends a heartbeat, is told to join again.
func (g *Group) upgraded(env Env) (*Consumer, *refusal) {
	old := g.Classic
	why := ""
	switch {
	case !env.Limits.MayUpgrade:
		why = "online upgrade is disabled"
	case old.ProtocolType != consumerProtocolType:
		why = "the group does not use the consumer embedded protocol"
	case len(old.Members) > env.Limits.ConsumerMaxSize:
		why = "the group size exceeds the consumer group maximum size"
	}
	if why != "" {
		return nil, refuse(kerr.GroupIDNotFound, "Cannot upgrade classic group %s to consumer group because %s.", g.ID, why)
	}

	c := newConsumer()
	c.Epoch, c.TargetEpoch = old.Generation, old.Generation
	c.Members = make(map[string]*ConsumerMember, len(old.Members))
	owners := map[uuid.UUID]map[int32]bool{}
	has := make(map[string]assign.Partitions)
	for _, m := range old.Members {
		converted, owned, err := m.upgraded(old, env.Topics)
		switch {
		case errors.Is(err, errUserData):
			return nil, refuse(kerr.GroupIDNotFound, "Cannot upgrade classic group %s to consumer group because an unsupported custom assignor is in use. "+
				"Please refer to the documentation or switch to a default assignor before re-attempting the upgrade.", g.ID)
		case err != nil:
			return nil, refuse(kerr.GroupIDNotFound, "Cannot upgrade classic group %s to consumer group because the embedded consumer protocol is malformed.", g.ID)
		}
		// The leader assigned, and may have given a partition to two. Only one of them can keep it.
		converted.Assigned = unclaimed(owners, converted.Assigned)
		c.Members[m.ID], has[m.ID] = converted, owned
	}
	for _, m := range old.Members {
		// Between two generations a cooperative member still has what no assignment says any more.
		converted := c.Members[m.ID]
		converted.Assigned = union(converted.Assigned, unclaimed(owners, has[m.ID]))
		converted.Target = converted.Assigned
	}
	return c, nil
}

// upgraded returns the member with what it was assigned, and apart from that what it said it had when it joined.
func (m *ClassicMember) upgraded(old *Classic, catalog Topics) (converted *ConsumerMember, owned assign.Partitions, err error) {
	metadata, ok := m.metadata(old.Protocol)
	if !ok { // no generation began since it joined
		metadata = m.Protocols[0].Metadata
	}
	said, err := readSubscription(metadata)
	if err != nil {
		return nil, nil, err
	}
	assigned, err := readAssignment(m.Assignment, catalog)
	if err != nil {
		return nil, nil, err
	}
	converted = &ConsumerMember{
		ID: m.ID, InstanceID: m.InstanceID, ClientID: m.ClientID, ClientHost: m.ClientHost,
		RebalanceTimeoutMs: m.RebalanceTimeoutMs,
		Names:              sortedSet(said.topics),
		State:              memberStable, Epoch: old.Generation, PreviousEpoch: old.Generation,
		Assigned:    assigned,
		Classic:     &ClassicSide{SessionTimeoutMs: m.SessionTimeoutMs, Protocols: m.Protocols},
		StoredHeard: m.StoredHeard, heard: m.heard,
	}
	if said.rack != "" {
		converted.RackID = &said.rack
	}
	for _, o := range said.owned {
		owned = addNamed(owned, catalog, o.Topic, o.Partitions)
	}
	return converted, tidy(owned), nil
}

// mayDowngrade tells whether only members of the classic protocol are left, and the group may become theirs.
func (c *Consumer) mayDowngrade(limits Limits) bool {
	if !limits.MayDowngrade || len(c.Members) == 0 || len(c.Members) > limits.MaxSize {
		return false
	}
	var first *ClassicSide
	for _, id := range c.members() {
		if c.Members[id].Classic == nil {
			return false
		}
		if first == nil {
			first = c.Members[id].Classic
		}
	}
	return slices.ContainsFunc(first.Protocols, func(p ClassicProtocol) bool {
		for _, m := range c.Members {
			if !m.Classic.supports(p.Name) {
				return false
			}
		}
		return true
	})
}

// downgrade makes a stable classic group of one whose members all speak the classic protocol. They
// have their targets; who isn't there yet finds out by its generation or by the rebalance.
func (g *Group) downgrade(env Env) {
	c := g.Consumer
	classic := newClassic()
	classic.State, classic.Since = Stable, stored(env.Now)
	classic.Generation, classic.ProtocolType = max(c.Epoch, 1), consumerProtocolType
	for _, id := range c.members() {
		m := c.Members[id]
		classic.Members = append(classic.Members, &ClassicMember{
			ID: id, InstanceID: m.InstanceID, ClientID: m.ClientID, ClientHost: m.ClientHost,
			SessionTimeoutMs: m.Classic.SessionTimeoutMs, RebalanceTimeoutMs: m.RebalanceTimeoutMs,
			Protocols: m.Classic.Protocols,
			Synced:    true, StoredHeard: m.StoredHeard, heard: m.heard,
		})
	}
	classic.Leader = classic.Members[0].ID
	classic.Protocol = classic.selectProtocol()
	for _, m := range classic.Members {
		metadata, _ := m.metadata(classic.Protocol)
		m.Assignment = c.writeAssignment(c.Members[m.ID].Target, metadata)
	}
	g.Classic, g.Consumer = classic, nil
}

// downgradeToJoin does so when the last member of the consumer protocol comes back as a static
// member of the classic one. Where all others have their targets and it still wants the same topics, nobody else notices.
func (g *Group) downgradeToJoin(env Env, memberID string, subscribed bool, req *kmsg.JoinGroupRequest) *kmsg.JoinGroupResponse {
	rebalance := subscribed || g.Consumer.Epoch > g.Consumer.TargetEpoch
	for id, m := range g.Consumer.Members {
		rebalance = rebalance || id != memberID && !m.reconciled(g.Consumer)
	}
	g.downgrade(env)
	if rebalance {
		g.Classic.member(memberID).Joining = true
		g.Classic.prepareRebalance(env)
	}
	return g.Classic.joinAnswer(req, memberID)
}

// consumerMetadata is what a consumer says of itself in the metadata of its protocols.
type consumerMetadata struct {
	topics []string
	rack   string
	owned  []kmsg.ConsumerMemberMetadataOwnedPartition
}

// readSubscription reads a consumer's metadata. What isn't as it should be after the topics is passed over: clients
// differ there, and it only helps to move less.
func readSubscription(metadata []byte) (consumerMetadata, error) {
	topics, err := consumerTopics(metadata)
	if err != nil {
		return consumerMetadata{}, err
	}
	said := consumerMetadata{topics: topics}
	var m kmsg.ConsumerMemberMetadata
	if m.ReadFrom(metadata) == nil {
		said.rack, said.owned = text(m.Rack), m.OwnedPartitions
	}
	return said, nil
}

// owned gives the partitions that a classic member says it has the form of a heartbeat's.
func (c *Consumer) owned(catalog Topics, said consumerMetadata) []kmsg.ConsumerGroupHeartbeatRequestTopic {
	owned := []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	for _, o := range said.owned {
		id := c.Topics[o.Topic].ID
		if id == uuid.Nil {
			topic, ok := catalog.ByName(o.Topic)
			if !ok {
				continue
			}
			id = topic.ID
		}
		topic := kmsg.NewConsumerGroupHeartbeatRequestTopic()
		topic.TopicID, topic.Partitions = id, o.Partitions
		owned = append(owned, topic)
	}
	return owned
}

// errUserData: what an assignor told its members through the assignment would be lost.
var errUserData = errors.New("the assignment carries an assignor's own data")

// readAssignment reads what the leader of a classic group gave to a member. Topics that the catalog
// doesn't have are taken for deleted.
func readAssignment(b []byte, catalog Topics) (assign.Partitions, error) {
	if len(b) == 0 {
		return nil, nil
	}
	var a kmsg.ConsumerMemberAssignment
	if err := a.ReadFrom(b); err != nil {
		return nil, fmt.Errorf("read a consumer's assignment: %w", err)
	}
	if len(a.UserData) > 0 {
		return nil, errUserData
	}
	var assigned assign.Partitions
	for _, t := range a.Topics {
		assigned = addNamed(assigned, catalog, t.Topic, t.Partitions)
	}
	return tidy(assigned), nil
}

// addNamed adds partitions of a topic to p if it exists.
func addNamed(p assign.Partitions, catalog Topics, name string, partitions []int32) assign.Partitions {
	if topic, ok := catalog.ByName(name); ok && len(partitions) > 0 {
		return add(p, topic.ID, partitions...)
	}
	return p
}

// tidy sorts what came from outside, and leaves out what is there twice.
func tidy(p assign.Partitions) assign.Partitions {
	for id, list := range p {
		slices.Sort(list)
		p[id] = slices.Compact(list)
	}
	return p
}

// writeAssignment encodes partitions for a classic member, in the version of its metadata.
func (c *Consumer) writeAssignment(p assign.Partitions, metadata []byte) []byte {
	a := kmsg.NewConsumerMemberAssignment()
	if len(metadata) >= 2 {
		a.Version = int16(binary.BigEndian.Uint16(metadata))
	}
	names := make(map[uuid.UUID]string, len(c.Topics))
	for name, topic := range c.Topics {
		names[topic.ID] = name
	}
	for _, id := range p.Topics() {
		if names[id] != "" { // else it was deleted
			t := kmsg.NewConsumerMemberAssignmentTopic()
			t.Topic, t.Partitions = names[id], p[id]
			a.Topics = append(a.Topics, t)
		}
	}
	return a.AppendTo(nil)
}

// unclaimed returns the partitions of p that have no owner yet, and gives them one.
func unclaimed(owners map[uuid.UUID]map[int32]bool, p assign.Partitions) assign.Partitions {
	var mine assign.Partitions
	for topic, list := range p {
		for _, n := range list {
			if !owners[topic][n] {
				mine = add(mine, topic, n)
			}
		}
	}
	claim(owners, mine)
	return mine
}
