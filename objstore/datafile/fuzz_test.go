package datafile_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
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
	for _, c := range []datafile.Compression{datafile.None, datafile.Auto} {
		file := mustMerge(f, c, mergedSection{topicA, 0, 3, []datafile.MergedBatch{merged(strings.Repeat("wadi ", 100), 5, 9)}},
			mergedSection{topicA, 0, 10, []datafile.MergedBatch{merged("raw", 10, 10)}})
		f.Add(file.Bytes)
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
		position += int64(c.StoredSize) + int64(c.IndexSize)
		switch {
		case err == nil && len(c.Bytes) != int(c.Size):
			t.Fatalf("section of %d bytes decodes to %d", c.Size, len(c.Bytes))
		case err != nil && !errors.Is(err, datafile.ErrCorrupt):
			t.Fatal(err)
		}
	}
}

// FuzzReadIndex reads an index as it comes, and with its CRC put right.
func FuzzReadIndex(f *testing.F) {
	_, valid := indexed(f)
	f.Add(valid)
	f.Add(valid[:len(valid)-1])
	f.Add([]byte("WIDX\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		indexAny(t, b)
		if size, err := datafile.IndexSize(b); err == nil && size <= len(b) {
			b = bytes.Clone(b)
			binary.BigEndian.PutUint32(b[4:], crc32c(b[8:size]))
			indexAny(t, b)
		}
	})
}

// indexAny checks that an index that is taken for right leads to one of its entries, whatever is asked.
func indexAny(t *testing.T, b []byte) {
	x, err := datafile.ReadIndex(b)
	if err != nil {
		if !errors.Is(err, datafile.ErrCorrupt) {
			t.Fatal(err)
		}
		return
	}
	size, err := datafile.IndexSize(b)
	if err != nil || size > len(b) || size > datafile.MaxIndexSize || size != 20+24*len(x.Entries) {
		t.Fatalf("index of %d entries in %d bytes, %v", len(x.Entries), size, err)
	}
	for i, e := range x.Entries {
		if got := x.SeekOffset(e.Offset); got != e {
			t.Fatalf("offset %d leads to %+v, not to entry %d", e.Offset, got, i)
		}
		if got, ok := x.SeekTimestamp(e.MaxTimestamp); !ok || got.MaxTimestamp != e.MaxTimestamp || got.Offset > e.Offset {
			t.Fatalf("timestamp %d leads to %+v, %v", e.MaxTimestamp, got, ok)
		}
	}
}

// FuzzAppendStored gives a writer damaged sections: it takes what it can read again, or nothing.
func FuzzAppendStored(f *testing.F) {
	source := mustMerge(f, datafile.Auto, mergedSection{topicA, 0, 0, []datafile.MergedBatch{
		merged(strings.Repeat("wadi ", 1<<18), 0, 9), merged(strings.Repeat("river ", 1<<17), 10, 19),
	}})
	s := source.Sections[0]
	stored := source.Bytes[s.Position:][:s.StoredSize]
	index := source.Bytes[s.Position+int64(s.StoredSize):][:s.IndexSize]
	f.Add(stored, index, s.Size)
	f.Add(stored[:len(stored)-1], index, s.Size)
	f.Add(stored, index, s.Size+1)
	f.Fuzz(func(t *testing.T, stored, index []byte, size int32) {
		x, err := datafile.ReadIndex(index)
		if err != nil {
			return
		}
		w := newMerge(t, datafile.Auto)
		must(t, w.Begin(topicA, 0, 0))
		section := s
		section.StoredSize, section.Size, section.NextOffset = int32(len(stored)), size, x.Entries[len(x.Entries)-1].Offset+100
		if taken, err := w.AppendStored(section, x, stored); !taken || err != nil {
			return
		}
		if _, err := w.End(section.NextOffset); err != nil {
			return
		}
		file, err := w.Finish(fileID)
		must(t, err)
		if _, err := datafile.ReadFooter(file.Bytes); err != nil {
			t.Fatalf("what was written can't be read: %v", err)
		}
	})
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
