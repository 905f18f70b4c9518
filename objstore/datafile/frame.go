package datafile

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// MaxFrameSize bounds the decoded bytes of a frame.
const MaxFrameSize = 1 << 20

const frameHeaderSize = 13

// Codec is how a frame's bytes are stored. The numbers are stored in files.
type Codec uint8

const (
	CodecStored Codec = 0
	CodecS2     Codec = 1
	CodecZstd   Codec = 2
)

// String returns the codec's name, "stored" for none.
func (c Codec) String() string {
	switch c {
	case CodecStored:
		return "stored"
	case CodecS2:
		return "s2"
	case CodecZstd:
		return "zstd"
	}
	return fmt.Sprintf("codec(%d)", uint8(c))
}

// Frame is one frame of a framed section, not yet decoded.
type Frame struct {
	Codec Codec
	// Size is the decoded length, 1 to MaxFrameSize.
	Size int
	// CRC is that of Stored, as the file states it.
	CRC uint32
	// Stored aliases the bytes that the frame was cut from.
	Stored []byte
}

// CutFrame splits the first frame off a framed section without decoding or
// checking its content. The lengths are checked. Errors: ErrCorrupt.
func CutFrame(stored []byte) (f Frame, rest []byte, err error) {
	if len(stored) < frameHeaderSize {
		return Frame{}, nil, fmt.Errorf("%w: %d bytes are too few for a frame header", ErrCorrupt, len(stored))
	}
	f.Codec = Codec(stored[0])
	size := binary.BigEndian.Uint32(stored[1:])
	storedSize := binary.BigEndian.Uint32(stored[5:])
	f.CRC = binary.BigEndian.Uint32(stored[9:])
	rest = stored[frameHeaderSize:]
	switch {
	case f.Codec > CodecZstd:
		return Frame{}, nil, fmt.Errorf("%w: frame codec %d is unknown", ErrCorrupt, f.Codec)
	case size == 0 || size > MaxFrameSize:
		return Frame{}, nil, fmt.Errorf("%w: frame states a decoded length of %d", ErrCorrupt, size)
	case storedSize == 0 || uint64(storedSize) > uint64(len(rest)):
		return Frame{}, nil, fmt.Errorf("%w: frame states a stored length of %d, %d bytes are left", ErrCorrupt, storedSize, len(rest))
	case f.Codec == CodecStored && storedSize != size, f.Codec != CodecStored && storedSize >= size:
		return Frame{}, nil, fmt.Errorf("%w: %v frame states stored length %d for %d decoded", ErrCorrupt, f.Codec, storedSize, size)
	}
	f.Size = int(size)
	f.Stored = rest[:storedSize:storedSize]
	return f, rest[storedSize:], nil
}

// check verifies the CRC.
func (f Frame) check() error {
	if got := crc32.Checksum(f.Stored, castagnoli); got != f.CRC {
		return fmt.Errorf("%w: frame has CRC %08x, states %08x", ErrCorrupt, got, f.CRC)
	}
	return nil
}

// AppendDecoded checks the frame's CRC and appends its decoded bytes, exactly
// f.Size of them, to dst. On an error it returns dst as it was. Errors: ErrCorrupt.
func (f Frame) AppendDecoded(dst []byte) ([]byte, error) {
	if err := f.check(); err != nil {
		return dst, err
	}
	if f.Codec == CodecStored {
		return append(dst, f.Stored...), nil
	}
	n := len(dst)
	grown := slices.Grow(dst, f.Size)
	// What the codec may write is limited by capacity, whatever its own header says.
	room := grown[n : n+f.Size : n+f.Size]
	var size int
	var err error
	switch f.Codec {
	case CodecS2:
		if size, err = s2.DecodedLen(f.Stored); err == nil && size == f.Size {
			_, err = s2.Decode(room, f.Stored)
		}
	case CodecZstd:
		var out []byte
		out, err = zstdDecoder().DecodeAll(f.Stored, room[:0])
		size = len(out)
	default:
		err = fmt.Errorf("codec %d is unknown", f.Codec)
	}
	if err != nil {
		return dst, fmt.Errorf("%w: %v frame: %w", ErrCorrupt, f.Codec, err)
	}
	if size != f.Size {
		return dst, fmt.Errorf("%w: %v frame decodes to %d bytes, states %d", ErrCorrupt, f.Codec, size, f.Size)
	}
	return grown[:n+f.Size], nil
}

// NextFrame decodes the first frame of a framed section, appends it to dst
// (nil, or a buffer to use again) and returns the frames behind it: a reader
// who wants the beginning of a section stops when it has enough. Errors: ErrCorrupt.
func NextFrame(dst, stored []byte) (decoded, rest []byte, err error) {
	f, rest, err := CutFrame(stored)
	if err != nil {
		return dst, nil, err
	}
	if decoded, err = f.AppendDecoded(dst); err != nil {
		return dst, nil, err
	}
	return decoded, rest, nil
}

// DecodeFrames decodes a whole framed section. More than limit bytes are
// ErrCorrupt, and not allocated: the caller knows the section's size. One who
// knows only a part of it (a run that a duplicate batch cut off) takes DecodeRange.
func DecodeFrames(stored []byte, limit int) ([]byte, error) {
	size := 0
	for rest := stored; len(rest) > 0; {
		f, next, err := CutFrame(rest)
		if err != nil {
			return nil, atFrame(stored, rest, err)
		}
		if size += f.Size; size > limit {
			return nil, atFrame(stored, rest, fmt.Errorf("%w: frames decode to more than %d bytes", ErrCorrupt, limit))
		}
		rest = next
	}
	return decodeFrames(stored, 0, len(stored), size)
}

