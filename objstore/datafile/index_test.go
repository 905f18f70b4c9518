package datafile_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/wadi-log/wadi/objstore/datafile"
)

// indexed is a raw merged file of one section with three entries in its index, and where that lies.
func indexed(t testing.TB) (file datafile.File, index []byte) {
	big := strings.Repeat("x", 64<<10)
	f := mustMerge(t, datafile.None, mergedSection{topicA, 0, 5, []datafile.MergedBatch{
		merged(big, 10, 19), merged(big, 20, 29), merged("small", 40, 49), merged(big, 50, 59), merged("last", 60, 69),
	}})
	s := f.Sections[0]
	return f, f.Bytes[s.Position+int64(s.StoredSize):][:s.IndexSize]
}

func TestIndexFindsOffsetsAndTimestamps(t *testing.T) {
	_, b := indexed(t)
	x, err := datafile.ReadIndex(b)
	if err != nil {
		t.Fatal(err)
	}
	const ms = 1_700_000_000_000
	want := datafile.Index{Batches: 5, Records: 50, Entries: []datafile.IndexEntry{
		{Offset: 10, Position: 0, Stored: 0, MaxTimestamp: ms + 10},
		{Offset: 20, Position: 64 << 10, Stored: 64 << 10, MaxTimestamp: ms + 20},
		{Offset: 40, Position: 128 << 10, Stored: 128 << 10, MaxTimestamp: ms + 50},
		{Offset: 60, Position: 192<<10 + 5, Stored: 192<<10 + 5, MaxTimestamp: ms + 60},
	}}
	if !reflect.DeepEqual(x, want) {
		t.Fatalf("index %+v\nwant %+v", x, want)
	}
	for offset, entry := range map[int64]int{0: 0, 9: 0, 10: 0, 19: 0, 20: 1, 35: 1, 40: 2, 55: 2, 60: 3, 1000: 3} {
		if got := x.SeekOffset(offset); got != want.Entries[entry] {
			t.Errorf("offset %d leads to %+v, want entry %d", offset, got, entry)
		}
	}
	for timestamp, entry := range map[int64]int{-1: 0, ms: 0, ms + 10: 0, ms + 11: 1, ms + 21: 2, ms + 50: 2, ms + 51: 3, ms + 60: 3} {
		if got, ok := x.SeekTimestamp(timestamp); !ok || got != want.Entries[entry] {
			t.Errorf("timestamp %d leads to %+v, %v, want entry %d", timestamp, got, ok, entry)
		}
	}
	if got, ok := x.SeekTimestamp(ms + 61); ok {
		t.Errorf("a timestamp behind all leads to %+v", got)
	}
	// Readers guess how much to read.
	if got, err := datafile.ReadIndex(append(bytes.Clone(b), "what follows"...)); err != nil || !reflect.DeepEqual(got, x) {
		t.Errorf("with more behind it: %+v, %v", got, err)
	}
	if size, err := datafile.IndexSize(b[:datafile.IndexPrefixSize]); err != nil || size != len(b) {
		t.Errorf("size %d, %v; want %d", size, err, len(b))
	}
}

