package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore/datafile"
)

// source yields the bytes that a run is cut from, piece after piece; io.EOF
// ends them. A piece is valid until the next call, and is never changed.
type source interface {
	next(ctx context.Context) ([]byte, error)
	// close gives buffers back. rest is what the reader left of the last piece.
	close(rest int)
}

// storedSource yields a run's stored bytes as the blocks hold them. What was
// loaded ahead comes first, the rest is loaded when it is asked for.
type storedSource struct {
	blocks *Blocks
	run    *metadata.Run
	pool   Pool
	loaded *load // covers [0, upTo) of the run
	upTo   int64
	pieces [][]byte
}

// newStoredSource starts to load the first length bytes of the run.
func newStoredSource(b *Blocks, run *metadata.Run, pool Pool, length int64) *storedSource {
	s := &storedSource{blocks: b, run: run, pool: pool}
	s.load(length)
	return s
}

func (s *storedSource) load(length int64) {
	length = min(max(length, 1), int64(s.run.StoredSize)-s.upTo)
	s.loaded = s.blocks.load(s.run.FileID, s.run.Position+s.upTo, length, s.pool)
	s.upTo += length
}

func (s *storedSource) next(ctx context.Context) ([]byte, error) {
	for len(s.pieces) == 0 {
		if s.loaded == nil {
			if s.upTo >= int64(s.run.StoredSize) {
				return nil, io.EOF
			}
			s.load(s.blocks.config.BlockBytes)
		}
		var err error
		if s.pieces, err = s.loaded.wait(ctx); err != nil {
			return nil, err
		}
		s.loaded = nil
	}
	piece := s.pieces[0]
	s.pieces = s.pieces[1:]
	return piece, nil
}

func (s *storedSource) close(int) {}

// frameBuffers holds buffers of datafile.MaxFrameSize.
var frameBuffers = sync.Pool{New: func() any { b := make([]byte, 0, datafile.MaxFrameSize); return &b }}

// frameSource decodes the frames of a framed run. Frames before skip (in
// decoded bytes) are passed over without decoding.
type frameSource struct {
	stored *storedSource
	skip   int64

	rest     []byte // stored bytes, from the next frame on
	position int64  // where rest begins, from the run's Position
	// current is the frame that was given out; it began at begin, and is
	// either the cache's or in buffer.
	current []byte
	begin   int64
	cached  bool
	buffer  *[]byte
}

func (s *frameSource) next(ctx context.Context) ([]byte, error) {
	s.release()
	for {
		frame, size, err := s.cut(ctx)
		if err != nil {
			return nil, err
		}
		s.begin = s.position
		s.position += size
		if int64(frame.Size) <= s.skip {
			s.skip -= int64(frame.Size)
			continue
		}
		if s.current, err = s.decode(frame); err != nil {
			return nil, fmt.Errorf("frame at byte %d of the run: %w", s.begin, err)
		}
		piece := s.current[s.skip:]
		s.skip = 0
		return piece, nil
	}
}

// cut takes the next frame off the stored bytes, and tells its stored length.
// A frame may lie across two pieces; then they are joined.
func (s *frameSource) cut(ctx context.Context) (datafile.Frame, int64, error) {
	for {
		frame, rest, err := datafile.CutFrame(s.rest)
		if err == nil {
			size := int64(len(s.rest) - len(rest))
			s.rest = rest
			return frame, size, nil
		}
		more, readErr := s.stored.next(ctx)
		switch {
		case errors.Is(readErr, io.EOF) && len(s.rest) == 0:
			return frame, 0, io.EOF
		case errors.Is(readErr, io.EOF):
			return frame, 0, fmt.Errorf("frame at byte %d of the run: %w", s.position, err)
		case readErr != nil:
			return frame, 0, readErr
		case len(s.rest) == 0:
			s.rest = more
		default:
			joined := make([]byte, 0, len(s.rest)+len(more))
			s.rest = append(append(joined, s.rest...), more...)
		}
	}
}

func (s *frameSource) decode(frame datafile.Frame) ([]byte, error) {
	run := s.stored.run
	if frame.Codec == datafile.CodecStored {
		// AppendDecoded would copy, but it is what checks the CRC; the batches'
		// own CRCs cover these bytes as well.
		s.cached = true
		return frame.Stored, nil
	}
	decoded, ok := s.stored.blocks.frame(run.FileID, run.Position+s.begin)
	if ok && len(decoded) == frame.Size {
		s.cached = true
		return decoded, nil
	}
	s.buffer = frameBuffers.Get().(*[]byte)
	return frame.AppendDecoded((*s.buffer)[:0])
}

// release gives the current frame's buffer back.
func (s *frameSource) release() {
	if s.buffer != nil {
		frameBuffers.Put(s.buffer)
	}
	s.current, s.cached, s.buffer = nil, false, nil
}

// close keeps the last frame for the next request when a part of it was left:
// who reads a partition in small steps would decode it again for each.
func (s *frameSource) close(rest int) {
	if rest > 0 && !s.cached && len(s.current) > 0 {
		run := s.stored.run
		kept := append(make([]byte, 0, len(s.current)), s.current...)
		s.stored.blocks.keepFrame(run.FileID, run.Position+s.begin, kept, s.stored.pool)
	}
	s.release()
}
