package admin

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
)

// newTopic is a topic of a CreateTopics request.
type newTopic struct {
	name       string
	partitions int32
	replicas   int16
	configs    []string // name=value, or a name alone for a null value
	assigned   map[int32][]int32
}

func createRequest(version int16, topics ...newTopic) *kmsg.CreateTopicsRequest {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version = version
	for _, topic := range topics {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = topic.name, topic.partitions, topic.replicas
		for _, config := range topic.configs {
			c := kmsg.NewCreateTopicsRequestTopicConfig()
			name, value, found := strings.Cut(config, "=")
			if c.Name = name; found {
				c.Value = &value
			}
			t.Configs = append(t.Configs, c)
		}
		for _, p := range slices.Sorted(maps.Keys(topic.assigned)) {
			a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
			a.Partition, a.Replicas = p, topic.assigned[p]
			t.ReplicaAssignment = append(t.ReplicaAssignment, a)
		}
		req.Topics = append(req.Topics, t)
	}
	return req
}

// created renders the results of a CreateTopics answer.
func created(resp *kmsg.CreateTopicsResponse) []string {
	var lines []string
	for _, t := range resp.Topics {
		lines = append(lines, t.Topic+" "+result(t.ErrorCode, t.ErrorMessage))
	}
	return lines
}

func TestCreateTopicsOfEachVersion(t *testing.T) {
	a, topics := newTestAdmin(t, map[string]string{"num.partitions": "4"})
	for version := int16(2); version <= 7; version++ {
		name := fmt.Sprint("t", version)
		req := createRequest(version, newTopic{name: name, partitions: -1, replicas: -1, configs: []string{"retention.ms= 77 "}})
		got := onTheWire(t, a.CreateTopics(t.Context(), client, req)).Topics[0]
		if got.Topic != name || got.ErrorCode != 0 || got.ErrorMessage != nil {
			t.Errorf("v%d: %s", version, result(got.ErrorCode, got.ErrorMessage))
		}
		topic, ok := find(t, topics, name)
		if !ok || len(topic.Partitions) != 4 || topic.Configs["retention.ms"] != "77" || topic.Internal {
			t.Errorf("v%d: stored is %+v", version, topic)
		}
		if version >= 5 {
			i := slices.IndexFunc(got.Configs, func(c kmsg.CreateTopicsResponseTopicConfig) bool { return c.Name == "retention.ms" })
			if got.NumPartitions != 4 || got.ReplicationFactor != 1 || len(got.Configs) != 33 || *got.Configs[i].Value != "77" || got.Configs[i].Source != 1 || got.Configs[i].ReadOnly {
				t.Errorf("v%d: %+v", version, got)
			}
		}
		if version >= 7 && uuid.UUID(got.TopicID) != topic.ID {
			t.Errorf("v%d: topic ID %v, want %v", version, got.TopicID, topic.ID)
		}
	}
}

