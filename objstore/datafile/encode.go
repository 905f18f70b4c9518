package datafile

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/google/uuid"
	"github.com/klauspost/compress/s2"
)

// minMixedFrame is the size from which a frame ends where batches that the
// client compressed begin or end. Those then need no decoding, and small ones
// don't cut a section to shreds.
const minMixedFrame = 64 << 10

// maxPooledBuffer bounds the buffers that are kept for the next file.
const maxPooledBuffer = 32 << 20

// Encode writes the data file id (a UUIDv7). It sorts inputs in place by
// (topic ID, partition), so that File.Sections[i] describes inputs[i] when it
// returns, and copies the batches.
//
// Where in-file compression saves at least a tenth of a section, the section
// is framed. It is not tried where clients compressed more than half of the
// bytes, and given up when the first frame doesn't gain.
//
// The number of allocations does not depend on the number of batches. Errors
// are the caller's: an ID of another version, an unknown compression, no
// input, a partition twice, an empty batch, a section over 2 GiB or 2^31
// records.
func Encode(id uuid.UUID, c Compression, inputs []Input) (File, error) {
	codec, err := c.codec()
	if err != nil {
		return File{}, err
	}
	if !isV7(id) {
		return File{}, fmt.Errorf("data file ID %v is no UUIDv7", id)
	}
	if len(inputs) == 0 {
		return File{}, errors.New("data file without sections")
	}
	slices.SortFunc(inputs, func(a, b Input) int {
		return comparePartitions(a.TopicID, a.Partition, b.TopicID, b.Partition)
	})
	e := encoders.Get().(*encoder)
	defer e.release()
	return e.encode(id, codec, inputs)
}

func comparePartitions(topicA uuid.UUID, a int32, topicB uuid.UUID, b int32) int {
	return cmp.Or(bytes.Compare(topicA[:], topicB[:]), cmp.Compare(a, b))
}

// encoder holds the buffers that one Encode after another uses.
type encoder struct {
	codec Codec
	// file is where a file with framed sections is built: what they will take
	// is known only afterwards, and the result must not keep the difference.
	file   []byte
	joined []byte // the batches of one frame
	runs   []ProducerRun
}

var encoders = sync.Pool{New: func() any { return new(encoder) }}

func (e *encoder) release() {
	if cap(e.file) > maxPooledBuffer {
		e.file = nil
	}
	e.file, e.joined, e.runs = e.file[:0], e.joined[:0], e.runs[:0]
	encoders.Put(e)
}

func (e *encoder) encode(id uuid.UUID, codec Codec, inputs []Input) (File, error) {
	e.codec = codec
	f := File{ID: id, Sections: make([]Section, len(inputs))}
	compress := false
	for i := range inputs {
		if i > 0 && inputs[i].TopicID == inputs[i-1].TopicID && inputs[i].Partition == inputs[i-1].Partition {
			return File{}, fmt.Errorf("partition %d of topic %v twice", inputs[i].Partition, inputs[i].TopicID)
		}
		if err := e.describe(&f.Sections[i], &inputs[i]); err != nil {
			return File{}, fmt.Errorf("partition %d of topic %v: %w", inputs[i].Partition, inputs[i].TopicID, err)
		}
		f.RawBytes += int64(f.Sections[i].Size)
		compress = compress || f.Sections[i].Encoding == Framed
	}
	runs := slices.Clone(e.runs)
	for i := range f.Sections {
		s := &f.Sections[i]
		n := len(s.Producers)
		s.Producers = nil
		if n > 0 {
			s.Producers, runs = runs[:n:n], runs[n:]
		}
	}

	footer := footerSize(f.Sections, nil)
	if footer > math.MaxUint32 {
		return File{}, fmt.Errorf("footer of %d bytes", footer)
	}
	size := headerSize + int(f.RawBytes) + int(footer) + trailerSize
	if !compress {
		f.Bytes = e.write(make([]byte, 0, size), &f, inputs)
		return f, nil
	}
	// A section that turns out raw takes no more than planned, and until then
	// it is at most one frame's worst case above.
	e.file = e.write(slices.Grow(e.file, size+frameHeaderSize+s2.MaxEncodedLen(MaxFrameSize)), &f, inputs)
	f.Bytes = slices.Clone(e.file)
	return f, nil
}

