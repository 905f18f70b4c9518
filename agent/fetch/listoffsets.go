package fetch

// ListOffsets, API key 2, versions 1 to 11.
//
// Version 2 adds the isolation level (KIP-98), 4 the current leader epoch
// (KIP-320), 6 is flexible, 7 adds the offset of the largest timestamp (KIP-734), 8
// the earliest local offset (KIP-405), 9 the latest tiered one (KIP-1005), 10 a
// timeout (KIP-1075), 11 the earliest offset that waits to be tiered (KIP-1023).
//
// All answers come from the metadata store: they move consumers. There is one
// tier, so the earliest local offset is the earliest, and nothing is tiered.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// Timestamps that ask for something else.
const (
	latestOffset          = -1
	earliestOffset        = -2
	maxTimestampOffset    = -3
	earliestLocalOffset   = -4
	latestTieredOffset    = -5
	earliestPendingOffset = -6
)

// specialSince maps them to the first version that knows them.
var specialSince = map[int64]int16{
	latestOffset: 1, earliestOffset: 1, maxTimestampOffset: 7, earliestLocalOffset: 8, latestTieredOffset: 9, earliestPendingOffset: 11,
}

const (
	// searches bounds how many partitions of one request are searched at once.
	searches = 8
	// searchTimeout applies where the request has no timeout: Kafka's default
	// for its clients.
	searchTimeout = 30 * time.Second
)

// listing is one partition of a ListOffsets request.
type listing struct {
	slot      *kmsg.ListOffsetsResponseTopicPartition
	partition metadata.PartitionID
	level     isolation
	timestamp int64
	// largest: timestamp is the partition's largest ever; should no record have
	// it any more, the largest that is left will do.
	largest bool
}

