package rewrite

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/protocol"
)

// maxBatchBytes is more than any batch has: requests are bounded by 100 MiB.
const maxBatchBytes = 128 << 20

// walk goes through the batches of a run.
type walk struct {
	run    *metadata.Run
	source source
	next   int64  // the offset that the next batch has, or after compaction at least
	at     int64  // bytes of the run passed
	rest   []byte // bytes of the run from at on, as far as they are here
	// joined is what rest is while joining is set: where a batch lies across pieces.
	joined  []byte
	joining bool
}

// left reports whether batches follow.
func (w *walk) left() bool { return w.at < int64(w.run.Size) }

// batch takes the next batch, checks it and gives it its offset.
func (w *walk) batch(ctx context.Context) (protocol.Batch, error) {
	size, err := w.measure(ctx)
	if err != nil {
		return nil, fmt.Errorf("batch at byte %d: %w", w.at, err)
	}
	if err := w.fill(ctx, size); err != nil {
		return nil, fmt.Errorf("batch of %d bytes at byte %d: %w", size, w.at, err)
	}
	batch, rest, err := protocol.NextBatch(w.rest[:size:size])
	switch {
	case err != nil:
	case len(rest) > 0:
		err = fmt.Errorf("%w: %d bytes behind it", protocol.ErrCorruptBatch, len(rest))
	case !batch.CheckCRC():
		err = fmt.Errorf("%w: CRC is not %08x", protocol.ErrCorruptBatch, batch.CRC())
	default:
		err = w.number(batch)
	}
	if err != nil {
		return nil, fmt.Errorf("batch at byte %d: %w", w.at, err)
	}
	w.rest, w.joining = w.rest[size:], false
	w.at += int64(size)
	if !w.left() && w.next != w.run.NextOffset() {
		return nil, fmt.Errorf("%w: the batches end before offset %d, the index says %d", protocol.ErrCorruptBatch, w.next, w.run.NextOffset())
	}
	return batch, nil
}

// measure reads how long the next batch is.
func (w *walk) measure(ctx context.Context) (int, error) {
	if err := w.fill(ctx, protocol.BatchHeaderSize); err != nil {
		return 0, err
	}
	if magic := w.rest[16]; magic != 2 {
		return 0, fmt.Errorf("%w: %d", protocol.ErrMagic, magic)
	}
	size := int64(int32(binary.BigEndian.Uint32(w.rest[8:]))) + 12
	if left := int64(w.run.Size) - w.at; size < protocol.BatchHeaderSize || size > min(left, maxBatchBytes) {
		return 0, fmt.Errorf("%w: announces %d bytes, %d are left", protocol.ErrCorruptBatch, size, left)
	}
	return int(size), nil
}

// number checks or sets the batch's offsets.
func (w *walk) number(batch protocol.Batch) error {
	base := w.next
	if w.run.Merged {
		base = batch.BaseOffset()
	}
	delta := batch.LastOffsetDelta()
	next := base + int64(delta) + 1
	if base < w.next || delta < 0 || next > w.run.NextOffset() {
		return fmt.Errorf("%w: it holds %d offsets from %d, those left are %d to %d", protocol.ErrCorruptBatch,
			int64(delta)+1, base, w.next, w.run.NextOffset()-1)
	}
	if !w.run.Merged {
		batch.SetBaseOffset(base)
		batch.SetLeaderEpoch(protocol.LeaderEpoch)
	}
	w.next = next
	return nil
}

// fill sees to it that rest has n bytes.
func (w *walk) fill(ctx context.Context, n int) error {
	for len(w.rest) < n {
		if len(w.rest) > 0 && !w.joining {
			// The next piece takes the place of the one that the rest lies in.
			w.joined = append(w.joined[:0], w.rest...)
			w.rest, w.joining = w.joined, true
		}
		piece, err := w.source.piece(ctx)
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: the stored bytes end %d bytes early", datafile.ErrCorrupt, n-len(w.rest))
		}
		if err != nil {
			return err
		}
		if w.joining {
			w.joined = append(w.joined, piece...)
			piece = w.joined
		}
		w.rest = piece
	}
	return nil
}
