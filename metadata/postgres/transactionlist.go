package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/wadi-log/wadi/metadata"
)

// Transactions implements metadata.Transactions. One statement is one snapshot.
func (s *Store) Transactions(ctx context.Context, ids []string) (transactions []metadata.Transaction, now time.Time, err error) {
	err = s.read(ctx, "read transactions", func(ctx context.Context) error {
		transactions = make([]metadata.Transaction, len(ids))
		for i, id := range ids {
			transactions[i] = metadata.Transaction{ID: id, ProducerID: -1}
		}
		b := &pgx.Batch{}
		b.Queue(`SELECT clock_timestamp()`).QueryRow(func(row pgx.Row) error { return row.Scan(&now) })
		b.Queue(`SELECT q.i, `+transactionColumns+`, `+transactionLists+`
			FROM unnest($1::uuid[]) WITH ORDINALITY AS q (txn_key, i) JOIN transactions t ON t.txn_key = q.txn_key`, transactionKeys(ids)).Query(func(rows pgx.Rows) error {
			var i int64
			var row transactionRow
			targets := append([]any{&i}, row.targets()...)
			_, err := pgx.ForEachRow(rows, append(targets, row.listTargets()...), func() error {
				transactions[i-1] = row.transaction()
				return nil
			})
			return err
		})
		return s.pool.SendBatch(ctx, b).Close()
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	return transactions, now, nil
}

// ListTransactions implements metadata.Transactions.
func (s *Store) ListTransactions(ctx context.Context) (transactions []metadata.Transaction, now time.Time, err error) {
	err = s.read(ctx, "list transactions", func(ctx context.Context) error {
		transactions = nil
		b := &pgx.Batch{}
		b.Queue(`SELECT clock_timestamp()`).QueryRow(func(row pgx.Row) error { return row.Scan(&now) })
		b.Queue(`SELECT ` + transactionColumns + ` FROM transactions t`).Query(func(rows pgx.Rows) error {
			var row transactionRow
			_, err := pgx.ForEachRow(rows, row.targets(), func() error {
				transactions = append(transactions, row.transaction())
				return nil
			})
			return err
		})
		return s.pool.SendBatch(ctx, b).Close()
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	return transactions, now, nil
}

// OverdueTransactions implements metadata.Transactions. It reads all transactional
// IDs: 10,000 with an open transaction take some 5 ms.
func (s *Store) OverdueTransactions(ctx context.Context, limit int) ([]metadata.OverdueTransaction, error) {
	return queryAll(ctx, s, "find overdue transactions", func(row pgx.CollectableRow) (metadata.OverdueTransaction, error) {
		var o metadata.OverdueTransaction
		var name []byte
		err := row.Scan(&name, &o.Producer.ID, &o.Producer.Epoch)
		o.ID = string(name)
		return o, err
	}, `SELECT name, producer_id, producer_epoch FROM transactions
		WHERE started_at IS NOT NULL AND started_at + timeout_ms * interval '1 millisecond' < (SELECT clock_timestamp())
		ORDER BY started_at + timeout_ms * interval '1 millisecond' LIMIT $1`, limit)
}

// ForgetTransactions implements metadata.Transactions. As with ExpireProducers, the
// search goes before the lock, and what was used since is spared under it.
func (s *Store) ForgetTransactions(ctx context.Context, idleFor time.Duration, limit int) (int, error) {
	keys, err := queryAll(ctx, s, "find idle transactional IDs", pgx.RowTo[pgtype.UUID],
		`SELECT txn_key FROM transactions WHERE started_at IS NULL AND updated_at < clock_timestamp() - $1::interval LIMIT $2`, idleFor, limit)
	if err != nil || len(keys) == 0 {
		return 0, err
	}
	var forgotten int64
	err = s.change(ctx, s.pool, "forget transactional IDs", func(*pgx.Batch) {}, func(q *sequencer, b *pgx.Batch) error {
		b.Queue(`DELETE FROM transactions WHERE txn_key = ANY($1::uuid[]) AND started_at IS NULL AND updated_at < $2`, keys, q.now.Add(-idleFor)).
			Exec(func(tag pgconn.CommandTag) error {
				forgotten = tag.RowsAffected()
				return nil
			})
		return nil
	})
	return int(forgotten), err
}
