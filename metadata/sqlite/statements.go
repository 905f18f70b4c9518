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
	insertFileKeys, deleteFileKeys *sql.Stmt
	countDown                      *sql.Stmt
	insertDead, deleteFile         *sql.Stmt
	forgetAborted                  *sql.Stmt
	overlapping, removeRange       *sql.Stmt
	transactionsOf, inTransaction  *sql.Stmt
	putTransaction                 *sql.Stmt
	putTransactionPartition        *sql.Stmt
	lockSequencer, updateSequencer *sql.Stmt
	insertCommit                   *sql.Stmt
	putBeats                       *sql.Stmt
	putOffset, deleteOffset        *sql.Stmt
	// On the reader.
	bounds, findRuns, probeRun  *sql.Stmt
	runsFromOffset, runsFromEnd *sql.Stmt
	rowsBefore                  *sql.Stmt
	aborted                     *sql.Stmt
	found, lastSeq, commits     *sql.Stmt
	groupVersion                *sql.Stmt
	groupOffsets, groupOffset   *sql.Stmt
	allTransactions             *sql.Stmt
}

// offsetsOfGroup selects what tx.offsets scans of those of a group's rows that the
// condition names: what is committed, and the partitions of which only open
// transactions hold an offset.
func offsetsOfGroup(condition string) string {
	return `SELECT partition_id, committed_offset, leader_epoch, committed_at, expire_at, metadata,
			EXISTS (SELECT 1 FROM transaction_offsets t WHERE t.group_key = o.group_key AND t.partition_id = o.partition_id)
		FROM group_offsets o WHERE group_key = ?1 ` + condition + `
		UNION ALL SELECT DISTINCT partition_id, -1, -1, NULL, NULL, x'', true FROM transaction_offsets t WHERE group_key = ?1 ` + condition + `
			AND NOT EXISTS (SELECT 1 FROM group_offsets o WHERE o.group_key = t.group_key AND o.partition_id = t.partition_id)
		ORDER BY partition_id`
}

// runColumns are the columns of a run, in the order of runFields.
const runColumns = `base_offset, records, file_id, encoding, position, stored_size, skip, size, max_timestamp, merged`

// partitionColumns are the columns of a sequence.Partition, in the order in which they are scanned.
const partitionColumns = `log_start_offset, next_offset, max_timestamp, COALESCE(first_unstable, -1)`

