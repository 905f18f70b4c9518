package harness

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// standInAgent is what this test binary does when it is started like the real
// agent: it listens, is ready at its second answer, and drains on SIGTERM. It shows
// that the harness sees what it must see without a whole agent in between.
func standInAgent(args []string) int {
	flags := flag.NewFlagSet("agent", flag.ExitOnError)
	kafka := flags.String("kafka-listen", "", "")
	web := flags.String("http-listen", "", "")
	dataDir := flags.String("data-dir", "", "")
	objects := flags.String("objects", "", "")
	flags.Duration("drain-delay", 0, "")
	say := flags.String("say", "", "printed at the start")
	exit := flags.Int("exit", 0, "the exit code after SIGTERM")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	fmt.Printf("%s\nobjects %s, metadata %d bytes, key %s\n",
		*say, *objects, len(os.Getenv("WADI_METADATA")), os.Getenv("WADI_OBJECTS_ACCESS_KEY"))
	if err := os.MkdirAll(*dataDir, 0o700); err != nil {
		fmt.Println(err)
		return 1
	}
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	for _, address := range []string{*kafka, *web} {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		if address == *web {
			asked := 0
			go func() {
				fmt.Println(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					if asked++; asked == 1 {
						w.WriteHeader(http.StatusServiceUnavailable)
					}
				})))
			}()
		}
	}
	<-terminated
	fmt.Println("drained")
	return *exit
}

func TestAgentStopsKillsAndRestarts(t *testing.T) {
	a := startAgent(t, os.Args[0], AgentOptions{Flags: []string{"--exit=3"}})
	bootstrap, pid := a.Bootstrap(), a.PID()
	if err := dial(bootstrap); err != nil {
		t.Fatal(err)
	}
	a.Kill()
	if err := dial(bootstrap); err == nil {
		t.Fatal("the agent still listens after Kill")
	}
	a.Restart()
	if a.PID() == pid || a.Bootstrap() != bootstrap {
		t.Fatalf("process %d at %s after the restart, want another one at %s", a.PID(), a.Bootstrap(), bootstrap)
	}
	a.Restart() // while it runs
	a.Ready()
	if err := dial(bootstrap); err != nil {
		t.Fatal(err)
	}
	if code := a.Stop(); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	if got := strings.Count(a.Logs(), "drained"); got != 1 {
		t.Errorf("%d orderly ends in the log, want only the last:\n%s", got, a.Logs())
	}
}

func TestAgentGetsItsOptions(t *testing.T) {
	t.Setenv("WADI_ZONE", "of-the-developer")
	t.Setenv("PGOPTIONS", "of-the-developer")
	metadata := "postgres://wadi:hush@127.0.0.1:1/x"
	a := startAgent(t, os.Args[0], AgentOptions{
		Metadata: metadata, Objects: "minio://127.0.0.1:1/b", AccessKey: "key", SecretKey: "quiet",
		Env: []string{"WADI_PUT_RATE=3"},
	})
	want := fmt.Sprintf("objects minio://127.0.0.1:1/b, metadata %d bytes, key key", len(metadata))
	if !strings.Contains(a.Logs(), want) {
		t.Errorf("the agent printed %q, want %q", a.Logs(), want)
	}
	env := a.process.cmd.Env
	if !slices.Contains(env, "WADI_PUT_RATE=3") {
		t.Error("a variable of the test is missing")
	}
	for _, variable := range env {
		if strings.Contains(variable, "of-the-developer") {
			t.Errorf("the agent inherits %s", variable)
		}
	}
	for _, arg := range a.process.cmd.Args {
		if strings.Contains(arg, "hush") || strings.Contains(arg, "quiet") {
			t.Errorf("the list of processes shows a secret: %s", arg)
		}
	}
	if got := a.secrets(); !slices.Equal(got, []string{"quiet", "hush"}) {
		t.Errorf("secrets to look for in the log: %q", got)
	}
	if _, err := os.Stat(a.DataDir()); err != nil || !strings.HasPrefix(a.DataDir(), filepath.Clean(a.folder)) {
		t.Errorf("the data folder %s is not the agent's own: %v", a.DataDir(), err)
	}
}

func TestAgentThatEndsByItselfFailsTheTest(t *testing.T) {
	r := &recorder{TB: t}
	a := &AgentProcess{t: r, program: os.Args[0]}
	var err error
	if a.folder, err = current.newFolder("agent"); err != nil {
		t.Fatal(err)
	}
	if a.kafka, err = freeAddress(); err != nil {
		t.Fatal(err)
	}
	if a.http, err = freeAddress(); err != nil {
		t.Fatal(err)
	}
	if err := a.start(); err != nil {
		t.Fatal(err)
	}
	if err := a.process.kill(); err != nil { // behind the harness's back
		t.Fatal(err)
	}
	a.cleanup()
	if r.verdict != "error" || !strings.Contains(r.message, "ended by itself") {
		t.Errorf("verdict %q with message %q, want an error that says so", r.verdict, r.message)
	}
}

func TestAgentThatNeverStartsIsReported(t *testing.T) {
	a := &AgentProcess{t: t, program: os.Args[0], options: AgentOptions{Flags: []string{"--no-such-flag"}}}
	var err error
	if a.folder, err = current.newFolder("agent"); err != nil {
		t.Fatal(err)
	}
	if err := a.start(); !errors.Is(err, errEnded) {
		t.Errorf("start: %v, want %v", err, errEnded)
	}
	if !strings.Contains(a.Logs(), "no-such-flag") {
		t.Errorf("the log does not say why: %s", a.Logs())
	}
}

func TestComplaintsAboutAnAgentsLog(t *testing.T) {
	for _, test := range []struct {
		name, log string
		want      int
	}{
		{"nothing", "level=INFO msg=ready\n", 0},
		{"crash", "level=INFO msg=ready\npanic: runtime error\n\ngoroutine 1\n", 1},
		{"runtime's own crash", "fatal error: concurrent map writes\n", 1},
		{"race", "==================\nWARNING: DATA RACE\n", 1},
		{"word inside a message", `level=WARN msg="client says panic: x"`, 0},
		{"secret", "connect to postgres://wadi:hush@db\n", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := complaints(test.log, []string{"hush"}); len(got) != test.want {
				t.Errorf("%d complaints %q, want %d", len(got), got, test.want)
			}
		})
	}
}

func dial(address string) error {
	conn, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return err
	}
	return conn.Close()
}
