package protocol

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The goldens are what MemoryRecords.withEndTransactionMarker of Kafka's 4.2.0 clients wrote.
func TestEndMarkerIsWhatKafkaWrites(t *testing.T) {
	for name, commit := range map[string]bool{"commit": true, "abort": false} {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile("testdata/kafka-marker-" + name + ".hex")
			if err != nil {
				t.Fatal(err)
			}
			m := EndMarker{ProducerID: 4711, ProducerEpoch: 3, Commit: commit, Timestamp: 1_700_000_000_000}
			got := Batch(m.AppendTo([]byte("before"))[len("before"):])
			got.SetBaseOffset(42)
			got.SetLeaderEpoch(0)
			if want := unhex(t, string(text)); !bytes.Equal(got, want) {
				t.Errorf("got  %x\nwant %x", []byte(got), want)
			}
			if err := got.Validate(); err != nil || len(got) != EndMarkerSize || !got.IsControl() || !got.IsTransactional() {
				t.Errorf("%v, %d bytes, attributes %x", err, len(got), got.Attributes())
			}
			if c, ok := got.EndsTransaction(); !ok || c != commit {
				t.Errorf("ends a transaction: %v, commits: %v", ok, c)
			}
			wantControlRecord(t, got, commit)
		})
	}
}

// wantControlRecord reads a marker as franz-go's consumer does.
func wantControlRecord(t *testing.T, b Batch, commit bool) {
	t.Helper()
	var batch kmsg.RecordBatch
	var record kmsg.Record
	var key kmsg.ControlRecordKey
	var value kmsg.EndTxnMarker
	if err := batch.ReadFrom(b); err != nil {
		t.Fatal(err)
	}
	if err := record.ReadFrom(batch.Records); err != nil {
		t.Fatal(err)
	}
	if err := key.ReadFrom(record.Key); err != nil {
		t.Fatal(err)
	}
	if err := value.ReadFrom(record.Value); err != nil {
		t.Fatal(err)
	}
	want := kmsg.ControlRecordKeyTypeAbort
	if commit {
		want = kmsg.ControlRecordKeyTypeCommit
	}
	if key.Version != 0 || key.Type != want || value.Version != 0 || value.CoordinatorEpoch != 0 {
		t.Errorf("key %+v, value %+v; want type %v", key, value, want)
	}
	if batch.ProducerID != 4711 || batch.ProducerEpoch != 3 || batch.FirstSequence != -1 || batch.NumRecords != 1 || batch.LastOffsetDelta != 0 {
		t.Errorf("batch %+v", batch)
	}
	if length, n := binary.Varint(batch.Records); int(length)+n != len(batch.Records) {
		t.Errorf("the record has %d bytes of %d", int(length)+n, len(batch.Records))
	}
}

func TestOtherBatchesEndNoTransaction(t *testing.T) {
	marker := Batch(EndMarker{ProducerID: 1, Commit: true}.AppendTo(nil))
	other := append(Batch(nil), marker...)
	other[69] = 2 // the type of Kafka's LEADER_CHANGE
	for name, b := range map[string]Batch{
		"data":              build(t, threeRecords(), nil),
		"transactional":     build(t, threeRecords(), func(b *kmsg.RecordBatch) { b.Attributes = attributeTransactional }),
		"emptied marker":    marker.Empty(),
		"other control":     resum(other),
		"control, no key":   build(t, []kmsg.Record{{}}, func(b *kmsg.RecordBatch) { b.Attributes = attributeTransactional | attributeControl }),
		"control, nonsense": build(t, nil, func(b *kmsg.RecordBatch) { b.Attributes, b.NumRecords = attributeTransactional|attributeControl, 5 }),
	} {
		if _, ok := b.EndsTransaction(); ok {
			t.Error(name)
		}
	}
}