// TestCreateTopicsAnswers compares with the answers of a Kafka 4.2.0 broker,
// except for replication factors and the limit of partitions.
func TestCreateTopicsAnswers(t *testing.T) {
	long := strings.Repeat("x", 250)
	for name, tc := range map[string]struct {
		topics []newTopic
		want   []string
	}{
		"one replica":              {[]newTopic{{name: "t", partitions: 1, replicas: 1}}, []string{"t ok"}},
		"more replicas than nodes": {[]newTopic{{name: "t", partitions: 1, replicas: 3}}, []string{"t ok"}},
		"exists":                   {[]newTopic{{name: "a.b", partitions: 1, replicas: 1}}, []string{"a.b TOPIC_ALREADY_EXISTS: Topic 'a.b' already exists."}},
		"exists, and is wrong":     {[]newTopic{{name: "a.b", configs: []string{"nope=1"}}}, []string{"a.b TOPIC_ALREADY_EXISTS: Topic 'a.b' already exists."}},
		"collides":                 {[]newTopic{{name: "a_b", partitions: 1, replicas: 1}}, []string{"a_b INVALID_TOPIC_EXCEPTION: Topic 'a_b' collides with existing topic: a.b"}},
		"twice":                    {[]newTopic{{name: "t", partitions: 1, replicas: 1}, {name: "t", partitions: 1, replicas: 1}, {name: "u", partitions: 1, replicas: 1}}, []string{"t INVALID_REQUEST: Duplicate topic name.", "u ok"}},
		"no name":                  {[]newTopic{{}}, []string{" INVALID_TOPIC_EXCEPTION: Topic name is invalid: "}},
		"illegal name":             {[]newTopic{{name: "a b"}}, []string{"a b INVALID_TOPIC_EXCEPTION: Topic name is invalid: "}},
		"long name":                {[]newTopic{{name: long}}, []string{long + " INVALID_TOPIC_EXCEPTION: Topic name is invalid: "}},
		"Kafka's own":              {[]newTopic{{name: "__cluster_metadata", partitions: 1, replicas: 1}}, []string{"__cluster_metadata INVALID_REQUEST: Creation of internal topic __cluster_metadata is prohibited."}},
		"no partitions":            {[]newTopic{{name: "t", partitions: 0, replicas: 1}}, []string{"t INVALID_PARTITIONS: Number of partitions was set to an invalid non-positive value."}},
		"negative partitions":      {[]newTopic{{name: "t", partitions: -2, replicas: 1}}, []string{"t INVALID_PARTITIONS: "}},
		"no replicas":              {[]newTopic{{name: "t", partitions: 1, replicas: 0}}, []string{"t INVALID_REPLICATION_FACTOR: Replication factor must be larger than 0, or -1 to use the default value."}},
		"negative replicas":        {[]newTopic{{name: "t", partitions: 1, replicas: -2}}, []string{"t INVALID_REPLICATION_FACTOR: "}},
		"neither":                  {[]newTopic{{name: "t"}}, []string{"t INVALID_REPLICATION_FACTOR: "}},
		"too many partitions":      {[]newTopic{{name: "t", partitions: 101, replicas: 1}}, []string{"t POLICY_VIOLATION: Excessively large number of partitions: 101, while wadi.max.partitions.per.topic is 100"}},
		"too many in the request":  {[]newTopic{{name: "t", partitions: 60, replicas: 1}, {name: "u", partitions: 60, replicas: 1}, {name: "v", partitions: 40, replicas: 1}}, []string{"t ok", "u POLICY_VIOLATION: ", "v ok"}},
		"unknown config":           {[]newTopic{{name: "t", configs: []string{"nope=1"}}}, []string{"t INVALID_CONFIG: Unknown topic config name: nope"}},
		"bad config":               {[]newTopic{{name: "t", configs: []string{"retention.ms=x"}}}, []string{"t INVALID_CONFIG: Invalid value x for configuration retention.ms: Not a number of type LONG"}},
		"null config":              {[]newTopic{{name: "t", configs: []string{"retention.ms"}}}, []string{"t INVALID_CONFIG: Null value not supported for topic configs: retention.ms"}},

		"assigned":                   {[]newTopic{{name: "t", partitions: -1, replicas: -1, assigned: map[int32][]int32{0: {1}, 1: {2}}}}, []string{"t ok"}},
		"assigned with replicas":     {[]newTopic{{name: "t", partitions: -1, replicas: 1, assigned: map[int32][]int32{0: {1}}}}, []string{"t INVALID_REQUEST: A manual partition assignment was specified, but replication factor was not set to -1."}},
		"assigned with a count":      {[]newTopic{{name: "t", partitions: 1, replicas: -1, assigned: map[int32][]int32{0: {1}}}}, []string{"t INVALID_REQUEST: A manual partition assignment was specified, but numPartitions was not set to -1."}},
		"assigned with a gap":        {[]newTopic{{name: "t", partitions: -1, replicas: -1, assigned: map[int32][]int32{0: {1}, 2: {1}}}}, []string{"t INVALID_REPLICA_ASSIGNMENT: partitions should be a consecutive 0-based integer sequence"}},
		"assigned below 0":           {[]newTopic{{name: "t", partitions: -1, replicas: -1, assigned: map[int32][]int32{-1: {1}}}}, []string{"t INVALID_REPLICA_ASSIGNMENT: partitions"}},
		"assigned to nobody":         {[]newTopic{{name: "t", partitions: -1, replicas: -1, assigned: map[int32][]int32{0: {}}}}, []string{"t INVALID_REPLICA_ASSIGNMENT: The manual partition assignment includes an empty replica list."}},
		"assigned to a stranger":     {[]newTopic{{name: "t", partitions: -1, replicas: -1, assigned: map[int32][]int32{0: {7}}}}, []string{"t INVALID_REPLICA_ASSIGNMENT: The manual partition assignment includes broker 7, but no such broker is registered."}},
		"assigned to one twice":      {[]newTopic{{name: "t", partitions: -1, replicas: -1, assigned: map[int32][]int32{0: {1, 1}}}}, []string{"t INVALID_REPLICA_ASSIGNMENT: The manual partition assignment includes the broker 1 more than once."}},
		"assigned to different many": {[]newTopic{{name: "t", partitions: -1, replicas: -1, assigned: map[int32][]int32{0: {1}, 1: {1, 2}}}}, []string{"t INVALID_REPLICA_ASSIGNMENT: The manual partition assignment includes a partition with 2 replica(s), but"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, validate := range []bool{true, false} {
				a, topics := newTestAdmin(t, map[string]string{"wadi.max.partitions.per.topic": "100"})
				create(t, topics, metadata.NewTopic{Name: "a.b"})
				req := createRequest(7, tc.topics...)
				req.ValidateOnly = validate
				resp := onTheWire(t, a.CreateTopics(t.Context(), client, req))
				got := created(resp)
				if !slices.EqualFunc(got, tc.want, func(got, want string) bool {
					return got == want || !strings.HasSuffix(want, "ok") && strings.HasPrefix(got, want)
				}) {
					t.Errorf("validate only %v: %q, want %q", validate, got, tc.want)
				}
				for _, topic := range resp.Topics {
					_, exists := find(t, topics, topic.Topic)
					if want := topic.Topic == "a.b" || !validate && topic.ErrorCode == 0; exists != want {
						t.Errorf("validate only %v: %s exists: %v, want %v", validate, topic.Topic, exists, want)
					}
					if topic.ErrorCode != 0 && (topic.NumPartitions != -1 || topic.ReplicationFactor != -1 || len(topic.Configs) != 0) {
						t.Errorf("a refusal shows a topic: %+v", topic)
					}
				}
			}
		})
	}
}

func TestCreateTopicsCountsAssignedPartitions(t *testing.T) {
	a, topics := newTestAdmin(t, nil)
	req := createRequest(7, newTopic{name: "t", partitions: -1, replicas: -1, assigned: map[int32][]int32{0: {1}, 1: {2}, 2: {1}}})
	if got := a.CreateTopics(t.Context(), client, req).Topics[0]; got.NumPartitions != 3 || got.ReplicationFactor != 1 {
		t.Errorf("%+v", got)
	}
	if topic, _ := find(t, topics, "t"); len(topic.Partitions) != 3 {
		t.Errorf("%d partitions", len(topic.Partitions))
	}
}
