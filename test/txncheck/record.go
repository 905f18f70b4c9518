package txncheck

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// value is what a record's value says of which one it is, followed by filler.
func (id RecordID) value(filler int) []byte {
	return fmt.Appendf(nil, "%d.%d;%s", id.Txn, id.Seq, strings.Repeat("x", filler))
}

func parseRecordID(value []byte) (RecordID, error) {
	name, _, ok := strings.Cut(string(value), ";")
	txn, seq, dotted := strings.Cut(name, ".")
	t, err := strconv.ParseInt(txn, 10, 32)
	s, err2 := strconv.ParseInt(seq, 10, 32)
	if !ok || !dotted || err != nil || err2 != nil {
		return RecordID{}, fmt.Errorf("value %.40q is none of ours", value)
	}
	return RecordID{int32(t), int32(s)}, nil
}

// entryOf says what a record or marker is.
func entryOf(r *kgo.Record) (Entry, error) {
	e := Entry{Kind: Data, Transactional: r.Attrs.IsTransactional(), ProducerID: r.ProducerID, ProducerEpoch: r.ProducerEpoch}
	if !r.Attrs.IsControl() {
		var err error
		e.Record, err = parseRecordID(r.Value)
		return e, err
	}
	var err error
	e.Kind, err = markerKind(r.Key)
	return e, err
}

// markerKind reads a control record's key: a version and a type, 2 bytes each.
func markerKind(key []byte) (EntryKind, error) {
	if len(key) != 4 || binary.BigEndian.Uint16(key) != 0 {
		return 0, fmt.Errorf("key %x of a control record is no version 0 and a type", key)
	}
	switch kind := binary.BigEndian.Uint16(key[2:]); kind {
	case 0:
		return AbortMarker, nil
	case 1:
		return CommitMarker, nil
	default:
		return 0, fmt.Errorf("control record of type %d", kind)
	}
}

const (
	batchTransactional = 1 << 4
	batchControl       = 1 << 5
)

// checkMarkers checks the form of the control batches among the batches: one
// record, uncompressed and transactional, without sequence, with the key and value of
// Kafka's EndTxnMarker. What clients' decoders make of it is checked elsewhere. The
// last batch may be cut off, as in any answer.
func checkMarkers(batches []byte) error {
	const head = 12 // base offset and length, which doesn't count the two
	for len(batches) >= head {
		length := int64(int32(binary.BigEndian.Uint32(batches[8:])))
		if length < 0 || int64(len(batches)) < head+length {
			return nil
		}
		var b kmsg.RecordBatch
		if err := b.ReadFrom(batches[:head+length]); err != nil {
			return fmt.Errorf("batch at offset %d: %w", int64(binary.BigEndian.Uint64(batches)), err)
		}
		if b.Attributes&batchControl != 0 {
			if err := checkMarker(&b); err != nil {
				return fmt.Errorf("control batch at offset %d: %w", b.FirstOffset, err)
			}
		}
		batches = batches[head+length:]
	}
	return nil
}

func checkMarker(b *kmsg.RecordBatch) error {
	switch {
	case b.Magic != 2:
		return fmt.Errorf("magic %d", b.Magic)
	case b.Attributes != batchControl|batchTransactional:
		return fmt.Errorf("attributes %#x: not a transactional one without compression", b.Attributes)
	case b.NumRecords != 1 || b.LastOffsetDelta != 0:
		return fmt.Errorf("%d records, last offset delta %d", b.NumRecords, b.LastOffsetDelta)
	case b.FirstSequence != -1:
		return fmt.Errorf("base sequence %d", b.FirstSequence)
	case b.ProducerID < 0 || b.ProducerEpoch < 0:
		return fmt.Errorf("producer %d, epoch %d", b.ProducerID, b.ProducerEpoch)
	case b.FirstTimestamp <= 0 || b.FirstTimestamp != b.MaxTimestamp:
		return fmt.Errorf("timestamps %d and %d", b.FirstTimestamp, b.MaxTimestamp)
	}
	var r kmsg.Record
	if err := r.ReadFrom(b.Records); err != nil {
		return err
	}
	if _, err := markerKind(r.Key); err != nil {
		return err
	}
	// Version 0 and the coordinator's epoch.
	if len(r.Value) != 6 || binary.BigEndian.Uint16(r.Value) != 0 {
		return fmt.Errorf("value %x is no version 0 and an epoch", r.Value)
	}
	if r.OffsetDelta != 0 || r.TimestampDelta64 != 0 || len(r.Headers) != 0 {
		return fmt.Errorf("record has offset delta %d, timestamp delta %d, %d headers", r.OffsetDelta, r.TimestampDelta64, len(r.Headers))
	}
	return nil
}
