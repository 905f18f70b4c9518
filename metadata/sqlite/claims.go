package sqlite

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sequence"
)

// ClaimFiles implements metadata.Maintenance. What lies in the files is read after the
// claim was written, so that commits don't wait for it: whatever changes in between,
// ReplaceRuns checks.
func (s *Store) ClaimFiles(ctx context.Context, claim metadata.FileClaim) (files []metadata.ClaimedFile, err error) {
	if err := sequence.ValidateClaim(claim); err != nil {
		return nil, err
	}
	err = s.change(ctx, "claim files", func(t *tx) error {
		candidates, err := t.claimCandidates(claim)
		if err != nil {
			return err
		}
		for _, c := range candidates[:sequence.DecideClaim(claim, t.now, candidates)] {
			if err := t.exec(`UPDATE files SET claimed_by = ?, claimed_until = ? WHERE id = ?`, claim.Holder[:], millis(t.now.Add(claim.For)), c.ID[:]); err != nil {
				return err
			}
			files = append(files, metadata.ClaimedFile{ID: c.ID, Seq: c.Seq, Size: c.Size, Level: c.Level})
		}
		return nil
	})
	if err != nil || len(files) == 0 {
		return nil, err
	}
	err = s.read(ctx, "read the runs of claimed files", func(t *tx) error {
		for i := range files {
			if files[i].Runs, err = t.runsOf(files[i].ID); err != nil {
				return err
			}
		}
		files[0].Markers, err = t.markersAround(claim, files)
		return err
	})
	if err != nil {
		return nil, err
	}
	return files, nil
}

// claimCandidates are the files that the claim may take, in its order.
func (t *tx) claimCandidates(claim metadata.FileClaim) (candidates []sequence.ClaimCandidate, err error) {
	which := ` WHERE level = ?`
	args := []any{claim.Level}
	if claim.Sparse {
		// In the words of the index: SQLite uses it for no others.
		which, args = ` INDEXED BY files_sparse WHERE level <> 0 AND level <> -2 AND size > live_bytes * 2`, nil
	}
	rows, err := t.QueryContext(t.ctx, `SELECT id, seq, size, level, live_runs, committed_at FROM files`+which+`
		AND (claimed_until IS NULL OR claimed_until <= ? OR claimed_by = ?) ORDER BY seq, id LIMIT ?`, append(args, millis(t.now), claim.Holder[:], claim.MaxFiles)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var c sequence.ClaimCandidate
		var committedAt int64
		if err := rows.Scan(&c.ID, &c.Seq, &c.Size, &c.Level, &c.LiveRuns, &committedAt); err != nil {
			return nil, err
		}
		c.CommittedAt = time.UnixMilli(committedAt)
		candidates = append(candidates, c)
	}
	return candidates, rows.Err()
}

// runsOf are the runs that lie in the file, ascending by partition and offset, without
// deleted partitions and what ends before the log start.
func (t *tx) runsOf(file uuid.UUID) ([]metadata.Run, error) {
	return t.collectRuns(`SELECT r.partition_id, `+runColumns+` FROM json_each((SELECT keys FROM file_keys WHERE file_id = ?1)) k
		CROSS JOIN runs r ON r.partition_id = k.value ->> 0 AND r.base_offset = k.value ->> 1 AND r.file_id = ?1
		WHERE EXISTS (SELECT 1 FROM partitions p WHERE p.id = r.partition_id AND r.base_offset + r.records > p.log_start_offset)
		ORDER BY r.partition_id, r.base_offset`, file[:])
}

// RenewFiles implements metadata.Maintenance.
func (s *Store) RenewFiles(ctx context.Context, holder uuid.UUID, files []uuid.UUID, period time.Duration) (held bool, err error) {
	err = s.change(ctx, "renew claims of files", func(t *tx) error {
		held = true
		for _, id := range files {
			renewed, err := t.affected(`UPDATE files SET claimed_until = ? WHERE id = ? AND claimed_by = ?`, millis(t.now.Add(period)), id[:], holder[:])
			if err != nil {
				return err
			}
			if renewed > 0 {
				continue
			}
			var exists bool
			if err := t.QueryRowContext(t.ctx, `SELECT EXISTS (SELECT 1 FROM files WHERE id = ?)`, id[:]).Scan(&exists); err != nil {
				return err
			}
			held = held && !exists
		}
		return nil
	})
	return held && err == nil, err
}

// ReleaseFiles implements metadata.Maintenance.
func (s *Store) ReleaseFiles(ctx context.Context, holder uuid.UUID, files []uuid.UUID, settle bool) error {
	level := `level`
	if settle {
		level = `-2`
	}
	return s.change(ctx, "release claims of files", func(t *tx) error {
		for _, id := range files {
			if err := t.exec(`UPDATE files SET claimed_by = NULL, claimed_until = NULL, level = `+level+` WHERE id = ? AND claimed_by = ?`, id[:], holder[:]); err != nil {
				return err
			}
		}
		return nil
	})
}

// MergeBacklog implements metadata.Maintenance.
func (s *Store) MergeBacklog(ctx context.Context) ([]metadata.LevelBacklog, error) {
	backlog := make([]metadata.LevelBacklog, metadata.MaxFileLevel)
	for level := range backlog {
		backlog[level].Level = int16(level)
	}
	err := s.read(ctx, "count files to merge", func(t *tx) error {
		rows, err := t.QueryContext(t.ctx, `SELECT level, count(*), sum(size), min(committed_at) FROM files WHERE level >= 0 AND level < ? GROUP BY level`, metadata.MaxFileLevel)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var b metadata.LevelBacklog
			var oldestAt int64
			if err := rows.Scan(&b.Level, &b.Files, &b.Bytes, &oldestAt); err != nil {
				return err
			}
			b.OldestAt = time.UnixMilli(oldestAt)
			backlog[b.Level] = b
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	return backlog, nil
}
