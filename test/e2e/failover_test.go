package e2e

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wadi-log/wadi/test/harness"
)

// on returns options of agents with the metadata store and a bucket that they share.
func on(t *testing.T, metadata string) harness.AgentOptions {
	m := harness.MinIO(t)
	return harness.AgentOptions{Metadata: metadata, Objects: m.MinioURL(), AccessKey: m.AccessKey, SecretKey: m.SecretKey}
}

// TestPromotedReplicaTakesOver kills Postgres under traffic with all its processes, and promotes the replica for which its
// commits had waited: nothing acknowledged is lost, and nothing but the database must be touched.
func TestPromotedReplicaTakesOver(t *testing.T) {
	primary := harness.StartPostgres(t)
	replica := primary.Replica("standby")
	primary.WaitForReplica("standby")
	options := on(t, primary.FailoverURL(replica))
	agents := []*harness.AgentProcess{harness.Agent(t, options), harness.Agent(t, options)}
	at := agents[0].Bootstrap()
	createTopic(t, at, "ledger", 6)
	traffic := startTraffic(t, at, "ledger")
	traffic.awaitAcks(t, 500)
	primary.Kill()
	killed := time.Now()
	replica.Promote()
	promoted, acked := time.Now(), traffic.acks()
	traffic.awaitAcks(t, acked+1)
	t.Logf("promoted %v after the primary was killed; records are acknowledged again %v later", promoted.Sub(killed).Round(time.Millisecond), time.Since(promoted).Round(time.Millisecond))
	traffic.awaitAcks(t, acked+500)
	for _, a := range agents {
		a.Ready()
	}
	checkLedger(t, traffic.stop(t), readAll(t, at, "ledger"))
}

// TestAgentWaitsForAConnection starts an agent while Postgres has none left.
func TestAgentWaitsForAConnection(t *testing.T) {
	server := harness.StartPostgres(t, "max_connections=10")
	held := takeAll(t, server.URL())
	time.AfterFunc(2*time.Second, func() {
		for _, conn := range held {
			_ = conn.Close(context.Background()) // the server ends with the test
		}
	})
	agent := harness.Agent(t, harness.AgentOptions{Metadata: server.URL()})
	if log := agent.Logs(); !strings.Contains(log, "the agent waits for one") || !strings.Contains(log, "raise max_connections") {
		t.Errorf("the log doesn't say what the agent waited for, and what to do:\n%s", log)
	}
}

// takeAll opens connections until the server refuses one.
func takeAll(t *testing.T, url string) (held []*pgx.Conn) {
	for {
		conn, err := pgx.Connect(t.Context(), url)
		var refusal *pgconn.PgError
		switch {
		case err == nil:
			held = append(held, conn)
		case errors.As(err, &refusal) && refusal.Code == "53300":
			return held
		default:
			t.Fatal(err)
		}
	}
}
