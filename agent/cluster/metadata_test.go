package cluster

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

func metadataRequest(version int16, names ...string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.Version = version
	req.Topics = []kmsg.MetadataRequestTopic{}
	for _, name := range names {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = &name
		req.Topics = append(req.Topics, topic)
	}
	return req
}

func byID(req *kmsg.MetadataRequest, ids ...uuid.UUID) *kmsg.MetadataRequest {
	for _, id := range ids {
		topic := kmsg.NewMetadataRequestTopic()
		topic.TopicID = id
		req.Topics = append(req.Topics, topic)
	}
	return req
}

// onTheWire sends a response through its encoding, which drops what the
// version has no room for.
func onTheWire[R kmsg.Response](t testing.TB, resp R) R {
	t.Helper()
	read := resp.RequestKind().ResponseKind().(R)
	if err := read.ReadFrom(resp.AppendTo(nil)); err != nil {
		t.Fatalf("%T version %d can't be read back: %v", resp, resp.GetVersion(), err)
	}
	return read
}

func TestMetadataOfEachVersion(t *testing.T) {
	alive := agents(3, 5)
	alive[0].Zone = "a"
	c, topics := newTestCluster(t, nil, alive...)
	topic := create(t, topics, "t", 3)
	for version := int16(0); version <= 13; version++ {
		req := metadataRequest(version, "t")
		req.IncludeTopicAuthorizedOperations, req.IncludeClusterAuthorizedOperations = true, true
		resp := onTheWire(t, c.Metadata(t.Context(), client, req))
		if len(resp.Brokers) != 2 || resp.Brokers[0].NodeID != 3 || resp.Brokers[0].Host != "agent-3" || resp.Brokers[1].Port != 9092 {
			t.Errorf("v%d: brokers %+v", version, resp.Brokers)
		}
		if version >= 1 && (resp.ControllerID != 3 || resp.Brokers[0].Rack == nil || *resp.Brokers[0].Rack != "a" || resp.Brokers[1].Rack != nil) {
			t.Errorf("v%d: controller %d, brokers %+v", version, resp.ControllerID, resp.Brokers)
		}
		if version >= 2 && (resp.ClusterID == nil || *resp.ClusterID != clusterID) {
			t.Errorf("v%d: cluster ID %v", version, resp.ClusterID)
		}
		if version >= 8 && version <= 10 && resp.AuthorizedOperations != 8096 {
			t.Errorf("v%d: cluster operations %d", version, resp.AuthorizedOperations)
		}
		if len(resp.Topics) != 1 {
			t.Fatalf("v%d: %d topics", version, len(resp.Topics))
		}
		got := resp.Topics[0]
		if got.ErrorCode != 0 || *got.Topic != "t" || got.IsInternal || len(got.Partitions) != 3 {
			t.Errorf("v%d: %+v", version, got)
		}
		if version >= 10 && uuid.UUID(got.TopicID) != topic.ID {
			t.Errorf("v%d: topic ID %v", version, got.TopicID)
		}
		if version >= 8 && got.AuthorizedOperations != 3576 {
			t.Errorf("v%d: topic operations %d", version, got.AuthorizedOperations)
		}
		place := c.router.View(client).Topic(topic.ID)
		for i, p := range got.Partitions {
			leader, replicas := place.Leader(p.Partition).NodeID, place.Replicas(p.Partition)
			if p.Partition != int32(i) || p.ErrorCode != 0 || p.Leader != leader || !slices.Equal(p.Replicas, replicas) || !slices.Equal(p.ISR, p.Replicas) || len(p.OfflineReplicas) != 0 {
				t.Errorf("v%d: partition %+v", version, p)
			}
			if version >= 7 && p.LeaderEpoch != protocol.LeaderEpoch {
				t.Errorf("v%d: leader epoch %d", version, p.LeaderEpoch)
			}
		}
	}
}

func TestMetadataWithoutAskingForOperations(t *testing.T) {
	c, topics := newTestCluster(t, nil, agents(1)...)
	create(t, topics, "t", 1)
	resp := c.Metadata(t.Context(), client, metadataRequest(8, "t"))
	if resp.AuthorizedOperations != -2147483648 || resp.Topics[0].AuthorizedOperations != -2147483648 {
		t.Errorf("operations %d and %d", resp.AuthorizedOperations, resp.Topics[0].AuthorizedOperations)
	}
}

