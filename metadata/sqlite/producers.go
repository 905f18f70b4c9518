package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/rowcodec"
)

// AllocateProducerIDs implements metadata.Producers. It takes a number, so that it is missed if the database loses it.
func (s *Store) AllocateProducerIDs(ctx context.Context, count int) (first int64, err error) {
	if count < 1 {
		return 0, fmt.Errorf("metadata: allocate %d producer IDs", count)
	}
	err = s.sequenced(ctx, "allocate producer IDs", func(q *sequencer) error {
		if _, err := q.add(metadata.Commit{}, nil, nil); err != nil {
			return err
		}
		return q.QueryRowContext(q.ctx, `UPDATE sequencer SET next_producer_id = next_producer_id + ?1 RETURNING next_producer_id - ?1`, count).Scan(&first)
	})
	return first, err
}

// ExpireProducers implements metadata.Producers. What is in an open transaction stays.
func (s *Store) ExpireProducers(ctx context.Context, idleFor time.Duration, limit int) (expired int, err error) {
	err = s.change(ctx, "expire producers", func(t *tx) error {
		expired, err = t.affected(`DELETE FROM producers WHERE (partition_id, producer_id) IN (
			SELECT partition_id, producer_id FROM producers p WHERE seen_at < ? AND NOT EXISTS (
				SELECT 1 FROM transaction_partitions t WHERE t.partition_id = p.partition_id AND t.producer_id = p.producer_id) LIMIT ?)`, millis(t.now.Add(-idleFor)), limit)
		return err
	})
	return expired, err
}

// ActiveProducers implements metadata.Producers.
func (s *Store) ActiveProducers(ctx context.Context, partitions []metadata.PartitionID) ([][]metadata.ActiveProducer, error) {
	out := make([][]metadata.ActiveProducer, len(partitions))
	err := s.read(ctx, "read producers", func(t *tx) error {
		for i, id := range partitions {
			var err error
			if out[i], err = t.activeProducers(id); err != nil {
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

func (t *tx) activeProducers(id metadata.PartitionID) (producers []metadata.ActiveProducer, err error) {
	rows, err := t.QueryContext(t.ctx, `SELECT p.producer_id, p.epoch, p.last_batches, p.seen_at, COALESCE(t.first_offset, -1) FROM producers p
		LEFT JOIN transaction_partitions t ON t.partition_id = p.partition_id AND t.producer_id = p.producer_id
		WHERE p.partition_id = ? ORDER BY p.producer_id`, id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var p metadata.ActiveProducer
		var batches []byte
		var seenAt int64
		if err := rows.Scan(&p.ProducerID, &p.Epoch, &batches, &seenAt, &p.TransactionStart); err != nil {
			return nil, err
		}
		last, err := rowcodec.DecodeProducerBatches(batches)
		if err != nil {
			return nil, err
		}
		p.LastSequence, p.SeenAt = last[len(last)-1].LastSequence, time.UnixMilli(seenAt)
		producers = append(producers, p)
	}
	return producers, rows.Err()
}
