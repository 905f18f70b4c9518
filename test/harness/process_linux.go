package harness

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// dieWithParent has the kernel signal the child when we die, however that
// happens. The child gets a process group of its own: an interrupt from the
// terminal is for the tests to act on, not for the servers under them.
func dieWithParent(attr *syscall.SysProcAttr, death syscall.Signal) {
	attr.Pdeathsig = death
	attr.Setpgid = true
}

// killFamily ends a process and its children with SIGKILL, the parent first, so
// that it can neither clean up after them nor start more.
func killFamily(p *process) error {
	pid := p.cmd.Process.Pid
	list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return fmt.Errorf("list the children of %d: %w", pid, err)
	}
	errs := []error{p.kill()}
	for field := range strings.FieldsSeq(string(list)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			return fmt.Errorf("list the children of %d: %w", pid, err)
		}
		if err := syscall.Kill(child, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("kill %d: %w", child, err))
		}
	}
	return errors.Join(errs...)
}
