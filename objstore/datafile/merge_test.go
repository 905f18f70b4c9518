package datafile_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/objstore/datafile"
)

var sources = []datafile.Source{
	{FileID: uuid.MustParse("01936b2c-0000-7bcd-8def-000000000001"), Seq: 7},
	{FileID: uuid.MustParse("01936b2c-1111-7bcd-8def-000000000002")},
}

// mergedSection is what a test writes as one section.
type mergedSection struct {
	topic     uuid.UUID
	partition int32
	base      int64
	batches   []datafile.MergedBatch
}

func (s mergedSection) next() int64 { return s.batches[len(s.batches)-1].LastOffset + 1 }

func (s mergedSection) bytes() []byte {
	var b []byte
	for i := range s.batches {
		b = append(b, s.batches[i].Bytes...)
	}
	return b
}

func merged(text string, base, last int64) datafile.MergedBatch {
	return datafile.MergedBatch{Bytes: []byte(text), BaseOffset: base, LastOffset: last, MaxTimestamp: 1_700_000_000_000 + base}
}

func newMerge(t testing.TB, c datafile.Compression) *datafile.MergeWriter {
	t.Helper()
	w, err := datafile.NewMergeWriter(c, sources)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// must fails the test on an error that a merge returns.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func writeSection(t testing.TB, w *datafile.MergeWriter, s mergedSection) datafile.Section {
	t.Helper()
	must(t, w.Begin(s.topic, s.partition, s.base))
	for _, b := range s.batches {
		must(t, w.Append(b))
	}
	section, err := w.End(s.next())
	must(t, err)
	return section
}

func mustMerge(t testing.TB, c datafile.Compression, sections ...mergedSection) datafile.File {
	t.Helper()
	w := newMerge(t, c)
	for _, s := range sections {
		writeSection(t, w, s)
	}
	f, err := w.Finish(fileID)
	must(t, err)
	return f
}

// checkMerged compares a file with what was written: bytes, sums, offsets, and that
// any offset and timestamp is found by the index where a scan finds it.
func checkMerged(t *testing.T, footer datafile.Footer, file []byte, sections []mergedSection) {
	t.Helper()
	if !reflect.DeepEqual(footer.Sources, sources) {
		t.Errorf("sources %v, want %v", footer.Sources, sources)
	}
	i := 0
	for c, err := range footer.Contents(file) {
		want := sections[i]
		if err != nil || !bytes.Equal(c.Bytes, want.bytes()) {
			t.Fatalf("section %d: %d bytes, %v; want %d", i, len(c.Bytes), err, len(want.bytes()))
		}
		records, newest := int64(0), int64(math.MinInt64)
		for _, b := range want.batches {
			records += b.LastOffset - b.BaseOffset + 1
			newest = max(newest, b.MaxTimestamp)
		}
		got := c.Section
		got.Position, got.StoredSize, got.Encoding, got.IndexSize = 0, 0, 0, 0
		if !reflect.DeepEqual(got, datafile.Section{
			TopicID: want.topic, Partition: want.partition, Size: int32(len(c.Bytes)), Batches: int32(len(want.batches)), Records: int32(records),
			MaxTimestamp: newest, Merged: true, BaseOffset: want.base, NextOffset: want.next(),
		}) {
			t.Errorf("section %d is %+v", i, c.Section)
		}
		behind := file[c.Position+int64(c.StoredSize):]
		size, err := datafile.IndexSize(behind)
		if err != nil || size != int(c.IndexSize) {
			t.Errorf("index of %d bytes, %v; the footer says %d", size, err, c.IndexSize)
		}
		if x, err := datafile.ReadIndex(behind); err != nil || !reflect.DeepEqual(x, c.Index) {
			t.Errorf("index behind the section is %v, %v; want %v", x, err, c.Index)
		}
		checkSeeks(t, c, file, want.batches)
		i++
	}
	if i != len(sections) {
		t.Fatalf("%d sections, want %d", i, len(sections))
	}
}

