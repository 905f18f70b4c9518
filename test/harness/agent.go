package harness

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Binary returns the path of the wadi program, built from this tree once per
// test process; with the race detector when the tests are.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := current.binary.get(buildBinary)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// mainPackage is what Binary builds.
const mainPackage = "github.com/wadi-log/wadi/cmd/wadi"

// sources is a template for go list: the folders and embedded files of this
// module that a program is made of, and go.mod, which decides on the others.
const sources = `{{with .Module}}{{if .Main}}{{.GoMod}}
{{$.Dir}}
{{range $.EmbedFiles}}{{$.Dir}}/{{.}}
{{end}}{{end}}{{end}}`

// noteSources opens what the program is made of. The go command remembers which
// files a test opened; without this it would take a test that passed with an
// older program for one that passes with today's.
func noteSources() error {
	cmd := exec.Command("go", "list", "-deps", "-f", sources, mainPackage)
	cmd.Stderr = &strings.Builder{}
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("list the sources of the wadi program: %w\n%s", err, cmd.Stderr)
	}
	for path := range strings.SplitSeq(string(out), "\n") {
		if path == "" {
			continue
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		if err := file.Close(); err != nil {
			return err
		}
	}
	return nil
}

func buildBinary() (string, error) { return build() }

// build builds the program with further flags for the go command.
func build(flags ...string) (string, error) {
	if err := noteSources(); err != nil {
		return "", err
	}
	folder, err := current.newFolder("bin")
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, "wadi")
	args := append([]string{"build", "-o", path}, flags...)
	if raceDetector {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, mainPackage)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the wadi program: %w\n%s", err, out)
	}
	return path, nil
}

// AgentOptions says how an agent differs from the embedded default.
type AgentOptions struct {
	// Program is what to run; empty means [Binary].
	Program string
	// Metadata is the metadata store's URL; empty means SQLite in a folder of the
	// agent's own. The agent gets it as WADI_METADATA: a flag would show the
	// password in the list of processes.
	Metadata string
	// Objects is the value of --objects; empty means a folder of the agent's own.
	Objects string
	// AccessKey and SecretKey go into the agent's environment, for minio:// and s3://.
	AccessKey string
	SecretKey string
	// Listeners are Kafka listeners besides the one of Bootstrap: the hosts that they advertise, by their
	// names. They listen on 127.0.0.1.
	Listeners map[string]string
	// Flags are further flags, like "--flush-interval=1ms".
	Flags []string
	// Env are further variables, like "WADI_ZONE=a".
	Env []string
}

// AgentProcess is `wadi agent` as a process of its own. Its methods fail the
// test when they can't do what they are for, so call them from the test's own goroutine.
type AgentProcess struct {
	t       testing.TB
	program string
	folder  string
	options AgentOptions
	kafka   string
	// listeners are the addresses of the others, by their names.
	listeners map[string]string
	http      string
	process   *process
	ended     bool // by Stop or Kill; otherwise an end is a crash
}

// Agent starts an agent and returns when it is ready. After the test it is
// stopped; the test fails if it had crashed by itself, panicked, raced, or logged
// one of the secrets that it was given.
func Agent(t testing.TB, options AgentOptions) *AgentProcess {
	t.Helper()
	program := options.Program
	if program == "" {
		program = Binary(t)
	}
	return startAgent(t, program, options)
}

func startAgent(t testing.TB, program string, options AgentOptions) *AgentProcess {
	t.Helper()
	a := &AgentProcess{t: t, program: program, options: options}
	var err error
	if a.folder, err = current.newFolder("agent"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.cleanup)
	for range portAttempts {
		if a.kafka, err = freeAddress(); err != nil {
			t.Fatal(err)
		}
		if a.http, err = freeAddress(); err != nil {
			t.Fatal(err)
		}
		a.listeners = map[string]string{}
		for name := range options.Listeners {
			if a.listeners[name], err = freeAddress(); err != nil {
				t.Fatal(err)
			}
		}
		err = a.start()
		if err == nil {
			return a
		}
		if !errors.Is(err, errEnded) || !strings.Contains(a.Logs(), "address already in use") {
			break
		}
	}
	a.ended = true // reported here, once
	t.Fatal(err)
	return nil
}

