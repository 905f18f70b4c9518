package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sequence"
)

// trimRounds is how many slices of runs DeleteRecords removes at most: half a
// second of work, which its client waits for.
const trimRounds = 10

// DeleteRecords implements metadata.Records.
//
// Under the lock only the log starts move, however many records lie before them:
// from then on nothing can find those. Their runs follow in slices without the
// lock. Should we die or fail there, TrimRuns finds them.
func (s *Store) DeleteRecords(ctx context.Context, deletions []metadata.RecordsDeletion) (metadata.RecordsDeleted, error) {
	ids := make([]metadata.PartitionID, len(deletions))
	for i, d := range deletions {
		ids[i] = d.Partition
	}
	var out metadata.RecordsDeleted
	var moved []int32
	var state stateReader
	err := s.change(ctx, s.pool, "delete records", func(b *pgx.Batch) {
		state.Partitions = map[metadata.PartitionID]sequence.Partition{}
		b.Queue(readPartitions, partitionArray(ids)).Query(collectPartitions(state.Partitions))
	}, func(q *sequencer, b *pgx.Batch) error {
		out, moved = metadata.RecordsDeleted{}, nil
		var starts []metadata.LogStart
		out.Partitions, starts = sequence.DecideDeletions(state.Partitions, deletions)
		if len(starts) == 0 {
			return nil
		}
		offsets := make([]int64, len(starts))
		for i, l := range starts {
			moved, offsets[i] = append(moved, int32(l.Partition)), l.Offset
		}
		b.Queue(`UPDATE partitions p SET log_start_offset = v.log_start_offset
			FROM (SELECT unnest($1::int4[]) AS id, unnest($2::int8[]) AS log_start_offset) v WHERE p.id = v.id`, moved, offsets)
		out.Commits = append(out.Commits, q.add(metadata.Commit{LogStarts: starts}, nil, nil))
		return nil
	})
	if err != nil {
		return metadata.RecordsDeleted{}, err
	}
	if len(moved) > 0 {
		s.trimSoon(ctx, moved)
	}
	return out, nil
}

// trimSoon removes what the partitions' new log starts left behind, as far as a few
// slices go. The records are deleted: an error must not say that they are not, and
// TrimRuns finds the rest.
func (s *Store) trimSoon(ctx context.Context, moved []int32) {
	for range trimRounds {
		if n, err := s.trimRuns(ctx, trimmableOf, reclaimSlice, moved); err != nil || n < reclaimSlice {
			return
		}
	}
}

// TrimRuns implements metadata.Records. It needs no sequencer's lock, since no
// commit adds a run before a log start. Concurrent calls are safe, and with those
// of ReclaimDeleted, as that says.
func (s *Store) TrimRuns(ctx context.Context, limit int) (int, error) {
	return s.trimRuns(ctx, trimmable, limit)
}

// trimmable and trimmableOf find runs that end before the log start, of all
// partitions and of some. Each partition costs a probe of the key, 10,000 of them
// some 60 ms; LIMIT keeps the planner from joining with all of runs.
const (
	trimmable   = `SELECT p.id, r.base_offset FROM partitions p` + trimmableRuns
	trimmableOf = `SELECT p.id, r.base_offset FROM unnest($2::int4[]) AS v (id) JOIN partitions p ON p.id = v.id` + trimmableRuns

	trimmableRuns = ` CROSS JOIN LATERAL (
			SELECT base_offset FROM runs WHERE partition_id = p.id AND base_offset < p.log_start_offset AND base_offset + records <= p.log_start_offset
			ORDER BY base_offset LIMIT $1 FOR UPDATE SKIP LOCKED
		) r WHERE p.log_start_offset > 0 LIMIT $1`
)

func (s *Store) trimRuns(ctx context.Context, find string, limit int, args ...any) (int, error) {
	var removed int64
	err := s.read(ctx, "trim runs", func(ctx context.Context) error {
		removed = 0
		return pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{BeginQuery: begin}, func(tx pgx.Tx) error {
			var runs rowKeys
			b := &pgx.Batch{}
			b.Queue(limits)
			b.Queue(find, append([]any{limit}, args...)...).Query(runs.collect)
			if err := tx.SendBatch(ctx, b).Close(); err != nil || len(runs.key) == 0 {
				return err
			}
			b = &pgx.Batch{}
			runs.remove(b, &removed)
			return tx.SendBatch(ctx, b).Close()
		})
	})
	return int(removed), err
}

// PartitionSizes implements metadata.Records. It reads all runs of the
// partitions: two million a second, and the call's timeout bounds it. (Rejected:
// counters, which each commit would have to keep for the few who ever look; and
// slices of partitions, since many of them at once are one scan of the table.)
func (s *Store) PartitionSizes(ctx context.Context, partitions []metadata.PartitionID) ([]int64, error) {
	return queryAll(ctx, s, "read sizes of partitions", pgx.RowTo[int64], `
		WITH sizes AS MATERIALIZED (
			SELECT p.id, COALESCE(sum(r.size), 0)::int8 AS size FROM partitions p
			LEFT JOIN runs r ON r.partition_id = p.id AND r.base_offset + r.records > p.log_start_offset
			WHERE p.id = ANY($1::int4[]) GROUP BY p.id
		)
		SELECT COALESCE(s.size, -1) FROM unnest($1::int4[]) WITH ORDINALITY AS q (id, i) LEFT JOIN sizes s ON s.id = q.id
		ORDER BY q.i`, partitionArray(partitions))
}
