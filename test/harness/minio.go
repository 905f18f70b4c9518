package harness

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Minio is an S3 bucket and how to reach it.
type Minio struct {
	Endpoint  string // host:port, plain HTTP
	AccessKey string
	SecretKey string
	Bucket    string
}

// MinioURL returns the bucket as a --objects URL for minio-go, without the keys.
func (m Minio) MinioURL() string {
	return fmt.Sprintf("minio://%s/%s", m.Endpoint, m.Bucket)
}

// S3URL returns the bucket as a --objects URL for the AWS SDK, without the keys.
func (m Minio) S3URL() string {
	q := url.Values{"region": {"us-east-1"}, "endpoint": {"http://" + m.Endpoint}, "path_style": {"true"}}
	return fmt.Sprintf("s3://%s?%s", m.Bucket, q.Encode())
}

// MinIO returns a fresh, empty bucket, deleted after the test. The server is
// private to this test process and shared by its tests: one that stops it needs
// [StartMinIO].
func MinIO(t testing.TB) Minio {
	t.Helper()
	server, err := current.minio.get(newMinio)
	require(t, err)
	bucket, err := server.createBucket(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.removeBucket(context.Background(), bucket.Bucket); err != nil {
			t.Error(err)
		}
	})
	return bucket
}

// MinioServer is a server that a test may stop, kill and start again. Its
// methods fail the test when they can't do what they are for, so call them
// from the test's own goroutine.
type MinioServer struct {
	t        testing.TB // nil for the shared server
	program  string
	folder   string
	endpoint string
	access   string
	secret   string
	bucket   Minio
	process  *process
}

// StartMinIO starts a server for this test alone; it is stopped after the test.
func StartMinIO(t testing.TB) *MinioServer {
	t.Helper()
	s, err := newMinio()
	require(t, err)
	s.t = t
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log of MinIO:\n%s", logTail(s.logPath()))
		}
		if err := os.RemoveAll(s.folder); err != nil {
			t.Error(err)
		}
	})
	if s.bucket, err = s.createBucket(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// Minio returns this server's bucket, empty at first. It stays the same across restarts.
func (s *MinioServer) Minio() Minio { return s.bucket }

// URL returns the server's base URL.
func (s *MinioServer) URL() string { return "http://" + s.endpoint }

// Start starts a stopped or killed server again, on the same port and data, and
// returns when it serves requests.
func (s *MinioServer) Start() {
	s.t.Helper()
	if err := s.start(); err != nil {
		s.t.Fatal(err)
	}
}

// Stop ends the server in order and returns when its port is closed.
func (s *MinioServer) Stop() {
	s.t.Helper()
	if err := s.stop(); err != nil {
		s.t.Fatal(err)
	}
}

// Kill ends the server in the middle of whatever it does.
func (s *MinioServer) Kill() {
	s.t.Helper()
	if !s.process.running() {
		s.t.Fatal("kill MinIO: it is not running")
	}
	if err := s.process.kill(); err != nil {
		s.t.Fatal(err)
	}
}

func newMinio() (*MinioServer, error) {
	program, err := findTool("minio")
	if err != nil {
		return nil, err
	}
	s := &MinioServer{program: program, access: rand.Text(), secret: rand.Text()}
	if s.folder, err = current.newFolder("minio"); err != nil {
		return nil, err
	}
	for range portAttempts {
		var port int
		if port, err = freePort(); err != nil {
			return nil, err
		}
		s.endpoint = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if err = s.start(); !errors.Is(err, errEnded) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, logTail(s.logPath()))
	}
	return s, nil
}

func (s *MinioServer) logPath() string { return filepath.Join(s.folder, "log") }

func (s *MinioServer) start() error {
	if s.process.running() {
		return errors.New("start MinIO: it is running")
	}
	cmd := exec.Command(s.program, "server", "--anonymous", "--address", s.endpoint,
		"--certs-dir", filepath.Join(s.folder, "certs"), filepath.Join(s.folder, "data"))
	cmd.Dir = s.folder
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + s.folder,
		"MINIO_ROOT_USER=" + s.access,
		"MINIO_ROOT_PASSWORD=" + s.secret,
		"MINIO_BROWSER=off",
		"MINIO_UPDATE=off",
	}
	p, err := launch(cmd, s.logPath(), syscall.SIGKILL)
	if err != nil {
		return err
	}
	s.process = p
	err = poll(time.Minute, p, s.ready)
	if err != nil {
		return errors.Join(fmt.Errorf("start MinIO: %w", err), p.kill())
	}
	return nil
}

// ready asks for the buckets, which answers only when the server can serve
// requests; its health page is there earlier.
func (s *MinioServer) ready() error {
	return s.do(context.Background(), func(ctx context.Context, c *minio.Client) error {
		_, err := c.ListBuckets(ctx)
		return err
	})
}

func (s *MinioServer) stop() error {
	if !s.process.running() {
		return nil
	}
	_, err := s.process.stop(syscall.SIGTERM, 30*time.Second)
	return err
}

func (s *MinioServer) createBucket(ctx context.Context) (Minio, error) {
	name := "wadi-test-" + strings.ToLower(rand.Text())
	err := s.do(ctx, func(ctx context.Context, c *minio.Client) error {
		return c.MakeBucket(ctx, name, minio.MakeBucketOptions{})
	})
	return Minio{Endpoint: s.endpoint, AccessKey: s.access, SecretKey: s.secret, Bucket: name}, err
}

// removeBucket deletes a bucket with all that is in it; one that the test
// removed itself is no error.
func (s *MinioServer) removeBucket(ctx context.Context, name string) error {
	err := s.do(ctx, func(ctx context.Context, c *minio.Client) error {
		return c.RemoveBucketWithOptions(ctx, name, minio.RemoveBucketOptions{ForceDelete: true})
	})
	if minio.ToErrorResponse(err).Code == minio.NoSuchBucket {
		return nil
	}
	return err
}

// do runs f with a client whose connections are closed afterwards.
func (s *MinioServer) do(ctx context.Context, f func(context.Context, *minio.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	client, err := minio.New(s.endpoint, &minio.Options{
		Creds:      credentials.NewStaticV4(s.access, s.secret, ""),
		Transport:  transport,
		Region:     "us-east-1",
		MaxRetries: 1,
	})
	if err != nil {
		return err
	}
	return f(ctx, client)
}
