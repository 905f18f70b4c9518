package maintenance

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// Progress is how a round tells what it does, and waits for its turn to do it.
// All methods are safe for concurrent use.
type Progress struct {
	job     string
	rate    *rate.Limiter
	metrics *Metrics

	mu      sync.Mutex
	hurry   bool
	resumed time.Time // when the job last came back from a pause
	yielded time.Time // and from letting others run
	waiting time.Time // since when work has been due, by Waiting
}

// NewProgress returns the progress of a job. The limiter bounds the bytes a second that
// jobs read and write; its burst is the most that one call of Read or Write waits for at a time.
func NewProgress(job string, limiter *rate.Limiter, metrics *Metrics) *Progress {
	return &Progress{job: job, rate: limiter, metrics: metrics}
}

const (
	// worksFor is how long a job works before Pace pauses it for as long.
	worksFor = 5 * time.Millisecond
	// longestPause is what a job pauses at most at a time, however long it was since it last did.
	longestPause = 100 * time.Millisecond
	// yieldsAfter is how long a job computes before it lets others run first: 10 ms, if it was left to the scheduler.
	// More often would starve it where all processors are busy, since each time it waits for all others.
	yieldsAfter = time.Millisecond
)

// Hurry says that the job can't keep up at the pace of Pace, or can again.
func (p *Progress) Hurry(hurry bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hurry = hurry
}

