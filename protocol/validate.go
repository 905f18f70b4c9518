package protocol

import (
	"fmt"
)

// Validate judges a batch as a producer sent it, without decompressing: length,
// magic, CRC-32C, record count, codec, timestamps, producer fields, and the
// structure of every record when they are not compressed. The base offset and the
// leader epoch are the broker's and not looked at. Whether control batches,
// transactions, sizes and points in time are allowed is the caller's business.
//
// Errors: ErrCorruptBatch, ErrMagic, ErrInvalidRecord; for a codec that does not
// exist ErrInvalidRecord and ErrUnsupportedCodec in one.
func (b Batch) Validate() error {
	if err := b.validateFrame(); err != nil {
		return err
	}
	records, last := b.NumRecords(), b.LastOffsetDelta()
	switch {
	case records <= 0:
		return fmt.Errorf("%w: batch of %d records", ErrInvalidRecord, records)
	case last != records-1:
		return fmt.Errorf("%w: last offset delta %d in a batch of %d records", ErrInvalidRecord, last, records)
	}
	return b.validateContent()
}

// ValidateStored judges a batch as compaction may leave it: as Validate, but records may be missing, all of
// them, too. Errors: those of Validate.
func (b Batch) ValidateStored() error {
	if err := b.validateFrame(); err != nil {
		return err
	}
	if records, last := b.NumRecords(), b.LastOffsetDelta(); records < 0 || last < 0 || int64(records) > int64(last)+1 {
		return fmt.Errorf("%w: last offset delta %d in a batch of %d records", ErrInvalidRecord, last, records)
	}
	return b.validateContent()
}

// validateFrame: the batch is one, and what was written.
func (b Batch) validateFrame() error {
	whole, rest, err := NextBatch(b)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("%w: %d bytes after %d announced", ErrCorruptBatch, len(rest), len(whole))
	}
	if sum := b.checksum(); sum != b.CRC() {
		return fmt.Errorf("%w: CRC %08x, computed %08x", ErrCorruptBatch, b.CRC(), sum)
	}
	return nil
}

// validateContent judges all but the number of records.
func (b Batch) validateContent() error {
	switch {
	case !b.Codec().valid():
		return fmt.Errorf("%w: %w: %d", ErrInvalidRecord, ErrUnsupportedCodec, b.Codec())
	case b.BaseTimestamp() < -1 || b.MaxTimestamp() < -1:
		return fmt.Errorf("%w: timestamps %d to %d", ErrInvalidRecord, b.BaseTimestamp(), b.MaxTimestamp())
	}
	if err := b.validateProducer(); err != nil {
		return err
	}
	if b.Codec() != CodecNone {
		return nil
	}
	return b.walkRecords(b[BatchHeaderSize:], nil)
}

// validateProducer: a producer ID needs an epoch and, but for transaction
// markers, a sequence. Without one the other two are not looked at, as clients
// leave different things there (see ProducerEpoch).
func (b Batch) validateProducer() error {
	id, epoch, sequence := b.ProducerID(), b.ProducerEpoch(), b.BaseSequence()
	switch {
	case id == -1:
		return nil
	case id < -1 || epoch < 0:
		return fmt.Errorf("%w: producer ID %d with epoch %d", ErrInvalidRecord, id, epoch)
	case sequence < 0 && !b.IsControl():
		return fmt.Errorf("%w: producer ID %d with sequence %d", ErrInvalidRecord, id, sequence)
	}
	return nil
}

// RepairMaxTimestamp gives a batch that lacks its max timestamp the true one, and
// corrects the CRC. Some clients (Sarama) send -1 and rely on the broker, and
// lookups by timestamp and retention need the truth. A max timestamp at or after
// the base is believed: then nothing is read and nothing changes.
//
// To be called on a valid batch. limit bounds the decompression in bytes. Errors:
// as [Batch.Records] yields.
func (b Batch) RepairMaxTimestamp(limit int) (repaired bool, err error) {
	if b.LogAppendTime() || b.MaxTimestamp() >= b.BaseTimestamp() {
		return false, nil
	}
	payload, err := b.payload(limit)
	if err != nil {
		return false, err
	}
	newest := int64(-1)
	err = b.walkRecords(payload, func(r rawRecord) bool {
		newest = max(newest, b.BaseTimestamp()+r.timestampDelta)
		return true
	})
	if err != nil {
		return false, err
	}
	b.setMaxTimestamp(newest)
	return true, nil
}

// payload returns the records without compression; it aliases the batch when
// there is none.
func (b Batch) payload(limit int) ([]byte, error) {
	if b.Codec() == CodecNone {
		return b[BatchHeaderSize:], nil
	}
	return Decompress(b.Codec(), b[BatchHeaderSize:], limit)
}

// Recompress returns a new batch that differs from b in its codec only: the CRC
// and the length are right, all other fields and the records are the same. level
// is the codec's own scale (see [Compress]); limit bounds the decompression in bytes.
//
// Errors: those of [Decompress] and [Compress], and ErrInvalidRecord when the
// records turn out not to be what the header says.
func Recompress(b Batch, codec Codec, level int, limit int) (Batch, error) {
	payload, err := b.payload(limit)
	if err != nil {
		return nil, err
	}
	if err := b.walkRecords(payload, nil); err != nil {
		return nil, err
	}
	header := append(make([]byte, 0, BatchHeaderSize+len(payload)/2), b[:BatchHeaderSize]...)
	out, err := appendCompressed(header, codec, level, payload)
	if err != nil {
		return nil, err
	}
	nb := Batch(out)
	nb.setAttributes(b.Attributes()&^attributeCodec | int16(codec))
	nb.seal()
	return nb, nil
}
