package datafile_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/wadi-log/wadi/objstore/datafile"
)

// frame builds a frame as the package comment draws it, with the right CRC.
func frame(codec byte, size uint32, stored []byte) []byte {
	b := []byte{codec}
	b = binary.BigEndian.AppendUint32(b, size)
	b = binary.BigEndian.AppendUint32(b, uint32(len(stored)))
	b = binary.BigEndian.AppendUint32(b, crc32c(stored))
	return append(b, stored...)
}

func zstdBytes(t testing.TB, b []byte, options ...zstd.EOption) []byte {
	t.Helper()
	e, err := zstd.NewWriter(nil, options...)
	if err != nil {
		t.Fatal(err)
	}
	return e.EncodeAll(b, nil)
}

// framedSection returns a section of several frames of text, as stored and decoded.
func framedSection(t testing.TB, c datafile.Compression, size int) (stored, decoded []byte, frames []datafile.Frame) {
	t.Helper()
	rng := rand.New(rand.NewPCG(9, 10))
	decoded = text(rng, size)
	var batches []datafile.Batch
	for rest := decoded; len(rest) > 0; {
		n := min(len(rest), 50_000)
		batches = append(batches, plain(rest[:n]))
		rest = rest[n:]
	}
	f := mustEncode(t, c, input(topicA, 0, batches...))
	s := f.Sections[0]
	stored = f.Bytes[s.Position:][:s.StoredSize]
	for rest := stored; len(rest) > 0; {
		var cut datafile.Frame
		var err error
		if cut, rest, err = datafile.CutFrame(rest); err != nil {
			t.Fatal(err)
		}
		frames = append(frames, cut)
	}
	if len(frames) < 2 {
		t.Fatalf("only %d frames", len(frames))
	}
	return stored, decoded, frames
}

func TestNextFrameStopsWhenEnough(t *testing.T) {
	for _, c := range []datafile.Compression{datafile.S2, datafile.Zstd} {
		stored, decoded, frames := framedSection(t, c, 5<<20)
		var got []byte
		var err error
		rest := stored
		for range 2 {
			if got, rest, err = datafile.NextFrame(got, rest); err != nil {
				t.Fatal(err)
			}
		}
		if n := frames[0].Size + frames[1].Size; !bytes.Equal(got, decoded[:n]) {
			t.Errorf("%s: two frames give %d bytes, want the first %d", c, len(got), n)
		}
		buffer := make([]byte, 0, datafile.MaxFrameSize)
		got, _, err = datafile.NextFrame(buffer, rest)
		if err != nil || &got[0] != &buffer[:1][0] {
			t.Errorf("%s: buffer not used again, %v", c, err)
		}
	}
}

func TestDecodeRangeReadsOnlyTheFramesItNeeds(t *testing.T) {
	stored, decoded, frames := framedSection(t, datafile.S2, 4<<20)
	one, two := frames[0].Size, frames[0].Size+frames[1].Size
	// Break the content of all frames but the second.
	broken := bytes.Clone(stored)
	begin := 0
	for i, f := range frames {
		if i != 1 {
			broken[begin+13] ^= 1
		}
		begin += 13 + len(f.Stored)
	}
	for _, r := range [][2]int{{one, two}, {one, one + 1}, {two - 1, two}, {one + 5, two - 7}} {
		got, err := datafile.DecodeRange(broken, r[0], r[1]-r[0])
		if err != nil || !bytes.Equal(got, decoded[r[0]:r[1]]) {
			t.Errorf("[%d, %d): %d bytes, %v", r[0], r[1], len(got), err)
		}
	}
	for _, r := range [][2]int{{one - 1, two}, {one, two + 1}, {0, 1}, {len(decoded) - 1, len(decoded)}} {
		if _, err := datafile.DecodeRange(broken, r[0], r[1]-r[0]); !errors.Is(err, datafile.ErrCorrupt) {
			t.Errorf("[%d, %d) over a broken frame: %v, want ErrCorrupt", r[0], r[1], err)
		}
	}
	const maxInt = int(^uint(0) >> 1)
	for _, r := range [][2]int{{0, len(decoded) + 1}, {len(decoded), 1}, {-1, 2}, {0, -1}, {maxInt, maxInt}, {1, maxInt}} {
		if _, err := datafile.DecodeRange(stored, r[0], r[1]); !errors.Is(err, datafile.ErrCorrupt) {
			t.Errorf("%d bytes from %d of %d: %v, want ErrCorrupt", r[1], r[0], len(decoded), err)
		}
	}
	if got, err := datafile.DecodeRange(stored, 5, 0); err != nil || len(got) != 0 {
		t.Errorf("empty range: %d bytes, %v", len(got), err)
	}
}

