package metadata

import "context"

// Records deletes records from the front of partitions, and tells what is left.
// A partition's log start only ever rises.
type Records interface {
	// DeleteRecords moves the log starts of partitions, all in one change and one
	// entry of the feed. From then on no record before them is found. Safe to
	// repeat: an offset at or below the log start changes nothing, and what changes
	// nothing makes no commit. Of the runs that end before the new log starts most
	// are removed at once; the rest is left to TrimRuns.
	// Errors: ErrUnavailable (nothing happened), ErrOutcomeUnknown.
	DeleteRecords(ctx context.Context, deletions []RecordsDeletion) (RecordsDeleted, error)
	// TrimRuns removes up to limit runs that end before their partition's log
	// start, and the aborted transactions whose markers they are, counting the
	// files' live runs down, and returns how many runs: 0 when none are left. A run
	// that holds the log start stays. Maintenance calls it; nothing depends on when.
	TrimRuns(ctx context.Context, limit int) (int, error)
	// PartitionSizes returns the bytes of each partition's record batches, as
	// producers sent them, in the order asked; -1 where there is no such partition.
	// It reads every run of the partitions.
	PartitionSizes(ctx context.Context, partitions []PartitionID) ([]int64, error)
}

// AllRecords in place of an offset stands for the partition's next offset.
const AllRecords = -1

// RecordsDeletion asks to delete the records of a partition before an offset.
type RecordsDeletion struct {
	Partition PartitionID
	// Before becomes the log start if it lies behind it; AllRecords for the next offset.
	Before int64
}

// RecordsDeleted is what DeleteRecords did.
type RecordsDeleted struct {
	// Partitions[i] belongs to the i-th deletion of the call.
	Partitions []DeletedRecords
	// Commits holds the feed entry that the call made, if it made one.
	Commits []Commit
}

// DeletedRecords is the outcome of one RecordsDeletion.
type DeletedRecords struct {
	// LogStartOffset is that after the call; -1 with an error.
	LogStartOffset int64
	// Err is nil, ErrUnknownPartition or ErrOffsetOutOfRange.
	Err error
}

// LogStart is a partition's new log start.
type LogStart struct {
	Partition PartitionID
	Offset    int64
}
