package compact

import (
	"cmp"
	"slices"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// aborted knows which records of some offsets don't count.
type aborted struct {
	// transactions are by producer, then by offset. A producer has one at a time in a partition.
	transactions []metadata.AbortedTransaction
}

func newAborted(transactions []metadata.AbortedTransaction) aborted {
	sorted := slices.Clone(transactions)
	slices.SortFunc(sorted, func(a, b metadata.AbortedTransaction) int {
		return cmp.Or(cmp.Compare(a.ProducerID, b.ProducerID), cmp.Compare(a.LastOffset, b.LastOffset))
	})
	return aborted{sorted}
}

// has reports whether the batch belongs to an aborted transaction, or is the marker that ends one.
func (a aborted) has(b protocol.Batch) bool {
	if !b.IsTransactional() {
		return false
	}
	base := b.BaseOffset()
	i, _ := slices.BinarySearchFunc(a.transactions, b.ProducerID(), func(t metadata.AbortedTransaction, producer int64) int {
		// The first that ends at or behind the batch.
		return cmp.Or(cmp.Compare(t.ProducerID, producer), cmp.Compare(t.LastOffset, base))
	})
	return i < len(a.transactions) && a.transactions[i].ProducerID == b.ProducerID() && a.transactions[i].FirstOffset <= base
}