func TestDecodeFramesRefuses(t *testing.T) {
	content := bytes.Repeat([]byte("wadi "), 100)
	good := frame(1, 500, s2.Encode(nil, content))
	zeros := make([]byte, 64<<20)
	change := func(at int, value byte) []byte {
		b := bytes.Clone(good)
		b[at] = value
		return b
	}
	tests := []struct {
		name   string
		stored []byte
		limit  int
		want   string
	}{
		{"header cut", good[:12], 500, "frame at byte 0 of the section"},
		{"content cut", good[:len(good)-1], 500, "bytes are left"},
		{"bytes behind", append(bytes.Clone(good), 0), 500, "too few for a frame header"},
		{"second frame cut", append(bytes.Clone(good), good[:20]...), 1000, "bytes are left"},
		{"above the limit", good, 499, "more than 499 bytes"},
		{"above the limit together", append(bytes.Clone(good), good...), 999, "more than 999 bytes"},
		{"unknown codec", change(0, 3), 500, "codec 3"},
		{"wrong CRC", change(12, good[12]^1), 500, "CRC"},
		{"changed content", change(20, good[20]^1), 500, "CRC"},
		{"nothing decoded", frame(0, 0, []byte("x")), 500, "decoded length of 0"},
		{"nothing stored", frame(0, 1, nil), 500, "stored length of 0"},
		{"above a frame", frame(1, 1<<20+1, s2.Encode(nil, zeros[:1<<20+1])), 1 << 30, "decoded length of 1048577"},
		{"enormous length", frame(1, 1<<32-1, []byte("x")), 1 << 30, "decoded length of 4294967295"},
		{"stored with other lengths", frame(0, 501, content), 501, "stored length 500 for 501"},
		{"compressed to more", frame(1, 3, s2.Encode(nil, []byte("abc"))), 3, "for 3 decoded"},
		{"s2 decodes to less", frame(1, 501, s2.Encode(nil, content)), 1000, "decodes to 500 bytes, states 501"},
		{"s2 decodes to more", frame(1, 499, s2.Encode(nil, content)), 1000, "decodes to 500 bytes, states 499"},
		{"s2 bomb", frame(1, 1<<20, s2.Encode(nil, zeros)), 1 << 30, "states 1048576"},
		{"s2 garbage", frame(1, 100, []byte("garbage")), 100, "s2 frame"},
		{"s2 cut", frame(1, 500, s2.Encode(nil, content)[:10]), 500, "s2 frame"},
		{"zstd decodes to less", frame(2, 501, zstdBytes(t, content)), 1000, "decodes to 500 bytes, states 501"},
		{"zstd decodes to more", frame(2, 499, zstdBytes(t, content)), 1000, "zstd frame"},
		{"zstd bomb", frame(2, 1<<20, zstdBytes(t, zeros)), 1 << 30, "zstd frame"},
		{"zstd of many frames", frame(2, 501, append(zstdBytes(t, content), zstdBytes(t, content)...)), 1000, "zstd frame"},
		{"zstd garbage", frame(2, 100, []byte("garbage")), 100, "zstd frame"},
		{"s2 called zstd", frame(2, 500, s2.Encode(nil, content)), 500, "zstd frame"},
		{"zstd called s2", frame(1, 500, zstdBytes(t, content)), 500, "s2 frame"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := datafile.DecodeFrames(tt.stored, tt.limit)
			if !errors.Is(err, datafile.ErrCorrupt) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want ErrCorrupt with %q", err, tt.want)
			}
		})
	}
}

// TestFailedFrameLeavesTheBuffer: what was decoded before a broken frame is kept.
func TestFailedFrameLeavesTheBuffer(t *testing.T) {
	for codec := range byte(3) {
		before := append(make([]byte, 0, 4096), "before"...)
		got, _, err := datafile.NextFrame(before, frame(codec, 100, []byte("garbage")))
		if !errors.Is(err, datafile.ErrCorrupt) || string(got) != "before" {
			t.Errorf("codec %d: %q, %v", codec, got, err)
		}
	}
}

// TestZstdIsTakenWhereItSaves, although what looks random is not tried in full.
func TestZstdIsTakenWhereItSaves(t *testing.T) {
	const size = 1 << 20
	rng := rand.New(rand.NewPCG(11, 12))
	mixed := func(piece int) (b []byte) {
		for len(b) < size {
			b = append(append(b, noise(rng, piece)...), text(rng, piece)...)
		}
		return b
	}
	for name, c := range map[string]struct {
		content []byte
		saves   bool
	}{
		"text":                      {text(rng, size), true},
		"noise":                     {noise(rng, size), false},
		"little noise":              {noise(rng, 1000), false},
		"little text":               {text(rng, 1000), true},
		"noise before text":         {append(noise(rng, size*3/4), text(rng, size/4)...), true},
		"text before noise":         {append(text(rng, size/4), noise(rng, size*3/4)...), true},
		"noise and text, by pieces": {mixed(1 << 10), true},
		"noise and text, by frames": {mixed(64 << 10), true},
		"noise that comes again":    {bytes.Repeat(noise(rng, 16<<10), size/(16<<10)), true},
	} {
		var batches []datafile.Batch
		for rest := c.content; len(rest) > 0; {
			n := min(len(rest), 50_000)
			batches, rest = append(batches, plain(rest[:n])), rest[n:]
		}
		s := mustEncode(t, datafile.Zstd, input(topicA, 0, batches...)).Sections[0]
		if got := s.Encoding == datafile.Framed; got != c.saves {
			t.Errorf("%s: stored in %d of %d bytes; compressed: %v, want %v", name, s.StoredSize, len(c.content), got, c.saves)
		}
	}
}
