package soak_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/objstore/dir"
	"github.com/wadi-log/wadi/objstore/minio"
	"github.com/wadi-log/wadi/test/harness"
	"github.com/wadi-log/wadi/test/soak"
)

// stores are a cluster's, from outside.
type stores struct {
	metadata *pgx.Conn
	objects  objstore.Bucket
}

func openStores(t *testing.T, options harness.AgentOptions) *stores {
	t.Helper()
	s := &stores{}
	var err error
	if s.metadata, err = pgx.Connect(t.Context(), options.Metadata); err != nil {
		t.Fatal(err)
	}
	if path, ok := strings.CutPrefix(options.Objects, "file:"); ok {
		s.objects, err = dir.Open(t.Context(), path)
	} else {
		var config minio.Config
		if config, err = minio.ParseURL(options.Objects); err == nil {
			config.AccessKey, config.SecretKey = options.AccessKey, options.SecretKey
			s.objects, err = minio.Open(t.Context(), config)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.metadata.Close(context.Background()), s.objects.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// tableColumns are the numbers of rows of these tables.
var tableColumns = []string{"runs", "files", "dead files", "commits"}

// look is what the stores hold at one time.
type look struct {
	tables        []float64
	metadataBytes float64
	// liveBytes are the stored bytes of all runs, deadBytes those of dead files.
	liveBytes, deadBytes int64
	// deadOverdue is the number of dead files that should have been deleted.
	deadOverdue int
	// objects are the data files in the bucket, orphans those that the metadata store doesn't know.
	objects, orphans         int
	objectBytes, orphanBytes int64
}

// deadlineOfDead is when a dead file should be gone: after the grace period, and a snapshot that began a
// minute after its death, and that may wait for an agent's lease.
const deadlineOfDead = grace + 2*time.Minute

func (s *stores) look(t *testing.T) look {
	t.Helper()
	l := look{tables: make([]float64, len(tableColumns))}
	// The objects first: files that are committed meanwhile are no orphans, and neither are those that are forgotten.
	objects := map[uuid.UUID]int64{}
	err := s.objects.List(t.Context(), "data/", func(o objstore.ObjectInfo) error {
		id, err := datafile.ParseKey(o.Key)
		if err != nil {
			return err
		}
		objects[id] = o.Size
		l.objectBytes += o.Size
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	l.objects = len(objects)
	query := func(sql string, args []any, into ...any) {
		t.Helper()
		if err := s.metadata.QueryRow(t.Context(), sql, args...).Scan(into...); err != nil {
			t.Fatal(err)
		}
	}
	query(`SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM files), (SELECT count(*) FROM dead_files), (SELECT count(*) FROM commits),
			pg_database_size(current_database()), (SELECT coalesce(sum(stored_size), 0) FROM runs), (SELECT coalesce(sum(size), 0) FROM dead_files)`,
		nil, &l.tables[0], &l.tables[1], &l.tables[2], &l.tables[3], &l.metadataBytes, &l.liveBytes, &l.deadBytes)
	query(`SELECT count(*) FROM dead_files WHERE died_at < now() - $1::interval`, []any{deadlineOfDead}, &l.deadOverdue)
	rows, err := s.metadata.Query(t.Context(), `SELECT id FROM files UNION ALL SELECT id FROM dead_files`)
	if err != nil {
		t.Fatal(err)
	}
	known, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range known {
		delete(objects, id)
	}
	l.orphans = len(objects)
	for _, size := range objects {
		l.orphanBytes += size
	}
	return l
}

// inserted is the number of rows that there ever were in the index.
func (s *stores) inserted(t *testing.T) (rows float64) {
	t.Helper()
	if err := s.metadata.QueryRow(t.Context(), `SELECT n_tup_ins::float8 FROM pg_stat_user_tables WHERE relname = 'runs'`).Scan(&rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

// overdue returns an error if a partition begins with a run that should have gone: by time, all of
// whose records are older than the age; by size, without which the partition would still have enough.
func (s *stores) overdue(ctx context.Context, topics []soak.Topic, age time.Duration) error {
	for _, topic := range topics {
		if topic.Keys > 0 {
			continue
		}
		var byTime, bySize int
		err := s.metadata.QueryRow(ctx, `
			SELECT count(*) FILTER (WHERE first.max_timestamp < (extract(epoch FROM now() - $2::interval) * 1000)::bigint),
				count(*) FILTER (WHERE p.total - first.size >= $3)
			FROM (SELECT id, log_start_offset, (SELECT sum(size) FROM runs WHERE partition_id = id AND base_offset + records > log_start_offset) AS total
				FROM partitions WHERE id = ANY(SELECT unnest(partitions) FROM topics WHERE name = $1)) p
			JOIN LATERAL (SELECT max_timestamp, size FROM runs WHERE partition_id = p.id AND base_offset + records > p.log_start_offset ORDER BY base_offset LIMIT 1) first ON true`,
			topic.Name, age, topic.RetentionBytes).Scan(&byTime, &bySize)
		switch {
		case err != nil:
			return err
		case topic.Retention > 0 && byTime > 0:
			return fmt.Errorf("%s: %d partitions begin with a run that is older than %v", topic.Name, byTime, age)
		case topic.RetentionBytes > 0 && bySize > 0:
			return fmt.Errorf("%s: %d partitions hold more than %d bytes without their first run", topic.Name, bySize, topic.RetentionBytes)
		}
	}
	return nil
}
