package fetch

// OffsetForLeaderEpoch, API key 23, versions 2 to 4.
//
// Version 2 adds the current leader epoch (KIP-320), 3 the replica ID
// (KIP-392), 4 is flexible.
//
// Kafka answers with the end of the epoch asked for, by which a consumer finds
// out after a change of leaders whether its position was truncated. Wadi has one
// epoch and truncates nothing: its end is the end of the partition, and a later
// epoch does not exist (-1, -1).

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// OffsetForLeaderEpoch answers with the partitions' ends, from the metadata store.
func (f *Fetcher) OffsetForLeaderEpoch(ctx context.Context, _ protocol.Client, req *kmsg.OffsetForLeaderEpochRequest) *kmsg.OffsetForLeaderEpochResponse {
	resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
	resp.Topics = make([]kmsg.OffsetForLeaderEpochResponseTopic, len(req.Topics))
	var slots []*kmsg.OffsetForLeaderEpochResponseTopicPartition
	var partitions []metadata.PartitionID
	for i := range req.Topics {
		rt, out := &req.Topics[i], &resp.Topics[i]
		*out = kmsg.NewOffsetForLeaderEpochResponseTopic()
		out.Topic = rt.Topic
		out.Partitions = make([]kmsg.OffsetForLeaderEpochResponseTopicPartition, len(rt.Partitions))
		topic, err := f.topics.TopicByName(ctx, rt.Topic)
		for k := range rt.Partitions {
			rp, slot := &rt.Partitions[k], &out.Partitions[k]
			*slot = kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			slot.Partition = rp.Partition
			id, code := f.partition(topic, err, rp.Partition, rp.CurrentLeaderEpoch)
			slot.ErrorCode = code
			if code == 0 && rp.LeaderEpoch == protocol.LeaderEpoch {
				slots, partitions = append(slots, slot), append(partitions, id)
			}
		}
	}
	bounds, err := f.bounds(ctx, partitions)
	for i, slot := range slots {
		if err == nil && !bounds[i].Exists {
			slot.ErrorCode = f.code("find the end of a leader epoch", metadata.ErrUnknownPartition)
		} else if err != nil {
			slot.ErrorCode = f.code("find the end of a leader epoch", err)
		} else {
			slot.LeaderEpoch, slot.EndOffset = protocol.LeaderEpoch, bounds[i].NextOffset
		}
	}
	return resp
}
