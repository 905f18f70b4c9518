package metadata

import (
	"context"
	"time"

	"github.com/google/uuid"
)

// GroupState is what is stored of a group beside its name.
type GroupState struct {
	// State is the group's state machine as its owner encodes it; the store
	// doesn't look into it.
	State []byte
	// Type, ProtocolType and Phase are what ListGroups tells of the group
	// ("classic", "consumer", "Stable" ...), so that a list decodes no State.
	Type         string
	ProtocolType string
	Phase        string
	// Due is when the group next changes by itself, by the store's clock
	// (somebody's session ends, a rebalance times out); zero is never.
	Due time.Time
}

// Group is a consumer group as stored.
type Group struct {
	ID string
	// Version is new with every change of the group, and never used again, not
	// even after the group was deleted. 0: there is no such group, and the rest is zero.
	Version int64
	GroupState
	// Beats tells when agents heard of each member last (see [Groups.BeatMembers]),
	// by the store's clock. Members that no agent reported are missing.
	Beats map[string]time.Time
}

// GroupRef names a group that a caller may have read before.
type GroupRef struct {
	ID string
	// Known is a version whose GroupState the caller still has: a group that is
	// still in this version comes without its State. 0: none.
	Known int64
	// Create, in [Groups.WriteOffsets], is the state in which the group is
	// entered if there is none, so that decide sees it; nil leaves it missing. It
	// goes again when nothing is put into it.
	Create *GroupState
}

// GroupInfo is a line of the list of groups.
type GroupInfo struct {
	ID           string
	Type         string
	ProtocolType string
	Phase        string
}

// GroupBeats is what one agent heard of one group's members: everything that it
// heard within the longest session timeout, not just what is new.
type GroupBeats struct {
	GroupID string
	Members map[string]time.Time
}

// Offset is a committed offset.
type Offset struct {
	GroupID   string
	Partition PartitionID
	Offset    int64
	// LeaderEpoch is -1 when the client named none.
	LeaderEpoch int32
	Metadata    string
	// CommittedAt is by the store's clock; WriteOffsets sets it.
	CommittedAt time.Time
	// ExpireAt is set by clients that name a retention of their own
	// (OffsetCommit 2 to 4); zero leaves it to offsets.retention.minutes.
	ExpireAt time.Time
	// Unstable: an open transaction holds an offset for the partition, of which it is
	// not decided whether it counts (KIP-447). FetchOffsets sets it, and then returns
	// the partition even if nothing is committed: with Offset -1.
	Unstable bool
}

// OffsetKey names a committed offset.
type OffsetKey struct {
	GroupID   string
	Partition PartitionID
	// CommittedAt, unless it is zero, spares an offset that was committed anew since,
	// and those of open transactions, which go along otherwise.
	CommittedAt time.Time
}

// OffsetChanges is what WriteOffsets writes.
type OffsetChanges struct {
	// Put may name only groups that decide saw, and that exist.
	Put []Offset
	// Delete goes first: an offset that is in both is put.
	Delete []OffsetKey
}

// OffsetQuery asks for committed offsets of a group.
type OffsetQuery struct {
	GroupID string
	// Partitions nil asks for all.
	Partitions []PartitionID
}

