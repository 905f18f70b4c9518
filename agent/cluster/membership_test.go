package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

// faulty is the real register, which fails while the error is set.
type faulty struct {
	metadata.Store
	err   atomic.Pointer[error]
	beats atomic.Int64
}

func (f *faulty) fail(err error) {
	if err == nil {
		f.err.Store(nil)
		return
	}
	f.err.Store(&err)
}

func (f *faulty) RegisterAgent(ctx context.Context, agent metadata.Agent) (metadata.Agent, error) {
	if err := f.err.Load(); err != nil {
		return metadata.Agent{}, *err
	}
	return f.Store.RegisterAgent(ctx, agent)
}

func (f *faulty) BeatAgent(ctx context.Context, agent metadata.Agent) ([]metadata.Agent, error) {
	f.beats.Add(1)
	if err := f.err.Load(); err != nil {
		return nil, *err
	}
	return f.Store.BeatAgent(ctx, agent)
}

// load is what an agent measures, as the test says.
type load struct {
	is     atomic.Pointer[metadata.AgentLoad]
	probes atomic.Int64
}

func (l *load) set(is metadata.AgentLoad) { l.is.Store(&is) }

func (l *load) Load() metadata.AgentLoad {
	if is := l.is.Load(); is != nil {
		return *is
	}
	return metadata.AgentLoad{}
}

func (l *load) Probe(context.Context) { l.probes.Add(1) }

func newTestMember(store metadata.Agents, name string, nodeID int32) *Membership {
	self := metadata.Agent{Name: name, NodeID: nodeID, Listeners: at(name, 9092)}
	m := NewMembership(store, self, &load{}, slog.New(slog.DiscardHandler))
	m.every = time.Millisecond
	return m
}