// describe fills all that doesn't depend on how the section is stored, with
// Encoding Framed where compressing is worth a try. s.Producers gets its
// length here but moves later.
func (e *encoder) describe(s *Section, in *Input) error {
	if in.Partition < 0 {
		return errors.New("negative partition")
	}
	if len(in.Batches) == 0 {
		return errors.New("no batches")
	}
	firstRun := len(e.runs)
	var size, records, byClient int64
	s.MaxTimestamp = in.Batches[0].MaxTimestamp
	for i := range in.Batches {
		b := &in.Batches[i]
		if len(b.Bytes) == 0 || b.Records < 1 {
			return fmt.Errorf("batch %d has %d bytes and %d records", i, len(b.Bytes), b.Records)
		}
		if b.ProducerID >= 0 {
			if b.ProducerEpoch < 0 || b.BaseSequence < 0 {
				return fmt.Errorf("batch %d of producer %d has epoch %d and sequence %d", i, b.ProducerID, b.ProducerEpoch, b.BaseSequence)
			}
			e.addToRun(b, i > 0 && in.Batches[i-1].ProducerID >= 0)
		}
		size += int64(len(b.Bytes))
		records += int64(b.Records)
		if b.Compressed {
			byClient += int64(len(b.Bytes))
		}
		s.MaxTimestamp = max(s.MaxTimestamp, b.MaxTimestamp)
	}
	if size > math.MaxInt32 || records > math.MaxInt32 || len(in.Batches) > math.MaxInt32 {
		return fmt.Errorf("%d bytes and %d records are more than a section can hold", size, records)
	}
	s.TopicID, s.Partition = in.TopicID, in.Partition
	s.Size, s.Records, s.Batches = int32(size), int32(records), int32(len(in.Batches))
	s.Producers = e.runs[firstRun:]
	if e.codec != CodecStored && byClient*2 <= size {
		s.Encoding = Framed
	}
	return nil
}

// addToRun joins the batch to the last run where it continues it. neighbour
// is whether that run is of this section and ends with the batch before.
func (e *encoder) addToRun(b *Batch, neighbour bool) {
	last := int32((int64(b.BaseSequence) + int64(b.Records) - 1) & math.MaxInt32)
	if neighbour {
		r := &e.runs[len(e.runs)-1]
		if r.ProducerID == b.ProducerID && r.ProducerEpoch == b.ProducerEpoch &&
			b.BaseSequence == int32((int64(r.LastSequence)+1)&math.MaxInt32) {
			r.LastSequence = last
			r.Batches++
			return
		}
	}
	e.runs = append(e.runs, ProducerRun{b.ProducerID, b.ProducerEpoch, b.BaseSequence, last, 1})
}

// write appends the file to dst and completes f.Sections on the way.
func (e *encoder) write(dst []byte, f *File, inputs []Input) []byte {
	dst = appendHeader(dst)
	for i := range inputs {
		s := &f.Sections[i]
		start := len(dst)
		if s.Encoding == Framed {
			var ok bool
			if dst, ok = e.appendFramed(dst, inputs[i].Batches, int(s.Size)); !ok {
				s.Encoding = Raw
			}
		}
		if s.Encoding == Raw {
			for j := range inputs[i].Batches {
				dst = append(dst, inputs[i].Batches[j].Bytes...)
			}
		}
		s.Position, s.StoredSize = int64(start), int32(len(dst)-start)
		f.StoredBytes += int64(s.StoredSize)
	}
	return appendEnd(dst, f.ID, f.Sections, nil)
}

// appendFramed appends the batches, size bytes, as frames. When that doesn't
// save a tenth it returns dst as it was and false, as early as it knows.
func (e *encoder) appendFramed(dst []byte, batches []Batch, size int) ([]byte, bool) {
	start := len(dst)
	sampled := false
	for i := 0; i < len(batches); {
		end, worth := nextFrame(batches, i)
		codec := CodecStored
		if worth {
			codec = e.codec
		}
		for data := e.join(batches[i:end]); len(data) > 0; {
			n := min(len(data), MaxFrameSize)
			var compressed bool
			dst, compressed = appendFrame(dst, data[:n], codec)
			if worth && !sampled && !compressed || !savesTenth(len(dst)-start, size) {
				return dst[:start], false
			}
			sampled = sampled || worth
			data = data[n:]
		}
		i = end
	}
	return dst, true
}

// nextFrame returns the end of the batches from i on that make one frame (or,
// for a batch above MaxFrameSize, several of its own), and whether any of them
// is worth compressing.
func nextFrame(batches []Batch, i int) (end int, worth bool) {
	size := len(batches[i].Bytes)
	worth = !batches[i].Compressed
	for end = i + 1; end < len(batches); end++ {
		b := &batches[end]
		if size+len(b.Bytes) > MaxFrameSize || size >= minMixedFrame && b.Compressed != batches[end-1].Compressed {
			break
		}
		size += len(b.Bytes)
		worth = worth || !b.Compressed
	}
	return end, worth
}

// join returns the bytes of the batches in one piece; a single one is not copied.
func (e *encoder) join(batches []Batch) []byte {
	if len(batches) == 1 {
		return batches[0].Bytes
	}
	e.joined = e.joined[:0]
	for i := range batches {
		e.joined = append(e.joined, batches[i].Bytes...)
	}
	return e.joined
}
