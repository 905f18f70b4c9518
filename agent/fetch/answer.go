package fetch

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/errcode"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// partition returns the store's ID of a topic's partition, or the error that
// all APIs of this package answer with. lookup is the error of finding the topic.
func (f *Fetcher) partition(topic metadata.Topic, lookup error, index, leaderEpoch int32) (metadata.PartitionID, int16) {
	switch {
	case lookup != nil:
		return 0, f.code("find topic", lookup)
	case index < 0 || int(index) >= len(topic.Partitions):
		return 0, kerr.UnknownTopicOrPartition.Code
	case leaderEpoch == -1 || leaderEpoch == protocol.LeaderEpoch:
		return topic.Partitions[index], 0
	case leaderEpoch < protocol.LeaderEpoch:
		return 0, kerr.FencedLeaderEpoch.Code
	}
	return 0, kerr.UnknownLeaderEpoch.Code
}

// finish writes the bounds of the partitions without an error, and the errors
// of those whose plan failed.
func (f *Fetcher) finish(r *fetching) {
	for i := range r.plans {
		slot, p := r.slots[i], &r.plans[i]
		switch {
		case slot.ErrorCode != 0:
		case errors.Is(p.err, metadata.ErrUnknownPartition):
			r.fail(slot, r.unknownTopic()) // its topic was deleted just now
		case p.err != nil:
			r.fail(slot, f.code("plan fetch", p.err))
		default:
			slot.HighWatermark = p.NextOffset
			slot.LastStableOffset = p.StableOffset
			slot.LogStartOffset = p.LogStartOffset
			if r.level == readCommitted && slot.AbortedTransactions == nil {
				slot.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
			}
		}
	}
}

// unknownTopic is the error of a topic that is not there, by what it was asked for.
func (r *fetching) unknownTopic() int16 {
	if r.req.Version >= 13 {
		return kerr.UnknownTopicID.Code
	}
	return kerr.UnknownTopicOrPartition.Code
}

// fail answers a partition with an error, in the form of Kafka's: no bounds.
func (r *fetching) fail(slot *kmsg.FetchResponseTopicPartition, code int16) {
	if code == kerr.KafkaStorageError.Code && r.req.Version < 6 {
		code = kerr.NotLeaderForPartition.Code
	}
	r.failed = true
	slot.ErrorCode = code
	slot.HighWatermark, slot.LastStableOffset, slot.LogStartOffset = -1, -1, -1
}

// code is the code of an error of finding or reading records. It logs errors
// that no rule covers.
func (f *Fetcher) code(doing string, err error) int16 {
	switch {
	case errors.Is(err, errOffsetOutOfRange):
		return kerr.OffsetOutOfRange.Code
	case errors.Is(err, errZstd):
		return kerr.UnsupportedCompressionType.Code
	case isDamage(err):
		return kerr.CorruptMessage.Code
	case errors.Is(err, errUnread):
		return kerr.KafkaStorageError.Code
	}
	if !errcode.Known(err) {
		f.reader.complain("a request failed for a reason that no client can act on", fmt.Errorf("%s: %w", doing, err))
	}
	return errcode.OfFetch(err)
}
