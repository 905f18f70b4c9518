// Command wadi runs an agent (a Kafka-protocol broker without disks of its
// own) and the client commands that go with it.
//
// Package main only puts the commands together: settings come from
// internal/settings, the broker is package agent, and the client commands, one
// package each, speak Kafka's protocol to any cluster.
//
// What a command was asked for goes to standard output, everything else to
// standard error. The exit code is 0 for success, 1 for failure, and 128 plus
// the signal's number when a signal ended a command early; some commands have more, and say so.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

func main() {
	ctx, stop := withSignals()
	err := rootCommand().ExecuteContext(ctx)
	stop()
	if err == nil {
		return
	}
	// Several errors (of a config, of several topics) are several lines.
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintln(os.Stderr, "wadi: "+strings.TrimRight(line, "\n"))
	}
	if signalled := (interruption{}); errors.As(err, &signalled) {
		os.Exit(signalled.exitCode())
	}
	if coded := (interface{ ExitCode() int })(nil); errors.As(err, &coded) {
		os.Exit(coded.ExitCode())
	}
	os.Exit(1)
}
