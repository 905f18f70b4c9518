package postgres

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/metadatatest"
	"github.com/wadi-log/wadi/test/harness"
)

// shipped are the limits that agents have.
var shipped = limits

func TestMain(m *testing.M) {
	limits = limitsOf("60s", "60s", "60s") // of a process that waits for a busy machine
	os.Exit(harness.Main(m))
}

// patientCalls lets the calls of a test that has many at once wait for a busy machine.
func patientCalls(t *testing.T) {
	was := callTimeout
	callTimeout = time.Minute
	t.Cleanup(func() { callTimeout = was })
}

func TestConformance(t *testing.T) {
	metadatatest.Run(t, newDatabases(harness.Postgres(t)))
}

// newDatabases makes databases that are schemas of one: a real one takes
// Postgres a hundred times as long.
func newDatabases(url string) func(testing.TB) metadatatest.Database {
	var count atomic.Int64
	return func(t testing.TB) metadatatest.Database {
		name := schemaName(int(count.Add(1)))
		exec(t, url, "CREATE SCHEMA "+name)
		return database{url: url + "&search_path=" + name, schema: name}
	}
}

func schemaName(i int) string { return fmt.Sprint("wadi", i) }

// database is a metadatatest.Database.
type database struct {
	url, schema string
	// through is how stores reach it, where that isn't the url.
	through string
}

func (d database) Open(t testing.TB) metadata.Store { return open(t, cmp.Or(d.through, d.url)) }

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
	for _, column := range []string{
		"commits SET at = at", "producers SET seen_at = seen_at", "agents SET beat_at = beat_at", "files SET committed_at = committed_at",
		"groups SET due_at = due_at", "group_beats SET at = at", "group_listeners SET at = at", "group_offsets SET expire_at = expire_at - $1::interval, committed_at = committed_at",
		"files SET claimed_until = claimed_until", "dead_files SET died_at = died_at", "leases SET until = until",
		"compactions SET cleaned_at = cleaned_at - $1::interval, settled_at = settled_at",
		"transactions SET started_at = started_at - $1::interval, updated_at = updated_at", "transaction_offsets SET put_at = put_at",
	} {
		exec(t, d.url, "UPDATE "+column+" - $1::interval", by)
	}
}

func (d database) FileCounts(t testing.TB) map[uuid.UUID]metadatatest.FileCount {
	t.Helper()
	counts := map[uuid.UUID]metadatatest.FileCount{}
	query(t, d.url, func(rows pgx.Rows) error {
		var id uuid.UUID
		var c metadatatest.FileCount
		_, err := pgx.ForEachRow(rows, []any{&id, &c.LiveRuns, &c.Rows}, func() error { counts[id] = c; return nil })
		return err
	}, `SELECT COALESCE(f.id, r.file_id), COALESCE(f.live_runs, 0), COALESCE(r.n, 0)
		FROM (SELECT id, live_runs FROM files UNION ALL SELECT id, 0 FROM dead_files) f
		FULL JOIN (SELECT file_id, count(*) AS n FROM runs WHERE encoding <> $1 GROUP BY file_id) r ON r.file_id = f.id`, metadata.EncodingMarker)
	return counts
}

func (d database) Runs(t testing.TB) (runs []metadata.Run) {
	t.Helper()
	query(t, d.url, func(rows pgx.Rows) error {
		var partition int32
		var run nullRun
		_, err := pgx.ForEachRow(rows, append([]any{&partition}, run.targets()...), func() error {
			runs = append(runs, run.run(metadata.PartitionID(partition)))
			return nil
		})
		return err
	}, `SELECT partition_id, `+runColumns+` FROM runs ORDER BY partition_id, base_offset`)
	return runs
}

func (d database) Files(t testing.TB) (files []metadatatest.FileRow) {
	t.Helper()
	query(t, d.url, func(rows pgx.Rows) (err error) {
		files, err = pgx.CollectRows(rows, pgx.RowToStructByPos[metadatatest.FileRow])
		return err
	}, `SELECT id, size, level, seq, live_runs::int8, live_bytes, false, cardinality(partitions)::int8 FROM files
		UNION ALL SELECT id, size, 0, 0, 0, 0, true, 0 FROM dead_files`)
	query(t, d.url, func(rows pgx.Rows) error {
		for rows.Next() {
			t.Errorf("a run whose file doesn't have its key: %v", rows.RawValues())
		}
		return rows.Err()
	}, `SELECT file_id, partition_id, base_offset FROM runs r JOIN files f ON f.id = r.file_id WHERE encoding <> 2 AND NOT EXISTS (
		SELECT FROM unnest(f.partitions, f.offsets) AS k (partition_id, base_offset) WHERE k.partition_id = r.partition_id AND k.base_offset = r.base_offset)`)
	return files
}

