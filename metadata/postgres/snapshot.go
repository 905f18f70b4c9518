package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/rowcodec"
)

// exportLimits let an export of many millions of rows take its time. Should its agent
// freeze, the server gives up after a minute or, in the midst of sending, when the connection breaks.
const (
	beginExport  = `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`
	exportLimits = `SELECT
		set_config('idle_in_transaction_session_timeout', '1min', true),
		set_config('statement_timeout', '1h', true),
		set_config('jit', 'off', true)`
)

// importLimits: nobody waits for an import, and rows may be slow to come.
const importLimits = `SELECT
	set_config('idle_in_transaction_session_timeout', '10min', true),
	set_config('lock_timeout', '6s', true),
	set_config('statement_timeout', '0', true),
	CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', true) END`

// snapshotHead reads the Head. State is made of what moves with each change: numbers that only rise, and
// for tables that none of them counts their number of rows and their latest time.
const snapshotHead = `SELECT c.cluster_id, clock_timestamp(), s.last_seq, s.next_partition_id, p.next,
		CASE WHEN g.is_called THEN g.last_value ELSE 0 END,
		concat_ws(' ', s.last_seq, s.next_partition_id, p.next, g.is_called, g.last_value,
			(SELECT concat_ws('/', count(*), extract(epoch FROM max(committed_at)), sum(committed_offset)) FROM group_offsets),
			(SELECT concat_ws('/', count(*), extract(epoch FROM max(updated_at))) FROM transactions),
			(SELECT count(*) FROM transaction_partitions),
			(SELECT count(*) FROM transaction_groups),
			(SELECT concat_ws('/', count(*), extract(epoch FROM max(put_at))) FROM transaction_offsets),
			(SELECT concat_ws('/', count(*), extract(epoch FROM max(cleaned_at))) FROM compactions),
			(SELECT concat_ws('/', count(*), extract(epoch FROM max(died_at))) FROM dead_files),
			(SELECT concat_ws('/', count(*), sum(level)) FROM files), (SELECT id FROM files ORDER BY id DESC LIMIT 1))
	FROM cluster c, sequencer s, producer_ids p, group_versions g`

// ExportSnapshot implements metadata.Snapshots: one transaction that locks nothing.
func (s *Store) ExportSnapshot(ctx context.Context, visit func(metadata.SnapshotRow) error) error {
	// Rows that nobody wants any more are not waited for: the connection is closed.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var visitErr error
	err := s.withConn(ctx, func(conn *pgxpool.Conn) error {
		head, err := beginSnapshot(ctx, conn)
		if err != nil {
			return err
		}
		if visitErr = visit(metadata.SnapshotRow{Head: &head}); visitErr != nil {
			return visitErr
		}
		for _, table := range snapshotTables {
			if err := table.export(ctx, conn, func(row metadata.SnapshotRow) error {
				if visitErr = visit(row); visitErr != nil {
					cancel()
				}
				return visitErr
			}); err != nil {
				return fmt.Errorf("table %s: %w", table.name, err)
			}
		}
		rollBack(conn.Conn())
		return nil
	})
	if visitErr != nil {
		return visitErr
	}
	return describe("export a snapshot", classify(err, false))
}

// SnapshotState implements metadata.Snapshots.
func (s *Store) SnapshotState(ctx context.Context) (state string, err error) {
	err = s.withConn(ctx, func(conn *pgxpool.Conn) error {
		head, err := beginSnapshot(ctx, conn)
		rollBack(conn.Conn())
		state = head.State
		return err
	})
	return state, describe("read the state for a snapshot", classify(err, false))
}

// withConn runs one transaction that isn't repeated. A connection that is left in it is closed.
func (s *Store) withConn(ctx context.Context, run func(*pgxpool.Conn) error) error {
	if err := s.history.Refusal(); err != nil {
		return err
	}
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	return run(conn)
}

