package maintenance

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// dueSince is the metric of how long each job's oldest work has been due. That is computed when the metric is
// read, so it also grows while nobody looks: the job is paused, fails, or waits for others.
type dueSince struct {
	desc *prometheus.Desc

	mu    sync.Mutex
	since map[string]time.Time // by job: zero if nothing is due, later than now if something will be
}

func newDueSince(name, help string) *dueSince {
	return &dueSince{desc: prometheus.NewDesc(name, help, []string{"name"}, nil), since: map[string]time.Time{}}
}

func (d *dueSince) set(job string, since time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.since[job] = since
}

// Describe implements prometheus.Collector.
func (d *dueSince) Describe(ch chan<- *prometheus.Desc) { ch <- d.desc }

// Collect implements prometheus.Collector.
func (d *dueSince) Collect(ch chan<- prometheus.Metric) {
	for job, age := range d.ages() {
		ch <- prometheus.MustNewConstMetric(d.desc, prometheus.GaugeValue, age.Seconds(), job)
	}
}

func (d *dueSince) ages() map[string]time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	ages := make(map[string]time.Duration, len(d.since))
	for job, since := range d.since {
		ages[job] = 0
		if !since.IsZero() {
			ages[job] = max(0, time.Since(since))
		}
	}
	return ages
}
