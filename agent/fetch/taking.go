package fetch

import (
	"context"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// taking is the state of reading one partition.
type taking struct {
	offset int64 // what was asked for
	until  int64 // where the offsets end that may be taken
	room   int64 // bytes that may still be taken
	anyway bool  // take the first batch even without room
	noZstd bool
	turn   *turn
	mark   int64 // of Blocks, when reading began
	from   place // where reading began in the first run
	out    []byte
	next   int64 // the offset after those taken
	full   bool  // no further batch fits
	err    error // why reading ended, if not for the limits
	// batches were taken since the caller last looked.
	batches int
}

// run takes what it may of one run, from the place on. It returns the place to go on from, and
// whether the run is done.
func (t *taking) run(ctx context.Context, run *metadata.Run, from place, stored *storedSource) (at place, done bool, err error) {
	w := walkFrom(run, from, stored)
	defer w.close()
	for t.room > 0 || t.anyway || w.atEnd() {
		b, ok, err := w.next(ctx)
		if !ok {
			return w.last, err == nil, err
		}
		switch {
		case b.next <= t.offset:
			err = w.skip(ctx, b)
		case !t.fits(b.size, b.next):
			return w.last, false, nil
		case t.noZstd && b.header.Codec() == protocol.CodecZstd:
			err = w.where(errZstd)
		default:
			if t.out, err = w.take(ctx, b, t.out); err == nil {
				t.took(b.size, b.next)
			}
		}
		if err != nil {
			return w.last, false, err
		}
	}
	return w.last, false, nil
}

// fits reports whether a batch that ends before the offset next may be taken. If
// not, nothing behind it may.
func (t *taking) fits(size, next int64) bool {
	t.full = next > t.until || size > t.room && !t.anyway
	return !t.full
}

// marker takes the batch that a marker is for consumers, if it may. It reports whether the marker is passed.
func (t *taking) marker(run *metadata.Run, m metadata.Marker) bool {
	next := run.NextOffset()
	if next <= t.offset {
		return true
	}
	if !t.fits(protocol.EndMarkerSize, next) {
		return false
	}
	had := len(t.out)
	t.out = protocol.EndMarker{ProducerID: m.ProducerID, ProducerEpoch: m.Epoch, Commit: m.Commit, Timestamp: m.Timestamp}.AppendTo(t.out)
	batch := protocol.Batch(t.out[had:])
	batch.SetBaseOffset(run.BaseOffset)
	batch.SetLeaderEpoch(protocol.LeaderEpoch)
	t.took(protocol.EndMarkerSize, next)
	return true
}

// took counts a batch that was copied out.
func (t *taking) took(size, next int64) {
	t.next = next
	t.room -= size
	t.anyway = false
	t.batches++
}
