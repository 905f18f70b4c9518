package fsck

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/agent/maintenance/verify"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/protocol"
)

// readSections reads the sections of a file that have runs, one after the other.
func (c *check) readSections(ctx context.Context, id uuid.UUID, sections *sections) error {
	for i, s := range sections.footer.Sections {
		runs := sections.runs[i]
		if len(runs) == 0 {
			continue
		}
		length := int64(s.StoredSize) + int64(s.IndexSize)
		b, err := c.bucket.Get(ctx, datafile.Key(id), s.Position, length)
		switch {
		case errors.Is(err, objstore.ErrNotFound):
			// It was there a moment ago.
			return c.fileProblem(ctx, MissingObject, id, runs, "the object doesn't exist")
		case err == nil && int64(len(b)) < length, errors.Is(err, objstore.ErrRange):
			return c.fileProblem(ctx, DamagedFile, id, runs, "the object ends in section %d", i)
		case err != nil:
			return err
		}
		c.mu.Lock()
		c.report.Read.add(int64(len(b)))
		c.mu.Unlock()
		content, problem := readSection(s, b)
		if problem != nil {
			if err := c.fileProblem(ctx, DamagedSection, id, runs, "section %d at byte %d: %v", i, s.Position, problem); err != nil {
				return err
			}
		}
		if err := c.checkRecords(ctx, id, content, runs); err != nil {
			return err
		}
	}
	return nil
}

// readSection reads and checks all of a section: frames, batches, index. It returns the first problem; `wadi
// inspect` shows the others.
func readSection(s datafile.Section, b []byte) (content datafile.Content, problem error) {
	content.Section = s
	stored := b[:s.StoredSize]
	if content.Bytes, problem = s.Decode(stored); problem != nil {
		return content, problem
	}
	if s.Merged {
		if content.Index, problem = s.ReadIndex(stored, b[s.StoredSize:]); problem != nil {
			return content, problem
		}
	}
	if problems := verify.Section(content, nil); len(problems) > 0 {
		problem = problems[0]
	}
	return content, problem
}

// checkRecords compares the runs of a section with the batches that they cut out of it. Merged runs
// are whole sections.
func (c *check) checkRecords(ctx context.Context, id uuid.UUID, s datafile.Content, runs []metadata.Run) error {
	if s.Bytes == nil {
		return nil
	}
	for _, r := range runs {
		first := int(r.Skip)
		if s.Encoding == datafile.Raw {
			first = int(r.Position - s.Position)
		}
		if problem := recordsProblem(r, s.Bytes[first:first+int(r.Size)]); problem != "" {
			if err := c.fileProblem(ctx, WrongRun, id, []metadata.Run{r}, "%s", problem); err != nil {
				return err
			}
		}
	}
	return nil
}

// recordsProblem says where a run and the batches in its bytes disagree.
func recordsProblem(r metadata.Run, batches []byte) string {
	records, newest := int64(0), int64(-1)
	for rest := batches; len(rest) > 0; {
		b, next, err := protocol.NextBatch(rest)
		if err != nil {
			return fmt.Sprintf("the row's bytes are no whole batches: %v", err)
		}
		records += int64(b.LastOffsetDelta()) + 1
		if !b.IsControl() { // whose time doesn't count: see metadata.Marker.Run
			newest = max(newest, b.MaxTimestamp())
		}
		rest = next
	}
	switch {
	case !r.Merged && records != int64(r.Records): // of a merged one, verify has checked the offsets
		return fmt.Sprintf("the row has %d records, its bytes %d", r.Records, records)
	case newest > r.MaxTimestamp:
		return fmt.Sprintf("the row's timestamp is %d, its bytes have one of %d", r.MaxTimestamp, newest)
	}
	return ""
}
