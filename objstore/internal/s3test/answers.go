package s3test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/objstoretest"
)

// quick retries without much of a pause.
var quick = objstore.RetryPolicy{Attempts: 10, MinDelay: time.Millisecond, MaxDelay: 5 * time.Millisecond, Total: time.Minute}

func testAnswers(t *testing.T, open Opener) {
	proxy, target := newProxy(t)
	b := mustOpen(t, open, target)
	body := objstoretest.Bytes(5000, 1)
	if err := b.Put(t.Context(), "data/x", body); err != nil {
		t.Fatal(err)
	}
	put := func(b objstore.Bucket) error { return b.Put(t.Context(), "data/x", body) }
	get := func(b objstore.Bucket) error {
		got, err := b.Get(t.Context(), "data/x", 1000, 2000)
		if err == nil && !bytes.Equal(got, body[1000:3000]) {
			t.Errorf("Get returns wrong bytes: %d, want 2000", len(got))
		}
		return err
	}
	list := func(b objstore.Bucket) error {
		return b.List(t.Context(), "", func(objstore.ObjectInfo) error { return nil })
	}
	remove := func(b objstore.Bucket) error { return b.Delete(t.Context(), "data/x") }
	for _, test := range []struct {
		name   string
		method string
		call   func(objstore.Bucket) error
		answer http.HandlerFunc
		want   error // nil for any error that is retried
		says   string
	}{
		{"slow down/put", http.MethodPut, put, xmlError(503, "SlowDown"), objstore.ErrSlowDown, "slow down"},
		{"slow down/get", http.MethodGet, get, xmlError(503, "SlowDown"), objstore.ErrSlowDown, "slow down"},
		{"slow down/list", http.MethodGet, list, xmlError(503, "SlowDown"), objstore.ErrSlowDown, "slow down"},
		{"slow down/delete", http.MethodPost, remove, xmlError(503, "SlowDown"), objstore.ErrSlowDown, "slow down"},
		{"too many requests", http.MethodPut, put, xmlError(429, "TooManyRequests"), objstore.ErrSlowDown, ""},
		{"internal error", http.MethodPut, put, xmlError(500, "InternalError"), nil, "a message"},
		{"bad gateway", http.MethodGet, get, plain(502, "<html>bad gateway</html>"), nil, ""},
		{"full store", http.MethodPut, put, xmlError(507, "XMinioStorageFull"), nil, "free or add space"},
		{"clock skew", http.MethodPut, put, xmlError(403, "RequestTimeTooSkewed"), nil, "clock of this machine"},
		{"body shorter than promised", http.MethodGet, get, truncated(2000), nil, "connection ended after"},
		{"ranges not served", http.MethodGet, get, plain(200, string(body)), nil, "does not serve ranges"},
		{"other range than asked", http.MethodGet, get, otherRange(body), nil, "asked for bytes from 1000"},
		{"access denied/put", http.MethodPut, put, xmlError(403, "AccessDenied"), objstore.ErrConfig, "s3:PutObject"},
		{"access denied/get", http.MethodGet, get, xmlError(403, "AccessDenied"), objstore.ErrConfig, "s3:GetObject"},
		{"access denied/list", http.MethodGet, list, xmlError(403, "AccessDenied"), objstore.ErrConfig, "s3:ListBucket"},
		{"access denied/delete", http.MethodPost, remove, xmlError(403, "AccessDenied"), objstore.ErrConfig, "s3:DeleteObject"},
		{"expired keys", http.MethodPut, put, xmlError(400, "ExpiredToken"), objstore.ErrConfig, "renew"},
		{"bucket gone", http.MethodGet, get, xmlError(404, "NoSuchBucket"), objstore.ErrConfig, "create it"},
		{"wrong region", http.MethodPut, put, xmlError(400, "AuthorizationHeaderMalformed"), objstore.ErrConfig, "?region="},
		{"no such object", http.MethodGet, get, xmlError(404, "NoSuchKey"), objstore.ErrNotFound, "data/x"},
		{"range beyond the end", http.MethodGet, get, xmlError(416, "InvalidRange"), objstore.ErrRange, "data/x"},
	} {
		t.Run(test.name, func(t *testing.T) {
			heals := test.want == nil || errors.Is(test.want, objstore.ErrSlowDown)
			failures := 1
			if !heals {
				failures = 100
			}
			proxy.failNext(failures, test.method, test.answer)
			err := test.call(b)
			if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("error %v, want %v that says %q", err, test.want, test.says)
			}
			for _, kind := range []error{objstore.ErrConfig, objstore.ErrNotFound, objstore.ErrRange, objstore.ErrSlowDown, context.Canceled} {
				if !errors.Is(test.want, kind) && errors.Is(err, kind) {
					t.Errorf("error %v is also %v", err, kind)
				}
			}
			proxy.failNext(2*failures, test.method, test.answer)
			if err := test.call(objstore.Retry(b, quick)); (err == nil) != heals {
				t.Errorf("with retries: %v, want success %v", err, heals)
			}
			proxy.set(nil)
			if err := put(b); err != nil { // for the next one
				t.Fatal(err)
			}
		})
	}
}

