package group

// OffsetFetch (9), versions 1 to 10.
//
//   - v2 all topics, an error for the group; v5 KIP-320 leader epoch; v6 flexible; v7
//     KIP-447 require stable; v8 KIP-709 several groups
//   - v9 KIP-848 member epochs; v10 KIP-848 topic IDs

import (
	"context"
	"slices"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/errcode"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// OffsetFetch returns how far groups have read: offset -1 where nothing was
// committed, also for a group or topic that doesn't exist. What an open transaction
// holds doesn't count yet. Who requires stable offsets is told UNSTABLE_OFFSET_COMMIT
// where there is such a thing, and asks again until the transaction has ended.
func (c *Coordinator) OffsetFetch(ctx context.Context, _ protocol.Client, req *kmsg.OffsetFetchRequest) *kmsg.OffsetFetchResponse {
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	resp := req.ResponseKind().(*kmsg.OffsetFetchResponse)
	if req.Version >= 8 {
		resp.Groups = c.fetchOffsets(ctx, req.Groups, req.Version, req.RequireStable)
		return resp
	}
	asked := kmsg.NewOffsetFetchRequestGroup()
	asked.Group = req.Group
	if req.Topics != nil {
		asked.Topics = []kmsg.OffsetFetchRequestGroupTopic{}
		for _, t := range req.Topics {
			topic := kmsg.NewOffsetFetchRequestGroupTopic()
			topic.Topic, topic.Partitions = t.Topic, t.Partitions
			asked.Topics = append(asked.Topics, topic)
		}
	}
	group := c.fetchOffsets(ctx, []kmsg.OffsetFetchRequestGroup{asked}, req.Version, req.RequireStable)[0]
	resp.ErrorCode = group.ErrorCode
	if group.ErrorCode != 0 && req.Version < 2 {
		group.Topics = refusedTopics(asked, group.ErrorCode)
	}
	for _, t := range group.Topics {
		topic := kmsg.NewOffsetFetchResponseTopic()
		topic.Topic = t.Topic
		for _, p := range t.Partitions {
			partition := kmsg.NewOffsetFetchResponseTopicPartition()
			partition.Partition, partition.Offset, partition.LeaderEpoch = p.Partition, p.Offset, p.LeaderEpoch
			partition.Metadata, partition.ErrorCode = p.Metadata, p.ErrorCode
			topic.Partitions = append(topic.Partitions, partition)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}

// refusedTopics carries a group's error in each partition: version 1 has no other place.
func refusedTopics(asked kmsg.OffsetFetchRequestGroup, code int16) []kmsg.OffsetFetchResponseGroupTopic {
	topics := make([]kmsg.OffsetFetchResponseGroupTopic, len(asked.Topics))
	for i, t := range asked.Topics {
		topics[i].Topic = t.Topic
		for _, p := range t.Partitions {
			slot := nothingCommitted(p)
			slot.ErrorCode = code
			topics[i].Partitions = append(topics[i].Partitions, slot)
		}
	}
	return topics
}

// folded names each group once, in the order of first mention. No client repeats
// itself, but whoever does must not get an answer many times as large as the question.
func folded(asked []kmsg.OffsetFetchRequestGroup) []kmsg.OffsetFetchRequestGroup {
	var groups []kmsg.OffsetFetchRequestGroup
	index := make(map[string]int, len(asked))
	for _, g := range asked {
		i, again := index[g.Group]
		switch {
		case !again:
			index[g.Group] = len(groups)
			groups = append(groups, g)
		case g.Topics == nil:
			groups[i].Topics = nil
		case groups[i].Topics != nil:
			groups[i].Topics = slices.Concat(groups[i].Topics, g.Topics)
		}
	}
	return groups
}

// fetchOffsets answers for each group, in order.
func (c *Coordinator) fetchOffsets(ctx context.Context, asked []kmsg.OffsetFetchRequestGroup, version int16, stable bool) []kmsg.OffsetFetchResponseGroup {
	asked = folded(asked)
	answers := make([]kmsg.OffsetFetchResponseGroup, len(asked))
	ids := make([]string, len(asked))
	for i, g := range asked {
		answers[i].Group, ids[i] = g.Group, g.Group
	}
	if version >= 9 {
		c.checkFetches(ctx, asked, ids, answers)
	}
	topics, err := c.topics.now(ctx)
	found, unfound := c.lookupAsked(ctx, asked, version)
	offsets := make([][]metadata.Offset, len(asked))
	if err == nil {
		queries := make([]metadata.OffsetQuery, len(asked))
		for i, g := range asked {
			queries[i] = metadata.OffsetQuery{GroupID: g.Group, Partitions: found.partitions(g, version)}
		}
		offsets, err = c.store.FetchOffsets(ctx, queries)
	}
	if err != nil {
		c.log.Warn("can't read committed offsets from the metadata store", "groups", len(asked), "error", err)
	}
	for i, g := range asked {
		switch {
		case answers[i].ErrorCode != 0:
		case err != nil:
			answers[i].ErrorCode = errcode.OfCoordinator(err)
		case g.Topics == nil:
			answers[i].Topics = topics.all(offsets[i], stable)
		default:
			answers[i].Topics = found.offsets(g, offsets[i], version, stable, unfound)
		}
	}
	return answers
}

// lookupAsked finds the topics that any of the groups asks for.
func (c *Coordinator) lookupAsked(ctx context.Context, asked []kmsg.OffsetFetchRequestGroup, version int16) (topicsFound, error) {
	var names []string
	var ids []uuid.UUID
	for _, g := range asked {
		for _, t := range g.Topics {
			if version >= 10 {
				ids = append(ids, t.TopicID)
			} else {
				names = append(names, t.Topic)
			}
		}
	}
	return c.lookup(ctx, names, ids)
}

// partitions are those of the existing topics that the group asks for; nil for all.
func (f topicsFound) partitions(g kmsg.OffsetFetchRequestGroup, version int16) []metadata.PartitionID {
	if g.Topics == nil {
		return nil
	}
	ids := []metadata.PartitionID{}
	for _, t := range g.Topics {
		topic, _ := f.get(t.Topic, t.TopicID, version >= 10, nil)
		for _, p := range t.Partitions {
			if p >= 0 && int(p) < len(topic.Partitions) {
				ids = append(ids, topic.Partitions[p])
			}
		}
	}
	return ids
}

// checkFetches refuses members whose epoch is not the group's idea of it.
func (c *Coordinator) checkFetches(ctx context.Context, asked []kmsg.OffsetFetchRequestGroup, ids []string, answers []kmsg.OffsetFetchResponseGroup) {
	groups, _, err := c.decoded(ctx, ids)
	for i, g := range asked {
		switch {
		case err != nil:
			answers[i].ErrorCode = errcode.OfCoordinator(err)
		case groups[i].err != nil:
			answers[i].ErrorCode = errcode.OfCoordinator(groups[i].err)
		default:
			if why := groups[i].group.CheckFetch(g.MemberID, g.MemberEpoch); why != nil {
				answers[i].ErrorCode = why.Code
			}
		}
	}
}

func nothingCommitted(partition int32) kmsg.OffsetFetchResponseGroupTopicPartition {
	slot := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	none := ""
	slot.Partition, slot.Offset, slot.LeaderEpoch, slot.Metadata = partition, -1, -1, &none
	return slot
}

// committed shows what is committed in a partition; stable tells whether only what no
// open transaction may change is to be shown.
func committed(partition int32, o metadata.Offset, stable bool) kmsg.OffsetFetchResponseGroupTopicPartition {
	if onlyPending(o) || stable && o.Unstable {
		slot := nothingCommitted(partition)
		if stable {
			slot.ErrorCode = kerr.UnstableOffsetCommit.Code
		}
		return slot
	}
	slot := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	slot.Partition, slot.Offset, slot.LeaderEpoch, slot.Metadata = partition, o.Offset, o.LeaderEpoch, &o.Metadata
	return slot
}

// onlyPending tells that nothing is committed yet but what open transactions hold.
func onlyPending(o metadata.Offset) bool { return o.Unstable && o.Offset == -1 }

// all lays out all of a group's committed offsets by topic. Those of topics that are gone
// are left out, and so are partitions for which only open transactions hold one, also
// if it is to be stable: nobody knows of them yet.
func (v *view) all(offsets []metadata.Offset, stable bool) []kmsg.OffsetFetchResponseGroupTopic {
	places := v.partitions()
	slots := map[int]int{} // topic to its place in the answer
	var topics []kmsg.OffsetFetchResponseGroupTopic
	for _, o := range offsets {
		at, ok := places[o.Partition]
		if !ok || onlyPending(o) {
			continue
		}
		i, ok := slots[at.topic]
		if !ok {
			i = len(topics)
			slots[at.topic] = i
			topic := kmsg.NewOffsetFetchResponseGroupTopic()
			topic.Topic, topic.TopicID = v.topics[at.topic].Name, v.topics[at.topic].ID
			topics = append(topics, topic)
		}
		topics[i].Partitions = append(topics[i].Partitions, committed(at.index, o, stable))
	}
	return topics
}

// offsets lays out the offsets of the partitions that the group asks for, each
// once; failed is why topics could not be looked up.
func (f topicsFound) offsets(g kmsg.OffsetFetchRequestGroup, offsets []metadata.Offset, version int16, stable bool, failed error) []kmsg.OffsetFetchResponseGroupTopic {
	byPartition := make(map[metadata.PartitionID]metadata.Offset, len(offsets))
	for _, o := range offsets {
		byPartition[o.Partition] = o
	}
	type slotKey struct {
		topic     string
		id        uuid.UUID
		partition int32
	}
	laid := map[slotKey]bool{}
	topics := make([]kmsg.OffsetFetchResponseGroupTopic, len(g.Topics))
	for i, t := range g.Topics {
		topics[i].Topic, topics[i].TopicID = t.Topic, t.TopicID
		topic, code := f.get(t.Topic, t.TopicID, version >= 10, failed)
		if code == kerr.UnknownTopicOrPartition.Code {
			code = 0 // nothing was committed for what doesn't exist
		}
		for _, p := range t.Partitions {
			key := slotKey{t.Topic, t.TopicID, p}
			if laid[key] {
				continue
			}
			laid[key] = true
			slot := nothingCommitted(p)
			slot.ErrorCode = code
			if code == 0 && p >= 0 && int(p) < len(topic.Partitions) {
				if o, ok := byPartition[topic.Partitions[p]]; ok {
					slot = committed(p, o, stable)
				}
			}
			topics[i].Partitions = append(topics[i].Partitions, slot)
		}
	}
	return topics
}
