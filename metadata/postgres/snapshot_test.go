package postgres

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/metadatatest"
	"github.com/wadi-log/wadi/metadata/sqlite"
	"github.com/wadi-log/wadi/test/harness"
)

func TestEveryColumnIsInSnapshotsOrLeftOut(t *testing.T) {
	db := newDatabases(harness.Postgres(t))(t).(database)
	db.Open(t)
	known := []string{
		"cluster.id", "cluster.cluster_id", "sequencer.id", "sequencer.last_seq", "sequencer.next_partition_id", "producer_ids.id", "producer_ids.next",
	}
	for _, table := range snapshotTables {
		for _, column := range table.columns {
			known = append(known, table.name+"."+column)
		}
	}
	rows, err := dial(t, db.url).Query(t.Context(), `SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = current_schema()`)
	if err != nil {
		t.Fatal(err)
	}
	columns, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	metadatatest.CheckSnapshotColumns(t, columns, known, map[string]string{"sequencer_lock": "a lock", "claims_lock": "a lock"})
}

func TestSnapshotMovesToSQLiteAndBack(t *testing.T) {
	databases := newDatabases(harness.Postgres(t))
	inPostgres := func(t testing.TB) func(testing.TB) metadata.Store { return databases(t).Open }
	inSQLite := func(t testing.TB) func(testing.TB) metadata.Store {
		path := filepath.Join(t.TempDir(), "metadata.db")
		return func(t testing.TB) metadata.Store {
			s, err := sqlite.Open(t.Context(), path)
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
	}
	t.Run("there", func(t *testing.T) { metadatatest.MoveSnapshot(t, inPostgres, inSQLite) })
	t.Run("back", func(t *testing.T) { metadatatest.MoveSnapshot(t, inSQLite, inPostgres) })
}

// Commits go on while somebody reads a snapshot, however long that takes.
func TestExportHoldsNoCommitUp(t *testing.T) {
	url := newDatabases(harness.Postgres(t))(t).(database).url
	s, other := open(t, url), open(t, url)
	if _, err := s.CreateTopic(t.Context(), metadata.NewTopic{Name: "t", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	err := s.ExportSnapshot(t.Context(), func(metadata.SnapshotRow) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		topic, err := other.CreateTopic(ctx, metadata.NewTopic{Name: "other", Partitions: 1})
		if err != nil {
			return err
		}
		return other.DeleteTopic(ctx, topic.ID)
	})
	if err != nil {
		t.Fatal(err)
	}
}