func checkSeeks(t *testing.T, c datafile.Content, file []byte, batches []datafile.MergedBatch) {
	t.Helper()
	at := map[int32]int{} // batches by their position
	positions := make([]int32, len(batches))
	position := int32(0)
	for i, b := range batches {
		at[position], positions[i] = i, position
		position += int32(len(b.Bytes))
	}
	// scan returns the first batch from the one at the entry on that fits.
	scan := func(e datafile.IndexEntry, fits func(datafile.MergedBatch) bool) int {
		first, ok := at[e.Position]
		if !ok || batches[first].BaseOffset != e.Offset {
			t.Fatalf("no batch of offset %d at %d", e.Offset, e.Position)
		}
		return first + max(0, slices.IndexFunc(batches[first:], fits))
	}
	for i, e := range c.Index.Entries {
		if i > 0 && e.Position-c.Index.Entries[i-1].Position < 64<<10 {
			t.Errorf("entries %d bytes apart", e.Position-c.Index.Entries[i-1].Position)
		}
		checkEntry(t, c, file, e)
	}
	for i, b := range batches {
		for _, offset := range []int64{b.BaseOffset, b.LastOffset, b.LastOffset + 1, b.BaseOffset - 1} {
			holds := func(b datafile.MergedBatch) bool { return b.LastOffset >= offset }
			if got, want := scan(c.Index.SeekOffset(offset), holds), max(0, slices.IndexFunc(batches, holds)); got != want && offset < c.NextOffset {
				t.Fatalf("offset %d is in batch %d, a scan finds %d", offset, got, want)
			}
		}
		for _, ms := range []int64{b.MaxTimestamp, b.MaxTimestamp + 1, b.MaxTimestamp - 1} {
			reaches := func(b datafile.MergedBatch) bool { return b.MaxTimestamp >= ms }
			want := slices.IndexFunc(batches, reaches)
			e, ok := c.Index.SeekTimestamp(ms)
			if !ok {
				if want >= 0 {
					t.Fatalf("timestamp %d is not found, a scan finds batch %d", ms, want)
				}
				continue
			}
			if got := scan(e, reaches); got != want {
				t.Fatalf("timestamp %d is in batch %d, a scan finds %d", ms, got, want)
			}
			if n := slices.Index(c.Index.Entries, e); n+1 < len(c.Index.Entries) && positions[want] >= c.Index.Entries[n+1].Position {
				t.Fatalf("timestamp %d lies in batch %d of %d behind the next entry", ms, want, i)
			}
		}
	}
}

// checkEntry: whoever reads from e.Stored on finds what lies at e.Position.
func checkEntry(t *testing.T, c datafile.Content, file []byte, e datafile.IndexEntry) {
	t.Helper()
	got := file[c.Position:][e.Stored:c.StoredSize]
	if c.Encoding == datafile.Framed {
		var err error
		got, _, err = datafile.NextFrame(nil, got)
		must(t, err)
	}
	if !bytes.HasPrefix(c.Bytes[e.Position:], got) || len(got) == 0 {
		t.Fatalf("entry %+v does not lead to its batch", e)
	}
}

// randomSections returns sections in order, most of them small, with holes in their offsets and
// timestamps that go up and down.
func randomSections(rng *rand.Rand) []mergedSection {
	sections := make([]mergedSection, 1+rng.IntN(12))
	partition, next := int32(0), int64(0)
	for i := range sections {
		if rng.IntN(3) > 0 {
			partition, next = partition+1+rng.Int32N(3), 0
		}
		s := mergedSection{topicA, partition, next + rng.Int64N(100), make([]datafile.MergedBatch, 1+rng.IntN(30))}
		next = s.base
		for j := range s.batches {
			size := 1 + rng.IntN(20_000)
			switch rng.IntN(60) {
			case 0:
				size = datafile.MaxFrameSize - 1 + rng.IntN(3)
			case 1:
				size = 1 + rng.IntN(3*datafile.MaxFrameSize)
			}
			b := datafile.MergedBatch{Bytes: text(rng, size), BaseOffset: next + rng.Int64N(3), MaxTimestamp: rng.Int64N(1000) - 1}
			if i%4 == 1 {
				b.Bytes = noise(rng, size)
			}
			if rng.IntN(4) == 0 {
				b.Bytes, b.Compressed = noise(rng, size), true
			}
			b.LastOffset = b.BaseOffset + rng.Int64N(50)
			next = b.LastOffset + 1
			s.batches[j] = b
		}
		sections[i] = s
	}
	return sections
}

