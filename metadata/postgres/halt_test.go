package postgres

import (
	"errors"
	"testing"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/history"
	"github.com/wadi-log/wadi/test/harness"
)

// TestCommitAsksAnotherServerForItsMark: a pooler may change servers under a connection, so a commit that finds another one than
// showed the newest change looks for that first, also where the other one has as many changes.
func TestCommitAsksAnotherServerForItsMark(t *testing.T) {
	for name, lost := range map[string]int{"it has all": 0, "it lost some": 1} {
		t.Run(name, func(t *testing.T) {
			db := newDatabases(harness.Postgres(t))(t).(database)
			s, other := open(t, db.url), open(t, db.url)
			partition := createTopic(t, s)
			commit := func(s *Store) error {
				_, err := s.CommitFiles(t.Context(), []metadata.File{newFile(t, partition)})
				return err
			}
			if err := commit(s); err != nil {
				t.Fatal(err)
			}
			known := s.history.Newest()
			if lost > 0 {
				_ = db.LoseChanges(t, lost)
			}
			for range 2 {
				if err := commit(other); err != nil {
					t.Fatal(err)
				}
			}
			var store uuid.UUID
			if err := dial(t, db.url).QueryRow(t.Context(), `SELECT store_id FROM sequencer`).Scan(&store); err != nil {
				t.Fatal(err)
			}
			const former = 1
			if err := s.history.Check(known, history.Found{Store: store, LastSeq: known.Seq, Server: former, Mark: &known.Mark}); err != nil {
				t.Fatal(err)
			}
			err := commit(s)
			if lost > 0 && !errors.Is(err, metadata.ErrHalted) || lost == 0 && err != nil {
				t.Errorf("got %v", err)
			}
			if server := s.history.Newest().Server; lost == 0 && server == former {
				t.Error("the former server is still taken for the one that showed the newest change")
			}
		})
	}
}

// TestResumeThatIsLost by another failover is repeated once, and no more.
func TestResumeThatIsLost(t *testing.T) {
	db := newDatabases(harness.Postgres(t))(t).(database)
	s := open(t, db.url)
	partition := createTopic(t, s)
	if _, err := s.CommitFiles(t.Context(), []metadata.File{newFile(t, partition)}); err != nil {
		t.Fatal(err)
	}
	wantHalted := func() {
		t.Helper()
		if err := s.Ping(t.Context()); !errors.Is(err, metadata.ErrHalted) {
			t.Fatalf("got %v, want ErrHalted", err)
		}
	}
	_ = db.LoseChanges(t, 1)
	wantHalted()
	exec(t, db.url, `CREATE TABLE lagging AS SELECT * FROM sequencer`)
	if err := s.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	exec(t, db.url, `DELETE FROM commits WHERE seq = (SELECT last_seq FROM sequencer)`)
	exec(t, db.url, `DELETE FROM sequencer`)
	exec(t, db.url, `INSERT INTO sequencer SELECT * FROM lagging`)
	wantHalted()
	if err := s.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CommitFiles(t.Context(), []metadata.File{newFile(t, partition)}); err != nil {
		t.Error(err)
	}
}
