package datafile_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/wadi-log/wadi/objstore/datafile"
)

// object is a RangeReader over bytes.
type object struct {
	b     []byte
	reads int
	err   error
}

func (o *object) ReadRange(_ context.Context, offset, length int64) ([]byte, error) {
	o.reads++
	if o.err != nil {
		return nil, o.err
	}
	end := min(offset+length, int64(len(o.b)))
	return o.b[min(offset, end):end], nil
}

func TestOpenReadsFromTheEnd(t *testing.T) {
	tests := []struct {
		name       string
		partitions int
		reads      int
	}{
		{"small file", 1, 1},
		{"footer in the first read", 500, 1},
		{"footer above the first read", 5000, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := mustEncode(t, datafile.None, benchmarkInputs(tt.partitions, tt.partitions, 200)...)
			o := &object{b: f.Bytes}
			footer, err := datafile.Open(t.Context(), o, int64(len(f.Bytes)))
			if err != nil || !reflect.DeepEqual(footer.Sections, f.Sections) {
				t.Fatalf("Open: %d sections, %v; want %d", len(footer.Sections), err, len(f.Sections))
			}
			if o.reads != tt.reads {
				t.Errorf("%d reads, want %d", o.reads, tt.reads)
			}
		})
	}
}

func TestOpenFaults(t *testing.T) {
	f := mustEncode(t, datafile.None, benchmarkInputs(5000, 5000, 200)...)
	size := int64(len(f.Bytes))
	lost := errors.New("connection reset")
	if _, err := datafile.Open(t.Context(), &object{err: lost}, size); !errors.Is(err, lost) || errors.Is(err, datafile.ErrCorrupt) {
		t.Errorf("failed read: %v, want %v", err, lost)
	}
	for _, wrong := range []int64{0, 1, 23, size - 1, size + 1, 2 * size} {
		if _, err := datafile.Open(t.Context(), &object{b: f.Bytes}, wrong); !errors.Is(err, datafile.ErrCorrupt) {
			t.Errorf("size %d instead of %d: %v, want ErrCorrupt", wrong, size, err)
		}
	}
}

// entry and trailer offsets as drawn in the package comment.
const entrySize, trailerSize = 58, 16

