package merge

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-log/wadi/metadata"
)

// Metrics show what waits on each level. What a merge did is among those of all jobs.
type Metrics struct {
	files, bytes, age *prometheus.GaugeVec
	unread            prometheus.Counter
}

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	gauge := func(name, help string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "wadi_merge_" + name, Help: help}, []string{"level"})
		reg.MustRegister(g)
		return g
	}
	unread := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "wadi_merge_unread_files_total", Help: "Data files that merges left out, since they could not be read for now.",
	})
	reg.MustRegister(unread)
	return &Metrics{
		unread: unread,
		files:  gauge("waiting_files", "Data files that wait to be merged, by how often they were."),
		bytes:  gauge("waiting_bytes", "Bytes of data files that wait to be merged."),
		age:    gauge("oldest_seconds", "Age of the oldest data file that waits to be merged."),
	}
}

func (m *Metrics) show(levels []metadata.LevelBacklog, now time.Time) {
	for _, l := range levels {
		level := strconv.Itoa(int(l.Level))
		m.files.WithLabelValues(level).Set(float64(l.Files))
		m.bytes.WithLabelValues(level).Set(float64(l.Bytes))
		age := time.Duration(0)
		if l.Files > 0 {
			age = max(0, now.Sub(l.OldestAt))
		}
		m.age.WithLabelValues(level).Set(age.Seconds())
	}
}
