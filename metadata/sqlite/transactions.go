package sqlite

import (
	"context"
	"database/sql"
	"time"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sequence"
)

// ChangeTransactions implements metadata.Transactions. If we die before the
// write-ahead log is synced, nothing happened; after that, all of it did, and the
// same requests find it done.
func (s *Store) ChangeTransactions(ctx context.Context, requests []metadata.TransactionRequest) (metadata.TransactionsChanged, error) {
	if err := sequence.ValidateTransactions(requests); err != nil {
		return metadata.TransactionsChanged{}, err
	}
	var out metadata.TransactionsChanged
	err := s.sequenced(ctx, "change transactions", func(q *sequencer) error {
		q.now = q.now.Truncate(time.Microsecond)
		state, err := q.readTransactions(sequence.TransactionKeys(requests))
		if err != nil {
			return err
		}
		decision := sequence.DecideTransactions(state, requests)
		out.Results = decision.Results
		if err := q.writeTransactions(decision); err != nil {
			return err
		}
		if len(decision.Commit.Runs) == 0 {
			return nil
		}
		commit, err := q.writeMarkers(decision)
		out.Commits = append(out.Commits, commit)
		return err
	})
	if err != nil {
		return metadata.TransactionsChanged{}, err
	}
	return out, nil
}

// Transactions implements metadata.Transactions.
func (s *Store) Transactions(ctx context.Context, ids []string) (transactions []metadata.Transaction, now time.Time, err error) {
	transactions = make([]metadata.Transaction, len(ids))
	err = s.read(ctx, "read transactions", func(t *tx) error {
		now = t.now
		for i, id := range ids {
			found, ok, err := t.transaction(id)
			if err != nil {
				return err
			}
			if !ok {
				found = metadata.Transaction{ID: id, ProducerID: -1}
			}
			transactions[i] = found
		}
		return nil
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	return transactions, now, nil
}

// ListTransactions implements metadata.Transactions.
func (s *Store) ListTransactions(ctx context.Context) (transactions []metadata.Transaction, now time.Time, err error) {
	err = s.read(ctx, "list transactions", func(t *tx) error {
		now = t.now
		transactions, err = t.transactions(t.stmt(s.prepared.allTransactions))
		return err
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	return transactions, now, nil
}

// OverdueTransactions implements metadata.Transactions.
func (s *Store) OverdueTransactions(ctx context.Context, limit int) (overdue []metadata.OverdueTransaction, err error) {
	err = s.read(ctx, "look for overdue transactions", func(t *tx) error {
		rows, err := t.QueryContext(t.ctx, `SELECT name, producer_id, epoch FROM transactions
			WHERE started_at IS NOT NULL AND started_at + timeout < ? ORDER BY started_at + timeout LIMIT ?`, micros(t.now), limit)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var name []byte
			var o metadata.OverdueTransaction
			if err := rows.Scan(&name, &o.Producer.ID, &o.Producer.Epoch); err != nil {
				return err
			}
			o.ID = string(name)
			overdue = append(overdue, o)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	return overdue, nil
}

// ForgetTransactions implements metadata.Transactions.
func (s *Store) ForgetTransactions(ctx context.Context, idleFor time.Duration, limit int) (forgotten int, err error) {
	err = s.change(ctx, "forget transactional IDs", func(t *tx) error {
		forgotten, err = t.affected(`DELETE FROM transactions WHERE transaction_key IN (
			SELECT transaction_key FROM transactions WHERE started_at IS NULL AND updated_at < ? LIMIT ?)`, micros(t.now.Add(-idleFor)), limit)
		return err
	})
	return forgotten, err
}

// transaction reads a transactional ID; ok is false when there is none.
func (t *tx) transaction(id string) (found metadata.Transaction, ok bool, err error) {
	key := metadata.TransactionKey(id)
	found, err = scanTransaction(t.QueryRowContext(t.ctx, `SELECT `+transactionColumns+` FROM transactions WHERE transaction_key = ?`, key[:]))
	if ok, err = isFound(err); !ok || found.State != metadata.TransactionOngoing {
		return found, ok, err
	}
	if found.Partitions, err = t.transactionPartitions(found.ProducerID); err == nil {
		found.Groups, err = t.transactionGroups(found.ProducerID)
	}
	return found, true, err
}

// transactions collects rows, without their partitions and groups.
func (t *tx) transactions(query *sql.Stmt, args ...any) (transactions []metadata.Transaction, err error) {
	rows, err := query.QueryContext(t.ctx, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		found, err := scanTransaction(rows)
		if err != nil {
			return nil, err
		}
		transactions = append(transactions, found)
	}
	return transactions, rows.Err()
}

// transactionColumns and scanTransaction belong together.
const transactionColumns = `name, producer_id, epoch, last_producer_id, last_epoch, state, version, timeout, started_at, updated_at`

func scanTransaction(row interface{ Scan(...any) error }) (metadata.Transaction, error) {
	var t metadata.Transaction
	var name []byte
	var timeout int64
	var startedAt, updatedAt sql.NullInt64
	err := row.Scan(&name, &t.ProducerID, &t.Epoch, &t.LastProducerID, &t.LastEpoch, &t.State, &t.Version, &timeout, &startedAt, &updatedAt)
	t.ID, t.Timeout = string(name), time.Duration(timeout)*time.Microsecond
	t.StartedAt, t.UpdatedAt = fromMicros(startedAt), fromMicros(updatedAt)
	return t, err
}

func (t *tx) transactionPartitions(producerID int64) (partitions []metadata.PartitionID, err error) {
	rows, err := t.QueryContext(t.ctx, `SELECT partition_id FROM transaction_partitions WHERE producer_id = ? ORDER BY partition_id`, producerID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id metadata.PartitionID
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		partitions = append(partitions, id)
	}
	return partitions, rows.Err()
}

func (t *tx) transactionGroups(producerID int64) ([]string, error) {
	return t.names(`SELECT name FROM transaction_groups WHERE producer_id = ? ORDER BY name`, producerID)
}
