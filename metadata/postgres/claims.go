package postgres

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sequence"
)

// ClaimFiles implements metadata.Maintenance, in two round trips: look for files, then
// claim them. Those who claim take turns (claims_lock), so that each takes
// the oldest files that are left, side by side. (Rejected: SKIP LOCKED alone. Of two at the same time
// the second would pass over files that the first has locked and then finds to be too much.) Sparse
// files, which only a look at all files finds, are looked for before that, so that nobody waits for it.
//
// What lies in the files is read after the COMMIT: whatever changes in between, ReplaceRuns
// checks. If we die before the caller has it, the same holder gets the same files
// again, and others when the claim ends.
func (s *Store) ClaimFiles(ctx context.Context, claim metadata.FileClaim) ([]metadata.ClaimedFile, error) {
	if err := sequence.ValidateClaim(claim); err != nil {
		return nil, err
	}
	files, err := s.claim(ctx, claim)
	if err != nil || len(files) == 0 {
		return nil, err
	}
	err = s.read(ctx, "read the runs of claimed files", func(ctx context.Context) error {
		if err := s.readRunsOf(ctx, files); err != nil {
			return err
		}
		files[0].Markers, err = s.readMarkersAround(ctx, claim, files)
		return err
	})
	if err != nil {
		return nil, err
	}
	return files, nil
}

// claim claims files, without what lies in them.
func (s *Store) claim(ctx context.Context, claim metadata.FileClaim) ([]metadata.ClaimedFile, error) {
	var now time.Time
	var candidates []sequence.ClaimCandidate
	var files []metadata.ClaimedFile
	query, args := claimableOfLevel, []any{claim.Holder, claim.MaxFiles, claim.Level}
	if claim.Sparse {
		sparse, err := queryAll(ctx, s, "look for sparse files", pgx.RowTo[uuid.UUID], findSparse, claim.Holder, claim.MaxFiles)
		if err != nil || len(sparse) == 0 {
			return nil, err
		}
		query, args = claimableSparse, []any{claim.Holder, claim.MaxFiles, uuidArray(sparse)}
	}
	err := s.lockAndWrite(ctx, "claim files", func(b *pgx.Batch) {
		b.Queue(`SELECT FROM claims_lock FOR UPDATE`)
		b.Queue(`SELECT clock_timestamp()`).QueryRow(func(row pgx.Row) error { return row.Scan(&now) })
		b.Queue(query, args...).Query(func(rows pgx.Rows) error {
			var err error
			candidates, err = pgx.CollectRows(rows, pgx.RowToStructByPos[sequence.ClaimCandidate])
			return err
		})
	}, func(b *pgx.Batch) error {
		files = nil
		candidates = candidates[:sequence.DecideClaim(claim, now, candidates)]
		if len(candidates) == 0 {
			return nil
		}
		ids := make([]uuid.UUID, len(candidates))
		for i, c := range candidates {
			ids[i] = c.ID
		}
		b.Queue(claimFiles, uuidArray(ids), claim.Holder, claim.For).Query(func(rows pgx.Rows) error {
			claimed, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
			got := make(map[uuid.UUID]bool, len(claimed))
			for _, id := range claimed {
				got[id] = true
			}
			for _, c := range candidates {
				if got[c.ID] {
					files = append(files, metadata.ClaimedFile{ID: c.ID, Seq: c.Seq, Size: c.Size, Level: c.Level})
				}
			}
			return err
		})
		return nil
	})
	return files, err
}

// claimable are files that the holder may claim. claimFiles claims those of them that
// are still there and unclaimed: others have died, or their former holder
// has renewed its claim, since they were found.
const (
	claimable       = `(claimed_until IS NULL OR claimed_until <= clock_timestamp() OR claimed_by = $1)`
	claimableSelect = `SELECT id, seq, size, level, live_runs::int8, committed_at FROM files WHERE ` + claimable
	claimableOrder  = ` ORDER BY seq, id LIMIT $2`

	claimableOfLevel = claimableSelect + ` AND level = $3` + claimableOrder
	claimableSparse  = claimableSelect + isSparse + ` AND id = ANY($3::uuid[])` + claimableOrder

	// findSparse reads all files. An index of those that are sparse would cost each run that is removed or replaced
	// more: live_bytes is in no index, so that the row can be changed in its place.
	findSparse = `SELECT id FROM files WHERE ` + claimable + isSparse + claimableOrder
	isSparse   = ` AND (level = -1 OR level > 0) AND live_bytes * 2 < size`

	claimFiles = `WITH locked AS (
			SELECT id FROM files WHERE id = ANY($1::uuid[]) AND level > -2 AND (claimed_until IS NULL OR claimed_until <= clock_timestamp() OR claimed_by = $2)
			ORDER BY id FOR UPDATE
		)
		UPDATE files f SET claimed_by = $2, claimed_until = clock_timestamp() + $3::interval FROM locked l WHERE f.id = l.id RETURNING f.id`
)

