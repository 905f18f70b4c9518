package datafile

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"slices"

	"github.com/google/uuid"
)

// Footer is a data file's index.
type Footer struct {
	ID      uuid.UUID
	Version uint16
	// Size is the length of the whole file.
	Size int64
	// Sections are sorted by (topic ID, partition) and lie in this order,
	// without gaps, from the header to the footer. Those of a merged file are
	// all merged; a partition may have several there, by base offset.
	Sections []Section
	// Sources are the files that a merged file was made from.
	Sources []Source
}

// RangeReader reads a part of one object. Fewer bytes than length mean that
// the object ends there.
type RangeReader interface {
	ReadRange(ctx context.Context, offset, length int64) ([]byte, error)
}

// tailSize is what Open reads first: the footer of a thousand partitions.
const tailSize = 64 << 10

// Open reads the footer of an object of size bytes from its end: in one range
// read, or two where there are very many sections. Errors: those of the
// reader, wrapped; ErrCorrupt, also for a reader that returns too little; ErrVersion.
func Open(ctx context.Context, r RangeReader, size int64) (Footer, error) {
	if size < headerSize+trailerSize {
		return Footer{}, fmt.Errorf("%w: %d bytes are too few for a data file", ErrCorrupt, size)
	}
	tail, err := readTail(ctx, r, size, tailSize)
	if err != nil {
		return Footer{}, err
	}
	if int64(len(tail)) == size {
		return ReadFooter(tail)
	}
	t, err := parseTrailer(tail, size)
	if err != nil {
		return Footer{}, err
	}
	if need := t.footerSize + trailerSize; need > int64(len(tail)) {
		if tail, err = readTail(ctx, r, size, need); err != nil {
			return Footer{}, err
		}
	}
	return t.parseFooter(tail, size)
}

// readTail reads the last length bytes of size.
func readTail(ctx context.Context, r RangeReader, size, length int64) ([]byte, error) {
	length = min(length, size)
	b, err := r.ReadRange(ctx, size-length, length)
	if err != nil {
		return nil, fmt.Errorf("read data file from byte %d: %w", size-length, err)
	}
	if int64(len(b)) != length {
		return nil, fmt.Errorf("%w: %d bytes at %d, want %d", ErrCorrupt, len(b), size-length, length)
	}
	return b, nil
}

// ReadFooter reads the footer of a file that is in memory as a whole. Errors:
// ErrCorrupt, ErrVersion.
func ReadFooter(file []byte) (Footer, error) {
	if len(file) < headerSize+trailerSize {
		return Footer{}, fmt.Errorf("%w: %d bytes are too few for a data file", ErrCorrupt, len(file))
	}
	if string(file[:4]) != headerMagic {
		return Footer{}, fmt.Errorf("%w: starts with %q, want %q", ErrCorrupt, file[:4], headerMagic)
	}
	if err := checkVersion("header", file[4:8]); err != nil {
		return Footer{}, err
	}
	t, err := parseTrailer(file, int64(len(file)))
	if err != nil {
		return Footer{}, err
	}
	return t.parseFooter(file, int64(len(file)))
}

// checkVersion checks version and flags, which stand side by side.
func checkVersion(where string, b []byte) error {
	v, flags := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	if v != version || flags != 0 {
		return fmt.Errorf("%w: %s states version %d, flags %#x; this is version %d", ErrVersion, where, v, flags, version)
	}
	return nil
}

type trailer struct {
	footerSize int64
	crc        uint32
}

// parseTrailer reads the end of tail, which is the end of a file of size bytes.
func parseTrailer(tail []byte, size int64) (trailer, error) {
	b := tail[len(tail)-trailerSize:]
	if string(b[12:]) != trailerMagic {
		return trailer{}, fmt.Errorf("%w: ends with %q, want %q", ErrCorrupt, b[12:], trailerMagic)
	}
	if err := checkVersion("trailer", b[8:]); err != nil {
		return trailer{}, err
	}
	t := trailer{int64(binary.BigEndian.Uint32(b)), binary.BigEndian.Uint32(b[4:])}
	if t.footerSize < footerFixedSize || t.footerSize > size-headerSize-trailerSize {
		return trailer{}, fmt.Errorf("%w: trailer states a footer of %d bytes in a file of %d", ErrCorrupt, t.footerSize, size)
	}
	return t, nil
}