func TestMergedFileReadsBackAndIsFoundByItsIndex(t *testing.T) {
	seed := *seed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d runs this again", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for _, c := range []datafile.Compression{datafile.Auto, datafile.S2, datafile.None} {
		w := newMerge(t, c)
		for range 5 { // with the same writer
			sections := randomSections(rng)
			for _, s := range sections {
				writeSection(t, w, s)
			}
			f, err := w.Finish(fileID)
			must(t, err)
			footer, err := datafile.ReadFooter(f.Bytes)
			must(t, err)
			if !reflect.DeepEqual(footer.Sections, f.Sections) || footer.Size != int64(len(f.Bytes)) {
				t.Fatalf("footer %+v\nwriter %+v", footer.Sections, f.Sections)
			}
			checkMerged(t, footer, f.Bytes, sections)
			checkAppendStored(t, c, footer, f.Bytes, sections)
		}
	}
}

// checkAppendStored merges the file's sections of each partition into one, as they
// are where the writer likes.
func checkAppendStored(t *testing.T, c datafile.Compression, footer datafile.Footer, file []byte, sections []mergedSection) {
	t.Helper()
	file = bytes.Clone(file) // the writer's
	w := newMerge(t, c)
	var joined []mergedSection
	for i, s := range sections {
		first := i == 0 || sections[i-1].partition != s.partition
		if first {
			if i > 0 {
				_, err := w.End(sections[i-1].next())
				must(t, err)
			}
			must(t, w.Begin(s.topic, s.partition, s.base))
			joined = append(joined, mergedSection{s.topic, s.partition, s.base, nil})
		}
		f := footer.Sections[i]
		index, err := datafile.ReadIndex(file[f.Position+int64(f.StoredSize):])
		must(t, err)
		taken, err := w.AppendStored(f, index, file[f.Position:][:f.StoredSize])
		must(t, err)
		if !taken {
			for _, b := range s.batches {
				must(t, w.Append(b))
			}
		}
		last := &joined[len(joined)-1]
		last.batches = append(last.batches, s.batches...)
	}
	_, err := w.End(sections[len(sections)-1].next())
	must(t, err)
	again, err := w.Finish(fileID)
	must(t, err)
	footer, err = datafile.ReadFooter(again.Bytes)
	must(t, err)
	checkMerged(t, footer, again.Bytes, joined)
}

func TestMergeWriterChoosesEncoding(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const kib, mib = 1 << 10, 1 << 20
	compressible, random := text(rng, 3*mib), noise(rng, 3*mib)
	const byClient = true
	type piece struct {
		bytes    []byte
		byClient bool
	}
	tests := []struct {
		name        string
		compression datafile.Compression
		pieces      []piece
		want        string // codecs of the frames, "" when raw
	}{
		{"none", datafile.None, []piece{{compressible, false}}, ""},
		{"auto is zstd", datafile.Auto, []piece{{compressible[:mib], false}}, "zstd"},
		{"s2", datafile.S2, []piece{{compressible[:mib], false}}, "s2"},
		{"one byte", datafile.Auto, []piece{{compressible[:1], false}}, ""},
		{"incompressible", datafile.Auto, []piece{{random, false}}, ""},
		{"compressed by the client, whatever it gains", datafile.Auto, []piece{{compressible, byClient}}, ""},
		{"first frame does not gain", datafile.Auto, []piece{{random[:mib], false}, {compressible, false}}, ""},
		{"small first frame decides nothing", datafile.Auto, []piece{{random[:kib], false}, {compressible[:mib], false}}, "stored zstd"},
		{"later frame does not gain", datafile.Auto, []piece{{compressible[:mib], false}, {random[:mib], false}}, "zstd stored"},
		{"gains too little in the end", datafile.Auto, []piece{{compressible[:100*kib], false}, {random, false}}, ""},
		{"batch above a frame", datafile.Auto, []piece{{compressible[:2*mib+1], false}}, "zstd zstd stored"},
		{"batches share a frame", datafile.Auto, []piece{{compressible[:kib], false}, {compressible[:kib], false}}, "zstd"},
		{"mixed", datafile.Auto, []piece{{random[:600*kib], byClient}, {compressible[:400*kib], false}}, "stored zstd"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := mergedSection{topicA, 0, 0, nil}
			for i, p := range tt.pieces {
				s.batches = append(s.batches, datafile.MergedBatch{Bytes: p.bytes, Compressed: p.byClient, BaseOffset: int64(i), LastOffset: int64(i)})
			}
			f := mustMerge(t, tt.compression, s)
			footer, err := datafile.ReadFooter(f.Bytes)
			must(t, err)
			checkMerged(t, footer, f.Bytes, []mergedSection{s})
			for c, err := range footer.Contents(f.Bytes) {
				must(t, err)
				var codecs []string
				for _, frame := range c.Frames {
					codecs = append(codecs, frame.Codec.String())
				}
				if got := strings.Join(codecs, " "); got != tt.want || (c.Encoding == datafile.Framed) != (tt.want != "") {
					t.Errorf("%v with frames %q, want %q", c.Encoding, got, tt.want)
				}
			}
		})
	}
}

