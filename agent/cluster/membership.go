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
	// beatEvery is the time between two beats: three may fail before
	// metadata.AgentTimeout.
	beatEvery = 3 * time.Second
	// beatTimeout bounds one call of the register.
	beatTimeout = 3 * time.Second
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
// can't beat are no less alive.
type Membership struct {
	store metadata.Agents
	gauge Gauge
	log   *slog.Logger
	// wish is the node ID that the operator set, 0 for any.
	wish  int32
	every time.Duration // between beats

	mu     sync.Mutex
	self   metadata.Agent
	others []metadata.Agent // alive, without self, by node ID
	left   bool

	// now asks Run for a beat, and is told when it is over.
	now chan chan struct{}

	// Owned by Run.
	failing bool
	health  health
	probing sync.WaitGroup
	probe   chan struct{} // holds a token while a probe runs
}

// NewMembership makes the keeper for an agent; its NodeID is 0 for any. The incarnation is chosen here:
// one per process.
func NewMembership(store metadata.Agents, self metadata.Agent, gauge Gauge, log *slog.Logger) *Membership {
	self.Incarnation = uuid.New()
	self.State = metadata.Serving
	return &Membership{
		store: store, gauge: gauge, log: log, wish: self.NodeID, every: beatEvery, self: self,
		now: make(chan chan struct{}), probe: make(chan struct{}, 1),
	}
}

// Register enters the agent, which thereby gets its node ID, and reads the
// list. It comes before the first request is served. A store that does not answer is asked a few times. Errors: the store's,
// metadata.ErrNodeIDInUse.
func (m *Membership) Register(ctx context.Context) error {
	for try := 1; ; try++ {
		err := m.register(ctx)
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

// Self is this agent, with the node ID of its last registration.
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
	if m.left && len(alive) > 0 {
		return alive
	}
	alive = append(alive, m.self)
	slices.SortFunc(alive, func(a, b metadata.Agent) int { return cmp.Compare(a.NodeID, b.NodeID) })
	return alive
}

// Replaceable reports whether there are others that clients can go to.
func (m *Membership) Replaceable() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(m.others, func(a metadata.Agent) bool { return a.State != metadata.Draining })
}

func (m *Membership) register(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, beatTimeout)
	defer cancel()
	self := m.Self()
	self.NodeID = m.wish
	nodeID, err := m.store.RegisterAgent(ctx, self)
	if err != nil {
		return fmt.Errorf("register agent %s: %w", self.Name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.self.NodeID = nodeID
	return nil
}

// beat renews the registration and takes the list over. An agent whose entry went
// to another while it could not beat registers anew.
func (m *Membership) beat(ctx context.Context) error {
	m.measure()
	self := m.Self()
	alive, err := m.beatOnce(ctx, self)
	if errors.Is(err, metadata.ErrNodeIDInUse) {
		if err := m.register(ctx); err != nil {
			return err
		}
		had := self.NodeID
		if self = m.Self(); self.NodeID != had {
			m.log.Warn("this agent's node ID went to another while it could not beat; it registered anew", "had", had, "has", self.NodeID)
		} else {
			m.log.Warn("another process has registered under the name of this agent, which took its place back; if both go on, give each a --name of its own",
				"name", self.Name, "node_id", had)
		}
		alive, err = m.beatOnce(ctx, self)
	}
	if err != nil {
		return fmt.Errorf("beat as agent %d: %w", self.NodeID, err)
	}
	others := slices.DeleteFunc(slices.Clone(alive), func(a metadata.Agent) bool { return a.NodeID == self.NodeID })
	m.mu.Lock()
	defer m.mu.Unlock()
	m.others = others
	return nil
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
