package machine

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/group/assign"
)

// What a group of the consumer protocol is doing, by Kafka's names; Empty and
// Stable are shared with classic groups. It follows from epochs and members and is not stored.
const (
	// Assigning: the members or what they subscribe to changed, and the target wasn't computed since.
	Assigning = "Assigning"
	// Reconciling: members are on their way to the target.
	Reconciling = "Reconciling"
)

// Consumer is a group of the consumer protocol (KIP-848). Members of the
// classic protocol may be in it too while a group migrates.
type Consumer struct {
	// Epoch grows whenever the target has to be computed anew: a member came, went or
	// changed its subscription, or a topic changed.
	Epoch int32 `json:"epoch"`
	// TargetEpoch is the Epoch that the members' targets are of.
	TargetEpoch int32 `json:"target_epoch"`
	// TopicsSeq is the catalog that Topics are from. It stays behind where later ones have nothing else for the group.
	TopicsSeq int64 `json:"topics_seq,omitempty"`
	// Topics are the topics that members subscribe to, by name, as the target was
	// computed with. Being part of the state they make answers independent of how old an
	// agent's catalog is.
	Topics map[string]SubscribedTopic `json:"topics,omitempty"`
	// SessionTimeoutMs is group.consumer.session.timeout.ms as of the last heartbeat, for those who have no Env.
	SessionTimeoutMs int32                      `json:"session_timeout_ms,omitempty"`
	Members          map[string]*ConsumerMember `json:"members,omitempty"` // by ID

	// checked is the newest catalog that was compared with Topics and had nothing new.
	checked int64
}

// SubscribedTopic is a topic as the target was computed with.
type SubscribedTopic struct {
	ID         uuid.UUID `json:"id"`
	Partitions int32     `json:"partitions"`
}

// The states of a member, by Kafka's names.
const (
	// memberStable: it has the whole target of its epoch.
	memberStable = "Stable"
	// memberUnrevoked: it was told to give partitions up and hasn't yet.
	memberUnrevoked = "UnrevokedPartitions"
	// memberUnreleased: partitions of its target are still others'.
	memberUnreleased = "UnreleasedPartitions"
)

// epochs that clients send instead of one: see KIP-848.
const (
	leaveEpoch       = -1
	leaveStaticEpoch = -2
)

// ConsumerMember is a member of a group of the consumer protocol.
type ConsumerMember struct {
	ID         string  `json:"-"`
	InstanceID *string `json:"instance_id,omitempty"`
	RackID     *string `json:"rack_id,omitempty"`
	ClientID   string  `json:"client_id,omitempty"`
	ClientHost string  `json:"client_host,omitempty"`
	// RebalanceTimeoutMs is how long it may take to give partitions up.
	RebalanceTimeoutMs int32 `json:"rebalance_timeout_ms"`
	// It subscribes to the topics with these names (sorted) and to those whose whole name matches Regex.
	Names []string `json:"topic_names,omitempty"`
	Regex string   `json:"topic_regex,omitempty"`
	// Assignor is what it votes for, "" if it doesn't care.
	Assignor string `json:"assignor,omitempty"`

	State string `json:"state"`
	// Epoch is the TargetEpoch that it has come to. leaveStaticEpoch: a static member that left for a
	// moment; its partitions wait for it until its session ends.
	Epoch int32 `json:"epoch"`
	// PreviousEpoch is the one it came with when it got to Epoch. It may come with that again, because
	// the answer got lost.
	PreviousEpoch int32 `json:"previous_epoch"`
	// LastRequest is the request that changed the member last. If its outcome was
	// unknown it is applied again, and has to get the same answer.
	LastRequest string `json:"last_request,omitempty"`
	// Assigned are the partitions that it may use, Revoking those that it was told to
	// give up. No partition is in more than one of all members' lists.
	Assigned assign.Partitions `json:"assigned,omitempty"`
	Revoking assign.Partitions `json:"revoking,omitempty"`
	// Target is what it shall have in TargetEpoch.
	Target assign.Partitions `json:"target,omitempty"`
	// RevokeBy is when it is removed if it hasn't given up Revoking; zero if there is nothing to wait for.
	RevokeBy time.Time `json:"revoke_by,omitzero"`

	// Classic is set for a member of the classic protocol.
	Classic *ClassicSide `json:"classic,omitempty"`

	// StoredHeard is when the member was heard of, as of the last request that changed the member. heard
	// is what is known beside the state, and is never stored with it.
	StoredHeard time.Time `json:"heard"`
	heard       time.Time
}

// ClassicSide is what is known only of members that speak the classic protocol.
type ClassicSide struct {
	SessionTimeoutMs int32             `json:"session_timeout_ms"`
	Protocols        []ClassicProtocol `json:"protocols"`
	// JoinBy is when it is removed if it hasn't joined again after it was told to, SyncBy
	// if it hasn't synced after it joined.
	JoinBy time.Time `json:"join_by,omitzero"`
	SyncBy time.Time `json:"sync_by,omitzero"`
}

func newConsumer() *Consumer { return &Consumer{} }

