// Package dynamic keeps in memory what is set over the wire on brokers, groups,
// client metrics subscriptions, features and the agents' logs, so that whoever acts by
// it looks it up at each use, for the price of a map.
//
// What it guarantees:
//
//   - What this agent changes through [Settings.Alter] shows before the call
//     returns; what other agents change shows a moment after [Settings.Apply]
//     got their commits.
//   - Of two answers of the store the later holds, in whichever order they arrive:
//     each tells the commit that it reflects.
//   - While the store is away, what was known stays in force. A config that is stored
//     and doesn't fit this agent (its own settings contradict it, a newer version stored it) is left out, loudly.
//
// Why the feed tells of changes, and not a poll: every agent follows it anyway, so a
// change costs one query per agent and nothing when there is none, and nobody has to choose
// between late and expensive.
//
// It refuses to know which configs there are, who may set them, and what they do.
package dynamic

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
	"github.com/wadi-log/wadi/protocol/configs"
)

const (
	// queryTimeout bounds one query.
	queryTimeout = 10 * time.Second
	// selfEvery is how often the agent's own broker ID is looked at, which changes
	// when it lost its registration to another.
	selfEvery = 5 * time.Second
)

// Settings holds what is set. Its methods are safe for concurrent use. Maps that it
// returns are shared: don't change them.
type Settings struct {
	store  metadata.Configs
	static configs.Broker
	self   func() int32
	level  *slog.LevelVar
	usual  slog.Level // the level where none is set
	log    *slog.Logger

	// broker is replaced as a whole, so a new pointer tells of new values.
	broker atomic.Pointer[configs.Broker]
	// subscriptions and features likewise.
	subscriptions atomic.Pointer[[]configs.ClientMetrics]
	features      atomic.Pointer[protocol.FinalizedFeatures]
	wake          chan struct{}

	mu   sync.RWMutex
	set  map[metadata.ConfigKind]map[string]entry
	node int32 // whose broker configs are in force
	// unfit is why not all stored broker configs are in force, nil if they are.
	unfit error
	// dirty is what has changed in the store and was not read yet.
	dirty struct {
		all       bool
		resources map[metadata.ConfigResource]struct{}
	}
}

// entry is what is set on one resource as of a commit. An empty map is left
// behind by an own deletion until the follower has seen it too.
type entry struct {
	set map[string]string
	seq int64
}

// New makes settings in which nothing is set; [Settings.Load] reads what is. The static
// broker is this agent's own configuration, self tells its broker ID. level is set as the
// configs of this agent's root logger say; where they say nothing, to what it is now.
func New(store metadata.Configs, static configs.Broker, self func() int32, level *slog.LevelVar, log *slog.Logger) *Settings {
	s := &Settings{
		store: store, static: static, self: self, level: level, usual: level.Level(), log: log,
		wake: make(chan struct{}, 1), set: map[metadata.ConfigKind]map[string]entry{}, node: self(),
	}
	s.dirty.resources = map[metadata.ConfigResource]struct{}{}
	s.broker.Store(&static)
	s.subscriptions.Store(&[]configs.ClientMetrics{})
	s.features.Store(&protocol.FinalizedFeatures{})
	return s
}

// Load reads everything.
func (s *Settings) Load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	set, seq, err := s.store.ListConfigs(ctx)
	if err != nil {
		return fmt.Errorf("read dynamic configs: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for kind, names := range s.set {
		for name := range names {
			if r := (metadata.ConfigResource{Kind: kind, Name: name}); set[r] == nil {
				s.put(r, entry{nil, seq}, false)
			}
		}
	}
	for r, configs := range set {
		s.put(r, entry{configs, seq}, false)
	}
	s.derive()
	return nil
}

// Broker is what this agent works by: its own settings with those over the wire in
// front. The value never changes; a new one is at another address.
func (s *Settings) Broker() *configs.Broker { return s.broker.Load() }

// BrokerError is why not all that is set over the wire on brokers is in force here, nil if it is. What can't be
// undone should not be done by [Settings.Broker] then.
func (s *Settings) BrokerError() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.unfit
}

