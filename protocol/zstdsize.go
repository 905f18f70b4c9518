package protocol

import (
	"errors"
	"math"

	"github.com/klauspost/compress/zstd"
)

var errZstdFrame = errors.New("blocks exceed the input")

const (
	zstdBlockHeaderSize = 3
	// maxZstdBlock is the most that one block decodes to.
	maxZstdBlock = 128 << 10
	zstdBlockRaw = 0
	zstdBlockRLE = 1
)

// zstdSizes walks the frames and their blocks (RFC 8878, 3.1) without decoding
// them. possible is what they decode to at most, so that a frame which announces more
// is caught before anything is allocated for it; announced is the sum of the content
// sizes, 0 when a frame does not say.
func zstdSizes(src []byte) (announced, possible uint64, err error) {
	known := true
	for len(src) > 0 {
		var header zstd.Header
		if err := header.Decode(src); err != nil {
			return 0, 0, err
		}
		src = src[header.HeaderSize:]
		if header.Skippable {
			if uint64(header.SkippableSize) > uint64(len(src)) {
				return 0, 0, errZstdFrame
			}
			src = src[header.SkippableSize:]
			continue
		}
		var size uint64
		if size, src, err = zstdBlocks(src); err != nil {
			return 0, 0, err
		}
		if header.HasCheckSum {
			if len(src) < 4 {
				return 0, 0, errZstdFrame
			}
			src = src[4:]
		}
		possible += size
		known = known && header.HasFCS
		if !known {
			continue
		}
		if header.FrameContentSize > size || announced > math.MaxInt64-size {
			return 0, 0, errors.New("frame announces more than its blocks can hold")
		}
		announced += header.FrameContentSize
	}
	if !known {
		announced = 0
	}
	return announced, possible, nil
}

// zstdBlocks skips a frame's blocks and returns what they decode to at most.
func zstdBlocks(src []byte) (possible uint64, rest []byte, err error) {
	for last := false; !last; {
		if len(src) < zstdBlockHeaderSize {
			return 0, nil, errZstdFrame
		}
		header := uint32(src[0]) | uint32(src[1])<<8 | uint32(src[2])<<16
		src = src[zstdBlockHeaderSize:]
		last = header&1 != 0
		size := int(header >> 3)
		stored, decoded := size, size
		switch header >> 1 & 3 {
		case zstdBlockRaw:
		case zstdBlockRLE:
			stored = 1
		default:
			decoded = maxZstdBlock
		}
		if stored > len(src) {
			return 0, nil, errZstdFrame
		}
		possible += uint64(decoded)
		src = src[stored:]
	}
	return possible, src, nil
}
