package postgres

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sequence"
)

var _ metadata.Inspection = (*Store)(nil)

// snapshot is a transaction whose queries all see the same.
var snapshot = pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}

// inspect runs queries on one snapshot.
func (s *Store) inspect(ctx context.Context, doing string, query func(ctx context.Context, tx pgx.Tx) error) error {
	return s.read(ctx, doing, func(ctx context.Context) error {
		return pgx.BeginTxFunc(ctx, s.pool, snapshot, func(tx pgx.Tx) error { return query(ctx, tx) })
	})
}

// Both kinds of files, as scanInspected scans them.
const (
	liveFiles = `SELECT id, 1 AS state, size, level, COALESCE(seq, 0) AS seq, live_runs, COALESCE(live_bytes, size) AS live_bytes,
		NULL::timestamptz AS died_at, COALESCE(cardinality(partitions), -1) AS keys FROM files `
	deadFiles = `SELECT id, 2, size, 0::smallint, 0::bigint, 0, 0::bigint, died_at, -1 FROM dead_files `
)

func scanInspected(row pgx.CollectableRow) (f inspected, err error) {
	var diedAt *time.Time
	err = row.Scan(&f.ID, &f.State, &f.Size, &f.Level, &f.Seq, &f.LiveRuns, &f.LiveBytes, &diedAt, &f.keys)
	f.KeysKnown = f.keys >= 0
	if diedAt != nil {
		f.DiedAt = *diedAt
	}
	return f, err
}

type inspected struct {
	metadata.InspectedFile
	// keys is their number, -1 if they are not known.
	keys int
}

