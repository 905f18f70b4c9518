package inspect

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// writeText writes the report for people.
func writeText(w io.Writer, r report, batches bool) error {
	out := &strings.Builder{}
	fmt.Fprintf(out, "data file  %s\n", r.ID)
	fmt.Fprintf(out, "key        %s\n", r.Key)
	fmt.Fprintf(out, "created    %s\n", timeText(r.Created))
	fmt.Fprintf(out, "size       %d bytes, format version %d\n", r.Size, r.Version)
	if r.merged() {
		fmt.Fprintf(out, "merged     from %s\n", counted(int64(len(r.Sources)), "file", "s"))
		for _, from := range r.Sources {
			fmt.Fprintf(out, "           %s, %s\n", from.ID, from.commit())
		}
	}
	partitions := map[string]bool{}
	var count, records, stored, decoded int64
	for _, s := range r.Sections {
		partitions[fmt.Sprint(s.TopicID, s.Partition)] = true
		count += int64(s.Batches)
		records += s.kept()
		stored += int64(s.StoredSize)
		decoded += int64(s.Size)
	}
	fmt.Fprintf(out, "holds      %s in %s of %s, %d bytes stored as %d\n",
		counted(records, "record", "s"), counted(count, "batch", "es"), counted(int64(len(partitions)), "partition", "s"), decoded, stored)
	for _, s := range r.Sections {
		out.WriteString("\n")
		s.write(out, batches)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func (s section) write(out *strings.Builder, batches bool) {
	fmt.Fprintf(out, "topic %s partition %d\n", s.TopicID, s.Partition)
	fmt.Fprintf(out, "  at byte %d: %d bytes, %s\n", s.Position, s.StoredSize, s.storage())
	fmt.Fprintf(out, "  %s in %s, newest %s\n", counted(s.kept(), "record", "s"), counted(int64(s.Batches), "batch", "es"), timeText(s.MaxTimestamp))
	if m := s.Merged; m != nil {
		fmt.Fprintf(out, "  %s, index of %d bytes with %s\n", offsetsText(m.BaseOffset, m.NextOffset-1), m.IndexSize, entries(len(m.Index)))
	}
	for _, p := range s.Producers {
		fmt.Fprintf(out, "  producer %d epoch %d: sequences %d to %d in %s\n", p.ID, p.Epoch, p.FirstSequence, p.LastSequence, counted(int64(p.Batches), "batch", "es"))
	}
	for _, text := range s.Errors {
		fmt.Fprintf(out, "  DAMAGED: %s\n", text)
	}
	if !batches {
		return
	}
	for i, b := range s.List {
		fmt.Fprintf(out, "  batch %d: %s%s in %d bytes, %s, %s%s, crc %s\n",
			i, b.offsets(), counted(int64(b.Records), "record", "s"), b.Size, codecText(b.Codec), b.times(), b.origin(), b.CRC)
	}
}

// kept is how many records there are; of a damaged merged section as many as were found.
func (s section) kept() int64 {
	if s.Merged != nil {
		return s.Merged.Kept
	}
	return int64(s.Records)
}

func (s source) commit() string {
	if s.Commit == 0 {
		return "of an unknown commit"
	}
	return fmt.Sprintf("of commit %d", s.Commit)
}

func (b batch) offsets() string {
	if b.BaseOffset == nil {
		return ""
	}
	return offsetsText(*b.BaseOffset, *b.LastOffset) + ", "
}

func offsetsText(first, last int64) string {
	if first == last {
		return fmt.Sprintf("offset %d", first)
	}
	return fmt.Sprintf("offsets %d to %d", first, last)
}

// times is from when to when the records are. With a delete horizon only the end is known.
func (b batch) times() string {
	if b.DeleteHorizon != nil {
		return fmt.Sprintf("up to %s, delete horizon %s", timeText(b.MaxTimestamp), timeText(*b.DeleteHorizon))
	}
	return fmt.Sprintf("%s to %s", timeText(b.BaseTimestamp), timeText(b.MaxTimestamp))
}

// storage says how the section lies in the file.
func (s section) storage() string {
	if len(s.Frames) == 0 {
		return s.Encoding
	}
	var codecs []string
	for _, codec := range slices.Sorted(maps.Keys(s.Frames)) {
		codecs = append(codecs, fmt.Sprintf("%d %s", s.Frames[codec], codec))
	}
	return fmt.Sprintf("%s (frames: %s), %d decoded", s.Encoding, strings.Join(codecs, ", "), s.Size)
}

func codecText(codec string) string {
	if codec == "none" {
		return "uncompressed"
	}
	return codec
}

// origin says who produced the batch, where it tells.
func (b batch) origin() string {
	var text strings.Builder
	if b.LogAppendTime {
		text.WriteString(" (log append time)")
	}
	if b.ProducerID >= 0 {
		fmt.Fprintf(&text, ", producer %d epoch %d sequence %d", b.ProducerID, b.ProducerEpoch, b.BaseSequence)
	}
	if b.Transactional {
		text.WriteString(", transactional")
	}
	if b.Control != "" {
		text.WriteString(", " + b.Control)
	}
	return text.String()
}

func entries(n int) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}

// counted returns "1 record" or "2 records".
func counted(n int64, what, plural string) string {
	if n != 1 {
		what += plural
	}
	return fmt.Sprintf("%d %s", n, what)
}
