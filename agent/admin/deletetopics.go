package admin

// DeleteTopics (20), versions 1 to 6.
//
//   - v3 KIP-322 TOPIC_DELETION_DISABLED; v4 flexible; v5 KIP-599 messages
//   - v6 KIP-516 by topic ID

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// DeleteTopics deletes each topic in a change of its own. A name or ID asked for
// twice is refused, with one answer.
func (a *Admin) DeleteTopics(ctx context.Context, client protocol.Client, req *kmsg.DeleteTopicsRequest) *kmsg.DeleteTopicsResponse {
	ctx, cancel := withTimeout(ctx, req.TimeoutMillis)
	defer cancel()
	resp := req.ResponseKind().(*kmsg.DeleteTopicsResponse)
	asked := deletions(req)
	twice := duplicates(asked, func(d deletion) deletion { return d })
	answered := map[deletion]bool{}
	for _, d := range asked {
		// Those that name nothing can't be told apart: each is answered.
		if answered[d] && d != (deletion{}) {
			continue
		}
		answered[d] = true
		result := kmsg.NewDeleteTopicsResponseTopic()
		result.TopicID = d.id
		if d.named {
			result.Topic = &d.name
		} else if req.Version < 6 {
			result.Topic = new(string)
		}
		why := d.check(twice[d])
		if why == nil {
			why = a.delete(ctx, client, req.Version, d, &result)
		}
		if why != nil {
			result.ErrorCode, result.ErrorMessage = why.code, &why.message
		}
		resp.Topics = append(resp.Topics, result)
	}
	return resp
}

// deletion is one topic asked for, by name or by ID.
type deletion struct {
	named bool
	name  string
	id    uuid.UUID
}

func deletions(req *kmsg.DeleteTopicsRequest) []deletion {
	var asked []deletion
	if req.Version < 6 {
		for _, name := range req.TopicNames {
			asked = append(asked, deletion{named: true, name: name})
		}
		return asked
	}
	for _, t := range req.Topics {
		d := deletion{named: t.Topic != nil, id: t.TopicID}
		if d.named {
			d.name = *t.Topic
		}
		asked = append(asked, d)
	}
	return asked
}

// check refuses what names no topic, or more than one way.
func (d deletion) check(twice bool) *refusal {
	switch {
	case d.named && d.id != uuid.Nil:
		return refuse(kerr.InvalidRequest, "You may not specify both topic name and topic id.")
	case !d.named && d.id == uuid.Nil:
		return refuse(kerr.InvalidRequest, "Neither topic name nor id were specified.")
	case twice && d.named:
		return refuse(kerr.InvalidRequest, "Duplicate topic name.")
	case twice:
		return refuse(kerr.InvalidRequest, "Duplicate topic id.")
	}
	return nil
}

func (a *Admin) delete(ctx context.Context, client protocol.Client, version int16, d deletion, result *kmsg.DeleteTopicsResponseTopic) *refusal {
	if !a.settings.Broker().DeleteTopicEnable {
		code := kerr.TopicDeletionDisabled
		if version < 3 {
			code = kerr.InvalidRequest
		}
		return refuse(code, "Topic deletion is disabled: delete.topic.enable is false.")
	}
	topic, err := a.find(ctx, d)
	if err == nil && topic.Internal {
		return refuse(kerr.InvalidRequest, "Deletion of internal topic %s is prohibited.", topic.Name)
	}
	if err == nil {
		err = a.topics.DeleteTopic(ctx, topic.ID)
	}
	switch {
	case errors.Is(err, metadata.ErrUnknownTopic) && !d.named:
		return refuse(kerr.UnknownTopicID, "%s", kerr.UnknownTopicID.Description)
	case err != nil:
		return a.refused("delete topic", d.name, err)
	}
	a.log.Info("topic deleted", "topic", topic.Name, "client", client.ID, "host", client.Host)
	result.Topic, result.TopicID = &topic.Name, topic.ID
	return nil
}

func (a *Admin) find(ctx context.Context, d deletion) (metadata.Topic, error) {
	switch {
	case !d.named:
		return a.topics.TopicByID(ctx, d.id)
	case protocol.CheckTopicName(d.name) != nil:
		return metadata.Topic{}, metadata.ErrUnknownTopic // and the store need not be asked
	}
	return a.topics.TopicByName(ctx, d.name)
}
