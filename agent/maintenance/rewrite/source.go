package rewrite

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore/datafile"
)

// source yields the bytes that a run is cut from, piece after piece; io.EOF ends them. A piece
// is valid until the next call, and the caller's to change.
type source interface {
	piece(ctx context.Context) ([]byte, error)
}

// storedSource yields a run's stored bytes: what was loaded, then the rest of a run that is
// larger than a window.
type storedSource struct {
	reader *Reader
	run    *metadata.Run
	loaded []byte
	err    error
	given  int64
}

func (s *storedSource) piece(ctx context.Context) ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	if s.given == int64(s.run.StoredSize) {
		return nil, io.EOF
	}
	b := s.loaded
	s.loaded = nil
	if s.given > 0 {
		want := min(s.reader.piece(), int64(s.run.StoredSize)-s.given)
		var err error
		if b, err = s.reader.read(ctx, s.run.FileID, s.run.Position+s.given, want); err != nil {
			return nil, err
		}
	}
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: the object ends at byte %d", datafile.ErrCorrupt, s.run.Position+s.given)
	}
	s.given += int64(len(b))
	return b, nil
}

// frameSource decodes the frames of a framed run. Frames before skip (in decoded bytes) are
// passed over without decoding.
type frameSource struct {
	stored *storedSource
	skip   int64
	rest   []byte // stored bytes, from the next frame on
	at     int64  // where rest begins, from the run's position
	buffer []byte
}

func (s *frameSource) piece(ctx context.Context) ([]byte, error) {
	for {
		begin := s.at
		frame, err := s.cut(ctx)
		if errors.Is(err, io.EOF) {
			return nil, err
		}
		if err == nil && int64(frame.Size) <= s.skip {
			s.skip -= int64(frame.Size)
			continue
		}
		if err == nil {
			s.buffer, err = frame.AppendDecoded(s.buffer[:0])
		}
		if err != nil {
			return nil, fmt.Errorf("frame at byte %d of the run: %w", begin, err)
		}
		b := s.buffer[s.skip:]
		s.skip = 0
		return b, nil
	}
}

// cut takes the next frame off the stored bytes, joining pieces where it lies across them.
func (s *frameSource) cut(ctx context.Context) (datafile.Frame, error) {
	for {
		frame, rest, err := datafile.CutFrame(s.rest)
		if err == nil {
			s.at += int64(len(s.rest) - len(rest))
			s.rest = rest
			return frame, nil
		}
		more, readErr := s.stored.piece(ctx)
		switch {
		case errors.Is(readErr, io.EOF) && len(s.rest) == 0:
			return datafile.Frame{}, io.EOF
		case errors.Is(readErr, io.EOF):
			return datafile.Frame{}, err
		case readErr != nil:
			return datafile.Frame{}, readErr
		case len(s.rest) == 0:
			s.rest = more
		default:
			joined := make([]byte, 0, len(s.rest)+len(more))
			s.rest = append(append(joined, s.rest...), more...)
		}
	}
}
