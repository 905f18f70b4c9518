//go:build unix && !linux

package harness

import (
	"syscall"
	"time"
)

// dieWithParent does nothing where the kernel has no parent-death signal: the
// child stays in our process group, so that an interrupt from the terminal
// still reaches it.
func dieWithParent(*syscall.SysProcAttr, syscall.Signal) {}

// killFamily ends Postgres without a checkpoint; its children can't be
// listed portably, but end themselves when told to quit.
func killFamily(p *process) error {
	_, err := p.stop(syscall.SIGQUIT, 10*time.Second)
	return err
}
