package rewrite

import (
	"errors"
	"fmt"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/protocol"
)

// ErrDamaged: the bytes that the index names are not there, or are not what was written.
// Asking again doesn't help. Whoever gets it first makes sure that the run still stands, by
// [Standing]: the object of one that was replaced long ago may be gone.
var ErrDamaged = errors.New("damaged data")

// RunError says which run could not be read. It wraps ErrDamaged or what kept the object
// store from answering.
type RunError struct {
	Run metadata.Run
	Err error
}

func (e *RunError) Error() string {
	return fmt.Sprintf("offsets %d to %d of partition %d, at byte %d of data file %v: %v",
		e.Run.BaseOffset, e.Run.NextOffset()-1, e.Run.Partition, e.Run.Position, e.Run.FileID, e.Err)
}

func (e *RunError) Unwrap() error { return e.Err }

// runError wraps what went wrong with a run, and says whether it is damage.
func runError(run metadata.Run, err error) error {
	for _, damage := range []error{objstore.ErrNotFound, objstore.ErrRange, datafile.ErrCorrupt, datafile.ErrVersion,
		protocol.ErrCorruptBatch, protocol.ErrMagic} {
		if errors.Is(err, damage) {
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
			break
		}
	}
	return &RunError{run, err}
}
