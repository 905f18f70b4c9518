package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/minio/minio-go/v7"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(killedFile); path != "" {
		panic(dieWithServersRunning(path))
	}
	if len(os.Args) > 1 && os.Args[1] == "agent" {
		os.Exit(standInAgent(os.Args[2:]))
	}
	os.Exit(Main(m))
}

func TestDatabasesAreFreshAndApart(t *testing.T) {
	first, second := Postgres(t), Postgres(t)
	run(t, first, "CREATE TABLE mark (n int)")
	run(t, second, "CREATE TABLE mark (n int)") // fails if it were the same database
	if got := number(t, first, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"); got != 1 {
		t.Errorf("%d tables in the database, want only the one just made", got)
	}
}

func TestPostgresCommitsAreDurable(t *testing.T) {
	url := Postgres(t)
	for _, setting := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
		if got := number(t, url, "SELECT (current_setting('"+setting+"') = 'on')::int"); got != 1 {
			t.Errorf("%s is off", setting)
		}
	}
}

func TestDatabaseIsDroppedAfterItsTest(t *testing.T) {
	var url string
	t.Run("inner", func(t *testing.T) { url = Postgres(t) })
	conn, err := pgx.Connect(t.Context(), url)
	if err == nil {
		t.Fatal("the database is still there", conn.Close(t.Context()))
	}
	if !strings.Contains(err.Error(), "does not exist") {
		t.Fatal(err)
	}
}

func TestPostgresKeepsCommitsThroughStopAndKill(t *testing.T) {
	server := StartPostgres(t)
	url := server.URL()
	run(t, url, "CREATE TABLE mark (n int)")
	for i, end := range []func(){server.Stop, server.Kill} {
		run(t, url, "INSERT INTO mark VALUES (1)")
		end()
		if conn, err := pgx.Connect(t.Context(), url); err == nil {
			t.Fatal("Postgres still answers", conn.Close(t.Context()))
		}
		server.Start()
		if got := number(t, url, "SELECT count(*) FROM mark"); got != i+1 {
			t.Fatalf("%d rows after the restart, want %d", got, i+1)
		}
	}
}

func TestBucketsAreFreshAndApart(t *testing.T) {
	first, second := MinIO(t), MinIO(t)
	if first.Bucket == second.Bucket {
		t.Fatal("both buckets are ", first.Bucket)
	}
	put(t, first, "a")
	for bucket, want := range map[Minio]int{first: 1, second: 0} {
		if got := count(t, bucket); got != want {
			t.Errorf("%d objects in a bucket, want %d", got, want)
		}
	}
}

func TestMinIOKeepsObjectsThroughStopAndKill(t *testing.T) {
	server := StartMinIO(t)
	for i, end := range []func(){server.Stop, server.Kill} {
		put(t, server.Minio(), fmt.Sprint("object", i))
		end()
		if conn, err := net.Dial("tcp", server.Minio().Endpoint); err == nil {
			t.Fatal("MinIO still listens", conn.Close())
		}
		server.Start()
		if got := count(t, server.Minio()); got != i+1 {
			t.Fatalf("%d objects after the restart, want %d", got, i+1)
		}
	}
}

// TestServersDieWithTheTestProcess has a child, this test binary, start both
// servers and die by SIGKILL, so that none of its own code can clean up.
func TestServersDieWithTheTestProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux signals children when their parent dies")
	}
	_ = Postgres(t) // skip here, not in the child, where something is missing
	_ = MinIO(t)
	temp, err := os.MkdirTemp("", "h") // short: a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(temp); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(temp, 0o711); err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), killedFile+"="+filepath.Join(temp, "addresses"), "TMPDIR="+temp)
	if out, err := child.CombinedOutput(); child.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the child ended otherwise than by SIGKILL: %v\n%s", err, out)
	}
	addresses, err := os.ReadFile(filepath.Join(temp, "addresses"))
	if err != nil {
		t.Fatal(err)
	}
	for address := range strings.FieldsSeq(string(addresses)) {
		Eventually(t, time.Minute, func() error {
			if conn, err := net.Dial("tcp", address); err == nil {
				return errors.Join(fmt.Errorf("%s still listens", address), conn.Close())
			}
			return nil
		})
	}
	pattern := filepath.Join(temp, folderPrefix+"*")
	left, err := filepath.Glob(pattern)
	if err != nil || len(left) != 1 {
		t.Fatalf("the child left the folders %v (%v), want one", left, err)
	}
	age(t, filepath.Join(left[0], "lock"), time.Hour)
	// Postgres may still write a last line into a folder being removed.
	Eventually(t, time.Minute, func() error {
		removeAbandoned(temp)
		left, err := filepath.Glob(pattern)
		if err == nil && len(left) != 0 {
			err = fmt.Errorf("the folders %v are still there", left)
		}
		return err
	})
}

// killedFile is the variable that makes this binary the child of
// TestServersDieWithTheTestProcess: the file to write the servers' addresses to.
const killedFile = "WADI_HARNESS_ADDRESSES"

// dieWithServersRunning returns only when something failed before.
func dieWithServersRunning(path string) error {
	postgres, err := newPostgres()
	if err != nil {
		return err
	}
	minio, err := newMinio()
	if err != nil {
		return err
	}
	addresses := fmt.Sprintf("127.0.0.1:%d %s", postgres.port, minio.endpoint)
	if err := os.WriteFile(path, []byte(addresses), 0o600); err != nil {
		return err
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		return err
	}
	select {} // the signal ends us here
}

