package server

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/protocol"
)

// Metrics counts what happens on the sockets.
type Metrics struct {
	connections       prometheus.Gauge
	inFlight          prometheus.Gauge
	refused           prometheus.Counter
	malformed, panics prometheus.Counter
	bytesIn, bytesOut atomic.Int64
	traffic           [sides]struct{ in, out prometheus.Counter }
	requests          *prometheus.HistogramVec
}

// side is where a client is.
type side uint8

const (
	nowhere side = iota // nothing tells its zone, or the server has none
	sameZone
	otherZone

	sides = int(iota)
)

func (s side) String() string { return [sides]string{"unknown", "same", "other"}[s] }

// sideOf tells where a client is.
func (c *Config) sideOf(client protocol.Client) side {
	if c.ZoneOf == nil || c.Zone == "" {
		return nowhere
	}
	switch c.ZoneOf(client) {
	case "":
		return nowhere
	case c.Zone:
		return sameZone
	}
	return otherZone
}

// NewMetrics registers the metrics, and the gauge of the budget, with reg.
func NewMetrics(reg prometheus.Registerer, budget *Budget) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &Metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "wadi_connections", Help: "Open client connections."}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "wadi_requests_in_flight", Help: "Requests being read, processed or answered; long polls included."}),
		refused:   counter("wadi_connections_refused_total", "Connections closed because --max-connections were open, or max.connections.per.ip from their address."),
		malformed: counter("wadi_connections_malformed_total", "Connections closed because their bytes were no Kafka request."),
		panics:    counter("wadi_handler_panics_total", "Requests that hit a bug of Wadi; their connections were closed."),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "wadi_request_duration_seconds",
			Help:    "Time from a request's last byte to its answer, by API; long polls included.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2.5, 12),
		}, []string{"api"}),
	}
	traffic := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wadi_client_bytes_total",
		Help: "Bytes of requests from (in) and answers to (out) Kafka clients, by whether their zone is the agent's: same, other, unknown. " +
			"(client.rack comes with fetches alone, and does not count.)",
	}, []string{"zone", "direction"})
	for s := range side(sides) {
		m.traffic[s].in, m.traffic[s].out = traffic.WithLabelValues(s.String(), "in"), traffic.WithLabelValues(s.String(), "out")
	}
	counted := func(name, help string, n *atomic.Int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(n.Load()) })
	}
	reg.MustRegister(traffic, m.connections, m.inFlight, m.refused, m.malformed, m.panics, m.requests,
		counted("wadi_kafka_received_bytes_total", "Bytes of requests received from Kafka clients.", &m.bytesIn),
		counted("wadi_kafka_sent_bytes_total", "Bytes of answers sent to Kafka clients.", &m.bytesOut),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "wadi_request_memory_bytes", Help: "Bytes of requests held in memory, against --memory-bytes.",
		}, func() float64 { return float64(budget.Used()) }))
	return m
}

// answered counts a request of an API that has a name (others end their connection).
func (m *Metrics) answered(key int16, took time.Duration) {
	m.requests.WithLabelValues(kmsg.NameForKey(key)).Observe(took.Seconds())
}
