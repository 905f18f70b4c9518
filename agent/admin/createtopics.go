package admin

// CreateTopics (19), versions 2 to 7.
//
//   - v2 throttle time, v4 KIP-464 -1 for the default partitions and replicas
//     (taken from v2 on, as Kafka 4 does)
//   - v5 KIP-525 answers with configs, partitions and replicas; flexible
//   - v6 KIP-599; v7 KIP-516 topic ID

import (
	"context"
	"errors"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
	"github.com/wadi-log/wadi/protocol/configs"
)

// metadataTopic is the log of Kafka's own controllers, which no client may create.
const metadataTopic = "__cluster_metadata"

// CreateTopics creates each topic in a change of its own, or only says
// whether it could. A name asked for twice is refused, with one answer.
func (a *Admin) CreateTopics(ctx context.Context, client protocol.Client, req *kmsg.CreateTopicsRequest) *kmsg.CreateTopicsResponse {
	ctx, cancel := withTimeout(ctx, req.TimeoutMillis)
	defer cancel()
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	name := func(t kmsg.CreateTopicsRequestTopic) string { return t.Topic }
	twice := duplicates(req.Topics, name)
	names := make([]string, 0, len(req.Topics))
	for _, t := range req.Topics {
		if protocol.CheckTopicName(t.Topic) == nil {
			names = append(names, t.Topic)
		}
	}
	call := createCall{Admin: a, client: client, validate: req.ValidateOnly, known: map[string]bool{}}
	known, lookup := a.topics.Lookup(ctx, names, nil)
	for _, topic := range known {
		call.known[topic.Name] = true
	}
	answered := map[string]bool{}
	for i := range req.Topics {
		t := &req.Topics[i]
		if answered[t.Topic] {
			continue
		}
		answered[t.Topic] = true
		result := kmsg.NewCreateTopicsResponseTopic()
		result.Topic = t.Topic
		var why *refusal
		switch {
		case twice[t.Topic]:
			why = refuse(kerr.InvalidRequest, "Duplicate topic name.")
		case lookup != nil && protocol.CheckTopicName(t.Topic) == nil:
			why = a.refused("create topic", t.Topic, lookup)
		default:
			why = call.create(ctx, t, &result)
		}
		if why != nil {
			result.ErrorCode, result.ErrorMessage = why.code, &why.message
			result.Configs = []kmsg.CreateTopicsResponseTopicConfig{}
		}
		resp.Topics = append(resp.Topics, result)
	}
	return resp
}

type createCall struct {
	*Admin
	client   protocol.Client
	validate bool
	known    map[string]bool
	total    int64 // partitions of this request
}

// create checks one topic in Kafka's order, creates it and fills the result in.
func (c *createCall) create(ctx context.Context, t *kmsg.CreateTopicsRequestTopic, result *kmsg.CreateTopicsResponseTopic) *refusal {
	if err := protocol.CheckTopicName(t.Topic); err != nil {
		return invalidName(err)
	}
	if t.Topic == metadataTopic {
		return refuse(kerr.InvalidRequest, "Creation of internal topic %s is prohibited.", t.Topic)
	}
	if c.known[t.Topic] {
		return refuse(kerr.TopicAlreadyExists, "Topic '%s' already exists.", t.Topic)
	}
	topic := metadata.NewTopic{Name: t.Topic}
	var why *refusal
	if topic.Configs, why = c.newConfigs(t.Configs); why != nil {
		return why
	}
	if topic.Partitions, why = c.partitions(t); why != nil {
		return why
	}
	if c.validate {
		if why := c.collision(ctx, t.Topic); why != nil {
			return why
		}
	} else {
		created, err := c.topics.CreateTopic(ctx, topic)
		if errors.Is(err, metadata.ErrTopicExists) {
			return c.exists(ctx, t.Topic)
		}
		if err != nil {
			return c.refused("create topic", t.Topic, err)
		}
		c.log.Info("topic created", "topic", t.Topic, "partitions", topic.Partitions, "client", c.client.ID, "host", c.client.Host)
		result.TopicID = created.ID
	}
	c.total += int64(topic.Partitions)
	result.NumPartitions, result.ReplicationFactor = topic.Partitions, 1
	for _, e := range configs.DescribeTopic(topic.Configs, *c.settings.Broker()) {
		config := kmsg.NewCreateTopicsResponseTopicConfig()
		config.Name, config.Value, config.Source, config.IsSensitive = e.Name, e.Value, int8(e.Source), e.Sensitive
		result.Configs = append(result.Configs, config)
	}
	return nil
}

