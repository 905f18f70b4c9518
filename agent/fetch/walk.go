package fetch

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// walk goes over the batches of a run, and checks that they are where the index says.
type walk struct {
	run    *metadata.Run
	cursor *cursor
	// here is where the walk is: the next batch, or the run's end.
	here place
	// last is the last such place at which reading may begin anew.
	last place
}

// walkFrom begins at a place of the run, from which on stored has its bytes.
func walkFrom(run *metadata.Run, from place, stored *storedSource) *walk {
	w := &walk{run: run, here: from, last: from, cursor: &cursor{source: stored}}
	if run.Encoding == metadata.EncodingFramed {
		w.cursor.source = &frameSource{stored: stored, skip: from.skip, position: from.stored, end: from.at - from.skip}
	}
	return w
}

// atEnd: there is no further batch.
func (w *walk) atEnd() bool { return w.here.at >= int64(w.run.Size) }

// close gives the walk's buffers back.
func (w *walk) close() { w.cursor.close() }

// passing is a batch that the walk comes to.
type passing struct {
	// header is valid until the walk goes on.
	header protocol.Batch
	size   int64
	// base is the first offset, next the one after the last.
	base, next int64
}

// next shows the next batch, which skip or take passes. At the run's end there is none.
func (w *walk) next(ctx context.Context) (b passing, ok bool, err error) {
	if w.atEnd() {
		if w.here.offset != w.run.NextOffset() {
			return b, false, fmt.Errorf("%w: batches hold offsets up to %d, the index says %d", errCorrupt, w.here.offset, w.run.NextOffset())
		}
		return b, false, nil
	}
	head, err := w.cursor.peek(ctx, protocol.BatchHeaderSize)
	if err == nil {
		b, err = w.measure(head, int64(w.run.Size)-w.here.at)
	}
	return b, err == nil, w.where(err)
}

// measure reads a batch's size and its offsets from its header.
func (w *walk) measure(head []byte, left int64) (passing, error) {
	b := passing{header: head, base: w.here.offset}
	if magic := head[16]; magic != 2 {
		return b, fmt.Errorf("%w: %d", protocol.ErrMagic, magic)
	}
	b.size = int64(int32(binary.BigEndian.Uint32(head[8:]))) + 12
	if b.size < protocol.BatchHeaderSize || b.size > left {
		return b, fmt.Errorf("%w: it announces %d bytes, %d are left", errCorrupt, b.size, left)
	}
	if w.run.Merged {
		b.base = b.header.BaseOffset()
		if b.base < w.here.offset || b.base >= w.run.NextOffset() || w.here.exact && b.base != w.here.offset {
			return b, fmt.Errorf("%w: it begins with offset %d, want %d or behind it, in a run that ends at %d",
				errCorrupt, b.base, w.here.offset, w.run.NextOffset())
		}
	}
	delta := b.header.LastOffsetDelta()
	b.next = b.base + int64(delta) + 1
	if delta < 0 || b.next > w.run.NextOffset() {
		return b, fmt.Errorf("%w: it announces %d offsets from %d, the run ends at %d", errCorrupt, int64(delta)+1, b.base, w.run.NextOffset())
	}
	return b, nil
}

// skip passes the batch.
func (w *walk) skip(ctx context.Context, b passing) error {
	if err := w.cursor.skip(ctx, b.size); err != nil {
		return w.where(err)
	}
	w.passed(b)
	return nil
}

// take passes the batch and appends it to dst, with a good CRC and its offsets.
// After an error dst is as it was.
func (w *walk) take(ctx context.Context, b passing, dst []byte) ([]byte, error) {
	out, err := w.cursor.appendTo(ctx, dst, b.size)
	if err != nil {
		return dst, w.where(err)
	}
	batch, _, err := protocol.NextBatch(out[len(dst):])
	if err == nil && !batch.CheckCRC() {
		err = fmt.Errorf("%w: CRC is not %08x", errCorrupt, batch.CRC())
	}
	if err != nil {
		return dst, w.where(err)
	}
	batch.SetBaseOffset(b.base)
	batch.SetLeaderEpoch(protocol.LeaderEpoch)
	w.passed(b)
	return out, nil
}

func (w *walk) passed(b passing) {
	w.here = place{offset: b.next, at: w.here.at + b.size}
	if stored, skip, ok := w.cursor.source.locate(w.here.at); ok {
		w.here.stored, w.here.skip = stored, skip
		w.last = w.here
	}
}

func (w *walk) where(err error) error {
	if err != nil {
		err = fmt.Errorf("batch at byte %d: %w", w.here.at, err)
	}
	return err
}
