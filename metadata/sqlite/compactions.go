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

// FinishCompactions implements metadata.Maintenance.
func (s *Store) FinishCompactions(ctx context.Context, finished []metadata.CompactedUntil) (commits []metadata.Commit, err error) {
	err = s.sequenced(ctx, "note what is compacted", func(q *sequencer) error {
		commits = nil
		states, err := q.compactionStates(finished)
		if err != nil {
			return err
		}
		next, further := sequence.DecideCompactions(states, finished, q.now)
		for _, f := range next {
			if _, err := q.stmt(q.prepared.forgetAborted).ExecContext(q.ctx, f.Partition, f.Forget); err != nil {
				return err
			}
			if err := q.exec(`INSERT OR REPLACE INTO compactions (partition_id, clean_until, cleaned_at, settled_until, settled_at) VALUES (?, ?, ?, ?, ?)`,
				f.Partition, f.State.CleanUntil, millis(f.State.CleanedAt), f.State.SettledUntil, millis(f.State.SettledAt)); err != nil {
				return err
			}
		}
		if len(further) == 0 {
			return nil
		}
		commit, err := q.add(metadata.Commit{Compacted: further}, nil, nil)
		commits = append(commits, commit)
		return err
	})
	if err != nil {
		return nil, err
	}
	return commits, nil
}

// compactionStates reads the states of those of the partitions that exist.
func (t *tx) compactionStates(of []metadata.CompactedUntil) (map[metadata.PartitionID]sequence.CompactionState, error) {
	ids := make([]metadata.PartitionID, len(of))
	for i, f := range of {
		ids[i] = f.Partition
	}
	exist := map[metadata.PartitionID]sequence.Partition{}
	if err := t.readPartitions(exist, ids); err != nil {
		return nil, err
	}
	states := map[metadata.PartitionID]sequence.CompactionState{}
	for id := range exist {
		state, err := t.compactionState(id)
		if err != nil {
			return nil, err
		}
		states[id] = state
	}
	return states, nil
}
