package metadata

import (
	"context"
	"iter"
	"time"

	"github.com/google/uuid"
)

// Snapshots takes everything that must survive the store out of it, and puts it into an
// empty one, of either kind.
//
// A snapshot has no feed: whoever follows it begins anew. Nor has it what the next
// moments bring back: agents, what they heard of members, leases and claims.
type Snapshots interface {
	// ExportSnapshot calls visit with each row of the store, as one consistent read sees
	// them: first the Head, then kind after kind in the order of [SnapshotRow]'s
	// fields, within a kind in no set order. The row is visit's to keep. Its error ends the export
	// and is returned as it is. Changes of the store don't wait for an export, but the database keeps what
	// they replace until it ends: visit should not dawdle.
	ExportSnapshot(ctx context.Context, visit func(SnapshotRow) error) error
	// ImportSnapshot fills the store, which must be empty and not be used meanwhile, with the
	// rows, in the order of ExportSnapshot, in one transaction: whatever goes wrong, it is
	// empty still. The cluster ID becomes the snapshot's, also for
	// this Store; others that are open keep the former one. The feed begins at Head.LastSeq.
	// Errors: those of rows, ErrStoreNotEmpty, ErrUnavailable (nothing happened), ErrOutcomeUnknown.
	ImportSnapshot(ctx context.Context, rows iter.Seq2[SnapshotRow, error]) error
	// SnapshotState is the Head.State that an export would have now.
	SnapshotState(ctx context.Context) (string, error)

	// NoteSnapshot remembers that a durable snapshot holds everything that was committed before
	// the time, by the store's clock. An earlier time than the one noted changes nothing, unless that one is still
	// to come: then the clock went back.
	NoteSnapshot(ctx context.Context, at time.Time) error
	// LastSnapshot is the time noted last; false if none ever was. What was removed from
	// the store after it, the newest snapshot may still name.
	LastSnapshot(ctx context.Context) (at time.Time, ok bool, err error)
}

// SnapshotVersion is that of the rows below. It rises when an older wadi would misread them.
const SnapshotVersion = 1

// SnapshotRow is one row of a snapshot: one of its fields is set. Its JSON is how snapshots are
// kept. What clients name freely is in bytes, since it need not be text; times are to the
// microsecond, of some things, in some stores, to the millisecond; -1 stands for no offset.
type SnapshotRow struct {
	Head                 *SnapshotHead                 `json:"head,omitempty"`
	Topic                *SnapshotTopic                `json:"topic,omitempty"`
	Partition            *SnapshotPartition            `json:"partition,omitempty"`
	DeletedPartition     *SnapshotDeletedPartition     `json:"deleted_partition,omitempty"`
	Configs              *SnapshotConfigs              `json:"configs,omitempty"`
	Group                *SnapshotGroup                `json:"group,omitempty"`
	GroupState           *SnapshotGroupState           `json:"group_state,omitempty"`
	GroupOffset          *SnapshotGroupOffset          `json:"group_offset,omitempty"`
	Transaction          *SnapshotTransaction          `json:"transaction,omitempty"`
	TransactionPartition *SnapshotTransactionPartition `json:"transaction_partition,omitempty"`
	TransactionGroup     *SnapshotTransactionGroup     `json:"transaction_group,omitempty"`
	TransactionOffset    *SnapshotTransactionOffset    `json:"transaction_offset,omitempty"`
	Aborted              *SnapshotAborted              `json:"aborted,omitempty"`
	Compaction           *SnapshotCompaction           `json:"compaction,omitempty"`
	Producer             *SnapshotProducer             `json:"producer,omitempty"`
	DeadFile             *SnapshotDeadFile             `json:"dead_file,omitempty"`
	File                 *SnapshotFile                 `json:"file,omitempty"`
	Run                  *SnapshotRun                  `json:"run,omitempty"`
}

// SnapshotHead says of what store the snapshot is, and what it hands out next.
type SnapshotHead struct {
	ClusterID string `json:"cluster_id"`
	// At is when the export began, by the store's clock.
	At time.Time `json:"at"`
	// State differs between two snapshots if what they hold does, but for rows that nothing
	// finds any more. It means nothing to another store.
	State           string      `json:"state"`
	LastSeq         int64       `json:"last_seq"`
	NextPartitionID PartitionID `json:"next_partition_id"`
	NextProducerID  int64       `json:"next_producer_id"`
	// GroupVersion is the last one that a group got.
	GroupVersion int64 `json:"group_version"`
}

// SnapshotTopic is a topic.
type SnapshotTopic struct {
	ID         uuid.UUID         `json:"id"`
	Name       string            `json:"name"`
	Internal   bool              `json:"internal,omitempty"`
	Partitions []PartitionID     `json:"partitions"`
	Configs    map[string]string `json:"configs"`
	CreatedAt  time.Time         `json:"created_at"`
}

// SnapshotPartition is a partition of a topic.
type SnapshotPartition struct {
	ID             PartitionID `json:"id"`
	LogStartOffset int64       `json:"log_start_offset"`
	NextOffset     int64       `json:"next_offset"`
	MaxTimestamp   int64       `json:"max_timestamp"`
	// FirstUnstable is the smallest first offset of the open transactions that have
	// written to it, LastAborted the marker of the last one that was aborted.
	FirstUnstable int64 `json:"first_unstable"`
	LastAborted   int64 `json:"last_aborted"`
}

// SnapshotDeletedPartition is one of a deleted topic that has left rows behind.
type SnapshotDeletedPartition struct {
	ID PartitionID `json:"id"`
}

