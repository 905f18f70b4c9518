// Package errcode says which Kafka error code an error of the metadata store,
// the object store or the protocol becomes on the wire.
//
// The rule: what passes by itself (a store that is away, a deadline) becomes a
// code on which every client retries, the same kind of API by the same kind of API;
// a client's fault becomes the code that Kafka answers with; anything else is
// UNKNOWN_SERVER_ERROR, which the caller logs ([Known] tells).
//
// It is a leaf: any package of the agent may import it, and it knows none of them.
package errcode

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/protocol"
	"github.com/wadi-log/wadi/protocol/configs"
)

// transient holds the codes of one kind of API for what passes by itself.
type transient struct {
	// unavailable: nothing was changed, try again.
	unavailable *kerr.Error
	// unknown: a change may have been made or not.
	unknown *kerr.Error
}

var (
	// Partition APIs. NOT_LEADER_OR_FOLLOWER makes clients ask for metadata and
	// try again, perhaps with another agent, and tells a producer that nothing was
	// stored; REQUEST_TIMED_OUT tells it that something may have been.
	produce = transient{kerr.NotLeaderForPartition, kerr.RequestTimedOut}
	// Java's consumer takes a code that it doesn't expect in a Fetch for fatal,
	// REQUEST_TIMED_OUT among them; a read changes nothing, so one code does.
	fetch = transient{kerr.NotLeaderForPartition, kerr.NotLeaderForPartition}
	// Admin clients take NOT_CONTROLLER for "find the controller and repeat",
	// and leave REQUEST_TIMED_OUT to their user, who looks whether it was done.
	controller = transient{kerr.NotController, kerr.RequestTimedOut}
	// The coordinator is where it was, so there is nothing to look up again
	// (COORDINATOR_NOT_AVAILABLE), only to wait. All of these calls may be repeated.
	coordinator = transient{kerr.CoordinatorLoadInProgress, kerr.CoordinatorLoadInProgress}
	// Only for topics that no agent was sure of: of a topic that exists, clients
	// (kafka-go) take LEADER_NOT_AVAILABLE for final.
	metadataOf = transient{kerr.LeaderNotAvailable, kerr.LeaderNotAvailable}
)

// Of returns the code for an error in a partition of what writes to it or changes it, 0 for nil: Produce, DeleteRecords.
func Of(err error) int16 { return code(err, produce) }

// OfFetch is [Of] for what reads partitions: Fetch, ListOffsets, OffsetForLeaderEpoch.
func OfFetch(err error) int16 { return code(err, fetch) }

// OfController is [Of] for what changes or describes topics and configs.
func OfController(err error) int16 { return code(err, controller) }

// OfCoordinator is [Of] for groups, transactions and InitProducerId.
func OfCoordinator(err error) int16 { return code(err, coordinator) }

// OfMetadata is [Of] for a topic in Metadata and DescribeTopicPartitions.
func OfMetadata(err error) int16 { return code(err, metadataOf) }

// Known is false for an error that no rule covers: its code is
// UNKNOWN_SERVER_ERROR, and it belongs into the log.
func Known(err error) bool { return Of(err) != kerr.UnknownServerError.Code }

func code(err error, t transient) int16 {
	if err == nil {
		return 0
	}
	for _, rule := range []struct {
		err  error
		code *kerr.Error
	}{
		// Both may wrap a deadline: what they say goes before it.
		{metadata.ErrOutcomeUnknown, t.unknown},
		{metadata.ErrUnavailable, t.unavailable},
		{metadata.ErrSchema, t.unavailable},

		{metadata.ErrTopicExists, kerr.TopicAlreadyExists},
		{metadata.ErrUnknownTopic, kerr.UnknownTopicOrPartition},
		{metadata.ErrUnknownPartition, kerr.UnknownTopicOrPartition},
		{metadata.ErrOffsetOutOfRange, kerr.OffsetOutOfRange},
		{metadata.ErrPartitionCount, kerr.InvalidPartitions},
		// The batch was not stored; sent again it comes in a new file.
		{metadata.ErrFileTooOld, kerr.NotLeaderForPartition},
		{metadata.ErrOutOfOrderSequence, kerr.OutOfOrderSequenceNumber},
		{metadata.ErrInvalidProducerEpoch, kerr.InvalidProducerEpoch},
		{metadata.ErrProducerIDMapping, kerr.InvalidProducerIDMapping},
		// For clients that know it; see package transaction.
		{metadata.ErrProducerFenced, kerr.ProducerFenced},
		{metadata.ErrInvalidTransactionState, kerr.InvalidTxnState},

		{protocol.ErrCorruptBatch, kerr.CorruptMessage},
		{protocol.ErrInvalidRecord, kerr.InvalidRecord},
		// Kafka answers a Produce from version 3 with an old format so.
		{protocol.ErrMagic, kerr.InvalidRecord},
		{protocol.ErrUnsupportedCodec, kerr.UnsupportedCompressionType},
		// Java's and franz-go's producers split such a batch and go on.
		{protocol.ErrTooLarge, kerr.MessageTooLarge},
		{protocol.ErrTopicName, kerr.InvalidTopicException},
		{protocol.ErrUnsupportedVersion, kerr.UnsupportedVersion},
		{protocol.ErrUnknownKey, kerr.UnsupportedVersion},
		{protocol.ErrMalformed, kerr.InvalidRequest},
		{configs.ErrInvalid, kerr.InvalidConfig},

		// Bytes that must be there are not, or the store refuses us: clients
		// retry while somebody mends it.
		{objstore.ErrNotFound, kerr.KafkaStorageError},
		{objstore.ErrRange, kerr.KafkaStorageError},
		{objstore.ErrConfig, kerr.KafkaStorageError},
		{objstore.ErrSlowDown, kerr.KafkaStorageError},

		{context.DeadlineExceeded, t.unknown},
		{context.Canceled, t.unknown},
	} {
		if errors.Is(err, rule.err) {
			return rule.code.Code
		}
	}
	return kerr.UnknownServerError.Code
}
