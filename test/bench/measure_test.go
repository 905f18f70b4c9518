package bench

import (
	"slices"
	"testing"
	"time"

	"github.com/wadi-log/wadi/test/harness"
	"github.com/wadi-log/wadi/test/measure"
)

// used is what an agent has used so far.
func used(b *testing.B, a *harness.AgentProcess) measure.Usage {
	b.Helper()
	return measure.Process(b, a.PID())
}

func mbPerSecond(bytes int64, d time.Duration) float64 { return float64(bytes) / 1e6 / d.Seconds() }

func perGiB(d time.Duration, bytes int64) float64 { return d.Seconds() / (float64(bytes) / (1 << 30)) }

// quantile returns the q-quantile of the durations in milliseconds.
func quantile(d []time.Duration, q float64) float64 {
	slices.Sort(d)
	return float64(d[min(len(d)-1, int(q*float64(len(d))))].Microseconds()) / 1000
}
