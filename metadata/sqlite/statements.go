package sqlite

import (
	"context"
	"database/sql"
	"errors"
)

// statements are those of the busy paths, prepared once. The writer has one
// connection, so preparing inside a transaction would wait for itself.
type statements struct {
	// On the writer.
	partitions, updatePartition    *sql.Stmt
	producers, putProducer         *sql.Stmt
	replay                         *sql.Stmt
	insertRun, insertFile          *sql.Stmt
	lockSequencer, updateSequencer *sql.Stmt
	insertCommit                   *sql.Stmt
	// On the reader.
	bounds, findRuns, probeRun *sql.Stmt
	lastSeq, commits           *sql.Stmt
}

// runColumns are the columns of a run, in the order of scanRun.
const runColumns = `base_offset, records, file_id, encoding, position, stored_size, skip, size, max_timestamp`

func (s *statements) prepare(ctx context.Context, writer, reader *sql.DB) error {
	const bounds = `SELECT log_start_offset, next_offset, max_timestamp FROM partitions WHERE id = ?`
	for _, p := range []struct {
		to    **sql.Stmt
		db    *sql.DB
		query string
	}{
		{&s.partitions, writer, `SELECT id, log_start_offset, next_offset, max_timestamp FROM partitions WHERE id IN (SELECT value FROM json_each(?))`},
		{&s.updatePartition, writer, `UPDATE partitions SET next_offset = ?, max_timestamp = ? WHERE id = ?`},
		{&s.producers, writer, `SELECT p.partition_id, p.producer_id, p.epoch, p.last_batches FROM json_each(?) k
			JOIN producers p ON p.partition_id = k.value ->> 0 AND p.producer_id = k.value ->> 1`},
		{&s.putProducer, writer, `INSERT INTO producers (partition_id, producer_id, epoch, last_batches, seen_at) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (partition_id, producer_id) DO UPDATE SET epoch = excluded.epoch, last_batches = excluded.last_batches, seen_at = excluded.seen_at`},
		{&s.replay, writer, `SELECT replay FROM commits WHERE file_id = ?`},
		{&s.insertRun, writer, `INSERT INTO runs (partition_id, ` + runColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`},
		{&s.insertFile, writer, `INSERT INTO files (id, size, live_runs, committed_at) VALUES (?, ?, ?, ?)`},
		{&s.lockSequencer, writer, `SELECT last_seq, next_partition_id FROM sequencer`},
		{&s.updateSequencer, writer, `UPDATE sequencer SET last_seq = ?, next_partition_id = ?`},
		{&s.insertCommit, writer, `INSERT INTO commits (seq, at, file_id, payload, replay) VALUES (?, ?, ?, ?, ?)`},
		{&s.bounds, reader, bounds},
		{&s.findRuns, reader, `SELECT ` + runColumns + ` FROM runs WHERE partition_id = ?1 AND base_offset >= (
				SELECT base_offset FROM runs WHERE partition_id = ?1 AND base_offset <= ?2 ORDER BY base_offset DESC LIMIT 1)
			ORDER BY base_offset LIMIT ?3`},
		{&s.probeRun, reader, `SELECT ` + runColumns + ` FROM runs WHERE partition_id = ? AND base_offset <= ? ORDER BY base_offset DESC LIMIT 1`},
		{&s.lastSeq, reader, `SELECT last_seq FROM sequencer`},
		{&s.commits, reader, `SELECT seq, payload FROM commits WHERE seq > ? ORDER BY seq LIMIT ?`},
	} {
		var err error
		if *p.to, err = p.db.PrepareContext(ctx, p.query); err != nil {
			return err
		}
	}
	return nil
}

func (s *statements) close() error {
	var errs []error
	for _, stmt := range []*sql.Stmt{
		s.partitions, s.updatePartition, s.producers, s.putProducer, s.replay, s.insertRun, s.insertFile,
		s.lockSequencer, s.updateSequencer, s.insertCommit, s.bounds, s.findRuns, s.probeRun, s.lastSeq, s.commits,
	} {
		if stmt != nil {
			errs = append(errs, stmt.Close())
		}
	}
	return errors.Join(errs...)
}