func (s *statements) prepare(ctx context.Context, writer, reader *sql.DB) error {
	for _, p := range []struct {
		to    **sql.Stmt
		db    *sql.DB
		query string
	}{
		{&s.partitions, writer, `SELECT ` + partitionColumns + `, id FROM partitions WHERE id IN (SELECT value FROM json_each(?))`},
		{&s.updatePartition, writer, `UPDATE partitions SET next_offset = ?, max_timestamp = ?, first_unstable = NULLIF(?, -1) WHERE id = ?`},
		{&s.producers, writer, `SELECT p.partition_id, p.producer_id, p.epoch, p.last_batches FROM json_each(?) k
			JOIN producers p ON p.partition_id = k.value ->> 0 AND p.producer_id = k.value ->> 1`},
		{&s.putProducer, writer, `INSERT INTO producers (partition_id, producer_id, epoch, last_batches, seen_at) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (partition_id, producer_id) DO UPDATE SET epoch = excluded.epoch, last_batches = excluded.last_batches, seen_at = excluded.seen_at`},
		{&s.replay, writer, `SELECT replay FROM commits WHERE file_id = ?`},
		{&s.insertRun, writer, `INSERT INTO runs (partition_id, ` + runColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`},
		{&s.insertFile, writer, `INSERT INTO files (id, size, level, seq, live_runs, live_bytes, committed_at) VALUES (?, ?, ?, ?, ?, ?, ?)`},
		{&s.insertFileKeys, writer, `INSERT INTO file_keys (file_id, keys) VALUES (?, ?)`},
		{&s.countDown, writer, `UPDATE files SET live_runs = live_runs - ?, live_bytes = live_bytes - ? WHERE id = ? RETURNING live_runs`},
		{&s.insertDead, writer, `INSERT INTO dead_files (id, size, died_at) SELECT id, size, ? FROM files WHERE id = ?`},
		{&s.deleteFile, writer, `DELETE FROM files WHERE id = ?`},
		{&s.deleteFileKeys, writer, `DELETE FROM file_keys WHERE file_id = ?`},
		{&s.forgetAborted, writer, `DELETE FROM aborted_transactions WHERE partition_id = ? AND last_offset < ?`},
		{&s.overlapping, writer, `SELECT ` + runColumns + ` FROM runs WHERE partition_id = ?1 AND base_offset < ?3 AND base_offset + records > ?2 AND base_offset >= COALESCE((
				SELECT max(base_offset) FROM runs WHERE partition_id = ?1 AND base_offset <= ?2), ?2)
			ORDER BY base_offset`},
		{&s.removeRange, writer, `DELETE FROM runs WHERE partition_id = ? AND base_offset >= ? AND base_offset < ?`},
		{&s.lockSequencer, writer, `SELECT ` + foundColumns + `, next_partition_id FROM sequencer`},
		{&s.updateSequencer, writer, `UPDATE sequencer SET last_seq = ?, next_partition_id = ?`},
		{&s.insertCommit, writer, `INSERT INTO commits (seq, mark, at, file_id, payload, replay) VALUES (?, ?, ?, ?, ?, ?)`},
		{&s.transactionsOf, writer, `SELECT ` + transactionColumns + ` FROM transactions WHERE producer_id IN (SELECT value FROM json_each(?))`},
		{&s.inTransaction, writer, `SELECT t.partition_id, t.producer_id, COALESCE(t.first_offset, -1) FROM json_each(?) k
			JOIN transaction_partitions t ON t.partition_id = k.value ->> 0 AND t.producer_id = k.value ->> 1`},
		{&s.putTransaction, writer, `INSERT INTO transactions (` + transactionColumns + `, transaction_key) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (transaction_key) DO UPDATE SET producer_id = excluded.producer_id, epoch = excluded.epoch, last_producer_id = excluded.last_producer_id,
				last_epoch = excluded.last_epoch, state = excluded.state, version = excluded.version, timeout = excluded.timeout,
				started_at = excluded.started_at, updated_at = excluded.updated_at`},
		{&s.putTransactionPartition, writer, `INSERT INTO transaction_partitions (partition_id, producer_id, first_offset) VALUES (?, ?, NULLIF(?, -1))
			ON CONFLICT (partition_id, producer_id) DO UPDATE SET first_offset = excluded.first_offset`},
		{&s.putBeats, writer, `INSERT INTO group_beats (group_key, agent, at, beats) SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM groups WHERE group_key = ?1)
			ON CONFLICT (group_key, agent) DO UPDATE SET at = excluded.at, beats = excluded.beats`},
		{&s.putOffset, writer, `INSERT INTO group_offsets (group_key, partition_id, committed_offset, leader_epoch, committed_at, expire_at, metadata) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (group_key, partition_id) DO UPDATE SET committed_offset = excluded.committed_offset, leader_epoch = excluded.leader_epoch,
				committed_at = excluded.committed_at, expire_at = excluded.expire_at, metadata = excluded.metadata`},
		{&s.deleteOffset, writer, `DELETE FROM group_offsets WHERE group_key = ? AND partition_id = ? AND committed_at = COALESCE(?, committed_at)`},
		{&s.bounds, reader, `SELECT ` + partitionColumns + `, COALESCE(last_aborted, -1) FROM partitions WHERE id = ?`},
		{&s.findRuns, reader, `SELECT ` + runColumns + ` FROM runs WHERE partition_id = ?1 AND base_offset >= (
				SELECT base_offset FROM runs WHERE partition_id = ?1 AND base_offset <= ?2 ORDER BY base_offset DESC LIMIT 1)
			ORDER BY base_offset LIMIT ?3`},
		{&s.probeRun, reader, `SELECT ` + runColumns + ` FROM runs WHERE partition_id = ? AND base_offset <= ? ORDER BY base_offset DESC LIMIT 1`},
		{&s.runsFromOffset, reader, `SELECT ` + runColumns + ` FROM runs WHERE partition_id = ?1 AND base_offset + records > ?2 AND base_offset >= COALESCE((
				SELECT max(base_offset) FROM runs WHERE partition_id = ?1 AND base_offset <= ?2), 0)
			ORDER BY base_offset`},
		{&s.runsFromEnd, reader, `SELECT ` + runColumns + ` FROM runs WHERE partition_id = ?1 AND base_offset + records > ?2 ORDER BY base_offset DESC`},
		{&s.rowsBefore, reader, `SELECT ` + runColumns + ` FROM runs WHERE partition_id = ?1 AND base_offset < ?2
				AND base_offset >= (SELECT log_start_offset FROM partitions WHERE id = ?1)
			ORDER BY base_offset DESC`},
		{&s.aborted, reader, `SELECT producer_id, first_offset, last_offset, stable_offset FROM aborted_transactions
			WHERE partition_id = ? AND last_offset >= ? ORDER BY last_offset`},
		{&s.lastSeq, reader, `SELECT last_seq FROM sequencer`},
		{&s.found, reader, `SELECT ` + foundColumns + ` FROM sequencer`},
		// What lies before the epoch is no part of the feed any more.
		{&s.commits, reader, `SELECT seq, mark, payload FROM commits WHERE seq > ? AND seq >= (SELECT epoch_seq FROM sequencer) ORDER BY seq LIMIT ?`},
		{&s.groupVersion, reader, `SELECT version FROM groups WHERE group_key = ?`},
		{&s.allTransactions, reader, `SELECT ` + transactionColumns + ` FROM transactions`},
		{&s.groupOffsets, reader, offsetsOfGroup(``)},
		{&s.groupOffset, reader, offsetsOfGroup(`AND partition_id = ?2`)},
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
		s.insertFileKeys, s.deleteFileKeys, s.countDown, s.insertDead, s.deleteFile, s.forgetAborted, s.overlapping, s.removeRange, s.rowsBefore, s.runsFromOffset, s.runsFromEnd,
		s.transactionsOf, s.inTransaction, s.putTransaction, s.putTransactionPartition,
		s.lockSequencer, s.updateSequencer, s.insertCommit, s.putBeats, s.putOffset, s.deleteOffset,
		s.bounds, s.findRuns, s.probeRun, s.aborted, s.found, s.lastSeq, s.commits, s.groupVersion, s.groupOffsets, s.groupOffset, s.allTransactions,
	} {
		if stmt != nil {
			errs = append(errs, stmt.Close())
		}
	}
	return errors.Join(errs...)
}
