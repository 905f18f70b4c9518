package protocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// testLimit is more than any batch of the tests decompresses to.
const testLimit = 8 << 20

// writtenByKafka is a batch as Apache Kafka's broker (Java) wrote it: the
// first one of a KRaft metadata log, one record that sets metadata.version.
const writtenByKafka = `
	0000000000000000 0000004f 00000001 02 b069457c 0000 00000000
	00000191e05af818 00000191e05af818 ffffffffffffffff ffff ffffffff 00000001
	3a 00 00 00 01 2e 010c0011 6d657461646174612e76657273696f6e 00140000`

// build makes a batch by kmsg's encoder, which is not ours: the records with
// timestamps base, base+1, ..., then edit, then length and CRC.
func build(t testing.TB, records []kmsg.Record, edit func(*kmsg.RecordBatch)) Batch {
	t.Helper()
	const base = 1_700_000_000_000
	var payload []byte
	for i, r := range records {
		r.OffsetDelta = int32(i)
		r.TimestampDelta64 = int64(i)
		r.Length = 0
		r.Length = int32(len(r.AppendTo(nil)) - 1)
		payload = r.AppendTo(payload)
	}
	kb := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1,
		Magic:                2,
		LastOffsetDelta:      int32(len(records) - 1),
		FirstTimestamp:       base,
		MaxTimestamp:         base + int64(len(records)-1),
		ProducerID:           -1,
		ProducerEpoch:        -1,
		FirstSequence:        -1,
		NumRecords:           int32(len(records)),
		Records:              payload,
	}
	if edit != nil {
		edit(&kb)
	}
	kb.Length = int32(len(kb.AppendTo(nil)) - 12)
	return resum(kb.AppendTo(nil))
}

// resum gives a batch that was tampered with the right CRC.
func resum(b Batch) Batch {
	binary.BigEndian.PutUint32(b[atCRC:], b.checksum())
	return b
}

func threeRecords() []kmsg.Record {
	return []kmsg.Record{
		{Key: []byte("k0"), Value: []byte("v0"), Headers: []kmsg.Header{{Key: "h", Value: []byte("x")}, {Key: "", Value: nil}}},
		{Key: nil, Value: nil},
		{Key: []byte{}, Value: bytes.Repeat([]byte("long "), 100)},
	}
}

