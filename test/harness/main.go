package harness

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Main is the body of TestMain: it runs the tests, stops every server that they
// started and checks that no goroutine is left. It returns the exit code.
func Main(m *testing.M) int {
	before := goleak.IgnoreCurrent()
	code := m.Run()
	if err := current.close(); err != nil {
		fmt.Fprintln(os.Stderr, "harness: clean up:", err)
		code = max(code, 1)
	}
	if code != 0 || fuzzing() {
		return code
	}
	// Idle connections of the default client are nobody's leak.
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	if err := leaks(before); err != nil {
		fmt.Fprintln(os.Stderr, "harness: goroutines left after all tests:", err)
		return 1
	}
	return 0
}

// leaks finds goroutines that don't end. goleak gives them less than half a second, which on a busy machine may not be enough to get
// to their end: half a minute is.
func leaks(options ...goleak.Option) (err error) {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		if err = goleak.Find(options...); err == nil {
			return nil
		}
	}
	return err
}

// fuzzing tells whether this process fuzzes; the fuzzing engine leaves
// goroutines of its own behind.
func fuzzing() bool {
	for _, name := range []string{"test.fuzz", "test.fuzzworker"} {
		f := flag.Lookup(name)
		if f != nil && f.Value.String() != f.DefValue {
			return true
		}
	}
	return false
}
