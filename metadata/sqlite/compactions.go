package sqlite

import (
	"context"
	"time"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sequence"
)

// Compactions implements metadata.Maintenance.
func (s *Store) Compactions(ctx context.Context, partitions []metadata.PartitionID) ([]metadata.Compaction, error) {
	out := make([]metadata.Compaction, len(partitions))
	err := s.read(ctx, "read what is compacted", func(t *tx) error {
		for i, id := range partitions {
			bounds, _, err := s.boundsOf(t, id)
			if err != nil {
				return err
			}
			c := metadata.Compaction{Bounds: bounds, CleanUntil: -1, DirtySince: -1}
			if bounds.Exists {
				if err := t.compaction(id, &c); err != nil {
					return err
				}
			}
			out[i] = c
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// compaction fills in what the bounds don't say.
func (t *tx) compaction(id metadata.PartitionID, c *metadata.Compaction) error {
	state, err := t.compactionState(id)
	if err != nil {
		return err
	}
	c.CleanUntil, c.CleanedAt = max(state.CleanUntil, c.LogStartOffset), state.CleanedAt
	return t.QueryRowContext(t.ctx, `SELECT COALESCE(sum(size) FILTER (WHERE base_offset + records <= ?3), 0),
			COALESCE(sum(size) FILTER (WHERE base_offset + records > ?3), 0),
			COALESCE(min(max_timestamp) FILTER (WHERE base_offset + records > ?3), -1)
		FROM runs WHERE partition_id = ?1 AND base_offset + records > ?2`, id, c.LogStartOffset, c.CleanUntil).Scan(&c.CleanBytes, &c.DirtyBytes, &c.DirtySince)
}

func (t *tx) compactionState(id metadata.PartitionID) (state sequence.CompactionState, err error) {
	var cleanedAt, settledAt int64
	found, err := scanOptional(t.QueryRowContext(t.ctx, `SELECT clean_until, cleaned_at, settled_until, settled_at FROM compactions WHERE partition_id = ?`, id),
		&state.CleanUntil, &cleanedAt, &state.SettledUntil, &settledAt)
	if found {
		state.CleanedAt, state.SettledAt = time.UnixMilli(cleanedAt), time.UnixMilli(settledAt)
	}
	return state, err
}

// FinishCompaction implements metadata.Maintenance.
func (s *Store) FinishCompaction(ctx context.Context, partition metadata.PartitionID, cleanUntil int64) error {
	return s.change(ctx, "note a compaction", func(t *tx) error {
		exists := map[metadata.PartitionID]sequence.Partition{}
		if err := t.readPartitions(exists, []metadata.PartitionID{partition}); err != nil || len(exists) == 0 {
			return err
		}
		before, err := t.compactionState(partition)
		if err != nil {
			return err
		}
		state, forget := before.Finish(cleanUntil, t.now)
		if _, err := t.stmt(t.prepared.forgetAborted).ExecContext(t.ctx, partition, forget); err != nil {
			return err
		}
		return t.exec(`INSERT OR REPLACE INTO compactions (partition_id, clean_until, cleaned_at, settled_until, settled_at) VALUES (?, ?, ?, ?, ?)`,
			partition, state.CleanUntil, millis(state.CleanedAt), state.SettledUntil, millis(state.SettledAt))
	})
}
