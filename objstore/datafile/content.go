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
	// Index is that of a merged section; without entries when it can't be read.
	Index Index
}

// Contents walks the sections of a whole file, which the footer was read from.
// A section that can't be decoded, or whose index is wrong, comes with an error (ErrCorrupt, with the
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
	indexEnd := end + int64(s.IndexSize)
	if s.Position < 0 || end < s.Position || indexEnd < end || indexEnd > int64(len(file)) {
		return c, fmt.Errorf("%w: section ends at byte %d of %d", ErrCorrupt, indexEnd, len(file))
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
	if c.Bytes, err = s.Decode(stored); err != nil || !s.Merged {
		return c, err
	}
	c.Index, err = s.ReadIndex(stored, file[end:indexEnd])
	return c, err
}

// ReadIndex reads the index behind the section's stored bytes and checks it against both. Where
// batches begin it does not look. Errors: ErrCorrupt.
func (s Section) ReadIndex(stored, index []byte) (Index, error) {
	x, err := ReadIndex(index)
	if err == nil && x.size() != len(index) {
		err = fmt.Errorf("%w: index of %d bytes, the footer states %d", ErrCorrupt, x.size(), len(index))
	}
	if err == nil {
		err = x.checkSection(&s)
	}
	if err == nil {
		err = x.checkPlaces(s, stored)
	}
	if err != nil {
		return Index{}, fmt.Errorf("index at byte %d: %w", s.Position+int64(s.StoredSize), err)
	}
	return x, nil
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