// check tells whether the state is one that the methods leave behind, and completes the members.
func (c *Consumer) check() error {
	if c.Epoch < 0 || c.TargetEpoch < 0 || c.TargetEpoch > c.Epoch {
		return fmt.Errorf("epoch %d with a target of epoch %d", c.Epoch, c.TargetEpoch)
	}
	owners, instances := map[uuid.UUID]map[int32]bool{}, map[string]bool{}
	for _, id := range c.members() {
		m := c.Members[id]
		if m == nil || id == "" {
			return fmt.Errorf("member %q is null or has no ID", id)
		}
		m.ID = id
		if err := m.check(c); err != nil {
			return fmt.Errorf("member %q: %w", id, err)
		}
		if m.InstanceID != nil {
			if instances[*m.InstanceID] {
				return fmt.Errorf("instance ID %q belongs to two members", *m.InstanceID)
			}
			instances[*m.InstanceID] = true
		}
		for _, held := range []assign.Partitions{m.Assigned, m.Revoking} {
			if !claim(owners, held) {
				return fmt.Errorf("member %q has a partition twice or one of another member's", id)
			}
		}
	}
	return nil
}

func (m *ConsumerMember) check(c *Consumer) error {
	for _, p := range []assign.Partitions{m.Assigned, m.Revoking, m.Target} {
		for topic, list := range p {
			if len(list) == 0 || !ascending(list) {
				return fmt.Errorf("partitions %v of topic %v", list, topic)
			}
		}
	}
	switch {
	case !ascending(m.Names):
		return fmt.Errorf("topic names %q", m.Names)
	case m.State != memberStable && m.State != memberUnrevoked && m.State != memberUnreleased:
		return fmt.Errorf("unknown state %q", m.State)
	case m.Epoch > c.TargetEpoch || m.Epoch < 0 && m.Epoch != leaveStaticEpoch:
		return fmt.Errorf("epoch %d in a group with a target of epoch %d", m.Epoch, c.TargetEpoch)
	case m.Classic != nil && len(m.Classic.Protocols) == 0:
		return errors.New("a classic member without a protocol")
	}
	return nil
}

// ascending tells whether s is sorted and has nothing twice.
func ascending[S ~[]E, E cmp.Ordered](s S) bool {
	for i := 1; i < len(s); i++ {
		if s[i-1] >= s[i] {
			return false
		}
	}
	return true
}

// claim marks partitions as somebody's; false if one is already.
func claim(owners map[uuid.UUID]map[int32]bool, p assign.Partitions) bool {
	for topic, list := range p {
		if owners[topic] == nil {
			owners[topic] = make(map[int32]bool, len(list))
		}
		for _, n := range list {
			if owners[topic][n] {
				return false
			}
			owners[topic][n] = true
		}
	}
	return true
}

func (c *Consumer) info() Info {
	return Info{Type: "consumer", ProtocolType: consumerProtocolType, Phase: c.phase()}
}

func (c *Consumer) phase() string {
	switch {
	case len(c.Members) == 0:
		return Empty
	case c.Epoch > c.TargetEpoch:
		return Assigning
	}
	for _, m := range c.Members {
		if !m.reconciled(c) {
			return Reconciling
		}
	}
	return Stable
}

// reconciled tells whether the member has its target.
func (m *ConsumerMember) reconciled(c *Consumer) bool {
	return m.State == memberStable && m.Epoch == c.TargetEpoch
}

// empty tells that there is nobody.
func (c *Consumer) empty() bool { return len(c.Members) == 0 }

// members returns the IDs, sorted.
func (c *Consumer) members() []string { return slices.Sorted(maps.Keys(c.Members)) }

// static returns the member with that instance ID.
func (c *Consumer) static(instanceID string) *ConsumerMember {
	for _, m := range c.Members {
		if m.InstanceID != nil && *m.InstanceID == instanceID {
			return m
		}
	}
	return nil
}

func (c *Consumer) heardOf(memberID string, at time.Time) {
	if m := c.Members[memberID]; m != nil && at.After(m.heard) {
		m.heard = at
	}
}

func (c *Consumer) sessionTimeout(memberID string) (time.Duration, bool) {
	m := c.Members[memberID]
	switch {
	case m == nil:
		return 0, false
	case m.Classic != nil:
		return millis(m.Classic.SessionTimeoutMs), true
	}
	return millis(c.SessionTimeoutMs), true
}

// describe answers ConsumerGroupDescribe. Assigned topics that the catalog doesn't know are left out.
func (c *Consumer) describe(g *Group, env Env) kmsg.ConsumerGroupDescribeResponseGroup {
	d := kmsg.NewConsumerGroupDescribeResponseGroup()
	d.Group, d.State, d.Epoch, d.AssignmentEpoch = g.ID, c.phase(), c.Epoch, c.TargetEpoch
	d.AssignorName = c.assignor(env.Limits)
	for _, id := range c.members() {
		m := c.Members[id]
		dm := kmsg.NewConsumerGroupDescribeResponseGroupMember()
		dm.MemberID, dm.InstanceID, dm.RackID, dm.MemberEpoch = id, m.InstanceID, m.RackID, m.Epoch
		dm.ClientID, dm.ClientHost = m.ClientID, m.ClientHost
		dm.SubscribedTopics = m.Names
		if m.Regex != "" {
			dm.SubscribedTopicRegex = kmsg.StringPtr(m.Regex)
		}
		dm.Assignment, dm.TargetAssignment = described(env, m.Assigned), described(env, m.Target)
		dm.MemberType = 1
		if m.Classic != nil {
			dm.MemberType = 0
		}
		d.Members = append(d.Members, dm)
	}
	return d
}

func described(env Env, p assign.Partitions) kmsg.Assignment {
	a := kmsg.NewAssignment()
	for _, id := range p.Topics() {
		if topic, ok := env.Topics.ByID(id); ok {
			tp := kmsg.NewAssignmentTopicPartition()
			tp.TopicID, tp.Topic, tp.Partitions = id, topic.Name, p[id]
			a.TopicPartitions = append(a.TopicPartitions, tp)
		}
	}
	return a
}
