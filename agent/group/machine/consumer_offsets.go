package machine

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// checkCommit lets members commit in their epoch. Those that only keep offsets in the group (an epoch
// below zero) may while nobody is in it.
func (c *Consumer) checkCommit(memberID string, epoch int32, version int16) *kerr.Error {
	m := c.Members[memberID]
	switch {
	case epoch < 0 && c.empty():
		return nil
	case m != nil && m.Classic == nil && version < 9:
		return kerr.UnsupportedVersion // which couldn't say STALE_MEMBER_EPOCH
	}
	return c.checkTxnCommit(memberID, epoch)
}

func (c *Consumer) checkTxnCommit(memberID string, epoch int32) *kerr.Error {
	if epoch < 0 && c.empty() {
		return nil
	}
	return c.checkEpoch(memberID, epoch)
}

// checkFetch lets anybody read that doesn't claim to be a member.
func (c *Consumer) checkFetch(memberID *string, epoch int32) *kerr.Error {
	if memberID == nil && epoch < 0 {
		return nil
	}
	return c.checkEpoch(text(memberID), epoch)
}

func (c *Consumer) checkEpoch(memberID string, epoch int32) *kerr.Error {
	m := c.Members[memberID]
	switch {
	case m == nil:
		return kerr.UnknownMemberID
	case epoch == m.Epoch:
		return nil
	case m.Classic != nil:
		return kerr.IllegalGeneration
	}
	return kerr.StaleMemberEpoch
}

func (c *Consumer) checkDelete() *kerr.Error {
	if !c.empty() {
		return kerr.NonEmptyGroup
	}
	return nil
}

// offsetExpired counts from the commit on, for topics that nobody subscribes to.
func (c *Consumer) offsetExpired(now time.Time, retention time.Duration, topic string, committedAt, expireAt time.Time) bool {
	switch {
	case c.subscribed(topic):
		return false
	case !expireAt.IsZero():
		return !now.Before(expireAt)
	}
	return now.Sub(committedAt) >= retention
}
