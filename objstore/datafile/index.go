package datafile

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"sort"
)

const (
	indexMagic     = "WIDX"
	indexFixedSize = 20
	indexEntrySize = 24

	// indexSpacing is the least number of decoded bytes between two entries.
	indexSpacing = 64 << 10
	// maxIndexEntries is what a section of the largest size has at most.
	maxIndexEntries = math.MaxInt32/indexSpacing + 1
)

// IndexPrefixSize is how many bytes of an index [IndexSize] reads.
const IndexPrefixSize = indexFixedSize

// MaxIndexSize is the most that an index takes: 768 KiB, for a section of 2 GiB. Most
// take well under 32 KiB.
const MaxIndexSize = indexFixedSize + maxIndexEntries*indexEntrySize

// IndexBound is the most that the index of a section with so many decoded bytes takes: what
// to read behind the section to have the index too.
func IndexBound(size int32) int64 {
	return indexFixedSize + (int64(size)/indexSpacing+1)*indexEntrySize
}

// Index tells where the batches of a merged section lie, about every 64 KiB. It
// lies directly behind the section's stored bytes, so who knows where the section is needs no footer.
type Index struct {
	// Batches and Records are those of [Section].
	Batches int32
	Records int32
	// Entries are ascending in all that they state; the first is the section's first
	// batch, at 0. In a framed section each is the first batch of a frame.
	Entries []IndexEntry
}

// IndexEntry is a batch of the section.
type IndexEntry struct {
	// Offset is the batch's base offset.
	Offset int64
	// Position is where it lies in the decoded section, Stored in the stored one:
	// the same for Raw, the beginning of a frame for Framed.
	Position int32
	Stored   int32
	// MaxTimestamp (ms) is the largest of the section's batches from the first one
	// up to where the next entry begins.
	MaxTimestamp int64
}

// SeekOffset returns where to start reading to find the offset: the last batch of the index that
// begins at or before it, or the first one. The batch that holds the offset, or
// the next one if none does, lies there or behind it.
func (x Index) SeekOffset(offset int64) IndexEntry {
	i := sort.Search(len(x.Entries), func(i int) bool { return x.Entries[i].Offset > offset })
	return x.Entries[max(i-1, 0)]
}

// SeekTimestamp returns where to start reading to find the section's first batch whose
// largest timestamp is at least ms; it lies before the next entry. False: there is none. (The ends of
// transactions are batches, too: who passes them over may have to read on.)
func (x Index) SeekTimestamp(ms int64) (IndexEntry, bool) {
	i := sort.Search(len(x.Entries), func(i int) bool { return x.Entries[i].MaxTimestamp >= ms })
	if i == len(x.Entries) {
		return IndexEntry{}, false
	}
	return x.Entries[i], true
}

// IndexSize returns the length of the index that begins with the bytes, at least
// IndexPrefixSize of them: never more than MaxIndexSize. Errors: ErrCorrupt.
func IndexSize(b []byte) (int, error) {
	if len(b) < indexFixedSize {
		return 0, fmt.Errorf("%w: %d bytes are too few for an index", ErrCorrupt, len(b))
	}
	if string(b[:4]) != indexMagic {
		return 0, fmt.Errorf("%w: index starts with %q, want %q", ErrCorrupt, b[:4], indexMagic)
	}
	count := binary.BigEndian.Uint32(b[16:])
	if count == 0 || count > maxIndexEntries {
		return 0, fmt.Errorf("%w: index states %d entries", ErrCorrupt, count)
	}
	return indexFixedSize + int(count)*indexEntrySize, nil
}

// ReadIndex reads the index that b begins with; more may follow it. The Index keeps nothing of
// b. Errors: ErrCorrupt, also when b ends in the index.
func ReadIndex(b []byte) (Index, error) {
	size, err := IndexSize(b)
	if err != nil {
		return Index{}, err
	}
	if len(b) < size {
		return Index{}, fmt.Errorf("%w: index of %d bytes ends after %d", ErrCorrupt, size, len(b))
	}
	be := binary.BigEndian
	if got, want := crc32.Checksum(b[8:size], castagnoli), be.Uint32(b[4:]); got != want {
		return Index{}, fmt.Errorf("%w: index has CRC %08x, states %08x", ErrCorrupt, got, want)
	}
	x := Index{
		Batches: int32(be.Uint32(b[8:])), Records: int32(be.Uint32(b[12:])),
		Entries: make([]IndexEntry, be.Uint32(b[16:])),
	}
	for i := range x.Entries {
		e := b[indexFixedSize+i*indexEntrySize:]
		x.Entries[i] = IndexEntry{
			Offset: int64(be.Uint64(e)), Position: int32(be.Uint32(e[8:])), Stored: int32(be.Uint32(e[12:])),
			MaxTimestamp: int64(be.Uint64(e[16:])),
		}
	}
	if err := x.check(); err != nil {
		return Index{}, err
	}
	return x, nil
}

