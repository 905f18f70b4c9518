package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wadi-log/wadi/agent"
)

// agentProcess is wadi agent as a process, with what it says read line by line.
type agentProcess struct {
	process
	lines chan string
}

// startAgent starts an agent on ports that are free, in a folder of its own.
func startAgent(t *testing.T, args ...string) *agentProcess {
	t.Helper()
	args = append([]string{"agent", "--kafka-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--data-dir", t.TempDir()}, args...)
	cmd := wadi(t, args...)
	cmd.Stderr = nil
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	a := &agentProcess{process: process{cmd}, lines: make(chan string, 1000)}
	go func() {
		defer close(a.lines)
		for scanner := bufio.NewScanner(stderr); scanner.Scan(); {
			a.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		if cmd.ProcessState == nil { // the test failed before it stopped the agent
			if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Error(err)
			}
		}
	})
	return a
}

// find returns the next line with the text.
func (a *agentProcess) find(t *testing.T, text string) string {
	t.Helper()
	var before []string
	for line := range a.lines {
		if before = append(before, line); strings.Contains(line, text) {
			return line
		}
	}
	t.Fatalf("the agent ended without saying %q:\n%s", text, strings.Join(before, "\n"))
	return ""
}

// rest returns all lines up to the end.
func (a *agentProcess) rest() string {
	var rest []string
	for line := range a.lines {
		rest = append(rest, line)
	}
	return strings.Join(rest, "\n")
}

// end sends the signal and returns what the agent says from there on, with its
// exit code. An agent that hangs beyond its --drain-timeout prints its goroutines.
func (a *agentProcess) end(t *testing.T, s syscall.Signal) (rest string, code int) {
	t.Helper()
	a.send(t, s)
	hung := time.AfterFunc(time.Minute, func() { _ = a.Process.Signal(syscall.SIGQUIT) })
	defer hung.Stop()
	rest = a.rest()
	return rest, a.exitCode(t)
}

func TestAgentServesAndDrains(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(s.String(), func(t *testing.T) {
			a := startAgent(t)
			if banner := a.find(t, "wadi "); !strings.HasPrefix(banner, currentVersion().String()) {
				t.Errorf("the banner starts with %q", banner)
			}
			kafka := strings.Fields(a.find(t, "  Kafka "))[1]
			health := strings.Fields(a.find(t, "  HTTP "))[1]
			a.find(t, "wadi produce greetings -b "+kafka)

			produce := wadi(t, "produce", "greetings", "-b", kafka)
			produce.Stdin = strings.NewReader("hello\n")
			if err := produce.Run(); err != nil {
				t.Fatal(err, stderr(produce))
			}
			consume := wadi(t, "consume", "greetings", "-b", kafka, "--format", "%o %v")
			if out, err := consume.Output(); err != nil || string(out) != "0 hello\n" {
				t.Errorf("got %q, %v, %s", out, err, stderr(consume))
			}
			for deadline := time.Now().Add(time.Minute); ; <-time.After(50 * time.Millisecond) {
				err := get(health + "/readyz")
				if err == nil {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal(err)
				}
			}

			if rest, code := a.end(t, s); code != 0 {
				t.Errorf("exit code %d after a drain:\n%s", code, rest)
			}
		})
	}
}

// get wants 200 of the URL.
func get(url string) error {
	response, err := http.Get(url)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	return errors.Join(err, response.Body.Close())
}

func TestAgentThatLogsJSONPrintsNothingElse(t *testing.T) {
	a := startAgent(t, "--log-format", "json")
	first := a.find(t, `"msg":"agent listens"`)
	rest, code := a.end(t, syscall.SIGTERM)
	for _, line := range append(strings.Split(rest, "\n"), first) {
		if line != "" && !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	var banner map[string]any
	if err := json.Unmarshal([]byte(first), &banner); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"version", "kafka", "http", "metadata", "objects"} {
		if banner[key] == nil {
			t.Errorf("the banner lacks %s: %s", key, first)
		}
	}
}

func TestAgentShowsNoSecrets(t *testing.T) {
	const secret = "hunter2"
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "wadi.yaml")
	if err := os.WriteFile(config, []byte("objects-secret-key: "+secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		env  []string
		args []string
	}{
		"bad Postgres URL": {env: []string{"WADI_METADATA=postgres://u:" + secret + "@:bad port/db"}},
		"bad scheme":       {env: []string{"WADI_METADATA=mysql://u:" + secret + "@db"}},
		"unreachable MinIO": {
			env:  []string{"WADI_OBJECTS_ACCESS_KEY=u", "WADI_OBJECTS_SECRET_KEY=" + secret},
			args: []string{"--objects", "minio://" + closed.Addr().String() + "/bucket"},
		},
		"unreachable Postgres": {
			env: []string{"WADI_METADATA=postgres://u:" + secret + "@" + closed.Addr().String() + "/db?connect_timeout=1"},
		},
		"keys in the URL": {env: []string{"WADI_OBJECTS=s3://u:" + secret + "@bucket"}},
		"a file":          {args: []string{"--config", config, "--log-level", "silly"}},
		"debug log":       {env: []string{"WADI_OBJECTS_SECRET_KEYS=" + secret}, args: []string{"--log-level", "debug", "--node-id", "-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := wadi(t, append([]string{"agent", "--kafka-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--data-dir", t.TempDir()}, test.args...)...)
			cmd.Env = append(os.Environ(), test.env...)
			out, err := cmd.Output()
			said := string(out) + stderr(cmd)
			if err == nil || strings.Contains(said, secret) || !strings.HasPrefix(lastLine(said), "wadi: ") {
				t.Errorf("%v: %s", err, said)
			}
		})
	}
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

func TestPortInUseNamesTheSetting(t *testing.T) {
	holder, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Close() }()
	cmd := wadi(t, "agent", "--kafka-listen", holder.Addr().String(), "--http-listen", "127.0.0.1:0", "--data-dir", t.TempDir())
	if err := cmd.Run(); err == nil || !strings.HasPrefix(stderr(cmd), "wadi: --kafka-listen: ") {
		t.Errorf("%v: %s", err, stderr(cmd))
	}
}

func TestBanner(t *testing.T) {
	facts := []agent.Fact{{Name: "Kafka", Value: "127.0.0.1:9092"}, {Name: "clients connect to", Value: "wadi.example.org:9092"}}
	for bootstrap, want := range map[string]string{
		"127.0.0.1:9092": "  try                 echo hello | wadi produce greetings && wadi consume greetings\n",
		"127.0.0.1:1234": "  try                 echo hello | wadi produce greetings -b 127.0.0.1:1234 && wadi consume greetings -b 127.0.0.1:1234\n",
	} {
		var b strings.Builder
		if err := writeBanner(&b, facts, bootstrap); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), want) || !strings.Contains(b.String(), "  clients connect to  wadi.example.org:9092\n") {
			t.Errorf("got\n%s", b.String())
		}
	}
	if err := writeBanner(brokenWriter{}, facts, "a:1"); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v", err)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestBootstrapForWildcards(t *testing.T) {
	for listener, want := range map[string]string{
		"127.0.0.1:9092": "127.0.0.1:9092", "[::]:9092": "localhost:9092", "0.0.0.0:1": "localhost:1", "[::1]:9092": "[::1]:9092",
	} {
		if got := bootstrapFor(listener); got != want {
			t.Errorf("%s: got %s, want %s", listener, got, want)
		}
	}
}
