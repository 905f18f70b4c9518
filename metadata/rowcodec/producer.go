package rowcodec

import (
	"encoding/binary"
	"math"

	"github.com/wadi-log/wadi/metadata/sequence"
)

// EncodeProducerBatches encodes the last batches of a producer:
//
//	version  byte
//	batches  count, then each, oldest first:
//	           first sequence
//	           (last - first) mod 2^31
//	           base offset
func EncodeProducerBatches(last []sequence.ProducerBatch) []byte {
	b := make([]byte, 0, 2+12*len(last))
	b = append(b, version)
	b = binary.AppendUvarint(b, uint64(len(last)))
	for _, e := range last {
		b = binary.AppendUvarint(b, uint64(e.FirstSequence))
		b = binary.AppendUvarint(b, uint64((int64(e.LastSequence)-int64(e.FirstSequence))&math.MaxInt32))
		b = binary.AppendUvarint(b, uint64(e.BaseOffset))
	}
	return b
}

// DecodeProducerBatches is the reverse of EncodeProducerBatches. It returns at
// least one batch and at most [sequence.Window].
func DecodeProducerBatches(b []byte) ([]sequence.ProducerBatch, error) {
	r := newReader(b)
	n := r.count(3)
	if n < 1 || n > sequence.Window {
		r.fail("%d batches", n)
		return nil, r.done()
	}
	last := make([]sequence.ProducerBatch, n)
	for i := range last {
		e := &last[i]
		e.FirstSequence = r.int32()
		e.LastSequence = int32((int64(e.FirstSequence) + int64(r.int32())) & math.MaxInt32)
		if e.BaseOffset = int64(r.uvarint()); e.BaseOffset < 0 {
			r.fail("offset %d", e.BaseOffset)
		}
	}
	if err := r.done(); err != nil {
		return nil, err
	}
	return last, nil
}
