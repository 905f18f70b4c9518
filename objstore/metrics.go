package objstore

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// keysPerRequest is how many keys S3 lists or deletes in one request.
const keysPerRequest = 1000

// Metrics counts what is asked of b, by verb (put, get, list, delete, abort), in
// collectors that it registers with reg:
//
//   - wadi_objstore_requests_total{verb, outcome}: requests as S3 bills them; a
//     listing or deletion of many keys counts one for each 1,000. The outcome
//     is ok, not_found, range, key, config, slow_down, cancelled, timeout or error.
//   - wadi_objstore_bytes_total{verb}: bytes of objects put and got.
//   - wadi_objstore_request_duration_seconds{verb}: time of a call, whatever its outcome.
//
// Registering twice with one reg panics, as that is a programmer's error.
func Metrics(b Bucket, reg prometheus.Registerer) Bucket {
	factory := promauto.With(reg)
	return &meter{
		Bucket: b,
		requests: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "wadi_objstore_requests_total",
			Help: "Requests to the object store as S3 bills them, by verb and outcome.",
		}, []string{"verb", "outcome"}),
		bytes: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "wadi_objstore_bytes_total",
			Help: "Bytes of objects put to and got from the object store.",
		}, []string{"verb"}),
		seconds: factory.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "wadi_objstore_request_duration_seconds",
			Help:    "Time of a call to the object store, whatever its outcome.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16), // 1 ms to 33 s
		}, []string{"verb"}),
	}
}

type meter struct {
	Bucket
	requests *prometheus.CounterVec
	bytes    *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func (m *meter) Put(ctx context.Context, key string, body []byte) error {
	start := time.Now()
	err := m.Bucket.Put(ctx, key, body)
	m.count("put", start, 1, err)
	if err == nil {
		m.bytes.WithLabelValues("put").Add(float64(len(body)))
	}
	return err
}

func (m *meter) Get(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	start := time.Now()
	data, err := m.Bucket.Get(ctx, key, offset, length)
	m.count("get", start, 1, err)
	m.bytes.WithLabelValues("get").Add(float64(len(data)))
	return data, err
}

func (m *meter) List(ctx context.Context, prefix string, visit func(ObjectInfo) error) error {
	start, visited, stopped := time.Now(), 0, false
	err := m.Bucket.List(ctx, prefix, func(o ObjectInfo) error {
		visited++
		err := visit(o)
		stopped = err != nil
		return err
	})
	if stopped {
		m.count("list", start, visited, nil) // the visitor's error is not the store's
	} else {
		m.count("list", start, visited, err)
	}
	return err
}

func (m *meter) Delete(ctx context.Context, keys ...string) error {
	start := time.Now()
	err := m.Bucket.Delete(ctx, keys...)
	m.count("delete", start, len(keys), err)
	return err
}

// count notes a call that dealt with so many keys.
func (m *meter) count(verb string, start time.Time, keys int, err error) {
	requests := max(1, (keys+keysPerRequest-1)/keysPerRequest)
	m.requests.WithLabelValues(verb, outcome(err)).Add(float64(requests))
	m.seconds.WithLabelValues(verb).Observe(time.Since(start).Seconds())
}

func outcome(err error) string {
	for _, o := range []struct {
		err  error
		name string
	}{
		{nil, "ok"},
		{ErrNotFound, "not_found"},
		{ErrRange, "range"},
		{ErrKey, "key"},
		{ErrConfig, "config"},
		{ErrSlowDown, "slow_down"},
		{context.Canceled, "cancelled"},
		{context.DeadlineExceeded, "timeout"},
	} {
		if errors.Is(err, o.err) {
			return o.name
		}
	}
	return "error"
}