// Bootstrap returns the address of the Kafka listener. It stays the same across restarts.
func (a *AgentProcess) Bootstrap() string { return a.kafka }

// Listener returns where the listener of that name listens, one of the options'.
func (a *AgentProcess) Listener(name string) string { return a.listeners[name] }

// HTTP returns the base URL of /livez, /readyz and /metrics. It stays the same across restarts.
func (a *AgentProcess) HTTP() string { return "http://" + a.http }

// Metrics returns what the agent exports at /metrics: each sample by its name with
// labels, and the sum of a metric's samples by the name alone.
func (a *AgentProcess) Metrics() map[string]float64 {
	a.t.Helper()
	resp, err := http.Get(a.HTTP() + "/metrics")
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end, or the test fails
	samples := map[string]float64{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "#") {
			continue
		}
		end := strings.LastIndexByte(line, ' ') // a label's value may hold spaces
		sample := line[:max(end, 0)]
		value, err := strconv.ParseFloat(line[end+1:], 64)
		if err != nil {
			a.t.Fatalf("/metrics: %q: %v", line, err)
		}
		name, _, labelled := strings.Cut(sample, "{")
		samples[name] += value
		if labelled {
			samples[sample] = value
		}
	}
	if err := lines.Err(); err != nil {
		a.t.Fatalf("/metrics: %v", err)
	}
	return samples
}

// DataDir returns the agent's own folder, the value of --data-dir.
func (a *AgentProcess) DataDir() string { return filepath.Join(a.folder, "data") }

// PID returns the ID of the process that runs now or ran last.
func (a *AgentProcess) PID() int { return a.process.cmd.Process.Pid }

// Kill ends the agent with SIGKILL, in the middle of whatever it does.
func (a *AgentProcess) Kill() {
	a.t.Helper()
	a.end()
	if err := a.process.kill(); err != nil {
		a.t.Fatal(err)
	}
}

// Stop asks the agent to drain (SIGTERM), waits until it has ended and returns
// its exit code.
func (a *AgentProcess) Stop() int {
	a.t.Helper()
	a.end()
	code, err := a.process.stop(syscall.SIGTERM, time.Minute)
	if err != nil {
		a.t.Fatal(err)
	}
	return code
}

// Signal sends a signal to the agent, such as SIGSTOP for one that hangs. For
// one that ends it, use Stop or Kill.
func (a *AgentProcess) Signal(sig syscall.Signal) {
	a.t.Helper()
	if err := a.process.cmd.Process.Signal(sig); err != nil {
		a.t.Fatal(err)
	}
}

// Restart kills the agent if it runs, starts it again with the same addresses
// and folder, and returns when it is ready.
func (a *AgentProcess) Restart() {
	a.t.Helper()
	if err := a.TryRestart(); err != nil {
		a.t.Fatal(err)
	}
}

// Become has the agent run another program from its next start on: another version's, say.
func (a *AgentProcess) Become(program string) { a.program = program }

// TryRestart is Restart for an agent that may fail to start, since its stores don't answer, say: it returns why.
func (a *AgentProcess) TryRestart() error {
	a.t.Helper()
	if a.process.running() {
		a.Kill()
	}
	err := a.start()
	a.ended = err != nil
	return err
}

// Ready returns when the agent serves, which one that hung or lost its stores
// for a while may need time for.
func (a *AgentProcess) Ready() {
	a.t.Helper()
	if err := poll(time.Minute, a.process, a.ready); err != nil {
		a.t.Fatalf("the agent is not ready: %v", err)
	}
}

