package protocol

import "encoding/binary"

// EndMarkerSize is the size in bytes of an EndMarker's batch.
const EndMarkerSize = BatchHeaderSize + 17

// EndMarker ends a producer's transaction in a partition: in Kafka's words a
// control batch with one control record (KIP-98).
type EndMarker struct {
	ProducerID    int64
	ProducerEpoch int16
	// Commit: the transaction's records count; else they were aborted.
	Commit bool
	// Timestamp is in ms since the epoch.
	Timestamp int64
}

// coordinatorEpoch is what a marker says of the coordinator that wrote it. As
// partitions have no leaders that change, transactional IDs have no coordinators.
const coordinatorEpoch = LeaderEpoch

// AppendTo appends the marker's batch, which takes one offset. Its base offset and leader
// epoch are for the caller to set. The one record, behind the header:
//
//	61 length             varint   16
//	62 attributes, timestamp delta, offset delta   0 each
//	65 key length         varint   4
//	66 key                int16    version 0
//	68                    int16    0 abort, 1 commit
//	70 value length       varint   6
//	71 value              int16    version 0
//	73                    int32    coordinator epoch
//	77 number of headers  varint   0
func (m EndMarker) AppendTo(dst []byte) []byte {
	var b [EndMarkerSize]byte
	binary.BigEndian.PutUint32(b[atLength:], EndMarkerSize-batchPrefixSize)
	b[atMagic] = 2
	binary.BigEndian.PutUint16(b[atAttributes:], attributeTransactional|attributeControl)
	binary.BigEndian.PutUint64(b[atBaseTimestamp:], uint64(m.Timestamp))
	binary.BigEndian.PutUint64(b[atMaxTimestamp:], uint64(m.Timestamp))
	binary.BigEndian.PutUint64(b[atProducerID:], uint64(m.ProducerID))
	binary.BigEndian.PutUint16(b[atProducerEpoch:], uint16(m.ProducerEpoch))
	binary.BigEndian.PutUint32(b[atBaseSequence:], 1<<32-1) // -1: markers take no sequence
	binary.BigEndian.PutUint32(b[atNumRecords:], 1)
	b[61], b[65], b[70] = 16<<1, 4<<1, 6<<1 // varints are zigzag
	if m.Commit {
		b[69] = 1
	}
	binary.BigEndian.PutUint32(b[73:], uint32(coordinatorEpoch))
	binary.BigEndian.PutUint32(b[atCRC:], Batch(b[:]).checksum())
	return append(dst, b[:]...)
}

// EndsTransaction reports whether the batch is an EndMarker's, and whether that commits. Of other
// batches, other control batches and markers that compaction has emptied ok is false.
func (b Batch) EndsTransaction() (commit, ok bool) {
	if !b.IsControl() || !b.IsTransactional() {
		return false, false
	}
	for record, err := range b.Records(maxControlBytes) {
		if err != nil || len(record.Key) < 4 {
			return false, false
		}
		kind := binary.BigEndian.Uint16(record.Key[2:])
		return kind == 1, kind <= 1
	}
	return false, false
}

// maxControlBytes is more than the record of a control batch takes.
const maxControlBytes = 1 << 20
