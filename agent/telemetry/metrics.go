package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
)

// shownClients is the number of clients with metrics of their own, those that were
// heard of last: each costs a scraper three series.
const shownClients = 256

// metrics counts what clients push.
type metrics struct {
	pushes, bytes, metrics, points prometheus.Counter
	refused                        *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, t *Telemetry) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		pushes:  counter("wadi_client_telemetry_pushes_total", "Pushes of client metrics that were accepted, with at least one byte."),
		bytes:   counter("wadi_client_telemetry_bytes_total", "Bytes of client metrics accepted, as sent."),
		metrics: counter("wadi_client_telemetry_metrics_total", "Metrics in the pushes accepted."),
		points:  counter("wadi_client_telemetry_data_points_total", "Data points in the pushes accepted."),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wadi_client_telemetry_refused_total", Help: "Telemetry requests refused, by Kafka's error."}, []string{"error"}),
	}
	reg.MustRegister(m.pushes, m.bytes, m.metrics, m.points, m.refused, perClient{t})
	return m
}

func (m *metrics) accept(bytes int, n counts) {
	m.pushes.Inc()
	m.bytes.Add(float64(bytes))
	m.metrics.Add(float64(n.metrics))
	m.points.Add(float64(n.points))
}

func (m *metrics) refuse(why *kerr.Error) { m.refused.WithLabelValues(why.Message).Inc() }

var (
	clientLabels = []string{"client_instance_id", "client_id", "software"}
	known        = prometheus.NewDesc("wadi_client_telemetry_clients", "Client instances that are remembered.", nil, nil)
	clientPushes = prometheus.NewDesc("wadi_client_telemetry_client_pushes_total", "Pushes of one client, of those heard of last.", clientLabels, nil)
	clientPoints = prometheus.NewDesc("wadi_client_telemetry_client_data_points_total", "Data points of one client, of those heard of last.", clientLabels, nil)
	clientBytes  = prometheus.NewDesc("wadi_client_telemetry_client_bytes_total", "Bytes of one client, of those heard of last.", clientLabels, nil)
)

// perClient shows the clients themselves, from what is remembered of them.
type perClient struct{ *Telemetry }

// Describe implements prometheus.Collector.
func (p perClient) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{known, clientPushes, clientPoints, clientBytes} {
		descriptions <- d
	}
}

// Collect implements prometheus.Collector.
func (p perClient) Collect(values chan<- prometheus.Metric) {
	for _, v := range p.values() {
		values <- v
	}
}

// values are made under the lock and handed out after it.
func (p perClient) values() []prometheus.Metric {
	p.mu.Lock()
	defer p.mu.Unlock()
	values := []prometheus.Metric{prometheus.MustNewConstMetric(known, prometheus.GaugeValue, float64(p.clients.Len()))}
	ids := p.clients.Keys() // the one that was quiet longest first
	for _, id := range ids[max(0, len(ids)-shownClients):] {
		c, _ := p.clients.Peek(id)
		if c.pushes == 0 {
			continue
		}
		labels := []string{encodeID(id), c.id, c.software}
		values = append(values,
			prometheus.MustNewConstMetric(clientPushes, prometheus.CounterValue, c.pushes, labels...),
			prometheus.MustNewConstMetric(clientPoints, prometheus.CounterValue, c.points, labels...),
			prometheus.MustNewConstMetric(clientBytes, prometheus.CounterValue, c.bytes, labels...))
	}
	return values
}
