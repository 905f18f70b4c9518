package metadata

import (
	"context"
	"time"

	"github.com/google/uuid"
)

// Store is everything that the agent asks of its metadata store. Code that
// needs less takes the role it needs.
type Store interface {
	Topics
	Log
	Records
	Feed
	Offsets
	Producers
	Agents
	Groups
	Transactions
	Configs
	Maintenance
	Leases
	Snapshots
	Inspection
	Halts

	// ClusterID is the cluster's ID as Kafka clients see it: 22 characters of
	// URL-safe base64, made once when the store was created.
	ClusterID(ctx context.Context) (string, error)
	// Ping reports whether the store answers and may be used; readiness uses it. Errors: ErrUnavailable, ErrHalted, ErrSchema.
	Ping(ctx context.Context) error
	// Close waits for calls under way and releases the connections.
	Close() error
}

// PartitionID names a partition in the store: small, dense, never reused. A
// stale one is therefore harmless: it names nothing.
type PartitionID int32

// MaxFileAge is how old a file's ID (a UUIDv7) may be by the store's clock
// when it commits. The orphan sweeper leaves younger objects alone.
const MaxFileAge = 10 * time.Minute

// Topic is a topic as stored.
type Topic struct {
	ID   uuid.UUID
	Name string
	// Partitions maps the partition index (0, 1, ...) to its ID in the store.
	Partitions []PartitionID
	// Configs holds what was set explicitly on the topic, in Kafka's names and
	// spelling; defaults are not stored.
	Configs map[string]string
	// Internal marks Kafka's own topics, which exist for tools to look at.
	Internal  bool
	CreatedAt time.Time
}

// NewTopic is what CreateTopic needs.
type NewTopic struct {
	Name       string
	Partitions int32
	Configs    map[string]string
	Internal   bool
}

// Topics creates, changes and lists topics. Every change takes a commit
// sequence number and shows in [Feed], by which agents refresh their caches.
type Topics interface {
	// CreateTopic creates the topic with log start and next offset 0 in each
	// partition. Errors: ErrTopicExists (the message names the topic that collides).
	CreateTopic(ctx context.Context, topic NewTopic) (Topic, error)
	// DeleteTopic removes the topic, its partitions, its producer states and
	// its runs, counting the files' live runs down. The topic is gone at once;
	// of a very large one, rows may be left to ReclaimDeleted. Errors: ErrUnknownTopic.
	DeleteTopic(ctx context.Context, id uuid.UUID) error
	// ReclaimDeleted removes up to limit runs and as many producer states that
	// deleted topics left behind, counting the files' live runs down, and
	// returns how many rows it removed: 0 when none are left. Maintenance calls
	// it; nothing depends on when.
	ReclaimDeleted(ctx context.Context, limit int) (int, error)
	// CreatePartitions grows the topic to count partitions. Errors:
	// ErrUnknownTopic, ErrPartitionCount.
	CreatePartitions(ctx context.Context, id uuid.UUID, count int32) (Topic, error)
	// AlterTopicConfigs changes the configs that are set on the topic. An edit that
	// changes nothing makes no commit. Errors: ErrUnknownTopic, the edit's.
	AlterTopicConfigs(ctx context.Context, id uuid.UUID, edit ConfigEdit) (Topic, error)
	// ListTopics returns all topics by name, and the number of the last
	// commit that they reflect.
	ListTopics(ctx context.Context) (topics []Topic, seq int64, err error)
	// TopicsByID returns those of the topics that exist, in no set order.
	TopicsByID(ctx context.Context, ids []uuid.UUID) ([]Topic, error)
	// TopicsByName is the same by name.
	TopicsByName(ctx context.Context, names []string) ([]Topic, error)
}

// Batch describes one record batch in a data file, as far as sequencing needs it.
type Batch struct {
	// Size is the batch's length in bytes.
	Size int32
	// Records is the number of offsets that it takes (last offset delta + 1).
	Records int32
	// MaxTimestamp is the largest record timestamp, in ms since the epoch.
	MaxTimestamp int64
	// ProducerID is -1 for a batch without idempotence; then the epoch and
	// the sequence are -1 too.
	ProducerID    int64
	ProducerEpoch int16
	// BaseSequence is the first record's sequence; it wraps at 2^31.
	BaseSequence int32
	// Transactional: the batch belongs to its producer's transaction (KIP-98).
	Transactional bool
	// AddsPartition: a transactional batch that adds the partition to the
	// transaction, and begins it, as TransactionV2 has it. Without it the partition must be in it.
	AddsPartition bool
}

// Encoding says how the bytes of an [Append] lie in the data file.
type Encoding int16

