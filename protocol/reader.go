package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
)

var (
	errShort    = errors.New("not enough bytes")
	errLength   = errors.New("negative length")
	errVarint   = errors.New("varint of more than 64 bits")
	errElements = fmt.Errorf("more than %d array elements and tags", maxElements)
)

// reader takes Kafka's primitive types off the front of a message. After the
// first error everything it returns is zero or nil.
type reader struct {
	src      []byte
	flexible bool // compact lengths, as in flexible versions (KIP-482)
	err      error
	// elementsRead counts towards maxElements.
	elementsRead uint64
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.src = nil
}

// span takes the next n bytes, which alias the message.
func (r *reader) span(n int) []byte { return r.span64(uint64(n)) }

func (r *reader) span64(n uint64) []byte {
	if r.err != nil || n > uint64(len(r.src)) {
		r.fail(errShort)
		return nil
	}
	span := r.src[:n:n]
	r.src = r.src[n:]
	return span
}

// uvarint takes an unsigned varint of up to 64 bits. Kafka's are of 32 bits;
// the larger ones fail wherever they are used as a length.
func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.src)
	switch {
	case r.err != nil:
		return 0
	case n == 0:
		r.fail(errShort)
		return 0
	case n < 0:
		r.fail(errVarint)
		return 0
	}
	r.src = r.src[n:]
	return v
}

// string takes a string, null or not.
func (r *reader) string() []byte {
	if r.flexible {
		return r.compact()
	}
	return r.legacyString()
}

// legacyString takes a string with 16 bits of length, -1 for null.
func (r *reader) legacyString() []byte {
	prefix := r.span(2)
	if r.err != nil {
		return nil
	}
	return r.nullable(int64(int16(binary.BigEndian.Uint16(prefix))))
}

// blob takes bytes, null or not.
func (r *reader) blob() []byte {
	if r.flexible {
		return r.compact()
	}
	return r.nullable(r.int32())
}

// compact takes what has its length plus one in front, 0 for null.
func (r *reader) compact() []byte {
	if n := r.uvarint(); n > 0 {
		return r.span64(n - 1)
	}
	return nil
}

func (r *reader) nullable(length int64) []byte {
	switch {
	case length >= 0:
		return r.span64(uint64(length))
	case length < -1:
		r.fail(errLength)
	}
	return nil
}

// int32 widens, so that it may be compared with any length.
func (r *reader) int32() int64 {
	b := r.span(4)
	if r.err != nil {
		return 0
	}
	return int64(int32(binary.BigEndian.Uint32(b)))
}

// count takes the length of an array; a null one is 0.
func (r *reader) count() uint64 {
	if r.flexible {
		n := r.uvarint()
		if n == 0 {
			return 0
		}
		return r.elements(n - 1)
	}
	n := r.int32()
	switch {
	case n < -1:
		r.fail(errLength)
		return 0
	case n == -1:
		return 0
	}
	return r.elements(uint64(n))
}

// elements admits n more array elements or tags: each takes a byte at least,
// and all of a message together stay within maxElements.
func (r *reader) elements(n uint64) uint64 {
	if n > uint64(len(r.src)) {
		r.fail(errShort)
		return 0
	}
	r.elementsRead += n
	if r.elementsRead > maxElements {
		r.fail(errElements)
		return 0
	}
	return n
}
