package group

import (
	"slices"
	"sync"
	"time"

	"github.com/wadi-log/wadi/agent/group/machine"
	"github.com/wadi-log/wadi/metadata"
)

// local is what this agent holds of one group: the requests that it has for it,
// and a copy of the state, which may be old.
type local struct {
	id string

	mu sync.Mutex
	// evicted: no longer in the map; take another.
	evicted bool
	queue   []*call
	parked  []*call
	// woken asks the worker to look at the group even without requests: its time
	// has come, or another agent changed it. claimed says that this agent has to
	// note when its time comes next.
	woken, claimed bool
	working        bool
	copy           stateCopy
	// checked is when the copy was last known to be the newest, by our clock.
	checked time.Time
	used    time.Time
	heard   map[string]beat
	// noted is when the store was last told whom we heard of, unnoted that there is more.
	noted   time.Time
	unnoted bool
	timer   *time.Timer
}

// stateCopy is a group's state in one version. group is for reading only.
type stateCopy struct {
	version int64
	stored  metadata.GroupState
	group   *machine.Group
}

// beat is when a member was heard of, by the store's clock, and how long that holds.
type beat struct {
	at      time.Time
	timeout time.Duration
}

// submit queues the call at its group and sees to it that somebody works there;
// nil after Close.
func (c *Coordinator) submit(id string, k *call) *local {
	l := c.enter(id)
	l.queue = append(l.queue, k)
	ok := c.startLocked(l)
	l.mu.Unlock()
	if !ok {
		return nil
	}
	return l
}

// wake has a worker look at the group.
func (c *Coordinator) wake(l *local) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.evicted {
		l.woken = true
		c.startLocked(l)
	}
}

// claim is wake for a group whose time has come, and which this agent has to deal with.
func (c *Coordinator) claim(id string) {
	l := c.enter(id)
	defer l.mu.Unlock()
	l.woken, l.claimed = true, true
	c.startLocked(l)
}

// enter returns the group's local, locked.
func (c *Coordinator) enter(id string) *local {
	for {
		c.mu.Lock()
		l := c.groups[id]
		if l == nil {
			l = &local{id: id, heard: map[string]beat{}}
			c.groups[id] = l
		}
		c.mu.Unlock()
		l.mu.Lock()
		if !l.evicted {
			l.used = time.Now()
			return l
		}
		l.mu.Unlock()
	}
}

// peek returns the copy of a group's state that is held, of version 0 if none is.
func (c *Coordinator) peek(id string) stateCopy {
	c.mu.Lock()
	l := c.groups[id]
	c.mu.Unlock()
	if l == nil {
		return stateCopy{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.copy
}

// startLocked starts the group's worker unless it works; false after Close.
func (c *Coordinator) startLocked(l *local) bool {
	if !l.working {
		l.working = c.workers.Spawn(func() { c.work(l) })
	}
	return l.working
}

// take returns what there is to do; ok is false when there is nothing, and
// then the worker has ended.
func (l *local) take() (calls []*call, woken, claimed, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	calls, woken, claimed = l.queue, l.woken, l.claimed
	l.queue, l.woken, l.claimed = nil, false, false
	l.working = len(calls) > 0 || woken
	return calls, woken, claimed, l.working
}

// park keeps calls until a later state answers them.
func (l *local) park(calls []*call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range calls {
		if !k.abandoned.Load() {
			l.parked = append(l.parked, k)
		}
	}
}

// unpark takes all parked calls out.
func (l *local) unpark() []*call {
	l.mu.Lock()
	defer l.mu.Unlock()
	calls := l.parked
	l.parked = nil
	return calls
}

// abandon forgets a call whose client left.
func (l *local) abandon(k *call) {
	k.abandoned.Store(true)
	l.mu.Lock()
	defer l.mu.Unlock()
	is := func(other *call) bool { return other == k }
	l.parked = slices.DeleteFunc(l.parked, is)
	l.queue = slices.DeleteFunc(l.queue, is)
}

// release answers the parked calls that the state of the group answers.
func (l *local) release(g *machine.Group) {
	var left []*call
	for _, k := range l.unpark() {
		if resp := k.later(g); resp != nil {
			k.answer(resp)
		} else {
			left = append(left, k)
		}
	}
	l.park(left)
}

// keep takes over a state that is the newest as of the time (ours).
func (l *local) keep(s stateCopy, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.copy, l.checked = s, at
}

// newest returns the copy when it was the newest not longer than d ago.
func (l *local) newest(d time.Duration) (stateCopy, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.copy, l.copy.version != 0 && time.Since(l.checked) < d
}

// hear notes that a member was heard of.
func (l *local) hear(member string, at time.Time, timeout time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hearLocked(member, at, timeout)
}

func (l *local) hearLocked(member string, at time.Time, timeout time.Duration) {
	l.heard[member] = beat{at, timeout}
	l.unnoted = true
}

// retain forgets whom we heard of and who is no member of the group as it was then:
// members may come and go by the thousand before their sessions end.
func (l *local) retain(g *machine.Group, then time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for member, b := range l.heard {
		if _, ok := g.SessionTimeout(member); !ok && !b.at.After(then) {
			delete(l.heard, member)
		}
	}
}

// members returns when we heard of whom.
func (l *local) members() map[string]time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.membersLocked()
}

func (l *local) membersLocked() map[string]time.Time {
	members := make(map[string]time.Time, len(l.heard))
	for member, b := range l.heard {
		members[member] = b.at
	}
	return members
}

// forget drops what is held of a group that doesn't exist, as soon as nobody asks
// for it: names cost nothing to make up.
func (c *Coordinator) forget(l *local) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.copy.version == 0 && !l.evicted && l.idleLocked() {
		l.evicted = true
		delete(c.groups, l.id)
	}
}

// idleLocked tells that no request and no member needs the local.
func (l *local) idleLocked() bool {
	return !l.working && len(l.queue) == 0 && len(l.parked) == 0 && len(l.heard) == 0
}

// evictIdle drops what is held of a group that nobody used for d, and of whose
// members nothing is remembered.
func (c *Coordinator) evictIdle(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, l := range c.groups {
		l.mu.Lock()
		if l.idleLocked() && time.Since(l.used) > d {
			l.evicted = true
			delete(c.groups, id)
		}
		l.mu.Unlock()
	}
}
