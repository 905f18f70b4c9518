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
	putBeats                       *sql.Stmt
	putOffset, deleteOffset        *sql.Stmt
	// On the reader.
	bounds, findRuns, probeRun *sql.Stmt
	lastSeq, commits           *sql.Stmt
	groupVersion               *sql.Stmt
	groupOffsets, groupOffset  *sql.Stmt
}

// offsetsOfGroup selects what tx.offsets scans.
const offsetsOfGroup = `SELECT partition_id, committed_offset, leader_epoch, committed_at, expire_at, metadata FROM group_offsets WHERE group_key = ?`

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
		{&s.putBeats, writer, `INSERT INTO group_beats (group_key, agent, at, beats) SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM groups WHERE group_key = ?1)
			ON CONFLICT (group_key, agent) DO UPDATE SET at = excluded.at, beats = excluded.beats`},
		{&s.putOffset, writer, `INSERT INTO group_offsets (group_key, partition_id, committed_offset, leader_epoch, committed_at, expire_at, metadata) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (group_key, partition_id) DO UPDATE SET committed_offset = excluded.committed_offset, leader_epoch = excluded.leader_epoch,
				committed_at = excluded.committed_at, expire_at = excluded.expire_at, metadata = excluded.metadata`},
		{&s.deleteOffset, writer, `DELETE FROM group_offsets WHERE group_key = ? AND partition_id = ? AND committed_at = COALESCE(?, committed_at)`},
		{&s.bounds, reader, bounds},
		{&s.findRuns, reader, `SELECT ` + runColumns + ` FROM runs WHERE partition_id = ?1 AND base_offset >= (
				SELECT base_offset FROM runs WHERE partition_id = ?1 AND base_offset <= ?2 ORDER BY base_offset DESC LIMIT 1)
			ORDER BY base_offset LIMIT ?3`},
		{&s.probeRun, reader, `SELECT ` + runColumns + ` FROM runs WHERE partition_id = ? AND base_offset <= ? ORDER BY base_offset DESC LIMIT 1`},
		{&s.lastSeq, reader, `SELECT last_seq FROM sequencer`},
		{&s.commits, reader, `SELECT seq, payload FROM commits WHERE seq > ? ORDER BY seq LIMIT ?`},
		{&s.groupVersion, reader, `SELECT version FROM groups WHERE group_key = ?`},
		{&s.groupOffsets, reader, offsetsOfGroup + ` ORDER BY partition_id`},
		{&s.groupOffset, reader, offsetsOfGroup + ` AND partition_id = ?`},
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
		s.lockSequencer, s.updateSequencer, s.insertCommit, s.putBeats, s.putOffset, s.deleteOffset,
		s.bounds, s.findRuns, s.probeRun, s.lastSeq, s.commits, s.groupVersion, s.groupOffsets, s.groupOffset,
	} {
		if stmt != nil {
			errs = append(errs, stmt.Close())
		}
	}
	return errors.Join(errs...)
}
