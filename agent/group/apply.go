package group

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/errcode"
	"github.com/wadi-log/wadi/agent/group/machine"
	"github.com/wadi-log/wadi/metadata"
)

const (
	// applyTimeout bounds the work for the requests that wait for a group at one
	// time; clients give a request up after 30 s or more.
	applyTimeout = 15 * time.Second
	// applyAttempts is how often they are applied anew because another agent
	// stored the group first. Each time at least one agent makes progress.
	applyAttempts = 50
	// heartbeatAge is how old the copy of a group may be by which a heartbeat is told
	// that all is well. A member learns of a rebalance so much later at worst.
	heartbeatAge = time.Second
)

// work is the group's worker: it applies what waits until nothing does.
func (c *Coordinator) work(l *local) {
	for {
		calls, woken, claimed, ok := l.take()
		if !ok {
			c.forget(l)
			return
		}
		c.deal(l, calls, woken, claimed)
	}
}

// deal answers calls, or parks them. A panic is a bug of ours, which must not cost
// the process: those of the calls that have no answer yet are refused.
func (c *Coordinator) deal(l *local, calls []*call, woken, claimed bool) {
	defer func() {
		if p := recover(); p != nil {
			c.refuse(l, calls, panicked(p))
		}
	}()
	if !woken {
		calls = c.heartbeats(l, calls)
	}
	if len(calls) > 0 || woken {
		c.apply(l, calls, claimed)
	}
}

// panicked makes an error of a panic, with where it was.
func panicked(p any) error {
	return fmt.Errorf("internal error, please report this: %v\n%s", p, debug.Stack())
}

// heartbeats answers those of the calls that may be answered from the copy at
// hand, which is when all of them are heartbeats, they change nothing, and all is
// well: no error is told from a copy that may be old. It returns the other calls.
func (c *Coordinator) heartbeats(l *local, calls []*call) []*call {
	if slices.ContainsFunc(calls, func(k *call) bool { return k.quick == nil }) {
		return calls
	}
	copied, ok := l.newest(heartbeatAge)
	if !ok || !c.clock.known() {
		return calls
	}
	ctx, cancel := context.WithTimeout(c.workers.Life(), applyTimeout)
	defer cancel()
	env, err := c.env(ctx, l.id, c.clock.now())
	if err != nil {
		return calls
	}
	var left []*call
	for _, k := range calls {
		resp := k.quick(copied.group, env)
		if resp == nil {
			left = append(left, k)
			continue
		}
		c.heard(l, copied.group, k, resp, env.Now)
		c.metrics.cachedHeartbeats.Inc()
		k.answer(resp)
	}
	return left
}

// apply applies the calls to the newest state of the group and stores the
// result before anybody sees it. Should we die before it is stored, nothing
// happened; after that, clients find the new state when they ask again.
func (c *Coordinator) apply(l *local, calls []*call, claimed bool) {
	ctx, cancel := context.WithTimeout(c.workers.Life(), applyTimeout)
	defer cancel()
	for range applyAttempts {
		done, err := c.applyOnce(ctx, l, calls, claimed)
		if err != nil {
			c.refuse(l, calls, err)
			return
		}
		if done {
			return
		}
		c.metrics.conflicts.Inc()
	}
	c.refuse(l, calls, fmt.Errorf("%w: other agents changed group %q %d times in a row", metadata.ErrUnavailable, l.id, applyAttempts))
}

// applyOnce returns false when another agent stored the group first.
func (c *Coordinator) applyOnce(ctx context.Context, l *local, calls []*call, claimed bool) (done bool, err error) {
	before, g, now, asked, err := c.load(ctx, l)
	if err != nil {
		return false, err
	}
	env, err := c.env(ctx, l.id, now)
	if err != nil {
		return false, err
	}
	g.Tick(env)
	answers := make([]kmsg.Response, len(calls))
	for i, k := range calls {
		answers[i] = k.apply(g, env)
	}
	after, err := stateOf(g, env)
	if err != nil {
		return false, err
	}
	version := before.version
	if !bytes.Equal(after.State, before.stored.State) {
		// What is stored from now on is the newest as of now: nobody knows how long it was when the reply comes.
		asked = time.Now()
		if version, err = c.storeGroup(ctx, l.id, before.version, after); err != nil {
			if errors.Is(err, metadata.ErrGroupVersion) {
				return false, nil
			}
			return false, err
		}
	} else if claimed && version != 0 {
		if err := c.store.DeferGroup(ctx, l.id, version, after.Due); err != nil {
			return false, err
		}
	}
	l.keep(stateCopy{version: version, stored: after, group: g}, asked)
	c.finish(l, g, calls, answers, env)
	c.wakeAt(l, after.Due, env.Now)
	return true, nil
}