func TestMergeWriterTakesStoredSections(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	const mib = 1 << 20
	small, large, random := text(rng, 1000), text(rng, 2*mib), noise(rng, 2*mib)
	tests := []struct {
		name          string
		from, to      datafile.Compression
		before, bytes []byte // before is what the section has already
		want          bool
	}{
		{"framed into an empty section", datafile.Auto, datafile.Auto, nil, large, true},
		{"framed behind a batch", datafile.Auto, datafile.Auto, small, large, true},
		{"framed behind raw", datafile.Auto, datafile.Auto, random, large, false},
		{"another codec", datafile.S2, datafile.Auto, small, large, true},
		{"framed where nothing is compressed", datafile.Auto, datafile.None, nil, large, false},
		{"raw where nothing is compressed", datafile.None, datafile.None, small, small, true},
		{"raw into an empty section", datafile.Auto, datafile.Auto, nil, random, true},
		{"raw behind framed", datafile.Auto, datafile.Auto, large, random, false},
		{"raw behind raw", datafile.Auto, datafile.Auto, random, random, true},
		{"small and framed", datafile.Auto, datafile.Auto, large, small, false},
		{"small and raw", datafile.None, datafile.Auto, nil, small, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			batch := datafile.MergedBatch{Bytes: tt.bytes, BaseOffset: 12, LastOffset: 14, MaxTimestamp: 99}
			from := mustMerge(t, tt.from, mergedSection{topicA, 0, 10, []datafile.MergedBatch{batch}})
			s := from.Sections[0]
			index, err := datafile.ReadIndex(from.Bytes[s.Position+int64(s.StoredSize):])
			must(t, err)
			w := newMerge(t, tt.to)
			must(t, w.Begin(topicB, 1, 0))
			want := mergedSection{topicB, 1, 0, nil}
			if tt.before != nil {
				want.batches = append(want.batches, datafile.MergedBatch{Bytes: tt.before, LastOffset: 3, MaxTimestamp: 100})
				must(t, w.Append(want.batches[0]))
			}
			stored := from.Bytes[s.Position:][:s.StoredSize]
			if got, err := w.AppendStored(s, index, stored); got != tt.want || err != nil {
				t.Fatalf("taken %v, %v; want %v", got, err, tt.want)
			}
			if !tt.want {
				must(t, w.Append(batch))
			}
			want.batches = append(want.batches, batch)
			_, err = w.End(15)
			must(t, err)
			f, err := w.Finish(fileID)
			must(t, err)
			footer, err := datafile.ReadFooter(f.Bytes)
			must(t, err)
			checkMerged(t, footer, f.Bytes, []mergedSection{want})
			if tt.want && !bytes.Contains(f.Bytes, stored) {
				t.Error("the stored bytes are not in the file")
			}
		})
	}
}

