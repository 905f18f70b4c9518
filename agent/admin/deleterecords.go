package admin

// DeleteRecords (21), versions 0 to 2.
//
//   - v0 KIP-107; v1 is the same; v2 flexible

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
	"github.com/wadi-log/wadi/protocol/configs"
)

// deleteSlice is how many partitions one change of the store deletes records from,
// so that none holds the sequencer for long.
const deleteSlice = 1000

// DeleteRecords moves log starts. Each partition is answered once: of one that is
// asked for more often, the last offset counts, as in Kafka.
func (a *Admin) DeleteRecords(ctx context.Context, client protocol.Client, req *kmsg.DeleteRecordsRequest) *kmsg.DeleteRecordsResponse {
	ctx, cancel := withTimeout(ctx, req.TimeoutMillis)
	defer cancel()
	resp := req.ResponseKind().(*kmsg.DeleteRecordsResponse)
	var deletions []metadata.RecordsDeletion
	var slots []*kmsg.DeleteRecordsResponseTopicPartition
	for _, t := range offsetsByTopic(req) {
		out := kmsg.NewDeleteRecordsResponseTopic()
		out.Topic = t.name
		out.Partitions = make([]kmsg.DeleteRecordsResponseTopicPartition, len(t.partitions))
		found := a.partitions(ctx, t.name, t.partitions)
		protected := a.protected(found)
		for i, index := range t.partitions {
			slot := &out.Partitions[i]
			*slot = kmsg.NewDeleteRecordsResponseTopicPartition()
			slot.Partition, slot.LowWatermark = index, -1
			id, err := found.partition(index)
			switch {
			case err != nil:
				slot.ErrorCode = a.partitionCode("delete records", t.name, err)
			case protected != 0:
				slot.ErrorCode = protected
			default:
				deletions = append(deletions, metadata.RecordsDeletion{Partition: id, Before: t.offsets[index]})
				slots = append(slots, slot)
			}
		}
		resp.Topics = append(resp.Topics, out)
	}
	moved := 0
	for at := 0; at < len(deletions); at += deleteSlice {
		end := min(at+deleteSlice, len(deletions))
		moved += a.deleteRecords(ctx, deletions[at:end], slots[at:end])
	}
	if moved > 0 {
		a.log.Info("records deleted", "partitions", moved, "client", client.ID, "host", client.Host)
	}
	return resp
}

// deleteRecords deletes in one change and answers each slot. It returns how many
// log starts moved.
func (a *Admin) deleteRecords(ctx context.Context, deletions []metadata.RecordsDeletion, slots []*kmsg.DeleteRecordsResponseTopicPartition) (moved int) {
	deleted, err := a.records.DeleteRecords(ctx, deletions)
	if err != nil {
		code := a.partitionCode("delete records", "", err)
		for _, slot := range slots {
			slot.ErrorCode = code
		}
		return 0
	}
	for i, d := range deleted.Partitions {
		slots[i].LowWatermark = d.LogStartOffset
		slots[i].ErrorCode = a.partitionCode("delete records", "", d.Err)
	}
	for _, c := range deleted.Commits {
		moved += len(c.LogStarts)
	}
	return moved
}

// protected is the code for a topic whose records can't be deleted from the front:
// an internal one, and one that is compacted only. 0 for others.
func (a *Admin) protected(found foundTopic) int16 {
	if found.err != nil {
		return 0 // each partition is answered with it
	}
	if found.topic.Internal {
		return kerr.InvalidTopicException.Code
	}
	parsed, err := configs.ParseTopic(found.topic.Configs, *a.settings.Broker())
	switch {
	case err != nil:
		return a.partitionCode("read the topic's configs", found.topic.Name, err)
	case parsed.CleanupCompact && !parsed.CleanupDelete:
		return kerr.PolicyViolation.Code
	}
	return 0
}

// topicOffsets is what is asked of one topic: its partitions in the order of
// their first appearance, and the last offset of each.
type topicOffsets struct {
	name       string
	partitions []int32
	offsets    map[int32]int64
}

func offsetsByTopic(req *kmsg.DeleteRecordsRequest) []*topicOffsets {
	var topics []*topicOffsets
	byName := map[string]*topicOffsets{}
	for _, rt := range req.Topics {
		t := byName[rt.Topic]
		if t == nil {
			t = &topicOffsets{name: rt.Topic, offsets: map[int32]int64{}}
			byName[rt.Topic] = t
			topics = append(topics, t)
		}
		for _, rp := range rt.Partitions {
			if _, known := t.offsets[rp.Partition]; !known {
				t.partitions = append(t.partitions, rp.Partition)
			}
			t.offsets[rp.Partition] = rp.Offset
		}
	}
	return topics
}
