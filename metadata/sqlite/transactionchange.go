package sqlite

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sequence"
)

// readTransactions reads what must be known to change transactions.
func (q *sequencer) readTransactions(ref sequence.TransactionRef) (sequence.TransactionsState, error) {
	state := sequence.TransactionsState{
		Now:          q.now,
		Transactions: map[string]metadata.Transaction{},
		Partitions:   map[metadata.PartitionID]sequence.Partition{},
		Open:         map[metadata.PartitionID][]sequence.OpenTransaction{},
		Groups:       map[string]int64{},
	}
	var partitions []metadata.PartitionID
	for _, id := range ref.IDs {
		t, ok, err := q.transaction(id)
		if err != nil {
			return state, err
		}
		if ok {
			state.Transactions[id] = t
			partitions = append(partitions, t.Partitions...)
		}
	}
	for _, id := range ref.Groups {
		key := metadata.GroupKey(id)
		var version int64
		if _, err := scanOptional(q.QueryRowContext(q.ctx, `SELECT version FROM groups WHERE group_key = ?`, key[:]), &version); err != nil {
			return state, err
		}
		state.Groups[id] = version
	}
	if len(partitions) == 0 {
		return state, nil
	}
	slices.Sort(partitions)
	partitions = slices.Compact(partitions)
	if err := q.readPartitions(state.Partitions, partitions); err != nil {
		return state, err
	}
	return state, q.readOpen(state.Open, partitions)
}

func (q *sequencer) readOpen(open map[metadata.PartitionID][]sequence.OpenTransaction, ids []metadata.PartitionID) error {
	keys, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	rows, err := q.QueryContext(q.ctx, `SELECT partition_id, producer_id, first_offset FROM transaction_partitions
		WHERE partition_id IN (SELECT value FROM json_each(?)) AND first_offset IS NOT NULL`, string(keys))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id metadata.PartitionID
		var o sequence.OpenTransaction
		if err := rows.Scan(&id, &o.ProducerID, &o.FirstOffset); err != nil {
			return err
		}
		open[id] = append(open[id], o)
	}
	return rows.Err()
}

// writeTransactions writes all but the markers and what follows from them.
func (q *sequencer) writeTransactions(d sequence.TransactionsDecision) error {
	for _, e := range d.Ended {
		if err := q.endTransaction(e); err != nil {
			return err
		}
	}
	for _, t := range d.Transactions {
		if err := q.putTransaction(t.Transaction); err != nil {
			return err
		}
	}
	for _, p := range d.Partitions {
		if err := q.putTransactionPartition(p); err != nil {
			return err
		}
	}
	for _, g := range d.Groups {
		key := metadata.GroupKey(g.GroupID)
		if err := q.exec(`INSERT INTO transaction_groups (producer_id, group_key, name) VALUES (?, ?, ?)`, g.ProducerID, key[:], []byte(g.GroupID)); err != nil {
			return err
		}
	}
	for _, o := range d.Offsets {
		if err := q.putAside(o); err != nil {
			return err
		}
	}
	return nil
}

// endTransaction makes the offsets that a committed transaction had put aside those of
// their groups, and forgets what was in the transaction.
func (q *sequencer) endTransaction(e sequence.EndedTransaction) error {
	if e.Commit {
		// A commit that came after an offset had been put aside stays.
		if err := q.exec(`INSERT INTO group_offsets (group_key, partition_id, committed_offset, leader_epoch, committed_at, metadata)
			SELECT group_key, partition_id, committed_offset, leader_epoch, put_at, metadata FROM transaction_offsets WHERE producer_id = ?
			ON CONFLICT (group_key, partition_id) DO UPDATE SET committed_offset = excluded.committed_offset, leader_epoch = excluded.leader_epoch,
				committed_at = excluded.committed_at, expire_at = NULL, metadata = excluded.metadata
			WHERE group_offsets.committed_at <= excluded.committed_at`, e.ProducerID); err != nil {
			return err
		}
	}
	for _, table := range []string{"transaction_offsets", "transaction_groups", "transaction_partitions"} {
		if err := q.exec(`DELETE FROM `+table+` WHERE producer_id = ?`, e.ProducerID); err != nil {
			return err
		}
	}
	return nil
}

func (q *sequencer) putTransaction(t metadata.Transaction) error {
	key := metadata.TransactionKey(t.ID)
	_, err := q.stmt(q.prepared.putTransaction).ExecContext(q.ctx, []byte(t.ID), t.ProducerID, t.Epoch, t.LastProducerID, t.LastEpoch, t.State, t.Version,
		t.Timeout/time.Microsecond, nullMicros(t.StartedAt), micros(t.UpdatedAt), key[:])
	return err
}

func (q *sequencer) putTransactionPartition(p sequence.TransactionPartition) error {
	_, err := q.stmt(q.prepared.putTransactionPartition).ExecContext(q.ctx, p.Partition, p.ProducerID, p.FirstOffset)
	return err
}

// putAside keeps an offset until its transaction ends. It is not older than what is
// committed there, which it comes after: the clock may have been set back.
func (q *sequencer) putAside(o sequence.TransactionOffset) error {
	key := metadata.GroupKey(o.GroupID)
	return q.exec(`INSERT INTO transaction_offsets (group_key, partition_id, producer_id, committed_offset, leader_epoch, put_at, metadata)
		VALUES (?1, ?2, ?3, ?4, ?5, max(?6, COALESCE((SELECT committed_at FROM group_offsets WHERE group_key = ?1 AND partition_id = ?2), 0)), ?7)
		ON CONFLICT (group_key, partition_id, producer_id) DO UPDATE SET committed_offset = excluded.committed_offset, leader_epoch = excluded.leader_epoch,
			put_at = excluded.put_at, metadata = excluded.metadata`,
		key[:], o.Partition, o.ProducerID, o.Offset.Offset, o.LeaderEpoch, micros(o.CommittedAt), []byte(o.Metadata))
}

// writeMarkers writes the markers of the transactions that ended, and returns their feed entry.
func (q *sequencer) writeMarkers(d sequence.TransactionsDecision) (metadata.Commit, error) {
	if err := q.insertRuns(d.Commit.Runs); err != nil {
		return metadata.Commit{}, err
	}
	for _, a := range d.Commit.Aborted {
		if err := q.exec(`INSERT INTO aborted_transactions (partition_id, last_offset, first_offset, stable_offset, producer_id) VALUES (?, ?, ?, ?, ?)`,
			a.Partition, a.LastOffset, a.FirstOffset, a.StableOffset, a.ProducerID); err != nil {
			return metadata.Commit{}, err
		}
		if err := q.exec(`UPDATE partitions SET last_aborted = ? WHERE id = ?`, a.LastOffset, a.Partition); err != nil {
			return metadata.Commit{}, err
		}
	}
	if err := q.updatePartitions(d.Heads); err != nil {
		return metadata.Commit{}, err
	}
	return q.add(d.Commit, nil, nil)
}