// readRunsOf reads the runs that lie in the files.
func (s *Store) readRunsOf(ctx context.Context, files []metadata.ClaimedFile) error {
	ids := make([]uuid.UUID, len(files))
	for i := range files {
		files[i].Runs = nil
		ids[i] = files[i].ID
	}
	rows, err := s.pool.Query(ctx, runsOfFiles, uuidArray(ids))
	if err != nil {
		return err
	}
	var i int64
	var partition int32
	var run nullRun
	_, err = pgx.ForEachRow(rows, append([]any{&i, &partition}, run.targets()...), func() error {
		files[i-1].Runs = append(files[i-1].Runs, run.run(metadata.PartitionID(partition)))
		return nil
	})
	return err
}

// runsOfFiles finds the runs that are left in files by a probe of the key for each that
// they ever had; LIMIT keeps the planner from a join with all of runs.
const runsOfFiles = `SELECT q.i, k.partition_id, r.*
	FROM unnest($1::uuid[]) WITH ORDINALITY AS q (id, i) JOIN files f ON f.id = q.id
	CROSS JOIN LATERAL unnest(f.partitions, f.offsets) AS k (partition_id, base_offset)
	JOIN partitions p ON p.id = k.partition_id
	CROSS JOIN LATERAL (
		SELECT ` + runColumns + ` FROM runs
		WHERE partition_id = k.partition_id AND base_offset = k.base_offset AND file_id = f.id AND base_offset + records > p.log_start_offset LIMIT 1
	) r ORDER BY q.i, k.partition_id, r.base_offset`

// RenewFiles implements metadata.Maintenance. The second statement sees what those
// did whom the first one waited for.
func (s *Store) RenewFiles(ctx context.Context, holder uuid.UUID, files []uuid.UUID, period time.Duration) (bool, error) {
	var lost bool
	err := s.atOnce(ctx, s.pool, "renew claims of files", func(b *pgx.Batch) {
		b.Queue(heldFiles+`UPDATE files f SET claimed_until = clock_timestamp() + $3::interval FROM held h WHERE f.id = h.id`, uuidArray(files), holder, period)
		b.Queue(`SELECT EXISTS (SELECT FROM files WHERE id = ANY($1::uuid[]) AND claimed_by IS DISTINCT FROM $2)`, uuidArray(files), holder).
			QueryRow(func(row pgx.Row) error { return row.Scan(&lost) })
	})
	return err == nil && !lost, err
}

// ReleaseFiles implements metadata.Maintenance.
func (s *Store) ReleaseFiles(ctx context.Context, holder uuid.UUID, files []uuid.UUID, settle bool) error {
	return s.read(ctx, "release claims of files", func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, heldFiles+`UPDATE files f SET claimed_by = NULL, claimed_until = NULL, level = CASE WHEN $3 THEN $4 ELSE level END
			FROM held h WHERE f.id = h.id`, uuidArray(files), holder, settle, metadata.LevelDamaged)
		return err
	})
}

// heldFiles locks files in ID order, as all do.
const heldFiles = `WITH held AS (SELECT id FROM files WHERE id = ANY($1::uuid[]) AND claimed_by = $2 ORDER BY id FOR UPDATE) `

// MergeBacklog implements metadata.Maintenance. It reads all files that wait.
func (s *Store) MergeBacklog(ctx context.Context) ([]metadata.LevelBacklog, error) {
	return queryAll(ctx, s, "count files to merge", func(row pgx.CollectableRow) (metadata.LevelBacklog, error) {
		var b metadata.LevelBacklog
		var oldest *time.Time
		err := row.Scan(&b.Level, &b.Files, &b.Bytes, &oldest)
		if oldest != nil {
			b.OldestAt = *oldest
		}
		return b, err
	}, `SELECT l.level::int2, count(f.id), COALESCE(sum(f.size), 0)::int8, min(f.committed_at)
		FROM generate_series(0, $1::int4) AS l (level) LEFT JOIN files f ON f.level = l.level
		GROUP BY l.level ORDER BY l.level`, metadata.MaxFileLevel-1)
}
