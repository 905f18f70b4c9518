package protocol

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// LeaderEpoch is the leader epoch of every partition, in every answer and in
// every batch sent: no partition ever changes its leader, as any agent serves any of them.
const LeaderEpoch int32 = 0

// BatchHeaderSize is the size of a batch without its records.
const BatchHeaderSize = 61

// Positions in a record batch of magic 2 (KIP-98), all numbers big-endian:
//
//	 0 base offset      int64    not in the CRC
//	 8 length           int32    of what follows this field
//	12 leader epoch     int32    not in the CRC
//	16 magic            int8     2
//	17 CRC-32C          uint32   of all that follows
//	21 attributes       int16    bits 0-2 codec, 3 log append time, 4 transactional, 5 control, 6 delete horizon
//	23 last offset delta int32
//	27 base timestamp   int64    ms; with a delete horizon that
//	35 max timestamp    int64    ms
//	43 producer ID      int64
//	51 producer epoch   int16
//	53 base sequence    int32
//	57 record count     int32
//	61 records, compressed together
const (
	atLength          = 8
	atLeaderEpoch     = 12
	atMagic           = 16
	atCRC             = 17
	atAttributes      = 21
	atLastOffsetDelta = 23
	atBaseTimestamp   = 27
	atMaxTimestamp    = 35
	atProducerID      = 43
	atProducerEpoch   = 51
	atBaseSequence    = 53
	atNumRecords      = 57
)

const (
	attributeCodec         = 0x07
	attributeLogAppendTime = 0x08
	attributeTransactional = 0x10
	attributeControl       = 0x20
	attributeDeleteHorizon = 0x40
)

// batchPrefixSize is what the length field does not count.
const batchPrefixSize = atLength + 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Batch is exactly one record batch of magic 2. It aliases what it was split
// from. Get one from [NextBatch]: the methods rely on its length.
type Batch []byte

// NextBatch splits the first batch off. What the batch says about itself, besides
// its length and magic, is for [Batch.Validate] to judge.
//
// Errors: ErrCorruptBatch when b is shorter than a header or than the length
// announced, or the length is impossible; ErrMagic for another format.
func NextBatch(b []byte) (batch Batch, rest []byte, err error) {
	if len(b) <= atMagic {
		return nil, nil, fmt.Errorf("%w: %d bytes", ErrCorruptBatch, len(b))
	}
	// The magic comes first: formats 0 and 1 have smaller headers.
	if magic := int8(b[atMagic]); magic != 2 {
		return nil, nil, fmt.Errorf("%w: %d", ErrMagic, magic)
	}
	size := int64(int32(binary.BigEndian.Uint32(b[atLength:]))) + batchPrefixSize
	if size < BatchHeaderSize || size > int64(len(b)) {
		return nil, nil, fmt.Errorf("%w: announces %d bytes of %d", ErrCorruptBatch, size, len(b))
	}
	return Batch(b[:size:size]), b[size:], nil
}

// BaseOffset is the offset of the first record; a producer's is meaningless.
func (b Batch) BaseOffset() int64 { return int64(binary.BigEndian.Uint64(b)) }

// Size is the whole batch's length in bytes.
func (b Batch) Size() int { return len(b) }

// LeaderEpoch is the epoch of the leader that appended the batch.
func (b Batch) LeaderEpoch() int32 { return int32(binary.BigEndian.Uint32(b[atLeaderEpoch:])) }

// CRC is the checksum as stored.
func (b Batch) CRC() uint32 { return binary.BigEndian.Uint32(b[atCRC:]) }

// Attributes are the flags as stored.
func (b Batch) Attributes() int16 { return int16(binary.BigEndian.Uint16(b[atAttributes:])) }

// LastOffsetDelta is the last record's offset minus the base offset. Compacted
// batches keep it when their last records go.
func (b Batch) LastOffsetDelta() int32 { return int32(binary.BigEndian.Uint32(b[atLastOffsetDelta:])) }

// BaseTimestamp is what the records' timestamps count from, in ms since the
// epoch: the first record's, or -1 for none; or the delete horizon (see [Batch.DeleteHorizon]).
func (b Batch) BaseTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[atBaseTimestamp:])) }

// MaxTimestamp is the largest record timestamp in ms since the epoch; -1 for
// none. With LogAppendTime it is every record's timestamp.
func (b Batch) MaxTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[atMaxTimestamp:])) }

// ProducerID is the idempotent producer's ID, -1 without one.
func (b Batch) ProducerID() int64 { return int64(binary.BigEndian.Uint64(b[atProducerID:])) }

// ProducerEpoch is -1 without a producer ID, also where the field says
// something else: kafkajs leaves a 0 there.
func (b Batch) ProducerEpoch() int16 {
	if b.ProducerID() < 0 {
		return -1
	}
	return int16(binary.BigEndian.Uint16(b[atProducerEpoch:]))
}

// BaseSequence is the first record's sequence number, -1 without a producer ID,
// also where the field says something else: Sarama and kafkajs leave a 0 there.
func (b Batch) BaseSequence() int32 {
	if b.ProducerID() < 0 {
		return -1
	}
	return int32(binary.BigEndian.Uint32(b[atBaseSequence:]))
}

// NumRecords is the number of records.
func (b Batch) NumRecords() int32 { return int32(binary.BigEndian.Uint32(b[atNumRecords:])) }

// Codec is how the records are compressed; it may be one that does not exist.
func (b Batch) Codec() Codec { return Codec(b.Attributes() & attributeCodec) }

// IsControl tells a transaction marker from data.
func (b Batch) IsControl() bool { return b.Attributes()&attributeControl != 0 }

// IsTransactional: the records wait for their transaction's end.
func (b Batch) IsTransactional() bool { return b.Attributes()&attributeTransactional != 0 }

// LogAppendTime: the broker set the timestamps, not the producer.
func (b Batch) LogAppendTime() bool { return b.Attributes()&attributeLogAppendTime != 0 }

// DeleteHorizon is when compaction may drop the batch's tombstones, or the marker that it is, in ms
// since the epoch; false before compaction has met them for the first time (KIP-534).
func (b Batch) DeleteHorizon() (ms int64, ok bool) {
	return b.BaseTimestamp(), b.Attributes()&attributeDeleteHorizon != 0
}

// CheckCRC reports whether the stored checksum is the content's.
func (b Batch) CheckCRC() bool { return b.CRC() == b.checksum() }

func (b Batch) checksum() uint32 { return crc32.Checksum(b[atAttributes:], castagnoli) }

// SetBaseOffset patches the base offset, which the CRC does not cover.
func (b Batch) SetBaseOffset(offset int64) { binary.BigEndian.PutUint64(b, uint64(offset)) }

// SetLeaderEpoch patches the leader epoch, which the CRC does not cover.
func (b Batch) SetLeaderEpoch(epoch int32) {
	binary.BigEndian.PutUint32(b[atLeaderEpoch:], uint32(epoch))
}

// SetLogAppendTime gives all records the broker's time, in ms since the epoch
// (message.timestamp.type=LogAppendTime), and corrects the CRC.
func (b Batch) SetLogAppendTime(ms int64) {
	binary.BigEndian.PutUint16(b[atAttributes:], uint16(b.Attributes()|attributeLogAppendTime))
	b.setMaxTimestamp(ms)
}

func (b Batch) setMaxTimestamp(ms int64) {
	binary.BigEndian.PutUint64(b[atMaxTimestamp:], uint64(ms))
	binary.BigEndian.PutUint32(b[atCRC:], b.checksum())
}
