package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

const (
	// BeatEvery is the time between two beats of an agent: three may fail before
	// metadata.AgentTimeout.
	BeatEvery = 3 * time.Second
	// beatTimeout bounds one call of the register.
	beatTimeout = 3 * time.Second
	// silentFor is after how long without a beat that arrived others may have been kept from theirs for so long, too, that the
	// register takes them for dead: some beats sooner than metadata.AgentTimeout, since theirs came before.
	silentFor = metadata.AgentTimeout / 2
	// patience is how many beats of ours arrive after that before the others must have had theirs.
	patience = int(metadata.AgentTimeout/BeatEvery) + 1
	// registerTries is how often an agent that starts asks a metadata store that does not answer, which may be
	// waiting for the locks of an agent that hangs.
	registerTries = 4
)

// Gauge measures this agent for the others.
type Gauge interface {
	// Load is what the agent has to do now, and how its stores answer.
	Load() metadata.AgentLoad
	// Probe asks the object store for something, so that Load tells how it answers
	// although no client writes. It returns when it was answered or ctx ended.
	Probe(ctx context.Context)
}

// Membership keeps this agent in the register and the list of those that are
// in it. While the metadata store is away it keeps the last list: agents that
// can't beat are no less alive. When the store is back, the first to beat finds nobody else in the register, so
// those that were in the list stay in it until they have had the time to beat, too.
type Membership struct {
	store metadata.Agents
	gauge Gauge
	log   *slog.Logger
	every time.Duration // between beats

	mu     sync.Mutex
	self   metadata.Agent
	others []metadata.Agent // alive, without self, by node ID
	missed []missed
	heard  time.Time // when a beat arrived last, by the wall clock, which goes on while the machine sleeps
	left   bool

	// now asks Run for a beat, and is told when it is over.
	now chan chan struct{}

	// Owned by Register, then by Run.

	// wish is the node ID that the operator set, 0 for any.
	wish    int32
	failing bool
	health  health
	probing sync.WaitGroup
	probe   chan struct{} // holds a token while a probe runs
}

// missed is an agent that has not beaten since an outage of the metadata store.
type missed struct {
	metadata.Agent
	beats int // of ours, since
}

// NewMembership makes the keeper for an agent; its NodeID is 0 for any. The incarnation is chosen here:
// one per process.
func NewMembership(store metadata.Agents, self metadata.Agent, gauge Gauge, log *slog.Logger) *Membership {
	self.Incarnation = uuid.New()
	self.State = metadata.Serving
	return &Membership{
		store: store, gauge: gauge, log: log, wish: self.NodeID, every: BeatEvery, self: self,
		now: make(chan chan struct{}), probe: make(chan struct{}, 1),
	}
}

// Register enters the agent, which thereby gets its node ID, and reads the
// list. It comes before the first request is served. A store that does not answer is asked a few times. Errors: the store's,
// metadata.ErrNodeIDInUse.
func (m *Membership) Register(ctx context.Context) error {
	for try := 1; ; try++ {
		err := m.register(ctx, m.Self().Name)
		if err == nil {
			err = m.beat(ctx)
		}
		if !errors.Is(err, metadata.ErrUnavailable) && !errors.Is(err, metadata.ErrOutcomeUnknown) || try == registerTries {
			return err
		}
		m.log.Warn("can't register this agent yet; will try again", "error", err)
		select {
		case <-time.After(m.every):
		case <-ctx.Done():
			return err
		}
	}
}

// Run beats until ctx ends, then takes the agent out of the register.
func (m *Membership) Run(ctx context.Context) {
	ticker := time.NewTicker(m.every)
	defer ticker.Stop()
	defer m.probing.Wait()
	for {
		var told chan struct{}
		select {
		case <-ctx.Done():
			m.leave(context.WithoutCancel(ctx))
			return
		case told = <-m.now:
		case <-ticker.C:
		}
		err := m.beat(ctx)
		m.report(ctx, err)
		if told != nil {
			close(told)
		}
		if err == nil {
			m.judge(ctx)
		}
	}
}

// Drain tells all agents, while Run runs, that clients are to be sent elsewhere from now on: it returns
// after the beat that says so, whether that arrived or not.
func (m *Membership) Drain(ctx context.Context) {
	m.mu.Lock()
	m.self.State = metadata.Draining
	m.mu.Unlock()
	told := make(chan struct{})
	select {
	case m.now <- told:
	case <-ctx.Done():
		return
	}
	select {
	case <-told:
	case <-ctx.Done():
	}
}

// Self is this agent, with the node ID and broker IDs of its last registration.
func (m *Membership) Self() metadata.Agent {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.self
}

// Alive returns the agents that are alive, by node ID: those of the
// register and this one. After it left, this one is in the list only when there is no other.
func (m *Membership) Alive() []metadata.Agent {
	m.mu.Lock()
	defer m.mu.Unlock()
	alive := slices.Clone(m.others)
	for _, a := range m.missed {
		alive = append(alive, a.Agent)
	}
	if !m.left || len(alive) == 0 {
		alive = append(alive, m.self)
	}
	slices.SortFunc(alive, func(a, b metadata.Agent) int { return cmp.Compare(a.NodeID, b.NodeID) })
	return alive
}

