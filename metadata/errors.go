package metadata

import "errors"

// Errors of a whole call. Implementations wrap them with what they were doing.
var (
	// ErrUnavailable: the store could not be reached or refused for now, and
	// nothing was changed. Retry later.
	ErrUnavailable = errors.New("metadata store unavailable")
	// ErrNoConnection comes with ErrUnavailable: the store is there, but has as many connections as it
	// takes, or takes none yet. Waiting helps.
	ErrNoConnection = errors.New("no connection to the metadata store is free")
	// ErrOutcomeUnknown: the connection broke while a change may have been
	// committed. Retry with the same idempotency key (file ID).
	ErrOutcomeUnknown = errors.New("outcome of metadata change unknown")
	// ErrTopicExists: a topic of this name exists, or its name collides with
	// one ('.' and '_' are the same in Kafka's metric names).
	ErrTopicExists = errors.New("topic exists")
	// ErrUnknownTopic: no topic of this name or ID.
	ErrUnknownTopic = errors.New("unknown topic")
	// ErrUnknownPartition: no such partition, or no longer.
	ErrUnknownPartition = errors.New("unknown partition")
	// ErrPartitionCount: CreatePartitions asked for fewer partitions than there are, or as many.
	ErrPartitionCount = errors.New("partition count must grow")
	// ErrNodeIDInUse: a live agent holds the node ID.
	ErrNodeIDInUse = errors.New("node ID in use by a live agent")
	// ErrNameInUse: a process that started later has registered under an agent's name.
	ErrNameInUse = errors.New("name in use by a process that started later")
	// ErrGroupVersion: the group changed since it was read; read it again.
	ErrGroupVersion = errors.New("group changed meanwhile")
	// ErrStoreNotEmpty: a snapshot can only be put into a store that nothing was ever
	// written to, and that no agent runs on.
	ErrStoreNotEmpty = errors.New("the metadata store is not empty")
	// ErrSchema: the database's schema is missing, older or newer than this
	// binary; the message names `wadi migrate`.
	ErrSchema = errors.New("metadata schema does not fit this version of wadi")
)

// ErrOffsetOutOfRange, as [DeletedRecords.Err]: the offset lies beyond the
// partition's next one, or is no offset.
var ErrOffsetOutOfRange = errors.New("offset out of range")

// Errors of one batch in a commit, as [Outcome.Err]. None of them harms
// the other batches of the file.
var (
	// ErrFileTooOld: the file's ID is older than [MaxFileAge] by the store's
	// clock; the orphan sweeper may already have deleted the object.
	ErrFileTooOld = errors.New("data file is too old to commit")
	// ErrOutOfOrderSequence: the batch does not follow its producer's last one.
	ErrOutOfOrderSequence = errors.New("out of order sequence number")
	// ErrInvalidProducerEpoch: a newer epoch of the producer has written (the
	// sender is fenced).
	ErrInvalidProducerEpoch = errors.New("invalid producer epoch")
)

// Errors of transactions, as [TransactionResult.Err]; of a batch as [Outcome.Err] the
// first and the last, and ErrInvalidProducerEpoch for the second.
var (
	// ErrProducerIDMapping: there is no such transactional ID, or it is another producer's.
	ErrProducerIDMapping = errors.New("the producer ID is not that of the transactional ID")
	// ErrProducerFenced: the transactional ID has a newer producer, or its transaction timed out.
	ErrProducerFenced = errors.New("producer fenced")
	// ErrInvalidTransactionState: what was asked can't be done in the transaction's state.
	ErrInvalidTransactionState = errors.New("invalid transaction state")
)
