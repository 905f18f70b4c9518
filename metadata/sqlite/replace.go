package sqlite

import (
	"context"
	"fmt"
	"slices"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sequence"
)

// replaceAtOnce is about how many rows one transaction replaces: commits wait for it, since there is one writer.
const replaceAtOnce = 32

// ReplaceRuns implements metadata.Maintenance, in several transactions, between which others commit. If we die
// before the write-ahead log is synced, the old runs stand and the object is an orphan; after that, those new
// runs stand that came so far, and a repeated call finds them.
func (s *Store) ReplaceRuns(ctx context.Context, replacement metadata.Replacement) (taken []bool, err error) {
	if err := sequence.ValidateReplacement(replacement); err != nil {
		return nil, err
	}
	r := replacing{Replacement: replacement, taken: make([]bool, len(replacement.Runs))}
	for r.to < len(r.Runs) && !r.over {
		r.advance()
		if err := s.change(ctx, "replace runs", r.do); err != nil {
			return nil, err
		}
	}
	return r.taken, nil
}

// replacing is a replacement under way.
type replacing struct {
	metadata.Replacement
	taken []bool
	// from and to are the runs of the transaction.
	from, to int
	// entered: the file is in the index, by an earlier transaction. over: it died meanwhile, or
	// was known before, so that the other runs are left.
	entered, over bool
}

// advance goes to the runs of the next transaction.
func (r *replacing) advance() {
	r.from = r.to
	for rows := 0; r.to < len(r.Runs) && (rows == 0 || rows+len(r.Runs[r.to].Replaces) <= replaceAtOnce); r.to++ {
		rows += len(r.Runs[r.to].Replaces)
	}
}

func (r *replacing) do(t *tx) error {
	var known bool
	var err error
	if r.entered {
		r.over, err = t.died(r.FileID)
	} else {
		known, err = t.knowsFile(r.FileID)
	}
	switch {
	case err != nil || r.over:
		return err
	case known:
		state, err := t.replacementState(r.Replacement)
		r.taken, r.over = stillThere(r.Replacement, state.Standing), true
		return err
	}
	part := r.Replacement
	part.Runs = r.Runs[r.from:r.to]
	state, err := t.replacementState(part)
	if err != nil {
		return err
	}
	decision, err := sequence.DecideReplacement(state, part)
	if err != nil {
		return err
	}
	if err := t.replace(decision); err != nil {
		return err
	}
	copy(r.taken[r.from:], decision.Taken)
	return r.enter(t, decision.Runs)
}

// enter enters the file with the first runs that it has in the index, or adds further ones.
func (r *replacing) enter(t *tx, runs []metadata.Run) error {
	var stored int64
	for _, run := range runs {
		stored += int64(run.StoredSize)
	}
	switch {
	case r.entered:
		return t.exec(`UPDATE files SET live_runs = live_runs + ?, live_bytes = live_bytes + ? WHERE id = ?`, len(runs), stored, r.FileID[:])
	case len(runs) == 0 && r.to < len(r.Runs):
		return nil
	}
	live := r.Size + stored
	for _, run := range r.Runs {
		live -= int64(run.StoredSize)
	}
	keys := slices.Clone(runs)
	for _, run := range r.Runs[r.to:] {
		keys = append(keys, run.Run) // if it will be taken: keys without a run do no harm
	}
	r.entered = true
	return t.insertFile(fileRow{id: r.FileID, size: r.Size, live: live, level: r.Level, seq: r.Seq, runs: len(runs)}, keys)
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

func (t *tx) replace(d sequence.ReplacementDecision) error {
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
	return t.countDown(d.Removed)
}