// BrokerOf is what the agents of another broker ID work by, if its own settings are like this one's.
func (s *Settings) BrokerOf(id int32) configs.Broker {
	s.mu.RLock()
	defer s.mu.RUnlock()
	broker, _ := s.brokerOf(id) // derive logs the error, on the agents that it concerns
	return broker
}

// Of returns what is set on a resource, nil for nothing.
func (s *Settings) Of(r metadata.ConfigResource) map[string]string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.set[r.Kind][r.Name].set
}

// GroupConfig returns what is set on a consumer group, nil for nothing. See [configs.ParseGroup].
func (s *Settings) GroupConfig(groupID string) map[string]string {
	return s.Of(metadata.ConfigResource{Kind: metadata.GroupConfig, Name: groupID})
}

// Names returns the resources of a kind on which something is set, sorted.
func (s *Settings) Names(kind metadata.ConfigKind) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var names []string
	for name, e := range s.set[kind] {
		if len(e.set) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Alter changes what is set on a resource. Errors: the edit's, the store's.
func (s *Settings) Alter(ctx context.Context, r metadata.ConfigResource, edit metadata.ConfigEdit) error {
	set, seq, err := s.store.AlterConfigs(ctx, r, edit)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(r, entry{set, seq}, true)
	if acts(r) {
		s.derive()
	}
	return nil
}

// Apply brings commits of the feed: resources that they changed are read anew, by
// [Settings.Run].
func (s *Settings) Apply(_ context.Context, commits []metadata.Commit) {
	var changed []metadata.ConfigResource
	for _, c := range commits {
		changed = append(changed, c.Configs...)
	}
	if len(changed) > 0 {
		s.soil(false, changed)
	}
}

// Reset has everything read anew, as after a gap in the feed.
func (s *Settings) Reset(context.Context) { s.soil(true, nil) }

// soil notes what is to be read, and wakes Run.
func (s *Settings) soil(all bool, resources []metadata.ConfigResource) {
	s.mu.Lock()
	s.dirty.all = s.dirty.all || all
	for _, r := range resources {
		s.dirty.resources[r] = struct{}{}
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run reads what changed, until ctx ends. What can't be read now is read as soon
// as the store answers.
func (s *Settings) Run(ctx context.Context) {
	retry := backoff.NewExponentialBackOff()
	retry.InitialInterval, retry.MaxInterval = 100*time.Millisecond, 5*time.Second
	self := time.NewTicker(selfEvery)
	defer self.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-self.C:
			s.mu.Lock()
			if s.node != s.self() {
				s.derive()
			}
			s.mu.Unlock()
			continue
		case <-s.wake:
		}
		if err := s.clean(ctx); err != nil {
			if ctx.Err() == nil {
				s.log.Warn("can't read changed configs from the metadata store; will try again", "error", err)
			}
			pause(ctx, retry.NextBackOff())
			continue
		}
		retry.Reset()
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// clean reads what is dirty; what fails is so again.
func (s *Settings) clean(ctx context.Context) (err error) {
	s.mu.Lock()
	all, resources := s.dirty.all, slices.Collect(maps.Keys(s.dirty.resources))
	s.dirty.all = false
	clear(s.dirty.resources)
	s.mu.Unlock()
	switch {
	case all: // the few among them
		err = s.Load(ctx)
	case len(resources) > 0:
		err = s.refresh(ctx, resources)
	}
	if err != nil {
		s.soil(all, resources)
	}
	return err
}

// refresh reads some resources.
func (s *Settings) refresh(ctx context.Context, resources []metadata.ConfigResource) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	set, seq, err := s.store.ConfigsOf(ctx, resources)
	if err != nil {
		return fmt.Errorf("read %d dynamic configs: %w", len(resources), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range resources {
		s.put(r, entry{set[r], seq}, false)
	}
	if slices.ContainsFunc(resources, acts) {
		s.derive()
	}
	return nil
}

// put enters what is set on a resource, unless what is known is later. An own
// deletion leaves an empty entry: the follower's query may have begun before it,
// and would bring back what is gone.
func (s *Settings) put(r metadata.ConfigResource, e entry, own bool) {
	names := s.set[r.Kind]
	if names == nil {
		names = map[string]entry{}
		s.set[r.Kind] = names
	}
	if names[r.Name].seq > e.seq {
		return
	}
	if len(e.set) == 0 && !own {
		delete(names, r.Name)
		return
	}
	names[r.Name] = e
}

// acts tells whether the resource is one whose configs derive puts into force; those of
// groups are looked up.
func acts(r metadata.ConfigResource) bool {
	return r.Kind != metadata.GroupConfig
}

// derive puts what is set into force.
func (s *Settings) derive() {
	s.node = s.self()
	name := strconv.Itoa(int(s.node))
	now, err := s.brokerOf(s.node)
	if err != nil && (s.unfit == nil || s.unfit.Error() != err.Error()) {
		s.log.Error("stored broker configs are invalid here and left out; this agent removes no records meanwhile", "error", err)
	}
	s.unfit = err
	if !now.Equal(*s.broker.Load()) {
		s.broker.Store(&now)
	}
	s.deriveSubscriptions()
	features, err := protocol.ParseFinalizedFeatures(s.set[metadata.FeatureConfig][""].set)
	if err != nil {
		s.log.Error("the stored levels of features are invalid; the usual ones hold", "error", err)
	}
	s.features.Store(&features)
	level := s.usual
	if root := s.set[metadata.BrokerLoggerConfig][name].set[RootLogger]; root != "" {
		if err := level.UnmarshalText([]byte(root)); err != nil {
			s.log.Error("the stored log level is none; the usual one holds", "level", root, "error", err)
			level = s.usual
		}
	}
	s.level.Set(level)
}

func (s *Settings) deriveSubscriptions() {
	subscriptions := []configs.ClientMetrics{}
	for name, e := range s.set[metadata.ClientMetricsConfig] {
		if len(e.set) == 0 {
			continue
		}
		parsed, err := configs.ParseClientMetrics(e.set)
		if err != nil {
			s.log.Error("a stored client metrics subscription is invalid; it is left out", "subscription", name, "error", err)
			continue
		}
		subscriptions = append(subscriptions, parsed)
	}
	s.subscriptions.Store(&subscriptions)
}

// ClientMetrics returns the client metrics subscriptions, in no set order. Don't change it.
func (s *Settings) ClientMetrics() []configs.ClientMetrics { return *s.subscriptions.Load() }

// Features returns the features' levels in force.
func (s *Settings) Features() protocol.FinalizedFeatures { return *s.features.Load() }

// RootLogger is the name of the one logger that an agent has. Its level is
// one of slog's: DEBUG, INFO, WARN, ERROR.
const RootLogger = "root"

// UsualLevel is the level of this agent's log where none is set over the wire.
func (s *Settings) UsualLevel() string { return s.usual.String() }

// brokerOf returns the broker with what is set, and an error that names what is left out, since it doesn't fit.
// Single configs are, as Kafka's brokers leave out single values that they can't read. (Where values contradict each
// other Kafka leaves out all of the resource; here one of them.)
func (s *Settings) brokerOf(nodeID int32) (configs.Broker, error) {
	set := s.set[metadata.BrokerConfig]
	defaults, own := set[""].set, set[strconv.Itoa(int(nodeID))].set
	broker, err := s.static.With(defaults, own)
	if err == nil {
		return broker, nil
	}
	return s.fitting(defaults, own)
}

// fitting takes one config after the other as long as they fit together, those of all brokers first.
func (s *Settings) fitting(defaults, own map[string]string) (configs.Broker, error) {
	broker := s.static
	layers := []struct {
		of         string
		left, kept map[string]string
	}{{"all brokers", maps.Clone(defaults), map[string]string{}}, {"this broker", maps.Clone(own), map[string]string{}}}
	var unfit []error
	// What fits only with another is taken in a later turn.
	for more := true; more; {
		more, unfit = false, nil
		for _, layer := range layers {
			for _, name := range slices.Sorted(maps.Keys(layer.left)) {
				layer.kept[name] = layer.left[name]
				with, err := s.static.With(layers[0].kept, layers[1].kept)
				if err != nil {
					delete(layer.kept, name)
					unfit = append(unfit, fmt.Errorf("%s, set on %s: %w", name, layer.of, err))
					continue
				}
				broker, more = with, true
				delete(layer.left, name)
			}
		}
	}
	return broker, errors.Join(unfit...)
}
