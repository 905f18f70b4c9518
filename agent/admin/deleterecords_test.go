package admin

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
)

// offsetOf is one partition of a DeleteRecords request.
type offsetOf struct {
	topic     string
	partition int32
	offset    int64
}

// deletionRequest has a topic of its own for each change of the topic's name.
func deletionRequest(version int16, of ...offsetOf) *kmsg.DeleteRecordsRequest {
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.Version = version
	for i, o := range of {
		if i == 0 || of[i-1].topic != o.topic {
			topic := kmsg.NewDeleteRecordsRequestTopic()
			topic.Topic = o.topic
			req.Topics = append(req.Topics, topic)
		}
		partition := kmsg.NewDeleteRecordsRequestTopicPartition()
		partition.Partition, partition.Offset = o.partition, o.offset
		last := &req.Topics[len(req.Topics)-1]
		last.Partitions = append(last.Partitions, partition)
	}
	return req
}

// lowWatermarks renders an answer.
func lowWatermarks(resp *kmsg.DeleteRecordsResponse) (all []string) {
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			all = append(all, fmt.Sprintf("%s-%d %d %s", topic.Topic, p.Partition, p.LowWatermark, result(p.ErrorCode, nil)))
		}
	}
	return all
}

// TestDeleteRecordsAnswers holds the answers to those of a Kafka 4.2 broker.
func TestDeleteRecordsAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		of   []offsetOf
		want []string
	}{
		"some":                      {[]offsetOf{{"t", 0, 4}}, []string{"t-0 4 ok"}},
		"all":                       {[]offsetOf{{"t", 0, -1}}, []string{"t-0 10 ok"}},
		"to the end":                {[]offsetOf{{"t", 0, 10}}, []string{"t-0 10 ok"}},
		"none":                      {[]offsetOf{{"t", 0, 0}}, []string{"t-0 0 ok"}},
		"beyond the end":            {[]offsetOf{{"t", 0, 11}}, []string{"t-0 -1 OFFSET_OUT_OF_RANGE"}},
		"no offset":                 {[]offsetOf{{"t", 0, -2}}, []string{"t-0 -1 OFFSET_OUT_OF_RANGE"}},
		"empty partition":           {[]offsetOf{{"t", 1, -1}}, []string{"t-1 0 ok"}},
		"before the log start":      {[]offsetOf{{"late", 0, 2}}, []string{"late-0 5 ok"}},
		"unknown partition":         {[]offsetOf{{"t", 2, 0}, {"t", -1, 0}}, []string{"t-2 -1 UNKNOWN_TOPIC_OR_PARTITION", "t--1 -1 UNKNOWN_TOPIC_OR_PARTITION"}},
		"unknown topic":             {[]offsetOf{{"none", 0, 0}, {"", 0, 0}, {"a b", 0, 0}}, []string{"none-0 -1 UNKNOWN_TOPIC_OR_PARTITION", "-0 -1 UNKNOWN_TOPIC_OR_PARTITION", "a b-0 -1 UNKNOWN_TOPIC_OR_PARTITION"}},
		"internal":                  {[]offsetOf{{"__consumer_offsets", 0, 0}, {"__consumer_offsets", 7, 0}}, []string{"__consumer_offsets-0 -1 INVALID_TOPIC_EXCEPTION", "__consumer_offsets-7 -1 UNKNOWN_TOPIC_OR_PARTITION"}},
		"compacted":                 {[]offsetOf{{"compact", 0, 99}, {"compact", 7, 0}}, []string{"compact-0 -1 POLICY_VIOLATION", "compact-7 -1 UNKNOWN_TOPIC_OR_PARTITION"}},
		"compacted and deleted":     {[]offsetOf{{"both", 0, -1}}, []string{"both-0 0 ok"}},
		"neither of them":           {[]offsetOf{{"neither", 0, -1}}, []string{"neither-0 0 ok"}},
		"each on its own":           {[]offsetOf{{"compact", 0, 0}, {"t", 1, 1}, {"t", 0, 3}, {"none", 0, 0}, {"late", 0, -1}}, []string{"compact-0 -1 POLICY_VIOLATION", "t-1 -1 OFFSET_OUT_OF_RANGE", "t-0 3 ok", "none-0 -1 UNKNOWN_TOPIC_OR_PARTITION", "late-0 10 ok"}},
		"a partition twice":         {[]offsetOf{{"t", 0, 11}, {"t", 1, 0}, {"t", 0, 6}}, []string{"t-0 6 ok", "t-1 0 ok"}},
		"a topic in several places": {[]offsetOf{{"t", 0, 8}, {"late", 0, 6}, {"t", 1, 0}, {"late", 0, 7}, {"t", 0, 2}}, []string{"t-0 2 ok", "t-1 0 ok", "late-0 7 ok"}},
		"nothing":                   {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			a, topics := newTestAdmin(t, nil)
			topic := create(t, topics, metadata.NewTopic{Name: "t", Partitions: 2})
			late := create(t, topics, metadata.NewTopic{Name: "late"})
			create(t, topics, metadata.NewTopic{Name: "__consumer_offsets", Internal: true})
			create(t, topics, metadata.NewTopic{Name: "compact", Configs: map[string]string{"cleanup.policy": "compact"}})
			create(t, topics, metadata.NewTopic{Name: "both", Configs: map[string]string{"cleanup.policy": "compact,delete"}})
			create(t, topics, metadata.NewTopic{Name: "neither", Configs: map[string]string{"cleanup.policy": ""}})
			write(t, topics, topic.Partitions[0], 10, -1, -1)
			write(t, topics, late.Partitions[0], 10, -1, -1)
			if got := lowWatermarks(a.DeleteRecords(t.Context(), client, deletionRequest(2, offsetOf{"late", 0, 5}))); !slices.Equal(got, []string{"late-0 5 ok"}) {
				t.Fatal(got)
			}
			// Each version says the same, and a repetition too.
			for version := int16(0); version <= 2; version++ {
				if got := lowWatermarks(onTheWire(t, a.DeleteRecords(t.Context(), client, deletionRequest(version, tc.of...)))); !slices.Equal(got, tc.want) {
					t.Errorf("v%d: %q, want %q", version, got, tc.want)
				}
			}
		})
	}
}

