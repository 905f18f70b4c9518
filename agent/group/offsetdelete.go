package group

// OffsetDelete (47), version 0.
//
//   - v0 KIP-496

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/errcode"
	"github.com/wadi-log/wadi/agent/group/machine"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// OffsetDelete deletes committed offsets of topics that the group doesn't read at present.
func (c *Coordinator) OffsetDelete(ctx context.Context, _ protocol.Client, req *kmsg.OffsetDeleteRequest) *kmsg.OffsetDeleteResponse {
	resp := req.ResponseKind().(*kmsg.OffsetDeleteResponse)
	if req.Group == "" {
		resp.ErrorCode = kerr.InvalidGroupID.Code
		return resp
	}
	names := make([]string, len(req.Topics))
	for i, t := range req.Topics {
		names[i] = t.Topic
	}
	found, err := c.lookup(ctx, names, nil)
	type deletion struct {
		topic string
		key   metadata.OffsetKey
		slot  *kmsg.OffsetDeleteResponseTopicPartition
	}
	var deletions []deletion
	topics := make([]kmsg.OffsetDeleteResponseTopic, len(req.Topics))
	for i, t := range req.Topics {
		topics[i].Topic = t.Topic
		topics[i].Partitions = make([]kmsg.OffsetDeleteResponseTopicPartition, len(t.Partitions))
		topic, code := found.get(t.Topic, [16]byte{}, false, err)
		for j, p := range t.Partitions {
			slot := &topics[i].Partitions[j]
			slot.Partition, slot.ErrorCode = p.Partition, code
			switch {
			case code != 0:
			case p.Partition < 0 || int(p.Partition) >= len(topic.Partitions):
				slot.ErrorCode = kerr.UnknownTopicOrPartition.Code
			default:
				deletions = append(deletions, deletion{t.Topic, metadata.OffsetKey{GroupID: req.Group, Partition: topic.Partitions[p.Partition]}, slot})
			}
		}
	}
	var why *kerr.Error
	err = c.commits.write(&commit{
		group: req.Group, offsets: len(deletions),
		decide: func(g *machine.Group, exists bool, _ machine.Env) (changes metadata.OffsetChanges) {
			if why = g.CheckDeleteOffsets(); !exists {
				why = kerr.GroupIDNotFound
			}
			if why != nil {
				return changes
			}
			for _, d := range deletions {
				if g.Subscribed(d.topic) {
					d.slot.ErrorCode = kerr.GroupSubscribedToTopic.Code
					continue
				}
				d.slot.ErrorCode = 0
				changes.Delete = append(changes.Delete, d.key)
			}
			return changes
		},
	})
	switch {
	case err != nil:
		c.log.Warn("can't delete committed offsets", "group", req.Group, "error", err)
		resp.ErrorCode = errcode.OfCoordinator(err)
	case why != nil:
		resp.ErrorCode = why.Code
	default:
		resp.Topics = topics
	}
	return resp
}
