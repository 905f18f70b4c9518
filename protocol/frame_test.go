package protocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
)

func TestReadFrameSize(t *testing.T) {
	size := func(n int64) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
	for _, c := range []struct {
		name string
		in   []byte
		want int32
		err  error
	}{
		{"smallest", size(8), 8, nil},
		{"largest", size(1000), 1000, nil},
		{"above the limit", size(1001), 0, ErrFrameSize},
		{"enormous", size(1<<31 - 1), 0, ErrFrameSize},
		{"negative", size(-1), 0, ErrFrameSize},
		{"most negative", size(-1 << 31), 0, ErrFrameSize},
		{"empty", size(0), 0, ErrFrameSize},
		{"no room for a header", size(7), 0, ErrFrameSize},
		{"an HTTP request", []byte("GET / HTTP/1.1"), 0, ErrFrameSize},
		{"a TLS hello", []byte{0x16, 3, 1, 2, 0}, 0, ErrFrameSize},
		{"closed between frames", nil, 0, io.EOF},
		{"closed within the size", []byte{0, 0}, 0, io.ErrUnexpectedEOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ReadFrameSize(bytes.NewReader(c.in), 1000)
			if got != c.want || !errors.Is(err, c.err) {
				t.Errorf("got %d, %v; want %d, %v", got, err, c.want, c.err)
			}
		})
	}
}
