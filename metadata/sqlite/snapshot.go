package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/rowcodec"
)

// snapshotHead reads the Head. State is made of what moves with each change: numbers that only rise, and
// for tables that none of them counts their number of rows and their latest time.
const snapshotHead = `SELECT c.cluster_id, s.last_seq, s.next_partition_id, s.next_producer_id, g.last,
		s.last_seq || ' ' || s.next_partition_id || ' ' || s.next_producer_id || ' ' || g.last
			|| ' ' || (SELECT count(*) || '/' || COALESCE(max(committed_at), 0) || '/' || COALESCE(sum(committed_offset), 0) FROM group_offsets)
			|| ' ' || (SELECT count(*) || '/' || COALESCE(max(updated_at), 0) FROM transactions)
			|| ' ' || (SELECT count(*) FROM transaction_partitions)
			|| ' ' || (SELECT count(*) FROM transaction_groups)
			|| ' ' || (SELECT count(*) || '/' || COALESCE(max(put_at), 0) FROM transaction_offsets)
			|| ' ' || (SELECT count(*) || '/' || COALESCE(max(cleaned_at), 0) FROM compactions)
			|| ' ' || (SELECT count(*) || '/' || COALESCE(max(died_at), 0) FROM dead_files)
			|| ' ' || (SELECT count(*) || '/' || COALESCE(sum(level), 0) || '/' || COALESCE(hex(max(id)), '') FROM files)
	FROM cluster c, sequencer s, group_versions g`

// ExportSnapshot implements metadata.Snapshots: one read transaction, beside which others write. (The
// write-ahead log grows until it ends.)
func (s *Store) ExportSnapshot(ctx context.Context, visit func(metadata.SnapshotRow) error) error {
	var visitErr error
	err := s.longRead(ctx, func(t *tx) error {
		head, err := t.snapshotHead()
		if err != nil {
			return err
		}
		if visitErr = visit(metadata.SnapshotRow{Head: &head}); visitErr != nil {
			return visitErr
		}
		for _, table := range snapshotTables {
			err := table.export(t, func(row metadata.SnapshotRow) error {
				if visitErr = visit(row); visitErr == nil {
					visitErr = ctx.Err()
				}
				return visitErr
			})
			if err != nil {
				return fmt.Errorf("table %s: %w", table.name, err)
			}
		}
		return nil
	})
	if visitErr != nil {
		return visitErr
	}
	return s.describe("export a snapshot", classify(err, false))
}

// SnapshotState implements metadata.Snapshots.
func (s *Store) SnapshotState(ctx context.Context) (state string, err error) {
	err = s.read(ctx, "read the state for a snapshot", func(t *tx) error {
		head, err := t.snapshotHead()
		state = head.State
		return err
	})
	return state, err
}

// longRead is read without a deadline.
func (s *Store) longRead(ctx context.Context, run func(*tx) error) error {
	if err := s.history.Refusal(); err != nil {
		return err
	}
	begun, err := s.reader.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	err = run(&tx{Tx: begun, ctx: context.WithoutCancel(ctx), now: time.Now()})
	// There is nothing to roll back; this ends the snapshot.
	_ = begun.Rollback()
	return err
}

func (t *tx) snapshotHead() (head metadata.SnapshotHead, err error) {
	head.At = t.now.UTC().Truncate(time.Microsecond)
	err = t.QueryRowContext(t.ctx, snapshotHead).Scan(&head.ClusterID, &head.LastSeq, &head.NextPartitionID, &head.NextProducerID, &head.GroupVersion, &head.State)
	return head, err
}

// export reads the table row by row.
func (t snapshotTable) export(tx *tx, visit func(metadata.SnapshotRow) error) error {
	rows, err := tx.QueryContext(tx.ctx, `SELECT `+strings.Join(slices.Concat(t.columns, t.looked), ", ")+` FROM `+t.name)
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

// ImportSnapshot implements metadata.Snapshots.
func (s *Store) ImportSnapshot(ctx context.Context, rows iter.Seq2[metadata.SnapshotRow, error]) error {
	begun, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return s.describe("import a snapshot", classify(err, false))
	}
	// After a commit there is nothing to roll back. A failed rollback closes the connection, which rolls back.
	defer func() { _ = begun.Rollback() }()
	i := importer{tx: &tx{Tx: begun, ctx: context.WithoutCancel(ctx), now: time.Now()}}
	defer i.close()
	for row, err := range rows {
		if err != nil {
			return err
		}
		if err := i.put(&row); err != nil {
			return s.describe("import a snapshot", classify(err, false))
		}
	}
	if i.head == nil {
		return s.describe("import a snapshot", errNoHead)
	}
	if err := begun.Commit(); err != nil {
		return s.describe("import a snapshot", classify(err, true))
	}
	s.clusterID = i.head.ClusterID
	return nil
}