func TestReadFooterSaysWhatIsWrong(t *testing.T) {
	valid := mustEncode(t, datafile.None,
		input(topicA, 0, plain([]byte("first")), plain([]byte("second"))),
		input(topicA, 1, idempotent(5, 0, 0, 1)),
	).Bytes
	be := binary.BigEndian
	footer := len(valid) - trailerSize - int(be.Uint32(valid[len(valid)-trailerSize:]))
	first := footer + 20
	second := first + entrySize
	run := second + entrySize
	tests := []struct {
		name   string
		change func(b []byte)
		is     error
		want   string
	}{
		{"header magic", func(b []byte) { b[0] = 'X' }, datafile.ErrCorrupt, `starts with "XADI"`},
		{"header version", func(b []byte) { b[5] = 2 }, datafile.ErrVersion, "header states version 2"},
		{"header flags", func(b []byte) { b[7] = 1 }, datafile.ErrVersion, "flags 0x1"},
		{"trailer magic", func(b []byte) { b[len(b)-1] = 'X' }, datafile.ErrCorrupt, `ends with "IDAX"`},
		{"trailer version", func(b []byte) { b[len(b)-7] = 9 }, datafile.ErrVersion, "trailer states version 9"},
		{"footer length", func(b []byte) { be.PutUint32(b[len(b)-16:], 1<<31) }, datafile.ErrCorrupt, "footer of 2147483648 bytes"},
		{"file ID", func(b []byte) { b[footer+6] = 0x40 }, datafile.ErrCorrupt, "no UUIDv7"},
		{"no sections", func(b []byte) { be.PutUint32(b[footer+16:], 0) }, datafile.ErrCorrupt, "0 sections"},
		{"more sections", func(b []byte) { be.PutUint32(b[footer+16:], 3) }, datafile.ErrCorrupt, "3 sections in"},
		{"too many sections", func(b []byte) { be.PutUint32(b[footer+16:], 1<<32-1) }, datafile.ErrCorrupt, "4294967295 sections"},
		{"fewer sections", func(b []byte) { be.PutUint32(b[footer+16:], 1) }, datafile.ErrCorrupt, "behind the footer's last section"},
		{"topic order", func(b []byte) { b[first] = 0xff }, datafile.ErrCorrupt, "section 1 of 2 (partition 1"},
		{"same partition", func(b []byte) { b[second+19] = 0 }, datafile.ErrCorrupt, "out of order"},
		{"negative partition", func(b []byte) { b[first+16] = 0x80 }, datafile.ErrCorrupt, "negative partition"},
		{"kind", func(b []byte) { b[second+20] = 2 }, datafile.ErrVersion, "section 1 of 2"},
		{"encoding", func(b []byte) { b[second+21] = 2 }, datafile.ErrVersion, "section encoding 2"},
		{"overlap", func(b []byte) { be.PutUint64(b[second+22:], 18) }, datafile.ErrCorrupt, "starts at byte 18, the one before ends at 19"},
		{"gap", func(b []byte) { be.PutUint64(b[second+22:], 20) }, datafile.ErrCorrupt, "starts at byte 20"},
		{"position in the header", func(b []byte) { be.PutUint64(b[first+22:], 0) }, datafile.ErrCorrupt, "section 0 of 2"},
		{"negative position", func(b []byte) { b[first+22] = 0x80 }, datafile.ErrCorrupt, "section 0 of 2"},
		{"stored length of a raw section", func(b []byte) { be.PutUint32(b[first+30:], 12) }, datafile.ErrCorrupt, "12 bytes stored for 11"},
		{"section behind the body", func(b []byte) { be.PutUint32(b[second+30:], 6); be.PutUint32(b[second+34:], 6) }, datafile.ErrCorrupt, "sections end at byte 25, footer starts at 24"},
		{"negative length", func(b []byte) { b[first+30], b[first+34] = 0x80, 0x80 }, datafile.ErrCorrupt, "bytes stored for -"},
		{"no batches", func(b []byte) { b[second+41] = 0 }, datafile.ErrCorrupt, "0 batches"},
		{"more batches than bytes", func(b []byte) { b[second+40] = 1 }, datafile.ErrCorrupt, "257 batches"},
		{"more batches than records", func(b []byte) { b[second+45] = 0 }, datafile.ErrCorrupt, "0 records"},
		{"runs behind the footer", func(b []byte) { b[second+57] = 2 }, datafile.ErrCorrupt, "2 producer runs"},
		{"runs of another section", func(b []byte) { b[first+57] = 1 }, datafile.ErrCorrupt, "of 2"},
		{"too many runs", func(b []byte) { be.PutUint32(b[first+54:], 1<<32-1) }, datafile.ErrCorrupt, "section 0 of 2"},
		{"negative producer", func(b []byte) { b[run] = 0x80 }, datafile.ErrCorrupt, "producer run 0"},
		{"run without batches", func(b []byte) { b[run+21] = 0 }, datafile.ErrCorrupt, "producer run 0"},
		{"run with too many batches", func(b []byte) { b[run+21] = 2 }, datafile.ErrCorrupt, "producer runs have 2 batches, the section 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := bytes.Clone(valid)
			tt.change(b)
			if !strings.HasPrefix(tt.name, "footer length") {
				seal(b)
			}
			_, err := datafile.ReadFooter(b)
			if !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v\nwant %v with %q", err, tt.is, tt.want)
			}
		})
	}
}