func TestMetadataOfAllAndOfNone(t *testing.T) {
	c, topics := newTestCluster(t, nil, agents(1)...)
	create(t, topics, "b", 1)
	create(t, topics, "a", 1)
	for _, tc := range []struct {
		version int16
		null    bool
		want    int
	}{{0, false, 2}, {0, true, 2}, {1, true, 2}, {1, false, 0}, {12, true, 2}, {12, false, 0}, {13, false, 0}} {
		req := metadataRequest(tc.version)
		if tc.null {
			req.Topics = nil
		}
		resp := c.Metadata(t.Context(), client, req)
		if len(resp.Topics) != tc.want {
			t.Errorf("v%d, null %v: %d topics, want %d", tc.version, tc.null, len(resp.Topics), tc.want)
		}
		if tc.want == 2 && *resp.Topics[0].Topic != "a" {
			t.Errorf("v%d: topics are not in order", tc.version)
		}
	}
}

func TestMetadataErrors(t *testing.T) {
	c, topics := newTestCluster(t, nil, agents(1)...)
	topic := create(t, topics, "t", 1)
	strange := metadata.NewTopicID()
	both := byID(metadataRequest(12), topic.ID)
	both.Topics[0].Topic = new(string)
	for name, tc := range map[string]struct {
		req  *kmsg.MetadataRequest
		want []int16
	}{
		"unknown name":    {metadataRequest(13, "none"), []int16{kerr.UnknownTopicOrPartition.Code}},
		"illegal names":   {metadataRequest(13, "", "..", "a b", "é"), []int16{17, 17, 17, 17}},
		"asked for twice": {metadataRequest(13, "t", "t"), []int16{0}},
		"by ID":           {byID(metadataRequest(12), topic.ID, strange), []int16{0, kerr.UnknownTopicID.Code}},
		"ID and name":     {byID(metadataRequest(12, "none"), topic.ID), []int16{3, 0}},
		"both in one":     {both, []int16{0}},
		"ID before v12":   {byID(metadataRequest(10), topic.ID), []int16{kerr.InvalidRequest.Code}},
		"neither":         {byID(metadataRequest(12), uuid.Nil), []int16{kerr.InvalidRequest.Code}},
	} {
		t.Run(name, func(t *testing.T) {
			resp := onTheWire(t, c.Metadata(t.Context(), client, tc.req))
			var got []int16
			for _, topic := range resp.Topics {
				got = append(got, topic.ErrorCode)
				if topic.ErrorCode != 0 && len(topic.Partitions) != 0 {
					t.Errorf("partitions with an error: %+v", topic)
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("codes %v, want %v", got, tc.want)
			}
		})
	}
}

func TestMetadataOfInternalTopic(t *testing.T) {
	c, topics := newTestCluster(t, nil, agents(1)...)
	if _, err := topics.CreateTopic(t.Context(), metadata.NewTopic{Name: "__consumer_offsets", Partitions: 1, Internal: true}); err != nil {
		t.Fatal(err)
	}
	resp := onTheWire(t, c.Metadata(t.Context(), client, metadataRequest(13, "__consumer_offsets")))
	if topic := resp.Topics[0]; !topic.IsInternal || topic.ErrorCode != 0 || len(topic.Partitions) != 1 {
		t.Errorf("%+v", topic)
	}
}

func TestAutoCreation(t *testing.T) {
	for name, tc := range map[string]struct {
		settings map[string]string
		version  int16
		allow    bool
		topic    string
		deleted  bool
		created  bool
		code     int16
	}{
		"asked and allowed":    {version: 4, allow: true, topic: "t", created: true, code: 3},
		"implied before v4":    {version: 3, topic: "t", created: true, code: 3},
		"not asked":            {version: 4, topic: "t", code: 3},
		"forbidden":            {settings: map[string]string{"auto.create.topics.enable": "false"}, version: 4, allow: true, topic: "t", code: 3},
		"illegal name":         {version: 13, allow: true, topic: "a b", code: 17},
		"just deleted":         {version: 13, allow: true, topic: "t", deleted: true, code: 3},
		"Kafka's metadata log": {version: 13, allow: true, topic: "__cluster_metadata", code: 3},
		"collision":            {version: 13, allow: true, topic: "a_b", code: 3},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.settings == nil {
				tc.settings = map[string]string{"num.partitions": "4"}
			}
			c, topics := newTestCluster(t, tc.settings, agents(1)...)
			create(t, topics, "a.b", 1)
			topics.deleted[tc.topic] = tc.deleted
			req := metadataRequest(tc.version, tc.topic)
			req.AllowAutoTopicCreation = tc.allow
			first := onTheWire(t, c.Metadata(t.Context(), client, req)).Topics[0]
			if first.ErrorCode != tc.code {
				t.Errorf("the first answer is %d, want %d", first.ErrorCode, tc.code)
			}
			second := onTheWire(t, c.Metadata(t.Context(), client, metadataRequest(4, tc.topic))).Topics[0]
			if (second.ErrorCode == 0) != tc.created || tc.created && len(second.Partitions) != 4 {
				t.Errorf("the second answer is %+v, want created %v", second, tc.created)
			}
		})
	}
}

