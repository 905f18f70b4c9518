package harness

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
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

// Ports lie below those that systems give to outgoing connections: a server that is stopped and started again in a
// test must find its port free, and a client that retries meanwhile must not connect to itself. Test processes that run side
// by side take them from ranges of their own.
const (
	firstPort  = 10_000
	portRanges = 22
	rangePorts = 1000
)

// ports are those of this process.
var ports portRange

type portRange struct {
	mu    sync.Mutex // guards what follows
	lock  *os.File   // is held while the process lives
	first int
	given int // how many ports were given, from a random one on
}

// freePort returns a port of 127.0.0.1 that nobody listens on, and that was not given before, as long as there are others.
func freePort() (int, error) {
	ports.mu.Lock()
	defer ports.mu.Unlock()
	if ports.lock == nil {
		if err := ports.claim(); err != nil {
			return 0, err
		}
	}
	for range rangePorts {
		port := ports.first + ports.given%rangePorts
		ports.given++
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return 0, err
		}
		return port, nil
	}
	return 0, fmt.Errorf("no free port on 127.0.0.1 from %d to %d", ports.first, ports.first+rangePorts-1)
}

// claim finds a range that no other process has.
func (p *portRange) claim() error {
	var errs []error
	for _, i := range rand.Perm(portRanges) {
		// Left behind, as removing it would let two processes lock two files of its name. Users have files of their own: few may open
		// another's.
		lock, err := os.OpenFile(filepath.Join(os.TempDir(), fmt.Sprintf("wadi-ports-%d-of-%d", i, os.Getuid())), os.O_CREATE|os.O_RDWR, 0o600)
		if err == nil {
			if err = tryLock(lock); err == nil {
				p.lock, p.first, p.given = lock, firstPort+i*rangePorts, rand.IntN(rangePorts)
				return nil
			}
			err = errors.Join(err, lock.Close())
		}
		errs = append(errs, err)
	}
	return fmt.Errorf("no range of ports is free: %w", errors.Join(errs...))
}

// FreePort is FreeAddress without the host.
func FreePort(t testing.TB) int {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// FreeAddress returns an address of 127.0.0.1 with a port that nobody listens on, for a server that a
// test starts by itself.
func FreeAddress(t testing.TB) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(FreePort(t)))
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
