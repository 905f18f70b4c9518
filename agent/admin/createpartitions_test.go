package admin

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
)

func TestCreatePartitionsAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		topic    string
		count    int32
		assigned [][]int32
		want     string
	}{
		"more":                    {topic: "t", count: 5, want: "ok"},
		"as many":                 {topic: "t", count: 2, want: "INVALID_PARTITIONS: Topic already has 2 partition(s)."},
		"fewer":                   {topic: "t", count: 1, want: "INVALID_PARTITIONS: The topic t currently has 2 partition(s); 1 would not be an increase."},
		"negative":                {topic: "t", count: -1, want: "INVALID_PARTITIONS: The topic t currently has 2 partition(s); -1 would not be an increase."},
		"unknown":                 {topic: "none", count: 5, want: "UNKNOWN_TOPIC_OR_PARTITION: " + kerr.UnknownTopicOrPartition.Description},
		"illegal name":            {topic: "a b", count: 5, want: "UNKNOWN_TOPIC_OR_PARTITION: " + kerr.UnknownTopicOrPartition.Description},
		"internal":                {topic: "__consumer_offsets", count: 5, want: "INVALID_REQUEST: Internal topic __consumer_offsets can't be changed."},
		"over the limit":          {topic: "t", count: 101, want: "POLICY_VIOLATION: Excessively large number of partitions: 101, while wadi.max.partitions.per.topic is 100 for a topic and for a request."},
		"largest":                 {topic: "t", count: 1<<31 - 1, want: "POLICY_VIOLATION: Excessively large number of partitions: 2147483647, while wadi.max.partitions.per.topic is 100 for a topic and for a request."},
		"assigned":                {topic: "t", count: 4, assigned: [][]int32{{1}, {2}}, want: "ok"},
		"too few assigned":        {topic: "t", count: 4, assigned: [][]int32{{1}}, want: "INVALID_REPLICA_ASSIGNMENT: Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified."},
		"none assigned":           {topic: "t", count: 3, assigned: [][]int32{}, want: "INVALID_REPLICA_ASSIGNMENT: Attempted to add 1 additional partition(s), but only 0 assignment(s) were specified."},
		"assigned to a stranger":  {topic: "t", count: 3, assigned: [][]int32{{9}}, want: "INVALID_REPLICA_ASSIGNMENT: The manual partition assignment includes broker 9, but no such broker is registered."},
		"assigned to one twice":   {topic: "t", count: 3, assigned: [][]int32{{1, 1}}, want: "INVALID_REPLICA_ASSIGNMENT: The manual partition assignment includes the broker 1 more than once."},
		"assigned to nobody":      {topic: "t", count: 3, assigned: [][]int32{{}}, want: "INVALID_REPLICA_ASSIGNMENT: The manual partition assignment includes an empty replica list."},
		"more, up to the limit":   {topic: "t", count: 100, want: "ok"},
		"assigned to the highest": {topic: "t", count: 3, assigned: [][]int32{{-1}}, want: "INVALID_REPLICA_ASSIGNMENT: The manual partition assignment includes broker -1, but no such broker is registered."},
	} {
		t.Run(name, func(t *testing.T) {
			a, topics := newTestAdmin(t, map[string]string{"wadi.max.partitions.per.topic": "100"})
			create(t, topics, metadata.NewTopic{Name: "t", Partitions: 2})
			create(t, topics, metadata.NewTopic{Name: "__consumer_offsets", Internal: true})
			for version := int16(0); version <= 3; version++ {
				for _, validate := range []bool{true, false} {
					if !validate && version < 3 {
						continue // the topic can grow once
					}
					req := kmsg.NewPtrCreatePartitionsRequest()
					req.Version, req.ValidateOnly = version, validate
					topic := kmsg.NewCreatePartitionsRequestTopic()
					topic.Topic, topic.Count = tc.topic, tc.count
					if tc.assigned != nil {
						topic.Assignment = []kmsg.CreatePartitionsRequestTopicAssignment{}
					}
					for _, replicas := range tc.assigned {
						assigned := kmsg.NewCreatePartitionsRequestTopicAssignment()
						assigned.Replicas = replicas
						topic.Assignment = append(topic.Assignment, assigned)
					}
					req.Topics = append(req.Topics, topic)
					resp := onTheWire(t, a.CreatePartitions(t.Context(), client, req))
					if len(resp.Topics) != 1 || resp.Topics[0].Topic != tc.topic {
						t.Fatalf("%+v", resp)
					}
					if got := result(resp.Topics[0].ErrorCode, resp.Topics[0].ErrorMessage); got != tc.want {
						t.Errorf("v%d, validate only %v: %q, want %q", version, validate, got, tc.want)
					}
					want := 2
					if tc.want == "ok" && !validate {
						want = int(tc.count)
					}
					if topic, _ := find(t, topics, "t"); len(topic.Partitions) != want {
						t.Errorf("v%d, validate only %v: %d partitions, want %d", version, validate, len(topic.Partitions), want)
					}
				}
			}
		})
	}
}

func TestCreatePartitionsAnswersEachTopic(t *testing.T) {
	a, topics := newTestAdmin(t, nil)
	for _, name := range []string{"t", "u", "v"} {
		create(t, topics, metadata.NewTopic{Name: name})
	}
	req := kmsg.NewPtrCreatePartitionsRequest()
	for _, name := range []string{"t", "none", "u", "t"} {
		topic := kmsg.NewCreatePartitionsRequestTopic()
		topic.Topic, topic.Count = name, 3
		req.Topics = append(req.Topics, topic)
	}
	var got []string
	for _, topic := range a.CreatePartitions(t.Context(), client, req).Topics {
		got = append(got, topic.Topic+" "+kerrName(topic.ErrorCode))
	}
	if want := []string{"t INVALID_REQUEST", "none UNKNOWN_TOPIC_OR_PARTITION", "u ok"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func kerrName(code int16) string { return result(code, nil) }
