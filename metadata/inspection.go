package metadata

import (
	"context"
	"time"

	"github.com/google/uuid"
)

// Inspection lets a check look at all that the store knows of data files and of the
// index, right or wrong, while agents work. Each call answers from one snapshot, and keeps nobody
// waiting but for a repair.
type Inspection interface {
	// ListFiles returns up to limit data files, live and dead, ascending by ID (bytewise), from the
	// first behind the one given on, each with its rows. Fewer than limit don't mean that there are
	// no more, for a call also ends after about InspectedRows rows; none does.
	ListFiles(ctx context.Context, after uuid.UUID, limit int) ([]InspectedFile, error)
	// InspectFiles returns what is known of each file, without rows, in the order asked.
	InspectFiles(ctx context.Context, ids []uuid.UUID) ([]InspectedFile, error)
	// InspectRows returns up to limit rows of the partition, markers too, ascending by base offset, from
	// the last one on that begins at or before the offset, or the first one.
	InspectRows(ctx context.Context, partition PartitionID, offset int64, limit int) (PartitionRows, error)
	// RecountFiles counts the rows of the live files in the index, in the order asked; of
	// others Known is false. It reads all of the index, once. With repair it corrects what is wrong,
	// which keeps those waiting who count the same files down: a file without a row is
	// dead then. Safe to repeat. Errors: ErrUnavailable (nothing happened), ErrOutcomeUnknown.
	RecountFiles(ctx context.Context, ids []uuid.UUID, repair bool) ([]FileRecount, error)
	// UnmarkFile gives a live file that is marked as damaged (LevelDamaged) the level, from which merges take it again,
	// and reports whether it did. Any other file stays as it is. Safe to repeat, although whoever lost the reply may hear that it did not.
	UnmarkFile(ctx context.Context, id uuid.UUID, level int16) (bool, error)
}

// InspectedRows is how many rows a call of ListFiles returns at most, beyond those of one file.
const InspectedRows = 100_000

// FileState is what the store knows of a data file.
type FileState int

const (
	// FileUnknown: nothing.
	FileUnknown FileState = iota
	// FileLive: it has, or should have, rows in the index.
	FileLive
	// FileDead: it has lost its last row, and its object is to be deleted.
	FileDead
)

// InspectedFile is a data file as the store has it.
type InspectedFile struct {
	ID    uuid.UUID
	State FileState
	// Size is the object's length in bytes.
	Size int64
	// The rest but for DiedAt is of live files only. LiveRuns and LiveBytes are what the store
	// counts; see RecountFiles.
	Level     int16
	Seq       int64
	LiveRuns  int
	LiveBytes int64
	DiedAt    time.Time
	// Runs are the rows that name the file and are among the keys that it came with, ascending
	// by partition and offset; also of partitions that were deleted, and before the log start.
	// KeysKnown is false for files whose keys the store doesn't know; then Runs is empty.
	Runs      []Run
	KeysKnown bool
}

// PartitionRows is a slice of a partition's rows. They should follow one another
// without gaps and overlaps; those before the log start are to be trimmed.
type PartitionRows struct {
	Bounds
	// Deleted: the partition's topic was deleted, and its rows are to be reclaimed.
	Deleted bool
	Runs    []Run
	// Aborted are the aborted transactions whose markers lie in the slice, and, if it is the last one,
	// behind it, by LastOffset.
	Aborted []AbortedTransaction
}

// FileRecount is what a live file says of its rows, and what the index says.
type FileRecount struct {
	Known bool
	// LiveRuns and LiveBytes are what the file said.
	LiveRuns  int
	LiveBytes int64
	// Rows and RowBytes are how many rows name the file, and the sum of their stored sizes.
	Rows     int
	RowBytes int64
	// Unkeyed are the rows that are not among the file's keys, all where those are not known: merges don't find them.
	Unkeyed int
	// RightBytes is LiveBytes if that can be, or the nearest that can: what counts is lost when runs
	// go, so it is only known to lie between the file's size and the bytes of its merged runs.
	RightBytes int64
}

// Wrong reports whether a repair changes anything.
func (c FileRecount) Wrong() bool {
	return c.Known && (c.LiveRuns != c.Rows || c.LiveBytes != c.RightBytes || c.Unkeyed > 0)
}
