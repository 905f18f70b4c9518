package metadata

import (
	"context"
	"encoding/binary"
	"math"
	"time"

	"github.com/google/uuid"
)

// TransactionState is where a transactional ID stands. There are none in between, as
// Kafka has while it writes markers: a transaction ends in one change of the store.
type TransactionState int8

const (
	// TransactionEmpty: a producer was initialised, and has begun nothing yet.
	TransactionEmpty TransactionState = 0
	// TransactionOngoing: a transaction is open.
	TransactionOngoing TransactionState = 1
	// TransactionCommitted: the last transaction was committed.
	TransactionCommitted TransactionState = 2
	// TransactionAborted: the last transaction was aborted.
	TransactionAborted TransactionState = 3
)

// String is the state's name in Kafka's answers.
func (s TransactionState) String() string {
	switch s {
	case TransactionEmpty:
		return "Empty"
	case TransactionOngoing:
		return "Ongoing"
	case TransactionCommitted:
		return "CompleteCommit"
	case TransactionAborted:
		return "CompleteAbort"
	}
	return "Unknown"
}

// TransactionVersion is how a client's transactions work (KIP-890).
type TransactionVersion int8

const (
	// TransactionV1: each partition is added before it is written to, and the
	// epoch stays from one transaction to the next.
	TransactionV1 TransactionVersion = 1
	// TransactionV2: writing adds the partition, and each end raises the epoch.
	TransactionV2 TransactionVersion = 2
)

// Transaction is a transactional ID as stored.
type Transaction struct {
	ID string
	// ProducerID and Epoch are those of the one producer that may use the ID now.
	// ProducerID -1: there is no such transactional ID, and the rest is zero.
	ProducerID int64
	Epoch      int16
	// LastProducerID is the producer's ID before its epochs ran out, -1 for none.
	LastProducerID int64
	// LastEpoch is the epoch that the producer had before this one and may still name, to
	// learn of this one: it asked for it and the reply may be lost (KIP-360, KIP-890), or its
	// transaction timed out (KIP-588). -1 when nobody may: another took over, or it is new.
	LastEpoch int16
	State     TransactionState
	// Version is that of the last transaction begun or ended, TransactionV1 before
	// there is one. With TransactionV2 and a transaction that ended, Epoch follows
	// the one that ended it.
	Version TransactionVersion
	// Timeout is how long a transaction may be open.
	Timeout time.Duration
	// StartedAt is when the open transaction began, by the store's clock; zero when none is.
	StartedAt time.Time
	// UpdatedAt is when the row last changed.
	UpdatedAt time.Time
	// Partitions and Groups are those of the open transaction, ascending.
	Partitions []PartitionID
	Groups     []string
}

// TransactionRequest is one request about one transactional ID.
type TransactionRequest struct {
	ID string
	Op TransactionOp
}

// TransactionOp is what is asked: [InitProducer], [AddToTransaction],
// [TransactionOffsets], [EndTransaction] or [ExpireTransaction].
type TransactionOp interface{ transactionOp() }

// ProducerEpoch is a producer as a client names it.
type ProducerEpoch struct {
	ID    int64
	Epoch int16
}

// LastProducerEpoch is the last epoch that a producer gets. The one above is kept to
// fence it: only markers carry it.
const LastProducerEpoch = math.MaxInt16 - 1

// NoProducer is what a client sends that has none.
var NoProducer = ProducerEpoch{-1, -1}

// InitProducer makes the caller the one producer of the transactional ID: it raises
// the epoch, which fences the one before it, and aborts what that left open.
type InitProducer struct {
	Timeout time.Duration
	// Expected is the producer that the caller is, if it was initialised before
	// (KIP-360); else NoProducer.
	Expected ProducerEpoch
	// NewProducerID is used if the ID is new or its epochs have run out.
	NewProducerID int64
}

// AddToTransaction adds partitions and a group to the producer's transaction,
// which begins with the first.
type AddToTransaction struct {
	Producer   ProducerEpoch
	Partitions []PartitionID
	// Group is added if it isn't nil.
	Group *string
	// VerifyOnly changes nothing: TransactionResult.Absent tells what is missing.
	VerifyOnly bool
}

// TransactionOffsets puts offsets aside until the producer's transaction is
// committed. The group must exist and still be in the version in which the caller
// checked that the member may commit; it stays locked until the offsets are there, so
// that none of an older generation lands after the next began.
type TransactionOffsets struct {
	Producer     ProducerEpoch
	GroupID      string
	GroupVersion int64
	// Version TransactionV2 adds the group to the transaction; with TransactionV1 it must be in it.
	Version TransactionVersion
	// Offsets are of the group. CommittedAt is set by the store: of two offsets the
	// one that was put aside, or committed, last counts, also if the clock went
	// back after one was committed. ExpireAt is not kept.
	Offsets []Offset
}

// EndTransaction commits or aborts the producer's transaction.
type EndTransaction struct {
	Producer ProducerEpoch
	Commit   bool
	// Version TransactionV2 raises the epoch.
	Version TransactionVersion
	// NewProducerID is used if the epochs have run out: with TransactionV2 and an
	// Epoch from LastProducerEpoch on. Else there may be none (-1).
	NewProducerID int64
}

// ExpireTransaction aborts the producer's transaction if its timeout has passed by
// the store's clock, and raises the epoch as EndTransaction with TransactionV2 does: the
// producer learns of it by an abort of its own (V2) or InitProducer, and may go on.
type ExpireTransaction struct{ Producer ProducerEpoch }

