package inspect

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"flag"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/protocol"
)

var update = flag.Bool("update", false, "write the golden files")

const someTime = int64(1700000000000)

// newBytes encodes an uncompressed batch as a producer sends it. producerID -1
// is none.
func newBytes(values []string, producerID int64, sequence int32) []byte {
	var records []byte
	for i, value := range values {
		record := kmsg.Record{TimestampDelta64: int64(i), OffsetDelta: int32(i), Value: []byte(value)}
		record.Length = int32(len(record.AppendTo(nil)) - 1) // the length of 0 takes one byte
		records = record.AppendTo(records)
	}
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, LastOffsetDelta: int32(len(values) - 1),
		FirstTimestamp: someTime, MaxTimestamp: someTime + int64(len(values)-1),
		ProducerID: producerID, ProducerEpoch: -1, FirstSequence: sequence,
		NumRecords: int32(len(values)), Records: records,
	}
	if producerID >= 0 {
		b.ProducerEpoch = 4
	}
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

func newInput(topic byte, partition int32, batches ...[]byte) datafile.Input {
	in := datafile.Input{TopicID: uuid.UUID{0: topic, 6: 0x40, 8: 0x80}, Partition: partition}
	for _, b := range batches {
		in.Batches = append(in.Batches, datafile.Batch{
			Bytes: b, Records: int32(binary.BigEndian.Uint32(b[57:])), MaxTimestamp: int64(binary.BigEndian.Uint64(b[35:])),
			ProducerID: int64(binary.BigEndian.Uint64(b[43:])), ProducerEpoch: int16(binary.BigEndian.Uint16(b[51:])),
			BaseSequence: int32(binary.BigEndian.Uint32(b[53:])),
		})
	}
	return in
}

