package postgres

import (
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/metadatatest"
	"github.com/wadi-log/wadi/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

func TestConformance(t *testing.T) {
	metadatatest.Run(t, func(t testing.TB) metadatatest.Database { return database{harness.Postgres(t), ""} })
}

// As a pooler without prepared statements needs it.
func TestConformanceWithoutPreparedStatements(t *testing.T) {
	metadatatest.Run(t, func(t testing.TB) metadatatest.Database {
		return database{harness.Postgres(t), "&default_query_exec_mode=exec"}
	})
}

// database is a metadatatest.Database.
type database struct {
	url string
	// options are appended to the stores' URL.
	options string
}

func (d database) Open(t testing.TB) metadata.Store { return open(t, d.url+d.options) }

func open(t testing.TB, url string) *Store {
	t.Helper()
	s, err := Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (d database) Age(t testing.TB, by time.Duration) {
	t.Helper()
	for _, column := range []string{"commits SET at = at", "producers SET seen_at = seen_at", "agents SET beat_at = beat_at", "files SET committed_at = committed_at"} {
		exec(t, d.url, "UPDATE "+column+" - $1::interval", by)
	}
}

func (d database) FileCounts(t testing.TB) map[uuid.UUID]metadatatest.FileCount {
	t.Helper()
	conn := dial(t, d.url)
	rows, err := conn.Query(t.Context(), `SELECT COALESCE(f.id, r.file_id), COALESCE(f.live_runs, 0), COALESCE(r.n, 0)
		FROM files f FULL JOIN (SELECT file_id, count(*) AS n FROM runs GROUP BY file_id) r ON r.file_id = f.id`)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[uuid.UUID]metadatatest.FileCount{}
	var id uuid.UUID
	var c metadatatest.FileCount
	if _, err := pgx.ForEachRow(rows, []any{&id, &c.LiveRuns, &c.Rows}, func() error { counts[id] = c; return nil }); err != nil {
		t.Fatal(err)
	}
	return counts
}

// dial opens a connection for the test's own use.
func dial(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return conn
}

func exec(t testing.TB, url, sql string, args ...any) {
	t.Helper()
	if _, err := dial(t, url).Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}
