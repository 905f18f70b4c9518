package postgres

import (
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sequence"
)

// write queues the decision's rows: a fixed number of statements, however many
// transactions, partitions and offsets it is about. It returns the feed entry, which
// has no number if there is none.
func (r *transactionsReader) write(q *sequencer, b *pgx.Batch, d sequence.TransactionsDecision) metadata.Commit {
	r.queueEnded(b, d.Ended)
	queueTransactions(b, d.Transactions)
	queueTransactionPartitions(b, d.Partitions)
	queueTransactionGroups(b, d.Groups)
	queueTransactionOffsets(b, d.Offsets)
	if len(d.Commit.Runs) == 0 {
		return metadata.Commit{}
	}
	queueRuns(b, d.Commit.Runs)
	queueUnstablePartitions(b, d.Heads, d.Commit.Aborted)
	queueAborted(b, d.Commit.Aborted)
	return q.add(d.Commit, nil, nil)
}

// queueEnded takes from transactions what was theirs. Offsets of those committed
// become their groups' with the time at which they had been put aside: whichever was
// sent last counts, also of several transactions, as in Kafka.
func (r *transactionsReader) queueEnded(b *pgx.Batch, ended []sequence.EndedTransaction) {
	if len(ended) == 0 {
		return
	}
	all, committed := make([]int64, len(ended)), []int64{}
	for i, e := range ended {
		all[i] = e.ProducerID
		if e.Commit {
			committed = append(committed, e.ProducerID)
		}
	}
	b.Queue(`DELETE FROM transaction_partitions WHERE producer_id = ANY($1::int8[])`, all)
	if !r.anyGroups() {
		return
	}
	if len(committed) > 0 {
		b.Queue(commitOffsets, committed)
	}
	for _, table := range []string{"transaction_offsets", "transaction_groups"} {
		b.Queue(`DELETE FROM `+table+` WHERE producer_id = ANY($1::int8[])`, all)
	}
}

const commitOffsets = `INSERT INTO group_offsets (group_key, partition_id, committed_offset, leader_epoch, committed_at, expire_at, metadata)
	SELECT DISTINCT ON (group_key, partition_id) group_key, partition_id, pending_offset, leader_epoch, put_at, NULL::timestamptz, metadata
	FROM transaction_offsets WHERE producer_id = ANY($1::int8[]) ORDER BY group_key, partition_id, put_at DESC
	ON CONFLICT (group_key, partition_id) DO UPDATE SET committed_offset = excluded.committed_offset, leader_epoch = excluded.leader_epoch,
		committed_at = excluded.committed_at, expire_at = excluded.expire_at, metadata = excluded.metadata
	WHERE group_offsets.committed_at <= excluded.committed_at`

// anyGroups tells whether any of the transactions may have offsets: each has the groups
// of its offsets.
func (r *transactionsReader) anyGroups() bool {
	for _, t := range r.Transactions {
		if len(t.Groups) > 0 {
			return true
		}
	}
	return false
}

// queueTransactions updates the known transactional IDs and inserts the others.
func queueTransactions(b *pgx.Batch, changes []sequence.TransactionChange) {
	var known, fresh transactionArrays
	for _, c := range changes {
		if c.New {
			fresh.add(c.Transaction)
		} else {
			known.add(c.Transaction)
		}
	}
	if len(known.key) > 0 {
		b.Queue(`UPDATE transactions t SET producer_id = v.producer_id, producer_epoch = v.producer_epoch, last_producer_id = v.last_producer_id,
				last_epoch = v.last_epoch, state = v.state, version = v.version, timeout_ms = v.timeout_ms, started_at = v.started_at, updated_at = v.updated_at
			FROM (SELECT `+transactionArrayColumns+`) v WHERE t.txn_key = v.txn_key`, known.args()...)
	}
	if len(fresh.key) > 0 {
		b.Queue(`INSERT INTO transactions (txn_key, name, producer_id, producer_epoch, last_producer_id, last_epoch, state, version, timeout_ms, started_at, updated_at)
			SELECT `+transactionArrayColumns, fresh.args()...)
	}
}

// transactionArrays are the arguments of transactionArrayColumns.
type transactionArrays struct {
	key                              []pgtype.UUID
	name                             [][]byte
	producer, lastProducer           []int64
	epoch, lastEpoch, state, version []int16
	timeout                          []int32
	startedAt                        []*time.Time
	updatedAt                        []time.Time
}

const transactionArrayColumns = `unnest($1::uuid[]) AS txn_key, unnest($2::bytea[]) AS name, unnest($3::int8[]) AS producer_id, unnest($4::int2[]) AS producer_epoch,
	unnest($5::int8[]) AS last_producer_id, unnest($6::int2[]) AS last_epoch, unnest($7::int2[]) AS state, unnest($8::int2[]) AS version,
	unnest($9::int4[]) AS timeout_ms, unnest($10::timestamptz[]) AS started_at, unnest($11::timestamptz[]) AS updated_at`

func (a *transactionArrays) add(t metadata.Transaction) {
	a.key, a.name = append(a.key, pgtype.UUID{Bytes: metadata.TransactionKey(t.ID), Valid: true}), append(a.name, []byte(t.ID))
	a.producer, a.epoch = append(a.producer, t.ProducerID), append(a.epoch, t.Epoch)
	a.lastProducer, a.lastEpoch = append(a.lastProducer, t.LastProducerID), append(a.lastEpoch, t.LastEpoch)
	a.state, a.version = append(a.state, int16(t.State)), append(a.version, int16(t.Version))
	a.timeout = append(a.timeout, int32(t.Timeout/time.Millisecond))
	a.startedAt, a.updatedAt = append(a.startedAt, nullTime(t.StartedAt)), append(a.updatedAt, t.UpdatedAt)
}

