package protocol

import (
	"encoding/binary"
	"fmt"
	"io"
)

// MaxFrameBytes is the largest request accepted, without its size prefix: the
// default of Kafka's socket.request.max.bytes.
const MaxFrameBytes = 100 << 20

// minFrameBytes holds what every request header starts with: key, version and
// correlation ID.
const minFrameBytes = 8

// ReadFrameSize reads the 4 bytes that precede every request and returns the
// size of the frame that follows, which the caller may then allocate and read.
//
// Errors: io.EOF when the peer closed between two frames, io.ErrUnexpectedEOF
// within the size, ErrFrameSize for a size that is negative, too small for a
// header, or above limit.
func ReadFrameSize(r io.Reader, limit int32) (int32, error) {
	var prefix [4]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return 0, err
	}
	size := int32(binary.BigEndian.Uint32(prefix[:]))
	if size < minFrameBytes || size > limit {
		return 0, fmt.Errorf("%w: %d bytes, allowed are %d to %d", ErrFrameSize, size, minFrameBytes, limit)
	}
	return size, nil
}