// Logs returns what the agent has printed so far, over all its restarts.
func (a *AgentProcess) Logs() string {
	b, err := os.ReadFile(a.logPath())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (a *AgentProcess) logPath() string { return filepath.Join(a.folder, "log") }

// end notes that the test itself ends the agent, which must still run.
func (a *AgentProcess) end() {
	a.t.Helper()
	if !a.process.running() {
		a.t.Fatal("the agent does not run (any more)")
	}
	a.ended = true
}

func (a *AgentProcess) start() error {
	// Without --drain-delay=0s each agent of several would take seconds to stop; the flags of a test may say otherwise.
	args := []string{"agent", "--kafka-listen=" + a.kafka, "--http-listen=" + a.http, "--data-dir=" + a.DataDir(), "--drain-delay=0s"}
	if len(a.listeners) > 0 {
		listen, advertise := []string{a.kafka}, []string{}
		for name, address := range a.listeners {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return err
			}
			listen = append(listen, name+"://"+address)
			advertise = append(advertise, name+"://"+net.JoinHostPort(a.options.Listeners[name], port))
		}
		args = append(args, "--kafka-listen="+strings.Join(listen, ","), "--advertise="+strings.Join(advertise, ","))
	}
	if a.options.Objects != "" {
		args = append(args, "--objects="+a.options.Objects)
	}
	cmd := exec.Command(a.program, append(args, a.options.Flags...)...)
	cmd.Dir = a.folder
	cmd.Env = a.environment()
	p, err := launch(cmd, a.logPath(), syscall.SIGKILL)
	if err != nil {
		return err
	}
	a.process = p
	if err := poll(time.Minute, p, a.ready); err != nil {
		return errors.Join(fmt.Errorf("start the agent: %w", err), p.kill())
	}
	return nil
}

// environment is ours without the settings of Wadi, AWS and Postgres that a
// developer may have set, and with the test's.
func (a *AgentProcess) environment() []string {
	var env []string
	for _, variable := range os.Environ() {
		switch {
		case strings.HasPrefix(variable, "WADI_"), strings.HasPrefix(variable, "AWS_"), strings.HasPrefix(variable, "PG"):
		default:
			env = append(env, variable)
		}
	}
	if a.options.Metadata != "" {
		env = append(env, "WADI_METADATA="+a.options.Metadata)
	}
	if a.options.AccessKey != "" {
		env = append(env, "WADI_OBJECTS_ACCESS_KEY="+a.options.AccessKey, "WADI_OBJECTS_SECRET_KEY="+a.options.SecretKey)
	}
	return append(env, a.options.Env...)
}

func (a *AgentProcess) ready() error {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	response, err := client.Get(a.HTTP() + "/readyz")
	if err != nil {
		return err
	}
	if err := response.Body.Close(); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("/readyz answers %s", response.Status)
	}
	return nil
}

func (a *AgentProcess) cleanup() {
	if a.process != nil {
		if !a.process.running() && !a.ended {
			a.t.Errorf("the agent ended by itself, with code %d", a.process.exitCode())
		}
		// A test may have taken its stores away, so how it ends is no matter
		// here; that it ends is.
		if _, err := a.process.stop(syscall.SIGTERM, time.Minute); err != nil {
			a.t.Error(err)
		}
		for _, complaint := range complaints(a.Logs(), a.secrets()) {
			a.t.Error(complaint)
		}
	}
	if a.t.Failed() {
		a.t.Logf("log of the agent at %s:\n%s", a.kafka, logTail(a.logPath()))
	}
	if err := os.RemoveAll(a.folder); err != nil {
		a.t.Error(err)
	}
}

// secrets returns what the agent was told in confidence.
func (a *AgentProcess) secrets() []string {
	var secrets []string
	if a.options.SecretKey != "" {
		secrets = append(secrets, a.options.SecretKey)
	}
	if u, err := url.Parse(a.options.Metadata); err == nil && u.User != nil {
		if password, ok := u.User.Password(); ok && password != "" {
			secrets = append(secrets, password)
		}
	}
	return secrets
}

// complaints returns what no agent's log may hold, whatever the test is about.
func complaints(log string, secrets []string) []string {
	var found []string
	for line := range strings.Lines(log) {
		for _, sign := range []string{"panic: ", "fatal error: ", "WARNING: DATA RACE"} {
			if strings.HasPrefix(line, sign) {
				found = append(found, "the agent printed: "+strings.TrimSpace(line))
			}
		}
	}
	for _, secret := range secrets {
		if strings.Contains(log, secret) {
			found = append(found, "the agent's log shows a secret")
		}
	}
	return found
}

func freeAddress() (string, error) {
	port, err := freePort()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), err
}
