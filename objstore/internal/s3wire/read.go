package s3wire

import (
	"errors"
	"fmt"
	"io"
)

// maxRead bounds what is read of an object whose size is not known before: no
// data file comes near it, and the size is told by the other side.
const maxRead = 1 << 30

// ByteRange returns the Range header of a Get; "" for the whole object. S3
// knows no empty range: for length 0 it asks for one byte.
func ByteRange(offset, length int64) string {
	if length < 0 {
		if offset == 0 {
			return ""
		}
		return fmt.Sprintf("bytes=%d-", offset)
	}
	last := offset + max(length, 1) - 1
	if last < offset { // beyond the largest offset there is
		return fmt.Sprintf("bytes=%d-", offset)
	}
	return fmt.Sprintf("bytes=%d-%d", offset, last)
}

// ReadBody reads the answer to a Get of the range. size is its Content-Length, -1
// when unknown; contentRange is its header, "" for a whole object.
func ReadBody(r io.Reader, size int64, contentRange string, offset, length int64) ([]byte, error) {
	if ByteRange(offset, length) != "" {
		var first, last int64
		_, err := fmt.Sscanf(contentRange, "bytes %d-%d", &first, &last)
		if err != nil || first != offset || last < first {
			return nil, fmt.Errorf("asked for bytes from %d, got Content-Range %q: the store does not serve ranges", offset, contentRange)
		}
		if size < 0 {
			size = last - first + 1
		}
	}
	limit := int64(maxRead)
	if length >= 0 {
		limit = max(length, 1)
	}
	if size > limit {
		return nil, fmt.Errorf("asked for at most %d bytes, got %d", limit, size)
	}
	if size < 0 {
		return readUnknown(r, limit)
	}
	data := make([]byte, size)
	if n, err := io.ReadFull(r, data); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("connection ended after %d of %d bytes: %w", n, size, err)
	}
	if length == 0 {
		data = data[:0]
	}
	return data, nil
}

// readUnknown reads to the end of r, which must come before limit.
func readUnknown(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("connection ended after %d bytes: %w", len(data), err)
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("asked for at most %d bytes, got more", limit)
	}
	return data, nil
}