// Groups keeps consumer groups and their committed offsets. Group IDs are any
// strings of up to 32 KiB, compared by their bytes; what else clients choose may
// be any bytes, too. Times are kept to the microsecond.
//
// A group's state changes by compare-and-set on its version and is stored before
// anybody sees it; that members are alive is noted beside it, so that heartbeats
// change no version.
type Groups interface {
	// LoadGroups answers from one snapshot, in the order asked; now is the store's clock.
	LoadGroups(ctx context.Context, refs []GroupRef) (groups []Group, now time.Time, err error)
	// GroupVersions returns the groups' versions in the order asked, 0 for those
	// that don't exist: the cheap question by which agents learn of each other's changes.
	GroupVersions(ctx context.Context, ids []string) (versions []int64, now time.Time, err error)
	// StoreGroup replaces the state of the group that is still in the version (0:
	// that does not exist) and returns its new version. Errors: ErrGroupVersion when
	// it is in another, ErrUnavailable (nothing happened), ErrOutcomeUnknown: then
	// read the group and store it once more even if the change is there, since what
	// is visible need not have reached a synchronous standby.
	StoreGroup(ctx context.Context, id string, version int64, state GroupState) (newVersion int64, err error)
	// DeferGroup sets Due alone, which changes no version; nothing happens when the
	// group is in another version.
	DeferGroup(ctx context.Context, id string, version int64, due time.Time) error
	// DeleteGroup deletes the group that is still in the version, its offsets, also
	// those of open transactions, and its beats. Errors: ErrGroupVersion, and as StoreGroup.
	DeleteGroup(ctx context.Context, id string, version int64) error
	// DeleteUnusedGroup is DeleteGroup for a group without offsets. One that has
	// some, be it of an open transaction, since they change no version, stays: ErrGroupVersion.
	DeleteUnusedGroup(ctx context.Context, id string, version int64) error
	// ListGroups returns all groups, in no set order.
	ListGroups(ctx context.Context) ([]GroupInfo, error)
	// ClaimDueGroups returns up to limit groups whose Due has passed, and moves their
	// Due ahead by lease: whoever claimed one has that long to deal with it before
	// another agent is given it. Calls at the same time get different groups.
	ClaimDueGroups(ctx context.Context, limit int, lease time.Duration) (ids []string, err error)

	// BeatMembers notes when this agent (its incarnation) heard of members last,
	// replacing what it had noted of those groups. Other agents' notes stay. Groups
	// that don't exist are passed over.
	BeatMembers(ctx context.Context, agent uuid.UUID, beats []GroupBeats) error
	// HeardThrough notes that this agent has told by BeatMembers of everybody whom it
	// heard of until then (by the store's clock), and returns until when all agents
	// have: the earliest of what was noted within [AgentTimeout]. A member may be
	// silent for all that is known after that time.
	HeardThrough(ctx context.Context, agent uuid.UUID, through time.Time) (all time.Time, err error)
	// TrimBeats deletes up to limit notes of BeatMembers that are older than the age,
	// and the agents that noted nothing since then.
	TrimBeats(ctx context.Context, olderThan time.Duration, limit int) (int, error)

	// WriteOffsets locks the groups against StoreGroup, DeleteGroup and other
	// WriteOffsets, lets decide look at them as they are then (in the
	// order of refs, without Beats; Version 0 for those that don't exist), and writes
	// what it returns, all in one transaction. So no offset of an older generation can
	// land after the next one began. decide does no I/O and may be called more than once;
	// with its error nothing happens and the error is returned. Of two Puts of one
	// key the later counts. Safe to repeat. Errors: ErrUnavailable, ErrOutcomeUnknown.
	// Each agent has one transaction at a time, so put what waits into one call.
	WriteOffsets(ctx context.Context, refs []GroupRef, decide func(now time.Time, groups []Group) (OffsetChanges, error)) error
	// FetchOffsets returns the committed offsets in the order asked, each list by
	// partition; partitions without one are missing (but see Offset.Unstable).
	FetchOffsets(ctx context.Context, queries []OffsetQuery) ([][]Offset, error)
	// IdleGroups returns up to limit (2 or more) groups after the given one (by an order
	// of the store's own; "" starts) that may be due for cleaning: they have an offset
	// committed before the time, or one whose ExpireAt has passed, or they have no
	// offsets at all, not even of an open transaction.
	IdleGroups(ctx context.Context, after string, before time.Time, limit int) ([]string, error)
	// TrimOffsets deletes up to limit offsets of partitions that no longer exist.
	// Those of open transactions are left: they go when the transaction ends.
	TrimOffsets(ctx context.Context, limit int) (int, error)
}
