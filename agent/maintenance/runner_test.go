package maintenance

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wadi-log/wadi/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// runFor runs the jobs for the time, in a bubble, and checks that they end at once then.
func runFor(t *testing.T, d time.Duration, metrics *Metrics, paused func() []string, jobs ...Job) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	began := time.Now()
	NewRunner(jobs, paused, 0, metrics, slog.New(slog.DiscardHandler)).Run(ctx)
	if ran := time.Since(began); ran != d {
		t.Errorf("ended after %v, want %v", ran, d)
	}
}

func never() []string { return nil }

func every(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

func TestRunnerSpreadsRoundsAroundTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var times []time.Time
		runFor(t, 10*time.Hour, NewMetrics(prometheus.NewRegistry()), never, Job{Name: "a", Every: every(time.Minute), Round: func(context.Context, *Progress) (bool, error) {
			times = append(times, time.Now())
			return false, nil
		}})
		if len(times) < 500 || len(times) > 720 {
			t.Errorf("%d rounds in 600 intervals", len(times))
		}
		for i := 1; i < len(times); i++ {
			if gap := times[i].Sub(times[i-1]); gap < 30*time.Second || gap > 91*time.Second {
				t.Errorf("%v between two rounds a minute apart on average", gap)
			}
		}
	})
}

// TestRunnerLeavesANewAgentToItsClients: what a client writes first, with whatever timestamps, is not gone at once.
func TestRunnerLeavesANewAgentToItsClients(t *testing.T) {
	for interval, least := range map[time.Duration]time.Duration{5 * time.Minute: 30 * time.Second, time.Second: 500 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			const jobs = 500
			began := time.Now()
			var all []Job
			var mu sync.Mutex
			firsts := map[time.Duration]bool{}
			for range jobs {
				waits := true
				all = append(all, Job{Name: "a", Every: every(interval), Round: func(context.Context, *Progress) (bool, error) {
					if waits {
						waits = false
						mu.Lock()
						defer mu.Unlock()
						firsts[time.Since(began)] = true
					}
					return false, nil
				}})
			}
			runFor(t, interval+time.Second, NewMetrics(prometheus.NewRegistry()), never, all...)
			if len(firsts) < jobs*9/10 {
				t.Errorf("%d first rounds, of different times, of %d jobs", len(firsts), jobs)
			}
			for first := range firsts {
				if first < least || first > interval {
					t.Errorf("a first round after %v, every %v", first, interval)
				}
			}
		})
	}
}

func TestRunnerGoesOnWhileMoreIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := 50
		runFor(t, 2*time.Minute, NewMetrics(prometheus.NewRegistry()), never, Job{Name: "a", Every: every(time.Minute), Round: func(context.Context, *Progress) (bool, error) {
			left--
			return left > 0, nil
		}})
		if left > 0 {
			t.Errorf("%d of 50 rounds were not done", left)
		}
	})
}

func TestRunnerFollowsAnIntervalThatShrinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var interval atomic.Int64
		interval.Store(int64(1000 * time.Hour))
		time.AfterFunc(time.Minute, func() { interval.Store(int64(time.Second)) })
		rounds := 0
		runFor(t, 2*time.Minute, NewMetrics(prometheus.NewRegistry()), never, Job{
			Name: "a", Every: func() time.Duration { return time.Duration(interval.Load()) },
			Round: func(context.Context, *Progress) (bool, error) { rounds++; return false, nil },
		})
		if rounds < 20 {
			t.Errorf("%d rounds in a minute of seconds", rounds)
		}
	})
}

func TestRunnerWaitsLongerAfterEachFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		metrics := NewMetrics(reg)
		var times []time.Time
		job := Job{Name: "a", Every: every(time.Second), Round: func(context.Context, *Progress) (bool, error) {
			times = append(times, time.Now())
			if len(times) == 1 {
				panic("a bug")
			}
			return true, errors.New("store away")
		}}
		runFor(t, 24*time.Hour, metrics, never, job)
		if n := len(times); n < 150 || n > 1000 {
			t.Errorf("%d rounds in a day of failures", n)
		}
		if first, last := times[1].Sub(times[0]), times[len(times)-1].Sub(times[len(times)-2]); first > 3*time.Second || last < 2*time.Minute || last > 8*time.Minute {
			t.Errorf("%v after the first failure, %v after the last", first, last)
		}
		if failed := testutil.ToFloat64(metrics.failures.WithLabelValues("a")); failed != float64(len(times)) {
			t.Errorf("%v failures counted of %d", failed, len(times))
		}
	})
}

