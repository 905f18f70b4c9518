package fetch

import (
	"testing"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/objstore/objstoretest"
	"github.com/wadi-log/wadi/protocol"
)

func TestMarkersHaveTheSizeThatTheIndexSays(t *testing.T) {
	if protocol.EndMarkerSize != metadata.MarkerSize {
		t.Errorf("a marker's batch has %d bytes, its run says %d", protocol.EndMarkerSize, metadata.MarkerSize)
	}
}

// markerFixture has two runs of two batches of 10 records in a bucket, and three markers between them.
func markerFixture(t *testing.T) (f *readFixture, runs []metadata.Run, batch protocol.Batch) {
	f = newReadFixture(t, memoryBucket(), DefaultBlocksConfig(1<<20))
	batch = makeBatch(t, protocol.CodecNone, recs(10, 100, 0)...)
	runs = append(runs, f.write(t, datafile.None, map[metadata.PartitionID][]protocol.Batch{1: {batch, batch}})[1])
	for i := range int64(3) {
		m := metadata.Marker{ProducerID: 5_000_000_000 + i, Epoch: 3, Commit: i == 1, Timestamp: 1_700_000_000_000}
		runs = append(runs, m.Run(1, f.next[1], 9))
		f.next[1]++
	}
	runs = append(runs, f.write(t, datafile.None, map[metadata.PartitionID][]protocol.Batch{1: {batch, batch}})[1])
	return f, runs, batch
}

func TestReadMakesMarkersOfTheirRuns(t *testing.T) {
	f, runs, batch := markerFixture(t)
	size := batch.Size()
	for _, c := range []struct {
		name         string
		offset, room int64
		first, next  int64
		bytes        int
	}{
		{"everything", 0, 1 << 20, 0, 43, 4*size + 3*metadata.MarkerSize},
		{"from a marker on", 21, 1 << 20, 21, 43, 2*size + 2*metadata.MarkerSize},
		{"from behind the markers on", 23, 1 << 20, 23, 43, 2 * size},
		{"room for one marker", 20, metadata.MarkerSize, 20, 21, metadata.MarkerSize},
		{"room for a marker less a byte", 20, 2*metadata.MarkerSize - 1, 20, 21, metadata.MarkerSize},
		{"one marker whatever the room", 22, 1, 22, 23, metadata.MarkerSize},
		{"a marker fits where the batch behind it doesn't", 22, metadata.MarkerSize + 1, 22, 23, metadata.MarkerSize},
	} {
		from := (&chain{runs: runs, end: 43}).from(c.offset)
		got, err := f.one(t, c.offset, c.room, from...)
		if err != nil {
			t.Fatal(err)
		}
		if first, next := offsetsOf(t, got); first != c.first || next != c.next || len(got) != c.bytes {
			t.Errorf("%s: %d to %d, %d bytes; want %d to %d, %d bytes", c.name, first, next, len(got), c.first, c.next, c.bytes)
		}
	}
	got, err := f.one(t, 20, 3*metadata.MarkerSize, runs[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(3) {
		var b protocol.Batch
		if b, got, err = protocol.NextBatch(got); err != nil {
			t.Fatal(err)
		}
		for record, err := range b.Records(0) {
			if err != nil || record.Offset != 20+i || record.Timestamp != 1_700_000_000_000 || (record.Key[3] == 1) != (i == 1) {
				t.Errorf("marker %d has record %+v, error %v", i, record, err)
			}
		}
		if !b.IsControl() || b.ProducerID() != 5_000_000_000+i || b.ProducerEpoch() != 3 || b.BaseSequence() != -1 {
			t.Errorf("marker %d is %x", i, []byte(b))
		}
	}
}

func TestMarkersCauseNoReads(t *testing.T) {
	f, runs, _ := markerFixture(t)
	cold := planned(runs[1:4]...)
	cold.pool, cold.ahead = Cold, runs[1:4]
	got := f.read(t.Context(), []asked{{1, 20, 1 << 20}}, []plan{cold}, limits{maxBytes: 1 << 20}, noReplan(t))
	f.readAhead([]asked{{1, 20, 1 << 20}}, []plan{cold})
	f.blocks.reads.Wait()
	if _, next := offsetsOf(t, got[0].batches); next != 23 || got[0].err != nil {
		t.Errorf("read up to %d, error %v; want 23", next, got[0].err)
	}
	if n := f.bucket.Calls(objstoretest.Get); n != 0 {
		t.Errorf("%d reads for markers", n)
	}

	// Between runs of files they don't disturb what is loaded together.
	f, runs, batch := markerFixture(t)
	if got, err := f.one(t, 0, 1<<20, runs...); err != nil || len(got) != 4*batch.Size()+3*metadata.MarkerSize {
		t.Errorf("%d bytes, error %v", len(got), err)
	}
	if n := f.bucket.Calls(objstoretest.Get); n != 2 {
		t.Errorf("%d reads of 2 files", n)
	}
}

func TestReadEndsWhereThePlanDoes(t *testing.T) {
	f, runs, batch := markerFixture(t)
	for until, want := range map[int64]int64{10: 10, 20: 20, 21: 21, 22: 22, 33: 33, 43: 43} {
		p := planned(before(runs, until)...)
		p.until = until
		got := f.read(t.Context(), []asked{{1, 0, 1 << 20}}, []plan{p}, limits{maxBytes: 1 << 20}, noReplan(t))[0]
		if _, next := offsetsOf(t, got.batches); got.err != nil || next != want || got.next != want {
			t.Errorf("up to %d: read up to %d (%d), error %v", until, next, got.next, got.err)
		}
	}
	// What may not be read is none that a consumer gets whatever the limits.
	p := planned(runs[0])
	p.until = 10
	got := f.read(t.Context(), []asked{{1, 10, 1}}, []plan{p}, limits{maxBytes: 1}, noReplan(t))[0]
	if len(got.batches) != 0 || got.err != nil {
		t.Errorf("%d bytes of %d, error %v", len(got.batches), batch.Size(), got.err)
	}
}
