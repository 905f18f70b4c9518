package machine

import (
	"slices"
	"time"
)

// minPhase is the least time that members have to join or to sync, whatever they say: with less, those that say zero
// would throw each other out for ever.
const minPhase = time.Second

// pendingPatience is how long a join phase waits for a member that was told its ID, so that it need not be followed by another one
// at once. Clients come back within a round trip. Kafka waits for the session timeout, but its coordinator forgets
// these IDs when it dies; here they outlive the agent that could not say them any more.
const pendingPatience = 5 * time.Second

// due is the earliest end of a session, of a phase, or of a pending member or the wait for it.
func (c *Classic) due(env Env) time.Time {
	var due time.Time
	earliest := func(t time.Time) {
		if due.IsZero() || t.Before(due) {
			due = t
		}
	}
	for _, m := range c.Members {
		earliest(m.sessionEnd(env))
	}
	for _, p := range c.Pending {
		earliest(p.end(env))
		if p.awaited(env) && c.State == PreparingRebalance {
			earliest(p.awaitedUntil(env))
		}
	}
	if end := c.phaseEnd(env); !end.IsZero() {
		earliest(end)
	}
	return due
}

func (c *Classic) tick(env Env) {
	members := len(c.Members)
	c.Pending = slices.DeleteFunc(c.Pending, func(p PendingMember) bool { return !env.Now.Before(p.end(env)) })
	c.remove(func(m *ClassicMember) bool { return !env.Now.Before(m.sessionEnd(env)) })
	if len(c.Members) < members {
		c.membersGone(env)
	} else {
		c.maybeCompleteJoin(env) // with pending members that are not waited for any more
	}

	if end := c.phaseEnd(env); end.IsZero() || env.Now.Before(end) {
		return
	}
	switch c.State {
	case PreparingRebalance:
		if c.Initial && c.MoreJoined && env.Limits.InitialRebalanceDelay > 0 && env.Now.Before(c.InitialEnd) {
			c.MoreJoined = false
			c.PhaseEnd = stored(env.Now.Add(env.Limits.InitialRebalanceDelay))
			if c.PhaseEnd.After(c.InitialEnd) {
				c.PhaseEnd = c.InitialEnd
			}
			return
		}
		c.completeJoin(env)
	case CompletingRebalance, Stable:
		c.remove(func(m *ClassicMember) bool { return !m.Synced })
		c.prepareRebalance(env)
	}
}

func (p PendingMember) end(env Env) time.Time {
	return latest(p.Since, env.Since).Add(millis(p.SessionTimeoutMs))
}

func (p PendingMember) awaitedUntil(env Env) time.Time {
	return latest(p.Since, env.Since).Add(pendingPatience)
}

func (p PendingMember) awaited(env Env) bool { return env.Now.Before(p.awaitedUntil(env)) }

// phaseEnd is when the phase ends for those that are missing, zero for never. Like a session it doesn't end because nobody
// was there to hear: it lasts its whole length from env.Since. Not so the initial one, which waits for nobody in particular.
func (c *Classic) phaseEnd(env Env) time.Time {
	if c.PhaseEnd.IsZero() || c.Initial {
		return c.PhaseEnd
	}
	return latest(c.PhaseEnd, env.Since.Add(c.rebalanceTimeout()))
}

// rebalanceTimeout is the longest that a member asks for.
func (c *Classic) rebalanceTimeout() time.Duration {
	timeout := minPhase
	for _, m := range c.Members {
		timeout = max(timeout, millis(m.RebalanceTimeoutMs))
	}
	return timeout
}

// remove takes members out, and hands leadership on if the leader is among them. What follows from it is the caller's.
func (c *Classic) remove(gone func(*ClassicMember) bool) {
	c.Members = slices.DeleteFunc(c.Members, gone)
	if c.member(c.Leader) == nil {
		c.Leader = ""
		if len(c.Members) > 0 {
			c.Leader = c.Members[0].ID
		}
	}
}

// membersGone goes on after members were removed.
func (c *Classic) membersGone(env Env) {
	if c.State == PreparingRebalance {
		c.maybeCompleteJoin(env)
	} else {
		c.prepareRebalance(env)
	}
}

// prepareRebalance lets everybody join again.
func (c *Classic) prepareRebalance(env Env) {
	if c.State == CompletingRebalance {
		// Those of the generation before, which nobody has any more.
		for _, m := range c.Members {
			m.Assignment = nil
		}
	}
	c.Initial = c.State == Empty
	c.State, c.Since = PreparingRebalance, stored(env.Now)
	timeout := c.rebalanceTimeout()
	if c.Initial {
		delay := env.Limits.InitialRebalanceDelay
		c.PhaseEnd = stored(env.Now.Add(delay))
		c.InitialEnd = stored(env.Now.Add(max(delay, timeout)))
		if delay <= 0 {
			c.completeJoin(env)
		}
		return
	}
	c.PhaseEnd = stored(env.Now.Add(timeout))
	c.maybeCompleteJoin(env)
}

// maybeCompleteJoin ends the join phase if nobody is missing.
func (c *Classic) maybeCompleteJoin(env Env) {
	if c.State != PreparingRebalance || c.Initial && len(c.Members) > 0 || slices.ContainsFunc(c.Pending, func(p PendingMember) bool { return p.awaited(env) }) {
		return
	}
	for _, m := range c.Members {
		if !m.Joining {
			return
		}
	}
	c.completeJoin(env)
}

// completeJoin ends the join phase: dynamic members that didn't join go, the others are the next generation. A static
// member keeps its place for as long as its session lasts.
func (c *Classic) completeJoin(env Env) {
	c.remove(func(m *ClassicMember) bool { return !m.Joining && m.InstanceID == nil })
	if len(c.Members) > 0 && !c.electJoined() {
		// Static members only, and none of them here. Their sessions end, or one comes.
		c.PhaseEnd = stored(env.Now.Add(c.rebalanceTimeout()))
		return
	}
	c.Generation++
	c.Since = stored(env.Now)
	c.Initial, c.MoreJoined, c.InitialEnd = false, false, time.Time{}
	if len(c.Members) == 0 {
		c.State, c.Protocol, c.PhaseEnd = Empty, "", time.Time{}
		return
	}
	c.State, c.Protocol = CompletingRebalance, c.selectProtocol()
	c.PhaseEnd = stored(env.Now.Add(c.rebalanceTimeout()))
	for _, m := range c.Members {
		m.Joining, m.Synced, m.StoredHeard = false, false, stored(env.Now)
	}
}

// electJoined makes sure that the leader is somebody who joined; false if nobody did.
func (c *Classic) electJoined() bool {
	if c.member(c.Leader).Joining {
		return true
	}
	i := slices.IndexFunc(c.Members, func(m *ClassicMember) bool { return m.Joining })
	if i >= 0 {
		c.Leader = c.Members[i].ID
	}
	return i >= 0
}