// ListOffsets answers with the offsets that the timestamps stand for. A
// partition without a record of the timestamp or later has offset -1, and as with Kafka
// also one in which the consumer may not read that record yet, by its isolation level.
func (f *Fetcher) ListOffsets(ctx context.Context, _ protocol.Client, req *kmsg.ListOffsetsRequest) *kmsg.ListOffsetsResponse {
	timeout := searchTimeout
	if req.Version >= 10 && req.TimeoutMillis > 0 {
		timeout = time.Duration(req.TimeoutMillis) * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
	asked := f.listings(ctx, req, resp)
	var byBounds, byTime []listing
	for _, l := range asked {
		switch {
		case l.timestamp >= 0:
			byTime = append(byTime, l)
		case l.timestamp == latestTieredOffset || l.timestamp == earliestPendingOffset:
			// Offset -1 without an error, as Kafka without tiered storage.
		default:
			byBounds = append(byBounds, l)
		}
	}
	byTime = append(byTime, f.listByBounds(ctx, byBounds)...)
	f.listByTime(ctx, byTime)
	return resp
}

// listings finds the partitions asked for, and answers those that can't be.
func (f *Fetcher) listings(ctx context.Context, req *kmsg.ListOffsetsRequest, resp *kmsg.ListOffsetsResponse) []listing {
	var asked []listing
	type key struct {
		topic     string
		partition int32
	}
	times := map[key]int{}
	for i := range req.Topics {
		for k := range req.Topics[i].Partitions {
			times[key{req.Topics[i].Topic, req.Topics[i].Partitions[k].Partition}]++
		}
	}
	resp.Topics = make([]kmsg.ListOffsetsResponseTopic, len(req.Topics))
	for i := range req.Topics {
		rt, out := &req.Topics[i], &resp.Topics[i]
		*out = kmsg.NewListOffsetsResponseTopic()
		out.Topic = rt.Topic
		out.Partitions = make([]kmsg.ListOffsetsResponseTopicPartition, len(rt.Partitions))
		topic, err := f.topics.TopicByName(ctx, rt.Topic)
		for k := range rt.Partitions {
			rp, slot := &rt.Partitions[k], &out.Partitions[k]
			*slot = kmsg.NewListOffsetsResponseTopicPartition()
			slot.Partition = rp.Partition
			since, special := specialSince[rp.Timestamp]
			id, code := f.partition(topic, err, rp.Partition, rp.CurrentLeaderEpoch)
			switch {
			case times[key{rt.Topic, rp.Partition}] > 1:
				slot.ErrorCode = kerr.InvalidRequest.Code
			case rp.Timestamp < 0 && (!special || req.Version < since):
				slot.ErrorCode = kerr.UnsupportedVersion.Code
			case code != 0:
				slot.ErrorCode = code
			default:
				asked = append(asked, listing{slot: slot, partition: id, level: isolation(req.IsolationLevel), timestamp: rp.Timestamp})
			}
		}
	}
	return asked
}

// listByBounds answers those that ask for the ends of partitions. It returns
// those that ask for the largest timestamp, with that timestamp.
func (f *Fetcher) listByBounds(ctx context.Context, asked []listing) (byTime []listing) {
	partitions := make([]metadata.PartitionID, len(asked))
	for i := range asked {
		partitions[i] = asked[i].partition
	}
	bounds, err := f.bounds(ctx, partitions)
	for i, l := range asked {
		b := metadata.Bounds{}
		if err == nil {
			b = bounds[i]
		}
		switch {
		case err != nil:
			f.refuse(ctx, l, err)
		case !b.Exists:
			f.refuse(ctx, l, metadata.ErrUnknownPartition)
		case l.timestamp == latestOffset:
			l.slot.Offset, l.slot.LeaderEpoch = l.level.end(&b), protocol.LeaderEpoch
		case l.timestamp != maxTimestampOffset:
			l.slot.Offset, l.slot.LeaderEpoch = b.LogStartOffset, protocol.LeaderEpoch
		case b.MaxTimestamp >= 0:
			l.timestamp, l.largest = b.MaxTimestamp, true
			byTime = append(byTime, l)
		}
	}
	return byTime
}

// bounds asks for the partitions' bounds, unless there are none.
func (f *Fetcher) bounds(ctx context.Context, partitions []metadata.PartitionID) ([]metadata.Bounds, error) {
	if len(partitions) == 0 {
		return nil, nil
	}
	bounds, err := f.store.Bounds(ctx, partitions)
	if err == nil && len(bounds) != len(partitions) {
		err = fmt.Errorf("metadata store answered %d of %d queries", len(bounds), len(partitions))
	}
	return bounds, err
}

// listByTime finds the first record of each partition that has the timestamp or a later one.
func (f *Fetcher) listByTime(ctx context.Context, asked []listing) {
	if len(asked) == 0 {
		return
	}
	found, err := f.runsByTime(ctx, asked)
	var group errgroup.Group
	group.SetLimit(searches)
	for i, l := range asked {
		switch {
		case err != nil:
			f.refuse(ctx, l, err)
		case !found[i].Exists:
			f.refuse(ctx, l, metadata.ErrUnknownPartition)
		case found[i].Found && (l.largest || found[i].Run.BaseOffset < l.level.end(&found[i].Bounds)):
			group.Go(func() error {
				f.search(ctx, l, found[i])
				return nil
			})
		}
	}
	// The functions return no error: each answers its own partition.
	_ = group.Wait()
}

func (f *Fetcher) runsByTime(ctx context.Context, asked []listing) ([]metadata.TimestampRun, error) {
	queries := make([]metadata.TimestampQuery, len(asked))
	for i := range asked {
		queries[i] = metadata.TimestampQuery{Partition: asked[i].partition, Timestamp: asked[i].timestamp}
	}
	found, err := f.store.RunByTimestamp(ctx, queries)
	if err == nil && len(found) != len(queries) {
		err = fmt.Errorf("metadata store answered %d of %d queries", len(found), len(queries))
	}
	return found, err
}

// runByTime is the same for one.
func (f *Fetcher) runByTime(ctx context.Context, asked listing) (metadata.TimestampRun, error) {
	found, err := f.runsByTime(ctx, []listing{asked})
	switch {
	case err != nil:
		return metadata.TimestampRun{}, err
	case !found[0].Exists:
		return metadata.TimestampRun{}, metadata.ErrUnknownPartition
	}
	return found[0], nil
}

func (f *Fetcher) refuse(ctx context.Context, l listing, err error) {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		l.slot.ErrorCode = kerr.RequestTimedOut.Code // KIP-1075
		return
	}
	l.slot.ErrorCode = f.code("list offsets", err)
}
