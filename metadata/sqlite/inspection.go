package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sequence"
)

var _ metadata.Inspection = (*Store)(nil)

// inspectedFile selects what scanInspected scans of both kinds of files.
const inspectedFile = `SELECT id, 1 AS state, size, level, seq, live_runs, live_bytes, 0 AS died_at, EXISTS (SELECT 1 FROM file_keys WHERE file_id = id) FROM files WHERE id `

// inspectedFiles selects files of both kinds, by a condition on the ID that names its parameter ?1.
func inspectedFiles(condition string) string {
	return inspectedFile + condition + ` UNION ALL SELECT id, 2, size, 0, 0, 0, 0, died_at, 0 FROM dead_files WHERE id ` + condition + ` `
}

func scanInspected(row interface{ Scan(...any) error }) (f metadata.InspectedFile, err error) {
	var diedAt int64
	err = row.Scan(&f.ID, &f.State, &f.Size, &f.Level, &f.Seq, &f.LiveRuns, &f.LiveBytes, &diedAt, &f.KeysKnown)
	if diedAt != 0 {
		f.DiedAt = time.UnixMilli(diedAt)
	}
	return f, err
}

// ListFiles implements metadata.Inspection.
func (s *Store) ListFiles(ctx context.Context, after uuid.UUID, limit int) (files []metadata.InspectedFile, err error) {
	err = s.read(ctx, "list data files", func(t *tx) error {
		if files, err = t.listFiles(after, limit); err != nil {
			return err
		}
		rows := 0
		for i := range files {
			if rows > metadata.InspectedRows {
				files = files[:i]
				break
			}
			if files[i].State != metadata.FileLive {
				continue
			}
			if files[i].Runs, err = t.rowsByKey(files[i].ID); err != nil {
				return err
			}
			rows += len(files[i].Runs)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return files, nil
}

func (t *tx) listFiles(after uuid.UUID, limit int) (files []metadata.InspectedFile, err error) {
	rows, err := t.QueryContext(t.ctx, `SELECT * FROM (`+inspectedFiles(`> ?1`)+`) ORDER BY id LIMIT ?2`, after[:], limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		f, err := scanInspected(rows)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, rows.Err()
}

// rowsByKey are all rows that name the file and are among its keys.
func (t *tx) rowsByKey(file uuid.UUID) (runs []metadata.Run, err error) {
	return t.collectRuns(`SELECT r.partition_id, `+runColumns+` FROM json_each((SELECT keys FROM file_keys WHERE file_id = ?1)) k
		CROSS JOIN runs r ON r.partition_id = k.value ->> 0 AND r.base_offset = k.value ->> 1 AND r.file_id = ?1
		WHERE r.encoding <> 2 ORDER BY r.partition_id, r.base_offset`, file[:])
}

// collectRuns collects rows of a partition's ID and a run.
func (t *tx) collectRuns(query string, args ...any) (runs []metadata.Run, err error) {
	rows, err := t.QueryContext(t.ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		r, err := scanRunOf(rows)
		if err != nil {
			return nil, err
		}
		runs = append(runs, r)
	}
	return runs, rows.Err()
}

// InspectFiles implements metadata.Inspection.
func (s *Store) InspectFiles(ctx context.Context, ids []uuid.UUID) ([]metadata.InspectedFile, error) {
	files := make([]metadata.InspectedFile, len(ids))
	err := s.read(ctx, "look at data files", func(t *tx) error {
		for i, id := range ids {
			var err error
			if files[i], err = t.inspectFile(id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return files, nil
}

// inspectFile returns the live file of an ID that is there twice.
func (t *tx) inspectFile(id uuid.UUID) (metadata.InspectedFile, error) {
	f, err := scanInspected(t.QueryRowContext(t.ctx, inspectedFiles(`= ?1`)+`ORDER BY state LIMIT 1`, id[:]))
	if errors.Is(err, sql.ErrNoRows) {
		return metadata.InspectedFile{ID: id}, nil
	}
	return f, err
}

// InspectRows implements metadata.Inspection.
func (s *Store) InspectRows(ctx context.Context, partition metadata.PartitionID, offset int64, limit int) (p metadata.PartitionRows, err error) {
	err = s.read(ctx, "look at rows of the index", func(t *tx) error {
		p = metadata.PartitionRows{}
		if p.Bounds, _, err = s.boundsOf(t, partition); err != nil {
			return err
		}
		if err := t.QueryRowContext(t.ctx, `SELECT EXISTS (SELECT 1 FROM deleted_partitions WHERE id = ?)`, partition).Scan(&p.Deleted); err != nil {
			return err
		}
		p.Runs, err = t.collectRuns(`SELECT partition_id, `+runColumns+` FROM runs WHERE partition_id = ?1 AND base_offset >= COALESCE((
				SELECT max(base_offset) FROM runs WHERE partition_id = ?1 AND base_offset <= ?2), ?2)
			ORDER BY base_offset LIMIT ?3`, partition, offset, limit)
		if err != nil {
			return err
		}
		p.Aborted, err = t.abortedIn(partition, offset, p.Runs, limit)
		return err
	})
	return p, err
}

// abortedIn are the aborted transactions whose markers lie in the slice of up to limit runs from the offset on.
func (t *tx) abortedIn(partition metadata.PartitionID, offset int64, runs []metadata.Run, limit int) (aborted []metadata.AbortedTransaction, err error) {
	first, end := sequence.MarkerRange(offset, runs, limit)
	rows, err := t.QueryContext(t.ctx, `SELECT producer_id, first_offset, last_offset, stable_offset FROM aborted_transactions
		WHERE partition_id = ? AND last_offset >= ? AND last_offset < ? ORDER BY last_offset`, partition, first, end)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		a := metadata.AbortedTransaction{Partition: partition}
		if err := rows.Scan(&a.ProducerID, &a.FirstOffset, &a.LastOffset, &a.StableOffset); err != nil {
			return nil, err
		}
		aborted = append(aborted, a)
	}
	return aborted, rows.Err()
}

// RecountFiles implements metadata.Inspection.
func (s *Store) RecountFiles(ctx context.Context, ids []uuid.UUID, repair bool) (counts []metadata.FileRecount, err error) {
	run := s.read
	if repair {
		run = s.change
	}
	err = run(ctx, "count the rows of files", func(t *tx) error {
		rows, err := t.rowsOfFiles(ids)
		if err != nil {
			return err
		}
		counts = make([]metadata.FileRecount, len(ids))
		for i, id := range ids {
			file, err := t.inspectFile(id)
			if err != nil {
				return err
			}
			if file.State != metadata.FileLive {
				continue
			}
			keyed, err := t.rowsByKey(id)
			if err != nil {
				return err
			}
			counts[i] = sequence.Recount(file, rows[id], len(keyed))
			if repair && counts[i].Wrong() {
				if err := t.correctFile(id, counts[i], rows[id]); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return counts, nil
}

// UnmarkFile implements metadata.Inspection.
func (s *Store) UnmarkFile(ctx context.Context, id uuid.UUID, level int16) (unmarked bool, err error) {
	err = s.change(ctx, "unmark a file", func(t *tx) error {
		n, err := t.affected(`UPDATE files SET level = ? WHERE id = ? AND level = ?`, level, id[:], metadata.LevelDamaged)
		unmarked = n > 0
		return err
	})
	return unmarked && err == nil, err
}

// rowsOfFiles reads all of the index.
func (t *tx) rowsOfFiles(ids []uuid.UUID) (map[uuid.UUID][]metadata.Run, error) {
	hex := make([]string, len(ids))
	for i, id := range ids {
		hex[i] = fmt.Sprintf("%x", id[:])
	}
	list, err := json.Marshal(hex)
	if err != nil {
		return nil, err
	}
	runs, err := t.collectRuns(`SELECT partition_id, `+runColumns+` FROM runs WHERE encoding <> 2
		AND file_id IN (SELECT unhex(value) FROM json_each(?)) ORDER BY partition_id, base_offset`, string(list))
	rows := map[uuid.UUID][]metadata.Run{}
	for _, r := range runs {
		rows[r.FileID] = append(rows[r.FileID], r)
	}
	return rows, err
}

// correctFile writes the file's row and keys anew.
func (t *tx) correctFile(id uuid.UUID, c metadata.FileRecount, rows []metadata.Run) error {
	if c.Rows == 0 {
		return t.bury(id)
	}
	keys, err := encodeKeys(rows)
	if err != nil {
		return err
	}
	if err := t.exec(`UPDATE files SET live_runs = ?, live_bytes = ? WHERE id = ?`, c.Rows, c.RightBytes, id[:]); err != nil {
		return err
	}
	return t.exec(`INSERT INTO file_keys (file_id, keys) VALUES (?, ?) ON CONFLICT (file_id) DO UPDATE SET keys = excluded.keys`, id[:], keys)
}
