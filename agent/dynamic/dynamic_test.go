package dynamic

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sqlite"
	"github.com/wadi-log/wadi/protocol"
	"github.com/wadi-log/wadi/protocol/configs"
	"github.com/wadi-log/wadi/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

var (
	allBrokers = metadata.ConfigResource{Kind: metadata.BrokerConfig}
	broker1    = metadata.ConfigResource{Kind: metadata.BrokerConfig, Name: "1"}
	logger1    = metadata.ConfigResource{Kind: metadata.BrokerLoggerConfig, Name: "1"}
	group      = metadata.ConfigResource{Kind: metadata.GroupConfig, Name: "g"}
)

// shaky is a real store that doesn't answer while it is down.
type shaky struct {
	metadata.Store
	down  atomic.Bool
	tries atomic.Int64
}

func (s *shaky) ConfigsOf(ctx context.Context, resources []metadata.ConfigResource) (map[metadata.ConfigResource]map[string]string, int64, error) {
	s.tries.Add(1)
	if s.down.Load() {
		return nil, 0, metadata.ErrUnavailable
	}
	return s.Store.ConfigsOf(ctx, resources)
}

func openStore(t *testing.T) *shaky {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "metadata.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return &shaky{Store: store}
}

// agent is one agent's settings; follow brings them the feed.
type agent struct {
	*Settings
	node  atomic.Int32
	level slog.LevelVar
	log   bytes.Buffer
	seq   int64
}

func newAgent(t *testing.T, store metadata.Store, node int32, static map[string]string) *agent {
	t.Helper()
	broker, err := configs.ParseBroker(static)
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{}
	a.node.Store(node)
	a.Settings = New(store, broker, a.node.Load, &a.level, slog.New(slog.NewTextHandler(&a.log, nil)))
	if err := a.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *agent) run(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { a.Run(ctx) })
	t.Cleanup(running.Wait)
	t.Cleanup(cancel)
}

func (a *agent) follow(t *testing.T) {
	t.Helper()
	commits, err := a.store.(metadata.Store).Commits(t.Context(), a.seq, 1000)
	if err != nil {
		t.Fatal(err)
	}
	a.Apply(t.Context(), commits)
	if n := len(commits); n > 0 {
		a.seq = commits[n-1].Seq
	}
}

