package harness

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// PgBouncer stands before a database, with deploy/pgbouncer.ini. Its methods fail the test when they can't do what they are
// for, so call them from the test's own goroutine.
type PgBouncer struct {
	t        testing.TB
	program  string
	folder   string
	owner    *syscall.Credential
	database *url.URL
	options  PgBouncerOptions
	address  string
	process  *process
}

// PgBouncerOptions says how a PgBouncer differs from deploy/pgbouncer.ini.
type PgBouncerOptions struct {
	// Settings are further ones, like "pool_mode=session".
	Settings []string
	// Schemas are also names of databases that lead to them: behind a pooler, the URL can't choose a schema.
	Schemas []string
}

// StartPgBouncer starts a PgBouncer before the database of the URL; it is stopped after the test.
func StartPgBouncer(t testing.TB, databaseURL string, options PgBouncerOptions) *PgBouncer {
	t.Helper()
	b := &PgBouncer{t: t, options: options}
	var err error
	b.program, err = findTool("pgbouncer")
	require(t, err)
	if b.owner, err = postgresOwner(); err != nil {
		t.Fatal(err)
	}
	if b.database, err = url.Parse(databaseURL); err != nil {
		t.Fatal(err)
	}
	if b.folder, err = current.newFolder("pgbouncer"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.cleanup)
	for range portAttempts {
		if b.address, err = freeAddress(); err != nil {
			t.Fatal(err)
		}
		if err = b.configure(); err != nil {
			t.Fatal(err)
		}
		if err = b.start(); err == nil {
			return b
		}
	}
	t.Fatalf("start PgBouncer: %v\n%s", err, logTail(b.logPath()))
	return nil
}

// URL is that of the database through PgBouncer. It stays the same across restarts.
func (b *PgBouncer) URL() string { return b.SchemaURL(strings.TrimPrefix(b.database.Path, "/")) }

// SchemaURL is that of one of the schemas.
func (b *PgBouncer) SchemaURL(schema string) string {
	u := *b.database
	u.Host, u.Path = b.address, "/"+schema
	return u.String()
}

// KeepsStatements tells whether this version of PgBouncer can keep prepared statements.
func (b *PgBouncer) KeepsStatements() bool {
	b.t.Helper()
	out, err := exec.Command(b.program, "--version").Output()
	if err != nil {
		b.t.Fatal(err)
	}
	match := regexp.MustCompile(`PgBouncer (\d+)\.(\d+)`).FindSubmatch(out)
	if match == nil {
		b.t.Fatalf("PgBouncer's version is %q", out)
	}
	major, _ := strconv.Atoi(string(match[1])) // digits
	minor, _ := strconv.Atoi(string(match[2]))
	return major > 1 || minor >= 21
}

// Kill ends PgBouncer with SIGKILL: all its connections end, and nobody is told why.
func (b *PgBouncer) Kill() {
	b.t.Helper()
	if !b.process.running() {
		b.t.Fatal("kill PgBouncer: it is not running")
	}
	if err := b.process.kill(); err != nil {
		b.t.Fatal(err)
	}
}

// Start starts PgBouncer again where it was killed.
func (b *PgBouncer) Start() {
	b.t.Helper()
	if b.process.running() {
		b.t.Fatal("start PgBouncer: it is running")
	}
	if err := b.start(); err != nil {
		b.t.Fatal(err)
	}
}

// start returns when PgBouncer takes connections.
func (b *PgBouncer) start() error {
	cmd := exec.Command(b.program, b.configPath())
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: b.owner}
	var err error
	if b.process, err = launch(cmd, b.logPath(), syscall.SIGKILL); err != nil {
		return err
	}
	return poll(time.Minute, b.process, func() error {
		conn, err := net.Dial("tcp", b.address)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// configure writes deploy/pgbouncer.ini with what makes it this one's. A section that came again would undo what the first one
// says, so databases go into the one that is there, and settings to the end: the last word counts.
func (b *PgBouncer) configure() error {
	deployed, err := os.ReadFile(repositoryFile("deploy", "pgbouncer.ini"))
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(b.address)
	if err != nil {
		return err
	}
	database := strings.TrimPrefix(b.database.Path, "/")
	server := fmt.Sprintf("host=%s port=%s dbname=%s", b.database.Hostname(), b.database.Port(), database)
	var databases strings.Builder
	fmt.Fprintf(&databases, "%s = %s\n", database, server)
	for _, schema := range b.options.Schemas {
		fmt.Fprintf(&databases, "%s = %s connect_query='SET search_path = %s'\n", schema, server, schema)
	}
	head, tail, found := strings.Cut(string(deployed), "[databases]\n")
	if !found {
		return fmt.Errorf("deploy/pgbouncer.ini has no section [databases]")
	}
	users := filepath.Join(b.folder, "users")
	// The databases share the connections that a test's Postgres has.
	settings := append([]string{"listen_addr=" + host, "listen_port=" + port, "unix_socket_dir=", "auth_file=" + users, "max_user_connections=100"}, b.options.Settings...)
	config := head + "[databases]\n" + databases.String() + tail + strings.Join(settings, "\n") + "\n"
	password, _ := b.database.User.Password()
	for path, content := range map[string]string{
		b.configPath(): config,
		users:          fmt.Sprintf("%q %q\n", b.database.User.Username(), password),
	} {
		if err := b.write(path, content); err != nil {
			return err
		}
	}
	return nil
}

// write makes a file that PgBouncer may read, which doesn't run as root.
func (b *PgBouncer) write(path, content string) error {
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil || b.owner == nil {
		return err
	}
	for _, path := range []string{b.folder, path} {
		if err := os.Chown(path, int(b.owner.Uid), int(b.owner.Gid)); err != nil {
			return err
		}
	}
	return nil
}

func (b *PgBouncer) configPath() string { return filepath.Join(b.folder, "pgbouncer.ini") }
func (b *PgBouncer) logPath() string    { return filepath.Join(b.folder, "log") }

func (b *PgBouncer) cleanup() {
	if err := b.process.kill(); err != nil {
		b.t.Error(err)
	}
	if b.t.Failed() {
		b.t.Logf("log of PgBouncer:\n%s", logTail(b.logPath()))
	}
	if err := os.RemoveAll(b.folder); err != nil {
		b.t.Error(err)
	}
}

// repositoryFile is the path of a file of this repository.
func repositoryFile(parts ...string) string {
	_, here, _, _ := runtime.Caller(0) // which knows of any caller that is there
	return filepath.Join(append([]string{filepath.Dir(here), "..", ".."}, parts...)...)
}
