package admin

// DescribeProducers (61), version 0: KIP-664.

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/errcode"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// DescribeProducers shows the idempotent and transactional producers that partitions
// remember, until they have been idle for producer.id.expiration.ms. The last timestamp
// is when the store committed the producer's last batch; Kafka has the batch's own.
func (a *Admin) DescribeProducers(ctx context.Context, _ protocol.Client, req *kmsg.DescribeProducersRequest) *kmsg.DescribeProducersResponse {
	ctx, cancel := withTimeout(ctx, 0)
	defer cancel()
	resp := req.ResponseKind().(*kmsg.DescribeProducersResponse)
	resp.Topics = make([]kmsg.DescribeProducersResponseTopic, len(req.Topics))
	var ids []metadata.PartitionID
	var slots []*kmsg.DescribeProducersResponseTopicPartition
	for i, t := range req.Topics {
		out := &resp.Topics[i]
		*out = kmsg.NewDescribeProducersResponseTopic()
		out.Topic = t.Topic
		out.Partitions = make([]kmsg.DescribeProducersResponseTopicPartition, len(t.Partitions))
		found := a.partitions(ctx, t.Topic, t.Partitions)
		for k, index := range t.Partitions {
			slot := &out.Partitions[k]
			*slot = kmsg.NewDescribeProducersResponseTopicPartition()
			slot.Partition = index
			if why := a.undescribed(t.Topic, found, index); why != nil {
				slot.ErrorCode, slot.ErrorMessage = why.code, &why.message
				continue
			}
			ids = append(ids, found.topic.Partitions[index])
			slots = append(slots, slot)
		}
	}
	if len(ids) == 0 {
		return resp
	}
	producers, err := a.records.ActiveProducers(ctx, ids)
	for i, slot := range slots {
		if err != nil {
			slot.ErrorCode = errcode.OfFetch(err)
			continue
		}
		for _, p := range producers[i] {
			slot.ActiveProducers = append(slot.ActiveProducers, shownProducer(p))
		}
	}
	if err != nil {
		a.report("describe producers", "", err)
	}
	return resp
}

// undescribed says why there is nothing to show of the partition, nil otherwise.
func (a *Admin) undescribed(topic string, found foundTopic, index int32) *refusal {
	if err := protocol.CheckTopicName(topic); err != nil {
		return invalidName(err)
	}
	_, err := found.partition(index)
	if err == nil {
		return nil
	}
	a.report("describe producers", topic, err)
	code := errcode.OfFetch(err)
	return &refusal{code: code, message: kerr.TypedErrorForCode(code).Description}
}

func shownProducer(p metadata.ActiveProducer) kmsg.DescribeProducersResponseTopicPartitionActiveProducer {
	shown := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
	shown.ProducerID, shown.ProducerEpoch = p.ProducerID, int32(p.Epoch)
	shown.LastSequence, shown.LastTimestamp = p.LastSequence, p.SeenAt.UnixMilli()
	// Coordinators have no epochs here: the store, not an epoch, keeps an old one from
	// writing. Kafka says -1 of a producer whose first transaction is open.
	shown.CoordinatorEpoch, shown.CurrentTxnStartOffset = -1, p.TransactionStart
	return shown
}
