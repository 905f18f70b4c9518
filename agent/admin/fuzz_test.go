package admin

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// fuzz sends whatever decodes as a request of the API through its handler, and
// the answer through its encoding.
func fuzz[Req kmsg.Request, Resp kmsg.Response](f *testing.F, handle func(context.Context, protocol.Client, Req) Resp, seeds ...Req) {
	var zero Req
	key := zero.Key()
	for _, seed := range seeds {
		for version := int16(0); version <= seed.MaxVersion(); version++ {
			seed.SetVersion(version)
			f.Add(version, seed.AppendTo(nil))
		}
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		h := protocol.RequestHeader{Key: key, Version: version}
		req, err := protocol.ParseRequest(h, body)
		if err != nil {
			return
		}
		resp := handle(t.Context(), client, req.(Req))
		onTheWire(t, kmsg.Response(resp))
		if frame := protocol.AppendResponse(nil, h, resp); len(frame) < 8 {
			t.Errorf("a frame of %d bytes", len(frame))
		}
	})
}

// newFuzzAdmin has the topics t and u. The limit keeps each run short.
func newFuzzAdmin(f *testing.F) *Admin {
	a, topics := newTestAdmin(f, map[string]string{"wadi.max.partitions.per.topic": "20"})
	create(f, topics, metadata.NewTopic{Name: "t", Configs: map[string]string{"retention.ms": "5"}})
	create(f, topics, metadata.NewTopic{Name: "u"})
	return a
}

func FuzzCreateTopics(f *testing.F) {
	fuzz(f, newFuzzAdmin(f).CreateTopics, createRequest(0,
		newTopic{name: "new", partitions: 2, replicas: 1, configs: []string{"retention.ms=5", "segment.ms"}},
		newTopic{name: "other", partitions: -1, replicas: -1, assigned: map[int32][]int32{0: {1}, 1: {2}}}))
}

func FuzzDeleteTopics(f *testing.F) {
	fuzz(f, newFuzzAdmin(f).DeleteTopics, deleteRequest(0, []string{"t", "none", ""}, metadata.NewTopicID()))
}

func FuzzCreatePartitions(f *testing.F) {
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.Topics = []kmsg.CreatePartitionsRequestTopic{
		{Topic: "t", Count: 3, Assignment: []kmsg.CreatePartitionsRequestTopicAssignment{{Replicas: []int32{1}}, {Replicas: []int32{2}}}},
		{Topic: "u", Count: 2},
	}
	fuzz(f, newFuzzAdmin(f).CreatePartitions, req)
}

func FuzzDeleteRecords(f *testing.F) {
	fuzz(f, newFuzzAdmin(f).DeleteRecords, deletionRequest(0, offsetOf{"t", 0, -1}, offsetOf{"u", 0, 5}, offsetOf{"t", 9, 0}, offsetOf{"", 0, 0}))
}

func FuzzDescribeLogDirs(f *testing.F) {
	fuzz(f, newFuzzAdmin(f).DescribeLogDirs, logDirsRequest(0), logDirsRequest(0, offsetOf{topic: "u"}, offsetOf{topic: "t", partition: 1}, offsetOf{topic: "t"}))
}

func FuzzDescribeProducers(f *testing.F) {
	fuzz(f, newFuzzAdmin(f).DescribeProducers, producersRequest("t", 0, 1, -1), producersRequest("a b", 0))
}

func FuzzDescribeConfigs(f *testing.F) {
	fuzz(f, newFuzzAdmin(f).DescribeConfigs, describeRequest(topicResource, "t", "retention.ms"), describeRequest(brokerResource, "1"), describeRequest(loggerResource, "2"))
}

func FuzzAlterConfigs(f *testing.F) {
	fuzz(f, newFuzzAdmin(f).AlterConfigs, alterRequest(resource{topicResource, "t"}, "segment.ms", "9", "retention.ms", "-"), alterRequest(resource{brokerResource, "1"}),
		alterRequest(resource{groupResource, "g"}, "consumer.session.timeout.ms", "50000"))
}

