package datafile

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/google/uuid"
)

// MergeWriter writes merged files, one after the other: sections in ascending order, each
// batch after batch. It holds the file that it writes, and while a section ends
// at most that section's batches once more. Not safe for concurrent use.
//
//	for each section:  Begin, Append and AppendStored..., End (or Abandon)
//	then:              Finish
//
// Errors are the caller's (wrong order, too much for a section) or ErrCorrupt, from
// what AppendStored was given. After one, the section can only be abandoned.
type MergeWriter struct {
	codec   Codec
	sources []Source
	// file is what is written so far, up to the end of the last frame or raw batch.
	file     []byte
	sections []Section
	rawBytes int64

	open bool
	// s is the open section, in so far as it is known: Encoding is what it will be,
	// unless it turns out not to pay, and sizes include the pending frame.
	s Section
	// last is the last offset of s so far, BaseOffset-1 before its first batch.
	last int64
	// frame is the pending frame, from frameStart on in the decoded section.
	frame      []byte
	frameStart int32
	// frameOffset is the first offset in the frame; frameWorth is whether any of its batches is worth
	// compressing, frameByClient whether the last one was compressed by its client.
	frameOffset               int64
	frameWorth, frameByClient bool
	// sampled: a frame of some size was compressed, which says that it pays.
	sampled bool
	// framed and raw are the index in the making, for either encoding.
	framed, raw []IndexEntry
}

// NewMergeWriter returns a writer of files that are merged from the sources. Auto is zstd here:
// nobody waits for a merge, and its files are read often.
func NewMergeWriter(compression Compression, sources []Source) (*MergeWriter, error) {
	if compression == Auto {
		compression = Zstd
	}
	codec, err := compression.codec()
	if err != nil {
		return nil, err
	}
	return &MergeWriter{codec: codec, sources: slices.Clone(sources)}, nil
}

// SetSources replaces the sources of this file and those after it, at any time before Finish.
func (w *MergeWriter) SetSources(sources []Source) { w.sources = slices.Clone(sources) }

// MergedBatch is one batch to write.
type MergedBatch struct {
	// Bytes is the whole batch, with its real base offset and leader epoch. Append copies it.
	Bytes []byte
	// Compressed: the client compressed its records.
	Compressed bool
	// BaseOffset and LastOffset (inclusive) are what its header says.
	BaseOffset int64
	LastOffset int64
	// MaxTimestamp is in ms since the epoch.
	MaxTimestamp int64
}

// Begin begins a section from the base offset on. Sections ascend by (topic ID,
// partition, base offset) and those of one partition don't overlap.
func (w *MergeWriter) Begin(topicID uuid.UUID, partition int32, baseOffset int64) error {
	if w.open {
		return errors.New("merged file: the section before has not ended")
	}
	if partition < 0 || baseOffset < 0 {
		return fmt.Errorf("merged file: partition %d, base offset %d", partition, baseOffset)
	}
	s := Section{TopicID: topicID, Partition: partition, Merged: true, BaseOffset: baseOffset, MaxTimestamp: math.MinInt64}
	if len(w.sections) > 0 && !s.follows(&w.sections[len(w.sections)-1]) {
		return fmt.Errorf("merged file: partition %d of topic %v from offset %d on is out of order", partition, topicID, baseOffset)
	}
	if len(w.sections) == 0 {
		w.file = appendHeader(w.file[:0])
	}
	if w.codec != CodecStored {
		s.Encoding = Framed
	}
	s.Position = int64(len(w.file))
	w.open, w.s, w.last, w.sampled = true, s, baseOffset-1, false
	w.frame, w.framed, w.raw = w.frame[:0], w.framed[:0], w.raw[:0]
	return nil
}

