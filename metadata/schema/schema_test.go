package schema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // any engine will do

	"github.com/wadi-log/wadi/metadata"
)

func openFile(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?_busy_timeout=30000&_txlock=immediate&_journal_mode=WAL")
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

// binary is the schema as a binary with migrations 1 to n knows it.
func binary(t *testing.T, db *sql.DB, n int) *Schema {
	t.Helper()
	files := fstest.MapFS{}
	for i := 1; i <= n; i++ {
		files[fmt.Sprintf("%05d_step.sql", i)] = &fstest.MapFile{Data: fmt.Appendf(nil, "-- +goose Up\nCREATE TABLE step%d (x INTEGER);\n", i)}
	}
	return withFiles(t, db, files)
}

func withFiles(t *testing.T, db *sql.DB, files fs.FS) *Schema {
	t.Helper()
	s, err := New(db, Engine{
		Dialect:     goose.DialectSQLite3,
		TableExists: `SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '` + Table + `')`,
		Migrations:  files,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestUpgradeIsADeliberateStep(t *testing.T) {
	db := openFile(t, filepath.Join(t.TempDir(), "db"))
	if err := binary(t, db, 2).Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	next := binary(t, db, 4)
	if err := next.Ensure(t.Context()); !errors.Is(err, metadata.ErrSchema) || !strings.Contains(err.Error(), "wadi migrate") {
		t.Fatalf("got %v", err)
	}
	if _, err := db.ExecContext(t.Context(), `INSERT INTO step3 VALUES (1)`); err == nil {
		t.Fatal("the check migrated the database")
	}
	for _, want := range [][2]int64{{2, 4}, {4, 4}} {
		if from, to, err := next.Migrate(t.Context(), anyway); err != nil || from != want[0] || to != want[1] {
			t.Fatalf("from %d to %d, %v; want %v", from, to, err, want)
		}
	}
	if err := next.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	old := binary(t, db, 2)
	_, _, migrateErr := old.Migrate(t.Context(), anyway)
	for _, err := range []error{old.Ensure(t.Context()), migrateErr} {
		if !errors.Is(err, metadata.ErrSchema) || !strings.Contains(err.Error(), "newer wadi") {
			t.Errorf("old binary: %v", err)
		}
	}
}

func TestCheckChangesNothing(t *testing.T) {
	db := openFile(t, filepath.Join(t.TempDir(), "db"))
	if err := binary(t, db, 2).Check(t.Context()); !errors.Is(err, metadata.ErrSchema) || !strings.Contains(err.Error(), "empty; correct --metadata, or start an agent") {
		t.Errorf("an empty database: %v", err)
	}
	var tables int
	if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM sqlite_master`).Scan(&tables); err != nil || tables > 0 {
		t.Errorf("the check made %d tables, %v", tables, err)
	}
	if err := binary(t, db, 2).Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	for n, says := range map[int]string{1: "newer wadi", 2: "", 3: "wadi migrate"} {
		err := binary(t, db, n).Check(t.Context())
		if says == "" && err != nil || says != "" && (!errors.Is(err, metadata.ErrSchema) || !strings.Contains(err.Error(), says)) {
			t.Errorf("a binary with version %d, and version 2 in the database: %v; want %q", n, err, says)
		}
	}
}

func TestManySetUpAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	// The first connection of all makes the file, and its log, for which SQLite lets nobody wait.
	if err := openFile(t, path).PingContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 5 {
		s := binary(t, openFile(t, path), 3)
		wg.Go(func() {
			if err := s.Ensure(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	db := openFile(t, path)
	var versions int
	if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM `+Table).Scan(&versions); err != nil || versions != 4 {
		t.Fatalf("%d rows of versions 0 to 3, %v", versions, err)
	}
}

func TestFailedMigrationLeavesNothing(t *testing.T) {
	db := openFile(t, filepath.Join(t.TempDir(), "db"))
	broken := withFiles(t, db, fstest.MapFS{"00001_broken.sql": {Data: []byte("-- +goose Up\nCREATE TABLE step1 (x INTEGER);\nCREATE TABLE step1 (x INTEGER);\n")}})
	if err := broken.Ensure(t.Context()); err == nil {
		t.Fatal("no error")
	}
	if err := binary(t, db, 1).Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func anyway(context.Context, int64, int64) error { return nil }
