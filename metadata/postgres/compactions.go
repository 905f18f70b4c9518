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

// FinishCompactions implements metadata.Maintenance. The sequencer's lock, which an entry of the
// feed needs, keeps DeleteTopic away, which removes our rows with the partitions. What is forgotten goes before,
// since it may be much: should we die in between, it is the same that the next pass would forget.
func (s *Store) FinishCompactions(ctx context.Context, finished []metadata.CompactedUntil) (commits []metadata.Commit, err error) {
	const doing = "note what is compacted"
	ids := make([]metadata.PartitionID, len(finished))
	for i, f := range finished {
		ids[i] = f.Partition
	}
	if err := s.forgetAborted(ctx, doing, finished, ids); err != nil {
		return nil, err
	}
	var states map[metadata.PartitionID]sequence.CompactionState
	err = s.change(ctx, s.pool, doing, func(b *pgx.Batch) {
		states = map[metadata.PartitionID]sequence.CompactionState{}
		b.Queue(readCompactions, partitionArray(ids)).Query(collectCompactions(states))
	}, func(q *sequencer, b *pgx.Batch) error {
		commits = nil
		next, further := sequence.DecideCompactions(states, finished, q.now)
		if len(next) == 0 {
			return nil
		}
		queueCompactions(b, next)
		if len(further) > 0 {
			commits = append(commits, q.add(metadata.Commit{Compacted: further}, nil, nil))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return commits, nil
}

// readCompactions reads the state of those of the partitions that exist.
const readCompactions = `SELECT p.id, COALESCE(c.clean_until, 0), c.cleaned_at, COALESCE(c.settled_until, 0), c.settled_at
	FROM partitions p LEFT JOIN compactions c ON c.partition_id = p.id WHERE p.id = ANY($1::int4[])`

func collectCompactions(states map[metadata.PartitionID]sequence.CompactionState) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		var id int32
		var state sequence.CompactionState
		var cleanedAt, settledAt *time.Time
		_, err := pgx.ForEachRow(rows, []any{&id, &state.CleanUntil, &cleanedAt, &state.SettledUntil, &settledAt}, func() error {
			state.CleanedAt, state.SettledAt = time.Time{}, time.Time{}
			if cleanedAt != nil && settledAt != nil {
				state.CleanedAt, state.SettledAt = *cleanedAt, *settledAt
			}
			states[metadata.PartitionID(id)] = state
			return nil
		})
		return err
	}
}

func queueCompactions(b *pgx.Batch, finished []sequence.FinishedCompaction) {
	n := len(finished)
	ids, cleanUntil, settledUntil := make([]int32, n), make([]int64, n), make([]int64, n)
	cleanedAt, settledAt := make([]time.Time, n), make([]time.Time, n)
	for i, f := range finished {
		ids[i] = int32(f.Partition)
		cleanUntil[i], cleanedAt[i] = f.State.CleanUntil, f.State.CleanedAt
		settledUntil[i], settledAt[i] = f.State.SettledUntil, f.State.SettledAt
	}
	b.Queue(`INSERT INTO compactions (partition_id, clean_until, cleaned_at, settled_until, settled_at)
		SELECT unnest($1::int4[]), unnest($2::int8[]), unnest($3::timestamptz[]), unnest($4::int8[]), unnest($5::timestamptz[])
		ON CONFLICT (partition_id) DO UPDATE SET clean_until = excluded.clean_until, cleaned_at = excluded.cleaned_at,
			settled_until = excluded.settled_until, settled_at = excluded.settled_at`,
		ids, cleanUntil, cleanedAt, settledUntil, settledAt)
}

// forgetAborted removes the aborted transactions that passes which end now leave behind. It locks nothing: states
// go on only, so what may be forgotten by one that was read before may be forgotten.
func (s *Store) forgetAborted(ctx context.Context, doing string, finished []metadata.CompactedUntil, ids []metadata.PartitionID) error {
	var now time.Time
	var states map[metadata.PartitionID]sequence.CompactionState
	return s.lockAndWrite(ctx, doing, func(b *pgx.Batch) {
		states = map[metadata.PartitionID]sequence.CompactionState{}
		b.Queue(`SELECT clock_timestamp()`).QueryRow(func(row pgx.Row) error { return row.Scan(&now) })
		b.Queue(readCompactions, partitionArray(ids)).Query(collectCompactions(states))
	}, func(b *pgx.Batch) error {
		var of []int32
		var before []int64
		next, _ := sequence.DecideCompactions(states, finished, now)
		for _, f := range next {
			if f.Forget > 0 {
				of, before = append(of, int32(f.Partition)), append(before, f.Forget)
			}
		}
		if len(of) > 0 {
			b.Queue(`DELETE FROM aborted_transactions a USING unnest($1::int4[], $2::int8[]) AS v (partition_id, before)
				WHERE a.partition_id = v.partition_id AND a.last_offset < v.before`, of, before)
		}
		return nil
	})
}
