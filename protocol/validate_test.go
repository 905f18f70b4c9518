package protocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestValidateJudgesTheHeader(t *testing.T) {
	type edit = func(*kmsg.RecordBatch)
	for _, c := range []struct {
		name string
		edit edit
		err  error
	}{
		{"sound", nil, nil},
		{"base offset and leader epoch are the broker's", func(b *kmsg.RecordBatch) { b.FirstOffset, b.PartitionLeaderEpoch = -7, 99 }, nil},
		{"no records", func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta, b.Records = 0, -1, nil }, ErrInvalidRecord},
		{"negative records", func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta = -3, -4 }, ErrInvalidRecord},
		{"most negative records", func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta = math.MinInt32, math.MaxInt32 }, ErrInvalidRecord},
		{"last offset delta below the count", func(b *kmsg.RecordBatch) { b.LastOffsetDelta = 0 }, ErrInvalidRecord},
		{"last offset delta above the count", func(b *kmsg.RecordBatch) { b.LastOffsetDelta = 3 }, ErrInvalidRecord},
		{"more records announced than there are", func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta = 4, 3 }, ErrInvalidRecord},
		{"enormous count", func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta = math.MaxInt32, math.MaxInt32-1 }, ErrInvalidRecord},
		{"fewer records announced than there are", func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta = 2, 1 }, ErrInvalidRecord},
		{"unknown codec", func(b *kmsg.RecordBatch) { b.Attributes = 5 }, ErrInvalidRecord},
		{"unknown codec 7", func(b *kmsg.RecordBatch) { b.Attributes = 7 }, ErrUnsupportedCodec},
		{"compressed records are not looked at", func(b *kmsg.RecordBatch) { b.Attributes = int16(CodecZstd) }, nil},
		{"unused attributes", func(b *kmsg.RecordBatch) { b.Attributes = 0x7f80 }, nil},
		{"transactional", func(b *kmsg.RecordBatch) {
			b.Attributes = attributeTransactional
			b.ProducerID, b.ProducerEpoch, b.FirstSequence = 1, 0, 0
		}, nil},
		{"control batch without sequence", func(b *kmsg.RecordBatch) {
			b.Attributes = attributeControl
			b.ProducerID, b.ProducerEpoch, b.FirstSequence = 1, 0, -1
		}, nil},
		{"no timestamps", func(b *kmsg.RecordBatch) { b.FirstTimestamp, b.MaxTimestamp = -1, -1 }, nil},
		{"negative base timestamp", func(b *kmsg.RecordBatch) { b.FirstTimestamp = -2 }, ErrInvalidRecord},
		{"negative max timestamp", func(b *kmsg.RecordBatch) { b.MaxTimestamp = -2 }, ErrInvalidRecord},
		{"timestamps beyond 64 bits", func(b *kmsg.RecordBatch) { b.FirstTimestamp = math.MaxInt64 }, ErrInvalidRecord},
		{"idempotent", func(b *kmsg.RecordBatch) { b.ProducerID, b.ProducerEpoch, b.FirstSequence = 0, 0, 0 }, nil},
		{"last sequence before the wrap", func(b *kmsg.RecordBatch) { b.ProducerID, b.ProducerEpoch, b.FirstSequence = 1, 0, math.MaxInt32 }, nil},
		{"producer without epoch", func(b *kmsg.RecordBatch) { b.ProducerID, b.ProducerEpoch, b.FirstSequence = 1, -1, 0 }, ErrInvalidRecord},
		{"producer without sequence", func(b *kmsg.RecordBatch) { b.ProducerID, b.ProducerEpoch, b.FirstSequence = 1, 0, -1 }, ErrInvalidRecord},
		{"negative producer ID", func(b *kmsg.RecordBatch) { b.ProducerID = -2 }, ErrInvalidRecord},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := build(t, threeRecords(), c.edit).Validate(); !errors.Is(err, c.err) {
				t.Errorf("got %v, want %v", err, c.err)
			}
		})
	}
}