// Append adds a batch to the open section. Offsets ascend; some may be left out.
func (w *MergeWriter) Append(b MergedBatch) error {
	if !w.open {
		return errors.New("merged file: batch outside a section")
	}
	if len(b.Bytes) == 0 || b.BaseOffset <= w.last || b.LastOffset < b.BaseOffset {
		return fmt.Errorf("merged file: batch of %d bytes with offsets %d to %d behind offset %d", len(b.Bytes), b.BaseOffset, b.LastOffset, w.last)
	}
	if w.s.Encoding == Framed && w.endsFrame(b) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	at := w.s.Size
	if err := w.count(int64(len(b.Bytes)), 1, b.LastOffset-b.BaseOffset+1, b.LastOffset, b.MaxTimestamp); err != nil {
		return err
	}
	w.raw = addEntry(w.raw, IndexEntry{b.BaseOffset, at, at, w.s.MaxTimestamp})
	if w.s.Encoding == Raw {
		w.file = append(w.file, b.Bytes...)
		return nil
	}
	if len(w.frame) == 0 {
		w.frameStart, w.frameOffset, w.frameWorth = at, b.BaseOffset, false
	}
	w.frame = append(w.frame, b.Bytes...)
	w.frameWorth = w.frameWorth || !b.Compressed
	w.frameByClient = b.Compressed
	return nil
}

// endsFrame: the pending frame ends before the batch, by the rule of nextFrame.
func (w *MergeWriter) endsFrame(b MergedBatch) bool {
	n := len(w.frame)
	return n > 0 && (n+len(b.Bytes) > MaxFrameSize || n >= minMixedFrame && b.Compressed != w.frameByClient)
}

// count adds to the section's sums.
func (w *MergeWriter) count(size, batches, records, last, timestamp int64) error {
	if size += int64(w.s.Size); size > math.MaxInt32 || last >= w.s.BaseOffset+math.MaxInt32 {
		return fmt.Errorf("merged file: %d bytes and %d offsets are more than a section can hold", size, last+1-w.s.BaseOffset)
	}
	w.s.Size = int32(size)
	w.s.Batches += int32(batches)
	w.s.Records += int32(records) // never above the offsets
	w.s.MaxTimestamp = max(w.s.MaxTimestamp, timestamp)
	w.last = last
	return nil
}

// flush writes the pending frame.
func (w *MergeWriter) flush() error {
	if len(w.frame) == 0 {
		return nil
	}
	codec := CodecStored
	if w.frameWorth {
		codec = w.codec
	}
	stored := len(w.file) - int(w.s.Position)
	w.framed = addEntry(w.framed, IndexEntry{w.frameOffset, w.frameStart, int32(stored), w.s.MaxTimestamp})
	paid := false
	for rest := w.frame; len(rest) > 0; {
		n := min(len(rest), MaxFrameSize)
		var compressed bool
		w.file, compressed = appendFrame(w.file, rest[:n], codec)
		paid = paid || compressed
		rest = rest[n:]
	}
	trial := w.frameWorth && !w.sampled && len(w.frame) >= minMixedFrame
	w.frame = w.frame[:0]
	if int64(len(w.file))-w.s.Position > math.MaxInt32 {
		return errors.New("merged file: more frames than a section can hold")
	}
	if trial && !paid {
		return w.unframe()
	}
	w.sampled = w.sampled || trial
	return nil
}

// unframe makes the section raw: compressing doesn't pay.
func (w *MergeWriter) unframe() error {
	batches, err := DecodeFrames(w.file[w.s.Position:], int(w.s.Size))
	if err != nil {
		return err
	}
	w.file = append(w.file[:w.s.Position], batches...)
	w.s.Encoding = Raw
	return nil
}

