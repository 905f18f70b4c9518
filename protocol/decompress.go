package protocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Decompress undoes Compress, and what other Kafka clients write: snappy with
// or without Java's framing, lz4 frames of any block size, concatenated gzip members and
// zstd frames. The result is the caller's, except that CodecNone returns src.
//
// It never returns more than limit bytes, and the memory it takes follows what was
// really decoded, not what headers announce. Errors: ErrTooLarge, ErrCorruptBatch,
// ErrUnsupportedCodec.
func Decompress(codec Codec, src []byte, limit int) ([]byte, error) {
	// More than a batch's length can say is no limit, and a sum with it overflows.
	limit = min(max(limit, 0), math.MaxInt32)
	var out []byte
	var err error
	switch codec {
	case CodecNone:
		if len(src) > limit {
			return nil, tooLarge(codec, limit)
		}
		return src, nil
	case CodecGzip:
		out, err = gunzip(src, limit)
	case CodecSnappy:
		out, err = unsnappy(src, limit)
	case CodecLZ4:
		out, err = unlz4(src, limit)
	case CodecZstd:
		out, err = unzstd(src, limit)
	default:
		return nil, fmt.Errorf("%w: %d", ErrUnsupportedCodec, codec)
	}
	switch {
	case errors.Is(err, ErrTooLarge):
		return nil, tooLarge(codec, limit)
	case err != nil:
		return nil, fmt.Errorf("%w: %s: %w", ErrCorruptBatch, codec, err)
	}
	return out, nil
}

func tooLarge(codec Codec, limit int) error {
	return fmt.Errorf("%w: %s, %d bytes", ErrTooLarge, codec, limit)
}

// readAll reads r to its end, from a buffer that starts near the size of what
// is compressed and grows as bytes arrive. ErrTooLarge after limit bytes.
func readAll(r io.Reader, compressed, limit int) ([]byte, error) {
	// One byte above the limit tells its end from too much.
	out := make([]byte, 0, min(2*compressed+512, limit+1))
	for {
		if len(out) == cap(out) {
			// At least doubled: append's own steps get small when it is large.
			out = slices.Grow(out, min(len(out), limit+1-len(out)))
		}
		n, err := r.Read(out[len(out):cap(out)])
		out = out[:len(out)+n]
		switch {
		case len(out) > limit:
			return nil, ErrTooLarge
		case err == io.EOF:
			return out, nil
		case err != nil:
			return nil, err
		}
	}
}

// A reader is put back in its pool without its source, which may be large.
var nothing = bytes.NewReader(nil)

var gzipReaders sync.Pool

func gunzip(src []byte, limit int) ([]byte, error) {
	r, _ := gzipReaders.Get().(*gzip.Reader)
	if r == nil {
		r = new(gzip.Reader)
	}
	defer gzipReaders.Put(r)
	if err := r.Reset(bytes.NewReader(src)); err != nil {
		return nil, err
	}
	return readAll(r, len(src), limit)
}

var lz4Readers sync.Pool

// unlz4 holds a block of up to 4 MiB besides the output: the format's largest.
func unlz4(src []byte, limit int) ([]byte, error) {
	r, _ := lz4Readers.Get().(*lz4.Reader)
	if r == nil {
		r = lz4.NewReader(nil)
	}
	r.Reset(bytes.NewReader(src))
	defer func() {
		r.Reset(nothing)
		lz4Readers.Put(r)
	}()
	return readAll(r, len(src), limit)
}

// xerialMagic starts the stream of Java's SnappyOutputStream; 4 bytes of version and
// 4 of the lowest compatible version follow, then blocks, each after 4 bytes of length.
var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const xerialHeaderSize = 16

func unsnappy(src []byte, limit int) ([]byte, error) {
	if len(src) < xerialHeaderSize || !bytes.HasPrefix(src, xerialMagic) {
		return appendUnsnappy(nil, src, limit)
	}
	blocks := src[xerialHeaderSize:]
	// The sizes of all blocks first, so that the result is allocated once.
	total := 0
	for rest := blocks; len(rest) > 0; {
		block, next, err := xerialBlock(rest)
		if err != nil {
			return nil, err
		}
		size, err := snappySize(block, limit-total)
		if err != nil {
			return nil, err
		}
		total += size
		rest = next
	}
	out := make([]byte, 0, total)
	for rest := blocks; len(rest) > 0; {
		block, next, err := xerialBlock(rest)
		if err != nil {
			return nil, err
		}
		if out, err = appendUnsnappy(out, block, limit); err != nil {
			return nil, err
		}
		rest = next
	}
	return out, nil
}

// xerialBlock splits the next block off.
func xerialBlock(src []byte) (block, rest []byte, err error) {
	if len(src) < 4 {
		return nil, nil, errors.New("block without length")
	}
	size := int64(binary.BigEndian.Uint32(src))
	src = src[4:]
	if size > int64(len(src)) {
		return nil, nil, fmt.Errorf("block announces %d bytes of %d", size, len(src))
	}
	return src[:size], src[size:], nil
}

// maxSnappyRatio is above what the format can do: its densest element makes 64
// bytes of 3.
const maxSnappyRatio = 22

// snappySize is what the block announces to decode to, if that is possible
// and at most limit.
func snappySize(block []byte, limit int) (int, error) {
	size, err := snappy.DecodedLen(block)
	switch {
	case err != nil:
		return 0, err
	case size > limit:
		return 0, ErrTooLarge
	case size > maxSnappyRatio*len(block):
		return 0, fmt.Errorf("%d bytes announce %d", len(block), size)
	}
	return size, nil
}

// appendUnsnappy decodes one block to the end of out.
func appendUnsnappy(out, block []byte, limit int) ([]byte, error) {
	size, err := snappySize(block, limit-len(out))
	if err != nil {
		return nil, err
	}
	start := len(out)
	out = slices.Grow(out, size)[:start+size]
	if _, err := snappy.Decode(out[start:], block); err != nil {
		return nil, err
	}
	return out, nil
}

// maxZstdWindow is the window of zstd's highest level, which a Java producer
// announces for records of any size. It is not allocated here.
const maxZstdWindow = 128 << 20

// zstdDecoder serves all; it holds a decoder per processor.
var zstdDecoder = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxWindow(maxZstdWindow),
		// Without this DecodeAll trusts the announced content size.
		zstd.WithDecodeAllCapLimit(true))
})

func unzstd(src []byte, limit int) ([]byte, error) {
	decoder, err := zstdDecoder()
	if err != nil {
		return nil, err
	}
	announced, possible, err := zstdSizes(src)
	if err != nil {
		return nil, err
	}
	if announced > uint64(limit) {
		return nil, ErrTooLarge
	}
	most := int(min(possible, uint64(limit)))
	size := min(int(announced), most)
	if size == 0 {
		size = min(4*len(src)+512, most)
	}
	for {
		out, err := decoder.DecodeAll(src, make([]byte, 0, size))
		// Without room the decoder stops with one of several errors, none of which is
		// that alone; what it has decoded until then tells whether the next block had room.
		noRoom := errors.Is(err, zstd.ErrDecoderSizeExceeded) || size-len(out) < maxZstdBlock
		switch {
		case err == nil:
			return out, nil
		case noRoom && size == most && possible > uint64(limit):
			return nil, ErrTooLarge
		case !noRoom || size == most:
			return nil, err
		}
		// Java streams, so its frames don't say their size. Starting over costs
		// at most as much again as the last pass.
		size = min(4*size, most)
	}
}
