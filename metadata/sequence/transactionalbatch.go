package sequence

import (
	"cmp"
	"slices"

	"github.com/wadi-log/wadi/metadata"
)

// checkTransaction says why the batch may not enter its producer's transaction; nil
// when it may. That it is asked under the lock under which transactions end
// is what keeps stragglers out: a batch is before its marker, or refused.
func (d *decider) checkTransaction(key ProducerKey, b metadata.Batch) error {
	t, known := d.transaction(key.ProducerID)
	_, joined := d.inTransaction(key)
	switch {
	case !known:
		return metadata.ErrProducerIDMapping
	case t.Epoch != b.ProducerEpoch:
		return metadata.ErrInvalidProducerEpoch
	case b.AddsPartition:
		return nil
	case !joined:
		return metadata.ErrInvalidTransactionState
	}
	return nil
}

// enterTransaction enters the batch, which was accepted at the offset.
func (d *decider) enterTransaction(key ProducerKey, offset int64) {
	t, _ := d.transaction(key.ProducerID)
	if s := begin(t, metadata.TransactionV2, d.state.Now); s.next != nil {
		s.next.UpdatedAt = d.state.Now
		d.transactions[key.ProducerID] = *s.next
	}
	if first, joined := d.inTransaction(key); !joined || first < 0 {
		d.firstOffsets[key] = offset
	}
}

func (d *decider) transaction(producerID int64) (metadata.Transaction, bool) {
	if t, ok := d.transactions[producerID]; ok {
		return t, true
	}
	t, ok := d.state.Transactions[producerID]
	return t, ok
}

func (d *decider) inTransaction(key ProducerKey) (firstOffset int64, ok bool) {
	if first, ok := d.firstOffsets[key]; ok {
		return first, true
	}
	first, ok := d.state.InTransaction[key]
	return first, ok
}

// transactionChanges lists the transactions that began and the partitions that got
// their first batch of one.
func (d *decider) transactionChanges() (began []TransactionChange, partitions []TransactionPartitionChange) {
	for _, t := range d.transactions {
		began = append(began, TransactionChange{Transaction: t})
	}
	for key, first := range d.firstOffsets {
		_, joined := d.state.InTransaction[key]
		partitions = append(partitions, TransactionPartitionChange{
			TransactionPartition: TransactionPartition{ProducerID: key.ProducerID, Partition: key.Partition, FirstOffset: first},
			New:                  !joined,
		})
	}
	slices.SortFunc(began, func(a, b TransactionChange) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(partitions, func(a, b TransactionPartitionChange) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.ProducerID, b.ProducerID))
	})
	return began, partitions
}