// parseFooter reads and checks the footer in tail, which holds all of it and
// is the end of a file of size bytes.
func (t trailer) parseFooter(tail []byte, size int64) (Footer, error) {
	end := int64(len(tail)) - trailerSize
	b := tail[end-t.footerSize : end]
	if got := crc32.Checksum(b, castagnoli); got != t.crc {
		return Footer{}, fmt.Errorf("%w: footer has CRC %08x, trailer states %08x", ErrCorrupt, got, t.crc)
	}
	f := Footer{ID: uuid.UUID(b[:16]), Version: version, Size: size}
	if !isV7(f.ID) {
		return Footer{}, fmt.Errorf("%w: file ID %v is no UUIDv7", ErrCorrupt, f.ID)
	}
	count := int64(binary.BigEndian.Uint32(b[16:]))
	b = b[footerFixedSize:]
	if count == 0 || count*entryFixedSize > int64(len(b)) {
		return Footer{}, fmt.Errorf("%w: footer states %d sections in %d bytes", ErrCorrupt, count, len(b))
	}
	f.Sections = make([]Section, count)
	// All sections of a file are of one kind, and merged ones have no runs. What is left
	// for runs bounds their number, so one allocation holds all.
	var runs []ProducerRun
	merged := b[20] == kindMerged
	if !merged {
		runs = make([]ProducerRun, 0, (int64(len(b))-count*entryFixedSize)/runSize)
	}
	position := int64(headerSize)
	for i := range f.Sections {
		s := &f.Sections[i]
		var err error
		if b, runs, err = parseEntry(b, s, runs); err == nil {
			err = s.check(position)
		}
		if err == nil && (s.Merged != merged || i > 0 && !s.follows(&f.Sections[i-1])) {
			err = fmt.Errorf("%w: out of order", ErrCorrupt)
		}
		if err != nil {
			return Footer{}, fmt.Errorf("section %d of %d (partition %d of topic %v): %w", i, count, s.Partition, s.TopicID, err)
		}
		position += int64(s.StoredSize) + int64(s.IndexSize)
	}
	if merged {
		var err error
		if f.Sources, b, err = parseSources(b); err != nil {
			return Footer{}, err
		}
	}
	if len(b) > 0 {
		return Footer{}, fmt.Errorf("%w: %d bytes behind the footer's last section", ErrCorrupt, len(b))
	}
	if start := size - trailerSize - t.footerSize; position != start {
		return Footer{}, fmt.Errorf("%w: sections end at byte %d, footer starts at %d", ErrCorrupt, position, start)
	}
	return f, nil
}