func TestRunnerPausesLive(t *testing.T) {
	for _, name := range []string{"a", AllJobs} {
		synctest.Test(t, func(t *testing.T) {
			metrics := NewMetrics(prometheus.NewRegistry())
			var paused atomic.Bool
			var begun, cut, others int
			began := time.Now()
			time.AfterFunc(time.Hour, func() { paused.Store(true) })
			time.AfterFunc(2*time.Hour, func() {
				if testutil.ToFloat64(metrics.paused.WithLabelValues("a")) != 1 {
					t.Error("the metric says that the job is not paused")
				}
				paused.Store(false)
			})
			runFor(t, 3*time.Hour, metrics, func() []string {
				if paused.Load() {
					return []string{"other", name}
				}
				return nil
			}, Job{Name: "a", Heavy: true, Every: every(time.Minute), Round: func(ctx context.Context, _ *Progress) (bool, error) {
				if at := time.Since(began); at > time.Hour+time.Second && at < 2*time.Hour {
					t.Errorf("a round of a paused job after %v", at)
				}
				begun++
				<-ctx.Done() // a round that would take for ever
				cut++
				return false, ctx.Err()
			}}, Job{Name: "b", Every: every(time.Minute), Round: func(context.Context, *Progress) (bool, error) {
				others++
				return false, nil
			}})
			if begun != 2 || cut != 2 {
				t.Errorf("%d rounds begun, %d cut off; want one before and one after the pause", begun, cut)
			}
			if all := others > 150; all != (name == "a") {
				t.Errorf("%d rounds of the other job while %s was paused for an hour of three", others, name)
			}
			if testutil.ToFloat64(metrics.failures.WithLabelValues("a")) != 0 {
				t.Error("being paused counts as a failure")
			}
		})
	}
}

func TestRunnerRunsOneHeavyRoundAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		running, most, light := 0, 0, 0
		rounds := map[string]int{}
		heavy := func(name string) Job {
			return Job{Name: name, Heavy: true, Every: every(time.Second), Round: func(ctx context.Context, _ *Progress) (bool, error) {
				mu.Lock()
				running++
				most = max(most, running)
				rounds[name]++
				mu.Unlock()
				pause(ctx, time.Minute)
				mu.Lock()
				running--
				mu.Unlock()
				return true, nil // always more: the others must get their turn
			}}
		}
		runFor(t, time.Hour, NewMetrics(prometheus.NewRegistry()), never, heavy("a"), heavy("b"), heavy("c"),
			Job{Name: "light", Every: every(time.Minute), Round: func(context.Context, *Progress) (bool, error) {
				light++
				return false, nil
			}})
		if most != 1 || light < 30 {
			t.Errorf("%d heavy rounds at a time, %d light ones beside them", most, light)
		}
		for _, name := range []string{"a", "b", "c"} {
			if rounds[name] < 15 {
				t.Errorf("job %s got %d rounds of an hour that three shared", name, rounds[name])
			}
		}
	})
}

// TestRunnerKeepsWhatAJobWaitsWith: while another job has the turn, and not when the job works, is paused or stopped.
func TestRunnerKeepsWhatAJobWaitsWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var paused, waiting, working atomic.Bool
		waits := 0
		time.AfterFunc(time.Hour, func() { paused.Store(true) })
		time.AfterFunc(2*time.Hour, func() { paused.Store(false) })
		began := time.Now()
		runFor(t, 3*time.Hour, NewMetrics(prometheus.NewRegistry()), func() []string {
			if paused.Load() {
				return []string{"a"}
			}
			return nil
		}, Job{Name: "a", Heavy: true, Every: every(time.Second), Waits: func(ctx context.Context) {
			waiting.Store(true)
			defer waiting.Store(false)
			if at := time.Since(began); working.Load() || at > time.Hour && at < 2*time.Hour {
				t.Errorf("it waits for its turn after %v", at)
			}
			<-ctx.Done()
			if at := time.Since(began); at > time.Hour+time.Second && at < 2*time.Hour {
				t.Errorf("it waited for its turn until %v", at)
			}
			waits++
		}, Round: func(ctx context.Context, _ *Progress) (bool, error) {
			if waiting.Load() {
				t.Error("it waits and works")
			}
			working.Store(true)
			defer working.Store(false)
			pause(ctx, time.Second)
			return true, nil
		}}, Job{Name: "b", Heavy: true, Every: every(time.Second), Round: func(ctx context.Context, _ *Progress) (bool, error) {
			pause(ctx, time.Minute)
			return true, nil
		}})
		if waits < 100 {
			t.Errorf("it waited %d times in two hours", waits)
		}
	})
}

func TestProgressBoundsTheBandwidth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bandwidth = 1 << 20
		var took time.Duration
		job := Job{Name: "a", Every: every(time.Second), Round: func(ctx context.Context, p *Progress) (bool, error) {
			if took > 0 {
				return false, nil
			}
			began := time.Now()
			for range 10 {
				if err := errors.Join(p.Read(ctx, bandwidth), p.Write(ctx, bandwidth)); err != nil {
					return false, err
				}
			}
			took = time.Since(began)
			return false, nil
		}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		NewRunner([]Job{job}, never, bandwidth, NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler)).Run(ctx)
		if took < 19*time.Second || took > 21*time.Second {
			t.Errorf("20 s of bytes took %v", took)
		}
	})
}