const (
	// EncodingRaw: the batches lie as they are; a part of them can be read by range.
	EncodingRaw Encoding = 0
	// EncodingFramed: the batches were compressed inside the file, in frames
	// that are read whole (package datafile).
	EncodingFramed Encoding = 1
	// EncodingMarker: the run is the end of a transaction and lies in no file (see [Marker.Run]).
	EncodingMarker Encoding = 2
)

// Append is what one data file adds to one partition: byte-adjacent batches
// in arrival order.
type Append struct {
	Partition PartitionID
	Encoding  Encoding
	// Position and StoredSize are where the bytes lie in the file.
	Position   int64
	StoredSize int32
	Batches    []Batch
}

// File is one uploaded data file that waits for its offsets. Appends hold each
// partition at most once.
type File struct {
	// ID is a UUIDv7, and the idempotency key of the commit.
	ID uuid.UUID
	// Size is the object's length in bytes.
	Size    int64
	Appends []Append
}

// Outcome is what the sequencer decided on one batch.
type Outcome struct {
	// BaseOffset is the batch's first offset; for a duplicate that of the
	// original. -1 with an error.
	BaseOffset int64
	// Duplicate: the batch had been committed before; its bytes in this file
	// are referenced by nothing.
	Duplicate bool
	// Err is nil, or one of ErrUnknownPartition, ErrFileTooOld, ErrOutOfOrderSequence,
	// ErrInvalidProducerEpoch, ErrProducerIDMapping, ErrInvalidTransactionState.
	Err error
}

// FileResult is what a commit decided on one file: Outcomes[i][j] is that of Appends[i].Batches[j].
type FileResult struct {
	Outcomes [][]Outcome
	// LogStartOffsets[i] is that of Appends[i].Partition at the time of the
	// call, -1 when unknown.
	LogStartOffsets []int64
}

// Run is one row of the index: contiguous bytes of one data file that hold
// contiguous offsets of one partition, in accepted batches; or the marker that ends
// a transaction (see [Marker.Run]).
type Run struct {
	Partition PartitionID
	// BaseOffset is the first offset; the run ends before BaseOffset+Records.
	BaseOffset int64
	Records    int32
	FileID     uuid.UUID
	Encoding   Encoding
	// Position and StoredSize are the bytes to read from the file.
	Position   int64
	StoredSize int32
	// Skip and Size cut the run out of what was read: after decoding (for
	// EncodingRaw the bytes themselves), the run is [Skip, Skip+Size).
	// A raw run always has Skip 0 and Size == StoredSize.
	Skip int32
	Size int32
	// MaxTimestamp is the largest of the partition up to and including this
	// run (ms): monotone, so a timestamp is found by search.
	MaxTimestamp int64
	// Merged: the run was written by a merge or by compaction. Its batches carry their
	// own offsets, which ascend and, after compaction, may leave some out, also the
	// first ones; but the last batch ends with the run (an empty one, if need be), so
	// whoever asks for an offset of the run finds a batch at it or behind it. The ends of
	// transactions lie among the batches, as control batches. Behind its bytes in the
	// file lies an index of them (package datafile).
	Merged bool
}

// NextOffset is the offset after the run's last record.
func (r Run) NextOffset() int64 { return r.BaseOffset + int64(r.Records) }

// CommitResult is what CommitFiles did.
type CommitResult struct {
	// Files[i] belongs to the i-th file of the call.
	Files []FileResult
	// Commits are the feed entries that this call made, in order; empty for
	// files that had been committed by an earlier call.
	Commits []Commit
}

// Log sequences data files and finds their runs again.
type Log interface {
	// CommitFiles assigns offsets to every batch of the files, in the order
	// given, in one transaction. A file that is refused for its age
	// (ErrFileTooOld) takes the files behind it in the call along, so that no
	// batch passes an earlier one of its producer. The objects must be durable before the call.
	// Safe to repeat with the same files: those already committed keep their
	// results. Errors: ErrUnavailable (nothing happened), ErrOutcomeUnknown.
	CommitFiles(ctx context.Context, files []File) (CommitResult, error)
	// FindRuns answers each query from one snapshot, in the order asked. Of
	// each partition it returns the run that contains the offset and those
	// after it, as far as MaxBytes and MaxRuns go but at least one.
	FindRuns(ctx context.Context, queries []RunQuery) ([]PartitionRuns, error)
}

// MaxRuns is the most runs that [Log.FindRuns] returns of one partition.
const MaxRuns = 256

// RunQuery asks for the runs of a partition from an offset on.
type RunQuery struct {
	Partition PartitionID
	Offset    int64
	// MaxBytes bounds the sum of Run.Size, but the first run comes whatever its
	// size. RunQuery.MaxRuns bounds the number of runs, from 1 to the constant
	// [MaxRuns] whatever it says.
	MaxBytes int64
	MaxRuns  int
}

