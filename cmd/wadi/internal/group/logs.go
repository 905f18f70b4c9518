package group

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/wadi-log/wadi/cmd/wadi/internal/bootstrap"
)

// logs is what the cluster says of the partitions of some topics. Topics that
// don't exist are not in it.
type logs struct {
	topics       kadm.TopicDetails
	starts, ends kadm.ListedOffsets
}

// loadLogs asks for the partitions and bounds of the topics.
func loadLogs(ctx context.Context, client *bootstrap.Client, names []string) (logs, error) {
	l := logs{topics: kadm.TopicDetails{}}
	if len(names) == 0 {
		return l, nil // to kadm, no topics are all topics
	}
	ctx, cancel := client.Bound(ctx)
	defer cancel()
	topics, err := client.Admin.ListTopicsWithInternal(ctx, names...)
	if err != nil {
		return l, client.Explain("listing topics", err, "")
	}
	var existing []string
	for _, topic := range topics.Sorted() {
		switch {
		case errors.Is(topic.Err, kerr.UnknownTopicOrPartition):
		case topic.Err != nil:
			return l, client.Explain("topic "+topic.Topic, topic.Err, "")
		default:
			l.topics[topic.Topic] = topic
			existing = append(existing, topic.Topic)
		}
	}
	if len(existing) == 0 {
		return l, nil
	}
	if l.starts, err = client.Admin.ListStartOffsets(ctx, existing...); err != nil {
		return l, client.Explain("listing start offsets", err, "")
	}
	if l.ends, err = client.Admin.ListEndOffsets(ctx, existing...); err != nil {
		return l, client.Explain("listing end offsets", err, "")
	}
	return l, nil
}

// partition is one partition of a topic.
type partition struct {
	topic     string
	partition int32
}

// bounds returns the first offset of the partition and the one behind its
// last. A partition that does not exist is kerr.UnknownTopicOrPartition.
func (l logs) bounds(p partition) (start, end int64, err error) {
	first, ok := l.starts.Lookup(p.topic, p.partition)
	last, both := l.ends.Lookup(p.topic, p.partition)
	if !ok || !both {
		return 0, 0, kerr.UnknownTopicOrPartition
	}
	return first.Offset, last.Offset, errors.Join(first.Err, last.Err)
}