// Pace is called again and again by a job that computes much. It pauses about half of the time, so that the
// job is busy for longer and producers and consumers find a free processor meanwhile, and in between
// lets them run first. For a job in a hurry it does neither. Errors: ctx's.
func (p *Progress) Pace(ctx context.Context) error {
	p.mu.Lock()
	hurry, worked, computed := p.hurry, time.Since(p.resumed), time.Since(p.yielded)
	p.mu.Unlock()
	if hurry || computed < yieldsAfter {
		return ctx.Err()
	}
	if worked >= worksFor {
		pause(ctx, min(worked, longestPause))
	} else {
		runtime.Gosched()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.yielded = time.Now()
	if worked >= worksFor {
		p.resumed = p.yielded
	}
	return ctx.Err()
}

// Read waits until the job may read n more bytes from the object store, and counts them.
func (p *Progress) Read(ctx context.Context, n int64) error {
	p.metrics.read.WithLabelValues(p.job).Add(float64(n))
	return p.wait(ctx, n)
}

// Write waits until the job may write n more bytes to the object store, and counts them.
func (p *Progress) Write(ctx context.Context, n int64) error {
	p.metrics.written.WithLabelValues(p.job).Add(float64(n))
	return p.wait(ctx, n)
}

func (p *Progress) wait(ctx context.Context, n int64) error {
	for n > 0 {
		part := min(n, int64(p.rate.Burst()))
		if err := p.rate.WaitN(ctx, int(part)); err != nil {
			return err
		}
		n -= part
	}
	return nil
}

// Files counts data files that were dealt with: merged, deleted, written.
func (p *Progress) Files(n int) { p.metrics.files.WithLabelValues(p.job).Add(float64(n)) }

// Runs counts runs that were replaced, removed or written.
func (p *Progress) Runs(n int) { p.metrics.runs.WithLabelValues(p.job).Add(float64(n)) }

// Records counts records that were removed from the logs of partitions.
func (p *Progress) Records(n int64) { p.metrics.records.WithLabelValues(p.job).Add(float64(n)) }

// Deleted counts the bytes of objects that were deleted.
func (p *Progress) Deleted(bytes int64) { p.metrics.deleted.WithLabelValues(p.job).Add(float64(bytes)) }

// Refused counts objects that the object store did not let the job delete, each time.
func (p *Progress) Refused(n int) { p.metrics.refused.WithLabelValues(p.job).Add(float64(n)) }

// Damaged counts data that the job met and can't read, and so left alone: a person must look.
func (p *Progress) Damaged(n int) { p.metrics.damaged.WithLabelValues(p.job).Add(float64(n)) }

// Backlog shows how much work is due, in the job's own items, and for how long the oldest has been: from now on
// that grows by itself. Less than 0 says after how long something will be due, whoever looks then; no items and 0 that nothing is.
func (p *Progress) Backlog(items int64, oldest time.Duration) {
	var since time.Time
	if items > 0 || oldest != 0 {
		since = time.Now().Add(-oldest)
	}
	p.metrics.backlog.WithLabelValues(p.job).Set(float64(items))
	p.metrics.oldest.set(p.job, since)
}

// Waiting is Backlog of a job that does not know how long its work has been due: it counts from when the job
// first said that there was some, and anew after there was none.
func (p *Progress) Waiting(items int64) {
	p.mu.Lock()
	switch {
	case items == 0:
		p.waiting = time.Time{}
	case p.waiting.IsZero():
		p.waiting = time.Now()
	}
	since := p.waiting
	p.mu.Unlock()
	if items == 0 {
		p.Backlog(0, 0)
		return
	}
	p.Backlog(items, time.Since(since))
}

// Elsewhere says that it is another agent's turn, which shows what is due: this one saw it too long ago.
func (p *Progress) Elsewhere() {
	p.Waiting(0)
	p.BacklogBytes(0)
}

// BacklogBytes shows how many bytes are due.
func (p *Progress) BacklogBytes(n int64) {
	p.metrics.backlogBytes.WithLabelValues(p.job).Set(float64(n))
}

// Metrics are those of all jobs of an agent.
type Metrics struct {
	rounds, failures      *prometheus.CounterVec
	seconds               *prometheus.HistogramVec
	read, written         *prometheus.CounterVec
	files, runs, damaged  *prometheus.CounterVec
	records               *prometheus.CounterVec
	deleted, refused      *prometheus.CounterVec
	backlog, backlogBytes *prometheus.GaugeVec
	paused                *prometheus.GaugeVec
	oldest                *dueSince
}

// NewMetrics registers the metrics. Their label is the name of the job: one called job would become
// exported_job, since Prometheus calls so what it scrapes.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wadi_job_" + name, Help: help}, []string{"name"})
		reg.MustRegister(c)
		return c
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "wadi_job_" + name, Help: help}, []string{"name"})
		reg.MustRegister(g)
		return g
	}
	m := &Metrics{
		rounds:       counter("rounds_total", "Rounds of background work that ended, well or not."),
		failures:     counter("errors_total", "Rounds of background work that failed."),
		read:         counter("read_bytes_total", "Bytes that jobs read from the object store."),
		written:      counter("written_bytes_total", "Bytes that jobs wrote to the object store."),
		files:        counter("files_total", "Data files that jobs dealt with: merged, deleted, written."),
		runs:         counter("runs_total", "Rows of the index that jobs replaced, removed or wrote."),
		records:      counter("records_total", "Records that jobs removed from the logs of partitions."),
		deleted:      counter("deleted_bytes_total", "Bytes of objects that jobs deleted from the object store."),
		refused:      counter("refused_total", "Objects that the object store refused to delete, each time that a job tried."),
		damaged:      counter("damaged_total", "Damaged or missing data that jobs met and left alone."),
		backlog:      gauge("backlog", "Work that is due, in the job's own items, as this agent saw it last; 0 while it is another agent's turn."),
		backlogBytes: gauge("backlog_bytes", "Bytes of the work that is due, as this agent saw it last; 0 while it is another agent's turn."),
		oldest:       newDueSince("wadi_job_oldest_due_seconds", "How long the oldest work that is due has been so."),
		paused:       gauge("paused", "1 while the job is paused by wadi.jobs.paused."),
	}
	m.seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "wadi_job_round_seconds", Help: "How long rounds of background work took.",
		Buckets: prometheus.ExponentialBuckets(0.001, 4, 10),
	}, []string{"name"})
	reg.MustRegister(m.seconds, m.oldest)
	return m
}

// show makes all metrics of a job show, so that what never happened is 0 and not missing.
func (m *Metrics) show(job string) {
	for _, counter := range []*prometheus.CounterVec{m.rounds, m.failures, m.read, m.written, m.files, m.runs, m.records, m.deleted, m.refused, m.damaged} {
		counter.WithLabelValues(job)
	}
	for _, gauge := range []*prometheus.GaugeVec{m.backlog, m.backlogBytes, m.paused} {
		gauge.WithLabelValues(job)
	}
	m.oldest.set(job, time.Time{})
	m.seconds.WithLabelValues(job)
}
