// Package s3test holds the tests that stores behind the S3 protocol share
// besides objstoretest: what they do when the server refuses, fails, hangs or
// goes away. A real MinIO server answers, through a proxy that can fail.
package s3test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/objstoretest"
	"github.com/wadi-log/wadi/test/harness"
)

// Target is where a store is to be opened.
type Target struct {
	Endpoint  string // host:port, plain HTTP
	Bucket    string
	Prefix    string
	AccessKey string
	SecretKey string
}

// Opener opens the store under test.
type Opener func(ctx context.Context, target Target) (objstore.Bucket, error)

// Fresh returns a new, empty bucket on a real server.
func Fresh(t testing.TB) Target {
	m := harness.MinIO(t)
	return Target{Endpoint: m.Endpoint, Bucket: m.Bucket, AccessKey: m.AccessKey, SecretKey: m.SecretKey}
}

func mustOpen(t *testing.T, open Opener, target Target) objstore.Bucket {
	t.Helper()
	b, err := open(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// Run runs all tests of this package.
func Run(t *testing.T, open, openReadOnly Opener) {
	t.Run("ReadOnlyNeedsNoMoreThanReading", func(t *testing.T) { testReadOnly(t, open, openReadOnly) })
	t.Run("OpenNamesTheWrongSetting", func(t *testing.T) { testWrongSettings(t, open) })
	t.Run("OpenOfAnUnreachableStore", func(t *testing.T) { testUnreachable(t, open) })
	t.Run("PrefixesAreApart", func(t *testing.T) { testPrefixes(t, open) })
	t.Run("ServerKilledAndStartedAgain", func(t *testing.T) { testRestart(t, open) })
	t.Run("Answers", func(t *testing.T) { testAnswers(t, open) })
	t.Run("OpenWaitsOutSlowDown", func(t *testing.T) { testSlowStart(t, open) })
	t.Run("PutIsNotDeniedByMistake", func(t *testing.T) { testFalseDenial(t, open) })
	t.Run("LostReplyOfPut", func(t *testing.T) { testLostReply(t, open) })
	t.Run("EarlyRefusalLeavesTheBodyToItsCaller", func(t *testing.T) { testEarlyRefusal(t, open) })
	t.Run("HangingServerAndCancelledCall", func(t *testing.T) { testHanging(t, open) })
	t.Run("DeleteReportsTheKeyThatFailed", func(t *testing.T) { testDeleteError(t, open) })
	t.Run("AbortsUploads", func(t *testing.T) { testUploads(t, open) })
	t.Run("AbortsUploadsOfAllPages", func(t *testing.T) { testUploadPages(t, open) })
	t.Run("AbortOfUploadsFails", func(t *testing.T) { testUploadErrors(t, open) })
	t.Run("Headers", func(t *testing.T) { testHeaders(t, open) })
}

func testWrongSettings(t *testing.T, open Opener) {
	right := Fresh(t)
	for _, test := range []struct {
		name  string
		spoil func(*Target)
		says  []string
	}{
		{"missing bucket", func(x *Target) { x.Bucket = "no-such-bucket" }, []string{"--objects", "no-such-bucket", "create it"}},
		{"unknown access key", func(x *Target) { x.AccessKey = "nobody-at-all" }, []string{"WADI_OBJECTS_ACCESS_KEY", "correct it"}},
		{"wrong secret key", func(x *Target) { x.SecretKey = "not-the-secret" }, []string{"WADI_OBJECTS_SECRET_KEY", "correct it"}},
		{"one key missing", func(x *Target) { x.SecretKey = "" }, []string{"WADI_OBJECTS_SECRET_KEY", "set"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			target := right
			test.spoil(&target)
			b, err := open(t.Context(), target)
			if !errors.Is(err, objstore.ErrConfig) {
				t.Fatalf("Open: %v, %v; want %v", b, err, objstore.ErrConfig)
			}
			for _, word := range test.says {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
			for _, secret := range []string{right.SecretKey, "not-the-secret"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%q shows a secret key", err)
				}
			}
		})
	}
}

func testUnreachable(t *testing.T, open Opener) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	endpoint := listener.Addr().String()
	if err := listener.Close(); err != nil { // nobody listens there now
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // enough for some attempts
	defer cancel()
	_, err = open(ctx, Target{Endpoint: endpoint, Bucket: "bucket", AccessKey: "access", SecretKey: "secret-key"})
	if err == nil || errors.Is(err, objstore.ErrConfig) {
		t.Fatalf("Open: %v, want an error that is not %v: the store may be starting", err, objstore.ErrConfig)
	}
	if !strings.Contains(err.Error(), "--objects: cannot reach http://"+endpoint) {
		t.Errorf("%q does not say what can't be reached", err)
	}
}

func testPrefixes(t *testing.T, open Opener) {
	target := Fresh(t)
	whole := mustOpen(t, open, target)
	var parts []objstore.Bucket
	for _, prefix := range []string{"team/one", "team/one-more"} {
		target.Prefix = prefix
		b := mustOpen(t, open, target)
		if err := b.Put(t.Context(), "data/x", []byte(prefix)); err != nil {
			t.Fatal(err)
		}
		parts = append(parts, b)
	}
	for i, want := range []string{"team/one", "team/one-more"} {
		got, err := parts[i].Get(t.Context(), "data/x", 0, -1)
		if err != nil || string(got) != want {
			t.Errorf("Get under the prefix %q: %q, %v", want, got, err)
		}
		wantKeys(t, parts[i], "data/x")
	}
	wantKeys(t, whole, "team/one-more/data/x", "team/one/data/x")
	if err := parts[0].Delete(t.Context(), "data/x"); err != nil {
		t.Fatal(err)
	}
	wantKeys(t, whole, "team/one-more/data/x")
}

func wantKeys(t *testing.T, b objstore.Bucket, want ...string) {
	t.Helper()
	var got []string
	err := b.List(t.Context(), "", func(o objstore.ObjectInfo) error {
		got = append(got, o.Key)
		return nil
	})
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("List: %q, %v; want %q", got, err, want)
	}
}

// reporter says on failed that a Put has failed.
type reporter struct {
	objstore.Bucket
	failed chan error
}

func (r *reporter) Put(ctx context.Context, key string, body []byte) error {
	err := r.Bucket.Put(ctx, key, body)
	if err != nil {
		select {
		case r.failed <- err:
		default:
		}
	}
	return err
}

func testRestart(t *testing.T, open Opener) {
	server := harness.StartMinIO(t)
	m := server.Minio()
	b := mustOpen(t, open, Target{Endpoint: m.Endpoint, Bucket: m.Bucket, AccessKey: m.AccessKey, SecretKey: m.SecretKey})
	before, during := objstoretest.Bytes(3<<20, 1), objstoretest.Bytes(3<<20, 2)
	if err := b.Put(t.Context(), "data/before", before); err != nil {
		t.Fatal(err)
	}
	server.Kill()

	if _, err := b.Get(t.Context(), "data/before", 0, -1); err == nil || errors.Is(err, objstore.ErrConfig) || errors.Is(err, objstore.ErrNotFound) {
		t.Errorf("Get from a dead server: %v, want an error to retry", err)
	}
	reporting := &reporter{b, make(chan error, 1)}
	retrying := objstore.Retry(reporting, objstore.RetryPolicy{
		Attempts: 10_000, MinDelay: 20 * time.Millisecond, MaxDelay: 100 * time.Millisecond, Total: 2 * time.Minute,
	})
	done := make(chan error, 1)
	go func() { done <- retrying.Put(t.Context(), "data/during", during) }()
	if err := <-reporting.failed; errors.Is(err, objstore.ErrConfig) {
		t.Errorf("Put to a dead server: %v, want an error to retry", err)
	}
	server.Start()
	if err := <-done; err != nil {
		t.Fatalf("Put across the restart: %v", err)
	}
	for key, want := range map[string][]byte{"data/before": before, "data/during": during} {
		got, err := retrying.Get(t.Context(), key, 0, -1)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("Get(%q) after the restart: %d bytes, %v", key, len(got), err)
		}
	}
}

func testSlowStart(t *testing.T, open Opener) {
	proxy, target := newProxy(t)
	proxy.failNext(3, http.MethodPut, xmlError(http.StatusServiceUnavailable, "SlowDown"))
	mustOpen(t, open, target)
}
