package sqlite

import (
	"context"
	"encoding/json"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sequence"
)

// trimRounds is how many slices of runs DeleteRecords removes at most: half a
// second of work, which its client waits for.
const trimRounds = 10

// DeleteRecords implements metadata.Records. One transaction moves the log
// starts: from then on nothing can find records before them. Their runs follow in
// slices, between which commits get their turn. Should we die or fail there,
// TrimRuns finds them.
func (s *Store) DeleteRecords(ctx context.Context, deletions []metadata.RecordsDeletion) (metadata.RecordsDeleted, error) {
	ids := make([]metadata.PartitionID, len(deletions))
	for i, d := range deletions {
		ids[i] = d.Partition
	}
	var out metadata.RecordsDeleted
	var moved []metadata.PartitionID
	err := s.sequenced(ctx, "delete records", func(q *sequencer) error {
		partitions := map[metadata.PartitionID]sequence.Partition{}
		if err := q.readPartitions(partitions, ids); err != nil {
			return err
		}
		var starts []metadata.LogStart
		out.Partitions, starts = sequence.DecideDeletions(partitions, deletions)
		if len(starts) == 0 {
			return nil
		}
		for _, l := range starts {
			if err := q.exec(`UPDATE partitions SET log_start_offset = ? WHERE id = ?`, l.Offset, l.Partition); err != nil {
				return err
			}
			moved = append(moved, l.Partition)
		}
		commit, err := q.add(metadata.Commit{LogStarts: starts}, nil, nil)
		out.Commits = append(out.Commits, commit)
		return err
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
func (s *Store) trimSoon(ctx context.Context, moved []metadata.PartitionID) {
	which, err := json.Marshal(moved)
	for range trimRounds {
		if err != nil {
			return
		}
		var n int
		if n, err = s.trimRuns(ctx, trimmableOf, string(which), reclaimSlice); n < reclaimSlice {
			return
		}
	}
}

// TrimRuns implements metadata.Records.
func (s *Store) TrimRuns(ctx context.Context, limit int) (int, error) {
	return s.trimRuns(ctx, trimmable, limit)
}

// trimmable and trimmableOf find runs that end before the log start, of all
// partitions and of some: CROSS JOIN makes SQLite walk the partitions and probe the
// key for each.
const (
	trimmable   = `SELECT r.partition_id, r.base_offset FROM partitions p` + trimmableRuns
	trimmableOf = `SELECT r.partition_id, r.base_offset FROM json_each(?) v CROSS JOIN partitions p ON p.id = v.value` + trimmableRuns

	trimmableRuns = ` CROSS JOIN runs r ON r.partition_id = p.id AND r.base_offset < p.log_start_offset
		WHERE p.log_start_offset > 0 AND r.base_offset + r.records <= p.log_start_offset LIMIT ?`
)

func (s *Store) trimRuns(ctx context.Context, find string, args ...any) (removed int, err error) {
	err = s.change(ctx, "trim runs", func(t *tx) error {
		removed, err = t.removeRuns(find, args...)
		return err
	})
	if err != nil {
		return 0, err
	}
	return removed, nil
}

// PartitionSizes implements metadata.Records: see package postgres.
func (s *Store) PartitionSizes(ctx context.Context, partitions []metadata.PartitionID) ([]int64, error) {
	out := make([]int64, len(partitions))
	err := s.read(ctx, "read sizes of partitions", func(t *tx) error {
		for i, id := range partitions {
			out[i] = -1
			if _, err := scanOptional(t.QueryRowContext(t.ctx, `SELECT COALESCE((
					SELECT sum(size) FROM runs WHERE partition_id = p.id AND base_offset + records > p.log_start_offset
				), 0) FROM partitions p WHERE id = ?`, id), &out[i]); err != nil {
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