func FuzzIncrementalAlterConfigs(f *testing.F) {
	fuzz(f, newFuzzAdmin(f).IncrementalAlterConfigs, incrementRequest(resource{topicResource, "t"},
		set("segment.ms", "9"), remove("retention.ms"), add("cleanup.policy", "compact"), subtract("leader.replication.throttled.replicas", "*")),
		incrementRequest(resource{brokerResource, ""}, set("message.max.bytes", "9"), add("log.cleanup.policy", "compact")),
		incrementRequest(resource{loggerResource, "1"}, set("root", "DEBUG")),
		incrementRequest(resource{groupResource, "g"}, set("consumer.session.timeout.ms", "50000")),
		incrementRequest(resource{clientResource, "m"}, set("match", "client_id=x.*"), add("metrics", "a.")))
}

func FuzzListConfigResources(f *testing.F) {
	req := kmsg.NewPtrListConfigResourcesRequest()
	req.ResourceTypes = []int8{2, 4, 8, 16, 32}
	fuzz(f, newFuzzAdmin(f).ListConfigResources, req)
}

func FuzzElectLeaders(f *testing.F) {
	req := kmsg.NewPtrElectLeadersRequest()
	req.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: "t", Partitions: []int32{0, 7}}, {Topic: "none", Partitions: []int32{0}}}
	fuzz(f, newFuzzAdmin(f).ElectLeaders, req, kmsg.NewPtrElectLeadersRequest())
}

func FuzzAlterPartitionReassignments(f *testing.F) {
	req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	req.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: "t", Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Partition: 0, Replicas: []int32{1}}, {Partition: 0}}}}
	fuzz(f, newFuzzAdmin(f).AlterPartitionReassignments, req)
}

func FuzzListPartitionReassignments(f *testing.F) {
	req := kmsg.NewPtrListPartitionReassignmentsRequest()
	req.Topics = []kmsg.ListPartitionReassignmentsRequestTopic{{Topic: "t", Partitions: []int32{0}}}
	fuzz(f, newFuzzAdmin(f).ListPartitionReassignments, req)
}

func FuzzDescribeQuorum(f *testing.F) {
	req := kmsg.NewPtrDescribeQuorumRequest()
	req.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}
	fuzz(f, newFuzzAdmin(f).DescribeQuorum, req)
}

func FuzzUpdateFeatures(f *testing.F) {
	req := kmsg.NewPtrUpdateFeaturesRequest()
	req.FeatureUpdates = []kmsg.UpdateFeaturesRequestFeatureUpdate{{Feature: "group.version", MaxVersionLevel: 1, UpgradeType: 1}}
	fuzz(f, newFuzzAdmin(f).UpdateFeatures, req)
}

func FuzzDescribeAcls(f *testing.F) {
	fuzz(f, newFuzzAdmin(f).DescribeAcls, kmsg.NewPtrDescribeACLsRequest())
}

func FuzzCreateAcls(f *testing.F) {
	req := kmsg.NewPtrCreateACLsRequest()
	req.Creations = []kmsg.CreateACLsRequestCreation{{ResourceName: "t", Principal: "User:a", Host: "*"}}
	fuzz(f, newFuzzAdmin(f).CreateAcls, req)
}

func FuzzDeleteAcls(f *testing.F) {
	req := kmsg.NewPtrDeleteACLsRequest()
	req.Filters = []kmsg.DeleteACLsRequestFilter{{ResourceName: ptr("t")}}
	fuzz(f, newFuzzAdmin(f).DeleteAcls, req)
}

func FuzzDescribeClientQuotas(f *testing.F) {
	req := kmsg.NewPtrDescribeClientQuotasRequest()
	req.Components = []kmsg.DescribeClientQuotasRequestComponent{{EntityType: "user", MatchType: 0, Match: ptr("u")}}
	fuzz(f, newFuzzAdmin(f).DescribeClientQuotas, req)
}