// PartitionRuns answers a RunQuery.
type PartitionRuns struct {
	Bounds
	// Runs are contiguous and ascending; empty when the offset lies outside
	// [LogStartOffset, NextOffset).
	Runs []Run
	// Aborted are the aborted transactions that overlap the offsets from the one
	// asked to the end of Runs, by LastOffset.
	Aborted []AbortedTransaction
}

// Bounds are a partition's limits as of one snapshot.
type Bounds struct {
	// Exists is false when there is no such partition; the rest is then -1.
	Exists         bool
	LogStartOffset int64
	// NextOffset is Kafka's high watermark: the offset that the next record gets.
	NextOffset int64
	// StableOffset is Kafka's last stable offset: NextOffset, or the first offset of
	// an open transaction, though never before LogStartOffset.
	StableOffset int64
	// MaxTimestamp is the largest timestamp ever committed (ms), -1 without records.
	MaxTimestamp int64
}

// Offsets answers questions about offsets from the primary, never from a
// cache: what moves a consumer must be true.
type Offsets interface {
	// Bounds answers in the order asked.
	Bounds(ctx context.Context, partitions []PartitionID) ([]Bounds, error)
	// RunByTimestamp returns, of each query, the first run whose (running)
	// MaxTimestamp is at least the timestamp, and its Bounds; Found is false
	// when there is none. The exact record is in that run, or behind it where
	// deleted records had the timestamp: then the run may be a marker, too.
	RunByTimestamp(ctx context.Context, queries []TimestampQuery) ([]TimestampRun, error)
}

// TimestampQuery asks where a partition's records reach a timestamp (ms).
type TimestampQuery struct {
	Partition PartitionID
	Timestamp int64
}

// TimestampRun answers a TimestampQuery.
type TimestampRun struct {
	Bounds
	Found bool
	Run   Run
}

// Commit is one entry of the feed: what one data file added, transactions that
// ended, partitions that were compacted, or topics, configs or log starts that changed.
type Commit struct {
	// Seq numbers all changes of the store: no gaps, visible in order.
	Seq  int64
	Runs []Run
	// Topics are the IDs of topics that were created, altered or deleted.
	Topics []uuid.UUID
	// Configs are the resources whose configs changed.
	Configs []ConfigResource
	// LogStarts are the partitions whose log start rose, ascending and each once.
	LogStarts []LogStart
	// Stable are the last stable offsets after this commit of those partitions in
	// Runs that have an open transaction, ascending by partition. Of the others in
	// Runs it is the end of their last run.
	Stable []StableOffset
	// Aborted are the aborted transactions whose markers are in Runs, in their order.
	Aborted []AbortedTransaction
	// Compacted are the partitions that are compacted further than before, ascending and each once. Runs that
	// begin before the offset were replaced: those of earlier entries still tell the same offsets, but
	// hold records that are gone.
	Compacted []CompactedUntil
}

// Feed is the ordered tail of all changes. Each agent follows it.
type Feed interface {
	// LastSeq is the newest number, 0 before the first change.
	LastSeq(ctx context.Context) (int64, error)
	// Commits returns up to limit entries after the number, ascending. The
	// first may be larger than after+1 where old entries were trimmed: the
	// caller then drops what it had cached. Fewer than limit don't mean that
	// there are no more: a call also ends after about 8 MiB.
	Commits(ctx context.Context, after int64, limit int) ([]Commit, error)
	// TrimFeed deletes up to limit entries older than the age (at least
	// MaxFileAge, whatever it says: entries are also the replay records of
	// files) and returns how many. The newest entry stays, so that every
	// follower learns of what it missed.
	TrimFeed(ctx context.Context, olderThan time.Duration, limit int) (int, error)
}

// Producers hands out producer IDs, and shows and expires their state.
type Producers interface {
	// AllocateProducerIDs reserves count IDs that were never given out and
	// returns the first. It adds an entry to the Feed, with nothing in it.
	AllocateProducerIDs(ctx context.Context, count int) (first int64, err error)
	// ExpireProducers deletes up to limit producer states not written for the
	// age and returns how many. It spares those in an open transaction.
	ExpireProducers(ctx context.Context, idleFor time.Duration, limit int) (int, error)
	// ActiveProducers returns, in the order asked, the producers that have state
	// in each partition, by ID. A partition that doesn't exist has none.
	ActiveProducers(ctx context.Context, partitions []PartitionID) ([][]ActiveProducer, error)
}

// ActiveProducer is an idempotent producer that has written to a partition.
type ActiveProducer struct {
	ProducerID int64
	Epoch      int16
	// LastSequence is that of the last record of its last batch.
	LastSequence int32
	// SeenAt is when that batch was committed.
	SeenAt time.Time
	// TransactionStart is the first offset of its open transaction here, -1 without one.
	TransactionStart int64
}
