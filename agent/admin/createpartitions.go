package admin

// CreatePartitions (37), versions 0 to 3.
//
//   - v0 KIP-195; v2 flexible; v3 KIP-599

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// CreatePartitions grows each topic in a change of its own, or only says whether
// it could. A name asked for twice is refused, with one answer.
func (a *Admin) CreatePartitions(ctx context.Context, client protocol.Client, req *kmsg.CreatePartitionsRequest) *kmsg.CreatePartitionsResponse {
	ctx, cancel := withTimeout(ctx, req.TimeoutMillis)
	defer cancel()
	resp := req.ResponseKind().(*kmsg.CreatePartitionsResponse)
	twice := duplicates(req.Topics, func(t kmsg.CreatePartitionsRequestTopic) string { return t.Topic })
	answered := map[string]bool{}
	var added int64
	for i := range req.Topics {
		t := &req.Topics[i]
		if answered[t.Topic] {
			continue
		}
		answered[t.Topic] = true
		result := kmsg.NewCreatePartitionsResponseTopic()
		result.Topic = t.Topic
		var why *refusal
		if twice[t.Topic] {
			why = refuse(kerr.InvalidRequest, "Duplicate topic name.")
		} else {
			why = a.grow(ctx, client, t, req.ValidateOnly, &added)
		}
		if why != nil {
			result.ErrorCode, result.ErrorMessage = why.code, &why.message
		}
		resp.Topics = append(resp.Topics, result)
	}
	return resp
}

// grow checks one topic and gives it its partitions; added counts those of the request.
func (a *Admin) grow(ctx context.Context, client protocol.Client, t *kmsg.CreatePartitionsRequestTopic, validate bool, added *int64) *refusal {
	if protocol.CheckTopicName(t.Topic) != nil {
		return refuse(kerr.UnknownTopicOrPartition, "%s", kerr.UnknownTopicOrPartition.Description)
	}
	topic, err := a.topics.TopicByName(ctx, t.Topic)
	if err != nil {
		return a.refused("create partitions", t.Topic, err)
	}
	if topic.Internal {
		return refuse(kerr.InvalidRequest, "Internal topic %s can't be changed.", t.Topic)
	}
	have := int32(len(topic.Partitions))
	if t.Count <= have {
		return tooFew(t, have)
	}
	growth := t.Count - have
	if t.Assignment != nil {
		if len(t.Assignment) != int(growth) {
			return refuse(kerr.InvalidReplicaAssignment, "Attempted to add %d additional partition(s), but only %d assignment(s) were specified.", growth, len(t.Assignment))
		}
		replicas := make([][]int32, len(t.Assignment))
		for i, assigned := range t.Assignment {
			replicas[i] = assigned.Replicas
		}
		if why := a.checkReplicas(replicas); why != nil {
			return why
		}
	}
	if why := a.overLimit(max(int64(t.Count), *added+int64(growth))); why != nil {
		return why
	}
	*added += int64(growth)
	if validate {
		return nil
	}
	grown, err := a.topics.CreatePartitions(ctx, topic.ID, t.Count)
	switch {
	case errors.Is(err, metadata.ErrPartitionCount):
		// Another agent was faster, and the catalog may not have it yet.
		if now, err := a.topics.TopicNow(ctx, t.Topic); err == nil {
			have = int32(len(now.Partitions))
		}
		return tooFew(t, have)
	case err != nil:
		return a.refused("create partitions", t.Topic, err)
	}
	a.log.Info("partitions created", "topic", t.Topic, "partitions", len(grown.Partitions), "client", client.ID, "host", client.Host)
	return nil
}

func tooFew(t *kmsg.CreatePartitionsRequestTopic, have int32) *refusal {
	if t.Count == have {
		return refuse(kerr.InvalidPartitions, "Topic already has %d partition(s).", have)
	}
	return refuse(kerr.InvalidPartitions, "The topic %s currently has %d partition(s); %d would not be an increase.", t.Topic, have, t.Count)
}
