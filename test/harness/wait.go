package harness

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"testing"
	"time"
)

// Eventually tries until attempt returns nil, and fails the test with the
// last error when that has not happened within limit. The limit is for the
// slowest machine; no test should depend on how much of it is used.
func Eventually(t testing.TB, limit time.Duration, attempt func() error) {
	t.Helper()
	if err := poll(limit, nil, attempt); err != nil {
		t.Fatal(err)
	}
}

// poll tries every 20 ms until attempt returns nil, limit has passed or the
// process p, where given, has ended.
func poll(limit time.Duration, p *process, attempt func() error) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var ended chan struct{}
	if p != nil {
		ended = p.ended
	}
	for {
		err := attempt()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return fmt.Errorf("not within %v: %w", limit, err)
		case <-ended:
			return fmt.Errorf("%w with code %d", errEnded, p.code)
		}
	}
}

// errEnded: a server ended before it was ready.
var errEnded = errors.New("the process ended")

// freePort returns a port of 127.0.0.1 that nobody listens on. It lies below
// the ports that systems give to outgoing connections: a server that is
// stopped and started again in a test must find its port free, and a client
// that retries meanwhile must not connect to itself.
func freePort() (int, error) {
	for range 100 {
		port := 10_000 + rand.IntN(22_000)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return 0, err
		}
		return port, nil
	}
	return 0, errors.New("no free port on 127.0.0.1 in 100 tries between 10000 and 32000")
}

// FreeAddress returns an address of 127.0.0.1 with a port that nobody listens on, for a server that a
// test starts by itself.
func FreeAddress(t testing.TB) string {
	t.Helper()
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// portAttempts: between freePort and the server's listen another process may
// take the port; then start again on another one.
const portAttempts = 3

// logTail returns at most the last 16 KiB of a log, to show with a failure.
func logTail(path string) string {
	const limit = 16 << 10
	b, err := os.ReadFile(path)
	switch {
	case err != nil:
		return err.Error()
	case len(b) > limit:
		return "...\n" + string(b[len(b)-limit:])
	}
	return string(b)
}
