package machine

import (
	"slices"
	"time"
)

// due is the earliest end of a session, or of the time to give partitions up, to join or to sync.
func (c *Consumer) due(env Env) time.Time {
	var due time.Time
	for _, m := range c.Members {
		if end := m.end(env); due.IsZero() || end.Before(due) {
			due = end
		}
	}
	return due
}

// tick removes the members whose time is over.
func (c *Consumer) tick(g *Group, env Env) {
	var gone []string
	for id, m := range c.Members {
		if !env.Now.Before(m.end(env)) {
			gone = append(gone, id)
		}
	}
	slices.Sort(gone)
	c.remove(g, env, gone...)
}

// end is when the member is removed unless it does something before.
func (m *ConsumerMember) end(env Env) time.Time {
	timeout := env.Limits.ConsumerSessionTimeout
	deadlines := []time.Time{m.RevokeBy}
	if m.Classic != nil {
		timeout = millis(m.Classic.SessionTimeoutMs)
		deadlines = []time.Time{m.Classic.JoinBy, m.Classic.SyncBy}
	}
	end := latest(m.StoredHeard, m.heard, env.Since).Add(timeout + BeatEvery(timeout) + env.Lag)
	for _, deadline := range deadlines {
		if deadline.IsZero() {
			continue
		}
		// Nor does any of these pass because nobody was there to hear: it lasts its whole length from env.Since.
		if deadline = latest(deadline, env.Since.Add(m.rebalanceTimeout())); deadline.Before(end) {
			end = deadline
		}
	}
	return end
}

func (m *ConsumerMember) rebalanceTimeout() time.Duration {
	return max(minPhase, millis(m.RebalanceTimeoutMs))
}

// remove takes members out of the group. Their partitions are free at once; who gets them is
// decided when the next member is heard of. If none is left that needs the consumer protocol the
// group goes back to the classic one, where that is allowed.
func (c *Consumer) remove(g *Group, env Env, ids ...string) {
	if len(ids) == 0 {
		return
	}
	modern := false
	for _, id := range ids {
		modern = modern || c.Members[id].Classic == nil
		delete(c.Members, id)
	}
	if modern && c.mayDowngrade(env.Limits) {
		g.downgrade(env)
		g.Classic.prepareRebalance(env)
		return
	}
	c.Epoch++
}
