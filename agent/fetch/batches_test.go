package fetch

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/protocol"
)

// rec is a record to make: its timestamp and the size of its value.
type rec struct {
	timestamp int64
	size      int
}

// recs is n records of the size, one millisecond apart from the timestamp on.
func recs(n, size int, timestamp int64) []rec {
	out := make([]rec, n)
	for i := range out {
		out[i] = rec{timestamp + int64(i), size}
	}
	return out
}

// makeBatch makes a batch as a producer sends it: base offset 0, leader epoch -1.
func makeBatch(t testing.TB, codec protocol.Codec, records ...rec) protocol.Batch {
	t.Helper()
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, LastOffsetDelta: int32(len(records) - 1),
		FirstTimestamp: records[0].timestamp, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: int32(len(records)),
	}
	for i, r := range records {
		b.MaxTimestamp = max(b.MaxTimestamp, r.timestamp)
		value := make([]byte, r.size)
		for k := range value {
			value[k] = byte(k * (i + 1))
		}
		record := kmsg.Record{
			Key: fmt.Appendf(nil, "%d", i), Value: value,
			TimestampDelta64: r.timestamp - b.FirstTimestamp, OffsetDelta: int32(i),
		}
		body := record.AppendTo(nil)[1:] // without its length, 0 so far
		b.Records = append(binary.AppendVarint(b.Records, int64(len(body))), body...)
	}
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	resum(raw)
	batch, rest, err := protocol.NextBatch(raw)
	if err == nil {
		err = batch.Validate()
	}
	if err == nil && codec != protocol.CodecNone {
		batch, err = protocol.Recompress(batch, codec, codec.DefaultLevel(), 1<<30)
	}
	if err != nil || len(rest) > 0 {
		t.Fatalf("made a batch that is none: %v, %d bytes over", err, len(rest))
	}
	return batch
}

// setProducer makes the batch one of the producer's transaction.
func setProducer(b protocol.Batch, id int64, epoch int16, sequence int32) {
	b[22] |= 0x10
	binary.BigEndian.PutUint64(b[43:], uint64(id))
	binary.BigEndian.PutUint16(b[51:], uint16(epoch))
	binary.BigEndian.PutUint32(b[53:], uint32(sequence))
	resum(b)
}

// resum gives a changed batch the CRC that fits it.
func resum(b []byte) {
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
}

// offsetsOf checks that b is whole batches with good CRCs, contiguous offsets and our
// leader epoch, and returns the first offset and the one after the last.
func offsetsOf(t testing.TB, b []byte) (first, next int64) {
	t.Helper()
	next = -1
	for len(b) > 0 {
		batch, rest, err := protocol.NextBatch(b)
		if err != nil {
			t.Fatal(err)
		}
		if err := batch.Validate(); err != nil {
			t.Fatal(err)
		}
		if batch.LeaderEpoch() != protocol.LeaderEpoch {
			t.Errorf("leader epoch %d, want %d", batch.LeaderEpoch(), protocol.LeaderEpoch)
		}
		if next == -1 {
			first = batch.BaseOffset()
		} else if batch.BaseOffset() != next {
			t.Fatalf("offset %d is followed by %d", next-1, batch.BaseOffset())
		}
		next = batch.BaseOffset() + int64(batch.LastOffsetDelta()) + 1
		b = rest
	}
	return first, next
}