// beginSnapshot begins a consistent read, of which the Head is the first.
func beginSnapshot(ctx context.Context, conn *pgxpool.Conn) (head metadata.SnapshotHead, err error) {
	b := &pgx.Batch{}
	b.Queue(beginExport)
	b.Queue(exportLimits)
	b.Queue(snapshotHead).QueryRow(func(row pgx.Row) error {
		return row.Scan(&head.ClusterID, instant{&head.At}, &head.LastSeq, &head.NextPartitionID, &head.NextProducerID, &head.GroupVersion, &head.State)
	})
	return head, conn.SendBatch(ctx, b).Close()
}

// export reads the table row by row, as they come from the server.
func (t snapshotTable) export(ctx context.Context, conn *pgxpool.Conn, visit func(metadata.SnapshotRow) error) error {
	rows, err := conn.Query(ctx, `SELECT `+strings.Join(t.selected, ", ")+` FROM `+t.name)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var row metadata.SnapshotRow
		if err := rows.Scan(t.fields(&row, true)...); err != nil {
			return err
		}
		if err := visit(row); err != nil {
			return err
		}
	}
	return rows.Err()
}

// ImportSnapshot implements metadata.Snapshots: a COPY for each table. Died before COMMIT, it has
// done nothing but to raise the sequence of groups' versions, which may rise at any time.
func (s *Store) ImportSnapshot(ctx context.Context, rows iter.Seq2[metadata.SnapshotRow, error]) error {
	source := newCopySource(rows)
	defer source.stop()
	committing := false
	var clusterID string
	err := s.withConn(ctx, func(conn *pgxpool.Conn) error {
		head, err := source.head()
		if err == nil {
			err = beginImport(ctx, conn, head)
		}
		for i := 0; err == nil && i < len(snapshotTables); i++ {
			source.table = snapshotTables[i]
			err = source.copy(ctx, conn)
		}
		if err == nil {
			err = source.finished()
		}
		if err != nil {
			rollBack(conn.Conn())
			return err
		}
		committing, clusterID = true, head.ClusterID
		tag, err := conn.Exec(ctx, `COMMIT`)
		if err == nil && tag.String() != "COMMIT" {
			err = errors.New("the transaction was rolled back: " + tag.String())
		}
		return err
	})
	if err == nil {
		s.clusterID = clusterID
		s.analyze(ctx)
		return nil
	}
	if source.err != nil {
		return source.err
	}
	return describe("import a snapshot", classify(err, committing))
}

// emptyStore is true when nothing was ever written, and no agent runs. It is asked under the
// sequencer's lock, which keeps off all but groups and agents; those come with keys that the snapshot's collide with, or
// are as new as the store.
const emptyStore = `SELECT s.last_seq = 0
		AND NOT EXISTS (SELECT FROM commits) AND NOT EXISTS (SELECT FROM topics) AND NOT EXISTS (SELECT FROM groups)
		AND NOT EXISTS (SELECT FROM transactions) AND NOT EXISTS (SELECT FROM files) AND NOT EXISTS (SELECT FROM dead_files)
		AND NOT EXISTS (SELECT FROM agents WHERE beat_at > clock_timestamp() - $1::interval)
	FROM sequencer s`

func beginImport(ctx context.Context, conn *pgxpool.Conn, head metadata.SnapshotHead) error {
	empty := false
	b := &pgx.Batch{}
	b.Queue(begin)
	b.Queue(importLimits)
	b.Queue(`SELECT FROM sequencer_lock FOR UPDATE`)
	b.Queue(emptyStore, metadata.AgentTimeout).QueryRow(func(row pgx.Row) error { return row.Scan(&empty) })
	if err := conn.SendBatch(ctx, b).Close(); err != nil {
		return err
	}
	if !empty {
		return fmt.Errorf("%w: records, topics, groups or producers are or were in it, or an agent runs on it", metadata.ErrStoreNotEmpty)
	}
	b = &pgx.Batch{}
	b.Queue(`UPDATE cluster SET cluster_id = $1`, head.ClusterID)
	b.Queue(`UPDATE sequencer SET last_seq = $1, next_partition_id = $2`, head.LastSeq, int32(head.NextPartitionID))
	b.Queue(`UPDATE producer_ids SET next = GREATEST(next, $1)`, head.NextProducerID)
	if head.GroupVersion > 0 {
		b.Queue(`SELECT setval('group_versions', GREATEST($1, nextval('group_versions')))`, head.GroupVersion)
	}
	if head.LastSeq > 0 {
		// By this entry followers learn that what came before is gone.
		b.Queue(`INSERT INTO commits (seq, at, payload) VALUES ($1, clock_timestamp(), $2)`, head.LastSeq, rowcodec.EncodeCommit(metadata.Commit{}))
	}
	return conn.SendBatch(ctx, b).Close()
}