// SnapshotConfigs is what is set on a [ConfigResource].
type SnapshotConfigs struct {
	Kind    ConfigKind        `json:"kind"`
	Name    []byte            `json:"name"`
	Configs map[string]string `json:"configs"`
}

// SnapshotGroup is a group, but for its state.
type SnapshotGroup struct {
	Key          uuid.UUID `json:"key"` // see GroupKey
	Name         []byte    `json:"name"`
	Version      int64     `json:"version"`
	Type         string    `json:"type"`
	ProtocolType []byte    `json:"protocol_type"`
	Phase        string    `json:"phase"`
	Due          time.Time `json:"due,omitzero"`
}

// SnapshotGroupState is the state of the group.
type SnapshotGroupState struct {
	Key     uuid.UUID `json:"key"`
	Version int64     `json:"version"`
	State   []byte    `json:"state"`
}

// SnapshotGroupOffset is a committed offset.
type SnapshotGroupOffset struct {
	Group       uuid.UUID   `json:"group"`
	Partition   PartitionID `json:"partition"`
	Offset      int64       `json:"offset"`
	LeaderEpoch int32       `json:"leader_epoch"`
	CommittedAt time.Time   `json:"committed_at"`
	ExpireAt    time.Time   `json:"expire_at,omitzero"`
	Metadata    []byte      `json:"metadata,omitempty"`
}

// SnapshotTransaction is a transactional ID.
type SnapshotTransaction struct {
	Key            uuid.UUID          `json:"key"` // see TransactionKey
	Name           []byte             `json:"name"`
	ProducerID     int64              `json:"producer_id"`
	Epoch          int16              `json:"epoch"`
	LastProducerID int64              `json:"last_producer_id"`
	LastEpoch      int16              `json:"last_epoch"`
	State          TransactionState   `json:"state"`
	Version        TransactionVersion `json:"version"`
	TimeoutMs      int32              `json:"timeout_ms"`
	StartedAt      time.Time          `json:"started_at,omitzero"`
	UpdatedAt      time.Time          `json:"updated_at"`
}

// SnapshotTransactionPartition is a partition of an open transaction.
type SnapshotTransactionPartition struct {
	ProducerID  int64       `json:"producer_id"`
	Partition   PartitionID `json:"partition"`
	FirstOffset int64       `json:"first_offset"`
}

// SnapshotTransactionGroup is a group of an open transaction.
type SnapshotTransactionGroup struct {
	ProducerID int64     `json:"producer_id"`
	Group      uuid.UUID `json:"group"`
	Name       []byte    `json:"name"`
}

// SnapshotTransactionOffset is an offset that waits for its transaction's end.
type SnapshotTransactionOffset struct {
	ProducerID  int64       `json:"producer_id"`
	Group       uuid.UUID   `json:"group"`
	Partition   PartitionID `json:"partition"`
	Offset      int64       `json:"offset"`
	LeaderEpoch int32       `json:"leader_epoch"`
	PutAt       time.Time   `json:"put_at"`
	Metadata    []byte      `json:"metadata,omitempty"`
}

// SnapshotAborted is an [AbortedTransaction].
type SnapshotAborted struct {
	Partition    PartitionID `json:"partition"`
	ProducerID   int64       `json:"producer_id"`
	FirstOffset  int64       `json:"first_offset"`
	LastOffset   int64       `json:"last_offset"`
	StableOffset int64       `json:"stable_offset"`
}

// SnapshotCompaction is how far a partition is compacted: see package sequence.
type SnapshotCompaction struct {
	Partition    PartitionID `json:"partition"`
	CleanUntil   int64       `json:"clean_until"`
	CleanedAt    time.Time   `json:"cleaned_at"`
	SettledUntil int64       `json:"settled_until"`
	SettledAt    time.Time   `json:"settled_at"`
}

// SnapshotProducer is the state of an idempotent producer in a partition. Its Batches are
// as package rowcodec encodes them.
type SnapshotProducer struct {
	Partition  PartitionID `json:"partition"`
	ProducerID int64       `json:"producer_id"`
	Epoch      int16       `json:"epoch"`
	Batches    []byte      `json:"batches"`
	SeenAt     time.Time   `json:"seen_at"`
}

// SnapshotDeadFile is a [DeadFile].
type SnapshotDeadFile struct {
	ID     uuid.UUID `json:"id"`
	Size   int64     `json:"size"`
	DiedAt time.Time `json:"died_at"`
}

// SnapshotFile is a live data file.
type SnapshotFile struct {
	ID          uuid.UUID `json:"id"`
	Size        int64     `json:"size"`
	Level       int16     `json:"level"`
	Seq         int64     `json:"seq"`
	CommittedAt time.Time `json:"committed_at"`
	LiveRuns    int32     `json:"live_runs"`
	LiveBytes   int64     `json:"live_bytes"`
	// Partitions and Offsets are the keys of the runs that it came with.
	Partitions []PartitionID `json:"partitions"`
	Offsets    []int64       `json:"offsets"`
}

// SnapshotRun is a [Run].
type SnapshotRun struct {
	Partition    PartitionID `json:"partition"`
	BaseOffset   int64       `json:"base_offset"`
	Records      int32       `json:"records"`
	File         uuid.UUID   `json:"file"`
	Encoding     Encoding    `json:"encoding,omitempty"`
	Position     int64       `json:"position"`
	StoredSize   int32       `json:"stored_size"`
	Skip         int32       `json:"skip,omitempty"`
	Size         int32       `json:"size"`
	MaxTimestamp int64       `json:"max_timestamp"`
	Merged       bool        `json:"merged,omitempty"`
}