// TestDeleteRecordsFollowsTheDefaultPolicy: the broker's default may be compact.
func TestDeleteRecordsFollowsTheDefaultPolicy(t *testing.T) {
	a, topics := newTestAdmin(t, map[string]string{"log.cleanup.policy": "compact"})
	create(t, topics, metadata.NewTopic{Name: "default"})
	create(t, topics, metadata.NewTopic{Name: "own", Configs: map[string]string{"cleanup.policy": "delete"}})
	got := lowWatermarks(a.DeleteRecords(t.Context(), client, deletionRequest(2, offsetOf{"default", 0, -1}, offsetOf{"own", 0, -1})))
	if want := []string{"default-0 -1 POLICY_VIOLATION", "own-0 0 ok"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestDeleteRecordsOfManyPartitions takes several changes of the store.
func TestDeleteRecordsOfManyPartitions(t *testing.T) {
	a, topics := newTestAdmin(t, nil)
	topic := create(t, topics, metadata.NewTopic{Name: "t", Partitions: 2*deleteSlice + 1})
	write(t, topics, topic.Partitions[2*deleteSlice], 3, -1, -1)
	var of []offsetOf
	for i := range topic.Partitions {
		of = append(of, offsetOf{"t", int32(i), -1})
	}
	got := lowWatermarks(a.DeleteRecords(t.Context(), client, deletionRequest(2, of...)))
	if len(got) != len(of) || got[0] != "t-0 0 ok" || got[2*deleteSlice] != fmt.Sprintf("t-%d 3 ok", 2*deleteSlice) {
		t.Errorf("%d answers: %s ... %s", len(got), got[0], got[len(got)-1])
	}
}

// stale is a catalog that has not heard of new partitions yet.
type stale struct {
	*direct
	before metadata.Topic
}

func (s *stale) TopicByName(context.Context, string) (metadata.Topic, error) { return s.before, nil }

func TestDeleteRecordsOfPartitionAddedElsewhere(t *testing.T) {
	a, topics := newTestAdmin(t, nil)
	before := create(t, topics, metadata.NewTopic{Name: "t"})
	after, err := topics.CreatePartitions(t.Context(), before.ID, 2)
	if err != nil {
		t.Fatal(err)
	}
	write(t, topics, after.Partitions[1], 3, -1, -1)
	a.topics = &stale{topics, before}
	got := lowWatermarks(a.DeleteRecords(t.Context(), client, deletionRequest(2, offsetOf{"t", 1, -1}, offsetOf{"t", 2, -1})))
	if want := []string{"t-1 3 ok", "t-2 -1 UNKNOWN_TOPIC_OR_PARTITION"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestDeleteRecordsStoreFailures: codes on which clients look for the leader
// again and retry.
func TestDeleteRecordsStoreFailures(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want *kerr.Error
	}{
		{metadata.ErrUnavailable, kerr.NotLeaderForPartition},
		{metadata.ErrOutcomeUnknown, kerr.RequestTimedOut},
		{context.DeadlineExceeded, kerr.RequestTimedOut},
	} {
		a, topics := newTestAdmin(t, nil)
		create(t, topics, metadata.NewTopic{Name: "t", Partitions: 2})
		want := []string{"t-1 -1 " + tc.want.Message, "t-0 -1 " + tc.want.Message}
		for _, fail := range []struct {
			what           string
			lookup, change error
		}{{"lookup", tc.err, nil}, {"change", nil, tc.err}} {
			topics.lookup, topics.change = fail.lookup, fail.change
			if got := lowWatermarks(a.DeleteRecords(t.Context(), client, deletionRequest(2, offsetOf{"t", 1, 0}, offsetOf{"t", 0, 0}))); !slices.Equal(got, want) {
				t.Errorf("the %s fails with %v: %q, want %q", fail.what, tc.err, got, want)
			}
		}
	}
}
