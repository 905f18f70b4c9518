package cluster

// Metadata (3), versions 0 to 13.
//
//   - v0 no topics means all; v1 null means all, racks, controller, internal
//   - v2 KIP-78 cluster ID; v3 throttle time; v4 KIP-4 auto-creation is the client's choice (before, it is implied)
//   - v5 KIP-112 offline replicas; v7 KIP-320 leader epochs
//   - v8 KIP-430 authorized operations (those of the cluster up to v10)
//   - v9 flexible; v10 KIP-516 topic IDs in answers; v12 topics asked by ID
//   - v13 KIP-1102 an error for the whole answer (never used)

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/errcode"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// createLimit bounds the topics that one Metadata request creates; the client
// asks again for the rest.
const createLimit = 100

// Metadata tells brokers and topics. A partition's leader is the broker that routing
// advises this client to take for it. The answer is nil, which closes the connection, when all topics are asked for
// and nothing is known of them.
func (c *Cluster) Metadata(ctx context.Context, client protocol.Client, req *kmsg.MetadataRequest) *kmsg.MetadataResponse {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	view := c.router.View(client)
	resp.ClusterID = &c.clusterID
	resp.ControllerID = view.Controller().NodeID
	resp.AuthorizedOperations = operations(req.IncludeClusterAuthorizedOperations, clusterOperations)
	for _, b := range slices.Concat(view.Brokers, view.StandIns) {
		broker := kmsg.NewMetadataResponseBroker()
		broker.NodeID, broker.Host, broker.Port, broker.Rack = b.NodeID, b.Host, b.Port, rack(b)
		resp.Brokers = append(resp.Brokers, broker)
	}
	m := metadataCall{
		Cluster: c, req: req, resp: resp, view: view,
		topicOperations: operations(req.IncludeTopicAuthorizedOperations, topicOperations),
	}
	if req.Topics != nil && (req.Version > 0 || len(req.Topics) > 0) {
		m.some(ctx)
	} else if err := m.all(ctx); err != nil {
		// Only before the first load. An answer without topics would make consumers drop what they
		// have, one without brokers connections, and there is no room for an error. After a lost connection clients
		// ask again, or somebody else.
		c.log.Warn("can't list topics for a Metadata request", "error", err)
		return nil
	}
	return resp
}

type metadataCall struct {
	*Cluster
	req             *kmsg.MetadataRequest
	resp            *kmsg.MetadataResponse
	view            *View
	topicOperations int32
	created         int
}

func (m *metadataCall) all(ctx context.Context) error {
	topics, err := m.topics.AllTopics(ctx)
	if err != nil {
		return err
	}
	m.resp.Topics = make([]kmsg.MetadataResponseTopic, 0, len(topics))
	for _, topic := range topics {
		m.found(topic)
	}
	return nil
}

// some answers each topic asked for once, in the order asked.
func (m *metadataCall) some(ctx context.Context) {
	names, ids := m.distinct()
	legal := make([]string, 0, len(names))
	for _, name := range names {
		if protocol.CheckTopicName(name) == nil {
			legal = append(legal, name)
		}
	}
	found, err := m.topics.Lookup(ctx, legal, ids)
	if err != nil {
		m.log.Warn("can't look up topics for a Metadata request", "error", err)
	}
	byName := make(map[string]metadata.Topic, len(found))
	byID := make(map[uuid.UUID]metadata.Topic, len(found))
	for _, topic := range found {
		byName[topic.Name], byID[topic.ID] = topic, topic
	}
	for _, name := range names {
		if topic, ok := byName[name]; ok {
			m.found(topic)
		} else {
			m.missing(ctx, name, err)
		}
	}
	for _, id := range ids {
		if topic, ok := byID[id]; ok {
			m.found(topic)
		} else {
			m.missingID(id, err)
		}
	}
}

