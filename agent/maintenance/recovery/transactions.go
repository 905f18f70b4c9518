package recovery

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sequence"
)

// transaction is what a producer has written that no end is known of.
type transaction struct {
	producerID int64
	// epoch is the largest that was seen.
	epoch int16
	// row is its transactional ID, nil if the snapshot has none of this producer.
	row *metadata.SnapshotTransaction
	// first holds the first offset in each partition.
	first map[metadata.PartitionID]int64
	// wasOpen: in the snapshot.
	wasOpen bool
	records int64
}

// openBefore takes over the transactions that are open in the snapshot.
func (r *replay) openBefore() {
	for _, t := range r.state.transactions {
		r.maxProducer = max(r.maxProducer, t.ProducerID, t.LastProducerID)
		if t.State == metadata.TransactionOngoing {
			r.transaction(t.ProducerID).wasOpen = true
		}
	}
	for _, p := range r.state.inTransaction {
		// Partitions that are gone, and those without a batch, get no marker.
		if _, exists := r.state.partitions[p.Partition]; exists && p.FirstOffset >= 0 {
			r.transaction(p.ProducerID).first[p.Partition] = p.FirstOffset
		}
	}
}

// transaction returns what the producer has open.
func (r *replay) transaction(producerID int64) *transaction {
	t, ok := r.open[producerID]
	if !ok {
		t = &transaction{producerID: producerID, first: map[metadata.PartitionID]int64{}}
		i := slices.IndexFunc(r.state.transactions, func(row *metadata.SnapshotTransaction) bool { return row.ProducerID == producerID })
		if i >= 0 {
			t.row = r.state.transactions[i]
			t.epoch = t.row.Epoch
		}
		r.open[producerID] = t
	}
	return t
}

// inTransaction notes a batch that was restored.
func (r *replay) inTransaction(b metadata.Batch, partition metadata.PartitionID, offset int64) {
	t := r.transaction(b.ProducerID)
	t.epoch = max(t.epoch, b.ProducerEpoch)
	t.records += int64(b.Records)
	if _, ok := t.first[partition]; !ok {
		t.first[partition] = offset
	}
}

func (r *replay) sortedOpen() []*transaction {
	return slices.SortedFunc(maps.Values(r.open), func(a, b *transaction) int { return cmp.Compare(a.producerID, b.producerID) })
}

func (r *replay) reportTransactions() {
	for _, t := range r.sortedOpen() {
		report := TransactionReport{ProducerID: t.producerID, Open: t.wasOpen, Records: t.records, Partitions: []TransactionPartition{}}
		if t.row != nil {
			report.ID = string(t.row.Name)
		}
		for _, id := range slices.Sorted(maps.Keys(t.first)) {
			at := r.places[id]
			report.Partitions = append(report.Partitions, TransactionPartition{at.topic.Name, at.index, t.first[id]})
		}
		for _, o := range r.state.pending {
			if o.ProducerID == t.producerID {
				report.Offsets++
			}
		}
		r.report.Transactions = append(r.report.Transactions, report)
	}
}

// end commits or aborts all that is open, as of now: markers, what of it was aborted, offsets of groups. Each
// transactional ID gets a new producer, which fences the former one, whatever epoch that had come to.
func (r *replay) end(commit bool, now time.Time) {
	open := r.sortedOpen()
	view := sequence.TransactionsState{
		Now:          now,
		Transactions: map[string]metadata.Transaction{},
		Partitions:   map[metadata.PartitionID]sequence.Partition{},
		Open:         map[metadata.PartitionID][]sequence.OpenTransaction{},
	}
	var requests []metadata.TransactionRequest
	for _, t := range open {
		// An ID of its own for each: of producers that the snapshot doesn't know, we don't know theirs.
		id := fmt.Sprint(t.producerID)
		view.Transactions[id] = metadata.Transaction{
			ID: id, ProducerID: t.producerID, Epoch: t.epoch, State: metadata.TransactionOngoing,
			Partitions: slices.Sorted(maps.Keys(t.first)),
		}
		requests = append(requests, metadata.TransactionRequest{ID: id, Op: metadata.EndTransaction{
			Producer: metadata.ProducerEpoch{ID: t.producerID, Epoch: t.epoch}, Commit: commit, Version: metadata.TransactionV2,
		}})
		for partition, first := range t.first {
			view.Partitions[partition] = r.state.partitionState(partition)
			view.Open[partition] = append(view.Open[partition], sequence.OpenTransaction{ProducerID: t.producerID, FirstOffset: first})
		}
	}
	decision := sequence.DecideTransactions(view, requests)
	for _, p := range decision.Heads {
		r.state.setPartition(p)
	}
	r.runs = append(r.runs, decision.Commit.Runs...)
	for _, a := range decision.Commit.Aborted {
		r.state.aborted = append(r.state.aborted, metadata.SnapshotAborted(a))
		p := r.state.partitions[a.Partition]
		p.LastAborted = max(p.LastAborted, a.LastOffset)
	}
	r.endOffsets(commit)
	for _, t := range open {
		if t.row == nil {
			continue
		}
		t.row.ProducerID, t.row.Epoch = r.newProducerID(), 0
		t.row.LastProducerID, t.row.LastEpoch = -1, -1
		t.row.State, t.row.StartedAt, t.row.UpdatedAt = metadata.TransactionAborted, time.Time{}, now
		if commit {
			t.row.State = metadata.TransactionCommitted
		}
	}
	r.state.inTransaction = nil
}

// endOffsets has the offsets that wait for their transactions count, if they do. Of two, the one that was
// put aside or committed last counts.
func (r *replay) endOffsets(commit bool) {
	for _, o := range r.state.pending {
		key := groupPartition{o.Group, o.Partition}
		if before, ok := r.state.offsets[key]; commit && (!ok || !before.CommittedAt.After(o.PutAt)) {
			r.state.offsets[key] = metadata.SnapshotGroupOffset{
				Group: o.Group, Partition: o.Partition, Offset: o.Offset, LeaderEpoch: o.LeaderEpoch, CommittedAt: o.PutAt, Metadata: o.Metadata,
			}
		}
	}
	r.state.pending = nil
}

func (r *replay) newProducerID() int64 {
	r.raiseProducerIDs()
	r.state.head.NextProducerID++
	return r.state.head.NextProducerID - 1
}

// raiseProducerIDs leaps beyond all producer IDs that the lost store can have handed out, once.
func (r *replay) raiseProducerIDs() {
	if !r.raised {
		r.raised = true
		r.state.head.NextProducerID = max(r.state.head.NextProducerID, r.maxProducer+1) + leap
	}
}

// finish raises what must not be handed out again. What commits and versions of groups there were since the snapshot
// is not known, and agents may remember them.
func (r *replay) finish() {
	r.raiseProducerIDs()
	r.state.deadFiles = append(r.state.deadFiles, r.dead...)
	r.state.head.LastSeq += leap
	r.state.head.GroupVersion += leap
}
