package objstore_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/memory"
	"github.com/wadi-log/wadi/objstore/objstoretest"
)

func newMetrics(b objstore.Bucket) objstore.Bucket {
	return objstore.Metrics(b, prometheus.NewRegistry())
}

// gather returns all counters, and the counts of histograms, by name and labels.
func gather(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, label := range m.GetLabel() {
				name += " " + label.GetValue()
			}
			if m.GetHistogram() != nil {
				values[name] = float64(m.GetHistogram().GetSampleCount())
			} else {
				values[name] = m.GetCounter().GetValue()
			}
		}
	}
	return values
}

func TestMetricsCountRequestsBytesAndOutcomes(t *testing.T) {
	reg := prometheus.NewRegistry()
	faulty := objstoretest.NewFaulty(memory.Open())
	b := objstore.Metrics(faulty, reg)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var keys []string
	for i := range 1500 {
		keys = append(keys, fmt.Sprint("k/", i))
		must(b.Put(ctx, keys[i], []byte("12345")))
	}
	data, err := b.Get(ctx, "k/0", 1, 3)
	must(err)
	if string(data) != "234" {
		t.Errorf("Get through metrics = %q", data)
	}
	if _, err := b.Get(ctx, "none", 0, -1); !errors.Is(err, objstore.ErrNotFound) {
		t.Errorf("Get of no object through metrics: %v", err)
	}
	must(b.List(ctx, "", func(objstore.ObjectInfo) error { return nil }))
	stop := errors.New("stop")
	if err := b.List(ctx, "", func(objstore.ObjectInfo) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("List through metrics: %v", err)
	}
	must(b.List(ctx, "nothing", func(objstore.ObjectInfo) error { return nil }))
	must(b.Delete(ctx, keys...))
	for _, failure := range []error{
		errPassing, objstore.ErrConfig, objstore.ErrSlowDown, objstore.ErrRange, objstore.ErrKey, context.Canceled, context.DeadlineExceeded,
	} {
		faulty.Fail(objstoretest.Put, 1, objstoretest.Fault{Err: fmt.Errorf("put: %w", failure)})
		if err := b.Put(ctx, "k", []byte("lost")); !errors.Is(err, failure) {
			t.Errorf("Put through metrics: %v, want %v", err, failure)
		}
	}
	want := map[string]float64{
		"wadi_objstore_requests_total ok put":        1500,
		"wadi_objstore_requests_total error put":     1,
		"wadi_objstore_requests_total config put":    1,
		"wadi_objstore_requests_total slow_down put": 1,
		"wadi_objstore_requests_total range put":     1,
		"wadi_objstore_requests_total key put":       1,
		"wadi_objstore_requests_total cancelled put": 1,
		"wadi_objstore_requests_total timeout put":   1,
		"wadi_objstore_requests_total ok get":        1,
		"wadi_objstore_requests_total not_found get": 1,
		"wadi_objstore_requests_total ok list":       4, // two pages, one page, an empty one
		"wadi_objstore_requests_total ok delete":     2,
		"wadi_objstore_bytes_total put":              7500,
		"wadi_objstore_bytes_total get":              3,

		"wadi_objstore_request_duration_seconds put":    1507,
		"wadi_objstore_request_duration_seconds get":    2,
		"wadi_objstore_request_duration_seconds list":   3,
		"wadi_objstore_request_duration_seconds delete": 1,
	}
	if got := gather(t, reg); !maps.Equal(got, want) {
		t.Errorf("metrics are\n%v, want\n%v", got, want)
	}
}
