package sqlite

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pressly/goose/v3"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/metadatatest"
	"github.com/wadi-log/wadi/metadata/schema"
)

// TestFilesFromBeforeMaintenance get what merges need to know: their runs' keys, and numbers in the
// order of their commits, also where the feed has forgotten those.
func TestFilesFromBeforeMaintenance(t *testing.T) {
	d := database{filepath.Join(t.TempDir(), "metadata.db")}
	db := d.raw(t)
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithTableName(schema.Table))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.UpTo(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	insert := func(query string, args ...any) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
			t.Fatal(err)
		}
	}
	ids := make([]uuid.UUID, 5)
	for i := range ids {
		ids[i] = uuid.New()
	}
	const dead, first, second, inFeed, markers = 0, 1, 2, 3, 4
	now := time.Now().UnixMilli()
	for i, f := range []struct{ hours, live int64 }{dead: {5, 0}, first: {4, 2}, second: {3, 1}, inFeed: {2, 1}} {
		insert(`INSERT INTO files (id, size, committed_at, live_runs) VALUES (?, ?, ?, ?)`, ids[i][:], 1000+i, now-f.hours*3600_000, f.live)
	}
	var rows []metadata.Run
	for _, r := range []struct{ file, partition, base, encoding int }{
		{first, 1, 7, 1}, {first, 2, 0, 0}, {markers, 2, 5, 2}, {second, 2, 6, 0}, {inFeed, 2, 9, 0},
	} {
		insert(`INSERT INTO runs (partition_id, base_offset, records, file_id, encoding, position, stored_size, skip, size, max_timestamp)
			VALUES (?, ?, 1, ?, ?, 0, 10, 0, 10, 0)`, r.partition, r.base, ids[r.file][:], r.encoding)
		rows = append(rows, metadata.Run{
			Partition: metadata.PartitionID(r.partition), BaseOffset: int64(r.base), Records: 1, FileID: ids[r.file], Encoding: metadata.Encoding(r.encoding), StoredSize: 10, Size: 10,
		})
	}
	insert(`INSERT INTO partitions (id, log_start_offset, next_offset, max_timestamp) VALUES (1, 7, 8, 0), (2, 0, 10, 0)`)
	insert(`UPDATE sequencer SET last_seq = 40`)
	insert(`INSERT INTO commits (seq, at, file_id, payload) VALUES (39, 0, ?, x''), (40, 0, NULL, x'')`, ids[inFeed][:])

	if from, _, err := Migrate(t.Context(), d.path, false); err != nil || from != 4 {
		t.Fatal(from, err)
	}
	got := d.Files(t)
	slices.SortFunc(got, func(a, b metadatatest.FileRow) int { return int(a.Seq - b.Seq) })
	want := []metadatatest.FileRow{
		{ID: ids[dead], Size: 1000, Dead: true},
		{ID: ids[first], Size: 1001, Seq: 37, LiveRuns: 2, LiveBytes: 1001, Keys: 2},
		{ID: ids[second], Size: 1002, Seq: 38, LiveRuns: 1, LiveBytes: 1002, Keys: 1},
		{ID: ids[inFeed], Size: 1003, Seq: 39, LiveRuns: 1, LiveBytes: 1003, Keys: 1},
	}
	if !slices.Equal(got, want) {
		t.Errorf("files\n%+v, want\n%+v", got, want)
	}
	if got := d.Runs(t); !slices.Equal(got, rows) {
		t.Errorf("rows\n%+v, want\n%+v", got, rows)
	}
	claimed, err := open(t, d.path).ClaimFiles(t.Context(), metadata.FileClaim{For: time.Minute, MaxFiles: 3, MaxBytes: 1 << 30, MaxRuns: 100})
	if err != nil || len(claimed) != 3 || !slices.Equal(claimed[0].Runs, rows[:2]) || !slices.Equal(claimed[0].Markers, rows[2:3]) || !slices.Equal(claimed[2].Runs, rows[4:]) {
		t.Errorf("claimed %+v, %v", claimed, err)
	}
}

// TestAgentsThatMustNotGoOnAreNobodysAnyMore once a migration that is not for them was forced.
func TestAgentsThatMustNotGoOnAreNobodysAnyMore(t *testing.T) {
	d := database{filepath.Join(t.TempDir(), "metadata.db")}
	older, newer := open(t, d.path), open(t, d.path)
	newer.history.Schema++
	agents := []metadata.Agent{{Name: "older"}, {Name: "newer"}}
	for i, s := range []*Store{older, newer} {
		agents[i].Incarnation, agents[i].Listeners = uuid.New(), []metadata.Listener{{Name: "PLAINTEXT", Host: "h", Port: 1}}
		var err error
		if agents[i], err = s.RegisterAgent(t.Context(), agents[i]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.raw(t).ExecContext(t.Context(), `UPDATE sequencer SET compatible_from = ?`, newer.history.Schema); err != nil {
		t.Fatal(err)
	}
	if alive, err := newer.BeatAgent(t.Context(), agents[1]); err != nil || len(alive) != 1 || alive[0].Name != "newer" {
		t.Errorf("agents that are alive: %+v, %v; want the newer one alone", alive, err)
	}
	if err := older.Ping(t.Context()); !errors.Is(err, metadata.ErrSchema) {
		t.Errorf("the older agent is ready: %v", err)
	}
	if _, err := older.BeatAgent(t.Context(), agents[0]); !errors.Is(err, metadata.ErrSchema) {
		t.Errorf("a beat of the older agent: %v", err)
	}
}