// parseEntry reads one section from b, its runs into the capacity of runs.
func parseEntry(b []byte, s *Section, runs []ProducerRun) (rest []byte, all []ProducerRun, err error) {
	if len(b) < entryFixedSize {
		return nil, nil, fmt.Errorf("%w: footer ends in its entry", ErrCorrupt)
	}
	be := binary.BigEndian
	s.TopicID = uuid.UUID(b[:16])
	s.Partition = int32(be.Uint32(b[16:]))
	if b[20] != kindAppended && b[20] != kindMerged {
		return nil, nil, fmt.Errorf("%w: section kind %d", ErrVersion, b[20])
	}
	s.Merged = b[20] == kindMerged
	s.Encoding = Encoding(b[21])
	if s.Encoding != Raw && s.Encoding != Framed {
		return nil, nil, fmt.Errorf("%w: section encoding %d", ErrVersion, b[21])
	}
	s.Position = int64(be.Uint64(b[22:]))
	s.StoredSize = int32(be.Uint32(b[30:]))
	s.Size = int32(be.Uint32(b[34:]))
	s.Batches = int32(be.Uint32(b[38:]))
	s.Records = int32(be.Uint32(b[42:]))
	s.MaxTimestamp = int64(be.Uint64(b[46:]))
	count := int64(be.Uint32(b[54:]))
	b = b[entryFixedSize:]
	// Both bounds: bytes that the entries behind this one need are none for runs.
	if count*runSize > int64(len(b)) || count > int64(cap(runs)-len(runs)) {
		return nil, nil, fmt.Errorf("%w: %d producer runs in %d bytes", ErrCorrupt, count, len(b))
	}
	first := len(runs)
	for range count {
		runs = append(runs, ProducerRun{
			ProducerID:    int64(be.Uint64(b)),
			ProducerEpoch: int16(be.Uint16(b[8:])),
			FirstSequence: int32(be.Uint32(b[10:])),
			LastSequence:  int32(be.Uint32(b[14:])),
			Batches:       int32(be.Uint32(b[18:])),
		})
		b = b[runSize:]
	}
	if count > 0 {
		s.Producers = slices.Clip(runs[first:])
	}
	if !s.Merged {
		return b, runs, nil
	}
	if len(b) < mergedEntrySize-entryFixedSize {
		return nil, nil, fmt.Errorf("%w: footer ends in its entry", ErrCorrupt)
	}
	s.BaseOffset = int64(be.Uint64(b))
	s.NextOffset = int64(be.Uint64(b[8:]))
	s.IndexSize = int32(be.Uint32(b[16:]))
	return b[mergedEntrySize-entryFixedSize:], runs, nil
}

func parseSources(b []byte) (sources []Source, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, fmt.Errorf("%w: footer ends before its sources", ErrCorrupt)
	}
	count := int64(binary.BigEndian.Uint32(b))
	b = b[4:]
	if count*sourceSize > int64(len(b)) {
		return nil, nil, fmt.Errorf("%w: footer states %d sources in %d bytes", ErrCorrupt, count, len(b))
	}
	if count > 0 {
		sources = make([]Source, count)
	}
	for i := range sources {
		sources[i] = Source{FileID: uuid.UUID(b[:16]), Seq: int64(binary.BigEndian.Uint64(b[16:]))}
		if !isV7(sources[i].FileID) || sources[i].Seq < 0 {
			return nil, nil, fmt.Errorf("%w: source %d is file %v of commit %d", ErrCorrupt, i, sources[i].FileID, sources[i].Seq)
		}
		b = b[sourceSize:]
	}
	return sources, b, nil
}

// follows reports whether the section may come behind the other one.
func (s *Section) follows(before *Section) bool {
	c := comparePartitions(before.TopicID, before.Partition, s.TopicID, s.Partition)
	return c < 0 || c == 0 && s.Merged && before.NextOffset <= s.BaseOffset
}

// check refuses what no writer would have written; the section must begin at position.
func (s *Section) check(position int64) error {
	switch {
	case s.Partition < 0:
		return fmt.Errorf("%w: negative partition", ErrCorrupt)
	case s.Position != position:
		return fmt.Errorf("%w: starts at byte %d, the one before ends at %d", ErrCorrupt, s.Position, position)
	case s.Size < 1 || s.StoredSize < 1 || s.Encoding == Raw && s.StoredSize != s.Size:
		return fmt.Errorf("%w: %d bytes stored for %d, %v", ErrCorrupt, s.StoredSize, s.Size, s.Encoding)
	case s.Batches < 1 || s.Batches > s.Size || s.Records < s.Batches:
		return fmt.Errorf("%w: %d batches with %d records in %d bytes", ErrCorrupt, s.Batches, s.Records, s.Size)
	}
	if s.Merged {
		return s.checkMerged()
	}
	batches := int64(0)
	for i, r := range s.Producers {
		if r.ProducerID < 0 || r.ProducerEpoch < 0 || r.FirstSequence < 0 || r.LastSequence < 0 || r.Batches < 1 {
			return fmt.Errorf("%w: producer run %d has a negative number: %+v", ErrCorrupt, i, r)
		}
		batches += int64(r.Batches)
	}
	if batches > int64(s.Batches) {
		return fmt.Errorf("%w: producer runs have %d batches, the section %d", ErrCorrupt, batches, s.Batches)
	}
	return nil
}

