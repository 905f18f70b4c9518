package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Group is one group's state. Its methods that take a request change it and
// return the answer, or nil for a request that is parked: the answer then
// comes from a later state ([Group.JoinAnswer], [Group.SyncAnswer]).
type Group struct {
	ID string `json:"-"`
	// At most one of the two is set: by which protocol the members speak. Both are
	// nil in a group that nobody ever joined, which is used for its offsets only.
	Classic  *Classic  `json:"classic,omitempty"`
	Consumer *Consumer `json:"consumer,omitempty"`
}

// Env is what a request meets beside the group's own state.
type Env struct {
	// Now is the store's clock.
	Now time.Time
	// Since is when the caller began to hear of all members without
	// interruption: nobody counts as silent from before that.
	Since time.Time
	// Lag is how long ago the caller last knew of everybody that all agents had heard
	// of: sessions last so much longer.
	Lag    time.Duration
	Limits Limits
	Topics Topics
}

// Topics is the topic catalog at one moment.
type Topics interface {
	// Seq grows with every change of any topic. A group that was computed with a
	// later catalog is not computed again with an earlier one.
	Seq() int64
	ByName(name string) (Topic, bool)
	ByID(id uuid.UUID) (Topic, bool)
	// Names returns the names of all topics, sorted.
	Names() []string
}

// Topic is what assignors know of a topic.
type Topic struct {
	ID         uuid.UUID
	Name       string
	Partitions int32
}

// Limits are the broker and group configs that act on groups, by their names
// in Kafka.
type Limits struct {
	// group.min.session.timeout.ms, group.max.session.timeout.ms,
	// group.initial.rebalance.delay.ms, group.max.size.
	MinSessionTimeout     time.Duration
	MaxSessionTimeout     time.Duration
	InitialRebalanceDelay time.Duration
	MaxSize               int
	// MaxMetadataBytes bounds what one member may store in the group
	// (wadi.group.max.metadata.bytes): subscriptions, user data, assignments.
	MaxMetadataBytes int

	// Those of this group: its own config or group.consumer.*.
	ConsumerSessionTimeout    time.Duration
	ConsumerHeartbeatInterval time.Duration
	ConsumerMaxSize           int
	// ConsumerAssignors in the order of group.consumer.assignors; the first is
	// for members that name none.
	ConsumerAssignors []string
	// group.consumer.migration.policy.
	MayUpgrade, MayDowngrade bool
}

// Client is who sent a request, for Describe.
type Client struct {
	ID   string
	Host string
}

// Info is what a list of groups tells of one.
type Info struct {
	// Type is "classic" or "consumer" (KIP-848's names).
	Type string
	// ProtocolType is "consumer" for consumers, other words for other users of the
	// classic protocol ("connect"), empty if nobody ever joined.
	ProtocolType string
	// Phase is Kafka's name of the group's state: Empty, PreparingRebalance,
	// CompletingRebalance, Stable; or Empty, Assigning, Reconciling, Stable.
	Phase string
}

// BeatEvery is how often at least the caller notes that it heard of a member
// with that session timeout. A session lasts this much longer than its timeout, so
// that a member whose last heartbeats are not noted yet is not taken for gone.
func BeatEvery(sessionTimeout time.Duration) time.Duration { return sessionTimeout / 8 }

// New is a group that nobody joined yet.
func New(id string) *Group { return &Group{ID: id} }

// Decode reads what Encode wrote. Its errors say what is wrong with the bytes; a group that is
// returned keeps every invariant that the methods count on.
func Decode(id string, b []byte) (*Group, error) {
	g := New(id)
	if err := json.Unmarshal(b, g); err != nil {
		return nil, fmt.Errorf("decode group %q: %w", id, err)
	}
	if err := g.check(); err != nil {
		return nil, fmt.Errorf("decode group %q: %w", id, err)
	}
	return g, nil
}

func (g *Group) check() error {
	switch {
	case g.Classic != nil && g.Consumer != nil:
		return errors.New("it is of both protocols")
	case g.Classic != nil:
		return g.Classic.check()
	case g.Consumer != nil:
		return g.Consumer.check()
	}
	return nil
}

// Encode writes the state. Equal states have equal bytes.
func (g *Group) Encode() ([]byte, error) {
	b, err := json.Marshal(g)
	if err != nil {
		return nil, fmt.Errorf("encode group %q: %w", g.ID, err)
	}
	return b, nil
}

// Info tells the group's type and state for lists.
func (g *Group) Info() Info {
	if g.Consumer != nil {
		return g.Consumer.info()
	}
	return g.classic().info()
}

// Due is the earliest time at which Tick may change something; zero is never. After a Tick it
// is later than that Tick's Env.Now.
func (g *Group) Due(env Env) time.Time {
	if g.Consumer != nil {
		return g.Consumer.due(env)
	}
	return g.classic().due(env)
}

// Tick does what time alone brings about until env.Now: it ends sessions and phases.
func (g *Group) Tick(env Env) {
	switch {
	case g.Consumer != nil:
		g.Consumer.tick(g, env)
	case g.Classic != nil:
		g.Classic.tick(env)
	}
}

// Heard tells that some agent heard of the member then. It never changes what Encode returns.
func (g *Group) Heard(memberID string, at time.Time) {
	switch {
	case g.Consumer != nil:
		g.Consumer.heardOf(memberID, at)
	case g.Classic != nil:
		g.Classic.heardOf(memberID, at)
	}
}

