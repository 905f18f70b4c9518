package postgres

import (
	"errors"
	"testing"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/test/harness"
)

// TestAbortedBelongToTheRunsFound: what becomes of transactions and records between the
// two statements of FindRuns neither shows nor hides anything.
func TestAbortedBelongToTheRunsFound(t *testing.T) {
	f := newTransactionFixture(t, harness.Postgres(t))
	f.producer = f.change(f.ending(false)).Producer
	_, err := f.observer.CommitFiles(t.Context(), []metadata.File{f.file(f.partition)})
	f.must(err)
	// Offset 0 was aborted at 1; 2 belongs to an open transaction.
	found, err := f.observer.FindRuns(t.Context(), []metadata.RunQuery{{Partition: f.partition, MaxBytes: 1 << 20, MaxRuns: 10}})
	f.must(err)
	want := metadata.AbortedTransaction{Partition: f.partition, ProducerID: f.producer.ID, FirstOffset: 0, LastOffset: 1, StableOffset: 2}
	if got := found[0].Aborted; len(got) != 1 || got[0] != want || found[0].StableOffset != 2 || found[0].NextOffset != 3 {
		t.Fatalf("got %+v, want %+v aborted", found[0], want)
	}
	readAgain := func() ([]metadata.AbortedTransaction, error) {
		out := []metadata.PartitionRuns{found[0]}
		out[0].Aborted = nil
		var ranges abortedRanges
		ranges.add(0, 0, &out[0])
		err := f.observer.readAborted(t.Context(), &ranges, out)
		return out[0].Aborted, err
	}

	f.change(f.ending(false))
	if got, err := readAgain(); err != nil || len(got) != 1 || got[0] != want {
		t.Errorf("after the end of the other: %+v, %v, want %+v", got, err, want)
	}
	_, err = f.observer.DeleteRecords(t.Context(), []metadata.RecordsDeletion{{Partition: f.partition, Before: 2}})
	f.must(err)
	if got, err := readAgain(); !errors.Is(err, errRetry) {
		t.Errorf("after the records were deleted: %+v, %v, want all to be read again", got, err)
	}
}
