package fetch

import (
	"context"
	"errors"
	"io"

	"github.com/wadi-log/wadi/protocol"
)

// cursor walks over the bytes of a source, across the borders of its pieces.
type cursor struct {
	source source
	// head comes before rest: what peek had to join across a border.
	head   []byte
	rest   []byte
	joined [protocol.BatchHeaderSize]byte
}

// peek returns the next n bytes, at most a batch header, without passing them.
// They are valid until the next call.
func (c *cursor) peek(ctx context.Context, n int) ([]byte, error) {
	if len(c.head) == 0 && len(c.rest) >= n {
		return c.rest[:n], nil
	}
	for len(c.head) < n {
		if err := c.refill(ctx); err != nil {
			return nil, err
		}
		have := copy(c.joined[:], c.head)
		moved := min(n-have, len(c.rest))
		copy(c.joined[have:], c.rest[:moved])
		c.head = c.joined[:have+moved]
		c.rest = c.rest[moved:]
	}
	return c.head[:n], nil
}

// skip passes n bytes.
func (c *cursor) skip(ctx context.Context, n int64) error {
	for n > 0 {
		part, err := c.take(ctx, n)
		if err != nil {
			return err
		}
		n -= int64(len(part))
	}
	return nil
}

// appendTo appends the next n bytes to dst, which has n bytes of room or grows.
func (c *cursor) appendTo(ctx context.Context, dst []byte, n int64) ([]byte, error) {
	for n > 0 {
		part, err := c.take(ctx, n)
		if err != nil {
			return dst, err
		}
		dst = append(dst, part...)
		n -= int64(len(part))
	}
	return dst, nil
}

// take passes up to n bytes, at least one, and returns them; they are valid
// until the next call.
func (c *cursor) take(ctx context.Context, n int64) ([]byte, error) {
	from := &c.head
	if len(c.head) == 0 {
		if err := c.refill(ctx); err != nil {
			return nil, err
		}
		from = &c.rest
	}
	part := (*from)[:min(n, int64(len(*from)))]
	*from = (*from)[len(part):]
	return part, nil
}

// refill makes sure that rest has a byte.
func (c *cursor) refill(ctx context.Context) error {
	for len(c.rest) == 0 {
		piece, err := c.source.next(ctx)
		if errors.Is(err, io.EOF) {
			return errShortFile // the run goes on, its bytes don't
		}
		if err != nil {
			return err
		}
		c.rest = piece
	}
	return nil
}

// close ends the walk and gives the source's buffers back.
func (c *cursor) close() { c.source.close(len(c.head) + len(c.rest)) }
