package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sequence"
)

// ReplaceRuns implements metadata.Maintenance, in two round trips: lock the rows in the
// ranges of the new runs and read what stands there, then write what was decided and
// COMMIT. If we die between them, nothing happened.
//
// It needs no sequencer's lock: commits only add runs behind all others. Others may be
// at the same rows. Who replaces or removes runs locks them first, and then their files,
// both in the order of their keys. What is trimmed or reclaimed passes over rows that we hold; and
// a deleted partition stays noted as long as a statement finds a row of it, ours or those before.
// Should the log start rise after we read it, then what we put there is trimmed later.
func (s *Store) ReplaceRuns(ctx context.Context, r metadata.Replacement) ([]bool, error) {
	if err := sequence.ValidateReplacement(r); err != nil {
		return nil, err
	}
	var taken []bool
	var state replacementReader
	err := s.lockAndWrite(ctx, "replace runs", func(b *pgx.Batch) { state.queue(b, r) }, func(b *pgx.Batch) error {
		if state.known {
			taken = state.standingOf(r)
			return nil
		}
		decision, err := sequence.DecideReplacement(state.ReplacementState, r)
		if err != nil {
			return err
		}
		taken = decision.Taken
		queueReplacement(b, &state, r, decision)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return taken, nil
}

// replacementReader reads what must be known to replace runs.
type replacementReader struct {
	sequence.ReplacementState
	// known: the file was committed before, by this call or another.
	known bool
}

// queue locks in one statement and reads in others, which see what those whom we waited
// for have put there.
func (s *replacementReader) queue(b *pgx.Batch, r metadata.Replacement) {
	s.ReplacementState = sequence.ReplacementState{LogStarts: map[metadata.PartitionID]int64{}, Standing: make([][]metadata.Run, len(r.Runs))}
	partitions, firsts, ends := make([]int32, len(r.Runs)), make([]int64, len(r.Runs)), make([]int64, len(r.Runs))
	for i, run := range r.Runs {
		partitions[i], firsts[i], ends[i] = int32(run.Partition), run.BaseOffset, run.NextOffset()
	}
	b.Queue(lockStanding, partitions, firsts, ends)
	b.Queue(`SELECT clock_timestamp(), EXISTS (SELECT FROM files WHERE id = $1) OR EXISTS (SELECT FROM dead_files WHERE id = $1)`, r.FileID).
		QueryRow(func(row pgx.Row) error { return row.Scan(&s.Now, &s.known) })
	b.Queue(`SELECT id, log_start_offset FROM partitions WHERE id = ANY($1::int4[])`, partitions).Query(func(rows pgx.Rows) error {
		var id int32
		var start int64
		_, err := pgx.ForEachRow(rows, []any{&id, &start}, func() error { s.LogStarts[metadata.PartitionID(id)] = start; return nil })
		return err
	})
	b.Queue(readStanding, partitions, firsts, ends).Query(func(rows pgx.Rows) error {
		var i int64
		var run nullRun
		_, err := pgx.ForEachRow(rows, append([]any{&i}, run.targets()...), func() error {
			s.Standing[i-1] = append(s.Standing[i-1], run.run(r.Runs[i-1].Partition))
			return nil
		})
		return err
	})
}

// standingOf tells which runs of the file, which is known, stand.
func (s *replacementReader) standingOf(r metadata.Replacement) []bool {
	standing := make([]bool, len(r.Runs))
	for i, rows := range s.Standing {
		for _, row := range rows {
			standing[i] = standing[i] || row.FileID == r.FileID && row.BaseOffset == r.Runs[i].BaseOffset
		}
	}
	return standing
}

// lockStanding locks the rows that overlap each range, in the order of their keys if
// the ranges are, and readStanding reads them. A row that reaches into a range from before it is the
// first one; those behind it are walked by the key.
const (
	lockStanding = `SELECT count(*) FROM ` + standingRows + ` FOR UPDATE) r`
	readStanding = `SELECT q.i, r.* FROM ` + standingRows + `) r ORDER BY q.i, r.base_offset`

	standingRows = `unnest($1::int4[], $2::int8[], $3::int8[]) WITH ORDINALITY AS q (partition_id, first_offset, end_offset, i)
		CROSS JOIN LATERAL (
			SELECT ` + runColumns + ` FROM runs
			WHERE partition_id = q.partition_id AND base_offset < q.end_offset AND base_offset + records > q.first_offset
			AND base_offset >= COALESCE((
				SELECT base_offset FROM runs
				WHERE partition_id = q.partition_id AND base_offset <= q.first_offset
				ORDER BY base_offset DESC LIMIT 1), q.first_offset)
			ORDER BY base_offset`
)

// queueReplacement writes the decision. Aborted transactions stay, whose markers are now in
// the new runs.
func queueReplacement(b *pgx.Batch, state *replacementReader, r metadata.Replacement, d sequence.ReplacementDecision) {
	if len(d.Runs) > 0 {
		partitions, offsets := make([]int32, len(d.Removed)), make([]int64, len(d.Removed))
		for i, run := range d.Removed {
			partitions[i], offsets[i] = int32(run.Partition), run.BaseOffset
		}
		b.Queue(deleteRuns+countDown, partitions, offsets)
		b.Queue(`INSERT INTO runs (`+runArrayNames+`, merged) SELECT `+runArrayColumns+`, true`, runArrays(d.Runs)...)
	}
	var added newFiles
	added.add(fileRow{id: r.FileID, size: r.Size, seq: r.Seq, level: r.Level, liveBytes: d.LiveBytes, runs: d.Runs})
	added.queue(b, state.Now)
}
