package harness

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Postgres returns the URL of a fresh, empty database, dropped after the test.
// The cluster is private to this test process and shared by its tests: one that
// stops it needs [StartPostgres]. Commits are durable (fsync is on), as in production.
func Postgres(t testing.TB) string {
	t.Helper()
	server, err := current.postgres.get(func() (*PostgresServer, error) { return newPostgres() })
	require(t, err)
	url, err := server.createDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.dropDatabase(context.Background(), url); err != nil {
			t.Error(err)
		}
	})
	return url
}

// PostgresServer is a cluster that a test may stop, kill and start again. Its
// methods fail the test when they can't do what they are for, so call them
// from the test's own goroutine.
type PostgresServer struct {
	t        testing.TB // nil for the shared cluster
	bin      string     // folder of the programs
	folder   string     // data, sockets and log
	owner    *syscall.Credential
	port     int
	password string
	settings []string // beyond our own
	database string   // of URL
	process  *process
}

// StartPostgres starts a cluster for this test alone, with the settings (like "max_connections=30"); it is
// stopped after the test.
func StartPostgres(t testing.TB, settings ...string) *PostgresServer {
	t.Helper()
	s, err := newPostgres(settings...)
	require(t, err)
	s.belongTo(t)
	s.database, err = s.createDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// belongTo makes the cluster the test's, with which it ends.
func (s *PostgresServer) belongTo(t testing.TB) {
	s.t = t
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log of Postgres on port %d:\n%s", s.port, logTail(s.logPath()))
		}
		if err := os.RemoveAll(s.folder); err != nil {
			t.Error(err)
		}
	})
}

// URL returns the URL of this cluster's database, empty at first. It stays the same across restarts.
func (s *PostgresServer) URL() string { return s.database }

// Start starts a stopped or killed cluster again, on the same port and data,
// and returns when it accepts queries.
func (s *PostgresServer) Start() {
	s.t.Helper()
	if err := s.start(); err != nil {
		s.t.Fatal(err)
	}
}

// Stop ends the cluster in order: sessions are cut off, committed data is
// written out. It returns when the port is closed.
func (s *PostgresServer) Stop() {
	s.t.Helper()
	if err := s.stop(); err != nil {
		s.t.Fatal(err)
	}
}

// Kill ends all of the cluster's processes at once, as a power cut would: no
// client is told, the next Start recovers from the write-ahead log.
func (s *PostgresServer) Kill() {
	s.t.Helper()
	if !s.process.running() {
		s.t.Fatal("kill Postgres: it is not running")
	}
	if err := killFamily(s.process); err != nil {
		s.t.Fatal(err)
	}
}

func newPostgres(settings ...string) (*PostgresServer, error) {
	bin, err := findPostgres()
	if err != nil {
		return nil, err
	}
	owner, err := postgresOwner()
	if err != nil {
		return nil, err
	}
	s := &PostgresServer{bin: bin, owner: owner, password: rand.Text(), settings: settings}
	if s.folder, err = current.newFolder("postgres"); err != nil {
		return nil, err
	}
	if err := s.initialize(); err != nil {
		return nil, err
	}
	return s, s.startSomewhere()
}

// startSomewhere starts the cluster for the first time, on a port that is free.
func (s *PostgresServer) startSomewhere() (err error) {
	for range portAttempts {
		if s.port, err = freePort(); err != nil {
			return err
		}
		if err = s.start(); !errors.Is(err, errEnded) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", err, logTail(s.logPath()))
	}
	return nil
}

// postgresOwner returns whom to run Postgres as: nil for ourselves, except
// when we are root, which it refuses to run as.
func postgresOwner() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return nil, fmt.Errorf("find a user to run Postgres as, which refuses root: %w", err)
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

const superuser = "wadi"

func (s *PostgresServer) initialize() error {
	passwordFile := filepath.Join(s.folder, "password")
	if err := os.WriteFile(passwordFile, []byte(s.password), 0o600); err != nil {
		return err
	}
	if s.owner != nil {
		for _, path := range []string{s.folder, passwordFile} {
			if err := os.Chown(path, int(s.owner.Uid), int(s.owner.Gid)); err != nil {
				return err
			}
		}
	}
	// Only this program skips fsync: a crash while it runs leaves nothing worth having.
	p, err := s.launch("initdb", "--pgdata="+s.dataDir(), "--username="+superuser, "--pwfile="+passwordFile,
		"--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync")
	if err != nil {
		return err
	}
	if code := p.exitCode(); code != 0 {
		return fmt.Errorf("initdb failed with code %d:\n%s", code, logTail(s.logPath()))
	}
	return os.Remove(passwordFile)
}

func (s *PostgresServer) dataDir() string { return filepath.Join(s.folder, "data") }
func (s *PostgresServer) logPath() string { return filepath.Join(s.folder, "log") }

func (s *PostgresServer) launch(program string, args ...string) (*process, error) {
	cmd := exec.Command(filepath.Join(s.bin, program), args...)
	cmd.Dir = s.folder
	// Nothing of the developer's own PG* settings.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.folder, "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner}
	// SIGQUIT ends Postgres with all its processes; SIGKILL would leave some for a while.
	return launch(cmd, s.logPath(), syscall.SIGQUIT)
}

func (s *PostgresServer) start() error {
	if s.process.running() {
		return errors.New("start Postgres: it is running")
	}
	args := []string{"-D", s.dataDir()}
	for _, setting := range append([]string{
		"listen_addresses=127.0.0.1",
		"port=" + strconv.Itoa(s.port),
		"unix_socket_directories=" + s.folder,
		"max_connections=200",
		"shared_buffers=64MB",
		"max_wal_size=256MB",
		"timezone=UTC",
	}, s.settings...) {
		args = append(args, "-c", setting)
	}
	p, err := s.launch("postgres", args...)
	if err != nil {
		return err
	}
	s.process = p
	err = poll(time.Minute, p, func() error {
		return s.exec(context.Background(), "SELECT 1")
	})
	if err != nil {
		return errors.Join(fmt.Errorf("start Postgres: %w", err), p.kill())
	}
	return nil
}

func (s *PostgresServer) stop() error {
	if !s.process.running() {
		return nil
	}
	code, err := s.process.stop(syscall.SIGINT, 30*time.Second)
	if err == nil && code != 0 {
		err = fmt.Errorf("stop Postgres: it ended with code %d:\n%s", code, logTail(s.logPath()))
	}
	return err
}

func (s *PostgresServer) url(database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(superuser, s.password),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

var databases atomic.Int64

func (s *PostgresServer) createDatabase(ctx context.Context) (string, error) {
	name := fmt.Sprintf("wadi_test_%d", databases.Add(1))
	if err := s.exec(ctx, "CREATE DATABASE "+name+" TEMPLATE template0"); err != nil {
		return "", err
	}
	return s.url(name), nil
}

func (s *PostgresServer) dropDatabase(ctx context.Context, databaseURL string) error {
	u, err := url.Parse(databaseURL)
	if err != nil {
		return err
	}
	return s.exec(ctx, "DROP DATABASE "+u.Path[1:]+" WITH (FORCE)")
}

// exec runs a statement in the database postgres, on a connection of its own.
func (s *PostgresServer) exec(ctx context.Context, statement string) (err error) {
	// To drop a database of hundreds of schemas takes long on a busy disk.
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.url("postgres"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	if _, err := conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}
