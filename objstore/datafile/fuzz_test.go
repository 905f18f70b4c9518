package datafile_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/klauspost/compress/s2"

	"github.com/wadi-log/wadi/objstore/datafile"
)

// FuzzReadFooter reads files as they come, and again with the trailer's CRC put
// right, without which random bytes would get no further than there.
func FuzzReadFooter(f *testing.F) {
	for _, g := range goldens {
		file := mustEncode(f, g.compression, g.inputs()...)
		f.Add(file.Bytes)
		f.Add(file.Bytes[:len(file.Bytes)-1])
	}
	f.Add([]byte("WADI\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00IDAW"))
	f.Fuzz(func(t *testing.T, file []byte) {
		readAny(t, file)
		if len(file) < 16 {
			return
		}
		end := len(file) - 16
		if size := int64(binary.BigEndian.Uint32(file[end:])); size <= int64(end) {
			readAny(t, seal(bytes.Clone(file)))
		}
	})
}

// readAny checks that both readers agree, and that a footer which is taken
// for right describes sections inside the file.
func readAny(t *testing.T, file []byte) {
	footer, err := datafile.ReadFooter(file)
	opened, openErr := datafile.Open(t.Context(), &object{b: file}, int64(len(file)))
	if err != nil {
		if !errors.Is(err, datafile.ErrCorrupt) && !errors.Is(err, datafile.ErrVersion) {
			t.Fatalf("ReadFooter: %v", err)
		}
		if openErr == nil && len(file) <= 64<<10 {
			t.Fatalf("Open takes what ReadFooter refuses with %v", err)
		}
		return
	}
	if openErr != nil || len(opened.Sections) != len(footer.Sections) {
		t.Fatalf("Open: %v", openErr)
	}
	position := int64(8)
	for c, err := range footer.Contents(file) {
		if c.Position != position {
			t.Fatalf("section at %d, want %d", c.Position, position)
		}
		position += int64(c.StoredSize)
		switch {
		case err == nil && len(c.Bytes) != int(c.Size):
			t.Fatalf("section of %d bytes decodes to %d", c.Size, len(c.Bytes))
		case err != nil && !errors.Is(err, datafile.ErrCorrupt):
			t.Fatal(err)
		}
	}
}

// FuzzDecodeFrames decodes bytes as they come, and as the content of a frame
// whose CRC is right, behind a good frame.
func FuzzDecodeFrames(f *testing.F) {
	content := bytes.Repeat([]byte("wadi "), 100)
	good := frame(1, 500, s2.Encode(nil, content))
	f.Add(good, byte(0), uint32(0))
	f.Add(append(bytes.Clone(good), frame(2, 500, zstdBytes(f, content))...), byte(0), uint32(0))
	f.Add(frame(0, 3, []byte("abc")), byte(0), uint32(100))
	f.Add(s2.Encode(nil, content), byte(1), uint32(500))
	f.Add(zstdBytes(f, content), byte(2), uint32(500))
	f.Add(zstdBytes(f, make([]byte, 8<<20)), byte(2), uint32(1<<20))
	f.Fuzz(func(t *testing.T, b []byte, codec byte, size uint32) {
		decodeAny(t, b)
		decodeAny(t, append(bytes.Clone(good), frame(codec, size, b)...))
	})
}

// decodeAny checks that the ways to decode a section agree and stay in bounds.
func decodeAny(t *testing.T, stored []byte) {
	const limit = 4 << 20
	all, err := datafile.DecodeFrames(stored, limit)
	if err != nil {
		if !errors.Is(err, datafile.ErrCorrupt) {
			t.Fatal(err)
		}
		if _, _, err := datafile.NextFrame(nil, stored); err != nil && !errors.Is(err, datafile.ErrCorrupt) {
			t.Fatal(err)
		}
		return
	}
	if len(all) > limit {
		t.Fatalf("%d bytes, limit %d", len(all), limit)
	}
	var one []byte
	for rest := stored; len(rest) > 0; {
		if one, rest, err = datafile.NextFrame(one, rest); err != nil {
			t.Fatalf("NextFrame: %v", err)
		}
	}
	if !bytes.Equal(one, all) {
		t.Fatal("NextFrame and DecodeFrames differ")
	}
	from, to := len(all)/3, len(all)-len(all)/4
	if part, err := datafile.DecodeRange(stored, from, to-from); err != nil || !bytes.Equal(part, all[from:to]) {
		t.Fatalf("DecodeRange: %d bytes, %v", len(part), err)
	}
	if _, err := datafile.DecodeFrames(stored, len(all)-1); len(all) > 0 && !errors.Is(err, datafile.ErrCorrupt) {
		t.Fatalf("one byte above the limit: %v", err)
	}
}
