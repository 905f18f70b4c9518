package recovery

import (
	"time"

	"github.com/google/uuid"
)

// Report says what a recovery restored, exactly, and what it could not.
type Report struct {
	// DryRun: nothing was changed.
	DryRun   bool           `json:"dry_run"`
	Snapshot SnapshotReport `json:"snapshot"`
	Files    FilesReport    `json:"files"`
	Topics   []*TopicReport `json:"topics"`
	// Transactions were open in the snapshot, or have written since.
	Transactions []TransactionReport `json:"transactions"`
	// TransactionsEnded is how they were ended: "abort", "commit", or "" if there are none, or it was not said.
	TransactionsEnded string `json:"transactions_ended"`
	// Missing are data files of the snapshot that are not in the bucket, Damaged those that came later and can't
	// be read, or parts of them. Their records are lost.
	Missing []MissingFile `json:"missing"`
	Damaged []DamagedFile `json:"damaged"`
}

// SnapshotReport is the snapshot that the recovery began with.
type SnapshotReport struct {
	Name      string    `json:"name"`
	At        time.Time `json:"at"`
	ClusterID string    `json:"cluster_id"`
	Rows      int64     `json:"rows"`
}

// FilesReport counts data files.
type FilesReport struct {
	// Listed are all in the bucket, Known those that the snapshot has.
	Listed int `json:"listed"`
	Known  int `json:"known"`
	// Restored came after the snapshot, from producers; ByCommit of them are in the exact order of their commits.
	Restored int `json:"restored"`
	ByCommit int `json:"by_commit"`
	// Merged are those made since of others: they only tell the order.
	Merged int `json:"merged"`
	// Orphans are older than anything that the snapshot may lack. They are left to the sweeper.
	Orphans int `json:"orphans"`
	// Contradictions counts files whose places in the order go round in a circle.
	Contradictions int `json:"contradictions"`
}

// TopicReport is what became of one topic.
type TopicReport struct {
	ID   uuid.UUID `json:"id"`
	Name string    `json:"name"`
	// Created: the snapshot doesn't know the topic. Its configs, its name unless it was given, and partitions without
	// records are lost.
	Created bool `json:"created,omitempty"`
	// AddedPartitions are those that the snapshot doesn't know.
	AddedPartitions int `json:"added_partitions,omitempty"`
	// SnapshotRecords is the number of offsets that the snapshot has, RestoredRecords that of those after it.
	SnapshotRecords int64 `json:"snapshot_records"`
	RestoredRecords int64 `json:"restored_records"`
	// Unproven of the restored records are in files of which nothing says whether they were committed: some may
	// be of producers that were never answered. LeftOver of these were made well before the snapshot, and
	// were most likely never committed.
	Unproven int64 `json:"unproven_records"`
	LeftOver int64 `json:"left_over_records"`
	// ByClock are the restored records in Ranges, whose order is that of agents' clocks alone.
	ByClock int64   `json:"by_clock_records"`
	Ranges  []Range `json:"by_clock,omitempty"`
	// Duplicates are batches that producers had sent twice, and that are there once.
	Duplicates int `json:"duplicate_batches"`
	// Forced are batches that don't follow their producer's last one, and were restored all the same.
	Forced []Forced `json:"forced,omitempty"`
}

// Range is a range of offsets of a partition; To is exclusive.
type Range struct {
	Partition int32       `json:"partition"`
	From      int64       `json:"from"`
	To        int64       `json:"to"`
	Files     []uuid.UUID `json:"files"`
}

// Forced is a batch that the sequencer would have refused.
type Forced struct {
	Partition  int32     `json:"partition"`
	Offset     int64     `json:"offset"`
	Records    int32     `json:"records"`
	File       uuid.UUID `json:"file"`
	ProducerID int64     `json:"producer_id"`
	Reason     string    `json:"reason"`
}

// TransactionReport is a transaction of which nobody knows how it ended.
type TransactionReport struct {
	// ID is the transactional ID, "" if the snapshot doesn't know it. (JSON has what is no text in it replaced.)
	ID         string `json:"transactional_id"`
	ProducerID int64  `json:"producer_id"`
	// Open: it was, in the snapshot.
	Open bool `json:"open_in_snapshot"`
	// Records were restored since the snapshot. There may be several transactions of them.
	Records    int64                  `json:"restored_records"`
	Partitions []TransactionPartition `json:"partitions"`
	// Offsets is the number of offsets that wait for its end.
	Offsets int `json:"pending_offsets"`
}

// TransactionPartition is where a transaction has written.
type TransactionPartition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	// From is its first offset that is undecided.
	From int64 `json:"from"`
}

// MissingFile is a data file that the snapshot knows and the bucket doesn't have.
type MissingFile struct {
	ID     uuid.UUID      `json:"id"`
	Ranges []MissingRange `json:"ranges"`
}

// MissingRange is what the file had of a partition.
type MissingRange struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	From      int64  `json:"from"`
	To        int64  `json:"to"`
}

// DamagedFile is an object that can't be read, or what of it can't. Then the rest of it was restored.
type DamagedFile struct {
	Key string `json:"key"`
	// Topic and Partition are of the section that is damaged, TopicID nil if all of the file is.
	TopicID   *uuid.UUID `json:"topic_id,omitempty"`
	Partition int32      `json:"partition,omitempty"`
	Problem   string     `json:"problem"`
}

// Whole tells that nothing is known to be lost.
func (r *Report) Whole() bool { return len(r.Missing)+len(r.Damaged) == 0 }