// load reads the group's newest state into a group of the caller's own. asked is
// when (by our clock) it was the newest.
func (c *Coordinator) load(ctx context.Context, l *local) (s stateCopy, g *machine.Group, now, asked time.Time, err error) {
	l.mu.Lock()
	known := l.copy
	l.mu.Unlock()
	loaded, err := c.loads.load(ctx, metadata.GroupRef{ID: l.id, Known: known.version})
	if err != nil {
		return s, nil, now, asked, err
	}
	stored := loaded.group
	now, asked = inState(loaded.now), loaded.asked
	s = stateCopy{version: stored.Version, stored: stored.GroupState}
	switch {
	case stored.Version == 0:
		g = machine.New(l.id)
		s.stored = metadata.GroupState{}
		if s.stored.State, err = g.Encode(); err != nil {
			return s, nil, now, asked, err
		}
	case stored.Version == known.version:
		s.stored.State = known.stored.State
		fallthrough
	default:
		if g, err = machine.Decode(l.id, s.stored.State); err != nil {
			return s, nil, now, asked, err
		}
	}
	for member, at := range stored.Beats {
		g.Heard(member, at)
	}
	for member, at := range l.members() {
		g.Heard(member, at)
	}
	return s, g, now, asked, nil
}

// stateOf returns what is stored of a group.
func stateOf(g *machine.Group, env machine.Env) (metadata.GroupState, error) {
	state, err := g.Encode()
	if err != nil {
		return metadata.GroupState{}, err
	}
	info := g.Info()
	return metadata.GroupState{State: state, Type: info.Type, ProtocolType: info.ProtocolType, Phase: info.Phase, Due: g.Due(env)}, nil
}

// storeGroup is StoreGroup that looks what happened when the store doesn't know.
func (c *Coordinator) storeGroup(ctx context.Context, id string, version int64, state metadata.GroupState) (int64, error) {
	newVersion, err := c.store.StoreGroup(ctx, id, version, state)
	c.metrics.stores.Inc()
	if !errors.Is(err, metadata.ErrOutcomeUnknown) {
		return newVersion, err
	}
	groups, _, loadErr := c.store.LoadGroups(ctx, []metadata.GroupRef{{ID: id}})
	switch {
	case loadErr != nil:
		return 0, err
	case groups[0].Version == version:
		// Nothing happened, unless it still will: a compare-and-set on the same
		// version lets only one of the two through.
		return 0, metadata.ErrGroupVersion
	case bytes.Equal(groups[0].State, state.State):
		// It happened. What is visible need not have reached a synchronous standby, so
		// it is stored once more before anybody is told.
		return c.store.StoreGroup(ctx, id, groups[0].Version, state)
	}
	// Another agent went on from the old state or from ours. Applying the requests
	// to whatever is there now is right in both cases.
	return 0, metadata.ErrGroupVersion
}

// finish gives the calls their answers, parks those without one, and answers
// those parked before that have one now.
func (c *Coordinator) finish(l *local, g *machine.Group, calls []*call, answers []kmsg.Response, env machine.Env) {
	for i, k := range calls {
		c.heard(l, g, k, answers[i], env.Now)
	}
	l.retain(g, env.Now)
	draining := c.isDraining()
	var wait []*call
	for i, k := range calls {
		// What this state parked, a request behind it may have completed.
		if answers[i] == nil {
			answers[i] = k.later(g)
		}
		switch {
		case answers[i] != nil:
			k.answer(answers[i])
		case draining:
			k.answer(k.refuse(kerr.NotCoordinator.Code))
		default:
			if k.parked != nil {
				k.parked()
			}
			wait = append(wait, k)
		}
	}
	l.release(g)
	l.park(wait)
	if c.isDraining() { // which began meanwhile, and didn't see calls that were in our hands
		for _, k := range l.unpark() {
			k.answer(k.refuse(kerr.NotCoordinator.Code))
		}
		return
	}
	if len(wait) == 0 {
		return
	}
	select {
	case c.parkedNow <- struct{}{}:
	default:
	}
}

// heard notes that the call's member is alive, if its answer says so.
func (c *Coordinator) heard(l *local, g *machine.Group, k *call, resp kmsg.Response, now time.Time) {
	if k.member == "" || !alive(resp) {
		return
	}
	if timeout, ok := g.SessionTimeout(k.member); ok {
		l.hear(k.member, now, timeout)
	}
}

// wakeAt has the group looked at when its time comes, to the millisecond, while
// requests wait for that here. Otherwise [Coordinator.keepTime] of any agent does it.
func (c *Coordinator) wakeAt(l *local, due, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	if len(l.parked) > 0 && !due.IsZero() {
		l.timer = time.AfterFunc(max(due.Sub(now), time.Millisecond), func() { c.wake(l) })
	}
}

// refuse answers the calls with what went wrong.
func (c *Coordinator) refuse(l *local, calls []*call, err error) {
	if c.workers.Life().Err() == nil {
		if errcode.Known(err) {
			c.log.Warn("a consumer group can't be served at the moment; its members are told to try again", "group", l.id, "error", err)
		} else {
			c.log.Error("a consumer group can't be served", "group", l.id, "error", err)
		}
	}
	code := errcode.OfCoordinator(err)
	for _, k := range calls {
		k.answer(k.refuse(code))
	}
}
