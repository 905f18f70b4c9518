package objstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/memory"
)

// uploading is a bucket with unfinished uploads, of which it aborts one in each call,
// and fails before the last.
type uploading struct {
	objstore.Bucket
	left   int
	prefix string
	age    time.Duration
}

func (u *uploading) AbortUploads(_ context.Context, prefix string, age time.Duration) (int, error) {
	u.prefix, u.age = prefix, age
	if u.left--; u.left > 0 {
		return 1, errPassing
	}
	return 1, nil
}

func TestDecoratorsPassAbortUploadsOn(t *testing.T) {
	store := &uploading{Bucket: memory.Open(), left: 3}
	reg := prometheus.NewRegistry()
	policy := objstore.RetryPolicy{Attempts: 5, MinDelay: time.Millisecond, MaxDelay: time.Millisecond, Total: time.Minute}
	b := objstore.Retry(objstore.Hedge(objstore.Metrics(store, reg), 0), policy)
	n, err := objstore.AbortUploads(t.Context(), b, "data/", time.Hour)
	if n != 3 || err != nil || store.prefix != "data/" || store.age != time.Hour {
		t.Errorf("%d aborted, %v; of %q, %v", n, err, store.prefix, store.age)
	}
	got := gather(t, reg)
	if ok, failed := got["wadi_objstore_requests_total ok abort"], got["wadi_objstore_requests_total error abort"]; ok != 2 || failed != 4 {
		t.Errorf("counted %v requests that went well and %v that failed, want 2 and 4", ok, failed)
	}
}

func TestBucketsWithoutUploadsHaveNoneToAbort(t *testing.T) {
	b := objstore.Retry(objstore.Hedge(newMetrics(memory.Open()), 0), objstore.DefaultRetryPolicy())
	if n, err := objstore.AbortUploads(t.Context(), b, "", 0); n != 0 || err != nil {
		t.Errorf("%d aborted, %v", n, err)
	}
}