func collect(t testing.TB, b Batch, limit int) []Record {
	t.Helper()
	var records []Record
	for r, err := range b.Records(limit) {
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	return records
}

func TestBatchWrittenByKafka(t *testing.T) {
	wire := unhex(t, writtenByKafka)
	b, rest, err := NextBatch(wire)
	if err != nil || len(rest) != 0 {
		t.Fatalf("%v, %d bytes left", err, len(rest))
	}
	if err := b.Validate(); err != nil {
		t.Error(err)
	}
	if b.Size() != 91 || b.CRC() != 0xb069457c || !b.CheckCRC() || b.LeaderEpoch() != 1 || b.Codec() != CodecNone {
		t.Errorf("size %d, CRC %x, leader epoch %d, codec %v", b.Size(), b.CRC(), b.LeaderEpoch(), b.Codec())
	}
	want := []Record{{
		Offset:    0,
		Timestamp: 0x191e05af818,
		Value:     unhex(t, "010c0011 6d657461646174612e76657273696f6e 0014 00"),
	}}
	if got := collect(t, b, 0); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// Batches as kafka-python 3.0.12 encoded them, with zlib, cramjam (snappy),
// liblz4 and libzstd. The records follow a rule that is repeated here.
func TestBatchesWrittenByKafkaPython(t *testing.T) {
	for codec := CodecNone; codec.valid(); codec++ {
		t.Run(codec.String(), func(t *testing.T) {
			text, err := os.ReadFile("testdata/kafka-python-" + codec.String() + ".hex")
			if err != nil {
				t.Fatal(err)
			}
			b, rest, err := NextBatch(unhex(t, string(text)))
			if err != nil || len(rest) != 0 {
				t.Fatalf("%v, %d bytes left", err, len(rest))
			}
			if err := b.Validate(); err != nil {
				t.Fatal(err)
			}
			if b.Codec() != codec {
				t.Errorf("codec %v", b.Codec())
			}
			n := 40
			if codec == CodecNone {
				n = 3
			}
			if got, want := collect(t, b, testLimit), kafkaPythonRecords(n); !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
			if codec == CodecNone || codec == CodecZstd {
				if b.ProducerID() != 4711 || b.ProducerEpoch() != 3 || b.BaseSequence() != 17 {
					t.Errorf("producer %d, epoch %d, sequence %d", b.ProducerID(), b.ProducerEpoch(), b.BaseSequence())
				}
			}
		})
	}
}

func kafkaPythonRecords(n int) []Record {
	records := make([]Record, n)
	for i := range records {
		r := Record{Offset: int64(i), Timestamp: 1_700_000_000_000 + int64(i*7%20)}
		if i%3 != 2 {
			r.Key = fmt.Appendf(nil, "key-%d", i)
		}
		switch {
		case i%5 == 1:
		case i == 2:
			r.Value = []byte{}
		default:
			r.Value = bytes.Repeat(fmt.Appendf(nil, "value of record %d ", i), 8)
		}
		if i == 0 {
			r.Headers = []Header{{"trace", []byte{1, 2}}, {"empty", []byte{}}, {"null", nil}}
		}
		records[i] = r
	}
	return records
}

func TestBatchAccessors(t *testing.T) {
	b := build(t, threeRecords(), func(kb *kmsg.RecordBatch) {
		kb.FirstOffset = 1 << 40
		kb.PartitionLeaderEpoch = 9
		kb.Attributes = attributeTransactional
		kb.ProducerID = 1 << 50
		kb.ProducerEpoch = 12
		kb.FirstSequence = 1<<31 - 1
	})
	if b.BaseOffset() != 1<<40 || b.LeaderEpoch() != 9 || b.LastOffsetDelta() != 2 || b.NumRecords() != 3 ||
		b.BaseTimestamp() != 1_700_000_000_000 || b.MaxTimestamp() != 1_700_000_000_002 ||
		b.ProducerID() != 1<<50 || b.ProducerEpoch() != 12 || b.BaseSequence() != 1<<31-1 ||
		!b.IsTransactional() || b.IsControl() || b.LogAppendTime() || b.Attributes() != attributeTransactional {
		t.Errorf("got %x", []byte(b))
	}
	if err := b.Validate(); err != nil {
		t.Error(err)
	}
}

func TestNextBatch(t *testing.T) {
	good := build(t, threeRecords(), nil)
	two := append(bytes.Clone(good), good...)
	first, rest, err := NextBatch(two)
	if err != nil || !bytes.Equal(first, good) || !bytes.Equal(rest, good) {
		t.Fatalf("first of two: %v, %d and %d bytes", err, len(first), len(rest))
	}
	if cap(first) != len(first) {
		t.Error("appending to the first batch would overwrite the second")
	}
	tamper := func(at int, bytes ...byte) []byte {
		b := append([]byte(nil), good...)
		copy(b[at:], bytes)
		return b
	}
	for _, c := range []struct {
		name string
		in   []byte
		err  error
	}{
		{"empty", nil, ErrCorruptBatch},
		{"too short for a magic", good[:16], ErrCorruptBatch},
		{"shorter than a header", good[:60], ErrCorruptBatch},
		{"cut short by a byte", good[:len(good)-1], ErrCorruptBatch},
		{"length 0", tamper(atLength, 0, 0, 0, 0), ErrCorruptBatch},
		{"length below the header's", tamper(atLength, 0, 0, 0, 48), ErrCorruptBatch},
		{"length negative", tamper(atLength, 0xff, 0xff, 0xff, 0xff), ErrCorruptBatch},
		{"length enormous", tamper(atLength, 0x7f, 0xff, 0xff, 0xff), ErrCorruptBatch},
		{"magic 0", tamper(atMagic, 0), ErrMagic},
		{"magic 1", tamper(atMagic, 1), ErrMagic},
		{"magic 1, smaller than a batch", tamper(atMagic, 1)[:34], ErrMagic},
		{"magic 3", tamper(atMagic, 3), ErrMagic},
		{"magic -1", tamper(atMagic, 0xff), ErrMagic},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, rest, err := NextBatch(c.in)
			if b != nil || rest != nil || !errors.Is(err, c.err) {
				t.Errorf("got %d bytes, %d left, %v; want %v", len(b), len(rest), err, c.err)
			}
		})
	}
}

// Offset and leader epoch lie outside of the CRC: patching them must not break it.
func TestPatchingOffsetsKeepsTheCRC(t *testing.T) {
	b := build(t, threeRecords(), nil)
	crc := b.CRC()
	b.SetBaseOffset(1234)
	b.SetLeaderEpoch(LeaderEpoch)
	if b.BaseOffset() != 1234 || b.LeaderEpoch() != 0 || b.CRC() != crc || !b.CheckCRC() {
		t.Errorf("offset %d, leader epoch %d, CRC %x was %x", b.BaseOffset(), b.LeaderEpoch(), b.CRC(), crc)
	}
	for i, r := range collect(t, b, 0) {
		if r.Offset != 1234+int64(i) {
			t.Errorf("record %d has offset %d", i, r.Offset)
		}
	}
}

func TestSetLogAppendTimeIsEveryRecordsTimestamp(t *testing.T) {
	for codec := CodecNone; codec.valid(); codec++ {
		b, err := Recompress(build(t, threeRecords(), nil), codec, codec.DefaultLevel(), testLimit)
		if err != nil {
			t.Fatal(err)
		}
		b.SetLogAppendTime(42)
		if err := b.Validate(); err != nil || !b.LogAppendTime() || b.MaxTimestamp() != 42 || b.Codec() != codec {
			t.Errorf("%v: %v, max timestamp %d, codec %v", codec, err, b.MaxTimestamp(), b.Codec())
		}
		for _, r := range collect(t, b, testLimit) {
			if r.Timestamp != 42 {
				t.Errorf("%v: record %d has timestamp %d", codec, r.Offset, r.Timestamp)
			}
		}
	}
}
