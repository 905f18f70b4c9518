package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// process is a running child. It is reaped as soon as it ends.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when reaped; then exitCode may be read
	code  int
}

// launch starts cmd, whose output goes to the end of the file logPath, so that it dies with
// this process: by the signal death, where the system can do that.
func launch(cmd *exec.Cmd, logPath string, death syscall.Signal) (*process, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the child has its own descriptor
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	dieWithParent(cmd.SysProcAttr, death)
	if err := current.spawn(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	go p.reap()
	return p, nil
}

func (p *process) reap() {
	// The error only repeats the exit state, which the code tells.
	_ = p.cmd.Wait()
	p.code = p.cmd.ProcessState.ExitCode()
	close(p.ended)
}

// running tells whether the process has not ended yet; a nil process has.
func (p *process) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// stop sends sig and waits at most grace for the process to end, then kills it
// and says so. It returns the exit code, -1 after a death by signal.
func (p *process) stop(sig syscall.Signal, grace time.Duration) (int, error) {
	if !p.running() {
		return p.exitCode(), nil
	}
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return -1, fmt.Errorf("signal %s: %w", p.cmd.Path, err)
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.ended:
		return p.code, nil
	case <-timer.C:
		return -1, errors.Join(fmt.Errorf("%s still runs %v after %v, killed", p.cmd.Path, grace, sig), p.kill())
	}
}

// kill ends the process with SIGKILL and waits until it is gone.
func (p *process) kill() error {
	if !p.running() {
		return nil
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.cmd.Path, err)
	}
	<-p.ended
	return nil
}

func (p *process) exitCode() int {
	if p == nil {
		return -1
	}
	<-p.ended
	return p.code
}
