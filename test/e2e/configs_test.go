package e2e

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/test/harness"
)

// TestBrokerConfigsActOnEveryAgent sets a config for all brokers through one agent,
// writes through another one, and takes it back.
func TestBrokerConfigsActOnEveryAgent(t *testing.T) {
	const topic = "configured"
	options := setups[1].options(t)
	first, second := harness.Agent(t, options), harness.Agent(t, options)
	createTopic(t, first.Bootstrap(), topic, 1)
	admin := client(t, kgo.SeedBrokers(first.Bootstrap())).SeedBrokers()[0]
	writer := client(t, kgo.SeedBrokers(second.Bootstrap())).SeedBrokers()[0]

	// What the second agent answers to a batch of 71 bytes, whoever leads.
	request := kmsg.NewPtrProduceRequest()
	request.Acks, request.TimeoutMillis = -1, 10_000
	request.Topics = []kmsg.ProduceRequestTopic{{Topic: topic, Partitions: []kmsg.ProduceRequestTopicPartition{{Records: checksum(batch())}}}}
	produce := func() int16 {
		resp, err := writer.RetriableRequest(t.Context(), pin{request})
		if err != nil {
			t.Fatal(err)
		}
		return resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode
	}
	if code := produce(); code != 0 {
		t.Fatal(kerr.ErrorForCode(code))
	}
	for _, step := range []struct {
		op   kmsg.IncrementalAlterConfigOp
		want error
	}{
		{kmsg.IncrementalAlterConfigOpSet, kerr.MessageTooLarge},
		{kmsg.IncrementalAlterConfigOpDelete, nil},
	} {
		value := "50"
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		req.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeBroker,
			Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "message.max.bytes", Op: step.op, Value: &value}}}}
		resp, err := admin.RetriableRequest(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if r := resp.(*kmsg.IncrementalAlterConfigsResponse).Resources[0]; r.ErrorCode != 0 {
			t.Fatal(kerr.ErrorForCode(r.ErrorCode), *r.ErrorMessage)
		}
		eventually(t, "the other agent answers as configured", func() bool { return errors.Is(kerr.ErrorForCode(produce()), step.want) })
	}
}
