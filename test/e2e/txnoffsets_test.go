package e2e

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/wadi-log/wadi/test/harness"
)

// asker sends single requests to one agent.
type asker struct {
	*testing.T
	broker *kgo.Broker
}

// askerOf asks for offsets in a version that names topics.
func askerOf(t *testing.T, agent *harness.AgentProcess) asker {
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(int16(kmsg.OffsetFetch), 8)
	return asker{t, client(t, kgo.SeedBrokers(agent.Bootstrap()), kgo.MaxVersions(versions)).SeedBrokers()[0]}
}

func (a asker) ask(req kmsg.Request) kmsg.Response {
	a.Helper()
	resp, err := a.broker.Request(a.Context(), req)
	if err != nil {
		a.Fatalf("%T: %v", req, err)
	}
	return resp
}

// offsets are the group's in the partitions 0 and 1, or their errors.
func (a asker) offsets(group, topic string, stable bool) string {
	a.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	req.RequireStable = stable
	asked := kmsg.NewOffsetFetchRequestGroup()
	asked.Group, asked.Topics = group, []kmsg.OffsetFetchRequestGroupTopic{{Topic: topic, Partitions: []int32{0, 1}}}
	req.Groups = append(req.Groups, asked)
	text := ""
	for _, p := range a.ask(req).(*kmsg.OffsetFetchResponse).Groups[0].Topics[0].Partitions {
		if p.ErrorCode != 0 {
			text += kerr.TypedErrorForCode(p.ErrorCode).Message + " "
			continue
		}
		text += fmt.Sprint(p.Offset, " ")
	}
	return text
}

// TestOffsetsOfATransactionOnEveryAgent puts offsets aside at one agent, ends the
// transaction at another one, and reads at both.
func TestOffsetsOfATransactionOnEveryAgent(t *testing.T) {
	const topic, group = "read", "readers"
	options := setups[1].options(t)
	one, two := harness.Agent(t, options), harness.Agent(t, options)
	createTopic(t, one.Bootstrap(), topic, 2)
	first, second := askerOf(t, one), askerOf(t, two)

	id := "copier"
	initialize := kmsg.NewPtrInitProducerIDRequest()
	initialize.TransactionalID, initialize.TransactionTimeoutMillis = &id, 60_000
	producer := first.ask(initialize).(*kmsg.InitProducerIDResponse)
	if producer.ErrorCode != 0 {
		t.Fatal(kerr.ErrorForCode(producer.ErrorCode))
	}
	epoch := producer.ProducerEpoch
	for round, commit := range []bool{true, false, true} {
		before := second.offsets(group, topic, true)
		req := kmsg.NewPtrTxnOffsetCommitRequest()
		req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group, req.Generation = id, producer.ProducerID, epoch, group, -1
		req.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: topic, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{
			{Partition: 0, Offset: int64(10 + round), LeaderEpoch: -1}, {Partition: 1, Offset: int64(20 + round), LeaderEpoch: -1},
		}}}
		for _, p := range first.ask(req).(*kmsg.TxnOffsetCommitResponse).Topics[0].Partitions {
			if p.ErrorCode != 0 {
				t.Fatal(kerr.ErrorForCode(p.ErrorCode))
			}
		}
		for _, a := range []asker{first, second} {
			if got := a.offsets(group, topic, true); got != "UNSTABLE_OFFSET_COMMIT UNSTABLE_OFFSET_COMMIT " {
				t.Errorf("in the open transaction, stable offsets are %s", got)
			}
			if got := a.offsets(group, topic, false); got != before {
				t.Errorf("in the open transaction, offsets are %s, want %s", got, before)
			}
		}
		end := kmsg.NewPtrEndTxnRequest()
		end.TransactionalID, end.ProducerID, end.ProducerEpoch, end.Commit = id, producer.ProducerID, epoch, commit
		ended := second.ask(end).(*kmsg.EndTxnResponse)
		if ended.ErrorCode != 0 || ended.ProducerEpoch != epoch+1 {
			t.Fatalf("ended with %v, epoch %d after %d", kerr.ErrorForCode(ended.ErrorCode), ended.ProducerEpoch, epoch)
		}
		epoch = ended.ProducerEpoch
		want := before
		if commit {
			want = fmt.Sprintf("%d %d ", 10+round, 20+round)
		}
		for _, a := range []asker{first, second} {
			if got := a.offsets(group, topic, true); got != want {
				t.Errorf("after the transaction, offsets are %s, want %s", got, want)
			}
		}
	}
}
