package protocol

import (
	"encoding/binary"
	"fmt"
)

// Key is what compaction looks at in a record.
type Key struct {
	// Offset is absolute.
	Offset int64
	// Key is nil for null. It aliases the batch, or the buffer that the batch was decompressed into.
	Key []byte
	// Tombstone: the value is null.
	Tombstone bool
}

// WalkKeys visits the records in order until visit returns false. It decompresses like
// [Batch.Records], with the same errors, and allocates nothing for a record.
func (b Batch) WalkKeys(limit int, visit func(Key) bool) error {
	payload, err := b.payload(limit)
	if err != nil {
		return err
	}
	return b.walkRecords(payload, func(raw rawRecord) bool { return visit(b.key(raw)) })
}

func (b Batch) key(raw rawRecord) Key {
	return Key{Offset: b.BaseOffset() + int64(raw.offsetDelta), Key: raw.key, Tombstone: raw.value == nil}
}

// NoHorizon is the horizon of batches that get none.
const NoHorizon = -1

// Filter returns the batch with those of its records that keep wants, as Kafka's log cleaner writes it
// (MemoryRecords.filterTo): all have their offsets, and the batch its codec, its producer's fields and the
// offsets it covers. Timestamps count from the first record left.
//
// If a tombstone is left and the batch has no delete horizon yet it gets this one (ms since the
// epoch), unless that is NoHorizon. If nothing changes, the batch itself is returned, byte for byte; if no
// record is left, nil. limit bounds the decompression in bytes. Errors: as [Batch.Records] yields,
// and those of [Compress].
func (b Batch) Filter(limit int, horizon int64, keep func(Key) bool) (Batch, error) {
	payload, err := b.payload(limit)
	if err != nil {
		return nil, err
	}
	var kept bitmap
	records, left, tombstones := 0, 0, false
	err = b.walkRecords(payload, func(raw rawRecord) bool {
		k := keep(b.key(raw))
		kept.append(records, k)
		records++
		if k {
			left++
			tombstones = tombstones || raw.value == nil
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	_, has := b.DeleteHorizon()
	if !tombstones || has {
		horizon = NoHorizon
	}
	switch {
	case left == 0:
		return nil, nil
	case left == records && horizon == NoHorizon:
		return b, nil
	}
	return b.rebuild(payload, kept, horizon)
}

// WithDeleteHorizon returns a copy of the batch that has the delete horizon, in ms since the epoch. It is
// how the markers that end transactions get theirs. Errors: as [Batch.Filter].
func (b Batch) WithDeleteHorizon(limit int, ms int64) (Batch, error) {
	payload, err := b.payload(limit)
	if err != nil {
		return nil, err
	}
	return b.rebuild(payload, nil, ms)
}

// Empty returns a batch without records that covers the same offsets, as Kafka's log cleaner leaves it
// (DefaultRecordBatch.writeEmptyHeader) where a log must not end before them.
func (b Batch) Empty() Batch {
	e := append(Batch(nil), b[:BatchHeaderSize]...)
	e.setAttributes(b.Attributes() &^ (attributeCodec | attributeDeleteHorizon))
	binary.BigEndian.PutUint64(e[atBaseTimestamp:], 1<<64-1) // -1, none
	binary.BigEndian.PutUint32(e[atNumRecords:], 0)
	e.seal()
	return e
}

// rebuild writes a batch anew, with the records that are kept (nil for all) and, unless it is
// NoHorizon, the delete horizon. Some record is kept.
func (b Batch) rebuild(payload []byte, kept bitmap, horizon int64) (Batch, error) {
	base, hasBase := b.BaseTimestamp(), false
	if horizon != NoHorizon {
		base, hasBase = horizon, true
	} else if _, has := b.DeleteHorizon(); has {
		hasBase = true
	}
	i, written, newest := 0, 0, int64(-1)
	records := make([]byte, 0, len(payload))
	if b.Codec() == CodecNone {
		records = append(make([]byte, 0, len(b)), b[:BatchHeaderSize]...)
	}
	err := b.walkRecords(payload, func(raw rawRecord) bool {
		if i++; kept != nil && !kept.at(i-1) {
			return true
		}
		timestamp := b.BaseTimestamp() + raw.timestampDelta
		if b.LogAppendTime() {
			timestamp = b.MaxTimestamp()
		}
		if !hasBase {
			base, hasBase = timestamp, true
		}
		newest = max(newest, timestamp)
		records = raw.append(records, timestamp-base)
		written++
		return true
	})
	if err != nil {
		return nil, err
	}
	out := Batch(records)
	if b.Codec() != CodecNone {
		header := append(make([]byte, 0, len(b)), b[:BatchHeaderSize]...)
		if out, err = appendCompressed(header, b.Codec(), b.Codec().DefaultLevel(), records); err != nil {
			return nil, fmt.Errorf("compress %d records anew: %w", written, err)
		}
	}
	if horizon != NoHorizon {
		out.setAttributes(b.Attributes() | attributeDeleteHorizon)
	}
	if !b.LogAppendTime() {
		binary.BigEndian.PutUint64(out[atMaxTimestamp:], uint64(newest))
	}
	binary.BigEndian.PutUint64(out[atBaseTimestamp:], uint64(base))
	binary.BigEndian.PutUint32(out[atNumRecords:], uint32(written))
	out.seal()
	return out, nil
}

// append appends the record with another timestamp delta.
func (r rawRecord) append(dst []byte, timestampDelta int64) []byte {
	var delta [binary.MaxVarintLen64]byte
	n := binary.PutVarint(delta[:], timestampDelta)
	dst = binary.AppendVarint(dst, int64(1+n+len(r.tail)))
	dst = append(dst, r.attributes)
	dst = append(dst, delta[:n]...)
	return append(dst, r.tail...)
}

func (b Batch) setAttributes(attributes int16) {
	binary.BigEndian.PutUint16(b[atAttributes:], uint16(attributes))
}

// seal sets the length and the CRC.
func (b Batch) seal() {
	binary.BigEndian.PutUint32(b[atLength:], uint32(len(b)-batchPrefixSize))
	binary.BigEndian.PutUint32(b[atCRC:], b.checksum())
}

// bitmap has a bit for each record of a batch: a batch may have millions.
type bitmap []uint64

// append sets bit i, which is the next.
func (m *bitmap) append(i int, set bool) {
	if i%64 == 0 {
		*m = append(*m, 0)
	}
	if set {
		(*m)[i/64] |= 1 << (i % 64)
	}
}

func (m bitmap) at(i int) bool { return m[i/64]&(1<<(i%64)) != 0 }