// newFile returns a file with a raw and a framed section.
func newFile(t *testing.T) datafile.File {
	t.Helper()
	id := uuid.MustParse("0193557a-1000-7000-8000-000000000001")
	raw := newInput(1, 0, newBytes([]string{"a", "b"}, 7, 0), newBytes([]string{"c"}, 7, 2), newBytes([]string{"d"}, -1, -1))
	for i := range raw.Batches {
		raw.Batches[i].Compressed = true // which keeps the file from compressing them
	}
	file, err := datafile.Encode(id, datafile.Auto, []datafile.Input{
		raw,
		newInput(2, 3, newBytes([]string{strings.Repeat("the river bed ", 200)}, -1, -1)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// run runs the command on the file.
func run(t *testing.T, content []byte, args ...string) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := Command()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(append(args, path))
	var out bytes.Buffer
	cmd.SetOut(&out)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

// newMergedFile returns a merged file: a raw section with a compacted batch, an aborted
// transaction and its end, a framed one, and one of offsets behind a gap.
func newMergedFile(t testing.TB) datafile.File {
	t.Helper()
	w, err := datafile.NewMergeWriter(datafile.Auto, []datafile.Source{
		{FileID: uuid.MustParse("0193557a-0fff-7000-8000-000000000001"), Seq: 41},
		{FileID: uuid.MustParse("0193557a-0fff-7000-8000-000000000002")},
	})
	if err != nil {
		t.Fatal(err)
	}
	section := func(topic byte, partition int32, base int64, batches ...protocol.Batch) {
		next := base
		err := w.Begin(uuid.UUID{0: topic, 6: 0x40, 8: 0x80}, partition, base)
		for _, b := range batches {
			if err != nil {
				t.Fatal(err)
			}
			if b.BaseOffset() == 0 {
				b.SetBaseOffset(next)
			}
			b.SetLeaderEpoch(protocol.LeaderEpoch)
			next = b.BaseOffset() + int64(b.LastOffsetDelta()) + 1
			err = w.Append(datafile.MergedBatch{Bytes: b, Compressed: topic == 1, BaseOffset: b.BaseOffset(), LastOffset: next - 1, MaxTimestamp: b.MaxTimestamp()})
		}
		if _, err := w.End(next); err != nil {
			t.Fatal(err)
		}
	}
	some := protocol.Batch(newBytes([]string{"a", "b", "c"}, 7, 0))
	compacted, err := some.Filter(1<<20, someTime+1000, func(k protocol.Key) bool { return k.Offset == 1 })
	if err != nil {
		t.Fatal(err)
	}
	compacted.SetBaseOffset(103)
	marker, err := protocol.Batch(protocol.EndMarker{ProducerID: 7, ProducerEpoch: 4, Timestamp: someTime + 5}.AppendTo(nil)).WithDeleteHorizon(1<<20, someTime+2000)
	if err != nil {
		t.Fatal(err)
	}
	section(1, 0, 100, compacted, newBytes([]string{"d"}, 7, 3), marker, some.Empty())
	section(1, 0, 200, newBytes([]string{"e"}, -1, -1))
	section(2, 3, 0, newBytes([]string{strings.Repeat("the river bed ", 200)}, -1, -1))
	file, err := w.Finish(uuid.MustParse("0193557a-1000-7000-8000-000000000009"))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestGolden(t *testing.T) {
	testGolden(t, newFile(t), "")
	testGolden(t, newMergedFile(t), "merged-")
}

func testGolden(t *testing.T, file datafile.File, prefix string) {
	for name, args := range map[string][]string{
		"plain.txt":    nil,
		"batches.txt":  {"--batches"},
		"plain.json":   {"--json"},
		"batches.json": {"--json", "--batches"},
	} {
		name = prefix + name
		got, err := run(t, file.Bytes, args...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s(go test -update writes the files)", name, got, want)
		}
		if strings.HasSuffix(name, ".json") && !json.Valid([]byte(got)) {
			t.Errorf("%s is no JSON", name)
		}
	}
}

func TestStandardInput(t *testing.T) {
	file := newFile(t)
	cmd := Command()
	cmd.SetArgs([]string{"-"})
	cmd.SetIn(bytes.NewReader(file.Bytes))
	var out bytes.Buffer
	cmd.SetOut(&out)
	if err := cmd.ExecuteContext(t.Context()); err != nil || !strings.Contains(out.String(), file.ID.String()) {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

func TestDamageIsShownAndFails(t *testing.T) {
	clean := newFile(t)
	raw, framed := clean.Sections[0], clean.Sections[1]
	if raw.Encoding != datafile.Raw || framed.Encoding != datafile.Framed {
		t.Fatalf("want a raw and a framed section, got %v and %v", raw.Encoding, framed.Encoding)
	}
	for _, test := range []struct {
		name   string
		at     int64
		want   string // in the output
		intact string // what is still shown of the other section
	}{
		{"a record", raw.Position + int64(raw.StoredSize) - 1, "DAMAGED: batch 2 at byte", "partition 3"},
		{"a length", raw.Position + 8, "DAMAGED: batch 0 at byte 0", "partition 3"},
		{"a frame", framed.Position + int64(framed.StoredSize) - 1, "DAMAGED: section 1 at byte", "4 records in 3 batches"},
	} {
		t.Run(test.name, func(t *testing.T) {
			content := bytes.Clone(clean.Bytes)
			content[test.at] ^= 0x40
			out, err := run(t, content)
			if err == nil || !strings.HasSuffix(err.Error(), "is damaged: 1 of 2 sections") {
				t.Errorf("got %v", err)
			}
			if !strings.Contains(out, test.want) || !strings.Contains(out, test.intact) {
				t.Errorf("want %q and %q in\n%s", test.want, test.intact, out)
			}
			asJSON, err := run(t, content, "--json")
			if err == nil || !strings.Contains(asJSON, `"errors": [`) {
				t.Errorf("JSON: %v\n%s", err, asJSON)
			}
		})
	}
}

func TestDamageOfMergedFilesIsShownAndFails(t *testing.T) {
	clean := newMergedFile(t)
	first, framed := clean.Sections[0], clean.Sections[2]
	if first.Encoding != datafile.Raw || framed.Encoding != datafile.Framed {
		t.Fatalf("want a raw and a framed section, got %v and %v", first.Encoding, framed.Encoding)
	}
	for _, test := range []struct {
		name string
		at   int64
		want string // in the output
	}{
		{"a record", first.Position + int64(first.StoredSize) - 1, "DAMAGED: batch 3 at byte"},
		{"an offset", first.Position + 7, "DAMAGED: batch 0 at byte 0 of the decoded section: "},
		{"an index", first.Position + int64(first.StoredSize) + 20, "DAMAGED: section 0 at byte 8: index at byte"},
		{"an index of a framed section", framed.Position + int64(framed.StoredSize) + 2, "index starts with"},
	} {
		t.Run(test.name, func(t *testing.T) {
			content := bytes.Clone(clean.Bytes)
			content[test.at] ^= 0x40
			out, err := run(t, content, "--batches")
			if err == nil || !strings.HasSuffix(err.Error(), "is damaged: 1 of 3 sections") || !strings.Contains(out, test.want) {
				t.Errorf("%v, want %q in\n%s", err, test.want, out)
			}
			if n := strings.Count(out, "  batch "); n != 6 {
				t.Errorf("%d batches of 6 are shown in\n%s", n, out)
			}
		})
	}
}

func TestFooterThatMiscountsIsDamage(t *testing.T) {
	in := newInput(1, 0, newBytes([]string{"a", "b"}, -1, -1))
	in.Batches[0].Records = 3
	file, err := datafile.Encode(uuid.Must(uuid.NewV7()), datafile.None, []datafile.Input{in})
	if err != nil {
		t.Fatal(err)
	}
	out, err := run(t, file.Bytes)
	if err == nil || !strings.Contains(out, "the footer states 1 batches, 3 records") || !strings.Contains(out, "there are 1, 2 and") {
		t.Errorf("got %v\n%s", err, out)
	}
}

func TestWhatIsNoDataFileIsRefused(t *testing.T) {
	for name, content := range map[string][]byte{
		"empty":     nil,
		"text":      []byte(strings.Repeat("just text\n", 20)),
		"truncated": newFile(t).Bytes[:200],
	} {
		if out, err := run(t, content); err == nil || out != "" {
			t.Errorf("%s: got %v\n%s", name, err, out)
		}
	}
	if _, err := read(nil, filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a missing file was read")
	}
}

func FuzzInspect(f *testing.F) {
	id := uuid.MustParse("0193557a-1000-7000-8000-000000000001")
	file, err := datafile.Encode(id, datafile.Auto, []datafile.Input{newInput(1, 0, newBytes([]string{"a", "b"}, 7, 0))})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes)
	f.Add(newMergedFile(f).Bytes)
	f.Fuzz(func(t *testing.T, content []byte) {
		footer, err := datafile.ReadFooter(content)
		if err != nil {
			return
		}
		// Whatever the file says, there is a report of it.
		r := inspect(footer, content)
		if len(r.Sections) != len(footer.Sections) {
			t.Fatalf("%d sections of %d", len(r.Sections), len(footer.Sections))
		}
		if err := writeText(io.Discard, r, true); err != nil {
			t.Fatal(err)
		}
		if err := writeJSON(io.Discard, r, true); err != nil {
			t.Fatal(err)
		}
	})
}
