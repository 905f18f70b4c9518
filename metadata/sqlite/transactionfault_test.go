package sqlite

import (
	"bufio"
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

// faultPartitions are those that the transactions of these tests write to.
const faultPartitions = 3

// prepareTransactions makes partitions 1 to faultPartitions and group g.
func prepareTransactions(t *testing.T, s *Store) {
	t.Helper()
	if _, err := s.CreateTopic(t.Context(), metadata.NewTopic{Name: "t", Partitions: faultPartitions}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.StoreGroup(t.Context(), "g", 0, metadata.GroupState{}); err != nil {
		t.Fatal(err)
	}
}

// begin makes a new producer of the ID, opens its transaction with a batch in each
// partition and an offset of the group, and returns what ends it.
func begin(ctx context.Context, s *Store, id string, offset int64, commit bool) (end []metadata.TransactionRequest, err error) {
	producerID, err := s.AllocateProducerIDs(ctx, 1)
	if err != nil {
		return nil, err
	}
	versions, _, err := s.GroupVersions(ctx, []string{"g"})
	if err != nil {
		return nil, err
	}
	do := func(op metadata.TransactionOp) (metadata.ProducerEpoch, error) {
		changed, err := s.ChangeTransactions(ctx, []metadata.TransactionRequest{{ID: id, Op: op}})
		if err != nil {
			return metadata.ProducerEpoch{}, err
		}
		return changed.Results[0].Producer, changed.Results[0].Err
	}
	producer, err := do(metadata.InitProducer{Timeout: time.Minute, Expected: metadata.NoProducer, NewProducerID: producerID})
	if err != nil {
		return nil, err
	}
	if _, err := do(metadata.TransactionOffsets{
		Producer: producer, GroupID: "g", GroupVersion: versions[0], Version: metadata.TransactionV2,
		Offsets: []metadata.Offset{{GroupID: "g", Partition: 1, Offset: offset}},
	}); err != nil {
		return nil, err
	}
	file := metadata.File{ID: uuid.Must(uuid.NewV7()), Size: 10 * faultPartitions}
	for p := range faultPartitions {
		file.Appends = append(file.Appends, metadata.Append{Partition: metadata.PartitionID(p + 1), StoredSize: 10, Batches: []metadata.Batch{{
			Size: 10, Records: 1, ProducerID: producer.ID, ProducerEpoch: producer.Epoch, Transactional: true, AddsPartition: true,
		}}})
	}
	result, err := s.CommitFiles(ctx, []metadata.File{file})
	if err != nil {
		return nil, err
	}
	for _, o := range result.Files[0].Outcomes {
		if o[0].Err != nil {
			return nil, o[0].Err
		}
	}
	return []metadata.TransactionRequest{{ID: id, Op: metadata.EndTransaction{
		Producer: producer, Commit: commit, Version: metadata.TransactionV2, NewProducerID: producerID,
	}}}, nil
}

// transactionSight is all that an end changes.
func transactionSight(t *testing.T, s *Store, id string) []any {
	t.Helper()
	var queries []metadata.RunQuery
	for p := range faultPartitions {
		queries = append(queries, metadata.RunQuery{Partition: metadata.PartitionID(p + 1), MaxBytes: 1 << 30, MaxRuns: metadata.MaxRuns})
	}
	runs, err1 := s.FindRuns(t.Context(), queries)
	offsets, err2 := s.FetchOffsets(t.Context(), []metadata.OffsetQuery{{GroupID: "g"}})
	transactions, _, err3 := s.Transactions(t.Context(), []string{id})
	seq, err4 := s.LastSeq(t.Context())
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	return []any{runs, offsets, transactions, seq}
}

// TestEndThatFailsHalfWay lets each statement of an end fail in turn.
func TestEndThatFailsHalfWay(t *testing.T) {
	for _, commit := range []bool{true, false} {
		steps := []string{
			"DELETE ON transaction_offsets", "DELETE ON transaction_groups", "DELETE ON transaction_partitions", "UPDATE ON transactions",
			"INSERT ON runs", "UPDATE ON partitions", "INSERT ON commits", "UPDATE ON sequencer",
		}
		if commit {
			steps = append(steps, "INSERT ON group_offsets")
		} else {
			steps = append(steps, "INSERT ON aborted_transactions")
		}
		d := database{filepath.Join(t.TempDir(), "metadata.db")}
		s := open(t, d.path)
		prepareTransactions(t, s)
		end, err := begin(t.Context(), s, "t", 5, commit)
		if err != nil {
			t.Fatal(err)
		}
		before := transactionSight(t, s, "t")
		db := d.raw(t)
		for _, step := range steps {
			if _, err := db.ExecContext(t.Context(), `CREATE TRIGGER fail BEFORE `+step+` BEGIN SELECT RAISE(ABORT, 'injected'); END`); err != nil {
				t.Fatal(err)
			}
			if _, err := s.ChangeTransactions(t.Context(), end); err == nil || !strings.Contains(err.Error(), "injected") {
				t.Errorf("commit %v, %s: got %v", commit, step, err)
			}
			if after := transactionSight(t, s, "t"); !reflect.DeepEqual(after, before) {
				t.Errorf("commit %v, %s: got  %+v\nwant %+v", commit, step, after, before)
			}
			if _, err := db.ExecContext(t.Context(), `DROP TRIGGER fail`); err != nil {
				t.Fatal(err)
			}
		}
		changed, err := s.ChangeTransactions(t.Context(), end)
		if err != nil || changed.Results[0].Err != nil || len(changed.Commits) != 1 {
			t.Errorf("commit %v: got %+v, %v", commit, changed, err)
		}
		if after := transactionSight(t, s, "t"); reflect.DeepEqual(after, before) {
			t.Errorf("commit %v changed nothing", commit)
		}
	}
}

// childTransactions, in the environment, makes the second process (see childPath)
// commit transactions.
const childTransactions = "WADI_TEST_SQLITE_CHILD_TRANSACTIONS"

// runTransactions commits one transaction after the other, with offsets 1, 2, ..., and
// tells of each that is acknowledged.
func runTransactions(ctx context.Context, s *Store, tell func(n int64) error) error {
	for n := int64(1); ; n++ {
		end, err := begin(ctx, s, "child", n, true)
		if err != nil {
			return err
		}
		changed, err := s.ChangeTransactions(ctx, end)
		if err == nil {
			err = changed.Results[0].Err
		}
		if err == nil {
			err = tell(n)
		}
		if err != nil {
			return err
		}
	}
}

// TestKilledInATransaction: whatever a process was doing when it was killed, each of
// its transactions ended everywhere or nowhere, and what it was told is true.
func TestKilledInATransaction(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "metadata.db"))
	prepareTransactions(t, s)
	child, out := startChild(t, s.path, childTransactions+"=1")
	acknowledged := int64(0)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var err error
		if acknowledged, err = strconv.ParseInt(lines.Text(), 10, 64); err != nil {
			t.Error(err)
		}
		if acknowledged == 20 {
			if err := child.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	_ = child.Wait() // killed
	if acknowledged < 20 {
		t.Fatalf("the other process acknowledged %d transactions", acknowledged)
	}

	sight := transactionSight(t, s, "child")
	committed := int64(0)
	for _, offsets := range sight[1].([][]metadata.Offset) {
		committed = offsets[0].Offset
	}
	if committed < acknowledged || committed > acknowledged+1 {
		t.Errorf("the group is at %d after %d acknowledged transactions", committed, acknowledged)
	}
	for _, found := range sight[0].([]metadata.PartitionRuns) {
		markers := int64(0)
		for _, r := range found.Runs {
			if m, ok := r.Marker(); ok && m.Commit {
				markers++
			}
		}
		if markers != committed || len(found.Aborted) != 0 {
			t.Errorf("partition %+v with %d markers, committed to %d", found.Bounds, markers, committed)
		}
	}
	// What it left open is aborted by the next producer, everywhere.
	if _, err := begin(t.Context(), s, "child", 0, true); err != nil {
		t.Fatal(err)
	}
	after := transactionSight(t, s, "child")[0].([]metadata.PartitionRuns)
	for _, found := range after {
		if len(found.Aborted) != len(after[0].Aborted) || found.NextOffset != 2*committed+2*int64(len(found.Aborted))+1 {
			t.Errorf("after the next began: %+v", found)
		}
	}
}

// TestOffsetsCountThoughTheClockWentBack: a transaction's offsets come after those that
// were committed before they were put aside.
func TestOffsetsCountThoughTheClockWentBack(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "metadata.db"))
	prepareTransactions(t, s)
	commit := func(offset int64) {
		t.Helper()
		end, err := begin(t.Context(), s, "id", offset, true)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.ChangeTransactions(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	commit(5)
	if _, err := s.writer.ExecContext(t.Context(), `UPDATE group_offsets SET committed_at = committed_at + 3600000000`); err != nil {
		t.Fatal(err)
	}
	commit(6)
	offsets, err := s.FetchOffsets(t.Context(), []metadata.OffsetQuery{{GroupID: "g"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := offsets[0]; len(got) != 1 || got[0].Offset != 6 || got[0].Unstable {
		t.Errorf("committed is %+v, want offset 6", got)
	}
}
