package bench

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wadi-log/wadi/test/harness"
)

// usage is what a process has used so far.
type usage struct {
	cpu time.Duration
	rss int64 // bytes, now
}

// used reads the usage of an agent from /proc.
func used(b *testing.B, a *harness.AgentProcess) usage {
	b.Helper()
	return processUsage(b, strconv.Itoa(a.PID()))
}

// processUsage reads the usage of a process, by its ID or "self".
func processUsage(b *testing.B, pid string) usage {
	b.Helper()
	s := stat(b, pid)
	return usage{cpu: s.ticks(statUser, statSystem), rss: s.number(statResidentPages) * int64(os.Getpagesize())}
}

// requests returns how many requests of a verb the agent made to its object store.
func requests(m map[string]float64, verb string) float64 {
	sum := 0.0
	for sample, v := range m {
		if strings.HasPrefix(sample, "wadi_objstore_requests_total{") && strings.Contains(sample, `"`+verb+`"`) {
			sum += v
		}
	}
	return sum
}

func mbPerSecond(bytes int64, d time.Duration) float64 { return float64(bytes) / 1e6 / d.Seconds() }

func perGiB(d time.Duration, bytes int64) float64 { return d.Seconds() / (float64(bytes) / (1 << 30)) }

// quantile returns the q-quantile of the durations in milliseconds.
func quantile(d []time.Duration, q float64) float64 {
	slices.Sort(d)
	return float64(d[min(len(d)-1, int(q*float64(len(d))))].Microseconds()) / 1000
}
