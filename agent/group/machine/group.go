package machine

import (
	"time"

	"github.com/google/uuid"
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
	Since  time.Time
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

// BeatEvery is how often at least the caller notes that it heard of a member
// with that session timeout. A session lasts this much longer than its timeout, so
// that a member whose last heartbeats are not noted yet is not taken for gone.
func BeatEvery(sessionTimeout time.Duration) time.Duration { return sessionTimeout / 8 }
