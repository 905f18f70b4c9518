package sequence

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

var markerTime = time.UnixMilli(1_800_000_000_123)

// ongoing is an open transaction of V1 and epoch 0.
func ongoing(id string, producerID int64, partitions ...metadata.PartitionID) metadata.Transaction {
	return metadata.Transaction{
		ID: id, ProducerID: producerID, LastProducerID: -1, LastEpoch: -1, State: metadata.TransactionOngoing,
		Version: metadata.TransactionV1, Timeout: time.Minute, StartedAt: markerTime, Partitions: partitions,
	}
}

func endV1(id string, producerID int64, commit bool) metadata.TransactionRequest {
	return metadata.TransactionRequest{ID: id, Op: metadata.EndTransaction{
		Producer: metadata.ProducerEpoch{ID: producerID}, Commit: commit, Version: metadata.TransactionV1,
	}}
}

func markerRun(producerID int64, commit bool, partition metadata.PartitionID, offset, maxTimestamp int64) metadata.Run {
	return metadata.Marker{ProducerID: producerID, Commit: commit, Timestamp: markerTime.UnixMilli()}.Run(partition, offset, maxTimestamp)
}

// Partitions of one call: 1 is shared by the transactions of producers 10, 20 and 30, which
// stays open; 2 by 10 and 20, which both end; in 3 only 20 has written.
func TestEndsOfOneCallShareItsPartitions(t *testing.T) {
	state := TransactionsState{
		Now: markerTime,
		Transactions: map[string]metadata.Transaction{
			"b": ongoing("b", 10, 1, 2, 3),
			"a": ongoing("a", 20, 1, 2, 3),
		},
		Partitions: map[metadata.PartitionID]Partition{
			1: {NextOffset: 100, MaxTimestamp: 7, FirstUnstable: 40},
			2: {NextOffset: 50, MaxTimestamp: 8, FirstUnstable: 10},
			3: {NextOffset: 5, MaxTimestamp: -1, FirstUnstable: 0},
		},
		Open: map[metadata.PartitionID][]OpenTransaction{
			1: {{30, 70}, {10, 40}, {20, 60}},
			2: {{20, 10}, {10, 20}},
			3: {{20, 0}},
		},
	}
	d := DecideTransactions(state, []metadata.TransactionRequest{endV1("b", 10, false), endV1("a", 20, false)})
	if want := []EndedTransaction{{ProducerID: 10}, {ProducerID: 20}}; !reflect.DeepEqual(d.Ended, want) {
		t.Errorf("ended %+v, want %+v", d.Ended, want)
	}
	if len(d.Transactions) != 2 || d.Transactions[0].ID != "a" || d.Transactions[1].ID != "b" {
		t.Errorf("transactions are not ascending by ID: %+v", d.Transactions)
	}
	want := metadata.Commit{
		Runs: []metadata.Run{
			markerRun(10, false, 1, 100, 7), markerRun(10, false, 2, 50, 8),
			markerRun(20, false, 1, 101, 7), markerRun(20, false, 2, 51, 8), markerRun(20, false, 3, 5, -1),
		},
		Aborted: []metadata.AbortedTransaction{
			{Partition: 1, ProducerID: 10, FirstOffset: 40, LastOffset: 100, StableOffset: 60},
			{Partition: 2, ProducerID: 10, FirstOffset: 20, LastOffset: 50, StableOffset: 10},
			{Partition: 1, ProducerID: 20, FirstOffset: 60, LastOffset: 101, StableOffset: 70},
			{Partition: 2, ProducerID: 20, FirstOffset: 10, LastOffset: 51, StableOffset: 52},
			{Partition: 3, ProducerID: 20, FirstOffset: 0, LastOffset: 5, StableOffset: 6},
		},
		Stable: []metadata.StableOffset{{Partition: 1, Offset: 70}},
	}
	if !reflect.DeepEqual(d.Commit, want) {
		t.Errorf("got  %+v\nwant %+v", d.Commit, want)
	}
	heads := []PartitionChange{
		{1, Partition{NextOffset: 102, MaxTimestamp: 7, FirstUnstable: 70}},
		{2, Partition{NextOffset: 52, MaxTimestamp: 8, FirstUnstable: -1}},
		{3, Partition{NextOffset: 6, MaxTimestamp: -1, FirstUnstable: -1}},
	}
	if !reflect.DeepEqual(d.Heads, heads) {
		t.Errorf("got  %+v\nwant %+v", d.Heads, heads)
	}
}

