package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
)

func producersRequest(topic string, partitions ...int32) *kmsg.DescribeProducersRequest {
	req := kmsg.NewPtrDescribeProducersRequest()
	rt := kmsg.NewDescribeProducersRequestTopic()
	rt.Topic, rt.Partitions = topic, partitions
	req.Topics = append(req.Topics, rt)
	return req
}

// producers renders an answer without timestamps.
func producers(t *testing.T, resp *kmsg.DescribeProducersResponse) (all []string) {
	t.Helper()
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			line := fmt.Sprintf("%s-%d %s", topic.Topic, p.Partition, result(p.ErrorCode, p.ErrorMessage))
			for _, a := range p.ActiveProducers {
				if age := time.Since(time.UnixMilli(a.LastTimestamp)); age < -time.Minute || age > time.Minute {
					t.Errorf("producer %d wrote %v ago", a.ProducerID, age)
				}
				line += fmt.Sprintf(" [%d epoch %d sequence %d, coordinator %d, open from %d]", a.ProducerID, a.ProducerEpoch, a.LastSequence, a.CoordinatorEpoch, a.CurrentTxnStartOffset)
			}
			all = append(all, line)
		}
	}
	return all
}

func TestDescribeProducersAnswers(t *testing.T) {
	a, topics := newTestAdmin(t, nil)
	topic := create(t, topics, metadata.NewTopic{Name: "t", Partitions: 2})
	create(t, topics, metadata.NewTopic{Name: "__transaction_state", Internal: true})
	write(t, topics, topic.Partitions[1], 10, 9, 0)
	write(t, topics, topic.Partitions[1], 2, 9, 10)
	write(t, topics, topic.Partitions[1], 1, 4, 7)
	write(t, topics, topic.Partitions[1], 1, -1, -1)
	unknown := " UNKNOWN_TOPIC_OR_PARTITION: " + kerr.UnknownTopicOrPartition.Description
	both := producersRequest("t", 1)
	both.Topics = append(both.Topics, producersRequest("none", 0).Topics...)
	const there = "t-1 ok [4 epoch 3 sequence 7, coordinator -1, open from -1] [9 epoch 3 sequence 11, coordinator -1, open from -1]"
	for name, tc := range map[string]struct {
		req  *kmsg.DescribeProducersRequest
		want []string
	}{
		"some":            {producersRequest("t", 1, 0), []string{there, "t-0 ok"}},
		"one twice":       {producersRequest("t", 1, 1), []string{there, there}},
		"no partition":    {producersRequest("t"), nil},
		"others unknown":  {producersRequest("t", 2, 1, -1), []string{"t-2" + unknown, there, "t--1" + unknown}},
		"a topic unknown": {both, []string{there, "none-0" + unknown}},
		"illegal name":    {producersRequest("a b", 0), []string{"a b-0 INVALID_TOPIC_EXCEPTION: Topic name is invalid: \"a b\" has characters other than letters, digits, '.', '_' and '-'"}},
		"internal":        {producersRequest("__transaction_state", 0), []string{"__transaction_state-0 ok"}},
		"no topic":        {kmsg.NewPtrDescribeProducersRequest(), nil},
	} {
		if got := producers(t, onTheWire(t, a.DescribeProducers(t.Context(), client, tc.req))); !slices.Equal(got, tc.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", name, got, tc.want)
		}
	}
}

func TestDescribeProducersShowsOpenTransactions(t *testing.T) {
	a, topics := newTestAdmin(t, nil)
	topic := create(t, topics, metadata.NewTopic{Name: "t", Partitions: 1})
	transactions := topics.Store
	change := func(op metadata.TransactionOp) {
		t.Helper()
		changed, err := transactions.ChangeTransactions(t.Context(), []metadata.TransactionRequest{{ID: "tx", Op: op}})
		if err = errors.Join(err, changed.Results[0].Err); err != nil {
			t.Fatal(err)
		}
	}
	want := func(want string) {
		t.Helper()
		if got := producers(t, onTheWire(t, a.DescribeProducers(t.Context(), client, producersRequest("t", 0)))); !slices.Equal(got, []string{want}) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	write(t, topics, topic.Partitions[0], 5, -1, -1)
	change(metadata.InitProducer{Timeout: time.Minute, Expected: metadata.NoProducer, NewProducerID: 9})
	commit(t, topics, topic.Partitions[0], metadata.Batch{Size: 10, Records: 2, MaxTimestamp: 1, ProducerID: 9, Transactional: true, AddsPartition: true})
	want("t-0 ok [9 epoch 0 sequence 1, coordinator -1, open from 5]")
	change(metadata.EndTransaction{Producer: metadata.ProducerEpoch{ID: 9}, Commit: true, Version: metadata.TransactionV2, NewProducerID: 10})
	want("t-0 ok [9 epoch 0 sequence 1, coordinator -1, open from -1]")
}

func TestDescribeProducersStoreFailures(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want *kerr.Error
	}{
		{fmt.Errorf("%w: secret", metadata.ErrUnavailable), kerr.NotLeaderForPartition},
		{context.DeadlineExceeded, kerr.NotLeaderForPartition},
		{fmt.Errorf("secret"), kerr.UnknownServerError},
	} {
		a, topics := newTestAdmin(t, nil)
		create(t, topics, metadata.NewTopic{Name: "t"})
		for _, failing := range []*error{&topics.change, &topics.lookup} {
			*failing = tc.err
			p := a.DescribeProducers(t.Context(), client, producersRequest("t", 0)).Topics[0].Partitions[0]
			*failing = nil
			message := ""
			if p.ErrorMessage != nil {
				message = *p.ErrorMessage
			}
			if p.ErrorCode != tc.want.Code || message != "" && message != tc.want.Description {
				t.Errorf("%v: error %d %q, want %v", tc.err, p.ErrorCode, message, tc.want)
			}
		}
	}
}
