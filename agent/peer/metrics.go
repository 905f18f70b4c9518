package peer

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics counts what agents of a zone ask of each other.
type Metrics struct {
	ok, absent, failed, skipped prometheus.Counter
	calls                       prometheus.Counter
	received, sent              prometheus.Counter
}

// NewMetrics registers the metrics with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	factory := promauto.With(reg)
	requests := factory.NewCounterVec(prometheus.CounterOpts{
		Name: "wadi_peer_requests_total",
		Help: "Ranges of data files that another agent of the zone owns, by result: ok; absent (the object store doesn't have it); " +
			"failed, and skipped (the owner failed before), for which this agent asked the object store itself.",
	}, []string{"result"})
	bytes := factory.NewCounterVec(prometheus.CounterOpts{
		Name: "wadi_peer_bytes_total", Help: "Bytes of data files from (in) and to (out) other agents of the zone.",
	}, []string{"direction"})
	return &Metrics{
		ok: requests.WithLabelValues("ok"), absent: requests.WithLabelValues("absent"),
		failed: requests.WithLabelValues("failed"), skipped: requests.WithLabelValues("skipped"),
		calls: factory.NewCounter(prometheus.CounterOpts{
			Name: "wadi_peer_calls_total", Help: "Calls of other agents of the zone, each of which asks for one or more ranges."}),
		received: bytes.WithLabelValues("in"), sent: bytes.WithLabelValues("out"),
	}
}
