package group

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/wadi-log/wadi/agent/gather"
	"github.com/wadi-log/wadi/agent/group/machine"
	"github.com/wadi-log/wadi/metadata"
)

// Topics is what groups ask of the topic catalog.
type Topics interface {
	// Snapshot returns all topics by name, and a number that grows with their changes.
	Snapshot(ctx context.Context) (topics []metadata.Topic, seq int64, err error)
	// Lookup returns those of the topics that exist; with an error those that
	// are known, and nothing is known of the others.
	Lookup(ctx context.Context, names []string, ids []uuid.UUID) ([]metadata.Topic, error)
}

// Settings are the configs that act on groups, as they are at each call: they
// may change while the agent runs.
type Settings interface {
	// Limits of the group with that ID.
	Limits(group string) machine.Limits
	// Offsets are the configs of committed offsets.
	Offsets() OffsetSettings
	// ConsumerProtocol tells whether KIP-848 is enabled (group.coordinator.rebalance.protocols).
	ConsumerProtocol() bool
}

// OffsetSettings are the configs of committed offsets.
type OffsetSettings struct {
	MaxMetadataBytes int           // offset.metadata.max.bytes
	Retention        time.Duration // offsets.retention.minutes
	CheckInterval    time.Duration // offsets.retention.check.interval.ms
}

// Coordinator answers the group APIs on one agent. Make it with New, keep Run
// running, and Drain it before the server is drained.
type Coordinator struct {
	store        metadata.Groups
	transactions Transactions
	topics       *catalogView
	settings     Settings
	metrics      *Metrics
	log          *slog.Logger
	// agent tells this agent's notes of who is alive from other agents'.
	agent   uuid.UUID
	clock   clock
	loads   *loader
	commits *committer

	// workers end with Close.
	workers *gather.Workers
	// parkedNow wakes the watcher when somebody begins to wait.
	parkedNow chan struct{}

	mu       sync.Mutex
	groups   map[string]*local
	draining bool
}

// New makes a coordinator over the store. The agent ID is new with every process.
func New(store metadata.Groups, transactions Transactions, topics Topics, settings Settings, agent uuid.UUID, metrics *Metrics, log *slog.Logger) *Coordinator {
	c := &Coordinator{
		store: store, transactions: transactions, topics: &catalogView{catalog: topics}, settings: settings, metrics: metrics, log: log, agent: agent,
		workers: gather.NewWorkers(), parkedNow: make(chan struct{}, 1), groups: map[string]*local{},
	}
	c.loads = newLoader(c)
	c.commits = newCommitter(c)
	metrics.watch(c)
	return c
}

// Run does what nobody asks for: it notes who was heard of, looks for groups
// whose time has come and for changes by other agents, and expires offsets. It returns when ctx ends.
func (c *Coordinator) Run(ctx context.Context) {
	var loops sync.WaitGroup
	loops.Go(func() { c.watch(ctx) })
	loops.Go(func() { c.keepTime(ctx) })
	loops.Go(func() { c.expireOffsets(ctx) })
	loops.Wait()
}

// Drain answers the requests that wait for other members, and all that would
// begin to: their clients go on with another agent. Everything else is answered as before.
func (c *Coordinator) Drain() {
	c.mu.Lock()
	c.draining = true
	groups := make([]*local, 0, len(c.groups))
	for _, l := range c.groups {
		groups = append(groups, l)
	}
	c.mu.Unlock()
	for _, l := range groups {
		for _, k := range l.unpark() {
			k.answer(k.refuse(kerr.NotCoordinator.Code))
		}
	}
}

// Close ends the workers and waits for them. Requests under way are refused.
func (c *Coordinator) Close() { c.workers.Close() }

func (c *Coordinator) isDraining() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.draining
}

// all returns what this agent holds of groups at the moment.
func (c *Coordinator) all() []*local {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]*local, 0, len(c.groups))
	for _, l := range c.groups {
		all = append(all, l)
	}
	return all
}

// env is what requests meet beside the group's state.
func (c *Coordinator) env(ctx context.Context, group string, now time.Time) (machine.Env, error) {
	topics, err := c.topics.now(ctx)
	if err != nil {
		return machine.Env{}, err
	}
	return c.envAt(group, now, topics), nil
}

func (c *Coordinator) envAt(group string, now time.Time, topics *view) machine.Env {
	since, lag := c.clock.hearing(now)
	return machine.Env{Now: now, Since: since, Lag: lag, Limits: c.settings.Limits(group), Topics: topics}
}
