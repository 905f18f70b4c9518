// Package measure reads what processes use from outside: an agent's CPU time and memory, a Postgres
// with all its processes, and what agents count in their metrics. It needs Linux's /proc, and
// skips a test elsewhere.
package measure

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Usage is what a process has used so far.
type Usage struct {
	CPU time.Duration
	RSS int64 // bytes, now
}

// Process returns the usage of a process.
func Process(t testing.TB, pid int) Usage {
	t.Helper()
	return usage(readStat(t, strconv.Itoa(pid)))
}

// Self returns the usage of the test itself.
func Self(t testing.TB) Usage {
	t.Helper()
	return usage(readStat(t, "self"))
}

func usage(s stat) Usage {
	s.t.Helper()
	return Usage{CPU: s.ticks(statUser, statSystem), RSS: s.number(statResidentPages) * int64(os.Getpagesize())}
}

// stat are the fields of /proc/PID/stat, from the third on: the command in the
// second may contain spaces.
type stat struct {
	t      testing.TB
	fields []string
}

// Fields by their numbers in proc(5). Times are in ticks of 10 ms.
const (
	statParent         = 4
	statUser           = 14
	statSystem         = 15
	statChildrenUser   = 16
	statChildrenSystem = 17
	statResidentPages  = 24
)

// readStat reads the fields of a process, by its ID or "self".
func readStat(t testing.TB, pid string) stat {
	t.Helper()
	raw, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		t.Skipf("CPU time of a process: %v (needs Linux's /proc)", err)
	}
	return parseStat(t, string(raw))
}

func parseStat(t testing.TB, raw string) stat {
	return stat{t, strings.Fields(raw[strings.LastIndexByte(raw, ')')+1:])}
}

func (s stat) number(field int) int64 {
	s.t.Helper()
	n, err := strconv.ParseInt(s.fields[field-3], 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s stat) ticks(fields ...int) (sum time.Duration) {
	s.t.Helper()
	for _, f := range fields {
		sum += time.Duration(s.number(f)) * 10 * time.Millisecond
	}
	return sum
}

// Requests returns how many requests of a verb ("put", "get") an agent made to its object store, by its metrics.
func Requests(metrics map[string]float64, verb string) float64 {
	sum := 0.0
	for sample, v := range metrics {
		if strings.HasPrefix(sample, "wadi_objstore_requests_total{") && strings.Contains(sample, `"`+verb+`"`) {
			sum += v
		}
	}
	return sum
}