// newConfigs returns the configs in canonical form.
func (c *createCall) newConfigs(asked []kmsg.CreateTopicsRequestTopicConfig) (map[string]string, *refusal) {
	set := make(map[string]string, len(asked))
	for _, config := range asked {
		if config.Value == nil {
			return nil, refuse(kerr.InvalidConfig, "Null value not supported for topic configs: %s", config.Name)
		}
		set[config.Name] = *config.Value
	}
	return set, c.canonical(resource{kind: kmsg.ConfigResourceTypeTopic}, set)
}

// partitions returns how many partitions the topic is to have.
func (c *createCall) partitions(t *kmsg.CreateTopicsRequestTopic) (int32, *refusal) {
	count := t.NumPartitions
	if len(t.ReplicaAssignment) > 0 {
		if why := c.assignment(t); why != nil {
			return 0, why
		}
		count = int32(len(t.ReplicaAssignment))
	} else {
		if t.ReplicationFactor < -1 || t.ReplicationFactor == 0 {
			return 0, refuse(kerr.InvalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value.")
		}
		if count < -1 || count == 0 {
			return 0, refuse(kerr.InvalidPartitions, "Number of partitions was set to an invalid non-positive value.")
		}
		if count == -1 {
			count = c.settings.Broker().NumPartitions
		}
	}
	return count, c.overLimit(c.total + int64(count))
}

// assignment checks a manual assignment, which takes the place of both counts.
func (c *createCall) assignment(t *kmsg.CreateTopicsRequestTopic) *refusal {
	if t.ReplicationFactor != -1 {
		return refuse(kerr.InvalidRequest, "A manual partition assignment was specified, but replication factor was not set to -1.")
	}
	if t.NumPartitions != -1 {
		return refuse(kerr.InvalidRequest, "A manual partition assignment was specified, but numPartitions was not set to -1.")
	}
	byPartition := make([][]int32, len(t.ReplicaAssignment))
	seen := make([]bool, len(t.ReplicaAssignment))
	for _, assigned := range t.ReplicaAssignment {
		p := int(assigned.Partition)
		if p < 0 || p >= len(seen) || seen[p] {
			return refuse(kerr.InvalidReplicaAssignment, "partitions should be a consecutive 0-based integer sequence")
		}
		seen[p], byPartition[p] = true, assigned.Replicas
	}
	return c.checkReplicas(byPartition)
}

// exists explains why the store has no room for the name: the topic is there,
// or one whose name is the same in metrics, where '.' becomes '_'.
func (c *createCall) exists(ctx context.Context, name string) *refusal {
	if _, err := c.topics.TopicByName(ctx, name); err == nil {
		return refuse(kerr.TopicAlreadyExists, "Topic '%s' already exists.", name)
	}
	if why := c.collision(ctx, name); why != nil {
		return why
	}
	return refuse(kerr.TopicAlreadyExists, "Topic '%s' already exists, or did a moment ago.", name)
}

func (a *Admin) collision(ctx context.Context, name string) *refusal {
	metric := strings.ReplaceAll(name, ".", "_")
	topics, err := a.topics.AllTopics(ctx)
	if err != nil {
		return a.refused("create topic", name, err)
	}
	for _, topic := range topics {
		if topic.Name != name && strings.ReplaceAll(topic.Name, ".", "_") == metric {
			return refuse(kerr.InvalidTopicException, "Topic '%s' collides with existing topic: %s", name, topic.Name)
		}
	}
	return nil
}
