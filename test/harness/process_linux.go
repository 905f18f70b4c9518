package harness

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// dieWithParent has the kernel signal the child when we die, however that
// happens. The child gets a process group of its own: an interrupt from the
// terminal is for the tests to act on, not for the servers under them.
func dieWithParent(attr *syscall.SysProcAttr, death syscall.Signal) {
	attr.Pdeathsig = death
	attr.Setpgid = true
}

// killFamily ends a process and its children with SIGKILL, the parent first, so
// that it can neither clean up after them nor start more. It returns when all
// are gone: Postgres does not start again while one still holds its shared memory.
func killFamily(p *process) error {
	pid := p.cmd.Process.Pid
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil && !errors.Is(err, os.ErrProcessDone) { // it starts none while they are listed
		return fmt.Errorf("stop %d: %w", pid, err)
	}
	list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return fmt.Errorf("list the children of %d: %w", pid, err)
	}
	var children []int
	for field := range strings.FieldsSeq(string(list)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			return fmt.Errorf("list the children of %d: %w", pid, err)
		}
		children = append(children, child)
	}
	errs := []error{p.kill()}
	for _, child := range children {
		if err := syscall.Kill(child, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("kill %d: %w", child, err))
			continue
		}
		errs = append(errs, poll(10*time.Second, nil, func() error { return gone(child) }))
	}
	return errors.Join(errs...)
}

// gone returns nil when the process has ended, be it that nobody has reaped it yet.
func gone(pid int) error {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	// "pid (name) state ...", where the name may hold anything.
	_, state, _ := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " ")
	if strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X") {
		return nil
	}
	return fmt.Errorf("process %d still runs after SIGKILL", pid)
}
