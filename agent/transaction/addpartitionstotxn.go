package transaction

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// AddPartitionsToTxn is API key 24, served in versions 0 to 5.
//
//	v0  adds partitions to one transaction (KIP-98)
//	v1  throttling after the answer (KIP-219)
//	v2  PRODUCER_FENCED (KIP-588), before it INVALID_PRODUCER_EPOCH
//	v3  flexible (KIP-482)
//	v4  many transactions, and verify only: what one broker asks another (KIP-890)
//	v5  TRANSACTION_ABORTABLE (KIP-890)
//
// Clients stay at version 3, and those of transaction version 2 don't send it. No agent sends it
// to another either; versions 4 and 5 are served because Kafka advertises them.
//
// A transaction that is named twice is refused the second time.
//
// One partition that can't be added keeps the others of its transaction out of it, too.
func (c *Coordinator) AddPartitionsToTxn(ctx context.Context, client protocol.Client, req *kmsg.AddPartitionsToTxnRequest) *kmsg.AddPartitionsToTxnResponse {
	resp := req.ResponseKind().(*kmsg.AddPartitionsToTxnResponse)
	transactions := additionsOf(req)
	c.findPartitions(ctx, client, req, transactions)
	for _, a := range transactions {
		if a.codes == nil {
			a.change = c.begin(a.id, metadata.AddToTransaction{Producer: a.producer, Partitions: a.partitions(), VerifyOnly: a.verifyOnly})
		}
	}
	for _, a := range transactions {
		if a.change != nil {
			c.finish(ctx, client, req, a)
		}
		if req.Version < 4 {
			resp.Topics = a.answer()
			break
		}
		t := kmsg.NewAddPartitionsToTxnResponseTransaction()
		t.TransactionalID = a.id
		for _, topic := range a.answer() {
			t.Topics = append(t.Topics, inTransaction(topic))
		}
		resp.Transactions = append(resp.Transactions, t)
	}
	return resp
}

// addition is what is asked of one transaction.
type addition struct {
	id         string
	producer   metadata.ProducerEpoch
	verifyOnly bool
	topics     []kmsg.AddPartitionsToTxnRequestTopic
	// found are the partitions, in the order of the topics.
	found  []metadata.PartitionID
	change *change
	// codes are the answer, in the order of the topics' partitions; nil before there is one.
	codes []int16
}

// additionsOf brings both forms of the request into one.
func additionsOf(req *kmsg.AddPartitionsToTxnRequest) []*addition {
	if req.Version < 4 {
		return []*addition{{id: req.TransactionalID, producer: metadata.ProducerEpoch{ID: req.ProducerID, Epoch: req.ProducerEpoch}, topics: req.Topics}}
	}
	all := make([]*addition, len(req.Transactions))
	for i, t := range req.Transactions {
		a := &addition{id: t.TransactionalID, producer: metadata.ProducerEpoch{ID: t.ProducerID, Epoch: t.ProducerEpoch}, verifyOnly: t.VerifyOnly}
		for _, topic := range t.Topics {
			a.topics = append(a.topics, kmsg.AddPartitionsToTxnRequestTopic{Topic: topic.Topic, Partitions: topic.Partitions})
		}
		all[i] = a
	}
	return all
}

// findPartitions looks all topics up at once, and answers what can't go on.
func (c *Coordinator) findPartitions(ctx context.Context, client protocol.Client, req *kmsg.AddPartitionsToTxnRequest, transactions []*addition) {
	var names []string
	seen := map[string]struct{}{}
	for _, a := range transactions {
		for _, t := range a.topics {
			if _, again := seen[t.Topic]; !again && protocol.CheckTopicName(t.Topic) == nil {
				seen[t.Topic] = struct{}{}
				names = append(names, t.Topic)
			}
		}
	}
	topics := map[string]metadata.Topic{}
	found, err := c.topics.Lookup(ctx, names, nil)
	for _, t := range found {
		topics[t.Name] = t
	}
	named := map[string]struct{}{}
	for _, a := range transactions {
		_, again := named[a.id]
		named[a.id] = struct{}{}
		switch {
		case again: // each would wait for a call of its own
			a.fail(kerr.InvalidRequest.Code)
		case err != nil && !a.knownIn(topics):
			a.fail(c.code(client, req, a.id, err))
		default:
			a.find(topics, req.Version < 4)
		}
	}
}

