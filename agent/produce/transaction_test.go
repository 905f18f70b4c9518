package produce

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// inTransaction marks a batch as transactional.
func inTransaction(b protocol.Batch, epoch int16) protocol.Batch {
	b[22] |= 0x10
	binary.BigEndian.PutUint16(b[51:], uint16(epoch))
	return seal(b)
}

// change makes one change of the transactional ID "id", which must be allowed.
func (p *path) change(op metadata.TransactionOp) metadata.ProducerEpoch {
	p.t.Helper()
	changed, err := p.store.ChangeTransactions(p.t.Context(), []metadata.TransactionRequest{{ID: "id", Op: op}})
	if err == nil {
		err = changed.Results[0].Err
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return changed.Results[0].Producer
}

// transactional makes a producer, whose ID is 7.
func (p *path) transactional() metadata.ProducerEpoch {
	p.t.Helper()
	return p.change(metadata.InitProducer{Timeout: time.Minute, Expected: metadata.NoProducer, NewProducerID: 7})
}

func transactionalRequest(version int16, batch protocol.Batch) *kmsg.ProduceRequest {
	id := "id"
	req := produceRequest(version, -1, "t", 0, batch)
	req.TransactionID = &id
	return req
}

func TestTransactionalBatchesByStateAndVersion(t *testing.T) {
	none := func(*path) {}
	made := func(p *path) { p.transactional() }
	added := func(p *path) {
		p.change(metadata.AddToTransaction{Producer: p.transactional(), Partitions: p.topic.Partitions[:1]})
	}
	addedElsewhere := func(p *path) {
		p.change(metadata.AddToTransaction{Producer: p.transactional(), Partitions: p.topic.Partitions[1:]})
	}
	ended := func(p *path) {
		added(p)
		p.change(metadata.EndTransaction{Producer: metadata.ProducerEpoch{ID: 7}, Commit: true, Version: metadata.TransactionV1, NewProducerID: -1})
	}
	ended2 := func(p *path) {
		added(p)
		p.change(metadata.EndTransaction{Producer: metadata.ProducerEpoch{ID: 7}, Commit: true, Version: metadata.TransactionV2, NewProducerID: -1})
	}
	fenced := func(p *path) {
		added(p)
		p.transactional()
	}
	for name, test := range map[string]struct {
		state         func(*path)
		v10, v11, v12 *kerr.Error
	}{
		"no such producer":       {none, kerr.InvalidProducerIDMapping, kerr.InvalidProducerIDMapping, kerr.InvalidProducerIDMapping},
		"nothing added":          {made, kerr.InvalidTxnState, kerr.TransactionAbortable, nil},
		"added":                  {added, nil, nil, nil},
		"another added":          {addedElsewhere, kerr.InvalidTxnState, kerr.TransactionAbortable, nil},
		"ended":                  {ended, kerr.InvalidTxnState, kerr.TransactionAbortable, nil},
		"ended with a new epoch": {ended2, kerr.InvalidProducerEpoch, kerr.InvalidProducerEpoch, kerr.InvalidProducerEpoch},
		"fenced":                 {fenced, kerr.InvalidProducerEpoch, kerr.InvalidProducerEpoch, kerr.InvalidProducerEpoch},
	} {
		for version, want := range map[int16]*kerr.Error{10: test.v10, 11: test.v11, 12: test.v12} {
			t.Run(name, func(t *testing.T) {
				p := newPath(t, nil)
				test.state(p)
				got := send(t, p.handler(nil), transactionalRequest(version, inTransaction(newBatch(7, 0, "k", "v"), 0)))
				if err := kerr.ErrorForCode(got.ErrorCode); want == nil && err != nil || want != nil && !errors.Is(err, want) {
					t.Errorf("version %d: %v, want %v", version, err, want)
				}
				if end := p.nextOffset(0); (end == 1) != (want == nil) {
					t.Errorf("version %d: the log ends at %d", version, end)
				}
			})
		}
	}
}

// TestBatchBeginsItsTransaction, from version 12 on, and only if it is accepted.
func TestBatchBeginsItsTransaction(t *testing.T) {
	p := newPath(t, nil)
	p.transactional()
	h := p.handler(nil)
	state := func() metadata.Transaction {
		transactions, _, err := p.store.Transactions(t.Context(), []string{"id"})
		if err != nil {
			t.Fatal(err)
		}
		return transactions[0]
	}
	late := inTransaction(newBatch(7, 3, "k", "v"), 0)
	if got := send(t, h, transactionalRequest(12, late)); got.ErrorCode != kerr.OutOfOrderSequenceNumber.Code {
		t.Errorf("a batch whose elder is missing: %v", kerr.ErrorForCode(got.ErrorCode))
	}
	if s := state(); s.State != metadata.TransactionEmpty {
		t.Errorf("it is %v", s.State)
	}
	for range 2 { // the second time it is a duplicate
		if got := send(t, h, transactionalRequest(12, inTransaction(newBatch(7, 0, "k", "v"), 0))); got.ErrorCode != 0 || got.BaseOffset != 0 {
			t.Errorf("%+v", got)
		}
	}
	if s := state(); s.State != metadata.TransactionOngoing || s.Version != metadata.TransactionV2 || !slices.Equal(s.Partitions, p.topic.Partitions[:1]) {
		t.Errorf("%+v", s)
	}
}

func TestRequestsWithTransactionalBatchesThatAreRefusedAsAWhole(t *testing.T) {
	plainBatch := func() protocol.Batch { return plain("v") }
	mine := func() protocol.Batch { return inTransaction(newBatch(7, 0, "k", "v"), 0) }
	for name, test := range map[string]struct {
		unnamed bool
		batches []protocol.Batch
		want    []*kerr.Error
	}{
		"no transactional ID":        {true, []protocol.Batch{mine()}, []*kerr.Error{kerr.TransactionalIDAuthorizationFailed}},
		"no transactional ID, mixed": {true, []protocol.Batch{plainBatch(), mine()}, []*kerr.Error{kerr.TransactionalIDAuthorizationFailed, kerr.TransactionalIDAuthorizationFailed}},
		"an ID in vain":              {false, []protocol.Batch{plainBatch()}, []*kerr.Error{nil}},
		"mixed":                      {false, []protocol.Batch{plainBatch(), mine()}, []*kerr.Error{nil, nil}},
		"two producers":              {false, []protocol.Batch{mine(), inTransaction(newBatch(8, 0, "k", "v"), 0), plainBatch()}, []*kerr.Error{kerr.InvalidProducerIDMapping, kerr.InvalidProducerIDMapping, kerr.InvalidProducerIDMapping}},
		"two epochs":                 {false, []protocol.Batch{mine(), inTransaction(newBatch(7, 0, "k", "v"), 1)}, []*kerr.Error{kerr.InvalidProducerIDMapping, kerr.InvalidProducerIDMapping}},
		"beside what is no batch":    {false, []protocol.Batch{{1, 2, 3}, mine()}, []*kerr.Error{kerr.CorruptMessage, nil}},
		"no producer ID":             {false, []protocol.Batch{inTransaction(plain("v"), -1)}, []*kerr.Error{kerr.InvalidRecord}},
		"a marker":                   {false, []protocol.Batch{func() protocol.Batch { b := mine(); b[22] |= 0x20; return seal(b) }()}, []*kerr.Error{kerr.InvalidRecord}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPath(t, nil)
			p.transactional()
			req := transactionalRequest(12, nil)
			if test.unnamed {
				req.TransactionID = nil
			}
			req.Topics[0].Partitions = nil
			for i, b := range test.batches {
				req.Topics[0].Partitions = append(req.Topics[0].Partitions, kmsg.ProduceRequestTopicPartition{Partition: int32(i), Records: b})
			}
			resp, err := p.handler(nil).Produce(t.Context(), req, func() {})()
			if err != nil {
				t.Fatal(err)
			}
			for i, part := range resp.Topics[0].Partitions {
				if err := kerr.ErrorForCode(part.ErrorCode); test.want[i] == nil && err != nil || test.want[i] != nil && !errors.Is(err, test.want[i]) {
					t.Errorf("partition %d: %v, want %v", i, err, test.want[i])
				}
			}
		})
	}
}

// TestRefusedTransactionOfAcksZeroIsReported: its connection is closed, as Kafka does.
func TestRefusedTransactionOfAcksZeroIsReported(t *testing.T) {
	req := transactionalRequest(9, inTransaction(newBatch(7, 0, "k", "v"), 0))
	req.Acks, req.TransactionID = 0, nil
	if _, err := newPath(t, nil).handler(nil).Produce(context.Background(), req, func() {})(); !errors.Is(err, ErrRefused) {
		t.Errorf("%v", err)
	}
}