func TestReadFooterOfMergedFilesSaysWhatIsWrong(t *testing.T) {
	valid := mustMerge(t, datafile.None,
		mergedSection{topicA, 0, 10, []datafile.MergedBatch{merged("first", 11, 12), merged("second", 15, 19)}},
		mergedSection{topicA, 0, 20, []datafile.MergedBatch{merged("third", 20, 20)}},
	).Bytes
	be := binary.BigEndian
	footer := len(valid) - trailerSize - int(be.Uint32(valid[len(valid)-trailerSize:]))
	first := footer + 20
	second := first + entrySize + 20
	list := second + entrySize + 20
	tests := []struct {
		name   string
		change func(b []byte)
		is     error
		want   string
	}{
		{"mixed kinds", func(b []byte) { b[second+20] = 0 }, datafile.ErrCorrupt, "section 1 of 2"},
		{"kind", func(b []byte) { b[second+20] = 2 }, datafile.ErrVersion, "section kind 2"},
		{"overlap", func(b []byte) { be.PutUint64(b[second+58:], 19) }, datafile.ErrCorrupt, "out of order"},
		{"negative offset", func(b []byte) { b[first+58] = 0x80 }, datafile.ErrCorrupt, "records in offsets"},
		{"no offsets", func(b []byte) { be.PutUint64(b[second+66:], 20) }, datafile.ErrCorrupt, "offsets 20 to 19"},
		{"too many offsets", func(b []byte) { be.PutUint64(b[second+66:], 20+1<<31) }, datafile.ErrCorrupt, "1 records in offsets"},
		{"more records than offsets", func(b []byte) { be.PutUint32(b[first+42:], 11) }, datafile.ErrCorrupt, "11 records in offsets 10 to 19"},
		{"producer runs", func(b []byte) { be.PutUint32(b[second+54:], 1) }, datafile.ErrCorrupt, "1 producer runs"},
		{"no index", func(b []byte) { be.PutUint32(b[first+74:], 0) }, datafile.ErrCorrupt, "index of 0 bytes"},
		{"index of half an entry", func(b []byte) { be.PutUint32(b[first+74:], 45) }, datafile.ErrCorrupt, "index of 45 bytes"},
		{"longer index", func(b []byte) { be.PutUint32(b[first+74:], 44+24) }, datafile.ErrCorrupt, "starts at byte"},
		{"huge index", func(b []byte) { be.PutUint32(b[first+74:], 1<<31-1) }, datafile.ErrCorrupt, "index of 2147483647 bytes"},
		{"negative index", func(b []byte) { b[first+74] = 0x80 }, datafile.ErrCorrupt, "index of -"},
		{"more sources", func(b []byte) { be.PutUint32(b[list:], 3) }, datafile.ErrCorrupt, "3 sources in 48 bytes"},
		{"too many sources", func(b []byte) { be.PutUint32(b[list:], 1<<32-1) }, datafile.ErrCorrupt, "4294967295 sources"},
		{"fewer sources", func(b []byte) { be.PutUint32(b[list:], 1) }, datafile.ErrCorrupt, "24 bytes behind"},
		{"source of another version of UUID", func(b []byte) { b[list+4+6] = 0x40 }, datafile.ErrCorrupt, "source 0"},
		{"negative commit", func(b []byte) { b[list+4+24+16] = 0x80 }, datafile.ErrCorrupt, "source 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := bytes.Clone(valid)
			tt.change(b)
			if _, err := datafile.ReadFooter(seal(b)); !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v\nwant %v with %q", err, tt.is, tt.want)
			}
		})
	}
}

// TestCutFooterOfAMergedFileIsRefused: cut anywhere, with its CRC right, it is refused.
func TestCutFooterOfAMergedFileIsRefused(t *testing.T) {
	valid := mustMerge(t, datafile.None, mergedSection{topicA, 0, 0, []datafile.MergedBatch{merged("x", 0, 0)}}).Bytes
	end := len(valid) - trailerSize
	size := int(binary.BigEndian.Uint32(valid[end:]))
	for cut := 1; cut <= size-20; cut++ {
		b := append(bytes.Clone(valid[:end-cut]), valid[end:]...)
		binary.BigEndian.PutUint32(b[len(b)-trailerSize:], uint32(size-cut))
		if _, err := datafile.ReadFooter(seal(b)); !errors.Is(err, datafile.ErrCorrupt) {
			t.Errorf("cut by %d: %v, want ErrCorrupt", cut, err)
		}
	}
}

