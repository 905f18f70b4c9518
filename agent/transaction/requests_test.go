package transaction

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

var software = protocol.Client{ID: "test", Host: "127.0.0.1"}

func initRequest(version int16, id string) *kmsg.InitProducerIDRequest {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.SetVersion(version)
	req.TransactionalID, req.TransactionTimeoutMillis = &id, 60_000
	return req
}

func endRequest(version int16, id string, producer metadata.ProducerEpoch, commit bool) *kmsg.EndTxnRequest {
	req := kmsg.NewPtrEndTxnRequest()
	req.SetVersion(version)
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = id, producer.ID, producer.Epoch, commit
	return req
}

func addOffsetsRequest(version int16, id string, producer metadata.ProducerEpoch, group string) *kmsg.AddOffsetsToTxnRequest {
	req := kmsg.NewPtrAddOffsetsToTxnRequest()
	req.SetVersion(version)
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = id, producer.ID, producer.Epoch, group
	return req
}

// addRequest adds partitions ("topic 0"), or verifies them, in the form of the version.
func addRequest(version int16, id string, producer metadata.ProducerEpoch, verify bool, partitions ...string) *kmsg.AddPartitionsToTxnRequest {
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.SetVersion(version)
	addTo(req, id, producer, verify, partitions...)
	return req
}

// addTo adds one more transaction; before version 4 it is the only one.
func addTo(req *kmsg.AddPartitionsToTxnRequest, id string, producer metadata.ProducerEpoch, verify bool, partitions ...string) {
	t := kmsg.AddPartitionsToTxnRequestTransaction{TransactionalID: id, ProducerID: producer.ID, ProducerEpoch: producer.Epoch, VerifyOnly: verify}
	for _, p := range partitions {
		topic, index, _ := strings.Cut(p, " ")
		var partition int32
		if _, err := fmt.Sscan(index, &partition); err != nil {
			panic(err)
		}
		if n := len(t.Topics); n > 0 && t.Topics[n-1].Topic == topic {
			t.Topics[n-1].Partitions = append(t.Topics[n-1].Partitions, partition)
			continue
		}
		t.Topics = append(t.Topics, kmsg.AddPartitionsToTxnRequestTransactionTopic{Topic: topic, Partitions: []int32{partition}})
	}
	if req.Version >= 4 {
		req.Transactions = append(req.Transactions, t)
		return
	}
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = id, producer.ID, producer.Epoch
	for _, topic := range t.Topics {
		req.Topics = append(req.Topics, kmsg.AddPartitionsToTxnRequestTopic{Topic: topic.Topic, Partitions: topic.Partitions})
	}
}

// codesOf lists the codes of all partitions of all transactions in their order.
func codesOf(resp *kmsg.AddPartitionsToTxnResponse) (codes []int16) {
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			codes = append(codes, p.ErrorCode)
		}
	}
	for _, t := range resp.Transactions {
		for _, topic := range t.Topics {
			for _, p := range topic.Partitions {
				codes = append(codes, p.ErrorCode)
			}
		}
	}
	return codes
}
