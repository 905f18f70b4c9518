package s3test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	miniogo "github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/wadi-log/wadi/objstore"
)

// testUploads begins a multipart upload on the real server.
func testUploads(t *testing.T, open Opener) {
	target := Fresh(t)
	target.Prefix = "some/prefix"
	b := mustOpen(t, open, target)
	core, err := miniogo.NewCore(target.Endpoint, &miniogo.Options{Creds: credentials.NewStaticV4(target.AccessKey, target.SecretKey, "")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := core.NewMultipartUpload(t.Context(), target.Bucket, "some/prefix/data/x", miniogo.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		what   string
		prefix string
		age    time.Duration
		want   int
	}{
		{"too young", "data/x", time.Hour, 0},
		{"another prefix", "snapshots/", -time.Minute, 0},
		{"old", "data/x", -time.Minute, 1},
		{"gone", "data/x", -time.Minute, 0},
	} {
		if n, err := objstore.AbortUploads(t.Context(), b, step.prefix, step.age); err != nil || n != step.want {
			t.Errorf("%s: %d aborted, %v; want %d", step.what, n, err, step.want)
		}
	}
}

// testUploadPages has the listing come in two pages, with keys that XML can't say as
// they are, and an upload that ends meanwhile.
func testUploadPages(t *testing.T, open Opener) {
	proxy, target := newProxy(t)
	target.Prefix = "some/prefix"
	b := mustOpen(t, open, target)
	upload := func(key, id string, age time.Duration) string {
		return fmt.Sprintf("<Upload><Key>%s</Key><UploadId>%s</UploadId><Initiated>%s</Initiated></Upload>",
			key, id, time.Now().Add(-age).UTC().Format(time.RFC3339))
	}
	page := func(more bool, content string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, "<ListMultipartUploadsResult><EncodingType>url</EncodingType><IsTruncated>%v</IsTruncated>%s</ListMultipartUploadsResult>", more, content) // the client may hang up
		}
	}
	first := page(true, upload("some/prefix/data/a%26b", "1", 48*time.Hour)+upload("some/prefix/data/c", "2", time.Hour)+
		"<NextKeyMarker>some/prefix/data/c%26d</NextKeyMarker><NextUploadIdMarker>2</NextUploadIdMarker>")
	second := page(false, upload("some/prefix/data/e", "3", 25*time.Hour))
	var mu sync.Mutex
	var aborted []string
	proxy.set(func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		query := r.URL.Query()
		switch {
		case r.Method == http.MethodGet && query.Has("uploads") && query.Get("key-marker") == "":
			if got := query.Get("prefix"); got != "some/prefix/data/" {
				t.Errorf("uploads of %q are listed", got)
			}
			first(w, r)
		case r.Method == http.MethodGet && query.Has("uploads"):
			if key, id := query.Get("key-marker"), query.Get("upload-id-marker"); key != "some/prefix/data/c&d" || id != "2" {
				t.Errorf("the second page begins after %q, %q", key, id)
			}
			second(w, r)
		case r.Method == http.MethodDelete && query.Has("uploadId"):
			_, key, _ := strings.Cut(r.URL.Path, "/some/prefix/")
			aborted = append(aborted, key+" "+query.Get("uploadId"))
			if query.Get("uploadId") == "1" {
				xmlError(http.StatusNotFound, "NoSuchUpload")(w, r)
			} else {
				w.WriteHeader(http.StatusNoContent)
			}
		default:
			return false
		}
		return true
	})
	n, err := objstore.AbortUploads(t.Context(), b, "data/", 24*time.Hour)
	if want := []string{"data/a&b 1", "data/e 3"}; err != nil || n != 2 || !slices.Equal(aborted, want) {
		t.Errorf("%d aborted, %q, %v; want %q", n, aborted, err, want)
	}
}

func testUploadErrors(t *testing.T, open Opener) {
	proxy, target := newProxy(t)
	b := mustOpen(t, open, target)
	proxy.failNext(1, http.MethodGet, xmlError(http.StatusForbidden, "AccessDenied"))
	_, err := objstore.AbortUploads(t.Context(), b, "data/", 24*time.Hour)
	if !errors.Is(err, objstore.ErrConfig) || !strings.Contains(err.Error(), "s3:AbortMultipartUpload") {
		t.Errorf("without permission: %v", err)
	}
	for name, answer := range map[string]http.HandlerFunc{
		"endless listing": plain(http.StatusOK, "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated></ListMultipartUploadsResult>"),
		"not implemented": xmlError(http.StatusNotImplemented, "NotImplemented"),
	} {
		proxy.failNext(1, http.MethodGet, answer)
		if _, err := objstore.AbortUploads(t.Context(), b, "data/", 24*time.Hour); err == nil || errors.Is(err, objstore.ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	proxy.failNext(1, http.MethodGet, xmlError(http.StatusServiceUnavailable, "SlowDown"))
	if _, err := objstore.AbortUploads(t.Context(), objstore.Retry(b, quick), "data/", 24*time.Hour); err != nil {
		t.Errorf("with retries: %v", err)
	}
}
