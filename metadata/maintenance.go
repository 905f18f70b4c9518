package metadata

import (
	"context"
	"time"

	"github.com/google/uuid"
)

// Maintenance is what the store does for background work: it hands out data files to
// merge, puts the runs of new files in place of older ones, finds what retention
// drops, and remembers which objects are to be deleted. Everything here is safe to
// repeat, to run on many agents at once and to be cut off anywhere. The only clock
// that counts is the store's.
type Maintenance interface {
	// Now is the store's clock.
	Now(ctx context.Context) (time.Time, error)

	// ClaimFiles gives the holder files to merge, which nobody else holds, the oldest
	// first; none when no merge is due. A claim ends by itself after claim.For, and
	// with the file.
	ClaimFiles(ctx context.Context, claim FileClaim) ([]ClaimedFile, error)
	// RenewFiles extends the holder's claims, and reports false when it has lost any of
	// them: another may work on those files now, which costs work but harms nothing.
	// Files that are gone, for their last run is, are no loss.
	RenewFiles(ctx context.Context, holder uuid.UUID, files []uuid.UUID, period time.Duration) (bool, error)
	// ReleaseFiles gives the holder's claims up. With settle, the files are not to be
	// merged again: they are damaged or missing (LevelDamaged).
	ReleaseFiles(ctx context.Context, holder uuid.UUID, files []uuid.UUID, settle bool) error
	// MergeBacklog tells of each level, from 0 to MaxFileLevel - 1, how many files wait
	// there, claimed or not, and since when.
	MergeBacklog(ctx context.Context) ([]LevelBacklog, error)

	// ReplaceRuns puts the runs of a new file in place of older ones. Each new run is taken, in
	// one transaction, or left on its own: see [NewRun]. The object
	// must be durable before the call. No offset changes hands, so the feed tells nobody:
	// the old files can be read until their grace period is over. A file that none of its
	// runs were taken from is dead at once. Safe to repeat: of a file that is known
	// already, it answers which runs stand. Errors, after which some of the runs may
	// have been taken: ErrFileTooOld, ErrUnavailable, ErrOutcomeUnknown.
	ReplaceRuns(ctx context.Context, replacement Replacement) (taken []bool, err error)

	// RetainedFrom answers each query with the log start that retention asks for, in
	// the order asked; never beyond the next offset. 0 where there is no such partition.
	// It changes nothing: DeleteRecords does.
	RetainedFrom(ctx context.Context, queries []RetentionQuery) ([]int64, error)

	// Compactions returns how far each partition is compacted, in the order asked.
	Compactions(ctx context.Context, partitions []PartitionID) ([]Compaction, error)
	// FinishCompactions notes that the partitions hold no record before the offsets that
	// a later record before the offset replaces, and no record of an aborted transaction. Aborted
	// transactions that end before what an earlier pass cleaned are forgotten, if that
	// was more than MaxFileAge ago (whoever reads by an older plan still needs them).
	// Of partitions that don't exist it notes nothing. It returns the feed entry that it made, if it
	// made one: the feed tells of partitions that are clean further than before, all in one entry. Safe to
	// repeat. Errors: ErrUnavailable (nothing is noted), ErrOutcomeUnknown.
	FinishCompactions(ctx context.Context, finished []CompactedUntil) ([]Commit, error)

	// DeadFiles returns up to limit files without a live run that lost the last one
	// before the time, the longest dead first.
	DeadFiles(ctx context.Context, diedBefore time.Time, limit int) ([]DeadFile, error)
	// ForgetFiles removes dead files, whose objects are deleted. Files that are not
	// dead stay.
	ForgetFiles(ctx context.Context, ids []uuid.UUID) error
	// KnownFiles reports of each ID whether the store knows a data file of it, live or dead.
	KnownFiles(ctx context.Context, ids []uuid.UUID) ([]bool, error)
}

// MaxFileLevel is how often a record is rewritten by merges at most. A file's level
// is 0 when it comes from producers, and one more than that of the files it was merged
// from; at MaxFileLevel it is settled.
const MaxFileLevel = 3

// LevelSettled is the level of files that no merge takes, unless they are sparse: their
// runs are large enough, or have been merged as often as any is.
const LevelSettled = -1

// LevelDamaged is the level of files that nobody could read, and no merge takes at all, until they can be read
// again ([Inspection].UnmarkFile).
const LevelDamaged = -2

// SettledRunBytes is the mean size of a file's runs from which on it is settled: to
// join runs of this size saves nobody anything.
const SettledRunBytes = 8 << 20

// FileLevel is the level at which a file is kept that would have the level: LevelSettled where that
// has reached MaxFileLevel or its runs are large.
func FileLevel(level int16, size int64, runs int) int16 {
	if level >= MaxFileLevel || runs > 0 && size/int64(runs) >= SettledRunBytes {
		return LevelSettled
	}
	return level
}

