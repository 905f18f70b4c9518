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
	// locate tells where in the run's stored bytes reading has to begin for what lies at a
	// position of its decoded bytes, and how many decoded bytes come before it there. Not
	// ok: the position lies before the last piece.
	locate(at int64) (stored, skip int64, ok bool)
	// close gives buffers back. rest is what the reader left of the last piece.
	close(rest int)
}

// sourceBytes is how much of a run is loaded at once. Twice as much, what is read and what comes
// next, is what a request may hold before it has used it.
const sourceBytes = windowBytes / 2

// storedSource yields a run's stored bytes as the blocks hold them. What will be needed is loaded
// ahead of the reader, the rest when it is asked for.
type storedSource struct {
	blocks *Blocks
	run    *metadata.Run
	pool   Pool
	// [.., upTo) of the run's stored bytes is loaded or on its way, in loading. [.., wanted) will be needed.
	upTo, wanted int64
	loading      *load
	pieces       [][]byte
	// turn is the reader's.
	turn *turn
}

// newStoredSource starts to load length of the run's stored bytes, from a position on.
func newStoredSource(b *Blocks, run *metadata.Run, pool Pool, from, length int64) *storedSource {
	s := &storedSource{blocks: b, run: run, pool: pool, upTo: from}
	s.wanted = min(from+max(length, 1), int64(run.StoredSize))
	s.loading = s.load(min(max(length, 1), sourceBytes))
	return s
}

// load starts to load the next length bytes, but none behind the run.
func (s *storedSource) load(length int64) *load {
	length = min(length, int64(s.run.StoredSize)-s.upTo)
	l := s.blocks.load(s.run.FileID, s.run.Position+s.upTo, length, s.pool)
	s.upTo += length
	return l
}

func (s *storedSource) next(ctx context.Context) ([]byte, error) {
	for len(s.pieces) == 0 {
		l := s.loading
		s.loading = nil
		if l == nil {
			if s.upTo >= int64(s.run.StoredSize) {
				return nil, io.EOF
			}
			l = s.load(s.blocks.config.BlockBytes)
		}
		if s.upTo < s.wanted {
			s.loading = s.load(min(s.wanted-s.upTo, sourceBytes))
		}
		var err error
		if s.pieces, err = s.turn.wait(ctx, l); err != nil {
			return nil, err
		}
	}
	piece := s.pieces[0]
	s.pieces = s.pieces[1:]
	return piece, nil
}

func (s *storedSource) locate(at int64) (stored, skip int64, ok bool) { return at, 0, true }

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
	// end is where the next frame begins in the run's decoded bytes.
	end int64
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
		s.end += int64(frame.Size)
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

// locate knows the current frame, and where the next one begins.
func (s *frameSource) locate(at int64) (stored, skip int64, ok bool) {
	if at == s.end {
		return s.position, 0, true
	}
	skip = at - (s.end - int64(len(s.current)))
	return s.begin, skip, skip >= 0 && at < s.end
}

func (s *frameSource) decode(frame datafile.Frame) ([]byte, error) {
	run := s.stored.run
	if frame.Codec == datafile.CodecStored && !run.Merged {
		// AppendDecoded would copy, but it is what checks the CRC; the batches' own CRCs
		// cover these bytes as well, but for the offsets of merged ones.
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
