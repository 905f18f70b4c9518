package txncheck

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestValueNamesItsRecord(t *testing.T) {
	for _, id := range []RecordID{{0, 0}, {1, 2}, {1 << 30, 1 << 30}} {
		got, err := parseRecordID(id.value(10))
		if err != nil || got != id {
			t.Errorf("%v came back as %v, %v", id, got, err)
		}
	}
	for _, value := range []string{"", "1", "1.2", "1;2", "a.b;", "1.2.3;", "-", "99999999999.1;"} {
		if id, err := parseRecordID([]byte(value)); err == nil {
			t.Errorf("%q passed for record %v", value, id)
		}
	}
}

// TestRecordsThatDifferAreFound: two readers see different things at one offset.
func TestRecordsThatDifferAreFound(t *testing.T) {
	j := newJournal(true, []Topic{{Name: "topic", Partitions: 1}})
	one := &kgo.Record{Value: RecordID{0, 1}.value(3)}
	j.read(1, false, 0, 0, 1, 1, []*kgo.Record{one})
	j.read(2, true, 0, 0, -1, 1, []*kgo.Record{one})
	if h := j.history(); len(h.Faults) != 0 {
		t.Errorf("the same record twice: %v", h.Faults)
	}
	j.read(3, true, 0, 0, 1, 1, []*kgo.Record{{Value: RecordID{0, 2}.value(3)}})
	j.read(3, true, 0, 1, 2, 2, []*kgo.Record{{Offset: 1, Value: []byte("what?")}})
	h := j.history()
	if len(h.Faults) != 2 || h.Faults[0].Rule != Gap || h.Faults[1].Rule != Foreign {
		t.Errorf("faults %v", h.Faults)
	}
}

// kafkaMarker is a control batch as Kafka writes it.
func kafkaMarker() kmsg.RecordBatch {
	record := kmsg.Record{Key: []byte{0, 0, 0, 1}, Value: []byte{0, 0, 0, 0, 0, 0}}
	record.Length = int32(len(record.AppendTo(nil)) - 1)
	return kmsg.RecordBatch{Magic: 2, Attributes: batchControl | batchTransactional, FirstTimestamp: 9, MaxTimestamp: 9,
		ProducerID: 7, ProducerEpoch: 1, FirstSequence: -1, NumRecords: 1, Records: record.AppendTo(nil)}
}

func encode(b kmsg.RecordBatch) []byte {
	b.Length = int32(len(b.AppendTo(nil)) - 12)
	return b.AppendTo(nil)
}

func TestMarkersAreControlBatches(t *testing.T) {
	right := encode(kafkaMarker())
	data := encode(kmsg.RecordBatch{Magic: 2, NumRecords: 3, Records: []byte("whatever")})
	if err := checkMarkers(slices.Concat(data, right, right[:len(right)-1])); err != nil {
		t.Errorf("data, a marker and the beginning of another one: %v", err)
	}
	for _, test := range []struct {
		want string
		harm func(b *kmsg.RecordBatch)
	}{
		{"magic", func(b *kmsg.RecordBatch) { b.Magic = 1 }},
		{"attributes", func(b *kmsg.RecordBatch) { b.Attributes |= 1 }},
		{"attributes", func(b *kmsg.RecordBatch) { b.Attributes = batchControl }},
		{"records", func(b *kmsg.RecordBatch) { b.NumRecords = 2 }},
		{"offset delta", func(b *kmsg.RecordBatch) { b.LastOffsetDelta = 1 }},
		{"sequence", func(b *kmsg.RecordBatch) { b.FirstSequence = 0 }},
		{"producer", func(b *kmsg.RecordBatch) { b.ProducerID = -1 }},
		{"producer", func(b *kmsg.RecordBatch) { b.ProducerEpoch = -1 }},
		{"timestamps", func(b *kmsg.RecordBatch) { b.MaxTimestamp = 10 }},
		{"timestamps", func(b *kmsg.RecordBatch) { b.FirstTimestamp, b.MaxTimestamp = 0, 0 }},
		{"control record of type 2", func(b *kmsg.RecordBatch) { b.Records[8] = 2 }},
		{"key", func(b *kmsg.RecordBatch) { b.Records[6] = 1 }},
		{"value", func(b *kmsg.RecordBatch) { b.Records[11] = 1 }},
		{"", func(b *kmsg.RecordBatch) { b.Records = nil }},
	} {
		b := kafkaMarker()
		test.harm(&b)
		if err := checkMarkers(slices.Concat(right, encode(b))); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("want an error about %q, got %v", test.want, err)
		}
	}
}

// FuzzCheckMarkers: whatever a broken server sends is an error at most.
func FuzzCheckMarkers(f *testing.F) {
	f.Add(encode(kafkaMarker()))
	f.Fuzz(func(_ *testing.T, batches []byte) { _ = checkMarkers(batches) })
}

// FuzzParseRecordID: what is taken for one of ours names itself.
func FuzzParseRecordID(f *testing.F) {
	f.Add([]byte("3.14;xxx"))
	f.Fuzz(func(t *testing.T, value []byte) {
		id, err := parseRecordID(value)
		if err != nil {
			return
		}
		if again, err := parseRecordID(id.value(0)); err != nil || again != id {
			t.Errorf("%q is %v, which is %v, %v", value, id, again, err)
		}
	})
}
