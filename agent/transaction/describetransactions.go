package transaction

import (
	"cmp"
	"context"
	"math"
	"slices"
	"unicode/utf16"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// DescribeTransactions is API key 65, served in version 0 (KIP-664).
//
// A transactional ID that is named more than once is answered once: the answer may be
// much larger than its name.
//
// The groups of an open transaction are shown as Kafka shows them: as partitions of
// __consumer_offsets, where Kafka would keep their offsets.
func (c *Coordinator) DescribeTransactions(ctx context.Context, client protocol.Client, req *kmsg.DescribeTransactionsRequest) *kmsg.DescribeTransactionsResponse {
	resp := req.ResponseKind().(*kmsg.DescribeTransactionsResponse)
	named := eachOnce(req.TransactionalIDs)
	resp.TransactionStates = make([]kmsg.DescribeTransactionsResponseTransactionState, len(named))
	var ids []string
	for _, id := range named {
		if id != "" {
			ids = append(ids, id)
		}
	}
	transactions, places, err := c.describe(ctx, ids)
	code := c.code(client, req, "", err)
	for i, id := range named {
		out := &resp.TransactionStates[i]
		*out = kmsg.NewDescribeTransactionsResponseTransactionState()
		out.TransactionalID = id
		switch {
		case id == "":
			out.ErrorCode = kerr.InvalidRequest.Code
			continue
		case err != nil:
			out.ErrorCode = code
			continue
		}
		t := &transactions[0]
		transactions = transactions[1:]
		if t.ProducerID == metadata.NoProducer.ID {
			out.ErrorCode = kerr.TransactionalIDNotFound.Code
			continue
		}
		out.ProducerID, out.ProducerEpoch = t.ProducerID, t.Epoch
		out.State, out.TimeoutMillis, out.StartTimestamp = t.State.String(), int32(t.Timeout.Milliseconds()), -1
		if !t.StartedAt.IsZero() {
			out.StartTimestamp = t.StartedAt.UnixMilli()
		}
		out.Topics = places.topics(t)
	}
	return resp
}

// eachOnce returns the IDs in the order of first mention.
func eachOnce(ids []string) (once []string) {
	seen := make(map[string]struct{}, len(ids))
	for _, id := range ids {
		if _, again := seen[id]; !again {
			seen[id] = struct{}{}
			once = append(once, id)
		}
	}
	return once
}

// describe returns the transactions in the order asked, and where their partitions are.
func (c *Coordinator) describe(ctx context.Context, ids []string) ([]metadata.Transaction, *places, error) {
	if len(ids) == 0 {
		return nil, nil, nil
	}
	transactions, _, err := c.store.Transactions(ctx, ids)
	if err != nil {
		return nil, nil, err
	}
	topics, err := c.topics.AllTopics(ctx)
	if err != nil {
		return nil, nil, err
	}
	p := &places{partitions: map[metadata.PartitionID]place{}}
	for _, t := range transactions {
		for _, id := range t.Partitions {
			p.partitions[id] = place{}
		}
	}
	for i := range topics {
		if topics[i].Name == offsetsTopic {
			p.offsets = int32(len(topics[i].Partitions))
		}
		for index, id := range topics[i].Partitions {
			if _, ok := p.partitions[id]; ok {
				p.partitions[id] = place{topics[i].Name, int32(index)}
			}
		}
	}
	return transactions, p, nil
}

const offsetsTopic = "__consumer_offsets"

// places says what the partitions of transactions are in Kafka's terms.
type places struct {
	// partitions are those asked for; the zero place is one whose topic is gone.
	partitions map[metadata.PartitionID]place
	// offsets is the number of partitions of __consumer_offsets.
	offsets int32
}

type place struct {
	topic string
	index int32
}

// topics returns the partitions and groups of a transaction, by topic and partition.
func (p *places) topics(t *metadata.Transaction) (topics []kmsg.DescribeTransactionsResponseTransactionStateTopic) {
	all := make([]place, 0, len(t.Partitions)+len(t.Groups))
	for _, id := range t.Partitions {
		if at := p.partitions[id]; at.topic != "" {
			all = append(all, at)
		}
	}
	if p.offsets > 0 {
		for _, group := range t.Groups {
			all = append(all, place{offsetsTopic, partitionFor(group, p.offsets)})
		}
	}
	slices.SortFunc(all, func(a, b place) int { return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.index, b.index)) })
	for _, at := range slices.Compact(all) { // groups may share a partition
		if n := len(topics); n == 0 || topics[n-1].Topic != at.topic {
			topics = append(topics, kmsg.NewDescribeTransactionsResponseTransactionStateTopic())
			topics[n].Topic = at.topic
		}
		last := &topics[len(topics)-1]
		last.Partitions = append(last.Partitions, at.index)
	}
	return topics
}

// partitionFor is the partition of __consumer_offsets that Kafka keeps a group's
// offsets in: by Java's String.hashCode, which goes by UTF-16.
func partitionFor(group string, partitions int32) int32 {
	hash := int32(0)
	for _, unit := range utf16.Encode([]rune(group)) {
		hash = 31*hash + int32(unit)
	}
	if hash == math.MinInt32 { // has no absolute value
		return 0
	}
	return max(hash, -hash) % partitions
}
