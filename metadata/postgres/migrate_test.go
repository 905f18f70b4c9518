package postgres

import (
	"database/sql"
	"io/fs"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // sql.Open
	"github.com/pressly/goose/v3"

	"github.com/wadi-log/wadi/metadata/schema"
	"github.com/wadi-log/wadi/test/harness"
)

// migrateTo applies the first migrations alone.
func migrateTo(t *testing.T, url string, version int64) {
	t.Helper()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithTableName(schema.Table))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.UpTo(t.Context(), version); err != nil {
		t.Fatal(err)
	}
}

// TestFilesFromBeforeMaintenance get what merges need to know: their runs' keys, and numbers in the
// order of their commits, also where the feed has forgotten those.
func TestFilesFromBeforeMaintenance(t *testing.T) {
	url := harness.Postgres(t)
	migrateTo(t, url, 4)
	ids := make([]uuid.UUID, 5)
	for i := range ids {
		ids[i] = uuid.New()
	}
	const dead, first, second, inFeed, markers = 0, 1, 2, 3, 4
	insert := func(query string, args ...any) { t.Helper(); exec(t, url, query, args...) }
	now := time.Now()
	for i, f := range []struct {
		age  time.Duration
		live int
	}{dead: {5 * time.Hour, 0}, first: {4 * time.Hour, 2}, second: {3 * time.Hour, 1}, inFeed: {2 * time.Hour, 1}} {
		insert(`INSERT INTO files (id, size, committed_at, live_runs) VALUES ($1, $2, $3, $4)`, ids[i], 1000+i, now.Add(-f.age), f.live)
	}
	for _, r := range []struct{ file, partition, base, encoding int }{
		{first, 2, 0, 0}, {first, 1, 7, 1}, {markers, 2, 5, 2}, {second, 2, 6, 0}, {inFeed, 2, 9, 0},
	} {
		insert(`INSERT INTO runs (partition_id, base_offset, records, file_id, encoding, position, stored_size, skip, size, max_timestamp)
			VALUES ($1, $2, 1, $3, $4, 0, 10, 0, 10, 0)`, r.partition, r.base, ids[r.file], r.encoding)
	}
	insert(`UPDATE sequencer SET last_seq = 40`)
	insert(`INSERT INTO commits (seq, at, file_id, payload) VALUES (39, now(), $1, ''), (40, now(), NULL, '')`, ids[inFeed])

	if from, _, err := Migrate(t.Context(), url); err != nil || from != 4 {
		t.Fatal(from, err)
	}
	type file struct {
		ID         uuid.UUID
		Level      int16
		Seq, Live  int64
		Partitions []int32
		Offsets    []int64
	}
	conn := dial(t, url)
	rows, err := conn.Query(t.Context(), `SELECT id, level, seq, live_bytes, partitions, offsets FROM files ORDER BY seq`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowToStructByPos[file])
	if err != nil {
		t.Fatal(err)
	}
	want := []file{
		{ids[first], 0, 37, 1001, []int32{1, 2}, []int64{7, 0}},
		{ids[second], 0, 38, 1002, []int32{2}, []int64{6}},
		{ids[inFeed], 0, 39, 1003, []int32{2}, []int64{9}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("files\n%+v, want\n%+v", got, want)
	}
	var deadID uuid.UUID
	if err := conn.QueryRow(t.Context(), `SELECT id FROM dead_files WHERE size = 1000`).Scan(&deadID); err != nil || deadID != ids[dead] {
		t.Errorf("dead file %v, %v; want %v", deadID, err, ids[dead])
	}
	open(t, url)
}
