package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// reclaimSlice is how many runs DeleteTopic removes in one transaction: some 50 ms of work.
	reclaimSlice = 5000
	// reclaimPartitions is how many deleted partitions one transaction looks at.
	reclaimPartitions = 1000
)

// ReclaimDeleted implements metadata.Topics. It needs no sequencer's lock, since
// no commit can name a deleted partition. Concurrent calls are safe: whoever
// locked a row removes and counts it, the others pass over it; and files are
// locked in ID order.
func (s *Store) ReclaimDeleted(ctx context.Context, limit int) (int, error) {
	var removed int64
	err := s.read(ctx, "reclaim deleted topics", func(ctx context.Context) error {
		removed = 0
		return pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{BeginQuery: begin}, func(tx pgx.Tx) error {
			left, err := pickLeftovers(ctx, tx, limit)
			if err != nil {
				return err
			}
			return left.remove(ctx, tx, &removed)
		})
	})
	return int(removed), err
}

// leftovers are rows of deleted partitions, locked.
type leftovers struct {
	partitions []int32
	runs       rowKeys // by base offset
	producers  rowKeys // by producer ID
}

type rowKeys struct {
	partition []int32
	key       []int64
}

func (k *rowKeys) collect(rows pgx.Rows) error {
	var partition int32
	var key int64
	_, err := pgx.ForEachRow(rows, []any{&partition, &key}, func() error {
		k.partition, k.key = append(k.partition, partition), append(k.key, key)
		return nil
	})
	return err
}

// pickLeftovers walks the keys of each deleted partition in order, which no
// planner can turn into a scan of the whole table.
func pickLeftovers(ctx context.Context, tx pgx.Tx, limit int) (*leftovers, error) {
	var left leftovers
	b := &pgx.Batch{}
	b.Queue(limits)
	b.Queue(`SELECT id FROM deleted_partitions ORDER BY id LIMIT $1`, reclaimPartitions).Query(func(rows pgx.Rows) error {
		var err error
		left.partitions, err = pgx.CollectRows(rows, pgx.RowTo[int32])
		return err
	})
	b.Queue(`SELECT d.id, r.base_offset FROM (SELECT id FROM deleted_partitions ORDER BY id LIMIT $1) d CROSS JOIN LATERAL
		(SELECT base_offset FROM runs WHERE partition_id = d.id ORDER BY base_offset LIMIT $2 FOR UPDATE SKIP LOCKED) r
		LIMIT $2`, reclaimPartitions, limit).Query(left.runs.collect)
	b.Queue(`SELECT d.id, p.producer_id FROM (SELECT id FROM deleted_partitions ORDER BY id LIMIT $1) d CROSS JOIN LATERAL
		(SELECT producer_id FROM producers WHERE partition_id = d.id ORDER BY producer_id LIMIT $2 FOR UPDATE SKIP LOCKED) p
		LIMIT $2`, reclaimPartitions, limit).Query(left.producers.collect)
	return &left, tx.SendBatch(ctx, b).Close()
}

func (l *leftovers) remove(ctx context.Context, tx pgx.Tx, removed *int64) error {
	b := &pgx.Batch{}
	l.runs.remove(b, removed)
	b.Queue(`DELETE FROM producers p USING unnest($1::int4[], $2::int8[]) AS v (partition_id, producer_id)
		WHERE p.partition_id = v.partition_id AND p.producer_id = v.producer_id`, l.producers.partition, l.producers.key).Exec(counter(removed))
	// A partition with neither runs nor producers is done with. The subqueries
	// stay probes of the keys, row by row; NOT EXISTS may become a join with all of runs.
	b.Queue(`DELETE FROM deleted_partitions d WHERE id = ANY($1::int4[])
		AND (SELECT true FROM runs WHERE partition_id = d.id LIMIT 1) IS NULL
		AND (SELECT true FROM producers WHERE partition_id = d.id LIMIT 1) IS NULL`, l.partitions).Exec(counter(removed))
	return tx.SendBatch(ctx, b).Close()
}

// remove queues the removal of runs, which the transaction has locked.
func (k *rowKeys) remove(b *pgx.Batch, removed *int64) {
	b.Queue(removeRuns, k.partition, k.key).Exec(counter(removed))
}

// removeRuns removes runs for good. With the markers in them go the rows of what those
// aborted, all of which lies before them.
const removeRuns = deleteRuns + `, decided AS (
		DELETE FROM aborted_transactions WHERE (partition_id, last_offset) IN (
			SELECT g.partition_id, a.last_offset FROM gone g CROSS JOIN LATERAL (
				SELECT last_offset FROM aborted_transactions
				WHERE partition_id = g.partition_id AND last_offset >= g.base_offset AND last_offset < g.base_offset + g.records
				ORDER BY last_offset
			) a WHERE g.encoding = 2 OR g.merged)
	)` + countDown

// deleteRuns deletes runs by their keys, and countDown counts them down in their
// files, which are locked in ID order; markers have none. A file that loses its last
// run is dead.
const (
	deleteRuns = `WITH gone AS (
		DELETE FROM runs r USING unnest($1::int4[], $2::int8[]) AS v (partition_id, base_offset)
		WHERE r.partition_id = v.partition_id AND r.base_offset = v.base_offset
		RETURNING r.partition_id, r.base_offset, r.records, r.stored_size, r.encoding, r.merged, r.file_id
	)`

	countDown = `, locked AS (
		SELECT f.id, f.live_runs - g.runs AS runs, f.live_bytes - g.bytes AS bytes
		FROM (SELECT file_id, count(*) AS runs, sum(stored_size) AS bytes FROM gone WHERE encoding <> 2 GROUP BY file_id) g
		JOIN files f ON f.id = g.file_id ORDER BY f.id FOR UPDATE OF f
	), counted AS (
		UPDATE files f SET live_runs = l.runs, live_bytes = l.bytes FROM locked l WHERE f.id = l.id AND l.runs > 0
	), died AS (
		DELETE FROM files f USING locked l WHERE f.id = l.id AND l.runs <= 0 RETURNING f.id, f.size
	), dead AS (
		INSERT INTO dead_files (id, size, died_at) SELECT id, size, clock_timestamp() FROM died
	)
	SELECT FROM gone`
)

// counter adds up how many rows statements remove.
func counter(removed *int64) func(pgconn.CommandTag) error {
	return func(tag pgconn.CommandTag) error {
		*removed += tag.RowsAffected()
		return nil
	}
}