func (InitProducer) transactionOp()       {}
func (AddToTransaction) transactionOp()   {}
func (TransactionOffsets) transactionOp() {}
func (EndTransaction) transactionOp()     {}
func (ExpireTransaction) transactionOp()  {}

// TransactionResult answers one TransactionRequest.
type TransactionResult struct {
	// Producer is the one to go on with, after [InitProducer] and [EndTransaction].
	Producer ProducerEpoch
	// Absent are the partitions that VerifyOnly found missing.
	Absent []PartitionID
	// Err is nil, ErrProducerIDMapping, ErrProducerFenced, ErrInvalidTransactionState,
	// or for TransactionOffsets also ErrGroupVersion.
	Err error
}

// TransactionsChanged is what ChangeTransactions did.
type TransactionsChanged struct {
	// Results[i] belongs to the i-th request.
	Results []TransactionResult
	// Commits holds the feed entry that the call made, if it made one.
	Commits []Commit
}

// OverdueTransaction is an open transaction whose timeout has passed.
type OverdueTransaction struct {
	ID       string
	Producer ProducerEpoch
}

// Transactions keeps transactional IDs and their transactions.
//
// All its changes are made under the sequencer's lock, as commits of files are, which check
// there whether a batch belongs to an open transaction ([Batch.Transactional]). So a
// batch is either in the transaction, and before its marker, or refused; and
// a transaction ends as one: the markers of all its partitions, what of it was
// aborted, the new last stable offsets and the offsets of its groups are one commit.
type Transactions interface {
	// ChangeTransactions carries out the requests, which name each transactional
	// ID at most once, in the order given, in one transaction. A request that is refused harms
	// no other. Safe to repeat with the same requests, but for what InitProducer without
	// Expected does, which then raises the epoch once more.
	// Errors: ErrUnavailable (nothing happened), ErrOutcomeUnknown.
	ChangeTransactions(ctx context.Context, requests []TransactionRequest) (TransactionsChanged, error)
	// Transactions returns the transactional IDs in the order asked, and the store's clock.
	Transactions(ctx context.Context, ids []string) (transactions []Transaction, now time.Time, err error)
	// ListTransactions returns all transactional IDs, in no set order and without
	// Partitions and Groups, and the store's clock.
	ListTransactions(ctx context.Context) (transactions []Transaction, now time.Time, err error)
	// OverdueTransactions returns up to limit open transactions whose timeout has passed.
	OverdueTransactions(ctx context.Context, limit int) ([]OverdueTransaction, error)
	// ForgetTransactions deletes up to limit transactional IDs without an open
	// transaction that nobody used for the age, and returns how many.
	ForgetTransactions(ctx context.Context, idleFor time.Duration, limit int) (int, error)
}

// StableOffset is a partition's last stable offset (LSO): the first offset of an
// open transaction, below which everything is decided.
type StableOffset struct {
	Partition PartitionID
	Offset    int64
}

// AbortedTransaction says that records of the producer in a partition don't count. It
// goes with its marker's run.
type AbortedTransaction struct {
	Partition  PartitionID
	ProducerID int64
	// FirstOffset is that of its first batch, LastOffset that of its marker.
	FirstOffset int64
	LastOffset  int64
	// StableOffset is the partition's last stable offset just after the marker: no
	// transaction that ends later begins before it.
	StableOffset int64
}

// MarkerSize is the size in bytes of a marker's record batch.
const MarkerSize = 78

// Marker ends a transaction in a partition.
type Marker struct {
	ProducerID int64
	Epoch      int16
	Commit     bool
	// Timestamp is in ms since the epoch.
	Timestamp int64
}

// Run is the index row of the marker at an offset: one of [EncodingMarker], which
// refers to no file. What it needs lies in the fields that say where other runs'
// bytes are: the producer ID in Position, the rest in FileID.
//
//	 0 timestamp  8 bytes, big-endian
//	 8 epoch      2 bytes, big-endian
//	10 type       1 byte, 0 abort, 1 commit
//	11 zero
//
// maxTimestamp is the partition's before the marker, which doesn't change it: a
// lookup by time finds records that consumers see.
func (m Marker) Run(partition PartitionID, offset, maxTimestamp int64) Run {
	r := Run{
		Partition: partition, BaseOffset: offset, Records: 1, Encoding: EncodingMarker,
		Position: m.ProducerID, Size: MarkerSize, MaxTimestamp: maxTimestamp,
	}
	binary.BigEndian.PutUint64(r.FileID[0:], uint64(m.Timestamp))
	binary.BigEndian.PutUint16(r.FileID[8:], uint16(m.Epoch))
	if m.Commit {
		r.FileID[10] = 1
	}
	return r
}

// Marker returns the marker that a run of [EncodingMarker] is; false for other runs.
func (r Run) Marker() (Marker, bool) {
	if r.Encoding != EncodingMarker {
		return Marker{}, false
	}
	return Marker{
		ProducerID: r.Position,
		Epoch:      int16(binary.BigEndian.Uint16(r.FileID[8:])),
		Commit:     r.FileID[10] == 1,
		Timestamp:  int64(binary.BigEndian.Uint64(r.FileID[0:])),
	}, true
}

// TransactionKey is what the stores key a transactional ID's row by, as [GroupKey] for groups.
func TransactionKey(id string) uuid.UUID { return GroupKey(id) }
