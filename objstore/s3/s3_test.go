package s3_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/internal/s3test"
	"github.com/wadi-log/wadi/objstore/objstoretest"
	"github.com/wadi-log/wadi/objstore/s3"
	"github.com/wadi-log/wadi/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

func open(ctx context.Context, target s3test.Target) (objstore.Bucket, error) {
	return bucket(s3.Open(ctx, config(target)))
}

func openReadOnly(ctx context.Context, target s3test.Target) (objstore.Bucket, error) {
	return bucket(s3.OpenReadOnly(ctx, config(target)))
}

func config(target s3test.Target) s3.Config {
	return s3.Config{
		Bucket: target.Bucket, Prefix: target.Prefix, Endpoint: "http://" + target.Endpoint, PathStyle: true,
		AccessKey: target.AccessKey, SecretKey: target.SecretKey,
	}
}

func bucket(b *s3.Bucket, err error) (objstore.Bucket, error) {
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
	for raw, want := range map[string]s3.Config{
		"s3://bucket":                           {Bucket: "bucket"},
		"s3://bucket/":                          {Bucket: "bucket"},
		"s3://bucket/a/b/?region=eu-1":          {Bucket: "bucket", Prefix: "a/b", Region: "eu-1"},
		"s3://my.bucket?path_style=true":        {Bucket: "my.bucket", PathStyle: true},
		"s3://b?endpoint=http://127.0.0.1:9000": {Bucket: "b", Endpoint: "http://127.0.0.1:9000", PathStyle: true},
		"s3://b/p%20q?endpoint=https%3A%2F%2Fs3.test&path_style=false":  {Bucket: "b", Prefix: "p q", Endpoint: "https://s3.test"},
		"s3://b?region=&endpoint=&path_style=":                          {Bucket: "b"},
		"s3://b?endpoint=https%3A%2F%2Fhost%2Fbase&region=r&path_style": {Bucket: "b", Endpoint: "https://host/base", Region: "r", PathStyle: true},
	} {
		got, err := s3.ParseURL(raw)
		if err != nil || got != want {
			t.Errorf("ParseURL(%q) = %#v, %v; want %#v", raw, got, err, want)
		}
		again, err := s3.ParseURL(want.String())
		if err != nil || again != want {
			t.Errorf("ParseURL(%q) = %#v, %v; want %#v, of which that is the String", want, again, err, want)
		}
	}
}

func TestConfigShowsNoKeys(t *testing.T) {
	c := s3.Config{Bucket: "bucket", AccessKey: "ACC3SS", SecretKey: "S3CRET"}
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
		"":                                   "s3://",
		"http://bucket":                      "s3://",
		"s3:///prefix":                       "no bucket",
		"s3://key:S3CRET@bucket":             "WADI_OBJECTS_ACCESS_KEY",
		"s3://key:S3CRET@bu cket":            "not a valid URL",
		"s3://b/a//b":                        "prefix",
		"s3://b/" + strings.Repeat("x", 256): "prefix",
		"s3://b/../b":                        "prefix",
		"s3://b#x":                           "%23",
		"s3://b?color=red":                   "color",
		"s3://b?region=a&region=b":           "more than once",
		"s3://b?path_style=perhaps":          "path_style",
		"s3://b?endpoint=127.0.0.1:9":        "endpoint=http",
		"s3://b?endpoint=host":               "endpoint=http",
		"s3://b?endpoint=http://a:S3CRET@h":  "WADI_OBJECTS_ACCESS_KEY",
		"s3://b?endpoint=http://h?x=1":       "escape",
		"s3://b?region=%zz":                  "not valid",
	} {
		_, err := s3.ParseURL(raw)
		if !errors.Is(err, objstore.ErrConfig) || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "--objects") {
			t.Errorf("ParseURL(%q): %v, want an ErrConfig that names --objects and says %q", raw, err, says)
		}
		if err != nil && strings.Contains(err.Error(), "S3CRET") {
			t.Errorf("%q shows the secret", err)
		}
	}
}

// noAWS hides what the machine knows of AWS.
func noAWS(t *testing.T) {
	t.Helper()
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"AWS_CONFIG_FILE": empty, "AWS_SHARED_CREDENTIALS_FILE": empty, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_PROFILE": "", "AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "",
		"AWS_SESSION_TOKEN": "", "AWS_WEB_IDENTITY_TOKEN_FILE": "", "AWS_CA_BUNDLE": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "",
	} {
		t.Setenv(name, value)
	}
}

func TestOpenWithoutRegionOrKeys(t *testing.T) {
	noAWS(t)
	for says, config := range map[string]s3.Config{
		"AWS_REGION":              {Bucket: "b", AccessKey: "a", SecretKey: "s"},
		"WADI_OBJECTS_ACCESS_KEY": {Bucket: "b", Region: "us-east-1"},
		"set both or neither":     {Bucket: "b", Region: "us-east-1", AccessKey: "a"},
	} {
		_, err := s3.Open(t.Context(), config)
		if !errors.Is(err, objstore.ErrConfig) || !strings.Contains(err.Error(), says) {
			t.Errorf("Open: %v, want an ErrConfig that says %q", err, says)
		}
	}
}

func TestOpenTakesKeysFromTheAWSChain(t *testing.T) {
	noAWS(t)
	target := s3test.Fresh(t)
	t.Setenv("AWS_ACCESS_KEY_ID", target.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", target.SecretKey)
	b, err := s3.Open(t.Context(), s3.Config{Bucket: target.Bucket, Endpoint: "http://" + target.Endpoint, PathStyle: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func TestTLSWithTheSDKsCertificateBundle(t *testing.T) {
	noAWS(t)
	target, certificate := s3test.TLS(t)
	config := s3.Config{Bucket: target.Bucket, Endpoint: "https://" + target.Endpoint, PathStyle: true, AccessKey: target.AccessKey, SecretKey: target.SecretKey}
	_, err := s3.Open(t.Context(), config)
	if !errors.Is(err, objstore.ErrConfig) || !strings.Contains(err.Error(), "SSL_CERT_FILE") {
		t.Errorf("Open without the certificate: %v, want an ErrConfig that names SSL_CERT_FILE", err)
	}
	bundle := filepath.Join(t.TempDir(), "bundle.pem")
	if err := os.WriteFile(bundle, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CA_BUNDLE", bundle)
	b, err := s3.Open(t.Context(), config) // puts, gets, lists and deletes
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}
