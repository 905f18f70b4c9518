package admin

// DescribeLogDirs (35), versions 1 to 4.
//
//   - v1 KIP-113; v2 flexible; v3 an error code of the whole
//   - v4 KIP-827 total and usable bytes: unknown of an object store, hence -1

import (
	"cmp"
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// DescribeLogDirs shows the object store as the one log dir of every broker. A
// partition's size is that of its record batches, as producers sent them; what they
// take in the bucket differs by what the data files compress.
//
// Tools add up what the brokers answer. So each partition is shown by the broker that
// the client is told to be its leader, and by no other.
func (a *Admin) DescribeLogDirs(ctx context.Context, client protocol.Client, req *kmsg.DescribeLogDirsRequest) *kmsg.DescribeLogDirsResponse {
	ctx, cancel := withTimeout(ctx, 0)
	defer cancel()
	resp := req.ResponseKind().(*kmsg.DescribeLogDirsResponse)
	dir := kmsg.NewDescribeLogDirsResponseDir()
	dir.Dir = a.facts["log.dirs"]
	topics, err := a.describeLogs(ctx, client, req)
	if err != nil {
		// Kafka's code for a dir that can't be read, which tools show beside it.
		a.report("describe log dirs", dir.Dir, err)
		dir.ErrorCode = kerr.KafkaStorageError.Code
	}
	dir.Topics = topics
	resp.Dirs = append(resp.Dirs, dir)
	return resp
}

// describeLogs returns the topics asked for that exist, by name, with their
// partitions asked for that exist and are led by this agent. The store sums sizes up for one request at a time, since
// it reads all runs for it.
func (a *Admin) describeLogs(ctx context.Context, client protocol.Client, req *kmsg.DescribeLogDirsRequest) ([]kmsg.DescribeLogDirsResponseDirTopic, error) {
	found, err := a.logsAsked(ctx, client, req)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	var ids []metadata.PartitionID
	for _, l := range found {
		for _, index := range l.indexes {
			ids = append(ids, l.topic.Partitions[index])
		}
	}
	sizes, err := a.sizes(ctx, ids)
	if err != nil {
		return nil, err
	}
	var topics []kmsg.DescribeLogDirsResponseDirTopic
	for _, l := range found {
		topic := kmsg.NewDescribeLogDirsResponseDirTopic()
		topic.Topic = l.topic.Name
		for _, index := range l.indexes {
			size := sizes[0]
			sizes = sizes[1:]
			if size < 0 {
				continue // deleted since
			}
			p := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
			p.Partition, p.Size = index, size
			topic.Partitions = append(topic.Partitions, p)
		}
		if len(topic.Partitions) > 0 {
			topics = append(topics, topic)
		}
	}
	return topics, nil
}

// sizes asks the store when it is this request's turn.
func (a *Admin) sizes(ctx context.Context, ids []metadata.PartitionID) ([]int64, error) {
	select {
	case a.sizing <- struct{}{}:
		defer func() { <-a.sizing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return a.records.PartitionSizes(ctx, ids)
}

// logs are partitions of one topic, ascending and each once.
type logs struct {
	topic   metadata.Topic
	indexes []int32
}

func (a *Admin) logsAsked(ctx context.Context, client protocol.Client, req *kmsg.DescribeLogDirsRequest) (found []logs, err error) {
	var topics []metadata.Topic
	asked := map[string][]int32{}
	if req.Topics == nil {
		topics, err = a.topics.AllTopics(ctx)
	} else {
		var names []string
		for _, t := range req.Topics {
			if _, known := asked[t.Topic]; !known && protocol.CheckTopicName(t.Topic) == nil {
				names = append(names, t.Topic)
			}
			asked[t.Topic] = append(asked[t.Topic], t.Partitions...)
		}
		topics, err = a.topics.Lookup(ctx, names, nil)
	}
	if err != nil {
		return nil, err
	}
	place := a.agents.Place(client)
	for _, topic := range topics {
		indexes := asked[topic.Name]
		if req.Topics == nil {
			for i := range topic.Partitions {
				indexes = append(indexes, int32(i))
			}
		}
		indexes = slices.DeleteFunc(indexes, func(i int32) bool {
			if i < 0 || int(i) >= len(topic.Partitions) {
				return true
			}
			_, here := place(topic.ID, i)
			return !here
		})
		if len(indexes) == 0 {
			continue
		}
		slices.Sort(indexes)
		found = append(found, logs{topic, slices.Compact(indexes)})
	}
	slices.SortFunc(found, func(a, b logs) int { return cmp.Compare(a.topic.Name, b.topic.Name) })
	return found, nil
}
