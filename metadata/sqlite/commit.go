package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/rowcodec"
	"github.com/wadi-log/wadi/metadata/sequence"
)

// CommitFiles implements metadata.Log. If we die before the write-ahead log is
// synced, nothing happened; after that, all of it did, and the same files find
// their replay records.
func (s *Store) CommitFiles(ctx context.Context, files []metadata.File) (metadata.CommitResult, error) {
	if err := sequence.Validate(files); err != nil {
		return metadata.CommitResult{}, err
	}
	result := metadata.CommitResult{Files: make([]metadata.FileResult, len(files))}
	err := s.sequenced(ctx, "commit data files", func(q *sequencer) error {
		state, err := q.readState(files)
		if err != nil {
			return err
		}
		decision, err := sequence.Decide(state, files)
		if err != nil {
			return err
		}
		for i, d := range decision.Files {
			result.Files[i] = d.Result
			if !d.Fresh {
				continue
			}
			entry, err := q.writeFile(files[i], d)
			if err != nil {
				return err
			}
			result.Commits = append(result.Commits, entry)
		}
		return q.writeStates(decision)
	})
	if err != nil {
		return metadata.CommitResult{}, err
	}
	return result, nil
}

// readState reads what the sequencer must know.
func (q *sequencer) readState(files []metadata.File) (sequence.State, error) {
	state := sequence.State{
		Now:        q.now,
		Partitions: map[metadata.PartitionID]sequence.Partition{},
		Producers:  map[sequence.ProducerKey]sequence.Producer{},
		Committed:  map[uuid.UUID][][]metadata.Outcome{},
	}
	partitions, producers, transactional := sequence.Keys(files)
	if err := q.readPartitions(state.Partitions, partitions); err != nil {
		return state, err
	}
	if err := q.readProducers(state, producers); err != nil {
		return state, err
	}
	if len(transactional) > 0 {
		if err := q.readBatchTransactions(&state, producers, transactional); err != nil {
			return state, err
		}
	}
	replay := q.stmt(q.prepared.replay)
	for _, f := range files {
		var record []byte
		found, err := scanOptional(replay.QueryRowContext(q.ctx, f.ID[:]), &record)
		if err == nil && found {
			state.Committed[f.ID], err = rowcodec.DecodeReplay(record)
		}
		if err != nil {
			return state, err
		}
	}
	return state, nil
}

// readPartitions reads all in one query: half the time of one query each.
func (t *tx) readPartitions(partitions map[metadata.PartitionID]sequence.Partition, ids []metadata.PartitionID) error {
	keys, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	query := t.stmt(t.prepared.partitions)
	rows, err := query.QueryContext(t.ctx, string(keys))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id metadata.PartitionID
		var p sequence.Partition
		if err := rows.Scan(&p.LogStartOffset, &p.NextOffset, &p.MaxTimestamp, &p.FirstUnstable, &id); err != nil {
			return err
		}
		partitions[id] = p
	}
	return rows.Err()
}

func (q *sequencer) readProducers(state sequence.State, producers []sequence.ProducerKey) error {
	if len(producers) == 0 {
		return nil
	}
	keys, err := producerKeys(producers)
	if err != nil {
		return err
	}
	query := q.stmt(q.prepared.producers)
	rows, err := query.QueryContext(q.ctx, keys)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var key sequence.ProducerKey
		var p sequence.Producer
		var batches []byte
		if err := rows.Scan(&key.Partition, &key.ProducerID, &p.Epoch, &batches); err != nil {
			return err
		}
		if p.Last, err = rowcodec.DecodeProducerBatches(batches); err != nil {
			return err
		}
		state.Producers[key] = p
	}
	return rows.Err()
}

// readBatchTransactions reads the transactions of the producers of transactional batches.
func (q *sequencer) readBatchTransactions(state *sequence.State, producers []sequence.ProducerKey, transactional []int64) error {
	ids, err := json.Marshal(transactional)
	if err != nil {
		return err
	}
	state.Transactions = map[int64]metadata.Transaction{}
	found, err := q.transactions(q.stmt(q.prepared.transactionsOf), string(ids))
	if err != nil {
		return err
	}
	for _, t := range found {
		state.Transactions[t.ProducerID] = t
	}
	keys, err := producerKeys(producers)
	if err != nil {
		return err
	}
	state.InTransaction = map[sequence.ProducerKey]int64{}
	query := q.stmt(q.prepared.inTransaction)
	rows, err := query.QueryContext(q.ctx, keys)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var key sequence.ProducerKey
		var first int64
		if err := rows.Scan(&key.Partition, &key.ProducerID, &first); err != nil {
			return err
		}
		state.InTransaction[key] = first
	}
	return rows.Err()
}

// producerKeys encodes the keys as a statement's argument.
func producerKeys(producers []sequence.ProducerKey) (string, error) {
	keys := make([][2]int64, len(producers))
	for i, p := range producers {
		keys[i] = [2]int64{int64(p.Partition), p.ProducerID}
	}
	encoded, err := json.Marshal(keys)
	return string(encoded), err
}

// writeFile writes a file's rows and returns its feed entry.
func (q *sequencer) writeFile(f metadata.File, d sequence.FileDecision) (metadata.Commit, error) {
	replay, err := rowcodec.EncodeReplay(d.Result.Outcomes)
	if err != nil {
		return metadata.Commit{}, err
	}
	if err := q.insertRuns(d.Runs); err != nil {
		return metadata.Commit{}, err
	}
	commit, err := q.add(metadata.Commit{Runs: d.Runs, Stable: d.Stable}, &f, replay)
	if err != nil {
		return metadata.Commit{}, err
	}
	return commit, q.insertFile(fileRow{id: f.ID, size: f.Size, live: f.Size, seq: commit.Seq, runs: len(d.Runs)}, d.Runs)
}

func (q *sequencer) updatePartitions(changes []sequence.PartitionChange) error {
	update := q.stmt(q.prepared.updatePartition)
	for _, p := range changes {
		if _, err := update.ExecContext(q.ctx, p.NextOffset, p.MaxTimestamp, p.FirstUnstable, p.ID); err != nil {
			return err
		}
	}
	return nil
}

func (q *sequencer) writeStates(decision sequence.Decision) error {
	if err := q.updatePartitions(decision.Partitions); err != nil {
		return err
	}
	put := q.stmt(q.prepared.putProducer)
	for _, p := range decision.Producers {
		if _, err := put.ExecContext(q.ctx, p.Partition, p.ProducerID, p.Epoch, rowcodec.EncodeProducerBatches(p.Last), millis(q.now)); err != nil {
			return err
		}
	}
	for _, t := range decision.Transactions {
		if err := q.putTransaction(t.Transaction); err != nil {
			return err
		}
	}
	for _, p := range decision.TransactionPartitions {
		if err := q.putTransactionPartition(p.TransactionPartition); err != nil {
			return err
		}
	}
	return nil
}

// scanOptional scans a row that may not exist.
func scanOptional(row *sql.Row, to ...any) (found bool, err error) {
	return isFound(row.Scan(to...))
}

// isFound tells a row that doesn't exist from a failure.
func isFound(err error) (bool, error) {
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}