// FileClaim says which files somebody wants to merge.
type FileClaim struct {
	Holder uuid.UUID
	// For is how long the claim lasts.
	For time.Duration
	// Level is that of the files, or Sparse is set: then the files are those from level 1 on,
	// settled ones too, of which less than half is left (the size without the stored bytes
	// of runs that are gone), and one is enough.
	Level  int16
	Sparse bool
	// MaxFiles, MaxBytes and MaxRuns (of live runs) bound the claim, but the first file comes
	// whatever its size; it takes files in the order of their commits.
	MaxFiles int
	MaxBytes int64
	MaxRuns  int
	// A merge is due when the claim is full: when it has as much as it may have, or the next file
	// would be too much; and, if Due is not 0, when its oldest file was committed that
	// long ago and it has at least two files.
	Due time.Duration
}

// ClaimedFile is a file to merge.
type ClaimedFile struct {
	ID uuid.UUID
	// Seq orders files: the commit that brought the file, or the smallest of those
	// that it was merged from.
	Seq   int64
	Size  int64
	Level int16
	// Runs are the live runs that lie in the file, ascending by partition and offset,
	// and with the first file of a claim come, in the same order, the markers that
	// stand between the claim's runs and directly before or behind them, unless the run on
	// their other side lies in a file that somebody else holds: who merges that has them. Both without
	// partitions that were deleted, and what ends before the log start.
	Runs    []Run
	Markers []Run
}

// LevelBacklog is what waits at one level.
type LevelBacklog struct {
	Level int16
	Files int64
	Bytes int64
	// OldestAt is when the oldest of them was committed, zero without files.
	OldestAt time.Time
}

// Replacement is a new data file with runs that replace older ones.
type Replacement struct {
	FileID uuid.UUID
	// Size is the object's length in bytes.
	Size int64
	// Level is what [FileLevel] made of it; Seq as in [ClaimedFile].
	Level int16
	Seq   int64
	// Runs are ascending by partition and offset.
	Runs []NewRun
}

// NewRun is a run that replaces older ones. It is taken if the runs that stand in its range of
// offsets are those that it replaces, or the last of them while the others ended before the log start: what was
// trimmed meanwhile is no loss. If anything else stands there, or nothing, it is left.
type NewRun struct {
	// Run is merged, and has the replacement's FileID and the MaxTimestamp of the last run that it replaces.
	Run
	// Replaces are all the runs from BaseOffset to NextOffset, markers too, in order.
	Replaces []RunKey
}

// RunKey names a run.
type RunKey struct {
	BaseOffset int64
	FileID     uuid.UUID
}

// RetentionQuery asks what retention leaves of a partition.
type RetentionQuery struct {
	Partition PartitionID
	// Before drops runs whose largest timestamp is smaller (ms); -1 for no limit. A run
	// without timestamps (-1) counts by the time of its file's ID.
	Before int64
	// MaxBytes drops runs as long as what is left has at least so many bytes, as Kafka's
	// retention.bytes drops segments; -1 for no limit.
	MaxBytes int64
}

// Compaction is how far a partition is compacted. Of one that doesn't exist CleanUntil and
// DirtySince are -1, as its Bounds are.
type Compaction struct {
	Bounds
	// CleanUntil is the first offset that no pass has cleaned, at least the log start.
	CleanUntil int64
	// CleanBytes and DirtyBytes are the sizes of the runs before and from CleanUntil on; a
	// run that it lies in is dirty.
	CleanBytes int64
	DirtyBytes int64
	// DirtySince is the smallest running timestamp (ms) of the runs from CleanUntil on,
	// -1 without any.
	DirtySince int64
	// CleanedAt is when the last pass ended, zero before the first.
	CleanedAt time.Time
}

// CompactedUntil is how far a pass of compaction cleaned a partition: up to the offset, which it didn't.
type CompactedUntil struct {
	Partition PartitionID
	Offset    int64
}

// DeadFile is a file whose object is to be deleted.
type DeadFile struct {
	ID     uuid.UUID
	Size   int64
	DiedAt time.Time
}

// Leases let one agent at a time do a piece of work. They save work; nothing
// that is done under one may harm when two do it.
type Leases interface {
	// AcquireLease gives the holder the lease of the name until the period from now is over,
	// by the store's clock, also if it holds it already. False: another one has it. One that would last for longer than the
	// period from now gives way: it was taken for longer, before a config changed, or before the clock
	// went back. Leases that ended long ago are forgotten on the way.
	AcquireLease(ctx context.Context, holder uuid.UUID, name string, period time.Duration) (bool, error)
	// ReleaseLease gives it up if the holder has it.
	ReleaseLease(ctx context.Context, holder uuid.UUID, name string) error
}
