package cluster

import (
	"context"
	"slices"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

// An agent whose way to a store is far worse than that of the others (a bad network card, a zone
// that is cut off from the database) stops asking for clients, and asks again when its stores
// answer as usual. Each agent judges itself, from what all tell in their beats:
//
//	            worse than 4 times the others' median, 3 beats on end,
//	            and fewer than a third of the agents are slow
//	+---------+ ------------------------------------------------------> +------+
//	| serving |                                                         | slow |
//	+---------+ <------------------------------------------------------ +------+
//	            no worse than twice the others' median, 3 beats on end,
//	            and slow for 30 s at least
//
// When a third is slow already, it is the store that is slow, and sending clients around would not help.
const (
	slowFactor = 4
	goodFactor = 2
	// slowBeats is how many beats on end must say the same.
	slowBeats = 3
	// slowFor is how long an agent stays slow at least, lest clients be sent back and forth.
	slowFor = 30 * time.Second
	// An agent is also slow only by more than this. What is faster nobody notices, and large data
	// files take longer than small ones.
	slowPut    = 200 * time.Millisecond
	slowCommit = 50 * time.Millisecond
	// probeTimeout bounds a probe of a slow agent's object store.
	probeTimeout = 10 * time.Second
)

// health is what an agent thinks of itself.
type health struct {
	slow bool
	// since is when it came to think so.
	since time.Time
	// beats is how many on end spoke for the other state.
	beats int
}

// judgement is what a decision was made from.
type judgement struct {
	Put, OthersPut, Commit, OthersCommit time.Duration
}

// decide takes one more beat into account: what the agent measured of itself, and what the others
// told of themselves. Without others that serve, an agent is never slow.
func decide(h health, now time.Time, self metadata.AgentLoad, others []metadata.Agent) (health, judgement) {
	slow := 0
	var puts, commits []time.Duration
	for _, other := range others {
		switch other.State {
		case metadata.Slow:
			slow++
		case metadata.Draining:
		default:
			puts, commits = append(puts, other.Load.Put), append(commits, other.Load.Commit)
		}
	}
	j := judgement{self.Put, Median(puts), self.Commit, Median(commits)}
	probing := self.Put == 0 && j.OthersPut > 0
	if h.slow && (probing || j.worse(goodFactor, 2)) || !h.slow && (!j.worse(slowFactor, 1) || 3*slow >= len(others)+1) {
		h.beats = 0
		return h, j
	}
	h.beats++
	if h.beats >= slowBeats && (!h.slow || now.Sub(h.since) >= slowFor) {
		h = health{slow: !h.slow, since: now}
	}
	return h, j
}

// worse reports whether one of the stores answers this agent later than the others by the
// factor, and by more than a part of what anybody notices.
func (j judgement) worse(factor int, part time.Duration) bool {
	late := func(own, others, least time.Duration) bool {
		return others > 0 && own > time.Duration(factor)*others && own-others > least/part
	}
	return late(j.Put, j.OthersPut, slowPut) || late(j.Commit, j.OthersCommit, slowCommit)
}

// Median returns the middle of what is known, which 0 is not, the lower one of two; 0 when nothing is.
func Median(all []time.Duration) time.Duration {
	known := slices.DeleteFunc(slices.Clone(all), func(d time.Duration) bool { return d == 0 })
	if len(known) == 0 {
		return 0
	}
	slices.Sort(known)
	return known[(len(known)-1)/2]
}

// judge decides after a beat whether this agent is slow. Run's goroutine calls it.
func (m *Membership) judge(ctx context.Context) {
	m.mu.Lock()
	was := m.health
	var j judgement
	m.health, j = decide(was, time.Now(), m.self.Load, m.others)
	slow := m.health.slow
	if m.self.State != metadata.Draining { // which is for good
		m.self.State = metadata.Serving
		if slow {
			m.self.State = metadata.Slow
		}
	}
	m.mu.Unlock()
	if slow != was.slow {
		attributes := []any{"put", j.Put, "others_put", j.OthersPut, "commit", j.Commit, "others_commit", j.OthersCommit}
		if slow {
			m.log.Warn("this agent's stores answer much later than those of the others: clients are sent to those until that is over", attributes...)
		} else {
			m.log.Info("this agent's stores answer as they do for the others again: it takes clients", attributes...)
		}
	}
	if slow {
		m.startProbe(ctx)
	}
}

// startProbe asks the object store, for hardly any client does while the agent is slow. It doesn't
// hold up the beats, and there is one at a time.
func (m *Membership) startProbe(ctx context.Context) {
	select {
	case m.probe <- struct{}{}:
	default:
		return
	}
	m.probing.Go(func() {
		defer func() { <-m.probe }()
		ctx, cancel := context.WithTimeout(ctx, probeTimeout)
		defer cancel()
		m.gauge.Probe(ctx)
	})
}
