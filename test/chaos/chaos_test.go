package chaos_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/test/chaos"
	"github.com/wadi-log/wadi/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

const (
	partitions = 4
	// perSecond is how many records each producer writes.
	perSecond = 100
	// patience is how long it may take, once all agents are well, until everything is acknowledged, copied and read.
	patience = 3 * time.Minute
)

// TestClientsWhileAgentsDie lets clients work while agents are killed, frozen and added, for WADI_CHAOS_FOR (12s). Without
// WADI_CHAOS, the folder of the clients that `make compat` installs, these are franz-go and kcat alone.
// WADI_CHAOS_SEED repeats what happens to agents.
func TestClientsWhileAgentsDie(t *testing.T) {
	length, err := time.ParseDuration(cmp.Or(os.Getenv("WADI_CHAOS_FOR"), "12s"))
	if err != nil {
		t.Fatalf("WADI_CHAOS_FOR: %v", err)
	}
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv("WADI_CHAOS_SEED"), strconv.FormatUint(rand.Uint64(), 10)), 10, 64)
	if err != nil {
		t.Fatalf("WADI_CHAOS_SEED: %v", err)
	}
	t.Logf("WADI_CHAOS_SEED=%d repeats what happens to agents", seed)
	long := length >= time.Minute
	agents, freeze, pause := 3, 3*time.Second, 1500*time.Millisecond
	if long {
		agents, freeze, pause = 5, 15*time.Second, 3*time.Second
	}
	fleet, bootstrap := startFleet(t, rand.New(rand.NewPCG(seed, 0)), agents, 1, freeze)
	load := startLoad(t, bootstrap, os.Getenv("WADI_CHAOS"))
	fleet.suffer(length, pause, load.check)
	t.Log(fleet)
	load.judge()
	if fleet.killed == 0 || long && (fleet.frozen == 0 || fleet.added == 0) {
		t.Errorf("too little happened to agents: %v", fleet)
	}
}

// load is the clients of some worlds at work, and what is known of them.
type load struct {
	t         *testing.T
	bootstrap string
	worlds    []chaos.World
	clients   []clients
	observer  *chaos.Observer
	journal   *chaos.Journal
}

// startLoad lets clients loose: franz-go and kcat, and others if there is a folder of them.
func startLoad(t *testing.T, bootstrap, folder string) *load {
	t.Helper()
	l := &load{t: t, bootstrap: bootstrap, journal: &chaos.Journal{}, worlds: []chaos.World{{Name: "franz-go", Transforms: true}, {Name: "kcat"}}}
	if folder != "" {
		l.worlds = append(l.worlds, chaos.World{Name: "librdkafka", Transforms: true}, chaos.World{Name: "java", Transforms: true})
	}
	createTopics(t, bootstrap, l.worlds)
	l.observer = observe(t, bootstrap, l.worlds)
	for _, world := range l.worlds {
		switch world.Name {
		case "franz-go":
			g := chaos.StartGoClients(t.Context(), bootstrap, world, partitions, perSecond, l.journal)
			t.Cleanup(g.Close)
			l.clients = append(l.clients, inGo{g})
		case "kcat":
			l.clients = append(l.clients, startKcats(t, bootstrap, world, l.journal))
		case "librdkafka":
			l.clients = append(l.clients, startPython(t, folder, bootstrap, world, l.journal))
		case "java":
			l.clients = append(l.clients, startJava(t, folder, bootstrap, world, l.journal))
		}
	}
	return l
}

// check fails the test when clients have ended by themselves, and adds what they did to the journal.
func (l *load) check() {
	for _, c := range l.clients {
		c.check()
	}
}

// judge ends all clients once everything is acknowledged, copied and read, and fails the test unless all of it is right.
func (l *load) judge() {
	l.t.Helper()
	for _, c := range l.clients {
		c.stop()
	}
	history := finish(l.t, l.observer, l.worlds, l.journal, l.check)
	for _, c := range l.clients {
		c.end()
	}
	var err error
	if history.Watched, err = l.observer.Logs(); err != nil {
		l.t.Error(err)
	}
	history.Log, history.Events = readAgain(l.t, l.bootstrap, l.worlds), l.journal.Events()

	for _, problem := range chaos.Verify(history) {
		l.t.Error(problem)
	}
	for i, report := range history.Reports() {
		l.t.Log(report)
		if report.Sent == 0 || report.Read == 0 || l.worlds[i].Transforms && (report.Copied == 0 || report.CommittedTxns == 0) {
			l.t.Errorf("too little happened in the world of %s", report.World)
		}
	}
}

func createTopics(t *testing.T, bootstrap string, worlds []chaos.World) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, world := range worlds {
		created, err := kadm.NewClient(client).CreateTopics(t.Context(), partitions, -1, nil, world.Topics()...)
		if err := errors.Join(err, created.Error()); err != nil {
			t.Fatal(err)
		}
	}
}

func observe(t *testing.T, bootstrap string, worlds []chaos.World) *chaos.Observer {
	t.Helper()
	observer, err := chaos.Observe(bootstrap, worlds, partitions)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(observer.Close)
	return observer
}

// finish waits until all producers have said that they are done, and everything is copied and read. What does not come to that is for
// the verdict.
func finish(t *testing.T, observer *chaos.Observer, worlds []chaos.World, journal *chaos.Journal, check func()) chaos.History {
	t.Helper()
	history := chaos.History{Worlds: worlds}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	var last error // that says more than that the time is over
	for {
		check()
		err := observer.AtEnd(ctx)
		if err == nil {
			history.Events = journal.Events()
			if history.Log, err = observer.Logs(); err == nil {
				err = errors.Join(allSent(history), history.Unfinished())
			}
		}
		if err == nil {
			return history
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Errorf("not finished within %v: %v", patience, last)
			return history
		}
	}
}

// allSent returns an error until all producers have said how much they sent, and that much is there.
func allSent(h chaos.History) error {
	for _, report := range h.Reports() {
		lies := int64(0)
		for _, log := range h.Log[chaos.World{Name: report.World}.Input()] {
			lies += int64(len(log))
		}
		if report.Sent == 0 || lies < report.Sent-report.Failed {
			return fmt.Errorf("%s: %d records are there, of %d sent", report.World, lies, report.Sent)
		}
	}
	return nil
}

// readAgain reads everything from the start.
func readAgain(t *testing.T, bootstrap string, worlds []chaos.World) chaos.Logs {
	t.Helper()
	observer := observe(t, bootstrap, worlds)
	harness.Eventually(t, patience, func() error { return observer.AtEnd(t.Context()) })
	logs, err := observer.Logs()
	if err != nil {
		t.Error(err)
	}
	return logs
}
