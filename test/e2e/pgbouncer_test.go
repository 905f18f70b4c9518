package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/wadi-log/wadi/test/harness"
	"github.com/wadi-log/wadi/test/txncheck"
)

// TestKilledPgBouncerLosesAndDoublesNothing kills PgBouncer in transaction mode, which is all that two agents know of
// Postgres, again and again under the loads of an idempotent producer, a group, and the checker of transactions. Agents go
// on by themselves as soon as it is back.
func TestKilledPgBouncerLosesAndDoublesNothing(t *testing.T) {
	pooler := harness.StartPgBouncer(t, harness.Postgres(t), harness.PgBouncerOptions{})
	options := on(t, pooler.URL())
	options.Flags = victimFlags
	agents := []*harness.AgentProcess{harness.Agent(t, options), harness.Agent(t, options)}
	at := agents[0].Bootstrap()
	createTopic(t, at, "ledger", 6)
	createTopic(t, at, "probe", 2)
	config := checkerConfig(t)
	config.Bootstrap, config.Strict = at, true
	checked, err := txncheck.Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	journal := newJournal()
	for range 2 {
		join(t, journal, at, "readers", "ledger")
	}
	traffic := startTraffic(t, agents[1].Bootstrap(), "ledger")
	for range 3 {
		traffic.awaitAcks(t, traffic.acks()+300)
		pooler.Kill()
		if err, _ := produceRaw(t, at, "probe", checksum(batch()), time.Second); !kerr.IsRetriable(err) {
			t.Errorf("while PgBouncer is gone a producer is told %v, want a retriable error", err)
		}
		pooler.Start()
	}
	traffic.awaitAcks(t, traffic.acks()+300)
	for _, a := range agents {
		a.Ready()
	}
	ledger := traffic.stop(t)
	checkLedger(t, ledger, readAll(t, at, "ledger"))
	harness.Eventually(t, time.Minute, func() error {
		if got, want := len(journal.received()), ledger.count(); got < want {
			return fmt.Errorf("the group got %d of %d records", got, want)
		}
		return nil
	})
	checkLedger(t, ledger, journal.received())
	for _, problem := range journal.problems {
		t.Error(problem)
	}
	if report := judge(t, checked); report.Committed == 0 {
		t.Error("no transaction was committed")
	}
}
