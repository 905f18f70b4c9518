package sequence

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

// What is in the transaction already is not added again.
func TestAdditionsToTransaction(t *testing.T) {
	open := ongoing("id", 10, 1, 3)
	open.Groups = []string{"g"}
	empty := open
	empty.State, empty.StartedAt, empty.Partitions, empty.Groups = metadata.TransactionEmpty, time.Time{}, nil, nil
	producer := metadata.ProducerEpoch{ID: 10}
	group := func(id string) *string { return &id }
	offset := func(partition metadata.PartitionID, offset int64) metadata.Offset {
		return metadata.Offset{GroupID: "h", Partition: partition, Offset: offset, LeaderEpoch: -1, Metadata: "m"}
	}
	aside := func(partition metadata.PartitionID, at int64) TransactionOffset {
		o := offset(partition, at)
		o.CommittedAt = markerTime
		return TransactionOffset{ProducerID: 10, Offset: o}
	}
	for _, c := range []struct {
		name       string
		state      metadata.Transaction
		op         metadata.TransactionOp
		began      bool
		partitions []TransactionPartition
		groups     []TransactionGroup
		offsets    []TransactionOffset
		absent     []metadata.PartitionID
	}{
		{
			name: "partitions begin it", state: empty, began: true,
			op:         metadata.AddToTransaction{Producer: producer, Partitions: []metadata.PartitionID{4, 1, 4}},
			partitions: []TransactionPartition{{10, 1, -1}, {10, 4, -1}},
		},
		{
			name: "a group begins it", state: empty, began: true,
			op:     metadata.AddToTransaction{Producer: producer, Group: group("")},
			groups: []TransactionGroup{{10, ""}},
		},
		{
			name: "some of them are there", state: open,
			op:         metadata.AddToTransaction{Producer: producer, Partitions: []metadata.PartitionID{3, 2, 1}, Group: group("g")},
			partitions: []TransactionPartition{{10, 2, -1}},
		},
		{
			name: "another group", state: open,
			op:     metadata.AddToTransaction{Producer: producer, Group: group("h")},
			groups: []TransactionGroup{{10, "h"}},
		},
		{
			name: "verified", state: open,
			op:     metadata.AddToTransaction{Producer: producer, Partitions: []metadata.PartitionID{4, 3, 2}, VerifyOnly: true},
			absent: []metadata.PartitionID{2, 4},
		},
		{
			name: "verified, none open", state: empty,
			op:     metadata.AddToTransaction{Producer: producer, Partitions: []metadata.PartitionID{1}, VerifyOnly: true},
			absent: []metadata.PartitionID{1},
		},
		{
			name: "offsets begin it", state: empty, began: true,
			op: metadata.TransactionOffsets{
				Producer: producer, GroupID: "h", GroupVersion: 5, Version: metadata.TransactionV2,
				Offsets: []metadata.Offset{offset(9, 1), offset(8, 2), offset(9, 3)},
			},
			groups: []TransactionGroup{{10, "h"}}, offsets: []TransactionOffset{aside(9, 3), aside(8, 2)},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			requests := []metadata.TransactionRequest{{ID: "id", Op: c.op}}
			if err := ValidateTransactions(requests); err != nil {
				t.Fatal(err)
			}
			d := DecideTransactions(TransactionsState{
				Now: markerTime, Transactions: map[string]metadata.Transaction{"id": c.state}, Groups: map[string]int64{"h": 5},
			}, requests)
			want := TransactionsDecision{
				Results:    []metadata.TransactionResult{{Absent: c.absent}},
				Partitions: c.partitions, Groups: c.groups, Offsets: c.offsets,
			}
			if began := len(d.Transactions) > 0; began != c.began {
				t.Errorf("began: %v", began)
			}
			if d.Transactions = nil; !reflect.DeepEqual(d, want) {
				t.Errorf("got  %+v\nwant %+v", d, want)
			}
		})
	}
}

