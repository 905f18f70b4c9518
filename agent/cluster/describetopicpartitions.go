package cluster

// DescribeTopicPartitions (75), version 0: KIP-966.

import (
	"context"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/errcode"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// DescribeTopicPartitions tells topics page by page, by name. A page ends after
// as many partitions as the client and max.request.partition.size.limit allow, and
// names the topic and partition at which the next one starts. The answer is nil, which closes the connection, when
// all topics are asked for and nothing is known of them.
func (c *Cluster) DescribeTopicPartitions(ctx context.Context, client protocol.Client, req *kmsg.DescribeTopicPartitionsRequest) *kmsg.DescribeTopicPartitionsResponse {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	resp := req.ResponseKind().(*kmsg.DescribeTopicPartitionsResponse)
	names := make([]string, len(req.Topics))
	for i, t := range req.Topics {
		names[i] = t.Topic
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if cursor := req.Cursor; cursor != nil {
		at, listed := slices.BinarySearch(names, cursor.Topic)
		if cursor.Partition < 0 || len(names) > 0 && !listed {
			for _, name := range names {
				resp.Topics = append(resp.Topics, describedError(name, kerr.InvalidRequest.Code))
			}
			return resp
		}
		names = names[at:]
	}
	known, err := c.describe(ctx, req, names)
	if err != nil {
		c.log.Warn("can't look up topics for a DescribeTopicPartitions request", "error", err)
		if len(req.Topics) == 0 {
			return nil // there is no room for an error without a topic
		}
	}
	p := page{
		resp: resp, view: c.router.View(client),
		left: int(max(1, min(req.ResponsePartitionLimit, c.broker.MaxRequestPartitions))),
	}
	if len(req.Topics) == 0 {
		names = make([]string, len(known))
		for i, topic := range known {
			names[i] = topic.Name
		}
	}
	byName := make(map[string]metadata.Topic, len(known))
	for _, topic := range known {
		byName[topic.Name] = topic
	}
	for _, name := range names {
		topic, ok := byName[name]
		if !ok {
			resp.Topics = append(resp.Topics, describedError(name, describedCode(name, err)))
			continue
		}
		var from int32
		if req.Cursor != nil && req.Cursor.Topic == name {
			from = req.Cursor.Partition
		}
		if !p.add(topic, from) {
			break
		}
	}
	return resp
}

// describe returns the topics asked for that exist, for no names all of them
// from the cursor on.
func (c *Cluster) describe(ctx context.Context, req *kmsg.DescribeTopicPartitionsRequest, names []string) ([]metadata.Topic, error) {
	if len(req.Topics) > 0 {
		legal := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return protocol.CheckTopicName(name) != nil })
		return c.topics.Lookup(ctx, legal, nil)
	}
	topics, err := c.topics.AllTopics(ctx)
	if err != nil {
		return nil, err
	}
	if req.Cursor != nil {
		at, _ := slices.BinarySearchFunc(topics, req.Cursor.Topic, func(t metadata.Topic, name string) int { return strings.Compare(t.Name, name) })
		topics = topics[at:]
	}
	return topics, nil
}

func describedCode(name string, lookup error) int16 {
	switch {
	case protocol.CheckTopicName(name) != nil:
		return kerr.InvalidTopicException.Code
	case lookup != nil:
		return errcode.OfMetadata(lookup)
	}
	return kerr.UnknownTopicOrPartition.Code
}

func describedError(name string, code int16) kmsg.DescribeTopicPartitionsResponseTopic {
	t := kmsg.NewDescribeTopicPartitionsResponseTopic()
	t.Topic, t.ErrorCode = &name, code
	if code != kerr.InvalidRequest.Code {
		t.AuthorizedOperations = topicOperations
	}
	return t
}

// page is one answer; left counts the partitions that still fit.
type page struct {
	resp *kmsg.DescribeTopicPartitionsResponse
	view *View
	left int
}

// add adds the topic's partitions from the given one on. It returns false, and
// sets the cursor, when the page is full before them all.
func (p *page) add(topic metadata.Topic, from int32) bool {
	if p.left == 0 {
		p.next(topic.Name, from)
		return false
	}
	t := kmsg.NewDescribeTopicPartitionsResponseTopic()
	t.Topic, t.TopicID, t.IsInternal, t.AuthorizedOperations = &topic.Name, topic.ID, topic.Internal, topicOperations
	place := p.view.Topic(topic.ID)
	count := int32(len(topic.Partitions))
	for ; from < count && p.left > 0; from++ {
		partition := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
		replicas := place.Replicas(from)
		partition.Partition, partition.LeaderID, partition.LeaderEpoch = from, replicas[0], protocol.LeaderEpoch
		partition.Replicas, partition.ISR, partition.OfflineReplicas = replicas, replicas, []int32{}
		partition.EligibleLeaderReplicas, partition.LastKnownELR = []int32{}, []int32{}
		t.Partitions = append(t.Partitions, partition)
		p.left--
	}
	p.resp.Topics = append(p.resp.Topics, t)
	if from < count {
		p.next(topic.Name, from)
		return false
	}
	return true
}

func (p *page) next(topic string, partition int32) {
	cursor := kmsg.NewDescribeTopicPartitionsResponseNextCursor()
	cursor.Topic, cursor.Partition = topic, partition
	p.resp.NextCursor = &cursor
}
