package fetch

import "github.com/prometheus/client_golang/prometheus"

// Metrics follows the read path. Reads of the object store are the bill.
type Metrics struct {
	hits, misses   prometheus.Counter
	cached         prometheus.Gauge
	gets, getBytes [pools]prometheus.Counter // by Pool
	// Blocks that the cache lacked.
	fromPeers, fromStore prometheus.Counter
	fromTail, queried    prometheus.Counter
	replans, corrupt     prometheus.Counter
	served, batches      prometheus.Counter
}

// NewMetrics registers the metrics with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &Metrics{
		hits:     counter("wadi_fetch_cache_hits_total", "Blocks and whole files that the block cache had."),
		misses:   counter("wadi_fetch_cache_misses_total", "Blocks that the block cache lacked."),
		cached:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "wadi_fetch_cache_bytes", Help: "Bytes in the block cache."}),
		replans:  counter("wadi_fetch_replans_total", "Partitions planned anew because a data file was gone."),
		corrupt:  counter("wadi_fetch_corrupt_total", "Reads that met damaged or missing data; see the log."),
		served:   counter("wadi_fetch_bytes_total", "Bytes of record batches given to consumers."),
		batches:  counter("wadi_fetch_batches_total", "Record batches given to consumers."),
		fromTail: counter("wadi_fetch_planned_from_tail_total", "Partitions of fetches that the tail in memory answered."),
		queried:  counter("wadi_fetch_planned_from_store_total", "Partitions of fetches that the metadata store was asked for."),
	}
	gets := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wadi_fetch_gets_total", Help: "Reads of the object store for consumers, by pool: hot, cold, and those for other agents of the zone."}, []string{"pool"})
	getBytes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wadi_fetch_get_bytes_total", Help: "Bytes read from the object store for consumers, by pool."}, []string{"pool"})
	for p := range Pool(pools) {
		m.gets[p], m.getBytes[p] = gets.WithLabelValues(p.String()), getBytes.WithLabelValues(p.String())
	}
	reads := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wadi_fetch_reads_total", Help: "Blocks that the block cache lacked, by where they came from: peer (an agent of the zone) or store."}, []string{"source"})
	m.fromPeers, m.fromStore = reads.WithLabelValues("peer"), reads.WithLabelValues("store")
	reg.MustRegister(reads, m.hits, m.misses, m.cached, m.replans, m.corrupt, m.served, m.batches, m.fromTail, m.queried, gets, getBytes)
	return m
}

func (m *Metrics) read(pool Pool, bytes int) {
	m.gets[pool].Inc()
	m.getBytes[pool].Add(float64(bytes))
}