// plain answers with a body and the headers that the libraries insist on.
func plain(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		w.Header().Set("ETag", `"etag"`)
		w.WriteHeader(status)
		io.WriteString(w, body) //nolint:errcheck // the client may hang up
	}
}

func otherRange(body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Range", "bytes 0-1999/5000")
		plain(http.StatusPartialContent, string(body[:2000]))(w, r)
	}
}

// truncated promises so many bytes and breaks the connection before.
func truncated(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(n))
		w.Header().Set("Content-Range", fmt.Sprintf("bytes 1000-%d/5000", 1000+n-1))
		plain(http.StatusPartialContent, "a few bytes")(w, r)
		http.NewResponseController(w).Flush() //nolint:errcheck // the client may hang up
		panic(http.ErrAbortHandler)
	}
}

// testFalseDenial has a PUT denied once, as MinIO does when a folder vanishes.
func testFalseDenial(t *testing.T, open Opener) {
	proxy, target := newProxy(t)
	b := mustOpen(t, open, target)
	proxy.failNext(2, http.MethodPut, xmlError(http.StatusForbidden, "AccessDenied"))
	if err := b.Put(t.Context(), "data/x", []byte("body")); err != nil {
		t.Errorf("Put: %v", err)
	}
	wantKeys(t, b, "data/x")
}

// testLostReply lets a PUT through and breaks the connection instead of
// passing the answer on: failed, but persisted.
func testLostReply(t *testing.T, open Opener) {
	proxy, target := newProxy(t)
	b := mustOpen(t, open, target)
	body := objstoretest.Bytes(1<<20, 3)
	lose := func(_ http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		proxy.pass.ServeHTTP(answer, r)
		if answer.Code != http.StatusOK {
			t.Errorf("the server answers the PUT with %d", answer.Code)
		}
		panic(http.ErrAbortHandler)
	}
	proxy.failNext(1, http.MethodPut, lose)
	if err := b.Put(t.Context(), "data/lost", body); err == nil || errors.Is(err, objstore.ErrConfig) {
		t.Fatalf("Put with a lost reply: %v, want an error to retry", err)
	}
	got, err := b.Get(t.Context(), "data/lost", 0, -1)
	if err != nil || !bytes.Equal(got, body) {
		t.Fatalf("the object was not persisted, so this tests nothing: %v", err)
	}
	proxy.failNext(2, http.MethodPut, lose)
	if err := objstore.Retry(b, quick).Put(t.Context(), "data/lost", body); err != nil {
		t.Errorf("retried Put: %v", err)
	}
	got, err = b.Get(t.Context(), "data/lost", 0, -1)
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("after a retried Put: %d bytes, %v", len(got), err)
	}
}

// testEarlyRefusal has the server answer before it has read the body, and the
// caller use its slice again at once: the race detector finds a transport that
// still reads.
func testEarlyRefusal(t *testing.T, open Opener) {
	proxy, target := newProxy(t)
	b := mustOpen(t, open, target)
	proxy.failNext(20, http.MethodPut, xmlError(503, "SlowDown"))
	body := objstoretest.Bytes(4<<20, 4)
	for i := range 20 {
		if err := b.Put(t.Context(), "data/refused", body); err == nil || errors.Is(err, objstore.ErrConfig) {
			t.Fatalf("Put: %v, want an error to retry", err)
		}
		for j := range body {
			body[j] = byte(i)
		}
	}
}