// kafkajs and Sarama leave zeros beside a producer ID of -1. The sequencer must
// not see them.
func TestEpochAndSequenceWithoutProducerID(t *testing.T) {
	b := build(t, threeRecords(), func(kb *kmsg.RecordBatch) { kb.ProducerID, kb.ProducerEpoch, kb.FirstSequence = -1, 0, 0 })
	if err := b.Validate(); err != nil {
		t.Error(err)
	}
	if b.ProducerEpoch() != -1 || b.BaseSequence() != -1 {
		t.Errorf("epoch %d, sequence %d", b.ProducerEpoch(), b.BaseSequence())
	}
}

func TestValidateFindsEveryFlippedBit(t *testing.T) {
	good := build(t, threeRecords(), nil)
	for i := atLength; i < len(good); i++ {
		if i >= atLeaderEpoch && i < atMagic {
			continue // the broker's, outside of the CRC
		}
		for bit := range 8 {
			b := bytes.Clone(good)
			b[i] ^= 1 << bit
			if err := Batch(b).Validate(); !errors.Is(err, ErrCorruptBatch) && !errors.Is(err, ErrMagic) {
				t.Fatalf("bit %d of byte %d: %v", bit, i, err)
			}
		}
	}
}

func TestValidateWantsExactlyOneBatch(t *testing.T) {
	good := build(t, threeRecords(), nil)
	for _, b := range []Batch{nil, good[:10], good[:60], good[:len(good)-1], append(bytes.Clone(good), 0)} {
		if err := b.Validate(); !errors.Is(err, ErrCorruptBatch) {
			t.Errorf("%d of %d bytes: %v", len(b), len(good), err)
		}
	}
}

// Records with the CRC right and everything else wrong.
func TestValidateWalksUncompressedRecords(t *testing.T) {
	for _, c := range []struct {
		name    string
		records string // hex
		count   int32
		err     error
	}{
		// length, attributes, timestamp delta, offset delta, key, value, headers
		{"smallest record", "0c 00 00 00 01 01 00", 1, nil},
		{"two records", "0c 00 00 00 01 01 00 0c 00 00 02 01 01 00", 2, nil},
		{"attributes are ignored", "0c ff 00 00 01 01 00", 1, nil},
		{"empty key and value", "0c 00 00 00 00 00 00", 1, nil},
		{"a header", "14 00 00 00 01 01 02 02 6b 02 76", 1, nil},
		{"a header of nothing", "10 00 00 00 01 01 02 00 01", 1, nil},
		{"varints longer than needed", "8c00 00 8000 00 01 01 00", 1, ErrInvalidRecord}, // a byte more than announced
		{"nothing", "", 1, ErrInvalidRecord},
		{"length 0", "00 00 00 00 01 01 00", 1, ErrInvalidRecord},
		{"length negative", "01 00 00 00 01 01 00", 1, ErrInvalidRecord},
		{"length beyond the batch", "0e 00 00 00 01 01 00", 1, ErrInvalidRecord},
		{"length below the fields", "0a 00 00 00 01 01 00", 1, ErrInvalidRecord},
		{"length enormous", "ffffffffffffffffff01 00 00 00 01 01 00", 1, ErrInvalidRecord},
		{"length without end", "ffffffffffffffffffffff", 1, ErrInvalidRecord},
		{"bytes after the headers", "0e 00 00 00 01 01 00 00", 1, ErrInvalidRecord},
		{"bytes after the records", "0c 00 00 00 01 01 00 00", 1, ErrInvalidRecord},
		{"first offset delta 1", "0c 00 00 02 01 01 00", 1, ErrInvalidRecord},
		{"offset delta repeated", "0c 00 00 00 01 01 00 0c 00 00 00 01 01 00", 2, ErrInvalidRecord},
		{"offset delta negative", "0c 00 00 01 01 01 00", 1, ErrInvalidRecord},
		{"offset delta of 33 bits", "14 00 00 8080808020 01 01 00", 1, ErrInvalidRecord},
		{"timestamp before 1970", "18 00 ffffffffffff7f 00 01 01 00", 1, ErrInvalidRecord},
		{"key beyond the record", "0c 00 00 00 08 01 00", 1, ErrInvalidRecord},
		{"key length below -1", "0c 00 00 00 03 01 00", 1, ErrInvalidRecord},
		{"value beyond the record", "0c 00 00 00 01 08 00", 1, ErrInvalidRecord},
		{"negative headers", "0c 00 00 00 01 01 01", 1, ErrInvalidRecord},
		{"more headers than bytes", "0c 00 00 00 01 01 02", 1, ErrInvalidRecord},
		{"enormous headers", "14 00 00 00 01 01 feffffff0f", 1, ErrInvalidRecord},
		{"header without key", "10 00 00 00 01 01 02 01 01", 1, ErrInvalidRecord},
		{"header value beyond the record", "10 00 00 00 01 01 02 00 04", 1, ErrInvalidRecord},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := build(t, nil, func(kb *kmsg.RecordBatch) {
				kb.Records = unhex(t, c.records)
				kb.NumRecords, kb.LastOffsetDelta = c.count, c.count-1
				kb.MaxTimestamp = kb.FirstTimestamp
			})
			if err := b.Validate(); !errors.Is(err, c.err) {
				t.Errorf("got %v, want %v", err, c.err)
			}
			var err error
			n := 0
			for _, err = range b.Records(testLimit) {
				n++
			}
			if !errors.Is(err, c.err) {
				t.Errorf("Records ended with %v, want %v", err, c.err)
			}
			if c.err == nil && n != int(c.count) {
				t.Errorf("got %d records", n)
			}
		})
	}
}

