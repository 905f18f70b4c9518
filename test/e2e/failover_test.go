package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/twmb/franz-go/pkg/kerr"

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
	harness.Binary(t) // which may take longer than connections are held
	server := harness.StartPostgres(t, "max_connections=10")
	held := takeAll(t, server.URL())
	time.AfterFunc(10*time.Second, func() {
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

// TestLostTailIsRefused promotes a replica that lacks what an agent has acknowledged: nothing is acknowledged any more, however
// much the others know, until the operator has given up what is lost.
func TestLostTailIsRefused(t *testing.T) {
	for name, overwritten := range map[string]bool{"missing": false, "overwritten by an agent that knew less": true} {
		t.Run(name, func(t *testing.T) {
			primary := harness.StartPostgres(t)
			replica := primary.Replica("standby")
			options := on(t, primary.FailoverURL(replica))
			agent, unaware := harness.Agent(t, options), harness.Agent(t, options)
			createTopic(t, agent.Bootstrap(), "ledger", 2)
			produced := func(a *harness.AgentProcess, within time.Duration) error {
				err, _ := produceRaw(t, a.Bootstrap(), "ledger", checksum(batch()), within)
				return err
			}
			acknowledged := func(a *harness.AgentProcess) error { return produced(a, 30*time.Second) }
			for range 3 {
				if err := acknowledged(agent); err != nil {
					t.Fatal(err)
				}
			}
			before := len(readAll(t, agent.Bootstrap(), "ledger"))
			caughtUp(t, primary, replica)
			replica.StopFollowing()
			unaware.Signal(syscall.SIGSTOP)
			for range 2 {
				if err := acknowledged(agent); err != nil {
					t.Fatal(err)
				}
			}
			if overwritten {
				agent.Signal(syscall.SIGSTOP)
			}
			primary.Kill()
			replica.Promote()
			unaware.Signal(syscall.SIGCONT)
			if overwritten {
				harness.Eventually(t, time.Minute, func() error { return acknowledged(unaware) })
				for range 5 {
					if err := acknowledged(unaware); err != nil {
						t.Fatal(err)
					}
				}
				agent.Signal(syscall.SIGCONT)
			}
			for _, a := range []*harness.AgentProcess{agent, unaware} {
				harness.Eventually(t, time.Minute, func() error { return says(a, http.StatusServiceUnavailable, "lacks changes") })
				if err := produced(a, 2*time.Second); !kerr.IsRetriable(err) {
					t.Errorf("a producer is told %v, want a retriable error", err)
				}
				harness.Eventually(t, time.Minute, func() error { return shows(a, "wadi_metadata_halted", 1) })
			}
			if log := agent.Logs(); !strings.Contains(log, "the metadata store lost changes that were acknowledged") {
				t.Errorf("the log doesn't say so:\n%s", log)
			}

			resume := func(want int, args ...string) string {
				cmd := exec.Command(harness.Binary(t), append([]string{"resume"}, args...)...)
				cmd.Env = append(os.Environ(), "WADI_METADATA="+options.Metadata)
				out, err := cmd.CombinedOutput()
				if code := cmd.ProcessState.ExitCode(); code != want {
					t.Fatalf("wadi resume %v: code %d, %v\n%s", args, code, err, out)
				}
				return string(out)
			}
			report := resume(1)
			for _, want := range []string{"halted since", "2 changes from ", "ledger "} {
				if !strings.Contains(report, want) {
					t.Errorf("the report lacks %q:\n%s", want, report)
				}
			}
			resume(0, "--accept-loss")
			for _, a := range []*harness.AgentProcess{agent, unaware} {
				a.Ready()
				harness.Eventually(t, time.Minute, func() error { return acknowledged(a) })
				harness.Eventually(t, time.Minute, func() error { return shows(a, "wadi_metadata_halted", 0) })
			}
			want := before + 2*before/3
			if overwritten {
				want += 6 * before / 3
			}
			if got := len(readAll(t, unaware.Bootstrap(), "ledger")); got < want {
				t.Errorf("%d records, want %d or more", got, want)
			}
			if out := resume(0); !strings.Contains(out, "not halted") {
				t.Errorf("got %q", out)
			}
		})
	}
}

// caughtUp returns when the replica has what the primary has.
func caughtUp(t *testing.T, primary, replica *harness.PostgresServer) {
	t.Helper()
	lastSeq := func(s *harness.PostgresServer) (seq int64, err error) {
		conn, err := pgx.Connect(t.Context(), s.URL())
		if err != nil {
			return 0, err
		}
		defer func() { _ = conn.Close(t.Context()) }() // it only read
		return seq, conn.QueryRow(t.Context(), `SELECT last_seq FROM sequencer`).Scan(&seq)
	}
	want, err := lastSeq(primary)
	if err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, time.Minute, func() error {
		if got, err := lastSeq(replica); err != nil || got != want {
			return fmt.Errorf("the replica has %d changes, want %d (%w)", got, want, err)
		}
		return nil
	})
}

// shows looks at a metric of an agent.
func shows(a *harness.AgentProcess, metric string, want float64) error {
	if got, ok := a.Metrics()[metric]; !ok || got != want {
		return fmt.Errorf("%s is %v (%t), want %v", metric, got, ok, want)
	}
	return nil
}

// says asks an agent whether it is ready.
func says(a *harness.AgentProcess, status int, text string) error {
	response, err := http.Get(a.HTTP() + "/readyz")
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // read to its end
	body, err := io.ReadAll(response.Body)
	if err == nil && (response.StatusCode != status || !strings.Contains(string(body), text)) {
		err = fmt.Errorf("/readyz answers %s: %s", response.Status, body)
	}
	return err
}