func testHanging(t *testing.T, open Opener) {
	proxy, target := newProxy(t)
	b := mustOpen(t, open, target)
	for name, call := range map[string]func(context.Context) error{
		"put": func(ctx context.Context) error { return b.Put(ctx, "data/x", objstoretest.Bytes(1<<20, 5)) },
		"get": func(ctx context.Context) error {
			_, err := b.Get(ctx, "data/x", 0, -1)
			return err
		},
		"list": func(ctx context.Context) error {
			return b.List(ctx, "", func(objstore.ObjectInfo) error { return nil })
		},
		"delete": func(ctx context.Context) error { return b.Delete(ctx, "data/x") },
	} {
		t.Run(name, func(t *testing.T) {
			arrived := make(chan struct{}, 1)
			released := make(chan struct{})
			defer close(released)
			proxy.set(func(http.ResponseWriter, *http.Request) bool {
				arrived <- struct{}{}
				<-released
				return true
			})
			defer proxy.set(nil)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- call(ctx) }()
			<-arrived
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want %v", err, context.Canceled)
			}
		})
	}
}

func testDeleteError(t *testing.T, open Opener) {
	proxy, target := newProxy(t)
	target.Prefix = "some/prefix"
	b := mustOpen(t, open, target)
	for code, want := range map[string]error{"AccessDenied": objstore.ErrConfig, "InternalError": nil} {
		proxy.failNext(1, http.MethodPost, plain(200, `<DeleteResult><Error><Key>some/prefix/data/b</Key><Code>`+
			code+`</Code><Message>a message</Message></Error></DeleteResult>`))
		err := b.Delete(t.Context(), "data/a", "data/b")
		if err == nil || errors.Is(err, objstore.ErrConfig) != (want != nil) || !strings.Contains(err.Error(), "delete data/b") {
			t.Errorf("Delete when a key fails with %s: %v, want it named, ErrConfig %v", code, err, want != nil)
		}
	}
	proxy.failNext(1, http.MethodPost, plain(200, `<DeleteResult><Error><Key>some/prefix/data/b</Key><Code>NoSuchKey</Code></Error></DeleteResult>`))
	if err := b.Delete(t.Context(), "data/a", "data/b"); err != nil {
		t.Errorf("Delete when a key does not exist: %v", err)
	}
}

// testHeaders looks at what is sent: checksums that old stores understand or
// ignore, and nothing that costs CPU without need.
func testHeaders(t *testing.T, open Opener) {
	proxy, target := newProxy(t)
	b := mustOpen(t, open, target)
	var mu sync.Mutex
	var seen []*http.Request
	var bodies [][]byte
	proxy.set(func(_ http.ResponseWriter, r *http.Request) bool {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read request: %v", err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		mu.Lock()
		defer mu.Unlock()
		seen, bodies = append(seen, r), append(bodies, body)
		return false
	})
	body := []byte("123456789")
	if err := b.Put(t.Context(), "data/x", body); err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(t.Context(), "data/x"); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 2 {
		t.Fatalf("Put and Delete made %d requests, want 2", len(seen))
	}
	put, remove := seen[0], seen[1]
	for header, want := range map[string]string{
		"X-Amz-Content-Sha256":  "UNSIGNED-PAYLOAD",
		"X-Amz-Checksum-Crc32c": "4waSgw==", // the check value of CRC-32C, 0xE3069283
		"Content-Length":        "9",
		"Content-Encoding":      "",
		"X-Amz-Trailer":         "",
	} {
		if got := put.Header.Get(header); got != want {
			t.Errorf("PUT has %s %q, want %q", header, got, want)
		}
	}
	if !bytes.Equal(bodies[0], body) {
		t.Errorf("PUT sends %q, want the bytes as they are", bodies[0])
	}
	sum := md5.Sum(bodies[1])
	if got, want := remove.Header.Get("Content-Md5"), base64.StdEncoding.EncodeToString(sum[:]); got != want {
		t.Errorf("DeleteObjects has Content-MD5 %q, want %q: older stores demand it", got, want)
	}
}
