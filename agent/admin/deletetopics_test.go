package admin

import (
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
)

func deleteRequest(version int16, names []string, ids ...uuid.UUID) *kmsg.DeleteTopicsRequest {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version = version
	req.TopicNames = names
	for _, name := range names {
		t := kmsg.NewDeleteTopicsRequestTopic()
		t.Topic = &name
		req.Topics = append(req.Topics, t)
	}
	for _, id := range ids {
		t := kmsg.NewDeleteTopicsRequestTopic()
		t.TopicID = id
		req.Topics = append(req.Topics, t)
	}
	return req
}

func deleted(resp *kmsg.DeleteTopicsResponse) []string {
	var lines []string
	for _, t := range resp.Topics {
		name := "-"
		if t.Topic != nil {
			name = *t.Topic
		}
		lines = append(lines, name+" "+result(t.ErrorCode, t.ErrorMessage))
	}
	return lines
}

func TestDeleteTopicsOfEachVersion(t *testing.T) {
	a, topics := newTestAdmin(t, nil)
	for version := int16(1); version <= 6; version++ {
		topic := create(t, topics, metadata.NewTopic{Name: "t"})
		resp := onTheWire(t, a.DeleteTopics(t.Context(), client, deleteRequest(version, []string{"t", "none"})))
		want := []string{"t ok", "none UNKNOWN_TOPIC_OR_PARTITION"}
		if version >= 5 {
			want[1] += ": " + kerr.UnknownTopicOrPartition.Description
		}
		if got := deleted(resp); !slices.Equal(got, want) {
			t.Errorf("v%d: %q, want %q", version, got, want)
		}
		if _, exists := find(t, topics, "t"); exists {
			t.Errorf("v%d: the topic is still there", version)
		}
		if version >= 6 && uuid.UUID(resp.Topics[0].TopicID) != topic.ID {
			t.Errorf("v%d: topic ID %v", version, resp.Topics[0].TopicID)
		}
	}
}

func TestDeleteTopicsAnswers(t *testing.T) {
	a, topics := newTestAdmin(t, nil)
	create(t, topics, metadata.NewTopic{Name: "__consumer_offsets", Internal: true})
	create(t, topics, metadata.NewTopic{Name: "twice"})
	byID := create(t, topics, metadata.NewTopic{Name: "by-id"})
	internal, _ := find(t, topics, "__consumer_offsets")
	both := deleteRequest(6, []string{"twice"})
	both.Topics[0].TopicID = byID.ID
	strange := metadata.NewTopicID()
	for _, tc := range []struct {
		name string
		req  *kmsg.DeleteTopicsRequest
		want []string
	}{
		{"a name twice", deleteRequest(6, []string{"twice", "twice"}), []string{"twice INVALID_REQUEST: Duplicate topic name."}},
		{"a name twice before v6", deleteRequest(5, []string{"twice", "twice"}), []string{"twice INVALID_REQUEST: Duplicate topic name."}},
		{"an ID twice", deleteRequest(6, nil, byID.ID, byID.ID), []string{"- INVALID_REQUEST: Duplicate topic id."}},
		{"both in one", both, []string{"twice INVALID_REQUEST: You may not specify both topic name and topic id."}},
		{"neither", deleteRequest(6, nil, uuid.Nil, uuid.Nil), []string{"- INVALID_REQUEST: Neither topic name nor id were specified.", "- INVALID_REQUEST: Neither topic name nor id were specified."}},
		{"internal", deleteRequest(6, []string{"__consumer_offsets"}), []string{"__consumer_offsets INVALID_REQUEST: Deletion of internal topic __consumer_offsets is prohibited."}},
		{"internal by ID", deleteRequest(6, nil, internal.ID), []string{"- INVALID_REQUEST: Deletion of internal topic __consumer_offsets is prohibited."}},
		{"unknown ID", deleteRequest(6, nil, strange), []string{"- UNKNOWN_TOPIC_ID: " + kerr.UnknownTopicID.Description}},
		{"illegal names", deleteRequest(6, []string{"", "a b"}), []string{" UNKNOWN_TOPIC_OR_PARTITION: " + kerr.UnknownTopicOrPartition.Description, "a b UNKNOWN_TOPIC_OR_PARTITION: " + kerr.UnknownTopicOrPartition.Description}},
		{"by ID", deleteRequest(6, nil, byID.ID), []string{"by-id ok"}},
	} {
		if got := deleted(onTheWire(t, a.DeleteTopics(t.Context(), client, tc.req))); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
	if _, exists := find(t, topics, "twice"); !exists {
		t.Error("a topic whose deletion was refused is gone")
	}
	if _, exists := find(t, topics, "by-id"); exists {
		t.Error("a topic deleted by ID is still there")
	}
}

func TestDeleteTopicsDisabled(t *testing.T) {
	a, topics := newTestAdmin(t, map[string]string{"delete.topic.enable": "false"})
	create(t, topics, metadata.NewTopic{Name: "t"})
	for version, want := range map[int16]int16{2: kerr.InvalidRequest.Code, 3: kerr.TopicDeletionDisabled.Code, 6: kerr.TopicDeletionDisabled.Code} {
		if got := a.DeleteTopics(t.Context(), client, deleteRequest(version, []string{"t"})).Topics[0].ErrorCode; got != want {
			t.Errorf("v%d: error %d, want %d", version, got, want)
		}
	}
	if _, exists := find(t, topics, "t"); !exists {
		t.Error("the topic is gone")
	}
}
