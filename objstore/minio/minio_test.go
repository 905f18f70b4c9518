package minio_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/internal/s3test"
	"github.com/wadi-log/wadi/objstore/minio"
	"github.com/wadi-log/wadi/objstore/objstoretest"
	"github.com/wadi-log/wadi/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

func open(ctx context.Context, target s3test.Target) (objstore.Bucket, error) {
	return bucket(minio.Open(ctx, config(target)))
}

func openReadOnly(ctx context.Context, target s3test.Target) (objstore.Bucket, error) {
	return bucket(minio.OpenReadOnly(ctx, config(target)))
}

func config(target s3test.Target) minio.Config {
	return minio.Config{
		Endpoint: target.Endpoint, Bucket: target.Bucket, Prefix: target.Prefix,
		AccessKey: target.AccessKey, SecretKey: target.SecretKey,
	}
}

func bucket(b *minio.Bucket, err error) (objstore.Bucket, error) {
	if err != nil {
		return nil, err // not a nil *Bucket in an interface
	}
	return b, nil
}

func mustOpen(t testing.TB) objstore.Bucket {
	t.Helper()
	b, err := open(t.Context(), s3test.Fresh(t))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestContract(t *testing.T) {
	objstoretest.Run(t, mustOpen)
}

func TestFaults(t *testing.T) { s3test.Run(t, open, openReadOnly) }

func Benchmark(b *testing.B) {
	bucket := mustOpen(b)
	b.Cleanup(func() {
		if err := bucket.Close(); err != nil {
			b.Error(err)
		}
	})
	objstoretest.Bench(b, bucket)
}

func TestParseURL(t *testing.T) {
	for raw, want := range map[string]minio.Config{
		"minio://localhost:9000/bucket":                 {Endpoint: "localhost:9000", Bucket: "bucket"},
		"minio://h/bucket/a/b/":                         {Endpoint: "h", Bucket: "bucket", Prefix: "a/b"},
		"minio://[::1]:9000/bucket?tls=true":            {Endpoint: "[::1]:9000", Bucket: "bucket", TLS: true},
		"minio://h:1/bucket/p?tls=false&region=eu-west": {Endpoint: "h:1", Bucket: "bucket", Prefix: "p", Region: "eu-west"},
	} {
		got, err := minio.ParseURL(raw)
		if err != nil || got != want {
			t.Errorf("ParseURL(%q) = %#v, %v; want %#v", raw, got, err, want)
		}
		again, err := minio.ParseURL(want.String())
		if err != nil || again != want {
			t.Errorf("ParseURL(%q) = %#v, %v; want %#v, of which that is the String", want, again, err, want)
		}
	}
}

func TestConfigShowsNoKeys(t *testing.T) {
	c := minio.Config{Bucket: "bucket", AccessKey: "ACC3SS", SecretKey: "S3CRET"}
	encoded, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), string(encoded)} {
		if strings.Contains(shown, "S3CRET") || strings.Contains(shown, "ACC3SS") || !strings.Contains(shown, "bucket") {
			t.Errorf("shown as %s, want the bucket and no keys", shown)
		}
	}
}

func TestParseURLRefuses(t *testing.T) {
	for raw, says := range map[string]string{
		"":                                 "minio://",
		"s3://h/bucket":                    "minio://",
		"minio:///bucket":                  "no host",
		"minio://h:9000":                   "no bucket",
		"minio://h:9000/":                  "no bucket",
		"minio://key:S3CRET@h:9000/bucket": "WADI_OBJECTS_ACCESS_KEY",
		"minio://key:S3CRET@h:x/bucket":    "not a valid URL",
		"minio://h/b/a//b":                 "prefix",
		"minio://h/b/" + strings.Repeat("x", 256): "prefix",
		"minio://h/b#x":                  "%23",
		"minio://h/b?tls=maybe":          "tls",
		"minio://h/b?ssl=true":           "ssl",
		"minio://h/b?tls=true&tls=false": "more than once",
		"minio://h/b?tls=%zz":            "not valid",
	} {
		_, err := minio.ParseURL(raw)
		if !errors.Is(err, objstore.ErrConfig) || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "--objects") {
			t.Errorf("ParseURL(%q): %v, want an ErrConfig that names --objects and says %q", raw, err, says)
		}
		if err != nil && strings.Contains(err.Error(), "S3CRET") {
			t.Errorf("%q shows the secret", err)
		}
	}
}

func TestOpenWithTheWrongTLSSetting(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	encrypted := httptest.NewTLSServer(http.NotFoundHandler())
	defer encrypted.Close()
	for name, test := range map[string]struct {
		url  string
		tls  bool
		says string
	}{
		"TLS to a plain server":         {plain.URL, true, "?tls="},
		"TLS with an unknown authority": {encrypted.URL, true, "SSL_CERT_FILE"},
	} {
		t.Run(name, func(t *testing.T) {
			_, host, _ := strings.Cut(test.url, "://")
			_, err := minio.Open(t.Context(), minio.Config{Endpoint: host, Bucket: "bucket", TLS: test.tls, AccessKey: "a", SecretKey: "secret-key"})
			if !errors.Is(err, objstore.ErrConfig) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("Open: %v, want an ErrConfig that says %q", err, test.says)
			}
		})
	}
}
