package datafile_test

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/objstore/datafile"
)

var update = flag.Bool("update", false, "write testdata anew")

// goldens are the files in testdata: NAME.wadi is the data file, NAME.txt the
// same bytes with their meaning. Bytes in place of real batches keep them legible.
var goldens = []struct {
	name        string
	compression datafile.Compression
	inputs      func() []datafile.Input
}{
	{"raw", datafile.None, func() []datafile.Input {
		return []datafile.Input{
			input(topicB, 3, batch("b3, first", 2, -1, 0), batch("b3, second", 1, -1, 0)),
			input(topicA, 0,
				batch("a0 of producer 7", 3, 7, 2147483645),
				batch("a0 of producer 7, wrapped", 2, 7, 0),
				batch("a0 of nobody", 1, -1, 0),
				batch("a0 of producer 8", 1, 8, 41)),
		}
	}},
	{"s2", datafile.Auto, compressibleInputs},
	{"zstd", datafile.Zstd, compressibleInputs},
}

// compressibleInputs make one framed section and a raw one.
func compressibleInputs() []datafile.Input {
	short := batch("already compressed", 1, -1, 0)
	short.Compressed = true
	return []datafile.Input{
		input(topicA, 0, batch(strings.Repeat("the river bed stays, ", 8), 5, 7, 0), batch("the water goes", 1, 7, 5)),
		input(topicA, 1, short),
	}
}

func batch(text string, records int32, pid int64, seq int32) datafile.Batch {
	b := plain([]byte(text))
	b.Records = records
	b.MaxTimestamp += int64(len(text))
	if pid >= 0 {
		b.ProducerID, b.ProducerEpoch, b.BaseSequence = pid, 1, seq
	}
	return b
}

// TestGoldenFiles: what was once written is read for ever. What is written
// today is the same, except that a compressor may choose other bytes with
// its version or on another processor.
func TestGoldenFiles(t *testing.T) {
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			binPath, textPath := filepath.Join("testdata", g.name+".wadi"), filepath.Join("testdata", g.name+".txt")
			inputs := g.inputs()
			encoded := mustEncode(t, g.compression, inputs...)
			if *update {
				writeFile(t, binPath, encoded.Bytes)
				writeFile(t, textPath, render(encoded.Bytes))
			}
			golden := readFile(t, binPath)
			if g.compression == datafile.None && !bytes.Equal(encoded.Bytes, golden) {
				t.Errorf("Encode writes\n%s\nwant\n%s", render(encoded.Bytes), render(golden))
			}
			if got, want := render(golden), readFile(t, textPath); !bytes.Equal(got, want) {
				t.Errorf("%s means\n%s\nwant\n%s", binPath, got, want)
			}
			checkGolden(t, golden, encoded, inputs)
		})
	}
}

// TestGoldenMergedFiles is the same for merged files: raw, and with a framed section.
func TestGoldenMergedFiles(t *testing.T) {
	for name, c := range map[string]datafile.Compression{"merged-raw": datafile.None, "merged-zstd": datafile.Auto} {
		t.Run(name, func(t *testing.T) {
			binPath, textPath := filepath.Join("testdata", name+".wadi"), filepath.Join("testdata", name+".txt")
			sections := []mergedSection{
				{topicA, 0, 100, []datafile.MergedBatch{
					merged(strings.Repeat("the river bed stays, ", 8), 100, 104), merged("the water goes", 107, 107),
				}},
				{topicA, 0, 110, []datafile.MergedBatch{merged("behind a hole", 110, 110)}},
				{topicB, 3, 0, []datafile.MergedBatch{merged("b3, the first is gone", 2, 2)}},
			}
			encoded := mustMerge(t, c, sections...)
			if *update {
				writeFile(t, binPath, encoded.Bytes)
				writeFile(t, textPath, render(encoded.Bytes))
			}
			golden := readFile(t, binPath)
			if c == datafile.None && !bytes.Equal(encoded.Bytes, golden) {
				t.Errorf("MergeWriter writes\n%s\nwant\n%s", render(encoded.Bytes), render(golden))
			}
			if got, want := render(golden), readFile(t, textPath); !bytes.Equal(got, want) {
				t.Errorf("%s means\n%s\nwant\n%s", binPath, got, want)
			}
			footer, err := datafile.ReadFooter(golden)
			if err != nil || footer.ID != fileID || len(footer.Sections) != len(sections) {
				t.Fatalf("footer %+v, %v", footer, err)
			}
			checkMerged(t, footer, golden, sections)
		})
	}
}

