package sqlite

import (
	"context"
	"fmt"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sequence"
)

// ReplaceRuns implements metadata.Maintenance. If we die before the write-ahead log
// is synced, the old runs stand and the object is an orphan; after that, the new ones stand, and a
// repeated call finds them.
func (s *Store) ReplaceRuns(ctx context.Context, replacement metadata.Replacement) (taken []bool, err error) {
	if err := sequence.ValidateReplacement(replacement); err != nil {
		return nil, err
	}
	err = s.change(ctx, "replace runs", func(t *tx) error {
		state, err := t.replacementState(replacement)
		if err != nil {
			return err
		}
		known, err := t.knowsFile(replacement.FileID)
		if err != nil {
			return err
		}
		if known {
			taken = stillThere(replacement, state.Standing)
			return nil
		}
		decision, err := sequence.DecideReplacement(state, replacement)
		if err != nil {
			return err
		}
		taken = decision.Taken
		return t.replace(replacement, decision)
	})
	if err != nil {
		return nil, err
	}
	return taken, nil
}

func (t *tx) replacementState(replacement metadata.Replacement) (sequence.ReplacementState, error) {
	state := sequence.ReplacementState{
		Now:       t.now,
		LogStarts: map[metadata.PartitionID]int64{},
		Standing:  make([][]metadata.Run, len(replacement.Runs)),
	}
	var ids []metadata.PartitionID
	for i, r := range replacement.Runs {
		if i == 0 || replacement.Runs[i-1].Partition != r.Partition {
			ids = append(ids, r.Partition)
		}
		var err error
		if state.Standing[i], err = t.overlapping(r.Run); err != nil {
			return state, err
		}
	}
	partitions := map[metadata.PartitionID]sequence.Partition{}
	if err := t.readPartitions(partitions, ids); err != nil {
		return state, err
	}
	for id, p := range partitions {
		state.LogStarts[id] = p.LogStartOffset
	}
	return state, nil
}

// overlapping are the runs that overlap the offsets of the run.
func (t *tx) overlapping(r metadata.Run) (runs []metadata.Run, err error) {
	query := t.stmt(t.prepared.overlapping)
	rows, err := query.QueryContext(t.ctx, r.Partition, r.BaseOffset, r.NextOffset())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		standing, err := scanRun(rows, r.Partition)
		if err != nil {
			return nil, err
		}
		runs = append(runs, standing)
	}
	return runs, rows.Err()
}

// stillThere tells which runs of a file that came by an earlier call stand.
func stillThere(replacement metadata.Replacement, standing [][]metadata.Run) []bool {
	there := make([]bool, len(replacement.Runs))
	for i, r := range replacement.Runs {
		there[i] = len(standing[i]) == 1 && standing[i][0] == r.Run
	}
	return there
}

func (t *tx) replace(replacement metadata.Replacement, d sequence.ReplacementDecision) error {
	remove := t.stmt(t.prepared.removeRange)
	removed := 0
	for _, r := range d.Runs {
		result, err := remove.ExecContext(t.ctx, r.Partition, r.BaseOffset, r.NextOffset())
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		if err != nil {
			return err
		}
		removed += int(n)
	}
	if removed != len(d.Removed) {
		return fmt.Errorf("%d rows stand where %d were decided on", removed, len(d.Removed))
	}
	if err := t.insertRuns(d.Runs); err != nil {
		return err
	}
	if err := t.countDown(d.Removed); err != nil {
		return err
	}
	return t.insertFile(replacement.FileID, replacement.Size, d.LiveBytes, replacement.Level, replacement.Seq, d.Runs)
}
