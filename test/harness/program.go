package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Program is a process that a test runs beside the servers: a client in another
// language, say. Its methods fail the test when they can't do what they are for, so
// call them from the test's own goroutine.
type Program struct {
	t       testing.TB
	name    string
	folder  string
	process *process
	ended   bool // by Stop or Kill; otherwise an end is a crash
}

// StartProgram starts a command, which goes by the name in what the test says. After the
// test it is killed; the test fails if it had ended by itself.
func StartProgram(t testing.TB, name string, cmd *exec.Cmd) *Program {
	t.Helper()
	p := &Program{t: t, name: name}
	var err error
	if p.folder, err = current.newFolder("program"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.cleanup)
	if p.process, err = launch(cmd, p.logPath(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	return p
}

// Kill ends the program with SIGKILL.
func (p *Program) Kill() {
	p.t.Helper()
	p.end()
	if err := p.process.kill(); err != nil {
		p.t.Fatal(err)
	}
}

// Stop asks the program to end (SIGTERM), waits until it has and returns its exit code.
func (p *Program) Stop() int {
	p.t.Helper()
	p.end()
	code, err := p.process.stop(syscall.SIGTERM, time.Minute)
	if err != nil {
		p.t.Fatal(err)
	}
	return code
}

// Wait waits until the program has ended by itself, which it was told to in a way of its own, and returns its exit code. One
// that has not within the limit is killed.
func (p *Program) Wait(limit time.Duration) (code int, ended bool) {
	p.t.Helper()
	p.ended = true
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.process.ended:
		return p.process.exitCode(), true
	case <-timer.C:
	}
	if err := p.process.kill(); err != nil {
		p.t.Fatal(err)
	}
	return p.process.exitCode(), false
}

// Check fails the test if the program has ended by itself.
func (p *Program) Check() {
	p.t.Helper()
	if !p.process.running() && !p.ended {
		p.ended = true // reported once
		p.t.Fatalf("%s ended by itself, with code %d", p.name, p.process.exitCode())
	}
}

// end notes that the test itself ends the program, which must still run.
func (p *Program) end() {
	p.t.Helper()
	p.Check()
	p.ended = true
}

func (p *Program) logPath() string { return filepath.Join(p.folder, "log") }

func (p *Program) cleanup() {
	if p.process != nil {
		if !p.process.running() && !p.ended {
			p.t.Errorf("%s ended by itself, with code %d", p.name, p.process.exitCode())
		}
		if err := p.process.kill(); err != nil {
			p.t.Error(err)
		}
	}
	if p.t.Failed() {
		p.t.Logf("log of %s:\n%s", p.name, logTail(p.logPath()))
	}
	if err := os.RemoveAll(p.folder); err != nil {
		p.t.Error(err)
	}
}
