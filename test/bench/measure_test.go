package bench

import (
	"fmt"
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
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", a.PID()))
	if err != nil {
		b.Skipf("CPU time of the agent: %v (needs Linux's /proc)", err)
	}
	// Fields 14 and 15 are user and system time in ticks of 10 ms, 24 the
	// resident pages; the command in field 2 may contain spaces.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	number := func(field int) int64 {
		n, err := strconv.ParseInt(fields[field-3], 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		return n
	}
	return usage{
		cpu: time.Duration(number(14)+number(15)) * 10 * time.Millisecond,
		rss: number(24) * int64(os.Getpagesize()),
	}
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
