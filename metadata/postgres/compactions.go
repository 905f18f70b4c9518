package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sequence"
)

// Compactions implements metadata.Maintenance. It reads all runs of the partitions.
func (s *Store) Compactions(ctx context.Context, partitions []metadata.PartitionID) ([]metadata.Compaction, error) {
	return queryAll(ctx, s, "read what is compacted", func(row pgx.CollectableRow) (metadata.Compaction, error) {
		var bounds nullBounds
		var cleanedAt *time.Time
		c := metadata.Compaction{}
		err := row.Scan(append(bounds.targets(), &c.CleanUntil, &cleanedAt, &c.CleanBytes, &c.DirtyBytes, &c.DirtySince)...)
		c.Bounds = bounds.bounds()
		if cleanedAt != nil {
			c.CleanedAt = *cleanedAt
		}
		return c, err
	}, compactions, partitionArray(partitions))
}

const compactions = `SELECT ` + boundsColumns + `, COALESCE(c.clean_until, -1), c.cleaned_at, COALESCE(r.clean, 0), COALESCE(r.dirty, 0), COALESCE(r.dirty_since, -1)
	FROM unnest($1::int4[]) WITH ORDINALITY AS q (id, i)
	LEFT JOIN partitions p ON p.id = q.id
	LEFT JOIN LATERAL (
		SELECT greatest(p.log_start_offset, o.clean_until) AS clean_until, o.cleaned_at
		FROM (SELECT) AS one LEFT JOIN compactions o ON o.partition_id = p.id
	) c ON true
	LEFT JOIN LATERAL (
		SELECT sum(size) FILTER (WHERE base_offset + records <= c.clean_until) AS clean, sum(size) FILTER (WHERE base_offset + records > c.clean_until) AS dirty,
			min(max_timestamp) FILTER (WHERE base_offset + records > c.clean_until) AS dirty_since
		FROM runs WHERE partition_id = p.id AND base_offset + records > p.log_start_offset
	) r ON true
	ORDER BY q.i`

// FinishCompaction implements metadata.Maintenance. The partition's row is locked
// against DeleteTopic, which removes ours with it, and not against commits.
func (s *Store) FinishCompaction(ctx context.Context, partition metadata.PartitionID, cleanUntil int64) error {
	var exists bool
	var now time.Time
	var before sequence.CompactionState
	return s.lockAndWrite(ctx, "note a compaction", func(b *pgx.Batch) {
		exists, before = false, sequence.CompactionState{}
		found := func(rows pgx.Rows) error {
			exists = rows.Next()
			rows.Close()
			return rows.Err()
		}
		b.Queue(`SELECT FROM partitions WHERE id = $1 FOR KEY SHARE`, int32(partition)).Query(found)
		b.Queue(`SELECT clock_timestamp()`).QueryRow(func(row pgx.Row) error { return row.Scan(&now) })
		b.Queue(`SELECT clean_until, cleaned_at, settled_until, settled_at FROM compactions WHERE partition_id = $1 FOR UPDATE`, int32(partition)).Query(func(rows pgx.Rows) error {
			_, err := pgx.ForEachRow(rows, []any{&before.CleanUntil, &before.CleanedAt, &before.SettledUntil, &before.SettledAt}, func() error { return nil })
			return err
		})
	}, func(b *pgx.Batch) error {
		if !exists {
			return nil
		}
		state, forget := before.Finish(cleanUntil, now)
		b.Queue(`DELETE FROM aborted_transactions WHERE partition_id = $1 AND last_offset < $2`, int32(partition), forget)
		// Two that end the first pass at the same time find no row to lock.
		b.Queue(`INSERT INTO compactions AS c (partition_id, clean_until, cleaned_at, settled_until, settled_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (partition_id) DO UPDATE SET clean_until = greatest(c.clean_until, excluded.clean_until), cleaned_at = excluded.cleaned_at,
				settled_until = excluded.settled_until, settled_at = excluded.settled_at`,
			int32(partition), state.CleanUntil, state.CleanedAt, state.SettledUntil, state.SettledAt)
		return nil
	})
}