func TestOneRequestCreatesABoundedNumberOfTopics(t *testing.T) {
	c, topics := newTestCluster(t, nil, agents(1)...)
	var names []string
	for i := range createLimit + 20 {
		names = append(names, fmt.Sprint("t", i))
	}
	req := metadataRequest(4, names...)
	req.AllowAutoTopicCreation = true
	for _, want := range []int{createLimit, createLimit + 20} {
		for _, topic := range c.Metadata(t.Context(), client, req).Topics {
			if topic.ErrorCode != 0 && topic.ErrorCode != 3 {
				t.Errorf("%s: error %d", *topic.Topic, topic.ErrorCode)
			}
		}
		if all, err := topics.AllTopics(t.Context()); err != nil || len(all) != want {
			t.Fatalf("%d topics, %v, want %d", len(all), err, want)
		}
	}
}

func TestManyClientsCreateATopicOnce(t *testing.T) {
	c, topics := newTestCluster(t, nil, agents(1)...)
	req := metadataRequest(13, "t")
	req.AllowAutoTopicCreation = true
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if topic := c.Metadata(t.Context(), client, req).Topics[0]; topic.ErrorCode != 0 && topic.ErrorCode != 3 {
				t.Errorf("error %d", topic.ErrorCode)
			}
		})
	}
	wg.Wait()
	if all, err := topics.AllTopics(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("%d topics, %v", len(all), err)
	}
}

func TestMetadataDuringAnOutage(t *testing.T) {
	c, topics := newTestCluster(t, nil, agents(1)...)
	topics.known = []metadata.Topic{create(t, topics, "t", 1)}
	topics.err = fmt.Errorf("%w: pulled out", metadata.ErrUnavailable)
	req := byID(metadataRequest(12, "t", "other"), metadata.NewTopicID())
	req.AllowAutoTopicCreation = true
	resp := c.Metadata(t.Context(), client, req)
	// What is known goes on; of the others nothing is claimed, nothing created.
	if got := resp.Topics; got[0].ErrorCode != 0 || got[1].ErrorCode != kerr.LeaderNotAvailable.Code || got[2].ErrorCode != kerr.LeaderNotAvailable.Code {
		t.Errorf("codes %d, %d, %d", got[0].ErrorCode, got[1].ErrorCode, got[2].ErrorCode)
	}
	// All topics, before they were ever read: no answer. One without brokers costs franz-go all its connections.
	req.Topics = nil
	if resp := c.Metadata(t.Context(), client, req); resp != nil {
		t.Errorf("%d brokers, %d topics", len(resp.Brokers), len(resp.Topics))
	}
}

func TestAgentsBehindOneAddressAreOneBroker(t *testing.T) {
	alive := agents(2, 4, 7)
	for i := range alive {
		alive[i].Listeners = at("lb", 9092)
	}
	c, topics := newTestCluster(t, nil, alive...)
	create(t, topics, "t", 1)
	resp := c.Metadata(t.Context(), client, metadataRequest(13, "t"))
	if len(resp.Brokers) != 1 || resp.Brokers[0].NodeID != 2 || resp.ControllerID != 2 || resp.Topics[0].Partitions[0].Leader != 2 {
		t.Errorf("brokers %+v, controller %d, leader %d", resp.Brokers, resp.ControllerID, resp.Topics[0].Partitions[0].Leader)
	}
}