// ListFiles implements metadata.Inspection.
func (s *Store) ListFiles(ctx context.Context, after uuid.UUID, limit int) ([]metadata.InspectedFile, error) {
	var files []metadata.InspectedFile
	err := s.inspect(ctx, "list data files", func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT * FROM ((`+liveFiles+`WHERE id > $1 ORDER BY id LIMIT $2) UNION ALL (`+deadFiles+`WHERE id > $1 ORDER BY id LIMIT $2)) f
			ORDER BY id LIMIT $2`, after, limit)
		if err != nil {
			return err
		}
		found, err := pgx.CollectRows(rows, scanInspected)
		if err != nil {
			return err
		}
		files = make([]metadata.InspectedFile, 0, len(found))
		index := map[uuid.UUID]int{}
		keys := 0
		var live []pgtype.UUID
		for _, f := range found {
			if keys > metadata.InspectedRows {
				break
			}
			if f.State == metadata.FileLive {
				index[f.ID] = len(files)
				keys += max(f.keys, 0)
				live = append(live, pgtype.UUID{Bytes: f.ID, Valid: true})
			}
			files = append(files, f.InspectedFile)
		}
		return eachKeyedRow(ctx, tx, live, func(r metadata.Run) {
			f := &files[index[r.FileID]]
			f.Runs = append(f.Runs, r)
		})
	})
	return files, err
}

// eachKeyedRow visits the rows that name one of the files and are among its keys, which the limit makes a
// probe of the primary key each, whatever the planner thinks.
func eachKeyedRow(ctx context.Context, tx pgx.Tx, files []pgtype.UUID, visit func(metadata.Run)) error {
	rows, err := tx.Query(ctx, `SELECT k.partition_id, r.* FROM files f CROSS JOIN LATERAL unnest(f.partitions, f.offsets) AS k (partition_id, base_offset)
		CROSS JOIN LATERAL (
			SELECT `+runColumns+` FROM runs WHERE partition_id = k.partition_id AND base_offset = k.base_offset LIMIT 1
		) r WHERE f.id = ANY($1::uuid[]) AND r.file_id = f.id AND r.encoding <> 2 ORDER BY k.partition_id, r.base_offset`, files)
	if err != nil {
		return err
	}
	return eachPartitionRun(rows, visit)
}

// eachPartitionRun visits rows of a partition's ID and a run.
func eachPartitionRun(rows pgx.Rows, visit func(metadata.Run)) error {
	var partition int32
	var r nullRun
	_, err := pgx.ForEachRow(rows, append([]any{&partition}, r.targets()...), func() error {
		visit(r.run(metadata.PartitionID(partition)))
		return nil
	})
	return err
}

// InspectFiles implements metadata.Inspection. A file that is there twice is live.
func (s *Store) InspectFiles(ctx context.Context, ids []uuid.UUID) ([]metadata.InspectedFile, error) {
	files := make([]metadata.InspectedFile, len(ids))
	err := s.inspect(ctx, "look at data files", func(ctx context.Context, tx pgx.Tx) error {
		known, err := inspectFiles(ctx, tx, ids)
		if err != nil {
			return err
		}
		for i, id := range ids {
			f := known[id]
			f.ID = id
			files[i] = f.InspectedFile
		}
		return nil
	})
	return files, err
}

func inspectFiles(ctx context.Context, tx pgx.Tx, ids []uuid.UUID) (map[uuid.UUID]inspected, error) {
	rows, err := tx.Query(ctx, deadFiles+`WHERE id = ANY($1::uuid[]) UNION ALL `+liveFiles+`WHERE id = ANY($1::uuid[]) ORDER BY 2 DESC`, uuidArray(ids))
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, scanInspected)
	known := map[uuid.UUID]inspected{}
	for _, f := range found {
		known[f.ID] = f
	}
	return known, err
}

// InspectRows implements metadata.Inspection.
func (s *Store) InspectRows(ctx context.Context, partition metadata.PartitionID, offset int64, limit int) (metadata.PartitionRows, error) {
	var p metadata.PartitionRows
	err := s.inspect(ctx, "look at rows of the index", func(ctx context.Context, tx pgx.Tx) error {
		p = metadata.PartitionRows{}
		var bounds nullBounds
		b := &pgx.Batch{}
		b.Queue(`SELECT EXISTS (SELECT FROM deleted_partitions WHERE id = $1), `+boundsColumns+`
			FROM (SELECT) one LEFT JOIN partitions p ON p.id = $1`, int32(partition)).QueryRow(func(row pgx.Row) error {
			return row.Scan(append([]any{&p.Deleted}, bounds.targets()...)...)
		})
		b.Queue(`SELECT partition_id, `+runColumns+` FROM runs WHERE partition_id = $1 AND base_offset >= COALESCE((
				SELECT max(base_offset) FROM runs WHERE partition_id = $1 AND base_offset <= $2), $2)
			ORDER BY base_offset LIMIT $3`, int32(partition), offset, limit).Query(func(rows pgx.Rows) error {
			return eachPartitionRun(rows, func(r metadata.Run) { p.Runs = append(p.Runs, r) })
		})
		if err := tx.SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		p.Bounds = bounds.bounds()
		first, end := sequence.MarkerRange(offset, p.Runs, limit)
		rows, err := tx.Query(ctx, `SELECT producer_id, first_offset, last_offset, stable_offset FROM aborted_transactions
			WHERE partition_id = $1 AND last_offset >= $2 AND last_offset < $3 ORDER BY last_offset`, int32(partition), first, end)
		if err != nil {
			return err
		}
		p.Aborted, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (a metadata.AbortedTransaction, err error) {
			a.Partition = partition
			err = row.Scan(&a.ProducerID, &a.FirstOffset, &a.LastOffset, &a.StableOffset)
			return a, err
		})
		return err
	})
	return p, err
}

// recountTimeout bounds a count of all of the index.
const (
	recountTimeout        = 10 * time.Minute
	recountTimeoutSetting = "10min"
)

// RecountFiles implements metadata.Inspection. A repair locks the files first: whoever has removed
// some of their rows by then has counted them down, and whoever removes some later waits, so that what the
// next statement counts is what the files have. To be repeated is harmless.
func (s *Store) RecountFiles(ctx context.Context, ids []uuid.UUID, repair bool) ([]metadata.FileRecount, error) {
	ctx, cancel := context.WithTimeout(ctx, recountTimeout)
	defer cancel()
	options := snapshot
	if repair {
		options = pgx.TxOptions{BeginQuery: begin}
	}
	var counts []metadata.FileRecount
	err := s.repeat(ctx, func(ctx context.Context) error {
		return classify(pgx.BeginTxFunc(ctx, s.pool, options, func(tx pgx.Tx) error {
			var err error
			counts, err = recount(ctx, tx, ids, repair)
			return err
		}), false)
	})
	return counts, describe("count the rows of files", err)
}

func recount(ctx context.Context, tx pgx.Tx, ids []uuid.UUID, repair bool) ([]metadata.FileRecount, error) {
	b := &pgx.Batch{}
	b.Queue(`SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', '6s', true)`, recountTimeoutSetting)
	if repair {
		b.Queue(`SELECT FROM files WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE`, uuidArray(ids))
	}
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return nil, err
	}
	known, err := inspectFiles(ctx, tx, ids)
	if err != nil {
		return nil, err
	}
	all, err := tx.Query(ctx, `SELECT partition_id, `+runColumns+` FROM runs WHERE file_id = ANY($1::uuid[]) AND encoding <> 2 ORDER BY partition_id, base_offset`, uuidArray(ids))
	if err != nil {
		return nil, err
	}
	rows, keyed := map[uuid.UUID][]metadata.Run{}, map[uuid.UUID]int{}
	if err := eachPartitionRun(all, func(r metadata.Run) { rows[r.FileID] = append(rows[r.FileID], r) }); err != nil {
		return nil, err
	}
	if err := eachKeyedRow(ctx, tx, uuidArray(ids), func(r metadata.Run) { keyed[r.FileID]++ }); err != nil {
		return nil, err
	}
	counts := make([]metadata.FileRecount, len(ids))
	for i, id := range ids {
		if known[id].State != metadata.FileLive {
			continue
		}
		counts[i] = sequence.Recount(known[id].InspectedFile, rows[id], keyed[id])
		if repair && counts[i].Wrong() {
			if err := correctFile(ctx, tx, id, counts[i], rows[id]); err != nil {
				return nil, err
			}
		}
	}
	return counts, nil
}