// DecodeRange returns the bytes [skip, skip+size) of a framed section's
// decoded bytes, and decodes only the frames that hold them. stored begins at
// the section's begin and may be cut behind the last frame needed. Errors:
// ErrCorrupt, also when the frames end before the range does.
func DecodeRange(stored []byte, skip, size int) ([]byte, error) {
	if skip < 0 || size < 0 {
		return nil, fmt.Errorf("%w: range of %d bytes from %d", ErrCorrupt, size, skip)
	}
	if size == 0 {
		return nil, nil
	}
	// position counts decoded bytes; the frames that hold the range are
	// stored[begin:end], and their first byte is decoded byte number first.
	position, first, begin := 0, 0, 0
	rest := stored
	for position-skip < size { // not skip+size, which a lying index could make overflow
		f, next, err := CutFrame(rest)
		if err != nil {
			return nil, atFrame(stored, rest, err)
		}
		position += f.Size
		if position <= skip {
			first, begin = position, len(stored)-len(next)
		}
		rest = next
	}
	decoded, err := decodeFrames(stored, begin, len(stored)-len(rest), position-first)
	if err != nil {
		return nil, err
	}
	return decoded[skip-first:][:size:size], nil
}

// decodeFrames decodes the frames of stored[begin:end], which are known to hold size bytes.
func decodeFrames(stored []byte, begin, end, size int) ([]byte, error) {
	decoded := make([]byte, 0, size)
	for rest := stored[begin:end]; len(rest) > 0; {
		var next []byte
		var err error
		if decoded, next, err = NextFrame(decoded, rest); err != nil {
			return nil, atFrame(stored[:end], rest, err)
		}
		rest = next
	}
	return decoded, nil
}

// atFrame says in an error where the frame lies; rest is the tail of stored that begins with it.
func atFrame(stored, rest []byte, err error) error {
	return fmt.Errorf("frame at byte %d of the section: %w", len(stored)-len(rest), err)
}

// appendFrame appends the frame of decoded bytes to dst: compressed where that
// saves a tenth of them, else stored. compressed reports which.
func appendFrame(dst, decoded []byte, codec Codec) (out []byte, compressed bool) {
	start := len(dst)
	content := start + frameHeaderSize
	if codec == CodecZstd && !promising(decoded) {
		codec = CodecStored
	}
	// The codecs write straight into dst when there is room for their worst case.
	dst = slices.Grow(dst, frameHeaderSize+s2.MaxEncodedLen(len(decoded)))[:content]
	switch codec {
	case CodecS2:
		dst = dst[:content+len(s2.Encode(dst[content:cap(dst)], decoded))]
	case CodecZstd:
		dst = zstdEncoder().EncodeAll(decoded, dst)
	}
	compressed = codec != CodecStored && savesTenth(len(dst)-content, len(decoded))
	if !compressed {
		codec = CodecStored
		dst = append(dst[:content], decoded...)
	}
	head := dst[start:content]
	head[0] = byte(codec)
	binary.BigEndian.PutUint32(head[1:], uint32(len(decoded)))
	binary.BigEndian.PutUint32(head[5:], uint32(len(dst)-content))
	binary.BigEndian.PutUint32(head[9:], crc32.Checksum(dst[content:], castagnoli))
	return dst, compressed
}

const (
	// samples pieces of sampleSize bytes tell whether zstd is worth the while for what is much larger than they are.
	samples    = 8
	sampleSize = 4 << 10
)

// promising reports whether a sample of the bytes shrinks. For what doesn't (random, encrypted or compressed by
// the application), zstd would take most of a merge's time to find out. Noise that comes again only after long is taken for noise.
func promising(decoded []byte) bool {
	if len(decoded) < 4*samples*sampleSize {
		return true
	}
	sample := make([]byte, 0, samples*sampleSize)
	for i := range samples {
		at := i * (len(decoded) - sampleSize) / (samples - 1)
		sample = append(sample, decoded[at:at+sampleSize]...)
	}
	shrunk := zstdEncoder().EncodeAll(sample, make([]byte, 0, len(sample)))
	// Small pieces repeat less than the whole does.
	return len(shrunk)*100 <= len(sample)*95
}

// savesTenth reports whether stored is at least 10% less than size.
func savesTenth(stored, size int) bool { return int64(stored)*10 <= int64(size)*9 }

// One encoder and one decoder serve all goroutines; they hold no state between
// calls and start no goroutine. A frame has its own CRC, so zstd's is left out.

var zstdEncoder = sync.OnceValue(func() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault),
		zstd.WithEncoderCRC(false), zstd.WithWindowSize(MaxFrameSize))
	if err != nil {
		panic(fmt.Sprintf("zstd encoder options: %v", err)) // constants above
	}
	return e
})

var zstdDecoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true),
		zstd.WithDecoderMaxMemory(MaxFrameSize), zstd.WithDecoderMaxWindow(MaxFrameSize))
	if err != nil {
		panic(fmt.Sprintf("zstd decoder options: %v", err)) // constants above
	}
	return d
})
