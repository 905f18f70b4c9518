package compat

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long a script may take for one feature. The slowest, which
// wait for sessions to end several times, need half a minute where nothing else runs.
const patience = 10 * time.Minute

// outcome is what became of a feature.
type outcome struct {
	verdict verdict
	text    string // how Wadi differs, or the reason of a failure
}

type verdict string

const (
	ok      verdict = "ok"
	differs verdict = "differs"
	failed  verdict = "FAIL"
)

// tried is a feature that a script lists; the text says what is tried, and may be empty.
type tried struct {
	name string
	text string
}

// script is a suite's command, ready to run.
type script struct {
	command []string
	env     []string
	scratch string
}

// list asks the script which features it has.
func (s *script) list(t *testing.T) []tried {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.command[0], slices.Concat(s.command[1:], []string{"--list"})...)
	cmd.Env = s.env
	out, err := cmd.Output()
	if err != nil {
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			t.Fatalf("%v --list: %v\n%s", s.command, err, exit.Stderr)
		}
		t.Fatalf("%v --list: %v", s.command, err)
	}
	var features []tried
	for line := range strings.Lines(string(out)) {
		name, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		features = append(features, tried{name, text})
	}
	if len(features) == 0 {
		t.Fatalf("%v --list names no feature", s.command)
	}
	return features
}

// run tries the features and tells the outcome of each. A script that hangs or ends early fails
// the feature that it was at, and is started again with those after it.
func (s *script) run(t *testing.T, features []tried, tell func(name string, o outcome)) {
	for len(features) > 0 {
		done, reason := s.attempt(t, features, tell)
		features = features[done:]
		if len(features) > 0 {
			tell(features[0].name, outcome{failed, reason})
			features = features[1:]
		}
	}
}

// attempt runs the script once, and returns how many features it finished and
// why there are no more.
func (s *script) attempt(t *testing.T, features []tried, tell func(name string, o outcome)) (done int, reason string) {
	t.Helper()
	log, err := os.OpenFile(s.log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	args := slices.Clone(s.command[1:])
	for _, f := range features {
		args = append(args, f.name)
	}
	cmd := exec.CommandContext(t.Context(), s.command[0], args...)
	cmd.Env, cmd.Stderr = s.env, log
	// In a process group of its own: what a script started and lost ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	kill := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Cancel, cmd.WaitDelay = kill, 5*time.Second
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string)
	go scan(stdout, lines)
	defer func() {
		_ = kill() // none is left where all ended as they should
		for range lines {
		}
		_ = cmd.Wait() // the lines said what came of it
	}()
	for _, f := range features {
		select {
		case line, more := <-lines:
			if !more {
				return done, "the script ended before it said anything"
			}
			o, err := parse(line, f.name)
			if err != nil {
				return done, err.Error()
			}
			tell(f.name, o)
			done++
		case <-time.After(patience):
			return done, fmt.Sprintf("the script said nothing in %v", patience)
		}
	}
	return done, ""
}

func (s *script) log() string { return filepath.Join(s.scratch, "stderr") }

// logTail returns the last of what the script printed besides results.
func (s *script) logTail() string {
	const limit = 8 << 10
	content, err := os.ReadFile(s.log())
	if err != nil {
		return err.Error()
	}
	return string(content[max(0, len(content)-limit):])
}

// scan sends the lines of r, and closes the channel at its end.
func scan(r io.Reader, lines chan<- string) {
	defer close(lines)
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		lines <- scanner.Text()
	}
}

// parse reads the line that tells what became of the named feature.
func parse(line, name string) (outcome, error) {
	word, rest, _ := strings.Cut(line, " ")
	text, about := strings.CutPrefix(rest, name)
	reason, reasoned := strings.CutPrefix(text, ": ")
	switch v := verdict(word); {
	case about && v == ok && text == "":
		return outcome{v, ""}, nil
	case about && (v == differs || v == failed) && reasoned && reason != "":
		return outcome{v, reason}, nil
	}
	return outcome{}, fmt.Errorf("the script printed %q where the result of %q was due", line, name)
}
