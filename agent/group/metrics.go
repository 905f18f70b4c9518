package group

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what groups cost.
type Metrics struct {
	reg              prometheus.Registerer
	cachedHeartbeats prometheus.Counter
	loads            prometheus.Histogram
	stores           prometheus.Counter
	conflicts        prometheus.Counter
	notedGroups      prometheus.Counter
	offsets          prometheus.Counter
	expired          prometheus.Counter
	commit           prometheus.Histogram
	commitRequests   prometheus.Histogram
}

// NewMetrics registers the metrics with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &Metrics{
		reg:              reg,
		cachedHeartbeats: counter("wadi_group_cached_heartbeats_total", "Heartbeats answered without the metadata store."),
		loads: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wadi_group_loads", Help: "Groups read from the metadata store in one query.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 7)}),
		stores:      counter("wadi_group_stores_total", "States of groups written to the metadata store, also in vain."),
		conflicts:   counter("wadi_group_conflicts_total", "States of groups that another agent had changed first, so that they were computed again."),
		notedGroups: counter("wadi_group_noted_total", "Groups whose members were noted as alive in the metadata store."),
		offsets:     counter("wadi_group_committed_offsets_total", "Committed offsets written to the metadata store."),
		expired:     counter("wadi_group_expired_offsets_total", "Committed offsets deleted because their time was over."),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wadi_group_offset_commit_seconds", Help: "Time of a transaction that commits offsets.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14)}),
		commitRequests: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wadi_group_offset_commit_requests", Help: "OffsetCommit requests in one transaction.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 12)}),
	}
	reg.MustRegister(m.cachedHeartbeats, m.loads, m.stores, m.conflicts, m.notedGroups, m.offsets, m.expired, m.commit, m.commitRequests)
	return m
}

// watch registers the gauges of a coordinator.
func (m *Metrics) watch(c *Coordinator) {
	m.reg.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "wadi_group_parked", Help: "JoinGroup and SyncGroup requests that wait for other members.",
		}, func() float64 { return float64(c.parked()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "wadi_group_active", Help: "Groups that this agent had requests for lately.",
		}, func() float64 { return float64(len(c.all())) }),
	)
}

func (m *Metrics) committed(offsets, requests int, took time.Duration) {
	m.offsets.Add(float64(offsets))
	m.commitRequests.Observe(float64(requests))
	m.commit.Observe(took.Seconds())
}

// parked is the number of requests that wait for other members.
func (c *Coordinator) parked() (n int) {
	for _, l := range c.all() {
		l.mu.Lock()
		n += len(l.parked)
		l.mu.Unlock()
	}
	return n
}