func (a *transactionArrays) args() []any {
	return []any{a.key, a.name, a.producer, a.epoch, a.lastProducer, a.lastEpoch, a.state, a.version, a.timeout, a.startedAt, a.updatedAt}
}

// queueTransactionPartitions inserts partitions that transactions didn't have.
func queueTransactionPartitions(b *pgx.Batch, added []sequence.TransactionPartition) {
	if len(added) == 0 {
		return
	}
	producer, partition, first := transactionPartitionArrays(added)
	b.Queue(`INSERT INTO transaction_partitions (producer_id, partition_id, first_offset)
		SELECT unnest($1::int8[]), unnest($2::int4[]), NULLIF(unnest($3::int8[]), -1)`, producer, partition, first)
}

// queueFirstBatches notes the first batches of transactions in partitions, which those
// that are not in them yet enter.
func queueFirstBatches(b *pgx.Batch, changes []sequence.TransactionPartitionChange) {
	var known, fresh []sequence.TransactionPartition
	for _, c := range changes {
		if c.New {
			fresh = append(fresh, c.TransactionPartition)
		} else {
			known = append(known, c.TransactionPartition)
		}
	}
	queueTransactionPartitions(b, fresh)
	if len(known) == 0 {
		return
	}
	producer, partition, first := transactionPartitionArrays(known)
	b.Queue(`UPDATE transaction_partitions p SET first_offset = v.first_offset
		FROM (SELECT unnest($1::int8[]) AS producer_id, unnest($2::int4[]) AS partition_id, unnest($3::int8[]) AS first_offset) v
		WHERE p.producer_id = v.producer_id AND p.partition_id = v.partition_id`, producer, partition, first)
}

func transactionPartitionArrays(rows []sequence.TransactionPartition) (producer []int64, partition []int32, first []int64) {
	producer, partition, first = make([]int64, len(rows)), make([]int32, len(rows)), make([]int64, len(rows))
	for i, p := range rows {
		producer[i], partition[i], first[i] = p.ProducerID, int32(p.Partition), p.FirstOffset
	}
	return producer, partition, first
}

func queueTransactionGroups(b *pgx.Batch, added []sequence.TransactionGroup) {
	n := len(added)
	if n == 0 {
		return
	}
	producer, key, name := make([]int64, n), make([]pgtype.UUID, n), make([][]byte, n)
	for i, g := range added {
		producer[i], key[i], name[i] = g.ProducerID, groupKey(g.GroupID), []byte(g.GroupID)
	}
	b.Queue(`INSERT INTO transaction_groups (producer_id, group_key, name) SELECT unnest($1::int8[]), unnest($2::uuid[]), unnest($3::bytea[])`, producer, key, name)
}

// queueTransactionOffsets puts offsets aside. None is in the list twice. None is older
// than what is committed there, which it comes after: the clock of a standby that took
// over may be behind.
func queueTransactionOffsets(b *pgx.Batch, offsets []sequence.TransactionOffset) {
	n := len(offsets)
	if n == 0 {
		return
	}
	producer, key, partition, offset := make([]int64, n), make([]pgtype.UUID, n), make([]int32, n), make([]int64, n)
	epoch, putAt, text := make([]int32, n), make([]time.Time, n), make([][]byte, n)
	for i, o := range offsets {
		producer[i], key[i], partition[i], offset[i] = o.ProducerID, groupKey(o.GroupID), int32(o.Partition), o.Offset.Offset
		epoch[i], putAt[i], text[i] = o.LeaderEpoch, o.CommittedAt, []byte(o.Metadata)
	}
	b.Queue(`INSERT INTO transaction_offsets (producer_id, group_key, partition_id, pending_offset, leader_epoch, put_at, metadata)
		SELECT v.producer_id, v.group_key, v.partition_id, v.pending_offset, v.leader_epoch, GREATEST(v.put_at,
			(SELECT committed_at FROM group_offsets o WHERE o.group_key = v.group_key AND o.partition_id = v.partition_id)), v.metadata
		FROM (SELECT unnest($1::int8[]) AS producer_id, unnest($2::uuid[]) AS group_key, unnest($3::int4[]) AS partition_id, unnest($4::int8[]) AS pending_offset,
			unnest($5::int4[]) AS leader_epoch, unnest($6::timestamptz[]) AS put_at, unnest($7::bytea[]) AS metadata) v
		ON CONFLICT (producer_id, group_key, partition_id) DO UPDATE SET pending_offset = excluded.pending_offset, leader_epoch = excluded.leader_epoch,
			put_at = excluded.put_at, metadata = excluded.metadata`,
		producer, key, partition, offset, epoch, putAt, text)
}

func queueAborted(b *pgx.Batch, aborted []metadata.AbortedTransaction) {
	n := len(aborted)
	if n == 0 {
		return
	}
	partition, producer, first, last, stable := make([]int32, n), make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	for i, a := range aborted {
		partition[i], producer[i], first[i], last[i], stable[i] = int32(a.Partition), a.ProducerID, a.FirstOffset, a.LastOffset, a.StableOffset
	}
	b.Queue(`INSERT INTO aborted_transactions (partition_id, producer_id, first_offset, last_offset, stable_offset)
		SELECT unnest($1::int4[]), unnest($2::int8[]), unnest($3::int8[]), unnest($4::int8[]), unnest($5::int8[])`,
		partition, producer, first, last, stable)
}