// check refuses what no writer makes.
func (x Index) check() error {
	if int(x.Batches) < len(x.Entries) || x.Records < x.Batches {
		return fmt.Errorf("%w: index of %d batches with %d records has %d entries", ErrCorrupt, x.Batches, x.Records, len(x.Entries))
	}
	if first := x.Entries[0]; first.Position != 0 || first.Stored != 0 || first.Offset < 0 {
		return fmt.Errorf("%w: index begins with offset %d at byte %d of the section", ErrCorrupt, first.Offset, first.Position)
	}
	for i := 1; i < len(x.Entries); i++ {
		a, b := x.Entries[i-1], x.Entries[i]
		if b.Offset <= a.Offset || b.Position <= a.Position || b.Stored <= a.Stored || b.MaxTimestamp < a.MaxTimestamp {
			return fmt.Errorf("%w: index entry %d does not come after the one before", ErrCorrupt, i)
		}
	}
	return nil
}

// checkSection compares what the index states with the footer's entry.
func (x Index) checkSection(s *Section) error {
	last := x.Entries[len(x.Entries)-1]
	switch {
	case x.Batches != s.Batches || x.Records != s.Records:
		return fmt.Errorf("%w: index of %d batches with %d records, the footer states %d and %d", ErrCorrupt, x.Batches, x.Records, s.Batches, s.Records)
	case x.Entries[0].Offset < s.BaseOffset || last.Offset >= s.NextOffset:
		return fmt.Errorf("%w: index from offset %d to %d, the footer states %d to %d", ErrCorrupt, x.Entries[0].Offset, last.Offset, s.BaseOffset, s.NextOffset-1)
	case last.MaxTimestamp != s.MaxTimestamp:
		return fmt.Errorf("%w: index has largest timestamp %d, the footer states %d", ErrCorrupt, last.MaxTimestamp, s.MaxTimestamp)
	}
	return nil
}

// checkPlaces checks that the entries are where frames begin, and the frames' CRCs; of a raw
// section, that they lie inside it. It knows nothing of where batches begin.
func (x Index) checkPlaces(s Section, stored []byte) error {
	if s.Encoding == Raw {
		for i, e := range x.Entries {
			if e.Position != e.Stored || e.Position >= s.Size {
				return fmt.Errorf("%w: index entry %d: byte %d at %d of a raw section of %d bytes", ErrCorrupt, i, e.Position, e.Stored, s.Size)
			}
		}
		return nil
	}
	i, position := 0, int64(0)
	for rest := stored; len(rest) > 0; {
		f, next, err := CutFrame(rest)
		if err == nil {
			err = f.check()
		}
		if err != nil {
			return atFrame(stored, rest, err)
		}
		if i < len(x.Entries) && int64(x.Entries[i].Position) == position && int(x.Entries[i].Stored) == len(stored)-len(rest) {
			i++
		}
		position += int64(f.Size)
		rest = next
	}
	if i < len(x.Entries) {
		return fmt.Errorf("%w: index entry %d: no frame begins with byte %d of the section at %d of its stored bytes", ErrCorrupt, i, x.Entries[i].Position, x.Entries[i].Stored)
	}
	if position != int64(s.Size) {
		return fmt.Errorf("%w: frames of %d bytes in a section of %d", ErrCorrupt, position, s.Size)
	}
	return nil
}

func (x Index) size() int { return indexFixedSize + len(x.Entries)*indexEntrySize }

func (x Index) append(dst []byte) []byte {
	be := binary.BigEndian
	start := len(dst)
	dst = append(dst, indexMagic...)
	dst = be.AppendUint32(dst, 0)
	dst = be.AppendUint32(dst, uint32(x.Batches))
	dst = be.AppendUint32(dst, uint32(x.Records))
	dst = be.AppendUint32(dst, uint32(len(x.Entries)))
	for _, e := range x.Entries {
		dst = be.AppendUint64(dst, uint64(e.Offset))
		dst = be.AppendUint32(dst, uint32(e.Position))
		dst = be.AppendUint32(dst, uint32(e.Stored))
		dst = be.AppendUint64(dst, uint64(e.MaxTimestamp))
	}
	be.PutUint32(dst[start+4:], crc32.Checksum(dst[start+8:], castagnoli))
	return dst
}

// addEntry appends the entry, or, where it is too close to the last one, makes that one cover it.
func addEntry(entries []IndexEntry, e IndexEntry) []IndexEntry {
	if n := len(entries); n > 0 {
		last := &entries[n-1]
		e.MaxTimestamp = max(e.MaxTimestamp, last.MaxTimestamp)
		if e.Position-last.Position < indexSpacing {
			last.MaxTimestamp = e.MaxTimestamp
			return entries
		}
	}
	return append(entries, e)
}
