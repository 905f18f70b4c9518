package datafile

import (
	"fmt"
	"iter"
)

// Content is a section with what it holds.
type Content struct {
	Section
	// Frames of a framed section, as far as their headers make sense.
	Frames []Frame
	// Bytes are the batches; nil when they can't be decoded.
	Bytes []byte
}

// Contents walks the sections of a whole file, which the footer was read from.
// A section that can't be decoded comes with an error (ErrCorrupt, with the
// place) and the walk goes on: whoever inspects a broken file wants the rest.
func (f Footer) Contents(file []byte) iter.Seq2[Content, error] {
	return func(yield func(Content, error) bool) {
		for i := range f.Sections {
			c, err := readContent(f.Sections[i], file)
			if err != nil {
				err = fmt.Errorf("section %d at byte %d: %w", i, c.Position, err)
			}
			if !yield(c, err) {
				return
			}
		}
	}
}

func readContent(s Section, file []byte) (Content, error) {
	c := Content{Section: s}
	end := s.Position + int64(s.StoredSize)
	if s.Position < 0 || end < s.Position || end > int64(len(file)) {
		return c, fmt.Errorf("%w: section ends at byte %d of %d", ErrCorrupt, end, len(file))
	}
	stored := file[s.Position:end]
	if s.Encoding == Framed {
		for rest := stored; len(rest) > 0; {
			frame, next, err := CutFrame(rest)
			if err != nil {
				return c, atFrame(stored, rest, err)
			}
			c.Frames = append(c.Frames, frame)
			rest = next
		}
	}
	var err error
	c.Bytes, err = s.Decode(stored)
	return c, err
}

// Decode returns the section's batches from its stored bytes, which it
// returns as they are when the section is raw. Errors: ErrCorrupt.
func (s Section) Decode(stored []byte) ([]byte, error) {
	if len(stored) != int(s.StoredSize) {
		return nil, fmt.Errorf("%w: %d bytes stored, the footer states %d", ErrCorrupt, len(stored), s.StoredSize)
	}
	switch s.Encoding {
	case Raw:
		return stored, nil
	case Framed:
		b, err := DecodeFrames(stored, int(s.Size))
		if err != nil {
			return nil, err
		}
		if len(b) != int(s.Size) {
			return nil, fmt.Errorf("%w: frames decode to %d bytes, the footer states %d", ErrCorrupt, len(b), s.Size)
		}
		return b, nil
	}
	return nil, fmt.Errorf("%w: section encoding %d", ErrVersion, s.Encoding)
}
