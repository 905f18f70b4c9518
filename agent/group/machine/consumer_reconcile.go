package machine

import (
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/group/assign"
)

// reconcile takes the member a step towards its target, if there is one to take: first it gives up
// what is others' from now on, then it gets what others have given up. owned is what it reports
// to have, nil if it doesn't say; subscribed tells that it changed its subscription.
func (c *Consumer) reconcile(env Env, m *ConsumerMember, owned []kmsg.ConsumerGroupHeartbeatRequestTopic, subscribed bool) {
	was := *m
	switch {
	case m.State == memberUnrevoked && owns(owned, m.Revoking):
		if subscribed {
			c.unsubscribe(m, owned)
		}
	case !m.reconciled(c):
		c.advance(m, owned)
	case subscribed:
		c.unsubscribe(m, owned)
	}

	changed := m.State != was.State || m.Epoch != was.Epoch || !m.Assigned.Equal(was.Assigned) || !m.Revoking.Equal(was.Revoking)
	switch {
	case m.State != memberUnrevoked || m.Classic != nil:
		// Classic members have their time to join again instead.
		m.RevokeBy = time.Time{}
	case changed:
		m.RevokeBy = stored(env.Now.Add(m.rebalanceTimeout()))
	}
}

// advance compares what the member has with its target.
func (c *Consumer) advance(m *ConsumerMember, owned []kmsg.ConsumerGroupHeartbeatRequestTopic) {
	target := m.Target
	if c.Epoch > c.TargetEpoch {
		target, _ = split(target, c.topicsOf(m)) // which may be of a subscription that it changed since
	}
	keep, revoke := divide(m.Assigned, target)
	if len(revoke) > 0 && owns(owned, revoke) {
		m.State, m.Assigned, m.Revoking = memberUnrevoked, keep, revoke
		return
	}
	// What it is still revoking nobody else can have; it may simply get that back.
	_, missing := divide(target, keep)
	free := missing
	if len(missing) > 0 {
		_, free = divide(missing, c.heldByOthers(m))
	}
	m.State = memberStable
	if free.Len() < missing.Len() {
		m.State = memberUnreleased
	}
	if len(free) > 0 {
		keep = union(keep, free)
	}
	m.Assigned, m.Revoking = keep, nil
	if m.Epoch != c.TargetEpoch {
		m.PreviousEpoch, m.Epoch = m.Epoch, c.TargetEpoch
	}
}

// unsubscribe lets the member give up topics that it doesn't subscribe to any more, before there is a target.
func (c *Consumer) unsubscribe(m *ConsumerMember, owned []kmsg.ConsumerGroupHeartbeatRequestTopic) {
	keep, rest := split(m.Assigned, c.topicsOf(m))
	if len(rest) == 0 {
		return
	}
	revoke := union(m.Revoking, rest)
	m.Assigned = keep
	if owns(owned, revoke) {
		m.State, m.Revoking = memberUnrevoked, revoke
	}
}

// topicsOf returns the IDs of the known topics that the member subscribes to.
func (c *Consumer) topicsOf(m *ConsumerMember) map[uuid.UUID]bool {
	ids := make(map[uuid.UUID]bool)
	for _, name := range m.Names {
		if topic, ok := c.Topics[name]; ok {
			ids[topic.ID] = true
		}
	}
	if m.Regex != "" {
		matches := m.matcher()
		for name, topic := range c.Topics {
			if matches(name) {
				ids[topic.ID] = true
			}
		}
	}
	return ids
}

// heldByOthers are the partitions that other members have or still give up.
func (c *Consumer) heldByOthers(m *ConsumerMember) assign.Partitions {
	held := make(assign.Partitions)
	for id, other := range c.Members {
		if id != m.ID {
			gather(held, other.Assigned)
			gather(held, other.Revoking)
		}
	}
	return sorted(held)
}

// owns tells whether a member has any of the partitions by its own report, or may have if it doesn't say.
func owns(owned []kmsg.ConsumerGroupHeartbeatRequestTopic, p assign.Partitions) bool {
	if owned == nil {
		return true
	}
	for _, topic := range owned {
		for _, n := range topic.Partitions {
			if p.Contains(topic.TopicID, n) {
				return true
			}
		}
	}
	return false
}
