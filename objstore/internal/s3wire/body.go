package s3wire

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
)

// Body is the body of a PUT. An HTTP transport may go on reading a request's
// body after the response has arrived (an early 503); after Detach it no
// longer can, so the bytes are the caller's again.
type Body struct {
	mu   sync.Mutex // held while bytes are copied
	data []byte     // nil once detached
	pos  int64
	gone bool
}

// errDetached meets a transport that reads on after the call.
var errDetached = errors.New("request body is no longer available")

// NewBody returns a Body that reads data.
func NewBody(data []byte) *Body { return &Body{data: data} }

// Len returns the number of bytes that are left to read. Libraries look for it.
func (b *Body) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.data) - int(b.pos)
}

// Read implements io.Reader.
func (b *Body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.gone:
		return 0, errDetached
	case b.pos >= int64(len(b.data)):
		return 0, io.EOF
	}
	n := copy(p, b.data[b.pos:])
	b.pos += int64(n)
	return n, nil
}

// Seek implements io.Seeker: the libraries measure and rewind bodies.
func (b *Body) Seek(offset int64, whence int) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += b.pos
	case io.SeekEnd:
		offset += int64(len(b.data))
	}
	if b.gone {
		return 0, errDetached
	}
	if offset < 0 || offset > int64(len(b.data)) {
		return 0, fmt.Errorf("seek to %d of %d bytes", offset, len(b.data))
	}
	b.pos = offset
	return offset, nil
}

// Detach gives the bytes back to the caller: no read returns any from now on.
func (b *Body) Detach() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data, b.pos, b.gone = nil, 0, true
}

// CRC32C returns the checksum of data as S3 wants it in the header
// x-amz-checksum-crc32c: the Castagnoli CRC, big endian, in base64.
func CRC32C(data []byte) string {
	sum := crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}
