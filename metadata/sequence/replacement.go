package sequence

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

// ReplacementState is what the store knows, under its locks, of what a replacement
// is about. (It must be read after the rows that stand there were locked: a rival's
// rows are not in a snapshot from before the wait.)
type ReplacementState struct {
	// Now is the store's clock.
	Now time.Time
	// LogStarts lacks partitions that don't exist.
	LogStarts map[metadata.PartitionID]int64
	// Standing[i] are the rows that overlap the offsets of the i-th new run, ascending.
	Standing [][]metadata.Run
}

// ReplacementDecision is what a replacement does to the index.
type ReplacementDecision struct {
	// Taken[i] belongs to the i-th new run.
	Taken []bool
	// Removed are the rows that go, before Runs, which take their place, enter.
	Removed []metadata.Run
	Runs    []metadata.Run
	// LiveBytes is the new file's size without the stored bytes of runs that are left.
	LiveBytes int64
}

// DecideReplacement says which new runs are taken: see [metadata.NewRun]. The
// replacement must have passed [ValidateReplacement], and its file must not be
// known yet. Errors: ErrFileTooOld; and when a run's running timestamp is not that of the
// last run that it replaces.
func DecideReplacement(state ReplacementState, r metadata.Replacement) (ReplacementDecision, error) {
	if err := checkAge(r.FileID, state.Now); err != nil {
		return ReplacementDecision{}, err
	}
	d := ReplacementDecision{Taken: make([]bool, len(r.Runs)), LiveBytes: r.Size}
	for i, run := range r.Runs {
		start, exists := state.LogStarts[run.Partition]
		if !exists || !replaces(run, start, state.Standing[i]) {
			d.LiveBytes -= int64(run.StoredSize)
			continue
		}
		// The caller's mistake, and one that would lead lookups by time astray for good.
		if last := state.Standing[i][len(state.Standing[i])-1]; run.MaxTimestamp != last.MaxTimestamp {
			return ReplacementDecision{}, fmt.Errorf("run at %d of partition %d has timestamp %d, and ends with one of %d", run.BaseOffset, run.Partition, run.MaxTimestamp, last.MaxTimestamp)
		}
		d.Taken[i] = true
		d.Removed = append(d.Removed, state.Standing[i]...)
		d.Runs = append(d.Runs, run.Run)
	}
	return d, nil
}

// replaces: what stands is what the run replaces, but for runs at its beginning that
// were trimmed. Then the first that stands begins at or before the log start, for rows have no
// holes from there on; and one that reaches into the range from before it is somebody else's.
func replaces(run metadata.NewRun, logStart int64, standing []metadata.Run) bool {
	trimmed := len(run.Replaces) - len(standing)
	if trimmed < 0 || len(standing) == 0 {
		return false
	}
	if trimmed > 0 && standing[0].BaseOffset > logStart {
		return false
	}
	for i, key := range run.Replaces[trimmed:] {
		if standing[i].BaseOffset != key.BaseOffset || standing[i].FileID != key.FileID {
			return false
		}
		if i > 0 && standing[i-1].NextOffset() != key.BaseOffset {
			return false
		}
	}
	return standing[len(standing)-1].NextOffset() == run.NextOffset()
}

// ValidateReplacement reports what no correct caller sends.
func ValidateReplacement(r metadata.Replacement) error {
	if err := validateReplacement(r); err != nil {
		return fmt.Errorf("data file %s that replaces others: %w", r.FileID, err)
	}
	return nil
}

func validateReplacement(r metadata.Replacement) error {
	switch {
	case r.Size <= 0 || r.Seq < 0:
		return fmt.Errorf("%d bytes of commit %d", r.Size, r.Seq)
	case r.Level != metadata.LevelSettled && (r.Level < 1 || r.Level >= metadata.MaxFileLevel):
		return fmt.Errorf("no file is kept at level %d", r.Level)
	case len(r.Runs) == 0:
		return errors.New("no runs")
	}
	for i, run := range r.Runs {
		err := validateNewRun(r, run)
		if err == nil && i > 0 {
			if last := r.Runs[i-1]; run.Partition < last.Partition || run.Partition == last.Partition && run.BaseOffset < last.NextOffset() {
				err = errors.New("it does not follow the one before")
			}
		}
		if err != nil {
			return fmt.Errorf("run at %d of partition %d: %w", run.BaseOffset, run.Partition, err)
		}
	}
	return nil
}

func validateNewRun(r metadata.Replacement, run metadata.NewRun) error {
	switch {
	case run.FileID != r.FileID:
		return fmt.Errorf("it lies in file %s", run.FileID)
	case !run.Merged || run.Skip != 0:
		return errors.New("it is no run of a merged file")
	case run.Encoding != metadata.EncodingRaw && run.Encoding != metadata.EncodingFramed:
		return fmt.Errorf("unknown encoding %d", run.Encoding)
	case run.BaseOffset < 0 || run.Records <= 0 || run.BaseOffset > math.MaxInt64-int64(run.Records):
		return fmt.Errorf("%d records", run.Records)
	case run.Position < 0 || run.StoredSize <= 0 || run.Size <= 0 || run.Position > r.Size-int64(run.StoredSize):
		return fmt.Errorf("%d bytes at %d, %d decoded, in a file of %d", run.StoredSize, run.Position, run.Size, r.Size)
	case run.Encoding == metadata.EncodingRaw && run.Size != run.StoredSize:
		return fmt.Errorf("%d raw bytes stored in %d", run.Size, run.StoredSize)
	case len(run.Replaces) == 0 || run.Replaces[0].BaseOffset != run.BaseOffset:
		return errors.New("what it replaces does not begin with it")
	}
	for i, key := range run.Replaces {
		if key.FileID == r.FileID {
			return errors.New("it replaces a run of its own file")
		}
		if key.BaseOffset >= run.NextOffset() || i > 0 && key.BaseOffset <= run.Replaces[i-1].BaseOffset {
			return fmt.Errorf("what it replaces is out of order at %d", key.BaseOffset)
		}
	}
	return nil
}

// FileRuns is how many runs lie in a file, or leave it, and how many stored bytes they have.
type FileRuns struct {
	ID    uuid.UUID
	Runs  int
	Bytes int64
}

// CountFiles counts the runs by their files, ascending by ID: the order in which
// the stores lock files. Markers lie in none.
func CountFiles(runs []metadata.Run) []FileRuns {
	counts := map[uuid.UUID]FileRuns{}
	for _, r := range runs {
		if r.Encoding == metadata.EncodingMarker {
			continue
		}
		c := counts[r.FileID]
		counts[r.FileID] = FileRuns{ID: r.FileID, Runs: c.Runs + 1, Bytes: c.Bytes + int64(r.StoredSize)}
	}
	list := make([]FileRuns, 0, len(counts))
	for _, c := range counts {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b FileRuns) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return list
}
