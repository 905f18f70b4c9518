package s3test

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/wadi-log/wadi/objstore"
)

// testReadOnly opens a bucket with credentials that allow nothing but reading.
func testReadOnly(t *testing.T, open, openReadOnly Opener) {
	proxy, target := newProxy(t)
	if err := mustOpen(t, open, target).Put(t.Context(), "data/x", []byte("x")); err != nil {
		t.Fatal(err)
	}
	var refused atomic.Int32
	refuse := func(forbidden func(r *http.Request) bool) {
		proxy.set(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Has("location") || !forbidden(r) { // minio-go asks for the region
				return false
			}
			refused.Add(1)
			xmlError(http.StatusForbidden, "AccessDenied")(w, r)
			return true
		})
	}
	refuse(func(r *http.Request) bool { return r.Method != http.MethodGet && r.Method != http.MethodHead })
	b := mustOpen(t, openReadOnly, target)
	if refused.Load() > 0 {
		t.Errorf("%d requests were no reads", refused.Load())
	}
	if got, err := b.Get(t.Context(), "data/x", 0, -1); err != nil || string(got) != "x" {
		t.Errorf("Get: %q, %v", got, err)
	}
	var keys []string
	err := b.List(t.Context(), "", func(o objstore.ObjectInfo) error { keys = append(keys, o.Key); return nil })
	if err != nil || len(keys) != 1 || keys[0] != "data/x" {
		t.Errorf("List: %q, %v", keys, err)
	}
	if _, err := open(t.Context(), target); !errors.Is(err, objstore.ErrConfig) || !strings.Contains(err.Error(), "s3:PutObject") {
		t.Errorf("opened for writing, too: %v", err)
	}
	// What is missing for reading is told at once.
	for _, test := range []struct {
		right     string
		forbidden func(r *http.Request) bool
	}{
		{"s3:ListBucket", func(r *http.Request) bool { return r.URL.Query().Has("list-type") }},
		{"s3:GetObject", func(r *http.Request) bool { return !r.URL.Query().Has("list-type") }},
	} {
		refuse(test.forbidden)
		if _, err := openReadOnly(t.Context(), target); !errors.Is(err, objstore.ErrConfig) || !strings.Contains(err.Error(), test.right) {
			t.Errorf("without the right %s: %v", test.right, err)
		}
	}
	missing := target
	missing.Bucket = "no-such-bucket"
	proxy.set(nil)
	if _, err := openReadOnly(t.Context(), missing); !errors.Is(err, objstore.ErrConfig) || !strings.Contains(err.Error(), "create it") {
		t.Errorf("no bucket: %v", err)
	}
}
