package postgres

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // sql.Open
	"github.com/pressly/goose/v3"

	"github.com/wadi-log/wadi/metadata"
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

	if from, _, err := Migrate(t.Context(), url, false); err != nil || from != 4 {
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

// next is this program's migrations and one of the next version.
func next(t *testing.T, statements string) fs.FS {
	t.Helper()
	files := fstest.MapFS{}
	entries, err := fs.ReadDir(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := fs.ReadFile(migrations, "migrations/"+e.Name())
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = &fstest.MapFile{Data: text}
	}
	files[fmt.Sprintf("%05d_next.sql", len(entries)+1)] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + statements)}
	return files
}

// TestAgentsGoOnWithASchemaThatOnlyAdds while it is made, after it, and when they start anew.
func TestAgentsGoOnWithASchemaThatOnlyAdds(t *testing.T) {
	url := harness.Postgres(t)
	s := open(t, url)
	partition := createTopic(t, s)
	if _, err := s.RegisterAgent(t.Context(), metadata.Agent{Name: "older", Listeners: []metadata.Listener{{Name: "PLAINTEXT", Host: "h", Port: 1}}}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := migrate(t.Context(), url, next(t, `ALTER TABLE topics ADD COLUMN note text;`), false); err != nil {
		t.Fatal(err)
	}
	for _, store := range []*Store{s, open(t, url)} {
		if _, err := store.CommitFiles(t.Context(), []metadata.File{newFile(t, partition)}); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := Migrate(t.Context(), url, false); !errors.Is(err, metadata.ErrSchema) {
		t.Errorf("wadi migrate of the older version: %v", err)
	}
}

// TestOlderAgentsAreInTheWayOfASchemaThatIsNotForThem, and stop serving if it is made nevertheless.
func TestOlderAgentsAreInTheWayOfASchemaThatIsNotForThem(t *testing.T) {
	url := harness.Postgres(t)
	s := open(t, url)
	partition := createTopic(t, s)
	agent := metadata.Agent{Name: "older", Incarnation: uuid.New(), Listeners: []metadata.Listener{{Name: "PLAINTEXT", Host: "h", Port: 1}}}
	agent, err := s.RegisterAgent(t.Context(), agent)
	if err != nil {
		t.Fatal(err)
	}
	newer := open(t, url)
	newer.history.Schema++
	files := next(t, fmt.Sprintf(`ALTER TABLE topics DROP COLUMN internal; UPDATE sequencer SET compatible_from = %d;`, s.history.Schema+1))
	if _, _, err := migrate(t.Context(), url, files, false); err == nil || !strings.Contains(err.Error(), "alive") || !strings.Contains(err.Error(), "older;") {
		t.Fatalf("with an agent alive: %v", err)
	}
	if _, err := s.CommitFiles(t.Context(), []metadata.File{newFile(t, partition)}); err != nil {
		t.Fatalf("the migration that was refused did something: %v", err)
	}
	if _, _, err := migrate(t.Context(), url, files, true); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CommitFiles(t.Context(), []metadata.File{newFile(t, partition)}); !errors.Is(err, metadata.ErrSchema) {
		t.Errorf("a commit of the older agent: %v", err)
	}
	if err := s.Ping(t.Context()); !errors.Is(err, metadata.ErrSchema) {
		t.Errorf("the older agent is ready: %v", err)
	}
	if _, err := s.BeatAgent(t.Context(), agent); !errors.Is(err, metadata.ErrSchema) {
		t.Errorf("a beat of the older agent: %v", err)
	}
	// It may beat once more before it notices. Nobody is sent to it.
	beating := metadata.Agent{Name: "newer", Incarnation: uuid.New(), Listeners: agent.Listeners}
	if beating, err = newer.RegisterAgent(t.Context(), beating); err != nil {
		t.Fatal(err)
	}
	alive, err := newer.BeatAgent(t.Context(), beating)
	if err != nil || len(alive) != 1 || alive[0].NodeID != beating.NodeID || beating.NodeID == agent.NodeID {
		t.Errorf("agents that are alive: %+v, %v; want agent %d alone", alive, err, beating.NodeID)
	}
	if _, err := Open(t.Context(), url); !errors.Is(err, metadata.ErrSchema) || !strings.Contains(err.Error(), "newer wadi") {
		t.Errorf("an older agent that starts: %v", err)
	}
	if err := s.RemoveAgent(t.Context(), agent.NodeID, agent.Incarnation); err != nil {
		t.Error(err)
	}
}

// TestMigrationGivesWayAndIsTriedAgain where it and an agent's transaction wait for each other.
func TestMigrationGivesWayAndIsTriedAgain(t *testing.T) {
	url := harness.Postgres(t)
	open(t, url)
	agent, watch := dial(t, url), dial(t, url)
	tx, err := agent.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT FROM topics`); err != nil {
		t.Fatal(err)
	}
	migrated := make(chan error, 1)
	go func() {
		_, _, err := migrate(t.Context(), url, next(t, `
			SET LOCAL lock_timeout = '10s';
			ALTER TABLE sequencer ADD COLUMN weight bigint;
			ALTER TABLE topics ADD COLUMN note text;`), false)
		migrated <- err
	}()
	harness.Eventually(t, time.Minute, func() error {
		var waits bool
		err := watch.QueryRow(t.Context(), `SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'topics'::regclass)`).Scan(&waits)
		if err == nil && !waits {
			err = errors.New("the migration does not wait yet")
		}
		return err
	})
	// Whoever began to wait first gives way, after a second.
	if _, err := tx.Exec(t.Context(), `SELECT FROM sequencer`); err != nil {
		t.Logf("the agent's transaction gave way, so this shows nothing: %v", err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-migrated; err != nil {
		t.Errorf("the migration: %v", err)
	}
}
