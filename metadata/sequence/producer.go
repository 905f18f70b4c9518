package sequence

import (
	"math"

	"github.com/wadi-log/wadi/metadata"
)

// Window is how many of a producer's last batches are remembered in each
// partition: as many as a client may have in flight on one connection.
const Window = 5

// ProducerKey names a producer's state: idempotence is per partition.
type ProducerKey struct {
	Partition  metadata.PartitionID
	ProducerID int64
}

// Producer is the state of an idempotent producer in one partition.
//
// The rules are Kafka's (KIP-98, and ProducerAppendInfo and ProducerStateEntry
// of Apache Kafka 4): a producer without state may start anywhere; within its
// epoch each batch follows the last one; a newer epoch starts at sequence 0;
// an older one is fenced. A batch that repeats one of the last [Window] is a
// duplicate; one that is older still is out of order, like any other that
// does not follow.
type Producer struct {
	Epoch int16
	// Last holds the last batches of the epoch, oldest first: one to [Window].
	Last []ProducerBatch
}

// ProducerBatch is one remembered batch.
type ProducerBatch struct {
	// FirstSequence and LastSequence are inclusive; a batch that straddles the
	// wrap has LastSequence < FirstSequence.
	FirstSequence int32
	LastSequence  int32
	BaseOffset    int64
}

// duplicate looks for the batch among the last ones and returns its original offset.
func (p Producer) duplicate(b metadata.Batch) (offset int64, ok bool) {
	if b.ProducerEpoch != p.Epoch {
		return 0, false
	}
	last := lastSequence(b)
	for _, before := range p.Last {
		if before.FirstSequence == b.BaseSequence && before.LastSequence == last {
			return before.BaseOffset, true
		}
	}
	return 0, false
}

// check says why the batch may not follow; nil when it may.
func (p Producer) check(b metadata.Batch) error {
	switch {
	case b.ProducerEpoch < p.Epoch:
		return metadata.ErrInvalidProducerEpoch
	case b.ProducerEpoch > p.Epoch:
		if b.BaseSequence != 0 {
			return metadata.ErrOutOfOrderSequence
		}
	case b.BaseSequence != p.next():
		return metadata.ErrOutOfOrderSequence
	}
	return nil
}

// next is the sequence that the producer's next batch starts with.
func (p Producer) next() int32 {
	return addSequence(p.Last[len(p.Last)-1].LastSequence, 1)
}

// with returns the state after the batch was accepted at the offset. It shares
// nothing with p.
func (p Producer) with(b metadata.Batch, offset int64) Producer {
	before := p.Last
	if b.ProducerEpoch != p.Epoch {
		before = nil
	}
	if len(before) == Window {
		before = before[1:]
	}
	last := make([]ProducerBatch, 0, len(before)+1)
	last = append(last, before...)
	last = append(last, ProducerBatch{FirstSequence: b.BaseSequence, LastSequence: lastSequence(b), BaseOffset: offset})
	return Producer{Epoch: b.ProducerEpoch, Last: last}
}

func lastSequence(b metadata.Batch) int32 {
	return addSequence(b.BaseSequence, b.Records-1)
}

// addSequence adds modulo 2^31: 2147483647 is followed by 0.
func addSequence(sequence, n int32) int32 {
	return int32((int64(sequence) + int64(n)) & math.MaxInt32)
}
