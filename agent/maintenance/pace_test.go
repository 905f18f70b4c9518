package maintenance

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// TestPaceLeavesHalfOfTheTime: a job that works a millisecond at a time is paused for as long as it worked,
// not longer than longestPause at a time, and not at all in a hurry or after its end.
func TestPaceLeavesHalfOfTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		p := NewProgress("merge", rate.NewLimiter(rate.Inf, 1), NewMetrics(prometheus.NewRegistry()))
		work := func(steps int, each time.Duration) time.Duration {
			began := time.Now()
			for range steps {
				<-time.After(each)
				if err := p.Pace(ctx); err != nil {
					t.Fatal(err)
				}
			}
			return time.Since(began)
		}
		work(1, time.Millisecond) // the time before the first call is none of its work
		if took := work(100, time.Millisecond); took < 195*time.Millisecond || took > 205*time.Millisecond {
			t.Errorf("100 ms of work took %v", took)
		}
		if took := work(1, time.Second); took != time.Second+longestPause {
			t.Errorf("a step of a second took %v", took)
		}
		p.Hurry(true)
		if took := work(100, time.Millisecond); took != 100*time.Millisecond {
			t.Errorf("in a hurry, 100 ms of work took %v", took)
		}
		p.Hurry(false)
		cancel()
		if err := p.Pace(ctx); err == nil {
			t.Error("a job went on after its end")
		}
	})
}

func TestPaceLetsOthersRunFirst(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	p := NewProgress("job", rate.NewLimiter(rate.Inf, 1), NewMetrics(prometheus.NewRegistry()))
	var ran atomic.Bool
	go ran.Store(true)
	// Once in a while the scheduler takes who yielded again at once.
	for try := 0; try < 3 && !ran.Load(); try++ {
		p.resumed = time.Now() // so that it is not about to pause
		for began := time.Now(); time.Since(began) <= yieldsAfter; {
			continue // it computes
		}
		if err := p.Pace(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !ran.Load() {
		t.Error("nobody else ran")
	}
}
