package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sequence"
)

// ChangeTransactions implements metadata.Transactions. As with CommitFiles, either all
// of it happened when we die or lose the reply, or nothing did; and nothing of it is
// left half done for anybody to find, not even by transactions that end over
// many partitions. The same requests again find what they did.
func (s *Store) ChangeTransactions(ctx context.Context, requests []metadata.TransactionRequest) (metadata.TransactionsChanged, error) {
	if err := sequence.ValidateTransactions(requests); err != nil {
		return metadata.TransactionsChanged{}, err
	}
	var out metadata.TransactionsChanged
	var state transactionsReader
	err := s.change(ctx, s.transactions, "change transactions",
		func(b *pgx.Batch) { state.queue(b, requests) },
		func(q *sequencer, b *pgx.Batch) error {
			if state.Now.IsZero() {
				state.Now = q.now
			}
			decision := sequence.DecideTransactions(state.TransactionsState, requests)
			out = metadata.TransactionsChanged{Results: decision.Results}
			if commit := state.write(q, b, decision); len(commit.Runs) > 0 {
				out.Commits = append(out.Commits, commit)
			}
			succeeded := slices.ContainsFunc(out.Results, func(r metadata.TransactionResult) bool { return r.Err == nil })
			if b.Len() == 0 && succeeded {
				b.Queue(confirm)
			}
			return nil
		})
	if err != nil {
		return metadata.TransactionsChanged{}, err
	}
	return out, nil
}

// transactionsReader reads what must be known to change transactions.
type transactionsReader struct {
	sequence.TransactionsState
	// groupIDs are the IDs of the groups whose offsets are put aside, by their keys.
	groupIDs map[uuid.UUID]string
}

// queue locks groups before it reads anything else, so that nothing else changes while
// it waits for them.
func (r *transactionsReader) queue(b *pgx.Batch, requests []metadata.TransactionRequest) {
	*r = transactionsReader{
		TransactionsState: sequence.TransactionsState{
			Transactions: map[string]metadata.Transaction{},
			Partitions:   map[metadata.PartitionID]sequence.Partition{},
			Open:         map[metadata.PartitionID][]sequence.OpenTransaction{},
			Groups:       map[string]int64{},
		},
		groupIDs: map[uuid.UUID]string{},
	}
	b.Queue(byKeys)
	refs := sequence.TransactionKeys(requests)
	ending := transactionKeys(endingIDs(requests))
	for _, id := range refs.Groups {
		r.groupIDs[metadata.GroupKey(id)] = id
	}
	if len(refs.Groups)+len(ending) > 0 {
		b.Queue(lockTransactionGroups, groupKeys(refs.Groups), ending).Query(r.groups)
		// Offsets are put aside after whatever was written by those whom we waited for.
		b.Queue(`SELECT clock_timestamp()`).QueryRow(func(row pgx.Row) error { return row.Scan(&r.Now) })
	}
	b.Queue(transactionsByKey, transactionKeys(refs.IDs)).Query(r.transactions)
	if len(ending) > 0 {
		b.Queue(headsOfTransactions, ending).Query(collectPartitions(r.Partitions))
		b.Queue(openWithTransactions, ending).Query(r.open)
	}
}

// endingIDs are the transactional IDs whose transactions the requests may end. Only
// those get markers.
func endingIDs(requests []metadata.TransactionRequest) (ids []string) {
	for _, r := range requests {
		switch r.Op.(type) {
		case metadata.InitProducer, metadata.EndTransaction, metadata.ExpireTransaction:
			ids = append(ids, r.ID)
		}
	}
	return ids
}

// byKeys has the rest of the transaction find its rows by plain index scans. What belongs to
// open transactions comes and goes under the same keys thousands of times between two
// runs of autovacuum. An index scan marks what it finds dead, and the index drops it soon; a bitmap scan doesn't, and
// goes through all of it each time: 22 ms instead of 0.4 for 100 partitions after 1,600 transactions.
const byKeys = `SELECT set_config('enable_bitmapscan', 'off', true), set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true)`

