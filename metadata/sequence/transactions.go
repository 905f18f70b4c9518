package sequence

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

// TransactionRef is what [TransactionKeys] names.
type TransactionRef struct {
	// IDs are the transactional IDs, in the order of the requests.
	IDs []string
	// Groups are the groups whose offsets are put aside, ascending and each once.
	Groups []string
}

// TransactionKeys names what DecideTransactions needs to know.
func TransactionKeys(requests []metadata.TransactionRequest) TransactionRef {
	var ref TransactionRef
	for _, r := range requests {
		ref.IDs = append(ref.IDs, r.ID)
		if op, ok := r.Op.(metadata.TransactionOffsets); ok {
			ref.Groups = append(ref.Groups, op.GroupID)
		}
	}
	slices.Sort(ref.Groups)
	ref.Groups = slices.Compact(ref.Groups)
	return ref
}

// OpenTransaction is a transaction that has written to a partition and is open.
type OpenTransaction struct {
	ProducerID  int64
	FirstOffset int64
}

// TransactionsState is what the store knew, under its lock, of everything that
// [TransactionKeys] named.
type TransactionsState struct {
	// Now is the store's clock.
	Now time.Time
	// Transactions lacks those that don't exist. They have their Partitions and Groups.
	Transactions map[string]metadata.Transaction
	// Partitions are those of the Transactions, but for those that no longer exist.
	Partitions map[metadata.PartitionID]Partition
	// Open are the open transactions that have written to each of the Partitions,
	// in no set order.
	Open map[metadata.PartitionID][]OpenTransaction
	// Groups holds the versions of the groups, 0 for those that don't exist. They are
	// locked against StoreGroup and DeleteGroup.
	Groups map[string]int64
}

// TransactionsDecision is what the requests do.
type TransactionsDecision struct {
	// Results[i] belongs to the i-th request.
	Results []metadata.TransactionResult
	// Transactions are the new states of those that changed, ascending by ID. Their
	// Partitions and Groups are to be ignored: the lists below say what of them changes.
	Transactions []TransactionChange
	// Ended goes first: those transactions' partitions, groups and offsets aren't
	// theirs any more.
	Ended []EndedTransaction
	// Partitions are added to transactions, nothing written to them yet. None is in it already.
	Partitions []TransactionPartition
	// Groups are added to transactions. None is in it already.
	Groups []TransactionGroup
	// Offsets are put aside, over those of the same transaction, group and partition.
	Offsets []TransactionOffset
	// Heads are the new states of the partitions that got markers, ascending by ID.
	Heads []PartitionChange
	// Commit is the feed entry, without its number: the markers as Runs, ascending by
	// partition for each transaction, and what follows from them. Without Runs there is none.
	Commit metadata.Commit
}

// TransactionChange is the new state of a transaction.
type TransactionChange struct {
	metadata.Transaction
	// New is true when there was no such transactional ID before.
	New bool
}

// EndedTransaction is a transaction that ends. ProducerID is the one that it had, which
// its rows are keyed by. With Commit its offsets become those of their groups, unless an
// offset was committed there after they had been put aside.
type EndedTransaction struct {
	ProducerID int64
	Commit     bool
}

// TransactionPartition is a partition of an open transaction.
type TransactionPartition struct {
	ProducerID int64
	Partition  metadata.PartitionID
	// FirstOffset is that of the transaction's first batch there, -1 before there is one.
	FirstOffset int64
}

// TransactionGroup is a group of an open transaction.
type TransactionGroup struct {
	ProducerID int64
	GroupID    string
}

// TransactionOffset is an offset that waits for its transaction's end.
type TransactionOffset struct {
	ProducerID int64
	metadata.Offset
}

// DecideTransactions says what the requests, in the order given, do to the state, which
// it leaves as it is. The requests must have passed [ValidateTransactions].
func DecideTransactions(state TransactionsState, requests []metadata.TransactionRequest) TransactionsDecision {
	out := TransactionsDecision{Results: make([]metadata.TransactionResult, len(requests))}
	markers := newMarkerLog(state)
	for i, r := range requests {
		t, known := state.Transactions[r.ID]
		if !known {
			t = metadata.Transaction{ID: r.ID, ProducerID: -1}
		}
		s := decideOne(state, t, r.Op)
		out.Results[i] = s.result
		if s.next != nil {
			next := *s.next
			next.UpdatedAt, next.Partitions, next.Groups = state.Now, nil, nil
			out.Transactions = append(out.Transactions, TransactionChange{Transaction: next, New: !known})
		}
		if s.end != nil {
			out.Ended = append(out.Ended, EndedTransaction{ProducerID: s.end.producerID, Commit: s.end.commit})
			markers.end(*s.end)
		}
		for _, p := range s.partitions {
			out.Partitions = append(out.Partitions, TransactionPartition{ProducerID: t.ProducerID, Partition: p, FirstOffset: -1})
		}
		for _, g := range s.groups {
			out.Groups = append(out.Groups, TransactionGroup{ProducerID: t.ProducerID, GroupID: g})
		}
		for _, o := range s.offsets {
			out.Offsets = append(out.Offsets, TransactionOffset{ProducerID: t.ProducerID, Offset: o})
		}
	}
	slices.SortFunc(out.Transactions, func(a, b TransactionChange) int { return cmp.Compare(a.ID, b.ID) })
	out.Heads, out.Commit = markers.changes()
	return out
}

func decideOne(state TransactionsState, t metadata.Transaction, op metadata.TransactionOp) step {
	switch op := op.(type) {
	case metadata.InitProducer:
		return initProducer(t, op)
	case metadata.AddToTransaction:
		return add(t, op, state.Now)
	case metadata.TransactionOffsets:
		return putAside(t, op, state.Groups[op.GroupID], state.Now)
	case metadata.EndTransaction:
		return end(t, op)
	case metadata.ExpireTransaction:
		return expire(t, op, state.Now)
	}
	panic(fmt.Sprintf("sequence: operation %T did not pass ValidateTransactions", op))
}
