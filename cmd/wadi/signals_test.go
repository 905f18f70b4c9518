package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// wadi makes a command of this test binary as wadi.
func wadi(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return command(t, "wadi", args...)
}

// command makes a command of this test binary, which TestMain's testscript.Main
// lets do what the name stands for that it is called by.
func command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Stderr = &strings.Builder{}
	return cmd
}

func stderr(cmd *exec.Cmd) string { return cmd.Stderr.(*strings.Builder).String() }

// newCluster starts a Kafka with topic t, with a record, and calls reached when the
// command's first request of the key arrives, which is then left unanswered.
func newCluster(t *testing.T, key kmsg.Key, reached func()) *kfake.Cluster {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	cluster.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
		reached()
		cluster.SleepControl(func() { <-t.Context().Done() })
		return nil, nil, false
	})
	return cluster
}

// process is a started command.
type process struct{ *exec.Cmd }

func (p process) exitCode(t *testing.T) int {
	t.Helper()
	err := p.Wait()
	if ended := (*exec.ExitError)(nil); err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	return p.ProcessState.ExitCode()
}

func (p process) send(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

func TestFirstSignalEndsACommandWithItsCode(t *testing.T) {
	for s, want := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		reached := make(chan struct{})
		cluster := newCluster(t, kmsg.ListOffsets, sync.OnceFunc(func() { close(reached) }))
		cmd := wadi(t, "consume", "t", "-b", cluster.ListenAddrs()[0])
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-reached
		process{cmd}.send(t, s)
		if got := (process{cmd}).exitCode(t); got != want || strings.Count(stderr(cmd), "\n") != 1 {
			t.Errorf("%v: exit code %d, want %d, said %q", s, got, want, stderr(cmd))
		}
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	reached := make(chan struct{})
	// Records under way are waited for after the first signal; these are never answered.
	cluster := newCluster(t, kmsg.Produce, sync.OnceFunc(func() { close(reached) }))
	cmd := wadi(t, "produce", "t", "-b", cluster.ListenAddrs()[0])
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(stdin, "a\n"); err != nil {
		t.Fatal(err)
	}
	<-reached
	// Nothing shows when the first has arrived, and signals that are pending are
	// one, so they are sent until two were.
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for again := time.NewTicker(time.Millisecond); ; <-again.C {
		select {
		case err := <-ended:
			if cmd.ProcessState.ExitCode() != 143 || stderr(cmd) != "wadi: second signal (terminated): stopping at once\n" {
				t.Errorf("%v, want exit status 143; said %q", err, stderr(cmd))
			}
			return
		default:
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Fatal(err)
			}
		}
	}
}

// waitForSignals is a command that says when it is ready, and which signal was
// the first, and never ends by itself.
func waitForSignals() {
	ctx, _ := withSignals()
	fmt.Println("ready")
	<-ctx.Done()
	fmt.Println(context.Cause(ctx))
	select {}
}

func TestSecondSignalGivesTheExitCode(t *testing.T) {
	for _, c := range []struct {
		first, second syscall.Signal
		cause         string
		code          int
		says          string
	}{
		{syscall.SIGINT, syscall.SIGTERM, "interrupted", 143, "wadi: second signal (terminated): stopping at once\n"},
		{syscall.SIGTERM, syscall.SIGINT, "terminated", 130, "wadi: second signal (interrupted): stopping at once\n"},
	} {
		cmd := command(t, "wadi-signals")
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(stdout)
		for _, step := range []struct {
			line string
			next syscall.Signal
		}{{"ready\n", c.first}, {c.cause + "\n", c.second}} {
			if line, err := lines.ReadString('\n'); line != step.line {
				t.Errorf("%v, %v: got %q, %v; want %q", c.first, c.second, line, err, step.line)
			}
			process{cmd}.send(t, step.next)
		}
		if got := (process{cmd}).exitCode(t); got != c.code || stderr(cmd) != c.says {
			t.Errorf("%v, %v: exit code %d, want %d; said %q", c.first, c.second, got, c.code, stderr(cmd))
		}
	}
}

func TestClosedPipeEndsConsumeQuietly(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	produce := wadi(t, "produce", "t", "-q", "-b", cluster.ListenAddrs()[0])
	produce.Stdin = strings.NewReader(strings.Repeat("a line that fills pipes\n", 100_000))
	if err := produce.Run(); err != nil {
		t.Fatal(err, stderr(produce))
	}

	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	consume := wadi(t, "consume", "t", "-b", cluster.ListenAddrs()[0])
	consume.Stdout = w
	if err := consume.Start(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil { // our copy
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(r).ReadString('\n'); err != nil || line != "a line that fills pipes\n" {
		t.Errorf("got %q, %v", line, err)
	}
	if err := r.Close(); err != nil { // as head does
		t.Fatal(err)
	}
	if got := (process{consume}).exitCode(t); got != -1 || stderr(consume) != "" { // -1: ended by a signal
		t.Errorf("exit code %d, said %q; want SIGPIPE and silence", got, stderr(consume))
	}
}
