package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// interruption is the cause of a context that a signal ended.
type interruption struct{ signal syscall.Signal }

func (i interruption) Error() string {
	return map[syscall.Signal]string{syscall.SIGINT: "interrupted", syscall.SIGTERM: "terminated"}[i.signal]
}

// exitCode is what a shell reports for a process that the signal killed.
func (i interruption) exitCode() int { return 128 + int(i.signal) }

// withSignals returns a context that the first SIGINT or SIGTERM ends, with an
// interruption as its cause. The second one ends the process at once:
// draining may take longer than somebody has time for. stop gives the signals back.
func withSignals() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for first := true; ; first = false {
			select {
			case <-done:
				return
			case received := <-signals:
				interrupted := interruption{received.(syscall.Signal)}
				if !first {
					fmt.Fprintf(os.Stderr, "wadi: second signal (%s): stopping at once\n", interrupted)
					os.Exit(interrupted.exitCode())
				}
				cancel(interrupted)
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		<-ended
	}
}
