package sqlite

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/metadatatest"
	"github.com/wadi-log/wadi/test/harness"
)

func TestMain(m *testing.M) {
	callTimeout = time.Minute // of a process that waits for a busy machine, and for others that write all the time
	if path := os.Getenv(childPath); path != "" {
		fmt.Fprintln(os.Stderr, runChild(path))
		os.Exit(1)
	}
	os.Exit(harness.Main(m))
}

func TestConformance(t *testing.T) {
	metadatatest.Run(t, newDatabase)
}

func BenchmarkStore(b *testing.B) { metadatatest.Benchmark(b, newDatabase) }

func newDatabase(t testing.TB) metadatatest.Database {
	return database{filepath.Join(t.TempDir(), "metadata.db")}
}

// database is a metadatatest.Database.
type database struct{ path string }

func (d database) Open(t testing.TB) metadata.Store { return open(t, d.path) }

func open(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), path)
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
	db := d.raw(t)
	for column, unit := range map[string]time.Duration{
		"commits SET at = at": time.Millisecond, "producers SET seen_at = seen_at": time.Millisecond,
		"agents SET beat_at = beat_at": time.Millisecond, "files SET claimed_until = claimed_until - ?1, committed_at = committed_at": time.Millisecond,
		"dead_files SET died_at = died_at": time.Millisecond, "leases SET until = until": time.Millisecond,
		"compactions SET cleaned_at = cleaned_at - ?1, settled_at = settled_at": time.Millisecond,
		"groups SET due_at = due_at": time.Microsecond, "group_beats SET at = at": time.Microsecond,
		"group_listeners SET at = at":                                            time.Microsecond,
		"transactions SET started_at = started_at - ?1, updated_at = updated_at": time.Microsecond, "transaction_offsets SET put_at = put_at": time.Microsecond,
		"group_offsets SET expire_at = expire_at - ?1, committed_at = committed_at": time.Microsecond,
	} {
		if _, err := db.ExecContext(t.Context(), "UPDATE "+column+" - ?1", int64(by/unit)); err != nil {
			t.Fatal(err)
		}
	}
}

