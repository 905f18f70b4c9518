package sequence

import (
	"math"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

// runBuilder cuts the accepted batches of one append into runs. Their offsets
// are contiguous, since nothing else commits in between; so two neighbours
// share a run unless bytes that were left out lie between them.
type runBuilder struct {
	file   uuid.UUID
	source metadata.Append
	runs   []metadata.Run
	// skip is where the next batch starts in the decoded bytes.
	skip int32
	// open: the last run ends at skip.
	open bool
}

// leaveOut passes over a batch that was not accepted.
func (r *runBuilder) leaveOut(b metadata.Batch) {
	r.skip += b.Size
	r.open = false
}

// add puts the next batch, which gets the partition's next offset, into a run.
func (r *runBuilder) add(b metadata.Batch, p Partition) {
	// Run.Records is 32 bits wide, offsets are not.
	if r.open && r.runs[len(r.runs)-1].Records > math.MaxInt32-b.Records {
		r.open = false
	}
	if !r.open {
		r.runs = append(r.runs, r.start(p.NextOffset))
		r.open = true
	}
	run := &r.runs[len(r.runs)-1]
	run.Records += b.Records
	run.Size += b.Size
	run.MaxTimestamp = p.MaxTimestamp
	if run.Encoding == metadata.EncodingRaw {
		run.StoredSize = run.Size
	}
	r.skip += b.Size
}

// start makes an empty run at skip. Raw bytes are read by range; framed ones
// are read whole, decoded, and cut.
func (r *runBuilder) start(offset int64) metadata.Run {
	run := metadata.Run{
		Partition:  r.source.Partition,
		BaseOffset: offset,
		FileID:     r.file,
		Encoding:   r.source.Encoding,
	}
	if run.Encoding == metadata.EncodingRaw {
		run.Position = r.source.Position + int64(r.skip)
	} else {
		run.Position = r.source.Position
		run.StoredSize = r.source.StoredSize
		run.Skip = r.skip
	}
	return run
}
