package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/rowcodec"
)

// AllocateProducerIDs implements metadata.Producers. It takes a number, so that it is missed if the database loses it. A reply that is
// lost wastes the block: nothing else.
func (s *Store) AllocateProducerIDs(ctx context.Context, count int) (first int64, err error) {
	if count < 1 {
		return 0, fmt.Errorf("metadata: allocate %d producer IDs", count)
	}
	err = s.change(ctx, s.pool, "allocate producer IDs", func(*pgx.Batch) {}, func(q *sequencer, b *pgx.Batch) error {
		q.add(metadata.Commit{}, nil, nil)
		b.Queue(`UPDATE producer_ids SET next = next + $1::int8 RETURNING next - $1::int8`, count).QueryRow(func(row pgx.Row) error { return row.Scan(&first) })
		return nil
	})
	return first, err
}

// ExpireProducers implements metadata.Producers. The search reads the whole
// table in the worst case and so goes before the lock; what was written since is
// spared under it, as are those in an open transaction.
func (s *Store) ExpireProducers(ctx context.Context, idleFor time.Duration, limit int) (int, error) {
	var partitions []int32
	var ids []int64
	err := s.read(ctx, "find idle producers", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, `SELECT partition_id, producer_id FROM producers p
			WHERE seen_at < clock_timestamp() - $1::interval AND `+notInTransaction+` LIMIT $2`, idleFor, limit)
		if err != nil {
			return err
		}
		partitions, ids = nil, nil
		var partition int32
		var id int64
		_, err = pgx.ForEachRow(rows, []any{&partition, &id}, func() error {
			partitions, ids = append(partitions, partition), append(ids, id)
			return nil
		})
		return err
	})
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	var expired int64
	err = s.change(ctx, s.pool, "expire producers", func(*pgx.Batch) {}, func(q *sequencer, b *pgx.Batch) error {
		b.Queue(`DELETE FROM producers p USING unnest($1::int4[], $2::int8[]) AS v (partition_id, producer_id)
			WHERE p.partition_id = v.partition_id AND p.producer_id = v.producer_id AND p.seen_at < $3 AND `+notInTransaction, partitions, ids, q.now.Add(-idleFor)).
			Exec(func(tag pgconn.CommandTag) error {
				expired = tag.RowsAffected()
				return nil
			})
		return nil
	})
	return int(expired), err
}

// notInTransaction is true of rows of producers p.
const notInTransaction = `NOT EXISTS (SELECT FROM transaction_partitions t WHERE t.producer_id = p.producer_id AND t.partition_id = p.partition_id)`

// ActiveProducers implements metadata.Producers.
func (s *Store) ActiveProducers(ctx context.Context, partitions []metadata.PartitionID) ([][]metadata.ActiveProducer, error) {
	var out [][]metadata.ActiveProducer
	err := s.read(ctx, "read producers", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, `SELECT q.i, p.producer_id, p.epoch, p.last_batches, p.seen_at, COALESCE(t.first_offset, -1)
			FROM unnest($1::int4[]) WITH ORDINALITY AS q (id, i) JOIN producers p ON p.partition_id = q.id
			LEFT JOIN transaction_partitions t ON t.producer_id = p.producer_id AND t.partition_id = p.partition_id
			ORDER BY q.i, p.producer_id`, partitionArray(partitions))
		if err != nil {
			return err
		}
		out = make([][]metadata.ActiveProducer, len(partitions))
		var i int64
		var p metadata.ActiveProducer
		var batches []byte
		_, err = pgx.ForEachRow(rows, []any{&i, &p.ProducerID, &p.Epoch, &batches, &p.SeenAt, &p.TransactionStart}, func() error {
			last, err := rowcodec.DecodeProducerBatches(batches)
			if err != nil {
				return err
			}
			p.LastSequence = last[len(last)-1].LastSequence
			out[i-1] = append(out[i-1], p)
			return nil
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
