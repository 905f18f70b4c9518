package verify

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/protocol"
)

var fileID = uuid.MustParse("0193557a-1000-7000-8000-000000000001")

// makeBatch makes a batch of records at the offset, with a value of the size each, that ends delta offsets behind the last.
func makeBatch(t testing.TB, offset int64, records, size int, more int32, timestamp int64) protocol.Batch {
	t.Helper()
	b := kmsg.RecordBatch{
		FirstOffset: offset, Magic: 2, LastOffsetDelta: int32(records-1) + more, FirstTimestamp: timestamp, MaxTimestamp: timestamp,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: int32(records),
	}
	for i := range records {
		r := kmsg.Record{Value: make([]byte, size), OffsetDelta: int32(i)}
		body := r.AppendTo(nil)[1:]
		b.Records = append(binary.AppendVarint(b.Records, int64(len(body))), body...)
	}
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

// mergedContent is a section with compacted batches and the end of a transaction, and an index of two entries.
func mergedContent(t testing.TB) datafile.Content {
	t.Helper()
	w, err := datafile.NewMergeWriter(datafile.None, nil)
	if err != nil {
		t.Fatal(err)
	}
	marker := protocol.Batch(protocol.EndMarker{ProducerID: 7, Commit: true, Timestamp: 1500}.AppendTo(nil))
	marker.SetBaseOffset(130)
	batches := []protocol.Batch{
		makeBatch(t, 103, 2, 100, 5, 1000),
		makeBatch(t, 110, 3, 30_000, 0, 3000),
		makeBatch(t, 120, 1, 10, 0, 2000),
		marker,
		makeBatch(t, 140, 5, 10, 0, 4000).Empty(),
	}
	if err := w.Begin(uuid.UUID{15: 1}, 0, 100); err != nil {
		t.Fatal(err)
	}
	for _, b := range batches {
		last := b.BaseOffset() + int64(b.LastOffsetDelta())
		if err := w.Append(datafile.MergedBatch{Bytes: b, BaseOffset: b.BaseOffset(), LastOffset: last, MaxTimestamp: b.MaxTimestamp()}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.End(145); err != nil {
		t.Fatal(err)
	}
	file, err := w.Finish(fileID)
	if err != nil {
		t.Fatal(err)
	}
	footer, err := datafile.ReadFooter(file.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	for c, err := range footer.Contents(file.Bytes) {
		if err != nil || len(c.Index.Entries) != 2 {
			t.Fatalf("%v, %d index entries", err, len(c.Index.Entries))
		}
		return c
	}
	panic("a file without sections")
}

func TestMergedSectionIsFine(t *testing.T) {
	c := mergedContent(t)
	var seen []string
	problems := Section(c, func(at int, b protocol.Batch) {
		seen = append(seen, fmt.Sprintf("%d at %d", b.BaseOffset(), at))
	})
	if len(problems) > 0 || len(seen) != 5 || seen[0] != "103 at 0" || !strings.HasPrefix(seen[4], "140 at ") {
		t.Errorf("problems %v, batches %v", problems, seen)
	}
}

func TestMergedSectionSaysWhatIsWrong(t *testing.T) {
	second := func(c *datafile.Content) protocol.Batch { return c.Bytes[c.Index.Entries[1].Position:] }
	tests := []struct {
		name   string
		change func(c *datafile.Content)
		want   string
	}{
		{"record", func(c *datafile.Content) { c.Bytes[len(c.Bytes)-1] ^= 1 }, "batch 4 at byte"},
		{"length", func(c *datafile.Content) { c.Bytes[8] = 0x7f }, "batch 0 at byte 0 of the decoded section: "},
		{"offset descends", func(c *datafile.Content) { second(c).SetBaseOffset(112) }, "its offsets are 112 to 112, behind 112"},
		{"offset before the section", func(c *datafile.Content) { c.BaseOffset = 104 }, "its offsets are 103 to 109, behind 103"},
		{"offset behind the section", func(c *datafile.Content) { c.NextOffset = 144 }, "its offsets are 140 to 144, behind 130 in a section up to 143"},
		{"another offset than the index says", func(c *datafile.Content) { second(c).SetBaseOffset(121) }, "the index has offset 120 at byte"},
		{"leader epoch", func(c *datafile.Content) { second(c).SetLeaderEpoch(9) }, "leader epoch is 9"},
		{"index inside a batch", func(c *datafile.Content) { c.Index.Entries[1].Position-- }, "the index has offset 120 at byte"},
		{"index behind all", func(c *datafile.Content) { c.Index.Entries[1].Position = 1 << 30 }, "where no batch begins"},
		{"timestamp in the index", func(c *datafile.Content) { c.Index.Entries[0].MaxTimestamp++ }, "largest timestamp 3001 up to the entry behind offset 103, which is 3000"},
		{"timestamp of the last entry", func(c *datafile.Content) { c.Index.Entries[1].MaxTimestamp++ }, "largest timestamp 4001 up to the entry behind offset 120"},
		{"end", func(c *datafile.Content) { c.NextOffset = 146 }, "the last batch ends with offset 144, the section with 145"},
		{"count", func(c *datafile.Content) { c.Batches = 6 }, "the footer states 6 batches, 17 records, largest timestamp 4000; there are 5, 17 and 4000"},
		{"records", func(c *datafile.Content) { c.Records = 16 }, "the footer states 5 batches, 16 records"},
		{"timestamp", func(c *datafile.Content) { c.MaxTimestamp = 2000 }, "largest timestamp 2000; there are 5, 17 and 4000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := mergedContent(t)
			tt.change(&c)
			problems := Section(c, nil)
			if len(problems) == 0 || !strings.Contains(fmt.Sprint(problems), tt.want) {
				t.Errorf("problems %v, want one with %q", problems, tt.want)
			}
		})
	}
}

func TestProblemsOfASectionAreBounded(t *testing.T) {
	c := datafile.Content{Section: datafile.Section{Batches: 100, Records: 100, MaxTimestamp: 1}}
	for range 100 {
		b := makeBatch(t, 0, 1, 10, 0, 1)
		b[len(b)-1] ^= 1
		c.Bytes = append(c.Bytes, b...)
	}
	if problems := Section(c, nil); len(problems) != maxProblems+1 {
		t.Errorf("%d problems of a section with 100 damaged batches", len(problems))
	}
}

func FuzzSection(f *testing.F) {
	c := mergedContent(f)
	f.Add(c.Bytes, true)
	f.Add(c.Bytes[:200], false)
	f.Fuzz(func(t *testing.T, b []byte, merged bool) {
		c := c
		c.Bytes, c.Merged = b, merged
		seen := 0
		problems := Section(c, func(int, protocol.Batch) { seen++ })
		if len(problems) == 0 && seen != int(c.Batches) {
			t.Fatalf("no problem with %d batches of %d", seen, c.Batches)
		}
	})
}
