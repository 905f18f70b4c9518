package machine

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// CheckCommit tells whether OffsetCommit may write, nil if so. generation is the member epoch in the consumer
// protocol, and below zero from those that only keep offsets in the group, which they may while it has no members.
func (g *Group) CheckCommit(env Env, memberID string, instanceID *string, generation int32, version int16) *kerr.Error {
	switch {
	case g.Consumer != nil:
		return g.Consumer.checkCommit(memberID, generation, version)
	case g.Classic != nil:
		return g.Classic.checkCommit(memberID, instanceID, generation)
	case generation < 0:
		return nil
	case version >= 9:
		return kerr.GroupIDNotFound
	}
	return kerr.IllegalGeneration
}

// CheckTxnCommit tells whether TxnOffsetCommit may write, nil if so.
func (g *Group) CheckTxnCommit(env Env, memberID string, instanceID *string, generation int32) *kerr.Error {
	switch {
	case g.Consumer != nil:
		return g.Consumer.checkTxnCommit(memberID, generation)
	case g.Classic != nil:
		return g.Classic.checkTxnCommit(memberID, instanceID, generation)
	case generation < 0:
		return nil
	}
	return kerr.IllegalGeneration
}

// CheckFetch tells whether OffsetFetch (9 and later) may read, nil if so. In a classic group, as in one that
// doesn't exist, anybody may.
func (g *Group) CheckFetch(memberID *string, memberEpoch int32) *kerr.Error {
	if g.Consumer != nil {
		return g.Consumer.checkFetch(memberID, memberEpoch)
	}
	return nil
}

// CheckDelete tells whether DeleteGroups may delete the group, nil if so.
func (g *Group) CheckDelete() *kerr.Error {
	switch {
	case g.Consumer != nil:
		return g.Consumer.checkDelete()
	case g.Classic != nil && g.Classic.State != Empty:
		return kerr.NonEmptyGroup
	}
	return nil
}

// CheckDeleteOffsets tells whether OffsetDelete may delete offsets of topics that the group is not [Group.Subscribed]
// to, nil if so.
func (g *Group) CheckDeleteOffsets() *kerr.Error {
	if g.Classic != nil && g.Classic.State != Empty && g.Classic.ProtocolType != consumerProtocolType {
		return kerr.NonEmptyGroup
	}
	return nil
}

// Subscribed tells whether members consume the topic, as far as the group can know; when in doubt they do. Offsets of
// such topics are not deleted (GROUP_SUBSCRIBED_TO_TOPIC) and don't expire.
func (g *Group) Subscribed(topic string) bool {
	switch {
	case g.Consumer != nil:
		return g.Consumer.subscribed(topic)
	case g.Classic != nil:
		return g.Classic.subscribed(topic)
	}
	return false
}

// OffsetExpired tells whether an offset's time is over. expireAt is what the client asked for (OffsetCommit 2 to 4), zero
// if nothing; retention is offsets.retention.minutes.
func (g *Group) OffsetExpired(now time.Time, retention time.Duration, topic string, committedAt, expireAt time.Time) bool {
	base := committedAt
	switch {
	case g.Consumer != nil:
		return g.Consumer.offsetExpired(now, retention, topic, committedAt, expireAt)
	case g.Classic != nil:
		var may bool
		if base, may = g.Classic.unusedSince(topic, committedAt); !may {
			return false
		}
	}
	if !expireAt.IsZero() {
		return !now.Before(expireAt)
	}
	return now.Sub(base) >= retention
}