// analyze has the planner know the new rows at once. If it fails, autovacuum does the same soon.
func (s *Store) analyze(ctx context.Context) {
	for _, t := range snapshotTables {
		_, _ = s.pool.Exec(ctx, `ANALYZE `+t.name)
	}
}

// copySource feeds COPY with the rows of one table after the other. It is a pgx.CopyFromSource.
type copySource struct {
	next  func() (metadata.SnapshotRow, error, bool)
	stop  func()
	table snapshotTable
	// row is the next one, if ok.
	row metadata.SnapshotRow
	ok  bool
	// values are those that Next found.
	values []any
	err    error // from the rows
}

func newCopySource(rows iter.Seq2[metadata.SnapshotRow, error]) *copySource {
	s := &copySource{}
	s.next, s.stop = iter.Pull2(rows)
	s.advance()
	return s
}

func (s *copySource) advance() {
	var err error
	if s.row, err, s.ok = s.next(); err != nil {
		s.ok, s.err = false, err
	}
}

func (s *copySource) head() (metadata.SnapshotHead, error) {
	if s.err != nil {
		return metadata.SnapshotHead{}, s.err
	}
	if !s.ok || s.row.Head == nil {
		return metadata.SnapshotHead{}, errors.New("the snapshot has no head")
	}
	head := *s.row.Head
	s.advance()
	return head, s.err
}

// copy writes all next rows that belong to the table.
func (s *copySource) copy(ctx context.Context, conn *pgxpool.Conn) error {
	if !s.ok || s.table.fields(&s.row, false) == nil {
		return nil
	}
	_, err := conn.CopyFrom(ctx, pgx.Identifier{s.table.name}, s.table.columns, s)
	if err != nil {
		return fmt.Errorf("table %s: %w", s.table.name, err)
	}
	return nil
}

// Next implements pgx.CopyFromSource.
func (s *copySource) Next() bool {
	if s.values != nil {
		s.advance()
	}
	s.values = nil
	if s.ok {
		s.values = s.table.fields(&s.row, false)
	}
	return s.values != nil
}

// Values implements pgx.CopyFromSource.
func (s *copySource) Values() ([]any, error) { return s.values, nil }

// Err implements pgx.CopyFromSource.
func (s *copySource) Err() error { return s.err }

// finished reports rows that no table took.
func (s *copySource) finished() error {
	if s.ok {
		return errors.New("the rows of the snapshot are out of order, or of an unknown kind")
	}
	return s.err
}

// NoteSnapshot implements metadata.Snapshots.
func (s *Store) NoteSnapshot(ctx context.Context, at time.Time) error {
	return s.read(ctx, "note a snapshot", func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, `INSERT INTO snapshots AS s (id, at) VALUES (1, $1)
			ON CONFLICT (id) DO UPDATE SET at = excluded.at WHERE s.at < excluded.at OR s.at > clock_timestamp()`, at)
		return err
	})
}

// LastSnapshot implements metadata.Snapshots.
func (s *Store) LastSnapshot(ctx context.Context) (at time.Time, ok bool, err error) {
	err = s.read(ctx, "read when the last snapshot was", func(ctx context.Context) error {
		switch err := s.pool.QueryRow(ctx, `SELECT at FROM snapshots`).Scan(&at); {
		case err == nil:
			ok = true
		case !errors.Is(err, pgx.ErrNoRows):
			return err
		}
		return nil
	})
	return at, ok, err
}

var _ pgx.CopyFromSource = (*copySource)(nil)
