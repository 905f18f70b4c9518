package sequence

import (
	"math"

	"github.com/wadi-log/wadi/metadata"
)

// Restore is Decide for one file that was committed once, or may have been, to a store that is lost: what
// the file holds must not get lost with it. So it asks nothing of the file's age and of transactions, whose
// ends are to be decided when all files are restored; and what doesn't follow its producer's last batch is
// accepted all the same. Such a batch has an Outcome with an offset and an error, which says why Decide
// would have refused it.
//
// Duplicates are duplicates, and so is what committed reports, which is asked about batches that aren't
// among the last few of their producers, and returns the original offset, or -1.
//
// The partitions of the file must exist. Of the decision there are no Transactions and no
// TransactionPartitions.
func Restore(state State, file metadata.File, committed func(ProducerKey, metadata.Batch) (offset int64, ok bool)) (Decision, error) {
	d := newDecider(state)
	d.restored = committed
	if at, ok := FileTime(file.ID); ok {
		d.state.Now = at
	}
	return d.decide([]metadata.File{file})
}

// restore decides on a batch that none of its producer's last ones is, when it is restored at the offset.
func (d *decider) restore(key ProducerKey, b metadata.Batch, offset int64) metadata.Outcome {
	if original, ok := d.restored(key, b); ok {
		return metadata.Outcome{BaseOffset: original, Duplicate: true}
	}
	producer, known := d.producer(key)
	out := metadata.Outcome{BaseOffset: offset}
	if known {
		out.Err = producer.check(b)
	}
	// A batch from before the last one tells nothing of what its producer does next.
	if !known || !producer.Precedes(b) {
		d.producers[key] = producer.with(b, offset)
	}
	return out
}

// Precedes tells whether the batch is from before the producer's next one: its epoch is older, or its
// sequence is behind. (Sequences wrap; of two, the one is behind that is less than half of all away.)
func (p Producer) Precedes(b metadata.Batch) bool {
	if b.ProducerEpoch != p.Epoch {
		return b.ProducerEpoch < p.Epoch
	}
	behind := (int64(p.next()) - int64(b.BaseSequence)) & math.MaxInt32
	return behind > 0 && behind <= math.MaxInt32/2
}