func TestMergeWriterRefusesDamagedSections(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	s := mergedSection{topicA, 0, 10, nil}
	for i := range int64(40) {
		s.batches = append(s.batches, merged(string(text(rng, 100_000)), 10+i, 10+i))
	}
	f := mustMerge(t, datafile.Auto, s)
	section := f.Sections[0]
	stored := f.Bytes[section.Position:][:section.StoredSize]
	index, err := datafile.ReadIndex(f.Bytes[section.Position+int64(section.StoredSize):])
	must(t, err)
	tests := []struct {
		name   string
		change func(s *datafile.Section, x *datafile.Index, stored []byte) []byte
		want   string
	}{
		{"cut", func(_ *datafile.Section, _ *datafile.Index, b []byte) []byte { return b[:len(b)-1] }, "bytes of a section of"},
		{"cut in a frame", func(s *datafile.Section, _ *datafile.Index, b []byte) []byte {
			s.StoredSize--
			return b[:len(b)-1]
		}, "states a stored length"},
		{"bit", func(_ *datafile.Section, _ *datafile.Index, b []byte) []byte { b[100] ^= 1; return b }, "frame at byte 0"},
		{"size", func(s *datafile.Section, _ *datafile.Index, b []byte) []byte { s.Size++; return b }, "frames of 4000000 bytes"},
		{"index of another section", func(_ *datafile.Section, x *datafile.Index, b []byte) []byte { x.Entries[1].Stored++; return b }, "index entry 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, x := section, index
			x.Entries = slices.Clone(x.Entries)
			b := tt.change(&s, &x, bytes.Clone(stored))
			w := newMerge(t, datafile.Auto)
			must(t, w.Begin(topicA, 0, 0))
			taken, err := w.AppendStored(s, x, b)
			if taken || !errors.Is(err, datafile.ErrCorrupt) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("taken %v, error %v, want ErrCorrupt with %q", taken, err, tt.want)
			}
		})
	}
}

