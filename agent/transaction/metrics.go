package transaction

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-log/wadi/metadata"
)

// Metrics counts what transactions cost.
type Metrics struct {
	seconds   prometheus.Histogram
	requests  prometheus.Histogram
	lost      prometheus.Counter
	ended     *prometheus.CounterVec
	forgotten prometheus.Counter
}

// NewMetrics registers the metrics with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wadi_transaction_change_seconds", Help: "Time of a call of the metadata store that changes transactions.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16)}),
		requests: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wadi_transaction_change_requests", Help: "Requests in one call of the metadata store that changes transactions.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 11)}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wadi_transaction_lost_calls_total", Help: "Calls that change transactions of which nobody knows what became, as the answer of the metadata store was lost."}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wadi_transaction_ended_total", Help: "Transactions ended by their producers (commit, abort; repetitions count too), or because their timeout had passed (expire)."},
			[]string{"how"}),
		forgotten: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wadi_transaction_forgotten_ids_total", Help: "Transactional IDs deleted because nobody used them."}),
	}
	for _, how := range []string{"commit", "abort", "expire"} {
		m.ended.WithLabelValues(how) // shown as 0 before the first
	}
	reg.MustRegister(m.seconds, m.requests, m.lost, m.ended, m.forgotten)
	return m
}

func (m *Metrics) called(requests []metadata.TransactionRequest, results []metadata.TransactionResult, took time.Duration) {
	m.seconds.Observe(took.Seconds())
	m.requests.Observe(float64(len(requests)))
	for i, r := range requests {
		if how := ends(r.Op); how != "" && results[i].Err == nil {
			m.ended.WithLabelValues(how).Inc()
		}
	}
}

// ends says how an operation ends a transaction, "" if it isn't there for that.
func ends(op metadata.TransactionOp) string {
	switch op := op.(type) {
	case metadata.EndTransaction:
		if op.Commit {
			return "commit"
		}
		return "abort"
	case metadata.ExpireTransaction:
		return "expire"
	}
	return ""
}
