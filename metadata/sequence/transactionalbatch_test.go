package sequence

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

// transactional is a batch of two records of producer 7; V2 adds its partition.
func transactional(version metadata.TransactionVersion, epoch int16, sequence int32) metadata.Batch {
	b := idempotent(epoch, sequence, 2)
	b.Transactional, b.AddsPartition = true, version == metadata.TransactionV2
	return b
}

func TestTransactionalBatchByState(t *testing.T) {
	const accepted, duplicate = "accepted", "duplicate"
	var (
		mapping = metadata.ErrProducerIDMapping.Error()
		fenced  = metadata.ErrInvalidProducerEpoch.Error()
		invalid = metadata.ErrInvalidTransactionState.Error()
		order   = metadata.ErrOutOfOrderSequence.Error()
	)
	v1, v2 := metadata.TransactionV1, metadata.TransactionV2
	const none = metadata.TransactionState(-1)
	const absent = int64(-2) // the partition is not in the transaction; else its first offset
	type state struct {
		name     string
		state    metadata.TransactionState
		first    int64
		producer *Producer
	}
	written := func(epoch int16, next int32) *Producer {
		return &Producer{Epoch: epoch, Last: []ProducerBatch{{FirstSequence: next - 2, LastSequence: next - 1, BaseOffset: 8}}}
	}
	states := []state{
		{"no transactional ID", none, absent, nil},
		{"no transactional ID any more", none, absent, written(5, 2)},
		{"empty", metadata.TransactionEmpty, absent, nil},
		{"empty, epoch raised", metadata.TransactionEmpty, absent, written(4, 2)},
		{"partition added", metadata.TransactionOngoing, -1, nil},
		{"partition added, epoch as before", metadata.TransactionOngoing, -1, written(5, 2)},
		{"partition not added", metadata.TransactionOngoing, absent, nil},
		{"written", metadata.TransactionOngoing, 8, written(5, 2)},
		{"committed", metadata.TransactionCommitted, absent, written(5, 2)},
		{"committed, epoch raised", metadata.TransactionCommitted, absent, written(4, 2)},
		{"aborted", metadata.TransactionAborted, absent, written(5, 2)},
	}
	for _, c := range []struct {
		batch metadata.Batch
		want  []string // by state
	}{
		{transactional(v1, 5, 0), []string{
			mapping, duplicate, invalid, invalid, accepted, duplicate, invalid, duplicate, duplicate, invalid, duplicate,
		}},
		{transactional(v1, 5, 2), []string{
			mapping, mapping, invalid, invalid, accepted, accepted, invalid, accepted, invalid, invalid, invalid,
		}},
		{transactional(v1, 5, 4), []string{
			mapping, mapping, invalid, invalid, accepted, order, invalid, order, invalid, invalid, invalid,
		}},
		{transactional(v1, 4, 0), []string{
			mapping, mapping, fenced, duplicate, fenced, fenced, fenced, fenced, fenced, duplicate, fenced,
		}},
		{transactional(v1, 4, 2), []string{
			mapping, mapping, fenced, fenced, fenced, fenced, fenced, fenced, fenced, fenced, fenced,
		}},
		{transactional(v1, 6, 0), []string{
			mapping, mapping, fenced, fenced, fenced, fenced, fenced, fenced, fenced, fenced, fenced,
		}},
		{transactional(v2, 5, 0), []string{
			mapping, duplicate, accepted, accepted, accepted, duplicate, accepted, duplicate, duplicate, accepted, duplicate,
		}},
		{transactional(v2, 5, 2), []string{
			mapping, mapping, order, order, order, accepted, order, accepted, accepted, order, accepted,
		}},
		{transactional(v2, 5, 4), []string{
			mapping, mapping, order, order, order, order, order, order, order, order, order,
		}},
		{transactional(v2, 4, 0), []string{
			mapping, mapping, fenced, duplicate, fenced, fenced, fenced, fenced, fenced, duplicate, fenced,
		}},
		{transactional(v2, 4, 2), []string{
			mapping, mapping, fenced, fenced, fenced, fenced, fenced, fenced, fenced, fenced, fenced,
		}},
		{transactional(v2, 6, 0), []string{
			mapping, mapping, fenced, fenced, fenced, fenced, fenced, fenced, fenced, fenced, fenced,
		}},
	} {
		for i, s := range states {
			version := v1
			if c.batch.AddsPartition {
				version = v2
			}
			t.Run(fmt.Sprintf("V%d %d:%d, %s", version, c.batch.ProducerEpoch, c.batch.BaseSequence, s.name), func(t *testing.T) {
				w := newWorld(t, 0)
				key := ProducerKey{Partition: 1, ProducerID: 7}
				partition := Partition{NextOffset: 10, FirstUnstable: -1}
				if s.state != none {
					w.state.Transactions[7] = metadata.Transaction{
						ID: "id", ProducerID: 7, Epoch: 5, LastProducerID: -1, LastEpoch: 3, State: s.state, Version: v1, Timeout: time.Minute,
					}
				}
				if s.first != absent {
					w.state.InTransaction[key] = s.first
					partition.FirstUnstable = s.first
				}
				if s.producer != nil {
					w.state.Producers[key] = *s.producer
				}
				w.state.Partitions[1] = partition
				d, err := Decide(w.state, []metadata.File{w.file(oneAppend(c.batch))})
				if err != nil {
					t.Fatal(err)
				}
				got, o := accepted, d.Files[0].Result.Outcomes[0][0]
				switch {
				case o.Err != nil:
					got = o.Err.Error()
				case o.Duplicate:
					got = duplicate
				}
				if got != c.want[i] {
					t.Fatalf("got %s, want %s", got, c.want[i])
				}
				checkEntered(t, w.state, d, s.state != metadata.TransactionOngoing, s.first == absent, s.first < 0, got == accepted)
			})
		}
	}
}