func TestMergeWriterRefuses(t *testing.T) {
	ok := merged("batch", 0, 0)
	begun := func(t *testing.T, w *datafile.MergeWriter) { must(t, w.Begin(topicB, 2, 0)) }
	written := func(t *testing.T, w *datafile.MergeWriter) {
		writeSection(t, w, mergedSection{topicB, 2, 0, []datafile.MergedBatch{merged("batch", 5, 9)}})
	}
	tests := []struct {
		name   string
		before func(*testing.T, *datafile.MergeWriter)
		do     func(w *datafile.MergeWriter) error
		want   string
	}{
		{"section in a section", begun, func(w *datafile.MergeWriter) error { return w.Begin(topicB, 3, 0) }, "has not ended"},
		{"negative partition", nil, func(w *datafile.MergeWriter) error { return w.Begin(topicB, -1, 0) }, "partition -1"},
		{"negative offset", nil, func(w *datafile.MergeWriter) error { return w.Begin(topicB, 0, -1) }, "base offset -1"},
		{"topic order", written, func(w *datafile.MergeWriter) error { return w.Begin(topicA, 3, 0) }, "out of order"},
		{"partition order", written, func(w *datafile.MergeWriter) error { return w.Begin(topicB, 1, 0) }, "out of order"},
		{"overlap", written, func(w *datafile.MergeWriter) error { return w.Begin(topicB, 2, 9) }, "out of order"},
		{"batch outside", nil, func(w *datafile.MergeWriter) error { return w.Append(ok) }, "outside a section"},
		{"empty batch", begun, func(w *datafile.MergeWriter) error { return w.Append(merged("", 0, 0)) }, "0 bytes"},
		{"batch before the section", begun, func(w *datafile.MergeWriter) error { return w.Append(merged("x", -1, 0)) }, "behind offset -1"},
		{"offsets that descend", begun, func(w *datafile.MergeWriter) error { return w.Append(merged("x", 1, 0)) }, "offsets 1 to 0"},
		{"offset twice", begun, func(w *datafile.MergeWriter) error {
			return errors.Join(w.Append(merged("x", 1, 3)), w.Append(merged("x", 3, 4)))
		}, "behind offset 3"},
		{"too many offsets", begun, func(w *datafile.MergeWriter) error { return w.Append(merged("x", 0, math.MaxInt32)) }, "more than a section can hold"},
		{"end outside", nil, func(w *datafile.MergeWriter) error { _, err := w.End(1); return err }, "no section"},
		{"section without batches", begun, func(w *datafile.MergeWriter) error { _, err := w.End(1); return err }, "without batches"},
		{"end behind the last batch", begun, func(w *datafile.MergeWriter) error {
			_, err := w.End(7)
			return errors.Join(w.Append(ok), err, second(w.End(7)))
		}, "ends with offset 0, want 6"},
		{"file in a section", begun, func(w *datafile.MergeWriter) error { return second(w.Finish(fileID)) }, "has not ended"},
		{"nothing", nil, func(w *datafile.MergeWriter) error { return second(w.Finish(fileID)) }, "without sections"},
		{"another version of UUID", written, func(w *datafile.MergeWriter) error { return second(w.Finish(topicA)) }, "no UUIDv7"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newMerge(t, datafile.None)
			if tt.before != nil {
				tt.before(t, w)
			}
			if err := tt.do(w); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
	if _, err := datafile.NewMergeWriter("gzip", nil); err == nil {
		t.Error("compression gzip is taken")
	}
}

func second[T any](_ T, err error) error { return err }

// TestAbandonedSectionLeavesNothing: what a damaged input began is not in the file.
func TestAbandonedSectionLeavesNothing(t *testing.T) {
	first := mergedSection{topicA, 0, 0, []datafile.MergedBatch{merged("first", 0, 4)}}
	second := mergedSection{topicA, 1, 7, []datafile.MergedBatch{merged("second", 7, 7)}}
	want := mustMerge(t, datafile.Auto, first, second)
	w := newMerge(t, datafile.Auto)
	w.Abandon()
	writeSection(t, w, first)
	must(t, w.Begin(topicA, 1, 7))
	must(t, w.Append(merged(strings.Repeat("half a section ", 100_000), 7, 9)))
	must(t, w.Append(merged("and its end", 10, 10)))
	w.Abandon()
	writeSection(t, w, second)
	got, err := w.Finish(fileID)
	must(t, err)
	if !bytes.Equal(got.Bytes, want.Bytes) {
		t.Errorf("file with an abandoned section\n%s\nwant\n%s", render(got.Bytes), render(want.Bytes))
	}
}

func TestMergeWriterTellsItsSize(t *testing.T) {
	w := newMerge(t, datafile.None)
	for i := range int32(5) {
		must(t, w.Begin(topicA, i, 0))
		for j := range int64(3) {
			must(t, w.Append(merged(strings.Repeat("x", 70_000), j, j)))
		}
		open := w.Size()
		_, err := w.End(3)
		must(t, err)
		if w.Size() != open {
			t.Errorf("size %d became %d as the section ended", open, w.Size())
		}
	}
	size := w.Size()
	f, err := w.Finish(fileID)
	must(t, err)
	if int64(len(f.Bytes)) != size {
		t.Errorf("file of %d bytes, it said %d", len(f.Bytes), size)
	}
	w.SetSources(nil)
	writeSection(t, w, mergedSection{topicA, 0, 0, []datafile.MergedBatch{merged("alone", 0, 0)}})
	size = w.Size()
	f, err = w.Finish(fileID)
	must(t, err)
	footer, err := datafile.ReadFooter(f.Bytes)
	if err != nil || footer.Sources != nil || size != int64(len(f.Bytes)) || f.RawBytes != 5 {
		t.Errorf("second file: %d bytes, said %d, sources %v, raw %d, %v", len(f.Bytes), size, footer.Sources, f.RawBytes, err)
	}
}

// TestMergeWriterMemory: a writer that made a file makes the next one without growing.
func TestMergeWriterMemory(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	batch := text(rng, 10_000)
	w := newMerge(t, datafile.Auto)
	allocs := testing.AllocsPerRun(5, func() {
		must(t, w.Begin(topicA, 0, 0))
		for i := range int64(1000) {
			must(t, w.Append(datafile.MergedBatch{Bytes: batch, BaseOffset: i, LastOffset: i}))
		}
		must(t, second(w.End(1000)))
		must(t, second(w.Finish(fileID)))
	})
	if allocs > 30 {
		t.Errorf("%.0f allocations for a file of 1,000 batches", allocs)
	}
}

func ExampleMergeWriter() {
	w, err := datafile.NewMergeWriter(datafile.Auto, []datafile.Source{{FileID: fileID, Seq: 12}})
	if err != nil {
		panic(err)
	}
	errs := []error{
		w.Begin(topicA, 0, 100),
		w.Append(datafile.MergedBatch{Bytes: []byte("a batch of two records"), BaseOffset: 100, LastOffset: 101, MaxTimestamp: 1000}),
		w.Append(datafile.MergedBatch{Bytes: []byte("another"), BaseOffset: 105, LastOffset: 105, MaxTimestamp: 1005}),
	}
	section, err := w.End(106)
	file, finishErr := w.Finish(fileID)
	if err := errors.Join(append(errs, err, finishErr)...); err != nil {
		panic(err)
	}
	fmt.Println(section.BaseOffset, section.NextOffset, section.Encoding, len(file.Sections))
	// Output: 100 106 raw 1
}
