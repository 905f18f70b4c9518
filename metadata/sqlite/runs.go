package sqlite

import (
	"context"
	"database/sql"

	"github.com/wadi-log/wadi/metadata"
)

// FindRuns implements metadata.Log. Rows are read one by one and not beyond the
// byte budget, so the cost follows what is asked for, never the lag.
func (s *Store) FindRuns(ctx context.Context, queries []metadata.RunQuery) ([]metadata.PartitionRuns, error) {
	out := make([]metadata.PartitionRuns, len(queries))
	err := s.read(ctx, "find runs", func(t *tx) error {
		for i, q := range queries {
			var lastAborted int64
			var err error
			if out[i].Bounds, lastAborted, err = s.boundsOf(t, q.Partition); err != nil {
				return err
			}
			if q.Offset < out[i].LogStartOffset || q.Offset >= out[i].NextOffset {
				continue
			}
			if out[i].Runs, err = s.findRuns(t, q); err != nil {
				return err
			}
			if q.Offset > lastAborted || len(out[i].Runs) == 0 {
				continue
			}
			if out[i].Aborted, err = s.aborted(t, q, out[i].Runs[len(out[i].Runs)-1].NextOffset()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (s *Store) findRuns(t *tx, q metadata.RunQuery) (runs []metadata.Run, err error) {
	query := t.stmt(s.prepared.findRuns)
	rows, err := query.QueryContext(t.ctx, q.Partition, q.Offset, max(1, min(q.MaxRuns, metadata.MaxRuns)))
	if err != nil {
		return nil, err
	}
	defer rows.Close() // stopping early leaves nothing that it could report
	budget := q.MaxBytes
	for rows.Next() {
		run, err := scanRun(rows, q.Partition)
		if err != nil {
			return nil, err
		}
		if budget -= int64(run.Size); budget < 0 && len(runs) > 0 {
			break
		}
		runs = append(runs, run)
	}
	return runs, rows.Err()
}

// aborted are the aborted transactions that overlap the offsets from the one asked to
// the end. The walk stops at the first after which none begins before the end; see
// metadata.AbortedTransaction.
func (s *Store) aborted(t *tx, q metadata.RunQuery, end int64) (aborted []metadata.AbortedTransaction, err error) {
	query := t.stmt(s.prepared.aborted)
	rows, err := query.QueryContext(t.ctx, q.Partition, q.Offset)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		a := metadata.AbortedTransaction{Partition: q.Partition}
		if err := rows.Scan(&a.ProducerID, &a.FirstOffset, &a.LastOffset, &a.StableOffset); err != nil {
			return nil, err
		}
		if a.FirstOffset < end {
			aborted = append(aborted, a)
		}
		if a.StableOffset >= end {
			break
		}
	}
	return aborted, rows.Err()
}

func scanRun(row interface{ Scan(...any) error }, partition metadata.PartitionID) (metadata.Run, error) {
	r := metadata.Run{Partition: partition}
	err := row.Scan(runFields(&r)...)
	return r, err
}

// walk visits the partition's runs that the query, of a partition and an offset, lists, until visit says no.
func (t *tx) walk(query *sql.Stmt, partition metadata.PartitionID, offset int64, visit func(metadata.Run) bool) error {
	statement := t.stmt(query)
	rows, err := statement.QueryContext(t.ctx, partition, offset)
	if err != nil {
		return err
	}
	defer rows.Close() // stopping early leaves nothing that it could report
	for rows.Next() {
		r, err := scanRun(rows, partition)
		if err != nil {
			return err
		}
		if !visit(r) {
			break
		}
	}
	return rows.Err()
}

// scanRunOf scans a partition's ID and then its run.
func scanRunOf(row interface{ Scan(...any) error }) (r metadata.Run, err error) {
	err = row.Scan(append([]any{&r.Partition}, runFields(&r)...)...)
	return r, err
}

// runFields are where the columns of a run go, in the order of runColumns.
func runFields(r *metadata.Run) []any {
	return []any{&r.BaseOffset, &r.Records, &r.FileID, &r.Encoding, &r.Position, &r.StoredSize, &r.Skip, &r.Size, &r.MaxTimestamp, &r.Merged}
}
