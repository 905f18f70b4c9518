// Package rowcodec turns what the metadata stores keep in opaque columns into
// bytes and back: the payload of a feed entry, the replay record of a file,
// the last batches of a producer, and what an agent heard of a group's members.
//
// Both stores use it, so that the formats exist once. Each value opens with a
// version byte; a decoder refuses versions that it does not know, and bytes
// that end early or late, with [ErrCorrupt]. It never allocates more than a
// small multiple of its input.
//
// Integers are varints (encoding/binary). Those that grow from one element to
// the next are stored as differences: a run of a hundred-partition commit
// takes about 15 bytes.
package rowcodec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/google/uuid"
)

// ErrCorrupt: the bytes are no value of this format.
var ErrCorrupt = errors.New("corrupt metadata row")

// version is the first byte of every value.
const version = 1

// reader takes a value apart. After the first failure all reads return zero
// and err stays; done reports it.
type reader struct {
	rest []byte
	err  error
}

func newReader(b []byte) *reader {
	r := &reader{rest: b}
	if v := r.byte(); r.err == nil && v != version {
		r.fail("version %d", v)
	}
	return r
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
	}
	r.rest = nil
}

func (r *reader) byte() byte {
	if len(r.rest) == 0 {
		r.fail("ends early")
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail("bad varint")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.fail("bad varint")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// int32 reads a non-negative number of 31 bits.
func (r *reader) int32() int32 {
	v := r.uvarint()
	if v > math.MaxInt32 {
		r.fail("%d is no 31-bit number", v)
		return 0
	}
	return int32(v)
}

// count reads the number of elements that follow, each of at least size bytes.
func (r *reader) count(size int) int {
	n := r.uvarint()
	if n > uint64(len(r.rest)/size) {
		r.fail("%d elements in %d bytes", n, len(r.rest))
		return 0
	}
	return int(n)
}

// string reads a length and as many bytes.
func (r *reader) string() string {
	n := r.count(1)
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}

func (r *reader) uuid() (id uuid.UUID) {
	if len(r.rest) < len(id) {
		r.fail("ends early")
		return id
	}
	copy(id[:], r.rest)
	r.rest = r.rest[len(id):]
	return id
}

// done reports what went wrong, or bytes that nobody read.
func (r *reader) done() error {
	if len(r.rest) > 0 {
		r.fail("%d bytes too many", len(r.rest))
	}
	return r.err
}