func TestFolderInUseIsNotRemoved(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	folder, lock, err := lockedFolder()
	if err != nil {
		t.Fatal(err)
	}
	age(t, lock.Name(), time.Hour)
	removeAbandoned(dir)
	if _, err := os.Stat(folder); err != nil {
		t.Errorf("the folder of a living process was removed: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	age(t, lock.Name(), 0)
	removeAbandoned(dir)
	if _, err := os.Stat(folder); err != nil {
		t.Errorf("a folder that is about to be locked was removed: %v", err)
	}
	age(t, lock.Name(), time.Hour)
	removeAbandoned(dir)
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder of a dead process is still there: %v", err)
	}
}

// age makes a file as old as that.
func age(t *testing.T, path string, by time.Duration) {
	t.Helper()
	at := time.Now().Add(-by)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestPortsAreGivenOnce(t *testing.T) {
	given := map[int]bool{}
	for range 200 {
		port, err := freePort()
		if err != nil {
			t.Fatal(err)
		}
		if given[port] {
			t.Fatalf("port %d was given twice", port)
		}
		given[port] = true
	}
	var other portRange
	if err := other.claim(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.lock.Close() }() // nothing was written
	if other.first == ports.first {
		t.Errorf("two processes take ports from %d on", other.first)
	}
}

func TestMissingProgramSkipsUnlessRequired(t *testing.T) {
	_, missing := findTool("wadi-no-such-program")
	for _, test := range []struct{ name, ci, require, want string }{
		{"on a developer's machine", "", "", "skip"},
		{"in CI", "true", "", "fail"},
		{"in make test", "", "1", "fail"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("CI", test.ci)
			t.Setenv("WADI_TEST_REQUIRE", test.require)
			r := &recorder{TB: t}
			require(r, missing)
			if r.verdict != test.want {
				t.Errorf("verdict %q, want %q", r.verdict, test.want)
			}
			for _, word := range []string{"wadi-no-such-program", "make setup"} {
				if !strings.Contains(r.message, word) {
					t.Errorf("the message %q does not name %q", r.message, word)
				}
			}
		})
	}
	if _, err := Dataset("wadi-no-such-data"); err == nil || !errors.As(err, new(*missingError)) {
		t.Errorf("a data set that was never fetched: %v", err)
	}
	r := &recorder{TB: t}
	require(r, errors.New("initdb failed"))
	if r.verdict != "fail" {
		t.Errorf("a failure that is not a missing program: verdict %q, want fail", r.verdict)
	}
}

func TestNewestPostgresWins(t *testing.T) {
	for path, want := range map[string]int{
		"/usr/lib/postgresql/9.6/bin/initdb":         9,
		"/usr/lib/postgresql/15/bin/initdb":          15,
		"/opt/homebrew/opt/postgresql@17/bin/initdb": 17,
		"/usr/local/opt/postgresql/bin/initdb":       0,
	} {
		if got := versionIn(path); got != want {
			t.Errorf("versionIn(%q) = %d, want %d", path, got, want)
		}
	}
}

// recorder notes the first verdict instead of ending the test.
type recorder struct {
	testing.TB
	verdict, message string
}

func (r *recorder) note(verdict string, args []any) {
	if r.verdict == "" {
		r.verdict, r.message = verdict, fmt.Sprint(args...)
	}
}
func (r *recorder) Helper()           {}
func (r *recorder) Skip(args ...any)  { r.note("skip", args) }
func (r *recorder) Fatal(args ...any) { r.note("fail", args) }
func (r *recorder) Error(args ...any) { r.note("error", args) }
func (r *recorder) Errorf(format string, args ...any) {
	r.note("error", []any{fmt.Sprintf(format, args...)})
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func run(t *testing.T, url, statement string) {
	t.Helper()
	conn := connect(t, url)
	_, err := conn.Exec(t.Context(), statement)
	if err := errors.Join(err, conn.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
}

func number(t *testing.T, url, query string) (n int) {
	t.Helper()
	conn := connect(t, url)
	err := conn.QueryRow(t.Context(), query).Scan(&n)
	if err := errors.Join(err, conn.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	return n
}

func put(t *testing.T, m Minio, key string) {
	t.Helper()
	withBucket(t, m, func(ctx context.Context, c *minio.Client) error {
		_, err := c.PutObject(ctx, m.Bucket, key, strings.NewReader("x"), 1, minio.PutObjectOptions{})
		return err
	})
}

func count(t *testing.T, m Minio) (n int) {
	t.Helper()
	withBucket(t, m, func(ctx context.Context, c *minio.Client) error {
		for object := range c.ListObjects(ctx, m.Bucket, minio.ListObjectsOptions{Recursive: true}) {
			if object.Err != nil {
				return object.Err
			}
			n++
		}
		return nil
	})
	return n
}

func withBucket(t *testing.T, m Minio, f func(context.Context, *minio.Client) error) {
	t.Helper()
	s := &MinioServer{endpoint: m.Endpoint, access: m.AccessKey, secret: m.SecretKey}
	if err := s.do(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}