func TestEndWritesMarkersOnlyWhereItMust(t *testing.T) {
	for _, c := range []struct {
		name      string
		partition *Partition
		open      []OpenTransaction
		commit    bool
		want      metadata.Commit
	}{
		{
			name: "committed", partition: &Partition{NextOffset: 9, MaxTimestamp: 1, FirstUnstable: 5}, open: []OpenTransaction{{10, 5}}, commit: true,
			want: metadata.Commit{Runs: []metadata.Run{markerRun(10, true, 1, 9, 1)}},
		},
		{name: "nothing written", partition: &Partition{NextOffset: 9, MaxTimestamp: 1, FirstUnstable: -1}},
		{name: "only another has written", partition: &Partition{NextOffset: 9, MaxTimestamp: 1, FirstUnstable: 3}, open: []OpenTransaction{{20, 3}}},
		{name: "partition deleted"},
		{
			name: "all its records deleted", partition: &Partition{LogStartOffset: 9, NextOffset: 9, MaxTimestamp: 1, FirstUnstable: 5}, open: []OpenTransaction{{10, 5}},
			want: metadata.Commit{
				Runs:    []metadata.Run{markerRun(10, false, 1, 9, 1)},
				Aborted: []metadata.AbortedTransaction{{Partition: 1, ProducerID: 10, FirstOffset: 5, LastOffset: 9, StableOffset: 10}},
			},
		},
		{
			name: "records of the other deleted", partition: &Partition{LogStartOffset: 6, NextOffset: 9, MaxTimestamp: 1, FirstUnstable: 3}, open: []OpenTransaction{{10, 5}, {20, 3}},
			want: metadata.Commit{
				Runs:    []metadata.Run{markerRun(10, false, 1, 9, 1)},
				Aborted: []metadata.AbortedTransaction{{Partition: 1, ProducerID: 10, FirstOffset: 5, LastOffset: 9, StableOffset: 6}},
				Stable:  []metadata.StableOffset{{Partition: 1, Offset: 6}},
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			state := TransactionsState{Now: markerTime, Transactions: map[string]metadata.Transaction{"id": ongoing("id", 10, 1)}}
			if c.partition != nil {
				state.Partitions = map[metadata.PartitionID]Partition{1: *c.partition}
				state.Open = map[metadata.PartitionID][]OpenTransaction{1: c.open}
			}
			d := DecideTransactions(state, []metadata.TransactionRequest{endV1("id", 10, c.commit)})
			if !reflect.DeepEqual(d.Commit, c.want) {
				t.Errorf("got  %+v\nwant %+v", d.Commit, c.want)
			}
			if want := []EndedTransaction{{ProducerID: 10, Commit: c.commit}}; !reflect.DeepEqual(d.Ended, want) || len(d.Heads) != len(c.want.Runs) {
				t.Errorf("ended %+v, heads %+v", d.Ended, d.Heads)
			}
		})
	}
}

func TestRefusedRequestHarmsNoOther(t *testing.T) {
	state := TransactionsState{
		Now:          markerTime,
		Transactions: map[string]metadata.Transaction{"a": ongoing("a", 10, 1), "b": ongoing("b", 20, 1)},
		Partitions:   map[metadata.PartitionID]Partition{1: {NextOffset: 9, FirstUnstable: 3}},
		Open:         map[metadata.PartitionID][]OpenTransaction{1: {{10, 3}, {20, 4}}},
	}
	d := DecideTransactions(state, []metadata.TransactionRequest{endV1("a", 11, true), endV1("c", 30, true), endV1("b", 20, true)})
	wantErrs := []error{metadata.ErrProducerIDMapping, metadata.ErrProducerIDMapping, nil}
	for i, r := range d.Results {
		if !errors.Is(r.Err, wantErrs[i]) {
			t.Errorf("request %d: %v, want %v", i, r.Err, wantErrs[i])
		}
	}
	want := metadata.Commit{Runs: []metadata.Run{markerRun(20, true, 1, 9, 0)}, Stable: []metadata.StableOffset{{Partition: 1, Offset: 3}}}
	if !reflect.DeepEqual(d.Commit, want) || len(d.Transactions) != 1 || d.Transactions[0].ID != "b" {
		t.Errorf("got %+v", d)
	}
}
