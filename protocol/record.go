package protocol

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
)

// Record is one record of a batch. Its bytes alias the batch, or the buffer
// that the batch was decompressed into.
type Record struct {
	// Offset is absolute.
	Offset int64
	// Timestamp is in ms since the epoch, -1 for none: the record's own, or the
	// batch's max timestamp with LogAppendTime.
	Timestamp int64
	// Key and Value are nil for null, which is not the same as empty.
	Key, Value []byte
	Headers    []Header
}

// Header is a record header: a key that may repeat, and a value, nil for null.
type Header struct {
	Key   string
	Value []byte
}

// Records decodes the batch's records in order. A compressed batch is
// decompressed whole, at most to limit bytes.
//
// After an error (yielded with a zero Record) there is nothing more: ErrTooLarge,
// ErrCorruptBatch when the records don't decompress, ErrInvalidRecord when they
// are not what the header says, ErrUnsupportedCodec.
func (b Batch) Records(limit int) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		payload, err := b.payload(limit)
		if err != nil {
			yield(Record{}, err)
			return
		}
		base, baseTimestamp := b.BaseOffset(), b.BaseTimestamp()
		appendTime := b.LogAppendTime()
		err = b.walkRecords(payload, func(raw rawRecord) bool {
			record := Record{
				Offset:    base + int64(raw.offsetDelta),
				Timestamp: baseTimestamp + raw.timestampDelta,
				Key:       raw.key,
				Value:     raw.value,
				Headers:   raw.decodeHeaders(),
			}
			if appendTime {
				record.Timestamp = b.MaxTimestamp()
			}
			return yield(record, nil)
		})
		if err != nil {
			yield(Record{}, err)
		}
	}
}

// rawRecord is a record as it lies in the payload, structure checked.
type rawRecord struct {
	attributes     byte
	timestampDelta int64
	// tail is all that follows the timestamp delta.
	tail        []byte
	offsetDelta int32
	key, value  []byte
	headerCount int
	headers     []byte
}

func (r rawRecord) decodeHeaders() []Header {
	if r.headerCount == 0 {
		return nil
	}
	headers := make([]Header, r.headerCount)
	p := payloadReader{src: r.headers}
	for i := range headers {
		headers[i] = Header{Key: string(p.varintBytes()), Value: p.varintBytes()}
	}
	return headers
}

// walkRecords checks that the payload is exactly the records that the header
// announces, with ascending offset deltas up to the header's last, and hands each to visit
// (which may be nil) until it returns false. In a batch that was never compacted the deltas are
// 0, 1, ...: that the header has as many records as offsets, which Validate asks of producers,
// leaves no room for gaps. Layout of a record (KIP-98), all but the attributes varints:
//
//	length, attributes int8, timestamp delta, offset delta, key length, key,
//	value length, value, header count, {key length, key, value length, value}
//
// Errors: ErrInvalidRecord.
func (b Batch) walkRecords(payload []byte, visit func(rawRecord) bool) error {
	base := b.BaseTimestamp()
	p := payloadReader{src: payload}
	count, last := b.NumRecords(), b.LastOffsetDelta()
	before := int32(-1)
	var raw rawRecord
	for i := range count {
		length := p.varint()
		if p.bad || length < 0 || length > int64(len(p.src)) {
			return fmt.Errorf("%w: record %d of %d announces %d bytes, %d are left", ErrInvalidRecord, i, count, length, len(p.src))
		}
		switch problem := raw.parse(p.src[:length:length]); {
		case problem != "":
			return fmt.Errorf("%w: record %d of %d: %s", ErrInvalidRecord, i, count, problem)
		case raw.offsetDelta <= before || raw.offsetDelta > last:
			return fmt.Errorf("%w: record %d of %d has offset delta %d, the one before %d and the batch's last %d",
				ErrInvalidRecord, i, count, raw.offsetDelta, before, last)
		case !saneTimestamp(base, raw.timestampDelta):
			return fmt.Errorf("%w: record %d of %d has timestamp delta %d to %d", ErrInvalidRecord, i, count, raw.timestampDelta, base)
		}
		before = raw.offsetDelta
		p.src = p.src[length:]
		if visit != nil && !visit(raw) {
			return nil
		}
	}
	if len(p.src) > 0 {
		return fmt.Errorf("%w: %d bytes after %d records", ErrInvalidRecord, len(p.src), count)
	}
	return nil
}

// saneTimestamp: the sum fits and is a point in time or -1, none.
func saneTimestamp(base, delta int64) bool {
	if delta > 0 && base > math.MaxInt64-delta {
		return false
	}
	return base+delta >= -1
}

// parse takes a record apart; it returns "" when it is sound.
func (r *rawRecord) parse(src []byte) (problem string) {
	if len(src) == 0 {
		return "no bytes"
	}
	p := payloadReader{src: src[1:]} // no attribute of a record means anything yet
	r.attributes = src[0]
	r.timestampDelta = p.varint()
	r.tail = p.src
	offsetDelta := p.varint()
	r.key = p.varintBytes()
	r.value = p.varintBytes()
	count := p.varint()
	switch {
	case p.bad:
		return "fields exceed the record"
	case offsetDelta < 0 || offsetDelta > math.MaxInt32:
		return "offset delta out of range"
	case count < 0 || count > int64(len(p.src))/2:
		// A header takes two bytes at least, its two lengths.
		return "impossible number of headers"
	}
	r.offsetDelta = int32(offsetDelta)
	r.headerCount = int(count)
	r.headers = p.src
	for range count {
		if p.varintBytes() == nil || p.bad {
			return "header without key"
		}
		p.varintBytes()
	}
	switch {
	case p.bad:
		return "headers exceed the record"
	case len(p.src) > 0:
		return "bytes after the headers"
	}
	return ""
}

// payloadReader takes zigzag varints, and bytes with a varint in front.
type payloadReader struct {
	src []byte
	bad bool
}

func (p *payloadReader) varint() int64 {
	// Nearly all varints in records are of one byte.
	if len(p.src) > 0 && p.src[0] < 0x80 {
		v := p.src[0]
		p.src = p.src[1:]
		return int64(v>>1) ^ -int64(v&1)
	}
	v, n := binary.Varint(p.src)
	if n <= 0 {
		p.bad, p.src = true, nil
		return 0
	}
	p.src = p.src[n:]
	return v
}

// varintBytes returns nil for a length of -1, null. Empty is not nil.
func (p *payloadReader) varintBytes() []byte {
	length := p.varint()
	if length == -1 || p.bad {
		return nil
	}
	if length < 0 || length > int64(len(p.src)) {
		p.bad, p.src = true, nil
		return nil
	}
	span := p.src[:length:length]
	p.src = p.src[length:]
	return span
}