// headsOfTransactions and openWithTransactions read the partitions of transactions, and
// which transactions have written to them. The arrays make sure that rows are found by
// their keys, whatever the planner thinks of how many there are.
const (
	transactionsByKey    = `SELECT ` + transactionColumns + `, ` + transactionLists + ` FROM transactions t WHERE txn_key = ANY($1::uuid[])`
	headsOfTransactions  = `SELECT ` + partitionColumns + ` FROM partitions WHERE id = ANY(` + partitionsOfTransactions + `)`
	openWithTransactions = `SELECT partition_id, producer_id, first_offset FROM transaction_partitions
		WHERE partition_id = ANY(` + partitionsOfTransactions + `) AND first_offset IS NOT NULL`

	partitionsOfTransactions = `ARRAY(SELECT partition_id FROM transaction_partitions
		WHERE producer_id = ANY(ARRAY(SELECT producer_id FROM transactions WHERE txn_key = ANY($1::uuid[]))))`
)

// lockTransactionGroups locks the groups whose offsets are put aside, and those of
// which a transaction that ends has some, in the order of their keys. Nobody can
// then delete them, or write or delete their offsets, until we commit. (Rejected for the
// latter: FOR KEY SHARE, which only holds DeleteGroup off. We and a WriteOffsets of the
// same group would then wait for each other's offsets, in any order.)
const lockTransactionGroups = `SELECT group_key, version FROM group_states
	WHERE group_key = ANY($1::uuid[] || ARRAY(SELECT group_key FROM transaction_offsets
		WHERE producer_id = ANY(ARRAY(SELECT producer_id FROM transactions WHERE txn_key = ANY($2::uuid[])))))
	ORDER BY group_key FOR SHARE`

func (r *transactionsReader) groups(rows pgx.Rows) error {
	var key pgtype.UUID
	var version int64
	_, err := pgx.ForEachRow(rows, []any{&key, &version}, func() error {
		if id, asked := r.groupIDs[key.Bytes]; asked {
			r.Groups[id] = version
		}
		return nil
	})
	return err
}

func (r *transactionsReader) transactions(rows pgx.Rows) error {
	var row transactionRow
	_, err := pgx.ForEachRow(rows, append(row.targets(), row.listTargets()...), func() error {
		t := row.transaction()
		r.Transactions[t.ID] = t
		return nil
	})
	return err
}

func (r *transactionsReader) open(rows pgx.Rows) error {
	var partition int32
	var o sequence.OpenTransaction
	_, err := pgx.ForEachRow(rows, []any{&partition, &o.ProducerID, &o.FirstOffset}, func() error {
		id := metadata.PartitionID(partition)
		r.Open[id] = append(r.Open[id], o)
		return nil
	})
	return err
}

// transactionColumns are those of transactionRow.targets, transactionLists those of
// listTargets, both of transactions t.
const (
	transactionColumns = `t.name, t.producer_id, t.producer_epoch, t.last_producer_id, t.last_epoch, t.state, t.version, t.timeout_ms, t.started_at, t.updated_at`
	transactionLists   = `(SELECT array_agg(partition_id ORDER BY partition_id) FROM transaction_partitions p WHERE p.producer_id = t.producer_id),
		(SELECT array_agg(name ORDER BY name) FROM transaction_groups g WHERE g.producer_id = t.producer_id)`
)

// transactionRow is a row that is being scanned.
type transactionRow struct {
	metadata.Transaction
	name       []byte
	timeout    int32
	startedAt  *time.Time
	partitions []int32
	groups     [][]byte
}

func (r *transactionRow) targets() []any {
	return []any{&r.name, &r.ProducerID, &r.Epoch, &r.LastProducerID, &r.LastEpoch, &r.State, &r.Version, &r.timeout, &r.startedAt, &r.UpdatedAt}
}

func (r *transactionRow) listTargets() []any { return []any{&r.partitions, &r.groups} }

func (r *transactionRow) transaction() metadata.Transaction {
	t := r.Transaction
	t.ID, t.Timeout = string(r.name), time.Duration(r.timeout)*time.Millisecond
	if r.startedAt != nil {
		t.StartedAt = *r.startedAt
	}
	if len(r.partitions) > 0 {
		t.Partitions = partitionIDs(r.partitions)
	}
	for _, name := range r.groups {
		t.Groups = append(t.Groups, string(name))
	}
	return t
}

func transactionKeys(ids []string) []pgtype.UUID {
	keys := make([]uuid.UUID, len(ids))
	for i, id := range ids {
		keys[i] = metadata.TransactionKey(id)
	}
	return uuidArray(keys)
}