// UnmarkFile implements metadata.Inspection.
func (s *Store) UnmarkFile(ctx context.Context, id uuid.UUID, level int16) (bool, error) {
	var unmarked bool
	err := s.read(ctx, "unmark a file", func(ctx context.Context) error {
		tag, err := s.pool.Exec(ctx, `UPDATE files SET level = $2 WHERE id = $1 AND level = $3`, id, level, metadata.LevelDamaged)
		unmarked = tag.RowsAffected() > 0
		return err
	})
	return unmarked && err == nil, err
}

// correctFile writes what a file says of its rows anew.
func correctFile(ctx context.Context, tx pgx.Tx, id uuid.UUID, c metadata.FileRecount, rows []metadata.Run) error {
	if c.Rows == 0 {
		_, err := tx.Exec(ctx, `WITH died AS (DELETE FROM files WHERE id = $1 RETURNING id, size)
			INSERT INTO dead_files (id, size, died_at) SELECT id, size, clock_timestamp() FROM died`, id)
		return err
	}
	partitions, offsets := make([]int32, len(rows)), make([]int64, len(rows))
	for i, r := range rows {
		partitions[i], offsets[i] = int32(r.Partition), r.BaseOffset
	}
	_, err := tx.Exec(ctx, `UPDATE files SET live_runs = $2, live_bytes = $3, partitions = $4, offsets = $5 WHERE id = $1`, id, c.Rows, c.RightBytes, partitions, offsets)
	return err
}