func register(t *testing.T, members ...*Membership) {
	t.Helper()
	for _, m := range members {
		if err := m.Register(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAgentsSeeEachOther(t *testing.T) {
	store := openStore(t)
	a, b := newTestMember(store, "a", 0), newTestMember(store, "b", 0)
	register(t, a)
	if got := nodeIDs(a.Alive()); !slices.Equal(got, []int32{1}) || a.Self().NodeID != 1 {
		t.Errorf("alone: %v", got)
	}
	register(t, b)
	if err := a.beat(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, m := range []*Membership{a, b} {
		if got := m.Alive(); !slices.Equal(nodeIDs(got), []int32{1, 2}) || got[0].Name != "a" || got[1].Name != "b" {
			t.Errorf("together: %+v", got)
		}
	}
}

func TestSetNodeIDIsKeptOrRefused(t *testing.T) {
	store := openStore(t)
	a, b := newTestMember(store, "a", 7), newTestMember(store, "b", 7)
	register(t, a)
	if a.Self().NodeID != 7 {
		t.Errorf("the node ID is %d, want 7", a.Self().NodeID)
	}
	if err := b.Register(t.Context()); !errors.Is(err, metadata.ErrNodeIDInUse) {
		t.Errorf("a second agent of ID 7: %v, want ErrNodeIDInUse", err)
	}
}

func TestOutageKeepsTheList(t *testing.T) {
	store := &faulty{Store: openStore(t)}
	a, b := newTestMember(store, "a", 0), newTestMember(store, "b", 0)
	register(t, a, b)
	store.fail(metadata.ErrUnavailable)
	if err := b.beat(t.Context()); !errors.Is(err, metadata.ErrUnavailable) {
		t.Errorf("a beat in an outage: %v", err)
	}
	if got := nodeIDs(b.Alive()); !slices.Equal(got, []int32{1, 2}) {
		t.Errorf("in the outage: %v", got)
	}
	if err := newTestMember(store, "c", 0).Register(t.Context()); !errors.Is(err, metadata.ErrUnavailable) {
		t.Errorf("a start in an outage: %v", err)
	}
}

// hesitant is a register that fails the first few registrations: the last of them after it was done.
type hesitant struct {
	metadata.Store
	failures int
}

func (h *hesitant) RegisterAgent(ctx context.Context, agent metadata.Agent) (metadata.Agent, error) {
	if h.failures--; h.failures > 0 {
		return metadata.Agent{}, fmt.Errorf("%w: locked", metadata.ErrUnavailable)
	}
	entered, err := h.Store.RegisterAgent(ctx, agent)
	if h.failures == 0 && err == nil {
		return metadata.Agent{}, metadata.ErrOutcomeUnknown
	}
	return entered, err
}

func TestStartWaitsForAStoreThatDoesNotAnswer(t *testing.T) {
	store := &hesitant{Store: openStore(t), failures: registerTries - 1}
	a := newTestMember(store, "a", 0)
	if err := a.Register(t.Context()); err != nil {
		t.Fatalf("the store answered in the end: %v", err)
	}
	if got := nodeIDs(a.Alive()); !slices.Equal(got, []int32{1}) || store.failures != -1 {
		t.Errorf("alive are %v, after %d registrations too many", got, -1-store.failures)
	}
}

func TestLostNodeIDIsReplaced(t *testing.T) {
	for name, wish := range map[string]int32{"any": 0, "set by the operator": 1} {
		t.Run(name, func(t *testing.T) {
			store := openStore(t)
			a := newTestMember(store, "a", wish)
			register(t, a)
			// While a could not beat it was taken for dead, and b came.
			if err := store.RemoveAgent(t.Context(), 1, a.Self().Incarnation); err != nil {
				t.Fatal(err)
			}
			b := newTestMember(store, "b", 1)
			register(t, b)
			for range 2 {
				if err := a.beat(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if got := a.Alive(); a.Self().NodeID != 2 || !slices.Equal(nodeIDs(got), []int32{1, 2}) || got[1].Name != "a" {
				t.Errorf("a is %d, alive are %+v", a.Self().NodeID, got)
			}
		})
	}
}

// TestOfTwoProcessesOfOneNameTheLaterHasIt: the other goes on as another agent, stays it, and says so.
func TestOfTwoProcessesOfOneNameTheLaterHasIt(t *testing.T) {
	for name, wish := range map[string]int32{"any node ID": 0, "one set by the operator": 1} {
		t.Run(name, func(t *testing.T) {
			store := openStore(t)
			first, second := newTestMember(store, "a", wish), newTestMember(store, "a", wish)
			var logged bytes.Buffer
			first.log = slog.New(slog.NewTextHandler(&logged, nil))
			register(t, first, second)
			for range 3 {
				for _, m := range []*Membership{first, second} {
					if err := m.beat(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
			if got := second.Self(); got.NodeID != 1 || got.Name != "a" {
				t.Errorf("the later one is %d, %s", got.NodeID, got.Name)
			}
			if got := first.Self(); got.NodeID != 2 || !strings.HasPrefix(got.Name, "a~") {
				t.Errorf("the earlier one is %d, %s", got.NodeID, got.Name)
			}
			if got := logged.String(); strings.Count(got, "--name") != 1 {
				t.Errorf("it logged %q, want one hint to --name", got)
			}
			for _, m := range []*Membership{first, second} {
				if got := nodeIDs(m.Alive()); !slices.Equal(got, []int32{1, 2}) {
					t.Errorf("%s knows %v", m.Self().Name, got)
				}
			}
		})
	}
}

// TestOutageOfTheStoreRemovesNobody: the first agent whose beat arrives after it is alone in the register, for the
// others have not been there yet.
func TestOutageOfTheStoreRemovesNobody(t *testing.T) {
	store := openStore(t)
	a, b, c := newTestMember(store, "a", 0), newTestMember(store, "b", 0), newTestMember(store, "c", 0)
	register(t, a, b, c)
	beat := func(m *Membership, want ...int32) {
		t.Helper()
		if err := m.beat(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := nodeIDs(m.Alive()); !slices.Equal(got, want) {
			t.Errorf("%s knows %v, want %v", m.self.Name, got, want)
		}
	}
	outage := func() {
		t.Helper()
		for _, m := range []*Membership{a, b, c} {
			m.heard = m.heard.Add(-silentFor)
			if err := store.RemoveAgent(t.Context(), m.self.NodeID, m.self.Incarnation); err != nil { // as it will seem
				t.Fatal(err)
			}
		}
	}
	beat(a, 1, 2, 3)
	beat(b, 1, 2, 3)
	outage()
	beat(a, 1, 2, 3)
	if len(a.others) > 0 || !a.Replaceable() {
		t.Errorf("the register tells of %v, replaceable: %v", nodeIDs(a.others), a.Replaceable())
	}
	beat(b, 1, 2, 3)
	outage() // again, before c had its turn
	beat(a, 1, 2, 3)
	beat(b, 1, 2, 3)
	for range patience - 3 {
		beat(a, 1, 2, 3)
	}
	beat(a, 1, 2) // so c has died meanwhile
	beat(c, 1, 2, 3)
	beat(a, 1, 2, 3)

	// Who leaves while the store answers is gone at once, also soon after an outage.
	outage()
	for _, m := range []*Membership{a, b, c, a} {
		beat(m, 1, 2, 3)
	}
	if err := store.RemoveAgent(t.Context(), c.self.NodeID, c.self.Incarnation); err != nil {
		t.Fatal(err)
	}
	beat(a, 1, 2)
}

// TestNameThatIsBackIsMissedNoMore: the agent was started anew in the outage, with a set node ID.
func TestNameThatIsBackIsMissedNoMore(t *testing.T) {
	store := openStore(t)
	a, b := newTestMember(store, "a", 0), newTestMember(store, "b", 0)
	register(t, b, a)
	a.heard = a.heard.Add(-silentFor)
	again := newTestMember(store, "b", 7)
	register(t, again)
	if err := a.beat(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := nodeIDs(a.Alive()); !slices.Equal(got, []int32{2, 7}) {
		t.Errorf("alive are %v", got)
	}
}

func TestForgottenAgentEntersAgain(t *testing.T) {
	store := openStore(t)
	a := newTestMember(store, "a", 0)
	register(t, a)
	if err := store.RemoveAgent(t.Context(), 1, a.Self().Incarnation); err != nil {
		t.Fatal(err)
	}
	if err := a.beat(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := newTestMember(store, "b", 0)
	register(t, b)
	if got := nodeIDs(b.Alive()); !slices.Equal(got, []int32{1, 2}) {
		t.Errorf("alive are %v", got)
	}
}

func TestRestartedAgentKeepsItsID(t *testing.T) {
	store := openStore(t)
	register(t, newTestMember(store, "a", 0), newTestMember(store, "b", 0))
	again := newTestMember(store, "a", 0)
	register(t, again)
	if got := nodeIDs(again.Alive()); again.Self().NodeID != 1 || !slices.Equal(got, []int32{1, 2}) {
		t.Errorf("it is %d, alive are %v", again.Self().NodeID, got)
	}
}

func TestAgentsBehindOneAddressAllStay(t *testing.T) {
	store := openStore(t)
	members := []*Membership{newTestMember(store, "a", 0), newTestMember(store, "b", 0), newTestMember(store, "c", 0)}
	members[0].self.Listeners, members[1].self.Listeners = at("lb", 9092), at("lb", 9092)
	register(t, members...)
	for range 3 {
		for _, m := range members {
			if err := m.beat(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, m := range members {
		if got := nodeIDs(m.Alive()); !slices.Equal(got, []int32{1, 2, 3}) {
			t.Errorf("alive are %v", got)
		}
		if got := brokerIDs(listed(m.Alive())); !slices.Equal(got, []int32{1, 3}) {
			t.Errorf("brokers are %v", got)
		}
	}
}

func TestRunBeatsThroughAnOutageAndLeaves(t *testing.T) {
	store := &faulty{Store: openStore(t)}
	a, b := newTestMember(store, "a", 0), newTestMember(store.Store, "b", 0)
	register(t, a, b)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); a.Run(ctx) }()
	wait := func(what string, done func() bool) {
		t.Helper()
		for !done() {
			select {
			case <-ended:
				t.Fatalf("Run ended while waiting for %s", what)
			case <-time.After(time.Millisecond):
			}
		}
	}
	wait("the other agent", func() bool { return len(a.Alive()) == 2 })
	store.fail(fmt.Errorf("%w: pulled out", metadata.ErrUnavailable))
	beats := store.beats.Load()
	wait("beats in the outage", func() bool { return store.beats.Load() > beats+3 })
	if len(a.Alive()) != 2 {
		t.Errorf("in the outage: %v", nodeIDs(a.Alive()))
	}
	store.fail(nil)
	beats = store.beats.Load()
	wait("beats after the outage", func() bool { return store.beats.Load() > beats+3 })

	cancel()
	<-ended
	if err := b.beat(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := nodeIDs(b.Alive()); !slices.Equal(got, []int32{2}) {
		t.Errorf("after a left: %v", got)
	}
	// Clients still connected to a are told to go to b.
	if got := nodeIDs(a.Alive()); !slices.Equal(got, []int32{2}) || a.Self().NodeID != 1 {
		t.Errorf("a, which left, lists %v", got)
	}
}

func TestLastAgentThatLeavesListsItself(t *testing.T) {
	store := openStore(t)
	a := newTestMember(store, "a", 0)
	register(t, a)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a.Run(ctx)
	if got := nodeIDs(a.Alive()); !slices.Equal(got, []int32{1}) {
		t.Errorf("lists %v, want itself", got)
	}
}

// TestDrainIsToldAtOnce: who is asked a moment later knows it, long before the next beat is due.
func TestDrainIsToldAtOnce(t *testing.T) {
	store := openStore(t)
	a, b := newTestMember(store, "a", 0), newTestMember(store, "b", 0)
	a.every = time.Hour
	register(t, a, b)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); a.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	if a.Replaceable() {
		t.Error("a was alone at its last beat, and says that there are others")
	}
	a.Drain(t.Context())
	if a.Self().State != metadata.Draining || !a.Replaceable() {
		t.Errorf("a is %s, replaceable: %v", a.Self().State, a.Replaceable())
	}
	if err := b.beat(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.Alive(); len(got) != 2 || got[0].State != metadata.Draining || got[1].State != metadata.Serving {
		t.Errorf("b sees %+v", got)
	}
	if b.Replaceable() {
		t.Error("b could be replaced by an agent that is draining")
	}
}

func TestDrainDoesNotOutliveItsTime(t *testing.T) {
	a := newTestMember(openStore(t), "a", 0) // and nothing runs
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	a.Drain(ctx)
	if a.Self().State != metadata.Draining {
		t.Errorf("a is %s", a.Self().State)
	}
}
