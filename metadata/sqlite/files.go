package sqlite

import (
	"encoding/json"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sequence"
)

// insertFile enters a data file with its runs, which are in the index already. One
// without runs is dead at once.
func (t *tx) insertFile(f fileRow, runs []metadata.Run) error {
	if f.runs == 0 {
		return t.exec(`INSERT INTO dead_files (id, size, died_at) VALUES (?, ?, ?)`, f.id[:], f.size, millis(t.now))
	}
	keys, err := encodeKeys(runs)
	if err != nil {
		return err
	}
	if _, err := t.stmt(t.prepared.insertFile).ExecContext(t.ctx, f.id[:], f.size, f.level, f.seq, f.runs, f.live, millis(t.now)); err != nil {
		return err
	}
	_, err = t.stmt(t.prepared.insertFileKeys).ExecContext(t.ctx, f.id[:], keys)
	return err
}

// fileRow is a live file's row. runs is how many of its runs are in the index, and live
// the file's size without what lies in it for others.
type fileRow struct {
	id         uuid.UUID
	size, live int64
	level      int16
	seq        int64
	runs       int
}

// encodeKeys encodes the keys of runs as file_keys has them.
func encodeKeys(runs []metadata.Run) (string, error) {
	keys := make([][2]int64, len(runs))
	for i, r := range runs {
		keys[i] = [2]int64{int64(r.Partition), r.BaseOffset}
	}
	encoded, err := json.Marshal(keys)
	return string(encoded), err
}

func (t *tx) insertRuns(runs []metadata.Run) error {
	insert := t.stmt(t.prepared.insertRun)
	for _, r := range runs {
		if _, err := insert.ExecContext(t.ctx, r.Partition, r.BaseOffset, r.Records, r.FileID[:], r.Encoding,
			r.Position, r.StoredSize, r.Skip, r.Size, r.MaxTimestamp, r.Merged); err != nil {
			return err
		}
	}
	return nil
}

// countDown takes runs that left the index from their files. Those that lost the last one are dead.
func (t *tx) countDown(removed []metadata.Run) error {
	countDown := t.stmt(t.prepared.countDown)
	for _, f := range sequence.CountFiles(removed) {
		var left int
		found, err := scanOptional(countDown.QueryRowContext(t.ctx, f.Runs, f.Bytes, f.ID[:]), &left)
		if err != nil {
			return err
		}
		if !found || left > 0 {
			continue
		}
		if err := t.bury(f.ID); err != nil {
			return err
		}
	}
	return nil
}

// bury makes a live file dead.
func (t *tx) bury(id uuid.UUID) error {
	if _, err := t.stmt(t.prepared.insertDead).ExecContext(t.ctx, millis(t.now), id[:]); err != nil {
		return err
	}
	if _, err := t.stmt(t.prepared.deleteFile).ExecContext(t.ctx, id[:]); err != nil {
		return err
	}
	_, err := t.stmt(t.prepared.deleteFileKeys).ExecContext(t.ctx, id[:])
	return err
}

// removeRuns removes the runs that the query selects by their keys, and counts
// them down in their files. Their partitions' aborted transactions that end before them, or
// in them, go, too: whoever reads has nothing left of what they cover.
func (t *tx) removeRuns(which string, args ...any) (removed int, err error) {
	runs, err := t.deleteRuns(which, args...)
	if err != nil {
		return 0, err
	}
	if err := t.countDown(runs); err != nil {
		return 0, err
	}
	ends := map[metadata.PartitionID]int64{}
	for _, r := range runs {
		ends[r.Partition] = max(ends[r.Partition], r.NextOffset())
	}
	forget := t.stmt(t.prepared.forgetAborted)
	for partition, end := range ends {
		if _, err := forget.ExecContext(t.ctx, partition, end); err != nil {
			return 0, err
		}
	}
	return len(runs), nil
}

// deleteRuns returns as much of the runs as counting them down takes.
func (t *tx) deleteRuns(which string, args ...any) (runs []metadata.Run, err error) {
	rows, err := t.QueryContext(t.ctx, `DELETE FROM runs WHERE (partition_id, base_offset) IN (`+which+`)
		RETURNING partition_id, base_offset, records, file_id, encoding, stored_size`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var r metadata.Run
		if err := rows.Scan(&r.Partition, &r.BaseOffset, &r.Records, &r.FileID, &r.Encoding, &r.StoredSize); err != nil {
			return nil, err
		}
		runs = append(runs, r)
	}
	return runs, rows.Err()
}
