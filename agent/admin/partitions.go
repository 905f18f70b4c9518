package admin

import (
	"context"

	"github.com/wadi-log/wadi/agent/errcode"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// foundTopic is a topic, or why there is none.
type foundTopic struct {
	topic metadata.Topic
	err   error
}

// partitions finds the topic for those who ask for its partitions. When they ask
// for more than the catalog knows, the store is asked: another agent may have added
// some a moment ago.
func (a *Admin) partitions(ctx context.Context, name string, indexes []int32) foundTopic {
	if protocol.CheckTopicName(name) != nil {
		return foundTopic{err: metadata.ErrUnknownTopic} // and the store need not be asked
	}
	topic, err := a.topics.TopicByName(ctx, name)
	for _, index := range indexes {
		if err == nil && int(index) >= len(topic.Partitions) {
			topic, err = a.topics.TopicNow(ctx, name)
			break
		}
	}
	return foundTopic{topic, err}
}

// partition returns the store's ID of a partition. Errors: why the topic was not
// found, metadata.ErrUnknownPartition.
func (f foundTopic) partition(index int32) (metadata.PartitionID, error) {
	switch {
	case f.err != nil:
		return 0, f.err
	case index < 0 || int(index) >= len(f.topic.Partitions):
		return 0, metadata.ErrUnknownPartition
	}
	return f.topic.Partitions[index], nil
}

// partitionCode is the code of an error in one partition, 0 for nil: one of those on
// which clients look for the partition's leader again where it passes by itself.
func (a *Admin) partitionCode(doing, topic string, err error) int16 {
	if err == nil {
		return 0
	}
	a.report(doing, topic, err)
	return errcode.Of(err)
}
