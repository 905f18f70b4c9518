package errcode

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/protocol"
	"github.com/wadi-log/wadi/protocol/configs"
)

func TestCodes(t *testing.T) {
	kinds := map[string]func(error) int16{
		"produce": Of, "fetch": OfFetch, "controller": OfController, "coordinator": OfCoordinator, "metadata": OfMetadata,
	}
	all := func(e *kerr.Error) map[string]*kerr.Error {
		m := map[string]*kerr.Error{}
		for kind := range kinds {
			m[kind] = e
		}
		return m
	}
	unavailable := map[string]*kerr.Error{
		"produce": kerr.NotLeaderForPartition, "fetch": kerr.NotLeaderForPartition, "controller": kerr.NotController,
		"coordinator": kerr.CoordinatorLoadInProgress, "metadata": kerr.LeaderNotAvailable,
	}
	unknown := map[string]*kerr.Error{
		"produce": kerr.RequestTimedOut, "fetch": kerr.NotLeaderForPartition, "controller": kerr.RequestTimedOut,
		"coordinator": kerr.CoordinatorLoadInProgress, "metadata": kerr.LeaderNotAvailable,
	}
	for _, tc := range []struct {
		err  error
		want map[string]*kerr.Error
	}{
		{metadata.ErrUnavailable, unavailable},
		{metadata.ErrSchema, unavailable},
		{fmt.Errorf("%w: %w", metadata.ErrUnavailable, context.DeadlineExceeded), unavailable},
		{metadata.ErrOutcomeUnknown, unknown},
		{context.DeadlineExceeded, unknown},
		{context.Canceled, unknown},
		{metadata.ErrUnknownTopic, all(kerr.UnknownTopicOrPartition)},
		{metadata.ErrUnknownPartition, all(kerr.UnknownTopicOrPartition)},
		{metadata.ErrTopicExists, all(kerr.TopicAlreadyExists)},
		{metadata.ErrPartitionCount, all(kerr.InvalidPartitions)},
		{metadata.ErrOffsetOutOfRange, all(kerr.OffsetOutOfRange)},
		{metadata.ErrFileTooOld, all(kerr.NotLeaderForPartition)},
		{metadata.ErrOutOfOrderSequence, all(kerr.OutOfOrderSequenceNumber)},
		{metadata.ErrInvalidProducerEpoch, all(kerr.InvalidProducerEpoch)},
		{metadata.ErrProducerIDMapping, all(kerr.InvalidProducerIDMapping)},
		{metadata.ErrProducerFenced, all(kerr.ProducerFenced)},
		{metadata.ErrInvalidTransactionState, all(kerr.InvalidTxnState)},
		{protocol.ErrCorruptBatch, all(kerr.CorruptMessage)},
		{protocol.ErrInvalidRecord, all(kerr.InvalidRecord)},
		{protocol.ErrMagic, all(kerr.InvalidRecord)},
		{protocol.ErrUnsupportedCodec, all(kerr.UnsupportedCompressionType)},
		{protocol.ErrTooLarge, all(kerr.MessageTooLarge)},
		{protocol.ErrTopicName, all(kerr.InvalidTopicException)},
		{protocol.ErrUnsupportedVersion, all(kerr.UnsupportedVersion)},
		{protocol.ErrMalformed, all(kerr.InvalidRequest)},
		{configs.ErrInvalid, all(kerr.InvalidConfig)},
		{objstore.ErrNotFound, all(kerr.KafkaStorageError)},
		{objstore.ErrRange, all(kerr.KafkaStorageError)},
		{objstore.ErrConfig, all(kerr.KafkaStorageError)},
		{objstore.ErrSlowDown, all(kerr.KafkaStorageError)},
		{errors.New("surprise"), all(kerr.UnknownServerError)},
	} {
		wrapped := fmt.Errorf("while testing: %w", tc.err)
		for kind, of := range kinds {
			if got := of(wrapped); got != tc.want[kind].Code {
				t.Errorf("%s: %v is %v, want %v", kind, tc.err, kerr.ErrorForCode(got), tc.want[kind])
			}
		}
	}
	for kind, of := range kinds {
		if got := of(nil); got != 0 {
			t.Errorf("%s: nil is %d", kind, got)
		}
	}
}

// TestTransientCodesAreRetriable holds the package to its rule with franz-go's opinion of each code.
func TestTransientCodesAreRetriable(t *testing.T) {
	for _, err := range []error{
		metadata.ErrUnavailable, metadata.ErrOutcomeUnknown, metadata.ErrFileTooOld, context.DeadlineExceeded, objstore.ErrConfig, objstore.ErrNotFound,
	} {
		for kind, of := range map[string]func(error) int16{
			"produce": Of, "fetch": OfFetch, "controller": OfController, "coordinator": OfCoordinator, "metadata": OfMetadata,
		} {
			if e := kerr.TypedErrorForCode(of(err)); !e.Retriable {
				t.Errorf("%s: %v becomes %s, on which clients give up", kind, err, e.Message)
			}
		}
	}
}

func TestKnown(t *testing.T) {
	if Known(errors.New("surprise")) {
		t.Error("an unforeseen error counts as known")
	}
	if !Known(metadata.ErrUnavailable) || !Known(nil) {
		t.Error("a foreseen error, or none, counts as unknown")
	}
}
