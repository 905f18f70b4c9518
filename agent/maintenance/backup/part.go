package backup

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/wadi-log/wadi/metadata"
)

const (
	// partSize and partRaw are what a part is cut at.
	partSize = 8 << 20
	partRaw  = 64 << 20
	// maxPartSize and maxPartRaw are more than any part has: the last row may be a large one, such as a
	// group of many members.
	maxPartSize = partSize + maxRow
	maxPartRaw  = partRaw + maxRow
	maxRow      = 256 << 20

	window = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// partWriter encodes the rows of one part after the other.
type partWriter struct {
	stored bytes.Buffer
	zstd   *zstd.Encoder
	lines  *json.Encoder
	raw    int64
	rows   int64
}

func newPartWriter() (*partWriter, error) {
	w := &partWriter{}
	var err error
	if w.zstd, err = zstd.NewWriter(&w.stored, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window)); err != nil {
		return nil, err
	}
	w.lines = json.NewEncoder(w)
	return w, nil
}

// Write implements io.Writer, for the lines.
func (w *partWriter) Write(line []byte) (int, error) {
	w.raw += int64(len(line))
	return w.zstd.Write(line)
}

// add adds a row and reports whether the part is full.
func (w *partWriter) add(row metadata.SnapshotRow) (full bool, err error) {
	w.rows++
	if err := w.lines.Encode(row); err != nil {
		return false, err
	}
	return w.raw >= partRaw || w.stored.Len() >= partSize, nil
}

// cut ends the part. Its bytes are valid until the next row is added.
func (w *partWriter) cut() (Part, []byte, error) {
	if err := w.zstd.Close(); err != nil {
		return Part{}, nil, err
	}
	b := w.stored.Bytes()
	p := Part{Rows: w.rows, Size: int64(len(b)), RawSize: w.raw, CRC: crc32.Checksum(b, castagnoli)}
	w.stored.Reset()
	w.zstd.Reset(&w.stored)
	w.raw, w.rows = 0, 0
	return p, b, nil
}

// read calls visit with the part's rows, from its bytes. Errors: ErrDamaged, visit's.
func (p Part) read(b []byte, visit func(metadata.SnapshotRow) error) error {
	if crc := crc32.Checksum(b, castagnoli); int64(len(b)) != p.Size || crc != p.CRC {
		return fmt.Errorf("%w: it has %d bytes of CRC %08x, and should have %d of %08x", ErrDamaged, len(b), crc, p.Size, p.CRC)
	}
	decoder, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(window), zstd.WithDecoderLowmem(true))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	defer decoder.Close()
	lines := json.NewDecoder(io.LimitReader(decoder, p.RawSize+1))
	// What this version doesn't know must not get lost in silence.
	lines.DisallowUnknownFields()
	rows := int64(0)
	for {
		var row metadata.SnapshotRow
		err := lines.Decode(&row)
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("%w: row %d: %w", ErrDamaged, rows, err)
		}
		rows++
		if err := visit(row); err != nil {
			return err
		}
	}
	if raw := lines.InputOffset(); rows != p.Rows || raw > p.RawSize {
		return fmt.Errorf("%w: it has %d rows in %d bytes, and should have %d in %d", ErrDamaged, rows, raw, p.Rows, p.RawSize)
	}
	return nil
}