// distinct returns what was asked for, each once. Errors of the asking itself
// are answered here.
func (m *metadataCall) distinct() (names []string, ids []uuid.UUID) {
	seenNames, seenIDs := map[string]struct{}{}, map[uuid.UUID]struct{}{}
	for _, t := range m.req.Topics {
		id := uuid.UUID(t.TopicID)
		switch {
		case id != uuid.Nil && m.req.Version < 12:
			// Versions 10 and 11 have the field, and brokers refuse it.
			m.failed(t.Topic, id, kerr.InvalidRequest.Code)
		case id != uuid.Nil:
			if _, seen := seenIDs[id]; !seen {
				seenIDs[id] = struct{}{}
				ids = append(ids, id)
			}
		case t.Topic != nil:
			if _, seen := seenNames[*t.Topic]; !seen {
				seenNames[*t.Topic] = struct{}{}
				names = append(names, *t.Topic)
			}
		default:
			m.failed(nil, id, kerr.InvalidRequest.Code)
		}
	}
	return names, ids
}

func (m *metadataCall) found(topic metadata.Topic) {
	t := kmsg.NewMetadataResponseTopic()
	t.Topic, t.TopicID, t.IsInternal = &topic.Name, topic.ID, topic.Internal
	t.AuthorizedOperations = m.topicOperations
	place := m.view.Topic(topic.ID)
	t.Partitions = make([]kmsg.MetadataResponseTopicPartition, len(topic.Partitions))
	for i := range topic.Partitions {
		p := &t.Partitions[i]
		p.Default()
		replicas := place.Replicas(int32(i))
		p.Partition, p.Leader, p.LeaderEpoch = int32(i), replicas[0], protocol.LeaderEpoch
		p.Replicas, p.ISR, p.OfflineReplicas = replicas, replicas, []int32{}
	}
	m.resp.Topics = append(m.resp.Topics, t)
}

// missing answers for a name that has no topic, and creates the topic where client
// and settings want that. The first answer is a retriable error even so, as
// Kafka's is: the client asks again and finds it.
func (m *metadataCall) missing(ctx context.Context, name string, lookup error) {
	code := kerr.UnknownTopicOrPartition.Code
	switch {
	case protocol.CheckTopicName(name) != nil:
		code = kerr.InvalidTopicException.Code
	case lookup != nil:
		code = errcode.OfMetadata(lookup)
	case m.mayCreate(name):
		m.created++
		if err := m.create(ctx, name); err != nil && !errors.Is(err, metadata.ErrTopicExists) {
			m.log.Warn("can't create a topic that a client asked for", "topic", name, "error", err)
			code = errcode.OfMetadata(err)
		}
	}
	m.failed(&name, uuid.Nil, code)
}

func (m *metadataCall) missingID(id uuid.UUID, lookup error) {
	code := kerr.UnknownTopicID.Code
	if lookup != nil {
		code = errcode.OfMetadata(lookup)
	}
	m.failed(nil, id, code)
}

func (m *metadataCall) failed(name *string, id uuid.UUID, code int16) {
	t := kmsg.NewMetadataResponseTopic()
	t.Topic, t.TopicID, t.ErrorCode = name, id, code
	if name == nil && m.req.Version < 12 {
		t.Topic = new(string) // null only since v12
	}
	if name != nil {
		t.AuthorizedOperations = m.topicOperations
	}
	m.resp.Topics = append(m.resp.Topics, t)
}

// mayCreate says whether a missing topic is to be created. A client that
// deleted a topic and looks whether it is gone must not bring it back.
func (m *metadataCall) mayCreate(name string) bool {
	asked := m.req.Version < 4 || m.req.AllowAutoTopicCreation
	return asked && m.broker.AutoCreateTopics && m.created < createLimit &&
		name != metadataTopic && !m.topics.RecentlyDeleted(name)
}

// metadataTopic is the log of Kafka's own controllers, which no client may create.
const metadataTopic = "__cluster_metadata"

// create makes one topic for all clients that ask for it meanwhile.
func (c *Cluster) create(ctx context.Context, name string) error {
	_, err, _ := c.creating.Do(name, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTimeout)
		defer cancel()
		topic, err := c.topics.CreateTopic(ctx, metadata.NewTopic{Name: name, Partitions: c.broker.NumPartitions})
		if err == nil {
			c.log.Info("created a topic that a client asked for", "topic", name, "partitions", len(topic.Partitions))
		}
		return nil, err
	})
	return err
}
