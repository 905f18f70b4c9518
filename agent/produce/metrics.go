package produce

import "github.com/prometheus/client_golang/prometheus"

// Metrics follows data files through the write path.
type Metrics struct {
	buffered, put, commit, acked  prometheus.Histogram
	fileBytes, filesPerCommit     prometheus.Histogram
	rawBytes, storedBytes         prometheus.Counter
	commitRetries, failed         prometheus.Counter
	batches, records, recordBytes prometheus.Counter
}

// NewMetrics registers the metrics with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	latency := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16)})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &Metrics{
		buffered: latency("wadi_produce_buffered_seconds", "Time a data file was open, from its first record to its upload."),
		put:      latency("wadi_produce_put_seconds", "Time to put a data file into the object store, retries included."),
		commit:   latency("wadi_produce_commit_seconds", "Time to commit data files in the metadata store, retries included."),
		acked:    latency("wadi_produce_acked_seconds", "Time from a data file's first record to its acknowledgement."),
		fileBytes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wadi_produce_file_bytes", Help: "Size of data files as stored.",
			Buckets: prometheus.ExponentialBuckets(1<<10, 4, 10)}),
		filesPerCommit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wadi_produce_files_per_commit", Help: "Data files committed in one metadata transaction.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 7)}),
		rawBytes:      counter("wadi_produce_raw_bytes_total", "Bytes of batches put into data files, before compression inside the file."),
		storedBytes:   counter("wadi_produce_stored_bytes_total", "Bytes of data files as stored."),
		commitRetries: counter("wadi_produce_commit_retries_total", "Commits repeated because the metadata store did not answer."),
		failed:        counter("wadi_produce_failed_files_total", "Data files that failed for good; their producers were told to retry."),
		batches:       counter("wadi_produce_batches_total", "Record batches accepted from producers."),
		records:       counter("wadi_produce_records_total", "Records accepted from producers."),
		recordBytes:   counter("wadi_produce_bytes_total", "Bytes of record batches accepted from producers."),
	}
	reg.MustRegister(m.buffered, m.put, m.commit, m.acked, m.fileBytes, m.filesPerCommit, m.rawBytes, m.storedBytes,
		m.commitRetries, m.failed, m.batches, m.records, m.recordBytes)
	return m
}