// TestDamageIsNoticed flips every bit of a small file, and cuts it at every
// length. Bytes of raw sections are excepted: their batches have CRCs.
func TestDamageIsNoticed(t *testing.T) {
	repeated := bytes.Repeat([]byte("wadi "), 30)
	valid := mustEncode(t, datafile.S2,
		input(topicA, 0, plain(repeated)),
		input(topicA, 1, plain([]byte("raw"))),
	)
	framed, raw := valid.Sections[0], valid.Sections[1]
	if framed.Encoding != datafile.Framed || raw.Encoding != datafile.Raw {
		t.Fatalf("sections are %v and %v", framed.Encoding, raw.Encoding)
	}
	damageIsNoticed(t, valid.Bytes, raw)
	file := mustMerge(t, datafile.Auto,
		mergedSection{topicA, 0, 0, []datafile.MergedBatch{merged(string(repeated), 0, 9)}},
		mergedSection{topicA, 1, 0, []datafile.MergedBatch{merged("raw", 0, 9)}},
	)
	damageIsNoticed(t, file.Bytes, file.Sections[1])
}

func damageIsNoticed(t *testing.T, file []byte, raw datafile.Section) {
	read := func(b []byte) error {
		footer, err := datafile.ReadFooter(b)
		if err != nil {
			return err
		}
		for _, err := range footer.Contents(b) {
			if err != nil {
				return err
			}
		}
		return nil
	}
	if err := read(file); err != nil {
		t.Fatal(err)
	}
	for i := range file {
		if int64(i) >= raw.Position && int64(i) < raw.Position+int64(raw.StoredSize) {
			continue
		}
		for bit := range 8 {
			b := bytes.Clone(file)
			b[i] ^= 1 << bit
			if err := read(b); !errors.Is(err, datafile.ErrCorrupt) && !errors.Is(err, datafile.ErrVersion) {
				t.Errorf("bit %d of byte %d flipped: %v", bit, i, err)
			}
		}
	}
	for n := range file {
		if err := read(file[:n]); !errors.Is(err, datafile.ErrCorrupt) {
			t.Errorf("cut at %d: %v, want ErrCorrupt", n, err)
		}
	}
}

func TestContentsGoesOnBehindABrokenSection(t *testing.T) {
	repeated := bytes.Repeat([]byte("wadi "), 30)
	f := mustEncode(t, datafile.S2,
		input(topicA, 0, plain(repeated)),
		input(topicA, 1, plain([]byte("raw"))),
		input(topicA, 2, plain(repeated)),
	)
	footer, err := datafile.ReadFooter(f.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	f.Bytes[f.Sections[0].Position+20] ^= 1
	var good []string
	for c, err := range footer.Contents(f.Bytes) {
		if c.Partition == 0 {
			if !errors.Is(err, datafile.ErrCorrupt) || !strings.Contains(err.Error(), "section 0 at byte 8: frame at byte 0") || c.Bytes != nil || len(c.Frames) != 1 {
				t.Errorf("broken section: %v, %d bytes, %d frames", err, len(c.Bytes), len(c.Frames))
			}
			continue
		}
		if err != nil {
			t.Error(err)
		}
		good = append(good, string(c.Bytes))
	}
	if want := []string{"raw", string(repeated)}; !reflect.DeepEqual(good, want) {
		t.Errorf("other sections %q, want %q", good, want)
	}
	for _, err := range footer.Contents(f.Bytes[:10]) {
		if !errors.Is(err, datafile.ErrCorrupt) {
			t.Errorf("shorter file than the footer's: %v, want ErrCorrupt", err)
		}
	}
}