var errNoHead = errors.New("the snapshot has no head")

// importer writes rows, kind after kind.
type importer struct {
	*tx
	head *metadata.SnapshotHead
	// table is the place in snapshotTables of the kind that the last row had.
	table int
	// first and second insert into its tables.
	first, second *sql.Stmt
}

func (i *importer) put(row *metadata.SnapshotRow) error {
	if i.head == nil {
		if row.Head == nil {
			return errNoHead
		}
		i.head = row.Head
		return i.begin(*row.Head)
	}
	values := snapshotTables[i.table].fields(row, false)
	for values == nil {
		if i.table++; i.table == len(snapshotTables) {
			return errors.New("the rows of the snapshot are out of order, or of an unknown kind")
		}
		i.close()
		values = snapshotTables[i.table].fields(row, false)
	}
	t := snapshotTables[i.table]
	if i.first == nil {
		var err error
		if i.first, err = i.prepareInsert(t.name, t.columns); err != nil {
			return err
		}
		if t.second.name != "" {
			if i.second, err = i.prepareInsert(t.second.name, t.second.columns); err != nil {
				return err
			}
		}
	}
	_, err := i.first.ExecContext(i.ctx, values[:len(t.columns)]...)
	if err == nil && i.second != nil {
		_, err = i.second.ExecContext(i.ctx, t.second.values(row)...)
	}
	if err != nil {
		return fmt.Errorf("table %s: %w", t.name, err)
	}
	return nil
}

func (i *importer) prepareInsert(table string, columns []string) (*sql.Stmt, error) {
	return i.PrepareContext(i.ctx, `INSERT INTO `+table+` (`+strings.Join(columns, ", ")+`) VALUES (?`+strings.Repeat(`, ?`, len(columns)-1)+`)`)
}

func (i *importer) close() {
	for _, stmt := range []*sql.Stmt{i.first, i.second} {
		if stmt != nil {
			// What failed of it, its last use reported.
			_ = stmt.Close()
		}
	}
	i.first, i.second = nil, nil
}

// begin makes sure that the store is empty, and writes the Head.
func (i *importer) begin(head metadata.SnapshotHead) error {
	empty := false
	if err := i.QueryRowContext(i.ctx, `SELECT s.last_seq = 0
			AND NOT EXISTS (SELECT 1 FROM commits) AND NOT EXISTS (SELECT 1 FROM topics) AND NOT EXISTS (SELECT 1 FROM groups)
			AND NOT EXISTS (SELECT 1 FROM transactions) AND NOT EXISTS (SELECT 1 FROM files) AND NOT EXISTS (SELECT 1 FROM dead_files)
			AND NOT EXISTS (SELECT 1 FROM agents WHERE beat_at > ?)
		FROM sequencer s`, i.deadline()).Scan(&empty); err != nil {
		return err
	}
	if !empty {
		return fmt.Errorf("%w: records, topics, groups or producers are or were in it, or an agent runs on it", metadata.ErrStoreNotEmpty)
	}
	for _, step := range []struct {
		query string
		args  []any
	}{
		{`UPDATE cluster SET cluster_id = ?`, []any{head.ClusterID}},
		{`UPDATE sequencer SET last_seq = ?, next_partition_id = ?, next_producer_id = max(next_producer_id, ?)`, []any{head.LastSeq, head.NextPartitionID, head.NextProducerID}},
		{`UPDATE group_versions SET last = max(last, ?)`, []any{head.GroupVersion}},
		// By this entry followers learn that what came before is gone.
		{`INSERT INTO commits (seq, at, payload) SELECT last_seq, ?, ? FROM sequencer WHERE last_seq > 0`, []any{millis(i.now), rowcodec.EncodeCommit(metadata.Commit{})}},
	} {
		if err := i.exec(step.query, step.args...); err != nil {
			return err
		}
	}
	return nil
}

// NoteSnapshot implements metadata.Snapshots.
func (s *Store) NoteSnapshot(ctx context.Context, at time.Time) error {
	return s.change(ctx, "note a snapshot", func(t *tx) error {
		return t.exec(`INSERT INTO snapshots (id, at) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET at = excluded.at
			WHERE at < excluded.at OR at > ?`, micros(at), micros(t.now))
	})
}

// LastSnapshot implements metadata.Snapshots.
func (s *Store) LastSnapshot(ctx context.Context) (at time.Time, ok bool, err error) {
	err = s.read(ctx, "read when the last snapshot was", func(t *tx) error {
		ok, err = scanOptional(t.QueryRowContext(t.ctx, `SELECT at FROM snapshots`), instant{&at, time.Microsecond})
		return err
	})
	return at, ok, err
}
