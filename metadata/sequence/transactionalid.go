package sequence

import (
	"slices"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

// The life of a transactional ID:
//
//	         init                    begin
//	unknown ──────▶ Empty ─────────────────────────▶ Ongoing
//	                ▲ │ ▲                             │ │ ▲
//	                │ │ └─ init: aborts, fences ──────┘ │ │ begin
//	                │ │                  end,           │ │
//	           init │ │                  expire: aborts │ │
//	                │ │                                 ▼ │
//	                │ └─ end: aborts nothing (V2) ──▶ Committed, Aborted ─┐
//	                │                                   │    ▲            │
//	                └───────────────────────────────────┘    └────────────┘
//	                                                    end: aborts nothing (V2)
//
// A transaction begins when something is added to it: partitions or a group, and with
// TransactionV2 offsets, or a batch (transactionalbatch.go). Init, expiry and, with V2, each end
// raise the epoch.
//
// The rules are Kafka's (KIP-98, KIP-360, KIP-588, KIP-890 part 2: TransactionCoordinator and
// TransactionMetadata of Apache Kafka 4). What Kafka answers with
// CONCURRENT_TRANSACTIONS, while it is writing markers, doesn't exist here.

// step is what one request does to one transactional ID.
type step struct {
	result metadata.TransactionResult
	// next is the ID's new state, nil if it stays as it is.
	next *metadata.Transaction
	// end is the open transaction's end, nil if it doesn't end.
	end *ending
	// partitions, groups and offsets are added to the open transaction.
	partitions []metadata.PartitionID
	groups     []string
	offsets    []metadata.Offset
}

// ending is how an open transaction ends.
type ending struct {
	// producerID is the one that the transaction had.
	producerID int64
	// epoch is the markers'.
	epoch  int16
	commit bool
	// partitions are the transaction's, ascending.
	partitions []metadata.PartitionID
}

func refuse(err error) step { return step{result: metadata.TransactionResult{Err: err}} }

// initProducer makes the caller the one producer of the ID, which is unknown if t has
// producer ID -1.
func initProducer(t metadata.Transaction, op metadata.InitProducer) step {
	if t.ProducerID < 0 {
		t = metadata.Transaction{
			ID: t.ID, ProducerID: op.NewProducerID, LastProducerID: -1, LastEpoch: -1,
			Version: metadata.TransactionV1, Timeout: op.Timeout,
		}
		return step{next: &t, result: metadata.TransactionResult{Producer: current(t)}}
	}
	t.Timeout = op.Timeout
	switch op.Expected {
	case metadata.NoProducer:
		return takeOver(t, -1, op.NewProducerID)
	case current(t):
		return takeOver(t, t.Epoch, op.NewProducerID)
	case previous(t):
		// The reply to the exchange was lost. Who got as far as a transaction had it.
		if t.State == metadata.TransactionOngoing {
			return refuse(metadata.ErrProducerFenced)
		}
		t.State = metadata.TransactionEmpty
		return step{next: &t, result: metadata.TransactionResult{Producer: current(t)}}
	}
	return refuse(metadata.ErrProducerFenced)
}

// takeOver gives the caller the next epoch; whoever had the ID before is fenced, and
// what that left open aborted. given is the caller's epoch, -1 if it had none.
func takeOver(t metadata.Transaction, given int16, newProducerID int64) step {
	var s step
	if t.State == metadata.TransactionOngoing {
		s.end = endWith(t, false, fencing(t.Epoch))
	}
	exchange(&t, given, newProducerID)
	t.State, t.StartedAt = metadata.TransactionEmpty, time.Time{}
	s.next, s.result.Producer = &t, current(t)
	return s
}

// add adds partitions and a group to the producer's transaction, or only looks
// which partitions are missing.
func add(t metadata.Transaction, op metadata.AddToTransaction, now time.Time) step {
	if err := check(t, op.Producer); err != nil {
		return refuse(err)
	}
	var absent []metadata.PartitionID
	for _, p := range op.Partitions {
		if _, joined := slices.BinarySearch(t.Partitions, p); !joined {
			absent = append(absent, p)
		}
	}
	slices.Sort(absent)
	absent = slices.Compact(absent)
	if op.VerifyOnly {
		return step{result: metadata.TransactionResult{Absent: absent}}
	}
	s := begin(t, metadata.TransactionV1, now)
	s.partitions = absent
	if op.Group != nil && !slices.Contains(t.Groups, *op.Group) {
		s.groups = []string{*op.Group}
	}
	return s
}

// putAside keeps offsets until the producer's transaction is committed. groupVersion
// is the group's at present, 0 if there is none.
func putAside(t metadata.Transaction, op metadata.TransactionOffsets, groupVersion int64, now time.Time) step {
	if err := check(t, op.Producer); err != nil {
		return refuse(err)
	}
	joined := slices.Contains(t.Groups, op.GroupID)
	if !joined && op.Version < metadata.TransactionV2 {
		return refuse(metadata.ErrInvalidTransactionState)
	}
	if groupVersion == 0 || groupVersion != op.GroupVersion {
		return refuse(metadata.ErrGroupVersion)
	}
	s := begin(t, op.Version, now)
	if !joined {
		s.groups = []string{op.GroupID}
	}
	// Of a partition that is named twice, the last offset counts.
	at := make(map[metadata.PartitionID]int, len(op.Offsets))
	for _, o := range op.Offsets {
		o.CommittedAt = now
		if i, ok := at[o.Partition]; ok {
			s.offsets[i] = o
			continue
		}
		at[o.Partition] = len(s.offsets)
		s.offsets = append(s.offsets, o)
	}
	return s
}

// end commits or aborts the producer's transaction.
func end(t metadata.Transaction, op metadata.EndTransaction) step {
	v2 := op.Version >= metadata.TransactionV2
	ended := t.State == metadata.TransactionCommitted || t.State == metadata.TransactionAborted
	repeated := ended && t.State == outcome(op.Commit)
	if v2 && ended && t.Version == metadata.TransactionV2 && op.Producer == previous(t) {
		// The end raised the epoch, and its reply was lost.
		if !repeated {
			return refuse(metadata.ErrInvalidTransactionState)
		}
		return step{result: metadata.TransactionResult{Producer: current(t)}}
	}
	if err := check(t, op.Producer); err != nil {
		return refuse(err)
	}
	switch {
	case t.State == metadata.TransactionOngoing:
	case !v2 && repeated:
		// With the epoch unchanged, nobody can tell a repetition from a second end.
		return step{result: metadata.TransactionResult{Producer: current(t)}}
	case v2 && !op.Commit:
		// A client whose batches were all refused aborts what never began.
	default:
		return refuse(metadata.ErrInvalidTransactionState)
	}

	var s step
	markers := t.Epoch
	if v2 {
		markers = fencing(t.Epoch)
	}
	if t.State == metadata.TransactionOngoing {
		s.end = endWith(t, op.Commit, markers)
	}
	if v2 {
		exchange(&t, t.Epoch, op.NewProducerID)
	}
	t.State, t.Version, t.StartedAt = outcome(op.Commit), op.Version, time.Time{}
	s.next, s.result.Producer = &t, current(t)
	return s
}

// expire aborts the producer's transaction if its time is over, as an end with V2
// would. The producer may go on (KIP-588): it learns of the new epoch as if it had asked
// for it and the reply was lost. With no epoch left for that it is fenced.
func expire(t metadata.Transaction, op metadata.ExpireTransaction, now time.Time) step {
	if err := check(t, op.Producer); err != nil {
		return refuse(err)
	}
	if t.State != metadata.TransactionOngoing || !t.StartedAt.Add(t.Timeout).Before(now) {
		return refuse(metadata.ErrInvalidTransactionState)
	}
	t.LastEpoch = t.Epoch
	if t.Epoch >= metadata.LastProducerEpoch {
		t.LastEpoch = -1
	}
	t.Epoch = fencing(t.Epoch)
	s := step{end: endWith(t, false, t.Epoch), next: &t}
	t.State, t.Version, t.StartedAt = metadata.TransactionAborted, metadata.TransactionV2, time.Time{}
	return s
}

// check says why the producer may not use the ID; nil if it may.
func check(t metadata.Transaction, producer metadata.ProducerEpoch) error {
	switch {
	case t.ProducerID < 0 || t.ProducerID != producer.ID:
		return metadata.ErrProducerIDMapping
	case t.Epoch != producer.Epoch:
		return metadata.ErrProducerFenced
	}
	return nil
}

// begin opens a transaction if none is open.
func begin(t metadata.Transaction, version metadata.TransactionVersion, now time.Time) step {
	if t.State == metadata.TransactionOngoing {
		return step{}
	}
	t.State, t.Version, t.StartedAt = metadata.TransactionOngoing, version, now
	return step{next: &t}
}

// endWith ends the open transaction with markers of the epoch.
func endWith(t metadata.Transaction, commit bool, epoch int16) *ending {
	return &ending{producerID: t.ProducerID, epoch: epoch, commit: commit, partitions: t.Partitions}
}

// exchange gives the producer its next epoch, or a new ID when the epochs have run
// out. given is the epoch that it gives for it itself, -1 when another takes over.
func exchange(t *metadata.Transaction, given int16, newProducerID int64) {
	t.LastEpoch = given
	if t.Epoch < metadata.LastProducerEpoch {
		t.Epoch++
		return
	}
	t.LastProducerID, t.ProducerID, t.Epoch = t.ProducerID, newProducerID, 0
}

// fencing is the epoch that fences the producer of the given one.
func fencing(epoch int16) int16 { return min(epoch, metadata.LastProducerEpoch) + 1 }

// current is the one producer that may use the ID.
func current(t metadata.Transaction) metadata.ProducerEpoch {
	return metadata.ProducerEpoch{ID: t.ProducerID, Epoch: t.Epoch}
}

// previous is the producer that may ask once more and learn that it is the current one
// now; NoProducer if none may. Epoch 0 was exchanged for the last one of another ID.
func previous(t metadata.Transaction) metadata.ProducerEpoch {
	switch {
	case t.LastEpoch < 0:
		return metadata.NoProducer
	case t.Epoch == 0:
		return metadata.ProducerEpoch{ID: t.LastProducerID, Epoch: t.LastEpoch}
	}
	return metadata.ProducerEpoch{ID: t.ProducerID, Epoch: t.LastEpoch}
}

func outcome(commit bool) metadata.TransactionState {
	if commit {
		return metadata.TransactionCommitted
	}
	return metadata.TransactionAborted
}
