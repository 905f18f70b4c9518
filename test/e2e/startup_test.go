package e2e

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wadi-log/wadi/test/harness"
)

// TestAgentThatCannotStartSaysWhatToDo gives an agent one wrong setting at a
// time: it must end by itself, name the setting, and keep secrets to itself.
func TestAgentThatCannotStartSaysWhatToDo(t *testing.T) {
	m := harness.MinIO(t)
	pg := harness.Postgres(t)
	plainFile := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(plainFile, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	wrongPassword, err := url.Parse(pg)
	if err != nil {
		t.Fatal(err)
	}
	wrongPassword.User = url.UserPassword("wadi", "hunter2secret")
	noDatabase := *wrongPassword
	noDatabase.User, noDatabase.Path = mustParse(t, pg).User, "/no_such_database"
	claimed := "file:" + t.TempDir()
	harness.Agent(t, harness.AgentOptions{Objects: claimed}).Stop()
	keys := []string{"WADI_OBJECTS_ACCESS_KEY=" + m.AccessKey, "WADI_OBJECTS_SECRET_KEY=" + m.SecretKey}

	cases := []struct {
		name string
		args []string
		env  []string
		want []string // all of these in its complaint
	}{
		{"flag of the wrong form", []string{"--kafka-listen=nonsense"}, nil, []string{"--kafka-listen", "host:port"}},
		{"flag out of range", []string{"--flush-bytes=1"}, nil, []string{"--flush-bytes", "65536"}},
		{"unknown flag", []string{"--flush-byte=1"}, nil, []string{"flush-byte"}},
		{"unknown broker config", []string{"--kafka-config=num.partition=3"}, nil, []string{"--kafka-config", "num.partition"}},
		{"address in use", []string{"--kafka-listen=" + taken.Addr().String()}, nil, []string{"--kafka-listen", "in use"}},
		{"unknown metadata store", []string{"--metadata=mysql://localhost"}, nil, []string{"--metadata", "sqlite"}},
		{"metadata store unreachable", []string{"--metadata=postgres://wadi:hunter2secret@127.0.0.1:1/wadi"}, nil, []string{"--metadata", "127.0.0.1"}},
		{"wrong password", nil, []string{"WADI_METADATA=" + wrongPassword.String()}, []string{"--metadata", "password"}},
		{"missing database", nil, []string{"WADI_METADATA=" + noDatabase.String()}, []string{"--metadata", "no_such_database"}},
		{"object store unreachable", []string{"--objects=minio://127.0.0.1:1/bucket"}, keys, []string{"127.0.0.1:1"}},
		{"missing bucket", []string{"--objects=minio://" + m.Endpoint + "/no-such-bucket"}, keys, []string{"--objects", "no-such-bucket"}},
		{"another cluster's bucket", []string{"--objects=" + claimed}, nil, []string{"--objects", "another one", "wadi recover"}},
		{"missing bucket by s3", []string{"--objects=s3://no-such-bucket?region=us-east-1&endpoint=http://" + m.Endpoint}, keys, []string{"--objects", "no-such-bucket"}},
		{"wrong keys", []string{"--objects=" + m.MinioURL()}, []string{"WADI_OBJECTS_ACCESS_KEY=" + m.AccessKey, "WADI_OBJECTS_SECRET_KEY=hunter2secret"}, []string{"WADI_OBJECTS_SECRET_KEY"}},
		{"wrong keys by s3", []string{"--objects=" + m.S3URL()}, []string{"WADI_OBJECTS_ACCESS_KEY=nobody", "WADI_OBJECTS_SECRET_KEY=hunter2secret"}, []string{"WADI_OBJECTS_ACCESS_KEY"}},
		{"folder that is a file", []string{"--objects=file:" + plainFile}, nil, []string{"--objects", plainFile}},
		{"data folder below a file", []string{"--data-dir=" + plainFile + "/data"}, nil, []string{"--data-dir"}},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			args := []string{"agent"}
			for _, flag := range []string{"--kafka-listen=127.0.0.1:0", "--http-listen=127.0.0.1:0", "--data-dir=" + t.TempDir()} {
				name, _, _ := strings.Cut(flag, "=")
				if !strings.Contains(strings.Join(test.args, " "), name+"=") {
					args = append(args, flag)
				}
			}
			complaint, code := runToEnd(t, append(args, test.args...), test.env)
			if code != 1 && code != 2 {
				t.Errorf("exit code %d", code)
			}
			for _, want := range test.want {
				if !strings.Contains(complaint, want) {
					t.Errorf("no word of %q in:\n%s", want, complaint)
				}
			}
			for _, secret := range []string{"hunter2secret", m.SecretKey} {
				if strings.Contains(complaint, secret) {
					t.Errorf("it tells a secret:\n%s", complaint)
				}
			}
		})
	}
}

func mustParse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// runToEnd runs wadi until it ends by itself and returns all it said and its exit code.
func runToEnd(t *testing.T, args, env []string) (output string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, harness.Binary(t), args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Dir = t.TempDir()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		t.Fatalf("wadi %s did not end; it said:\n%s", strings.Join(args, " "), out.String())
	case err == nil:
		t.Fatalf("wadi %s ended without an error; it said:\n%s", strings.Join(args, " "), out.String())
	case !errors.As(err, &exit):
		t.Fatal(err)
	}
	return out.String(), exit.ExitCode()
}

// TestStoppedAgentAnswersWhatItTook sends SIGTERM under traffic: the agent
// drains and exits with 0, and what it acknowledged is there.
func TestStoppedAgentAnswersWhatItTook(t *testing.T) {
	agent := harness.Agent(t, harness.AgentOptions{})
	createTopic(t, agent.Bootstrap(), "ledger", 6)
	traffic := startTraffic(t, agent.Bootstrap(), "ledger")
	traffic.awaitAcks(t, 500)
	if code := agent.Stop(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	agent.Restart()
	traffic.awaitAcks(t, traffic.acks()+500)
	checkLedger(t, traffic.stop(t), readAll(t, agent.Bootstrap(), "ledger"))
}

// TestSecondSignalEndsTheAgentAtOnce stops the object store, so that a drain
// has to wait for it, and loses patience.
func TestSecondSignalEndsTheAgentAtOnce(t *testing.T) {
	store := harness.StartMinIO(t)
	m := store.Minio()
	agent := harness.Agent(t, harness.AgentOptions{Objects: m.MinioURL(), AccessKey: m.AccessKey, SecretKey: m.SecretKey,
		Flags: []string{"--drain-timeout=10m"}})
	createTopic(t, agent.Bootstrap(), "stuck", 2)
	store.Stop()
	if err, _ := produceRaw(t, agent.Bootstrap(), "stuck", checksum(batch()), time.Second); err == nil {
		t.Fatal("a record was acknowledged without an object store")
	}
	agent.Signal(syscall.SIGTERM)
	eventually(t, "the agent drains", func() bool { return strings.Contains(agent.Logs(), "draining") })
	if code := agent.Stop(); code == 0 { // the second signal
		t.Error("the agent that was cut off reports success")
	}
}