func (d database) GroupLeftovers(t testing.TB) (rows int) {
	t.Helper()
	if err := dial(t, d.url).QueryRow(t.Context(), `SELECT (SELECT count(*) FROM group_states WHERE group_key NOT IN (SELECT group_key FROM groups))
		+ (SELECT count(*) FROM group_offsets WHERE group_key NOT IN (SELECT group_key FROM groups))
		+ (SELECT count(*) FROM group_beats WHERE group_key NOT IN (SELECT group_key FROM groups))
		+ (SELECT count(*) FROM groups g WHERE (group_key, version) NOT IN (SELECT group_key, version FROM group_states))`).Scan(&rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

func (d database) TransactionLeftovers(t testing.TB) (rows int) {
	t.Helper()
	const ended = ` WHERE producer_id NOT IN (SELECT producer_id FROM transactions WHERE state = 1 AND started_at IS NOT NULL)`
	if err := dial(t, d.url).QueryRow(t.Context(), `SELECT (SELECT count(*) FROM transaction_partitions`+ended+`)
		+ (SELECT count(*) FROM transaction_groups`+ended+`) + (SELECT count(*) FROM transaction_offsets`+ended+`)
		+ (SELECT count(*) FROM transaction_offsets WHERE group_key NOT IN (SELECT group_key FROM groups))
		+ (SELECT count(*) FROM aborted_transactions a WHERE NOT EXISTS (SELECT FROM runs
			WHERE partition_id = a.partition_id AND last_offset >= base_offset AND last_offset < base_offset + records AND (encoding = $1 OR merged)))
		+ (SELECT count(*) FROM partitions p WHERE first_unstable IS DISTINCT FROM (SELECT min(first_offset) FROM transaction_partitions WHERE partition_id = p.id))
		+ (SELECT count(*) FROM partitions p WHERE last_aborted < (SELECT max(last_offset) FROM aborted_transactions WHERE partition_id = p.id))`,
		metadata.EncodingMarker).Scan(&rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

func (d database) CompactionLeftovers(t testing.TB) (rows int) {
	t.Helper()
	if err := dial(t, d.url).QueryRow(t.Context(), `SELECT count(*) FROM compactions WHERE partition_id NOT IN (SELECT id FROM partitions)`).Scan(&rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

func (d database) SetProducerEpoch(t testing.TB, id string, epoch int16) {
	t.Helper()
	exec(t, d.url, `UPDATE transactions SET producer_epoch = $2 WHERE name = $1`, []byte(id), epoch)
}

func (d database) AddFeedEntry(t testing.TB, payload []byte) {
	t.Helper()
	exec(t, d.url, `WITH next AS (UPDATE sequencer SET last_seq = last_seq + 1 RETURNING last_seq)
		INSERT INTO commits (seq, at, payload) SELECT last_seq, clock_timestamp(), $1 FROM next`, payload)
}

func (d database) LoseChanges(t testing.TB, n int) (bringBack func()) {
	t.Helper()
	tables := []string{"sequencer", "commits", "runs", "files", "partitions"}
	for _, table := range tables {
		exec(t, d.url, `CREATE TABLE former_`+table+` AS SELECT * FROM `+table)
	}
	const lost = `(SELECT file_id FROM commits, sequencer WHERE seq > last_seq - $1)`
	exec(t, d.url, `DELETE FROM runs WHERE file_id IN `+lost, n)
	exec(t, d.url, `DELETE FROM files WHERE id IN `+lost, n)
	exec(t, d.url, `UPDATE partitions p SET next_offset = COALESCE((SELECT max(base_offset + records) FROM runs WHERE partition_id = p.id), 0)`)
	exec(t, d.url, `DELETE FROM commits USING sequencer WHERE seq > last_seq - $1`, n)
	exec(t, d.url, `UPDATE sequencer SET last_seq = last_seq - $1`, n)
	return func() {
		for _, table := range tables {
			exec(t, d.url, `DELETE FROM `+table)
			exec(t, d.url, `INSERT INTO `+table+` SELECT * FROM former_`+table)
		}
		exec(t, d.url, `DELETE FROM halts`)
	}
}

func (d database) SetLogStart(t testing.TB, partition metadata.PartitionID, offset int64) {
	t.Helper()
	exec(t, d.url, `UPDATE partitions SET log_start_offset = $2 WHERE id = $1`, partition, offset)
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
	query(t, url, func(rows pgx.Rows) error {
		rows.Close()
		return rows.Err()
	}, sql, args...)
}

// query runs a query over a connection of its own, so that a test may run many.
func query(t testing.TB, url string, read func(pgx.Rows) error, sql string, args ...any) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := conn.Query(t.Context(), sql, args...)
	if err == nil {
		err = read(rows)
	}
	if err := errors.Join(err, conn.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
}