func TestRecordsStopsWhenToldTo(t *testing.T) {
	n := 0
	for _, err := range build(t, threeRecords(), nil).Records(0) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Errorf("got %d records", n)
	}
}

func TestRecordsOfABomb(t *testing.T) {
	b := build(t, []kmsg.Record{{Value: make([]byte, 4<<20)}}, nil)
	for codec := CodecGzip; codec.valid(); codec++ {
		bomb, err := Recompress(b, codec, codec.DefaultLevel(), 8<<20)
		if err != nil {
			t.Fatal(err)
		}
		var last error
		for _, last = range bomb.Records(4 << 20) {
		}
		if !errors.Is(last, ErrTooLarge) {
			t.Errorf("%v: got %v from %d bytes", codec, last, len(bomb))
		}
	}
}

func TestRepairMaxTimestamp(t *testing.T) {
	const base, newest = 1_700_000_000_000, 1_700_000_000_002
	for codec := CodecNone; codec.valid(); codec++ {
		for _, c := range []struct {
			name     string
			max      int64
			repaired bool
			want     int64
		}{
			{"true", newest, false, newest},
			{"plausible", base, false, base},
			{"absent", -1, true, newest},
			{"zero", 0, true, newest},
		} {
			b := build(t, threeRecords(), func(kb *kmsg.RecordBatch) { kb.MaxTimestamp = c.max })
			b, err := Recompress(b, codec, codec.DefaultLevel(), testLimit)
			if err != nil {
				t.Fatal(err)
			}
			repaired, err := b.RepairMaxTimestamp(testLimit)
			if err != nil || repaired != c.repaired || b.MaxTimestamp() != c.want || !b.CheckCRC() {
				t.Errorf("%v, %s: %v, %v, now %d", codec, c.name, repaired, err, b.MaxTimestamp())
			}
		}
	}
}

func TestRepairMaxTimestampReportsBrokenRecords(t *testing.T) {
	b := build(t, threeRecords(), func(kb *kmsg.RecordBatch) {
		kb.MaxTimestamp = -1
		kb.Attributes = int16(CodecGzip)
	})
	before := bytes.Clone(b)
	if repaired, err := b.RepairMaxTimestamp(testLimit); repaired || !errors.Is(err, ErrCorruptBatch) || !bytes.Equal(b, before) {
		t.Errorf("got %v, %v", repaired, err)
	}
}

