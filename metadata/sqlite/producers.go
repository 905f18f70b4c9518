package sqlite

import (
	"context"
	"fmt"
	"time"
)

// AllocateProducerIDs implements metadata.Producers.
func (s *Store) AllocateProducerIDs(ctx context.Context, count int) (first int64, err error) {
	if count < 1 {
		return 0, fmt.Errorf("metadata: allocate %d producer IDs", count)
	}
	err = s.change(ctx, "allocate producer IDs", func(t *tx) error {
		return t.QueryRowContext(t.ctx, `UPDATE sequencer SET next_producer_id = next_producer_id + ?1 RETURNING next_producer_id - ?1`, count).Scan(&first)
	})
	return first, err
}

// ExpireProducers implements metadata.Producers.
func (s *Store) ExpireProducers(ctx context.Context, idleFor time.Duration, limit int) (expired int, err error) {
	err = s.change(ctx, "expire producers", func(t *tx) error {
		expired, err = t.affected(`DELETE FROM producers WHERE (partition_id, producer_id) IN (
			SELECT partition_id, producer_id FROM producers WHERE seen_at < ? LIMIT ?)`, millis(t.now.Add(-idleFor)), limit)
		return err
	})
	return expired, err
}
