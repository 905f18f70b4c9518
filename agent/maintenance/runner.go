package maintenance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/time/rate"
)

const (
	// lookEvery is how often a waiting job looks whether its interval or its pause changed, and a
	// running one whether it is paused.
	lookEvery = time.Second
	// settles is how long a new agent leaves clients to themselves, as Kafka does by log.initial.task.delay.ms.
	settles = 30 * time.Second
	// firstRetry and lastRetry bound the waits after rounds that failed.
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute
)

// AllJobs pauses every job, in place of a job's name.
const AllJobs = "all"

// errPaused is why a round under way was cut off.
var errPaused = errors.New("paused by wadi.jobs.paused")

// Runner runs the rounds of jobs, those of each one after the other.
type Runner struct {
	jobs    []Job
	paused  func() []string
	limiter *rate.Limiter
	metrics *Metrics
	log     *slog.Logger
	// heavy has one place, for the job whose round reads or writes much. Those that wait get it in turn.
	heavy chan struct{}
}

// NewRunner returns a runner of the jobs. paused names those that are not to run now, by name or
// all of them by AllJobs; it is asked every second, and a round of a job that it names is cut off. bandwidth
// bounds the bytes a second that all jobs read and write; 0 is no bound.
func NewRunner(jobs []Job, paused func() []string, bandwidth int64, metrics *Metrics, log *slog.Logger) *Runner {
	limiter := rate.NewLimiter(rate.Inf, 1<<20)
	if bandwidth > 0 {
		// A quarter of a second's bytes at once: small against what else shares the network.
		limiter = rate.NewLimiter(rate.Limit(bandwidth), int(min(max(bandwidth/4, 1), 64<<20)))
	}
	for _, job := range jobs {
		metrics.show(job.Name)
	}
	return &Runner{jobs: jobs, paused: paused, limiter: limiter, metrics: metrics, log: log, heavy: make(chan struct{}, 1)}
}

// Run runs the jobs until ctx ends, and returns when the last round has.
func (r *Runner) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, job := range r.jobs {
		running.Go(func() { r.run(ctx, job, NewProgress(job.Name, r.limiter, r.metrics)) })
	}
	running.Wait()
}

// run runs the rounds of one job. The first comes at any time within its interval, though not at once, so that agents that were
// started together don't work together.
func (r *Runner) run(ctx context.Context, job Job, progress *Progress) {
	retry := backoff.NewExponentialBackOff()
	retry.InitialInterval, retry.MaxInterval = firstRetry, lastRetry
	retry.RandomizationFactor = 0.5
	var failed time.Duration // the wait after a failure, 0 after a success
	share, started, more := rand.Float64(), false, false
	for r.wait(ctx, job, func() time.Duration {
		switch {
		case failed > 0:
			return failed
		case more:
			return 0
		}
		every := job.Every()
		if !started {
			least := min(settles, every/2)
			return least + time.Duration(share*float64(every-least))
		}
		return time.Duration(share * float64(every))
	}) {
		var err error
		more, err = r.round(ctx, job, progress)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errPaused):
			more = true // what was cut off
			fallthrough
		case err == nil:
			retry.Reset()
			failed = 0
		default:
			failed = retry.NextBackOff()
			r.metrics.failures.WithLabelValues(job.Name).Inc()
			r.log.Warn("background work failed; it is tried again", "job", job.Name, "again_in", failed.Round(time.Millisecond), "error", err)
		}
		share, started = 0.5+rand.Float64(), true
	}
}

// wait waits for as long as is asked for, which may change meanwhile, and while the job is paused. It
// reports false when ctx has ended.
func (r *Runner) wait(ctx context.Context, job Job, period func() time.Duration) bool {
	began := time.Now()
	for ctx.Err() == nil {
		left := period() - time.Since(began)
		if r.isPaused(job) {
			left = lookEvery
		}
		if left <= 0 {
			return true
		}
		pause(ctx, min(left, lookEvery))
	}
	return false
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (r *Runner) isPaused(job Job) bool {
	names := r.paused()
	paused := slices.Contains(names, job.Name) || slices.Contains(names, AllJobs)
	gauge := r.metrics.paused.WithLabelValues(job.Name)
	gauge.Set(0)
	if paused {
		gauge.Set(1)
	}
	return paused
}

// round does one round when it is the job's turn. With errPaused it was cut off.
func (r *Runner) round(ctx context.Context, job Job, progress *Progress) (more bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel(nil)
	watching.Go(func() {
		for ctx.Err() == nil {
			if r.isPaused(job) {
				cancel(errPaused)
				return
			}
			pause(ctx, lookEvery)
		}
	})
	if job.Heavy {
		if err := r.turn(ctx, job); err != nil {
			return true, err
		}
		defer func() { <-r.heavy }()
	}
	began := time.Now()
	more, err = protected(ctx, job, progress)
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errPaused) {
		return true, cause
	}
	r.metrics.rounds.WithLabelValues(job.Name).Inc()
	r.metrics.seconds.WithLabelValues(job.Name).Observe(time.Since(began).Seconds())
	return more, err
}

// turn waits for the place of heavy rounds and takes it. An error is why ctx ended.
func (r *Runner) turn(ctx context.Context, job Job) error {
	if job.Waits != nil {
		waiting, come := context.WithCancel(ctx)
		var keeping sync.WaitGroup
		defer keeping.Wait()
		defer come()
		keeping.Go(func() { job.Waits(waiting) })
	}
	select {
	case r.heavy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// protected calls the job. A panic is a bug in background work, for which clients must not pay.
func protected(ctx context.Context, job Job, progress *Progress) (more bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			more, err = false, fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return job.Round(ctx, progress)
}