func TestRecompressKeepsAllButTheCodec(t *testing.T) {
	original := build(t, threeRecords(), func(kb *kmsg.RecordBatch) {
		kb.FirstOffset = 77
		kb.PartitionLeaderEpoch = 5
		kb.Attributes = attributeTransactional
		kb.ProducerID, kb.ProducerEpoch, kb.FirstSequence = 8, 9, 10
	})
	for from := CodecNone; from.valid(); from++ {
		source, err := Recompress(original, from, from.DefaultLevel(), testLimit)
		if err != nil {
			t.Fatal(err)
		}
		kept := bytes.Clone(source)
		for to := CodecNone; to.valid(); to++ {
			b, err := Recompress(source, to, to.DefaultLevel(), testLimit)
			if err != nil {
				t.Fatalf("%v to %v: %v", from, to, err)
			}
			if err := b.Validate(); err != nil {
				t.Errorf("%v to %v: %v", from, to, err)
			}
			if b.Codec() != to || b.Attributes()&^attributeCodec != attributeTransactional {
				t.Errorf("%v to %v: attributes %x", from, to, b.Attributes())
			}
			// Of the header only length, CRC and attributes may differ.
			got, want := bytes.Clone(b[:BatchHeaderSize]), bytes.Clone(original[:BatchHeaderSize])
			for _, h := range [][]byte{got, want} {
				binary.BigEndian.PutUint32(h[atLength:], 0)
				binary.BigEndian.PutUint32(h[atCRC:], 0)
				binary.BigEndian.PutUint16(h[atAttributes:], 0)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%v to %v: header %x, want %x", from, to, got, want)
			}
			if got, want := collect(t, b, testLimit), collect(t, original, 0); !reflect.DeepEqual(got, want) {
				t.Errorf("%v to %v: got %+v", from, to, got)
			}
			if to == CodecNone && !bytes.Equal(b, original) {
				t.Errorf("%v to none is not the original", from)
			}
		}
		if !bytes.Equal(source, kept) {
			t.Errorf("the source of %v changed", from)
		}
	}
}

func TestRecompressFindsWhatValidateCannot(t *testing.T) {
	lying := build(t, threeRecords(), nil)
	packed, err := Recompress(lying, CodecZstd, 3, testLimit)
	if err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint32(packed[atNumRecords:], 4)
	binary.BigEndian.PutUint32(packed[atLastOffsetDelta:], 3)
	if err := resum(packed).Validate(); err != nil {
		t.Fatal(err)
	}
	if _, err := Recompress(packed, CodecGzip, -1, testLimit); !errors.Is(err, ErrInvalidRecord) {
		t.Errorf("lying count: %v", err)
	}
	if _, err := Recompress(lying, CodecGzip, 10, testLimit); err == nil {
		t.Error("gzip level 10 was taken")
	}
	if _, err := Recompress(packed, CodecGzip, -1, 100); !errors.Is(err, ErrTooLarge) {
		t.Errorf("above the limit: %v", err)
	}
}

func TestValidateStoredTakesWhatKafkasCleanerLeaves(t *testing.T) {
	for _, f := range filteredByKafka(t) {
		if err := f.after.ValidateStored(); err != nil {
			t.Errorf("%s: %v", f.name, err)
		}
	}
	if err := build(t, threeRecords(), nil).Empty().ValidateStored(); err != nil {
		t.Errorf("empty batch: %v", err)
	}
}

func TestValidateStoredJudges(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*kmsg.RecordBatch)
		err  error
	}{
		{"sound", nil, nil},
		{"last records gone", func(b *kmsg.RecordBatch) { b.LastOffsetDelta = 9 }, nil},
		{"last offset delta below the count", func(b *kmsg.RecordBatch) { b.LastOffsetDelta = 1 }, ErrInvalidRecord},
		{"negative last offset delta", func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta, b.Records = 0, -1, nil }, ErrInvalidRecord},
		{"negative records", func(b *kmsg.RecordBatch) { b.NumRecords = -1 }, ErrInvalidRecord},
		{"records in an empty batch", func(b *kmsg.RecordBatch) { b.NumRecords = 0 }, ErrInvalidRecord},
		{"more records announced than there are", func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta = 4, 3 }, ErrInvalidRecord},
		{"unknown codec", func(b *kmsg.RecordBatch) { b.Attributes = 5 }, ErrUnsupportedCodec},
		{"producer without epoch", func(b *kmsg.RecordBatch) { b.ProducerID, b.ProducerEpoch, b.FirstSequence = 1, -1, 0 }, ErrInvalidRecord},
	} {
		b := build(t, threeRecords(), c.edit)
		if err := b.ValidateStored(); !errors.Is(err, c.err) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.err)
		}
		b[len(b)-1] ^= 1
		if err := b.ValidateStored(); !errors.Is(err, ErrCorruptBatch) {
			t.Errorf("%s, damaged: got %v", c.name, err)
		}
		if err := b[:len(b)-1].ValidateStored(); !errors.Is(err, ErrCorruptBatch) {
			t.Errorf("%s, cut: got %v", c.name, err)
		}
	}
}