// checkEntered: an accepted batch begins the transaction, joins the partition and is its
// first there, as it has to; another changes nothing.
func checkEntered(t *testing.T, state State, d Decision, begins, joins, first, accepted bool) {
	t.Helper()
	var transactions []TransactionChange
	var partitions []TransactionPartitionChange
	var stable []metadata.StableOffset
	if accepted && begins {
		began := state.Transactions[7]
		began.State, began.Version, began.StartedAt, began.UpdatedAt = metadata.TransactionOngoing, metadata.TransactionV2, state.Now, state.Now
		transactions = []TransactionChange{{Transaction: began}}
	}
	if accepted && first {
		partitions = []TransactionPartitionChange{{TransactionPartition{ProducerID: 7, Partition: 1, FirstOffset: 10}, joins}}
	}
	if accepted {
		offset := int64(10)
		if !first {
			offset = 8
		}
		stable = []metadata.StableOffset{{Partition: 1, Offset: offset}}
		if got := d.Partitions[0].FirstUnstable; got != offset {
			t.Errorf("first unstable offset %d, want %d", got, offset)
		}
	} else if len(d.Partitions)+len(d.Producers) > 0 {
		t.Errorf("a batch that is not accepted changes %+v", d)
	}
	if !reflect.DeepEqual(d.Transactions, transactions) || !reflect.DeepEqual(d.TransactionPartitions, partitions) || !reflect.DeepEqual(d.Files[0].Stable, stable) {
		t.Errorf("got  %+v, %+v, %+v\nwant %+v, %+v, %+v", d.Transactions, d.TransactionPartitions, d.Files[0].Stable, transactions, partitions, stable)
	}
}

func TestLastStableOffsetsAreAsOfEachFile(t *testing.T) {
	w := newWorld(t, 3)
	w.state.Transactions[7] = metadata.Transaction{ID: "id", ProducerID: 7, LastProducerID: -1, LastEpoch: -1, Version: metadata.TransactionV2, Timeout: time.Minute}
	w.state.Partitions[2] = Partition{LogStartOffset: 4, NextOffset: 6, FirstUnstable: 3, MaxTimestamp: 1}
	plain := metadata.Batch{Size: 10, Records: 3, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}
	in := func(partition metadata.PartitionID, batches ...metadata.Batch) metadata.Append {
		a := oneAppend(batches...)
		a.Partition = partition
		return a
	}
	d, err := Decide(w.state, []metadata.File{
		w.file(in(3, plain), in(1, plain)),
		w.file(in(3, plain, transactional(metadata.TransactionV2, 0, 0)), in(2, plain), in(1, plain)),
		w.file(in(3, plain, transactional(metadata.TransactionV2, 0, 9)), in(1, transactional(metadata.TransactionV2, 0, 9))),
		w.file(in(3, transactional(metadata.TransactionV2, 0, 9))),
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]metadata.StableOffset{
		nil,
		// In partition 2 the transaction of another began before the log start.
		{{Partition: 2, Offset: 4}, {Partition: 3, Offset: 6}},
		{{Partition: 3, Offset: 6}},
		nil, // Its batch is refused: there are no runs.
	} {
		if got := d.Files[i].Stable; !reflect.DeepEqual(got, want) {
			t.Errorf("file %d: got %+v, want %+v", i, got, want)
		}
	}
}