// knownIn tells whether all topics are among those found.
func (a *addition) knownIn(topics map[string]metadata.Topic) bool {
	return !slices.ContainsFunc(a.topics, func(t kmsg.AddPartitionsToTxnRequestTopic) bool {
		_, ok := topics[t.Topic]
		return !ok
	})
}

// find resolves the partitions. If one can't be written to by whoever asks, all are answered.
func (a *addition) find(topics map[string]metadata.Topic, fromClient bool) {
	codes := make([]int16, 0, a.count())
	a.found = make([]metadata.PartitionID, 0, a.count())
	bad := false
	for _, t := range a.topics {
		topic, exists := topics[t.Topic]
		for _, p := range t.Partitions {
			code := kerr.OperationNotAttempted.Code
			switch {
			case fromClient && topic.Internal:
				code = kerr.TopicAuthorizationFailed.Code
			case !exists || p < 0 || int(p) >= len(topic.Partitions):
				code = kerr.UnknownTopicOrPartition.Code
			default:
				a.found = append(a.found, topic.Partitions[p])
			}
			bad = bad || code != kerr.OperationNotAttempted.Code
			codes = append(codes, code)
		}
	}
	switch {
	case bad:
		a.codes = codes
	case a.id == "":
		a.fail(kerr.InvalidRequest.Code)
	}
}

// partitions are those to add, each once.
func (a *addition) partitions() []metadata.PartitionID {
	partitions := slices.Clone(a.found)
	slices.Sort(partitions)
	return slices.Compact(partitions)
}

// finish waits for the change and fills its answer in.
func (c *Coordinator) finish(ctx context.Context, client protocol.Client, req *kmsg.AddPartitionsToTxnRequest, a *addition) {
	if err := a.change.wait(ctx); err != nil {
		a.fail(c.code(client, req, a.id, err))
		return
	}
	a.fail(c.code(client, req, a.id, a.change.result.Err))
	absent := map[metadata.PartitionID]struct{}{}
	for _, p := range a.change.result.Absent {
		absent[p] = struct{}{}
	}
	for i, p := range a.found {
		if _, ok := absent[p]; ok {
			a.codes[i] = kerr.TransactionAbortable.Code
		}
	}
}

// fail answers all partitions with the code.
func (a *addition) fail(code int16) {
	a.codes = slices.Repeat([]int16{code}, a.count())
}

func (a *addition) count() (n int) {
	for _, t := range a.topics {
		n += len(t.Partitions)
	}
	return n
}

// answer returns the codes in the request's order.
func (a *addition) answer() []kmsg.AddPartitionsToTxnResponseTopic {
	topics := make([]kmsg.AddPartitionsToTxnResponseTopic, len(a.topics))
	i := 0
	for j, t := range a.topics {
		topics[j] = kmsg.NewAddPartitionsToTxnResponseTopic()
		topics[j].Topic = t.Topic
		for _, p := range t.Partitions {
			partition := kmsg.NewAddPartitionsToTxnResponseTopicPartition()
			partition.Partition, partition.ErrorCode = p, a.codes[i]
			topics[j].Partitions = append(topics[j].Partitions, partition)
			i++
		}
	}
	return topics
}

// inTransaction is the same answer in the form of version 4.
func inTransaction(topic kmsg.AddPartitionsToTxnResponseTopic) kmsg.AddPartitionsToTxnResponseTransactionTopic {
	t := kmsg.NewAddPartitionsToTxnResponseTransactionTopic()
	t.Topic = topic.Topic
	for _, p := range topic.Partitions {
		partition := kmsg.NewAddPartitionsToTxnResponseTransactionTopicPartition()
		partition.Partition, partition.ErrorCode = p.Partition, p.ErrorCode
		t.Partitions = append(t.Partitions, partition)
	}
	return t
}