// SessionTimeout returns how long the member may be silent; ok tells whether it is a member at all.
func (g *Group) SessionTimeout(memberID string) (timeout time.Duration, ok bool) {
	if g.Consumer != nil {
		return g.Consumer.sessionTimeout(memberID)
	}
	return g.classic().sessionTimeout(memberID)
}

// Members returns the IDs of all members.
func (g *Group) Members() []string {
	if g.Consumer != nil {
		return g.Consumer.members()
	}
	return g.classic().members()
}

// Empty tells that the group has no members, and that none is about to join: without
// offsets it may be deleted.
func (g *Group) Empty() bool {
	if g.Consumer != nil {
		return g.Consumer.empty()
	}
	return g.classic().empty()
}

// classic returns the state of the classic protocol of a group that is not of the other one; that
// of a group that nobody joined is not part of the group.
func (g *Group) classic() *Classic {
	if g.Classic != nil {
		return g.Classic
	}
	return newClassic()
}

// JoinGroup adds a member or lets one join again; newMemberID becomes the ID of one that has
// none. A nil answer comes from JoinAnswer. A request may be applied again: the member joins once.
func (g *Group) JoinGroup(env Env, client Client, newMemberID string, req *kmsg.JoinGroupRequest) *kmsg.JoinGroupResponse {
	if g.Consumer != nil && !g.Consumer.empty() {
		return g.Consumer.joinGroup(g, env, client, newMemberID, req)
	}
	// A group becomes classic only when something is to be remembered, so that a refused
	// request leaves no trace.
	c := g.classic()
	resp := c.joinGroup(g.ID, env, client, newMemberID, req)
	if g.Classic == nil && !c.empty() {
		g.Classic, g.Consumer = c, nil
	}
	return resp
}

// JoinAnswer answers a parked join from a later state, nil while it is parked still. memberID is
// the request's, or the newMemberID it was applied with.
func (g *Group) JoinAnswer(req *kmsg.JoinGroupRequest, memberID string) *kmsg.JoinGroupResponse {
	if g.Consumer != nil {
		return g.Consumer.joinAnswer(req, memberID)
	}
	return g.classic().joinAnswer(req, memberID)
}

// SyncGroup takes the leader's assignment and gives each member its own. A nil answer comes from SyncAnswer.
func (g *Group) SyncGroup(env Env, req *kmsg.SyncGroupRequest) *kmsg.SyncGroupResponse {
	if g.Consumer != nil {
		return g.Consumer.syncGroup(g, env, req)
	}
	return g.classic().syncGroup(g.ID, env, req)
}

// SyncAnswer answers a parked sync from a later state, nil while it is parked still.
func (g *Group) SyncAnswer(req *kmsg.SyncGroupRequest) *kmsg.SyncGroupResponse {
	if g.Consumer != nil {
		return g.Consumer.syncAnswer(req)
	}
	return g.classic().syncAnswer(req)
}

// Heartbeat answers a classic member's heartbeat. In a classic group it only reads: that the member was heard
// of is for the caller to note, as with every request that a member gets a good answer to.
func (g *Group) Heartbeat(env Env, req *kmsg.HeartbeatRequest) *kmsg.HeartbeatResponse {
	if g.Consumer != nil {
		return g.Consumer.heartbeat(g, env, req)
	}
	return g.classic().heartbeat(g.ID, req)
}

// QuickHeartbeat is Heartbeat for a group that is only to be read: it answers if all is well and nothing changes, and
// returns nil for Heartbeat to find out.
func (g *Group) QuickHeartbeat(env Env, req *kmsg.HeartbeatRequest) *kmsg.HeartbeatResponse {
	if g.Consumer != nil {
		return g.Consumer.quickHeartbeat(g, env, req)
	}
	if resp := g.classic().heartbeat(g.ID, req); resp.ErrorCode == 0 {
		return resp
	}
	return nil
}

// LeaveGroup removes members.
func (g *Group) LeaveGroup(env Env, req *kmsg.LeaveGroupRequest) *kmsg.LeaveGroupResponse {
	if g.Consumer != nil {
		return g.Consumer.leaveGroup(g, env, req)
	}
	return g.classic().leaveGroup(g.ID, env, req)
}

// DescribeClassic answers DescribeGroups for a group that exists.
func (g *Group) DescribeClassic(version int16) kmsg.DescribeGroupsResponseGroup {
	if g.Consumer == nil {
		return g.classic().describe(g.ID)
	}
	// As for a group that doesn't exist, so that clients turn to ConsumerGroupDescribe.
	d := kmsg.NewDescribeGroupsResponseGroup()
	d.Group, d.State = g.ID, "Dead"
	if version >= 6 {
		d.ErrorCode = kerr.GroupIDNotFound.Code
		d.ErrorMessage = kmsg.StringPtr(fmt.Sprintf("Group %s is not a classic group.", g.ID))
	}
	return d
}

// DescribeConsumer answers ConsumerGroupDescribe for a group that exists.
func (g *Group) DescribeConsumer(env Env) kmsg.ConsumerGroupDescribeResponseGroup {
	if g.Consumer != nil {
		return g.Consumer.describe(g, env)
	}
	d := kmsg.NewConsumerGroupDescribeResponseGroup()
	d.Group = g.ID
	d.ErrorCode = kerr.GroupIDNotFound.Code
	d.ErrorMessage = kmsg.StringPtr(fmt.Sprintf("Group %s is not a consumer group.", g.ID))
	return d
}