func (s *Section) checkMerged() error {
	size := int64(s.IndexSize) - indexFixedSize
	switch {
	case s.BaseOffset < 0 || s.NextOffset <= s.BaseOffset || s.NextOffset-s.BaseOffset > math.MaxInt32 || int64(s.Records) > s.NextOffset-s.BaseOffset:
		return fmt.Errorf("%w: %d records in offsets %d to %d", ErrCorrupt, s.Records, s.BaseOffset, s.NextOffset-1)
	case size < indexEntrySize || size%indexEntrySize != 0 || s.IndexSize > MaxIndexSize:
		return fmt.Errorf("%w: index of %d bytes", ErrCorrupt, s.IndexSize)
	case len(s.Producers) > 0:
		return fmt.Errorf("%w: merged section with producer runs", ErrCorrupt)
	}
	return nil
}

func footerSize(sections []Section, sources []Source) int64 {
	size := footerFixedSize + int64(len(sections))*entryFixedSize
	for i := range sections {
		size += int64(len(sections[i].Producers)) * runSize
		if sections[i].Merged {
			size += mergedEntrySize - entryFixedSize
		}
	}
	if len(sections) > 0 && sections[0].Merged {
		size += sourcesSize(sources)
	}
	return size
}

func sourcesSize(sources []Source) int64 { return 4 + int64(len(sources))*sourceSize }

func appendHeader(dst []byte) []byte {
	dst = append(dst, headerMagic...)
	dst = binary.BigEndian.AppendUint16(dst, version)
	return binary.BigEndian.AppendUint16(dst, 0)
}

// appendEnd appends footer and trailer.
func appendEnd(dst []byte, id uuid.UUID, sections []Section, sources []Source) []byte {
	start := len(dst)
	dst = appendFooter(dst, id, sections, sources)
	crc := crc32.Checksum(dst[start:], castagnoli)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(dst)-start))
	dst = binary.BigEndian.AppendUint32(dst, crc)
	dst = binary.BigEndian.AppendUint16(dst, version)
	dst = binary.BigEndian.AppendUint16(dst, 0)
	return append(dst, trailerMagic...)
}

func appendFooter(dst []byte, id uuid.UUID, sections []Section, sources []Source) []byte {
	be := binary.BigEndian
	dst = append(dst, id[:]...)
	dst = be.AppendUint32(dst, uint32(len(sections)))
	for i := range sections {
		s := &sections[i]
		dst = append(dst, s.TopicID[:]...)
		dst = be.AppendUint32(dst, uint32(s.Partition))
		kind := byte(kindAppended)
		if s.Merged {
			kind = kindMerged
		}
		dst = append(dst, kind, byte(s.Encoding))
		dst = be.AppendUint64(dst, uint64(s.Position))
		dst = be.AppendUint32(dst, uint32(s.StoredSize))
		dst = be.AppendUint32(dst, uint32(s.Size))
		dst = be.AppendUint32(dst, uint32(s.Batches))
		dst = be.AppendUint32(dst, uint32(s.Records))
		dst = be.AppendUint64(dst, uint64(s.MaxTimestamp))
		dst = be.AppendUint32(dst, uint32(len(s.Producers)))
		for _, r := range s.Producers {
			dst = be.AppendUint64(dst, uint64(r.ProducerID))
			dst = be.AppendUint16(dst, uint16(r.ProducerEpoch))
			dst = be.AppendUint32(dst, uint32(r.FirstSequence))
			dst = be.AppendUint32(dst, uint32(r.LastSequence))
			dst = be.AppendUint32(dst, uint32(r.Batches))
		}
		if s.Merged {
			dst = be.AppendUint64(dst, uint64(s.BaseOffset))
			dst = be.AppendUint64(dst, uint64(s.NextOffset))
			dst = be.AppendUint32(dst, uint32(s.IndexSize))
		}
	}
	if !sections[0].Merged {
		return dst
	}
	dst = be.AppendUint32(dst, uint32(len(sources)))
	for _, source := range sources {
		dst = append(dst, source.FileID[:]...)
		dst = be.AppendUint64(dst, uint64(source.Seq))
	}
	return dst
}