func TestTransactionKeys(t *testing.T) {
	offsets := func(group string) metadata.TransactionOp { return metadata.TransactionOffsets{GroupID: group} }
	got := TransactionKeys([]metadata.TransactionRequest{
		{ID: "z", Op: offsets("h")}, {ID: "b", Op: metadata.InitProducer{}}, {ID: "a", Op: offsets("g")}, {ID: "c", Op: offsets("h")},
	})
	if want := (TransactionRef{IDs: []string{"z", "b", "a", "c"}, Groups: []string{"g", "h"}}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestValidateTransactions(t *testing.T) {
	group := "g"
	v1, v2 := metadata.TransactionV1, metadata.TransactionV2
	request := func(op metadata.TransactionOp) []metadata.TransactionRequest {
		return []metadata.TransactionRequest{{ID: "id", Op: op}}
	}
	for _, c := range []struct {
		want     string
		requests []metadata.TransactionRequest
	}{
		{"", nil},
		{"", request(metadata.InitProducer{Timeout: 1, Expected: metadata.NoProducer})},
		{"", request(metadata.InitProducer{Timeout: 1, Expected: metadata.ProducerEpoch{ID: 1, Epoch: 2}, NewProducerID: 3})},
		{"", request(metadata.AddToTransaction{})},
		{"", request(metadata.AddToTransaction{Producer: metadata.NoProducer, Group: &group})},
		{"", request(metadata.AddToTransaction{VerifyOnly: true})},
		{"", request(metadata.TransactionOffsets{GroupID: "g", Version: v2, Offsets: []metadata.Offset{{GroupID: "g"}}})},
		{"", request(metadata.EndTransaction{Version: v1, NewProducerID: -1})},
		{"", request(metadata.EndTransaction{Version: v2, Producer: metadata.ProducerEpoch{Epoch: metadata.LastProducerEpoch - 1}, NewProducerID: -1})},
		{"", request(metadata.EndTransaction{Version: v2, Producer: metadata.ProducerEpoch{Epoch: metadata.LastProducerEpoch}})},
		{"", request(metadata.ExpireTransaction{})},
		{"is empty", []metadata.TransactionRequest{{Op: metadata.ExpireTransaction{}}}},
		{"appears twice", append(request(metadata.ExpireTransaction{}), request(metadata.AddToTransaction{})...)},
		{"unknown operation", request(nil)},
		{"unknown operation", request(&metadata.ExpireTransaction{})},
		{"timeout of 0s", request(metadata.InitProducer{Expected: metadata.NoProducer})},
		{"timeout of -1ns", request(metadata.InitProducer{Timeout: -1, Expected: metadata.NoProducer})},
		{"expected producer -1", request(metadata.InitProducer{Timeout: 1, Expected: metadata.ProducerEpoch{ID: -1}})},
		{"of epoch -1", request(metadata.InitProducer{Timeout: 1, Expected: metadata.ProducerEpoch{ID: 1, Epoch: -1}})},
		{"new producer ID -1", request(metadata.InitProducer{Timeout: 1, Expected: metadata.NoProducer, NewProducerID: -1})},
		{"only partitions", request(metadata.AddToTransaction{VerifyOnly: true, Group: &group})},
		{"of group \"h\" among those of \"g\"", request(metadata.TransactionOffsets{GroupID: "g", Version: v2, Offsets: []metadata.Offset{{GroupID: "h"}}})},
		{"version 0", request(metadata.TransactionOffsets{GroupID: "g"})},
		{"version 3", request(metadata.EndTransaction{Version: 3})},
		{"new producer ID -1", request(metadata.EndTransaction{Version: v2, Producer: metadata.ProducerEpoch{Epoch: metadata.LastProducerEpoch}, NewProducerID: -1})},
	} {
		err := ValidateTransactions(c.requests)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %q", c.requests, err, c.want)
		}
	}
}
