package harness

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestProgramEndsAsItIsAsked(t *testing.T) {
	p := StartProgram(t, "a shell", exec.Command("/bin/sh", "-c", `trap "exit 7" TERM; echo ready; while :; do sleep 1; done`))
	Eventually(t, time.Minute, func() error {
		if log := logTail(p.logPath()); log != "ready\n" {
			return fmt.Errorf("it printed %q", log)
		}
		return nil
	})
	p.Check()
	if code := p.Stop(); code != 7 {
		t.Errorf("stopped with code %d, want the program's own", code)
	}
	p.Check() // the test ended it
	p = StartProgram(t, "a shell", exec.Command("/bin/sh", "-c", `trap "" TERM; echo ready; while :; do sleep 1; done`))
	p.Kill()
	if p.process.running() {
		t.Error("it runs after Kill")
	}
}

func TestProgramThatWasToldToEndIsWaitedFor(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", `read line; exit 5`)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := StartProgram(t, "a shell", cmd)
	p.Check()
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if code, ended := p.Wait(time.Minute); code != 5 || !ended {
		t.Errorf("ended %v, with code %d; want its own", ended, code)
	}
	p.Check()
	p = StartProgram(t, "a shell", exec.Command("/bin/sh", "-c", "while :; do sleep 1; done"))
	if _, ended := p.Wait(time.Millisecond); ended || p.process.running() {
		t.Errorf("one that does not end: ended %v, runs %v", ended, p.process.running())
	}
}

func TestProgramThatEndsByItselfFailsTheTest(t *testing.T) {
	r := &recorder{TB: t}
	p := &Program{t: r, name: "a shell"}
	var err error
	if p.folder, err = current.newFolder("program"); err != nil {
		t.Fatal(err)
	}
	if p.process, err = launch(exec.Command("/bin/sh", "-c", "exit 3"), p.logPath(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-p.process.ended
	p.cleanup()
	if r.verdict != "error" || !strings.Contains(r.message, "a shell ended by itself, with code 3") {
		t.Errorf("verdict %q with %q", r.verdict, r.message)
	}
}
