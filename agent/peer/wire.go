package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/objstore"
)

// A call is a POST to blocksPath. All numbers are big-endian.
//
//	request   version u8 = 1 | spans u16 | spans times: file [16]byte | position u64 | length u32 | flags u8 (1 is hot)
//	answer    frames until the end: kind u8 | span u16 | length u32 | length bytes
//
// Each span is answered by one frame, in any order, by its number in the request. Beats come in between. Only frames of
// kind bytes have any. A request without spans asks whether anybody is there.
const (
	blocksPath = "/v1/blocks"

	wireVersion   = 1
	headerSize    = 3
	spanSize      = 16 + 8 + 4 + 1
	frameSize     = 1 + 2 + 4
	flagHot       = 1
	maxSpans      = 64
	maxCallBytes  = 2 * MaxSpanBytes
	maxRequest    = headerSize + maxSpans*spanSize
	maxSpanEnding = 1 << 62 // no position overflows
)

// MaxSpanBytes is the most that can be asked for in one piece.
const MaxSpanBytes = 16 << 20

// kind is what a frame of an answer says.
type kind uint8

const (
	kindBeat     kind = iota // still at work
	kindBytes                // the bytes of a span, fewer than asked for only where the file ends
	kindNotFound             // objstore.ErrNotFound
	kindRange                // objstore.ErrRange
	kindFailed               // the owner can't tell
)

var (
	errWire = errors.New("malformed message of a peer")
	// errFailed: the owner could not read the span itself.
	errFailed = errors.New("the owner could not read it")
)

// span is a part of a file that is asked for.
type span struct {
	file             uuid.UUID
	position, length int64
	hot              bool // for the tail of the log
}

// check says what is wrong with a span.
func (s span) check() error {
	if s.position < 0 || s.length < 1 || s.length > MaxSpanBytes || s.position > maxSpanEnding {
		return fmt.Errorf("%w: %d bytes from byte %d", errWire, s.length, s.position)
	}
	return nil
}

// appendRequest appends the spans, at most maxSpans, to dst.
func appendRequest(dst []byte, spans []span) []byte {
	dst = append(dst, wireVersion)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(spans)))
	for _, s := range spans {
		dst = append(dst, s.file[:]...)
		dst = binary.BigEndian.AppendUint64(dst, uint64(s.position))
		dst = binary.BigEndian.AppendUint32(dst, uint32(s.length))
		flags := byte(0)
		if s.hot {
			flags = flagHot
		}
		dst = append(dst, flags)
	}
	return dst
}

// parseRequest is the inverse of appendRequest.
func parseRequest(body []byte) ([]span, error) {
	if len(body) < headerSize || body[0] != wireVersion {
		return nil, fmt.Errorf("%w: no request of version %d", errWire, wireVersion)
	}
	n := int(binary.BigEndian.Uint16(body[1:]))
	body = body[headerSize:]
	if n > maxSpans || len(body) != n*spanSize {
		return nil, fmt.Errorf("%w: %d spans in %d bytes", errWire, n, len(body))
	}
	spans := make([]span, n)
	sum := int64(0)
	for i := range spans {
		b := body[i*spanSize:]
		s := span{
			file: uuid.UUID(b[:16]), position: int64(binary.BigEndian.Uint64(b[16:])),
			length: int64(binary.BigEndian.Uint32(b[24:])), hot: b[28] == flagHot,
		}
		if err := s.check(); err != nil {
			return nil, err
		}
		if b[28] > flagHot {
			return nil, fmt.Errorf("%w: flags %#x", errWire, b[28])
		}
		if sum += s.length; sum > maxCallBytes {
			return nil, fmt.Errorf("%w: more than %d bytes asked for", errWire, maxCallBytes)
		}
		spans[i] = s
	}
	return spans, nil
}

// writeFrame writes a frame of an answer.
func writeFrame(w io.Writer, k kind, number int, pieces ...[]byte) error {
	length := 0
	for _, p := range pieces {
		length += len(p)
	}
	var head [frameSize]byte
	head[0] = byte(k)
	binary.BigEndian.PutUint16(head[1:], uint16(number))
	binary.BigEndian.PutUint32(head[3:], uint32(length))
	if _, err := w.Write(head[:]); err != nil {
		return err
	}
	for _, p := range pieces {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// readAnswer reads an answer to the spans to its end, and hands on what it says of each. Errors of spans are
// objstore.ErrNotFound, objstore.ErrRange and errFailed. Its own error means that nothing more
// is said, although not all spans may have been answered.
func readAnswer(r io.Reader, spans []span, answered func(number int, data []byte, err error)) error {
	done := make([]bool, len(spans))
	left := len(spans)
	for {
		var head [frameSize]byte
		switch _, err := io.ReadFull(r, head[:]); {
		case errors.Is(err, io.EOF) && left == 0:
			return nil
		case errors.Is(err, io.EOF):
			return fmt.Errorf("%w: %d of %d spans without an answer", errWire, left, len(spans))
		case err != nil:
			return err
		}
		k, number, length := kind(head[0]), int(binary.BigEndian.Uint16(head[1:])), int64(binary.BigEndian.Uint32(head[3:]))
		if length > 0 && k != kindBytes {
			return fmt.Errorf("%w: %d bytes in a frame of kind %d", errWire, length, k)
		}
		if k == kindBeat {
			continue
		}
		if number >= len(spans) || done[number] || length > spans[number].length {
			return fmt.Errorf("%w: an answer of %d bytes that nobody asked for", errWire, length)
		}
		var data []byte
		var failure error
		switch k {
		case kindBytes:
			data = make([]byte, length)
			if _, err := io.ReadFull(r, data); err != nil {
				return err
			}
		case kindNotFound:
			failure = objstore.ErrNotFound
		case kindRange:
			failure = objstore.ErrRange
		case kindFailed:
			failure = errFailed
		default:
			return fmt.Errorf("%w: kind %d", errWire, k)
		}
		done[number] = true
		left--
		answered(number, data, failure)
	}
}