// AppendStored adds all batches of a merged section as they are stored, which costs no
// decoding, and reports whether it did. It doesn't where that would not be the same as to append
// the batches one by one: where the open section is stored otherwise, or the piece is so small that its
// batches compress better together with others. Then the caller decodes and appends them.
//
// Of the section it needs Encoding, Size, StoredSize and NextOffset, of which a run of the
// metadata store has all; stored are its bytes and index is its index. Frames
// are checked on the way; the CRCs of batches are not. It copies what it keeps.
func (w *MergeWriter) AppendStored(section Section, index Index, stored []byte) (bool, error) {
	if !w.open {
		return false, errors.New("merged file: batches outside a section")
	}
	// What is smaller than a frame was perhaps too little to compress well.
	if w.codec != CodecStored && section.Size < MaxFrameSize {
		return false, nil
	}
	if err := w.flush(); err != nil { // which may decide on the encoding
		return false, err
	}
	if w.s.Encoding != section.Encoding && (w.s.Size > 0 || w.codec == CodecStored) {
		return false, nil
	}
	if len(stored) != int(section.StoredSize) {
		return false, fmt.Errorf("%w: %d bytes of a section of %d", ErrCorrupt, len(stored), section.StoredSize)
	}
	if err := index.checkPlaces(section, stored); err != nil {
		return false, err
	}
	first, last := index.Entries[0], index.Entries[len(index.Entries)-1]
	if first.Offset <= w.last || section.NextOffset <= last.Offset || int64(index.Records) > section.NextOffset-first.Offset {
		return false, fmt.Errorf("merged file: section of offsets %d to %d behind offset %d", first.Offset, section.NextOffset-1, w.last)
	}
	size, at := w.s.Size, int64(len(w.file))-w.s.Position
	if at+int64(len(stored)) > math.MaxInt32 {
		return false, errors.New("merged file: more frames than a section can hold")
	}
	newest := w.s.MaxTimestamp
	if err := w.count(int64(section.Size), int64(index.Batches), int64(index.Records), section.NextOffset-1, last.MaxTimestamp); err != nil {
		return false, err
	}
	for _, e := range index.Entries {
		e.MaxTimestamp = max(e.MaxTimestamp, newest)
		e.Stored += int32(at)
		e.Position += size
		w.framed = addEntry(w.framed, e)
		w.raw = addEntry(w.raw, IndexEntry{e.Offset, e.Position, e.Position, e.MaxTimestamp})
	}
	w.file = append(w.file, stored...)
	w.s.Encoding = section.Encoding
	w.sampled = true
	return true, nil
}

// End ends the open section, whose last batch must end before nextOffset, and returns it
// as the footer will have it.
func (w *MergeWriter) End(nextOffset int64) (Section, error) {
	switch {
	case !w.open:
		return Section{}, errors.New("merged file: no section to end")
	case w.s.Batches == 0:
		return Section{}, errors.New("merged file: section without batches")
	case w.last != nextOffset-1:
		return Section{}, fmt.Errorf("merged file: section ends with offset %d, want %d", w.last, nextOffset-1)
	}
	if err := w.flush(); err != nil {
		return Section{}, err
	}
	if w.s.Encoding == Framed && !savesTenth(len(w.file)-int(w.s.Position), int(w.s.Size)) {
		if err := w.unframe(); err != nil {
			return Section{}, err
		}
	}
	index := Index{Batches: w.s.Batches, Records: w.s.Records, Entries: w.raw}
	if w.s.Encoding == Framed {
		index.Entries = w.framed
	}
	w.s.StoredSize = int32(int64(len(w.file)) - w.s.Position)
	w.s.IndexSize = int32(index.size())
	w.s.NextOffset = nextOffset
	w.file = index.append(w.file)
	w.sections = append(w.sections, w.s)
	w.rawBytes += int64(w.s.Size)
	w.open = false
	return w.s, nil
}

// Abandon drops the open section, as if it had never begun. Without one it does nothing.
func (w *MergeWriter) Abandon() {
	if w.open {
		w.file = w.file[:w.s.Position]
		w.open = false
	}
}

// Size is what the file would take if it ended now, but for what compressing the last
// batches saves.
func (w *MergeWriter) Size() int64 {
	sections := len(w.sections)
	size := int64(max(len(w.file), headerSize)) + trailerSize
	if w.open {
		sections++
		size += int64(len(w.frame)) + indexFixedSize + int64(len(w.raw))*indexEntrySize
	}
	return size + footerFixedSize + int64(sections)*mergedEntrySize + sourcesSize(w.sources)
}

// Finish ends the file, which gets the ID (a UUIDv7). File.Bytes is the writer's own buffer, and
// good until the next Begin; File.Sections is the caller's.
func (w *MergeWriter) Finish(id uuid.UUID) (File, error) {
	switch {
	case w.open:
		return File{}, errors.New("merged file: the last section has not ended")
	case len(w.sections) == 0:
		return File{}, errors.New("merged file without sections")
	case !isV7(id):
		return File{}, fmt.Errorf("data file ID %v is no UUIDv7", id)
	}
	f := File{ID: id, Sections: w.sections, RawBytes: w.rawBytes}
	for i := range f.Sections {
		f.StoredBytes += int64(f.Sections[i].StoredSize)
	}
	w.file = appendEnd(w.file, id, f.Sections, w.sources)
	f.Bytes = w.file
	w.sections, w.rawBytes = nil, 0
	return f, nil
}