// Replaceable reports whether there are others that clients can go to.
func (m *Membership) Replaceable() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(m.others, func(a metadata.Agent) bool { return a.State != metadata.Draining }) ||
		slices.ContainsFunc(m.missed, func(a missed) bool { return a.State != metadata.Draining })
}

func (m *Membership) register(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, beatTimeout)
	defer cancel()
	self := m.Self()
	self.Name, self.NodeID = name, m.wish
	entered, err := m.store.RegisterAgent(ctx, self)
	if err != nil {
		return fmt.Errorf("register agent %s: %w", self.Name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.self.Name, m.self.NodeID, m.self.Listeners = name, entered.NodeID, entered.Listeners
	return nil
}

// beat renews the registration and takes the list over. An agent whose entry went
// to another registers anew.
func (m *Membership) beat(ctx context.Context) error {
	m.measure()
	self := m.Self()
	alive, err := m.beatOnce(ctx, self)
	if errors.Is(err, metadata.ErrNodeIDInUse) || errors.Is(err, metadata.ErrNameInUse) {
		if err := m.registerAnew(ctx, self, err); err != nil {
			return err
		}
		self = m.Self()
		alive, err = m.beatOnce(ctx, self)
	}
	if err != nil {
		return fmt.Errorf("beat as agent %d: %w", self.NodeID, err)
	}
	others := slices.DeleteFunc(slices.Clone(alive), func(a metadata.Agent) bool { return a.NodeID == self.NodeID })
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hear(others, time.Now().Round(0))
	return nil
}

// registerAnew enters an agent again whose entry another one has for the given reason. If that one has its name, too, it is left to it,
// or both would take it from each other with each beat, and clients be led to one and the other.
func (m *Membership) registerAnew(ctx context.Context, had metadata.Agent, why error) error {
	name := had.Name
	if errors.Is(why, metadata.ErrNameInUse) {
		name += "~" + had.Incarnation.String()[:8]
	}
	err := m.register(ctx, name)
	if errors.Is(err, metadata.ErrNodeIDInUse) {
		m.wish = 0 // a live agent has it, and this one would never beat again
		err = m.register(ctx, name)
	}
	if err != nil {
		return err
	}
	if has := m.Self(); errors.Is(why, metadata.ErrNameInUse) {
		m.log.Warn("another process that started later has the name of this agent, which goes on under another one; give each a --name of its own",
			"name", had.Name, "node_id", had.NodeID, "now", has.Name, "now_node_id", has.NodeID)
	} else {
		m.log.Warn("this agent's node ID went to another while it could not beat; it registered anew", "had", had.NodeID, "has", has.NodeID)
	}
	return nil
}

// hear takes the register's list of the others over.
func (m *Membership) hear(others []metadata.Agent, now time.Time) {
	if !m.heard.IsZero() && now.Sub(m.heard) > silentFor {
		for _, a := range m.others {
			m.missed = append(m.missed, missed{Agent: a})
		}
	}
	m.heard, m.others = now, others
	m.missed = slices.DeleteFunc(m.missed, func(a missed) bool {
		return a.NodeID == m.self.NodeID || slices.ContainsFunc(others, func(b metadata.Agent) bool { return a.NodeID == b.NodeID || a.Name == b.Name })
	})
	for i := range m.missed {
		m.missed[i].beats++
	}
	m.missed = slices.DeleteFunc(m.missed, func(a missed) bool { return a.beats >= patience })
}

func (m *Membership) measure() {
	load := m.gauge.Load()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.self.Load = load
}

func (m *Membership) beatOnce(ctx context.Context, self metadata.Agent) ([]metadata.Agent, error) {
	ctx, cancel := context.WithTimeout(ctx, beatTimeout)
	defer cancel()
	return m.store.BeatAgent(ctx, self)
}

// report logs an outage once, at both of its ends.
func (m *Membership) report(ctx context.Context, err error) {
	switch {
	case err != nil && ctx.Err() == nil && !m.failing:
		m.failing = true
		m.log.Warn("can't renew this agent's registration; keeping the last list of agents", "error", err)
	case err == nil && m.failing:
		m.failing = false
		m.log.Info("this agent's registration is renewed again", "node_id", m.Self().NodeID)
	}
}

func (m *Membership) leave(ctx context.Context) {
	m.mu.Lock()
	m.left = true
	self := m.self
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, beatTimeout)
	defer cancel()
	if err := m.store.RemoveAgent(ctx, self.NodeID, self.Incarnation); err != nil {
		m.log.Warn("can't take this agent out of the register; it times out by itself",
			"node_id", self.NodeID, "timeout", metadata.AgentTimeout, "error", err)
	}
}