// checkGolden reads the golden file, and compares it with the inputs and what
// Encode says of them today.
func checkGolden(t *testing.T, golden []byte, encoded datafile.File, inputs []datafile.Input) {
	footer, err := datafile.ReadFooter(golden)
	if err != nil {
		t.Fatal(err)
	}
	if footer.ID != fileID || len(footer.Sections) != len(inputs) {
		t.Fatalf("file %v has %d sections, want %v and %d", footer.ID, len(footer.Sections), fileID, len(inputs))
	}
	i := 0
	for c, err := range footer.Contents(golden) {
		if err != nil || !bytes.Equal(c.Bytes, joined(inputs[i])) {
			t.Errorf("section %d holds %q, %v; want %q", i, c.Bytes, err, joined(inputs[i]))
		}
		want := encoded.Sections[i]
		want.Position, want.StoredSize = c.Position, c.StoredSize
		if got := fmt.Sprintf("%+v", c.Section); got != fmt.Sprintf("%+v", want) {
			t.Errorf("section %d is\n%s\nwant\n%+v", i, got, want)
		}
		i++
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// renderer prints a file with the meaning of its bytes. It follows the drawing
// in the package comment and not the package's code, which it checks.
type renderer struct {
	b   []byte
	at  int
	out bytes.Buffer
}

// take prints the next n bytes and what they are.
func (r *renderer) take(n int, format string, args ...any) []byte {
	b := r.b[r.at:][:n]
	for i := 0; i == 0 || i < n; i += 16 {
		row := b[i:min(i+16, n)]
		meaning := ""
		if i == 0 {
			meaning = fmt.Sprintf(format, args...)
		}
		line := fmt.Sprintf("%04x  %-47s  %-16s  %s", r.at+i, fmt.Sprintf("% x", row), printable(row), meaning)
		r.out.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	r.at += n
	return b
}

func printable(b []byte) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '.'
		}
		return c
	}, string(bytesToRunes(b)))
}

func bytesToRunes(b []byte) []rune {
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return runes
}

func (r *renderer) uint(size int, format string) int {
	n := uint64(0)
	for _, c := range r.b[r.at:][:size] {
		n = n<<8 | uint64(c)
	}
	r.take(size, format, n)
	return int(n)
}

func (r *renderer) title(format string, args ...any) {
	fmt.Fprintf(&r.out, "\n# "+format+"\n", args...)
}

func render(file []byte) []byte {
	r := &renderer{b: file}
	fmt.Fprintf(&r.out, "# header\n")
	r.take(4, "magic")
	r.uint(2, "version %d")
	r.uint(2, "flags %#x")

	end := len(file) - 16
	footer := end - int(binary.BigEndian.Uint32(file[end:]))
	count := int(binary.BigEndian.Uint32(file[footer+16:]))
	entry := footer + 20
	for i := range count {
		r.title("section %d", i)
		size := int(binary.BigEndian.Uint32(file[entry+30:]))
		if file[entry+21] == 0 {
			r.take(size, "batches")
		} else {
			r.frames(r.at + size)
		}
		merged := file[entry+20] == 1
		entry += 58 + 22*int(binary.BigEndian.Uint32(file[entry+54:]))
		if merged {
			r.index(int(binary.BigEndian.Uint32(file[entry+16:])))
			entry += 20
		}
	}

	r.title("footer")
	r.take(16, "file ID %v", uuid.UUID(file[footer:][:16]))
	r.uint(4, "%d sections")
	merged := false
	for i := range count {
		merged = r.entry(i)
	}
	if merged {
		for range r.uint(4, "%d sources") {
			r.take(16, "file ID %v", uuid.UUID(r.b[r.at:][:16]))
			r.uint(8, "commit %d")
		}
	}
	r.title("trailer")
	r.uint(4, "footer length %d")
	r.take(4, "CRC-32C, right: %v", binary.BigEndian.Uint32(file[r.at:]) == crc32c(file[footer:end]))
	r.uint(2, "version %d")
	r.uint(2, "flags %#x")
	r.take(4, "magic")
	return r.out.Bytes()
}

func (r *renderer) frames(end int) {
	for r.at < end {
		r.uint(1, "frame of codec %d")
		r.uint(4, "decoded length %d")
		size := r.uint(4, "stored length %d")
		r.take(4, "CRC-32C, right: %v", binary.BigEndian.Uint32(r.b[r.at:]) == crc32c(r.b[r.at+4:][:size]))
		r.take(size, "content")
	}
}

func (r *renderer) index(size int) {
	end := r.at + size
	r.take(4, "index: magic")
	r.take(4, "CRC-32C, right: %v", binary.BigEndian.Uint32(r.b[r.at:]) == crc32c(r.b[r.at+4:end]))
	r.uint(4, "%d batches")
	r.uint(4, "%d records")
	for range r.uint(4, "%d entries") {
		r.uint(8, "batch of offset %d")
		r.uint(4, "at %#x of the decoded section")
		r.uint(4, "at %#x of the stored section")
		r.timestamp()
	}
	if r.at != end {
		fmt.Fprintf(&r.out, "ends at %#x, the footer says %#x\n", r.at, end)
		r.at = end
	}
}

func (r *renderer) timestamp() {
	ms := int64(binary.BigEndian.Uint64(r.b[r.at:]))
	r.take(8, "max timestamp %d = %s", ms, time.UnixMilli(ms).UTC().Format(time.RFC3339Nano))
}

// entry reports whether the section is merged.
func (r *renderer) entry(i int) bool {
	r.take(16, "section %d: topic ID %v", i, uuid.UUID(r.b[r.at:][:16]))
	r.uint(4, "partition %d")
	merged := r.uint(1, "kind %d") == 1
	r.uint(1, "encoding %d")
	r.uint(8, "position %#x")
	r.uint(4, "stored length %d")
	r.uint(4, "decoded length %d")
	r.uint(4, "%d batches")
	r.uint(4, "%d records")
	r.timestamp()
	for range r.uint(4, "%d producer runs") {
		r.uint(8, "producer ID %d")
		r.uint(2, "producer epoch %d")
		r.uint(4, "first sequence %d")
		r.uint(4, "last sequence %d")
		r.uint(4, "%d batches")
	}
	if merged {
		r.uint(8, "base offset %d")
		r.uint(8, "next offset %d")
		r.uint(4, "index length %d")
	}
	return merged
}