func TestReadIndexSaysWhatIsWrong(t *testing.T) {
	_, valid := indexed(t)
	be := binary.BigEndian
	entry := func(b []byte, i int) []byte { return b[20+24*i:] }
	tests := []struct {
		name   string
		change func(b []byte) []byte
		want   string
	}{
		{"nothing", func([]byte) []byte { return nil }, "0 bytes are too few"},
		{"cut prefix", func(b []byte) []byte { return b[:19] }, "19 bytes are too few"},
		{"cut", func(b []byte) []byte { return b[:len(b)-1] }, "ends after 115"},
		{"magic", func(b []byte) []byte { b[0] = 'X'; return b }, `starts with "XIDX"`},
		{"CRC", func(b []byte) []byte { b[4] ^= 1; return b[:len(b):len(b)] }, "index has CRC"},
		{"no entries", func(b []byte) []byte { be.PutUint32(b[16:], 0); return b }, "0 entries"},
		{"too many entries", func(b []byte) []byte { be.PutUint32(b[16:], 1<<32-1); return b }, "4294967295 entries"},
		{"fewer batches than entries", func(b []byte) []byte { be.PutUint32(b[8:], 3); return b }, "3 batches"},
		{"negative batches", func(b []byte) []byte { b[8] = 0x80; return b }, "batches with"},
		{"fewer records than batches", func(b []byte) []byte { be.PutUint32(b[12:], 4); return b }, "4 records"},
		{"negative offset", func(b []byte) []byte { entry(b, 0)[0] = 0x80; return b }, "begins with offset"},
		{"first entry later", func(b []byte) []byte { entry(b, 0)[11] = 1; return b }, "at byte 1"},
		{"offset twice", func(b []byte) []byte { be.PutUint64(entry(b, 1), 10); return b }, "entry 1"},
		{"position descends", func(b []byte) []byte { be.PutUint32(entry(b, 2)[8:], 1); return b }, "entry 2"},
		{"stored position descends", func(b []byte) []byte { be.PutUint32(entry(b, 2)[12:], 1); return b }, "entry 2"},
		{"timestamp descends", func(b []byte) []byte { be.PutUint64(entry(b, 3)[16:], 1); return b }, "entry 3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := tt.change(bytes.Clone(valid))
			if len(b) == len(valid) && tt.name != "CRC" {
				be.PutUint32(b[4:], crc32c(b[8:]))
			}
			if _, err := datafile.ReadIndex(b); !errors.Is(err, datafile.ErrCorrupt) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want ErrCorrupt with %q", err, tt.want)
			}
		})
	}
}

// TestContentsChecksTheIndex: an index that is right in itself but not of its section.
func TestContentsChecksTheIndex(t *testing.T) {
	be := binary.BigEndian
	raw, _ := indexed(t)
	framed := mustMerge(t, datafile.Auto, mergedSection{topicA, 0, 0, []datafile.MergedBatch{
		merged(strings.Repeat("x", 1<<20), 0, 9), merged(strings.Repeat("y", 1<<20), 10, 19),
	}})
	tests := []struct {
		name   string
		file   datafile.File
		change func(index []byte)
		want   string
	}{
		{"batches", raw, func(x []byte) { be.PutUint32(x[8:], 6) }, "index of 6 batches"},
		{"records", raw, func(x []byte) { be.PutUint32(x[12:], 51) }, "with 51 records"},
		{"first offset", raw, func(x []byte) { be.PutUint64(x[20:], 4) }, "index from offset 4"},
		{"last offset", raw, func(x []byte) { be.PutUint64(x[20+3*24:], 70) }, "to 70"},
		{"timestamp", raw, func(x []byte) { be.PutUint64(x[20+3*24+16:], 1<<60) }, "largest timestamp"},
		{"positions of a raw section", raw, func(x []byte) { be.PutUint32(x[20+24+12:], 64<<10+1) }, "index entry 1"},
		{"behind a raw section", raw, func(x []byte) { be.PutUint32(x[20+3*24+8:], 1<<30); be.PutUint32(x[20+3*24+12:], 1<<30) }, "index entry 3"},
		{"fewer entries", raw, func(x []byte) { be.PutUint32(x[16:], 3); be.PutUint32(x[4:], crc32c(x[8:20+3*24])) }, "index of 92 bytes, the footer states 116"},
		{"no frame there", framed, func(x []byte) { be.PutUint32(x[20+24+12:], 1) }, "index entry 1"},
		{"another byte of the frame", framed, func(x []byte) { be.PutUint32(x[20+24+8:], 1<<20-1) }, "index entry 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, s := bytes.Clone(tt.file.Bytes), tt.file.Sections[0]
			index := b[s.Position+int64(s.StoredSize):][:s.IndexSize]
			tt.change(index)
			if tt.name != "fewer entries" {
				be.PutUint32(index[4:], crc32c(index[8:]))
			}
			footer, err := datafile.ReadFooter(b)
			if err != nil {
				t.Fatal(err)
			}
			for c, err := range footer.Contents(b) {
				if !errors.Is(err, datafile.ErrCorrupt) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v, want ErrCorrupt with %q", err, tt.want)
				}
				if c.Bytes == nil || c.Index.Entries != nil {
					t.Errorf("%d bytes and %d entries; want the batches, and no index", len(c.Bytes), len(c.Index.Entries))
				}
			}
		})
	}
}