func (d database) FileCounts(t testing.TB) map[uuid.UUID]metadatatest.FileCount {
	t.Helper()
	rows, err := d.raw(t).QueryContext(t.Context(), `SELECT id, max(live), max(n) FROM (
		SELECT id, live_runs AS live, 0 AS n FROM files UNION ALL SELECT id, 0, 0 FROM dead_files
		UNION ALL SELECT file_id, 0, count(*) FROM runs WHERE encoding <> ? GROUP BY file_id) GROUP BY id`, metadata.EncodingMarker)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	counts := map[uuid.UUID]metadatatest.FileCount{}
	for rows.Next() {
		var id uuid.UUID
		var c metadatatest.FileCount
		if err := rows.Scan(&id, &c.LiveRuns, &c.Rows); err != nil {
			t.Fatal(err)
		}
		counts[id] = c
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return counts
}

func (d database) Runs(t testing.TB) (runs []metadata.Run) {
	t.Helper()
	rows, err := d.raw(t).QueryContext(t.Context(), `SELECT partition_id, `+runColumns+` FROM runs ORDER BY partition_id, base_offset`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		r, err := scanRunOf(rows)
		if err != nil {
			t.Fatal(err)
		}
		runs = append(runs, r)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return runs
}

func (d database) Files(t testing.TB) (files []metadatatest.FileRow) {
	t.Helper()
	rows, err := d.raw(t).QueryContext(t.Context(), `SELECT id, size, level, seq, live_runs, live_bytes, false,
			(SELECT json_array_length(keys) FROM file_keys WHERE file_id = id) FROM files
		UNION ALL SELECT id, size, 0, 0, 0, 0, true, 0 FROM dead_files
		UNION ALL SELECT file_id, 0, 0, 0, 0, 0, false, json_array_length(keys) FROM file_keys WHERE file_id NOT IN (SELECT id FROM files)`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var f metadatatest.FileRow
		if err := rows.Scan(&f.ID, &f.Size, &f.Level, &f.Seq, &f.LiveRuns, &f.LiveBytes, &f.Dead, &f.Keys); err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return files
}

func (d database) GroupLeftovers(t testing.TB) (rows int) {
	t.Helper()
	if err := d.raw(t).QueryRowContext(t.Context(), `SELECT (SELECT count(*) FROM group_states WHERE group_key NOT IN (SELECT group_key FROM groups))
		+ (SELECT count(*) FROM group_offsets WHERE group_key NOT IN (SELECT group_key FROM groups))
		+ (SELECT count(*) FROM group_beats WHERE group_key NOT IN (SELECT group_key FROM groups))
		+ (SELECT count(*) FROM groups WHERE group_key NOT IN (SELECT group_key FROM group_states))`).Scan(&rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

func (d database) TransactionLeftovers(t testing.TB) (rows int) {
	t.Helper()
	const open = ` WHERE producer_id NOT IN (SELECT producer_id FROM transactions WHERE state = 1 AND started_at IS NOT NULL)`
	if err := d.raw(t).QueryRowContext(t.Context(), `SELECT (SELECT count(*) FROM transaction_partitions`+open+`)
		+ (SELECT count(*) FROM transaction_groups`+open+`) + (SELECT count(*) FROM transaction_offsets`+open+`)
		+ (SELECT count(*) FROM transaction_offsets WHERE group_key NOT IN (SELECT group_key FROM groups))
		+ (SELECT count(*) FROM aborted_transactions WHERE NOT EXISTS (SELECT 1 FROM runs r WHERE r.partition_id = aborted_transactions.partition_id
			AND r.base_offset <= last_offset AND r.base_offset + r.records > last_offset AND (r.merged OR r.encoding = ?)))`,
		metadata.EncodingMarker).Scan(&rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

func (d database) CompactionLeftovers(t testing.TB) (rows int) {
	t.Helper()
	if err := d.raw(t).QueryRowContext(t.Context(), `SELECT count(*) FROM compactions WHERE partition_id NOT IN (SELECT id FROM partitions)`).Scan(&rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

func (d database) SetProducerEpoch(t testing.TB, id string, epoch int16) {
	t.Helper()
	if _, err := d.raw(t).ExecContext(t.Context(), `UPDATE transactions SET epoch = ? WHERE name = ?`, epoch, []byte(id)); err != nil {
		t.Fatal(err)
	}
}

func (d database) LoseChanges(t testing.TB, n int) (bringBack func()) {
	t.Helper()
	db := d.raw(t)
	exec := func(query string, args ...any) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
			t.Fatal(err)
		}
	}
	tables := []string{"sequencer", "commits", "runs", "files", "file_keys", "partitions"}
	for _, table := range tables {
		exec(`CREATE TABLE former_` + table + ` AS SELECT * FROM ` + table)
	}
	const lost = `(SELECT file_id FROM commits WHERE seq > (SELECT last_seq - ? FROM sequencer))`
	exec(`DELETE FROM runs WHERE file_id IN `+lost, n)
	exec(`DELETE FROM files WHERE id IN `+lost, n)
	exec(`DELETE FROM file_keys WHERE file_id IN `+lost, n)
	exec(`UPDATE partitions SET next_offset = COALESCE((SELECT max(base_offset + records) FROM runs WHERE partition_id = id), 0)`)
	exec(`DELETE FROM commits WHERE seq > (SELECT last_seq - ? FROM sequencer)`, n)
	exec(`UPDATE sequencer SET last_seq = last_seq - ?`, n)
	return func() {
		for _, table := range tables {
			exec(`DELETE FROM ` + table)
			exec(`INSERT INTO ` + table + ` SELECT * FROM former_` + table)
		}
		exec(`DELETE FROM halts`)
	}
}

func (d database) SetLogStart(t testing.TB, partition metadata.PartitionID, offset int64) {
	t.Helper()
	if _, err := d.raw(t).ExecContext(t.Context(), `UPDATE partitions SET log_start_offset = ? WHERE id = ?`, offset, partition); err != nil {
		t.Fatal(err)
	}
}

func (d database) AddFeedEntry(t testing.TB, payload []byte) {
	t.Helper()
	db := d.raw(t)
	for _, step := range []struct {
		query string
		args  []any
	}{
		{`UPDATE sequencer SET last_seq = last_seq + 1`, nil},
		{`INSERT INTO commits (seq, at, payload) SELECT last_seq, ?, ? FROM sequencer`, []any{time.Now().UnixMilli(), payload}},
	} {
		if _, err := db.ExecContext(t.Context(), step.query, step.args...); err != nil {
			t.Fatal(err)
		}
	}
}

// raw opens the file for the test's own use.
func (d database) raw(t testing.TB) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", dsn(d.path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}