func (a *agent) alter(t *testing.T, r metadata.ConfigResource, set map[string]string) {
	t.Helper()
	if err := a.Alter(t.Context(), r, func(map[string]string) (map[string]string, error) { return maps.Clone(set), nil }); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for what other goroutines do. The test's own deadline ends
// a wait for what never comes.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for !done() {
		select {
		case <-t.Context().Done():
			t.Fatalf("the test ended before %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

func TestOwnChangesShowAtOnce(t *testing.T) {
	a := newAgent(t, openStore(t), 1, map[string]string{"message.max.bytes": "1000"})
	before := a.Broker()
	a.alter(t, group, map[string]string{"consumer.session.timeout.ms": "50000"})
	if got := a.GroupConfig("g")["consumer.session.timeout.ms"]; got != "50000" {
		t.Errorf("the group has %q", got)
	}
	if a.Broker() != before {
		t.Error("a group's config made a new broker")
	}
	a.alter(t, allBrokers, map[string]string{"message.max.bytes": "2000", "log.retention.ms": "7"})
	if got := a.Broker().MessageMaxBytes; got != 2000 || a.Broker() == before {
		t.Errorf("message.max.bytes is %d", got)
	}
	a.alter(t, broker1, map[string]string{"message.max.bytes": "3000"})
	if one, two := a.Broker().MessageMaxBytes, a.BrokerOf(2).MessageMaxBytes; one != 3000 || two != 2000 {
		t.Errorf("message.max.bytes is %d on broker 1 and %d on broker 2", one, two)
	}
	if got := a.Names(metadata.BrokerConfig); !slices.Equal(got, []string{"", "1"}) {
		t.Errorf("configs are set on the brokers %q", got)
	}
	for _, r := range []metadata.ConfigResource{broker1, allBrokers, group} {
		a.alter(t, r, nil)
		if got := a.Of(r); len(got) != 0 {
			t.Errorf("%+v has %v after its deletion", r, got)
		}
	}
	if got := a.Broker().MessageMaxBytes; got != 1000 || len(a.Names(metadata.BrokerConfig)) != 0 {
		t.Errorf("message.max.bytes is %d, set on %q", got, a.Names(metadata.BrokerConfig))
	}
}

func TestChangesOfOthersCome(t *testing.T) {
	store := openStore(t)
	a, b := newAgent(t, store, 1, nil), newAgent(t, store, 2, nil)
	b.run(t)
	a.alter(t, allBrokers, map[string]string{"message.max.bytes": "2000"})
	a.alter(t, broker1, map[string]string{"message.max.bytes": "3000"})
	a.alter(t, group, map[string]string{"consumer.session.timeout.ms": "50000"})
	b.follow(t)
	eventually(t, "the changes came", func() bool { return b.GroupConfig("g") != nil && b.Broker().MessageMaxBytes == 2000 })
	a.alter(t, group, nil)
	a.alter(t, allBrokers, nil)
	b.follow(t)
	eventually(t, "the deletions came", func() bool { return b.GroupConfig("g") == nil && b.Broker().MessageMaxBytes == 1048588 })

	// Through a gap in the feed too.
	a.alter(t, group, map[string]string{"consumer.session.timeout.ms": "60000"})
	a.alter(t, broker1, nil)
	b.Reset(t.Context())
	eventually(t, "everything was read", func() bool { return b.GroupConfig("g") != nil && b.BrokerOf(1).MessageMaxBytes == 1048588 })

	if c := newAgent(t, store, 3, nil); c.GroupConfig("g")["consumer.session.timeout.ms"] != "60000" {
		t.Error("an agent that starts does not know what is set")
	}
}

func TestChangesAreReadAfterAnOutage(t *testing.T) {
	store := openStore(t)
	a, b := newAgent(t, store, 1, nil), newAgent(t, store, 2, nil)
	b.run(t)
	a.alter(t, group, map[string]string{"consumer.session.timeout.ms": "50000"})
	store.down.Store(true)
	b.follow(t)
	eventually(t, "the store was asked twice", func() bool { return store.tries.Load() >= 2 })
	if b.GroupConfig("g") != nil {
		t.Error("the change came from a store that is down")
	}
	store.down.Store(false)
	eventually(t, "the change came", func() bool { return b.GroupConfig("g") != nil })
}

func TestTheLaterAnswerHolds(t *testing.T) {
	a := newAgent(t, openStore(t), 1, nil)
	old, late := map[string]string{"k": "old"}, map[string]string{"k": "late"}
	put := func(set map[string]string, seq int64, own bool) string {
		a.mu.Lock()
		a.put(group, entry{set, seq}, own)
		a.mu.Unlock()
		return a.GroupConfig("g")["k"]
	}
	for i, step := range []struct {
		set  map[string]string
		seq  int64
		own  bool
		want string
	}{
		{old, 5, false, "old"},
		{late, 7, true, "late"},
		{old, 6, false, "late"}, // a query that began before the change
		{late, 7, false, "late"},
		{nil, 9, true, ""},
		{late, 8, false, ""}, // a query that began before the deletion
		{nil, 9, false, ""},
		{old, 10, true, "old"},
	} {
		if got := put(step.set, step.seq, step.own); got != step.want {
			t.Errorf("step %d: %q, want %q", i, got, step.want)
		}
	}
	put(nil, 11, true)
	put(nil, 11, false)
	if left := len(a.set[metadata.GroupConfig]); left != 0 {
		t.Errorf("%d entries stay of groups on which nothing is set", left)
	}
}

func TestRefusedEditChangesNothing(t *testing.T) {
	a := newAgent(t, openStore(t), 1, nil)
	a.alter(t, group, map[string]string{"k": "1"})
	refusal := errors.New("no")
	err := a.Alter(t.Context(), group, func(now map[string]string) (map[string]string, error) {
		now["k"] = "2"
		return now, refusal
	})
	if !errors.Is(err, refusal) || a.GroupConfig("g")["k"] != "1" {
		t.Errorf("error %v, the group has %v", err, a.GroupConfig("g"))
	}
}

// TestWhatDoesNotFitIsLeftOut: what was valid on the agent that took it may
// contradict another's own settings.
func TestWhatDoesNotFitIsLeftOut(t *testing.T) {
	store := openStore(t)
	a := newAgent(t, store, 1, nil)
	a.alter(t, allBrokers, map[string]string{"log.cleaner.min.compaction.lag.ms": "10", "message.max.bytes": "5000"})
	b := newAgent(t, store, 2, map[string]string{"log.cleaner.max.compaction.lag.ms": "5"})
	if got := b.Broker().MessageMaxBytes; got != 5000 {
		t.Errorf("message.max.bytes is %d", got)
	}
	if err := b.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text := b.log.String(); !strings.Contains(text, "conflict topic config setting") || strings.Count(text, "level=ERROR") != 1 {
		t.Errorf("the log says %q", text)
	}
	if a.BrokerError() != nil || b.BrokerError() == nil {
		t.Errorf("the configs are out of force here for %v, there for %v", a.BrokerError(), b.BrokerError())
	}
	a.alter(t, allBrokers, map[string]string{"message.max.bytes": "5000"})
	if err := b.Load(t.Context()); err != nil || b.Broker().MessageMaxBytes != 5000 || b.BrokerError() != nil {
		t.Errorf("message.max.bytes is %d, %v, %v", b.Broker().MessageMaxBytes, err, b.BrokerError())
	}
}

// TestOnlyWhatDoesNotFitIsLeftOut of what is stored, whatever else is.
func TestOnlyWhatDoesNotFitIsLeftOut(t *testing.T) {
	type set = map[string]string
	const minLag, maxLag, paused, retention = "log.cleaner.min.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms", "wadi.jobs.paused", "log.retention.ms"
	for name, c := range map[string]struct {
		static, all, one, wantAll, wantOne set
		blamed                             []string
	}{
		"all fits":                  {set{}, set{paused: "merge", retention: "-1"}, set{minLag: "1"}, set{paused: "merge", retention: "-1"}, set{minLag: "1"}, nil},
		"of a newer version":        {set{}, set{paused: "merge", "log.of.tomorrow": "1", retention: "-1"}, set{}, set{paused: "merge", retention: "-1"}, set{}, []string{"log.of.tomorrow"}},
		"a value of a newer one":    {set{}, set{paused: "merge"}, set{paused: "dreams"}, set{paused: "merge"}, set{}, []string{paused + ", set on this broker"}},
		"against the agent's own":   {set{maxLag: "5"}, set{minLag: "10", paused: "all"}, set{retention: "7"}, set{paused: "all"}, set{retention: "7"}, []string{minLag}},
		"two that need each other":  {set{maxLag: "5"}, set{minLag: "10"}, set{maxLag: "20", "x": "1"}, set{minLag: "10"}, set{maxLag: "20"}, []string{"x"}},
		"two that don't fit, twice": {set{maxLag: "5"}, set{minLag: "10", "x": "1"}, set{"x": "1", retention: "7"}, set{}, set{retention: "7"}, []string{minLag, "x, set on all brokers", "x, set on this broker"}},
	} {
		t.Run(name, func(t *testing.T) {
			store := openStore(t)
			for r, s := range map[metadata.ConfigResource]set{allBrokers: c.all, broker1: c.one} {
				if _, _, err := store.AlterConfigs(t.Context(), r, func(map[string]string) (map[string]string, error) { return s, nil }); err != nil {
					t.Fatal(err)
				}
			}
			a := newAgent(t, store, 1, c.static)
			static, err := configs.ParseBroker(c.static)
			if err != nil {
				t.Fatal(err)
			}
			want, err := static.With(c.wantAll, c.wantOne)
			if err != nil {
				t.Fatal(err)
			}
			if !a.Broker().Equal(want) || !reflect.DeepEqual(a.BrokerOf(1), want) {
				t.Errorf("works by %+v, want %+v", a.Broker(), want)
			}
			err = a.BrokerError()
			if (err == nil) != (c.blamed == nil) || (err == nil) != (a.log.Len() == 0) {
				t.Fatalf("blames %v, and the log says %q", err, a.log.String())
			}
			if err != nil && strings.Count(err.Error(), ", set on ") != len(c.blamed) {
				t.Errorf("blames more than %q: %v", c.blamed, err)
			}
			for _, what := range c.blamed {
				if !strings.Contains(err.Error(), what) || !strings.Contains(a.log.String(), what) {
					t.Errorf("%v doesn't blame %q, or the log does not: %q", err, what, a.log.String())
				}
			}
		})
	}
}

func TestLogLevelFollowsTheRootLogger(t *testing.T) {
	a := newAgent(t, openStore(t), 1, nil)
	for _, step := range []struct {
		set  map[string]string
		want slog.Level
	}{
		{nil, slog.LevelInfo},
		{map[string]string{"root": "DEBUG"}, slog.LevelDebug},
		{map[string]string{"root": "ERROR"}, slog.LevelError},
		{map[string]string{"root": "LOUD"}, slog.LevelInfo},
		{nil, slog.LevelInfo},
	} {
		a.alter(t, logger1, step.set)
		if a.level.Level() != step.want || a.UsualLevel() != "INFO" {
			t.Errorf("with %v the level is %v, usually %s", step.set, a.level.Level(), a.UsualLevel())
		}
	}
	a.alter(t, metadata.ConfigResource{Kind: metadata.BrokerLoggerConfig, Name: "2"}, map[string]string{"root": "DEBUG"})
	if a.level.Level() != slog.LevelInfo {
		t.Error("another agent's level holds here")
	}
}

func TestConfigsFollowTheNodeID(t *testing.T) {
	a := newAgent(t, openStore(t), 2, nil)
	a.alter(t, broker1, map[string]string{"message.max.bytes": "3000"})
	if got := a.Broker().MessageMaxBytes; got != 1048588 {
		t.Fatalf("message.max.bytes is %d", got)
	}
	a.node.Store(1)
	if err := a.Load(t.Context()); err != nil || a.Broker().MessageMaxBytes != 3000 {
		t.Errorf("message.max.bytes is %d, %v", a.Broker().MessageMaxBytes, err)
	}
}

func TestSubscriptionsFollow(t *testing.T) {
	store := openStore(t)
	a, b := newAgent(t, store, 1, nil), newAgent(t, store, 2, nil)
	b.run(t)
	one := metadata.ConfigResource{Kind: metadata.ClientMetricsConfig, Name: "one"}
	broken := metadata.ConfigResource{Kind: metadata.ClientMetricsConfig, Name: "broken"}
	a.alter(t, one, map[string]string{"metrics": "a.,b.", "interval.ms": "500"})
	a.alter(t, broken, map[string]string{"match": "client_id=["})
	b.follow(t)
	eventually(t, "the subscription came", func() bool { return len(b.ClientMetrics()) == 1 })
	if got := b.ClientMetrics()[0]; got.IntervalMs != 500 || len(a.ClientMetrics()) != 1 || !strings.Contains(a.log.String(), "broken") {
		t.Errorf("got %+v; here %+v, log %s", got, a.ClientMetrics(), a.log.String())
	}
	a.alter(t, one, nil)
	b.follow(t)
	eventually(t, "the subscription went", func() bool { return len(b.ClientMetrics()) == 0 })
}

func TestFeaturesFollow(t *testing.T) {
	store := openStore(t)
	a, b := newAgent(t, store, 1, nil), newAgent(t, store, 2, nil)
	b.run(t)
	r := metadata.ConfigResource{Kind: metadata.FeatureConfig}
	feature := protocol.Feature{Name: "f.version", Min: 0, Max: 2}
	a.alter(t, r, protocol.FinalizedFeatures{}.With(map[string]int16{"f.version": 1}).Stored())
	b.follow(t)
	eventually(t, "the level came", func() bool { return b.Features().Epoch == 1 })
	restarted := newAgent(t, store, 3, nil)
	for name, f := range map[string]protocol.FinalizedFeatures{"who changed it": a.Features(), "another": b.Features(), "one that started later": restarted.Features()} {
		if f.Level(feature) != 1 || f.Epoch != 1 {
			t.Errorf("%s has level %d in epoch %d", name, f.Level(feature), f.Epoch)
		}
	}
	a.alter(t, r, map[string]string{"f.version": "broken"})
	if f := a.Features(); f.Level(feature) != 2 || !strings.Contains(a.log.String(), "f.version") {
		t.Errorf("broken levels are taken for %+v; log %s", f, a.log.String())
	}
}
