package fsck

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
)

// checkFiles walks all data files that the store knows, and compares the live ones with their objects.
func (c *check) checkFiles(ctx context.Context) error {
	var after uuid.UUID
	for {
		files, err := c.store.ListFiles(ctx, after, slice)
		if err != nil {
			return err
		}
		if len(files) == 0 {
			return nil
		}
		now, err := c.store.Now(ctx)
		if err != nil {
			return err
		}
		var dead []metadata.InspectedFile
		group, inGroup := errgroup.WithContext(ctx)
		group.SetLimit(max(c.options.Parallel, 1))
		for _, f := range files {
			if f.State == metadata.FileDead {
				dead = append(dead, f)
				continue
			}
			c.report.Files.add(f.Size)
			c.progress("files", c.report.Files.Number)
			if wrongCounts(f) {
				c.suspects = append(c.suspects, f.ID)
			}
			if err := c.checkLeftovers(ctx, f.Runs); err != nil {
				return errors.Join(err, group.Wait())
			}
			group.Go(func() error {
				if err := c.checkFile(inGroup, f); err != nil {
					return fmt.Errorf("check data file %s: %w", f.ID, err)
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		if err := c.checkDead(ctx, dead, now); err != nil {
			return err
		}
		after = files[len(files)-1].ID
	}
}

// wrongCounts: the counters don't go with the rows that the keys find.
func wrongCounts(f metadata.InspectedFile) bool {
	merged, stored := true, int64(0)
	for _, r := range f.Runs {
		merged = merged && r.Merged
		stored += int64(r.StoredSize)
	}
	return !f.KeysKnown || f.LiveRuns != len(f.Runs) || f.LiveBytes > f.Size || merged && f.LiveBytes < stored
}

// checkLeftovers looks for rows of partitions that don't exist and are not to be reclaimed.
func (c *check) checkLeftovers(ctx context.Context, runs []metadata.Run) error {
	for i, r := range runs {
		if i > 0 && runs[i-1].Partition == r.Partition || c.leftover[r.Partition] {
			continue
		}
		if _, ok, err := c.topics.find(ctx, r.Partition); err != nil || ok {
			if err != nil {
				return err
			}
			continue
		}
		rows, err := c.store.InspectRows(ctx, r.Partition, 0, 1)
		if err != nil {
			return err
		}
		if rows.Exists || rows.Deleted || len(rows.Runs) == 0 {
			continue
		}
		c.leftover[r.Partition] = true
		c.find(Finding{Kind: LeftoverRows, Detail: fmt.Sprintf("there are rows of the partition with ID %d, which doesn't exist", r.Partition)})
	}
	return nil
}

// live returns the runs of partitions that exist.
func (c *check) live(ctx context.Context, runs []metadata.Run) (live []metadata.Run, err error) {
	for _, r := range runs {
		_, ok, err := c.topics.find(ctx, r.Partition)
		if err != nil {
			return nil, err
		}
		if ok {
			live = append(live, r)
		}
	}
	return live, nil
}

// checkFile compares a live file with its object.
func (c *check) checkFile(ctx context.Context, f metadata.InspectedFile) error {
	runs, err := c.live(ctx, f.Runs)
	if err != nil || len(runs) == 0 && f.KeysKnown {
		return err // nobody reads it any more
	}
	if size, misfit := c.misfits[f.ID]; misfit { // and nothing in it is where it should be
		return c.fileProblem(ctx, WrongSize, f.ID, runs, "the object has %d bytes, the file was committed with %d", size, f.Size)
	}
	footer, err := datafile.Open(ctx, objectReader{c.bucket, datafile.Key(f.ID)}, f.Size)
	switch {
	case errors.Is(err, objstore.ErrNotFound):
		return c.fileProblem(ctx, MissingObject, f.ID, runs, "the object doesn't exist")
	case isDamage(err):
		return c.fileProblem(ctx, DamagedFile, f.ID, runs, "%v", err)
	case err != nil:
		return err
	case footer.ID != f.ID:
		return c.fileProblem(ctx, DamagedFile, f.ID, runs, "the object is data file %s", footer.ID)
	}
	sections := newSections(footer)
	for _, r := range runs {
		p, _, err := c.topics.find(ctx, r.Partition)
		if err != nil {
			return err
		}
		if problem := sections.add(r, p); problem != "" {
			if err := c.fileProblem(ctx, WrongRun, f.ID, []metadata.Run{r}, "%s", problem); err != nil {
				return err
			}
		}
	}
	if !c.options.Deep {
		return nil
	}
	if err := c.readSections(ctx, f.ID, sections); err != nil {
		return err
	}
	return c.checkMark(ctx, f)
}

// fileProblem reports a problem with a file's runs, if they still stand. (A file is deleted only long after its last row
// went: what stands now stood when the object was looked at.) Of a file whose runs nobody knows, it must be alive.
func (c *check) fileProblem(ctx context.Context, kind Kind, id uuid.UUID, runs []metadata.Run, format string, args ...any) error {
	c.mu.Lock()
	c.bad[id] = true
	c.mu.Unlock()
	standing, err := c.standing(ctx, runs)
	if err != nil || len(standing) == 0 && len(runs) > 0 {
		return err
	}
	if len(runs) == 0 {
		if f, err := c.inspectFile(ctx, id); err != nil || f.State != metadata.FileLive {
			return err
		}
	}
	f, err := c.ofFile(ctx, kind, id, standing, format, args...)
	if err != nil {
		return err
	}
	c.find(f)
	return nil
}

// isDamage: the object is not what was written, whatever store it lies in.
func isDamage(err error) bool {
	return errors.Is(err, datafile.ErrCorrupt) || errors.Is(err, datafile.ErrVersion) || errors.Is(err, objstore.ErrRange)
}

// objectReader is a datafile.RangeReader.
type objectReader struct {
	bucket objstore.Bucket
	key    string
}

func (o objectReader) ReadRange(ctx context.Context, offset, length int64) ([]byte, error) {
	return o.bucket.Get(ctx, o.key, offset, length)
}

// sections are those of a file, with the runs that lie in them.
type sections struct {
	footer datafile.Footer
	runs   [][]metadata.Run
}

func newSections(footer datafile.Footer) *sections {
	return &sections{footer, make([][]metadata.Run, len(footer.Sections))}
}

// add finds the section of a run and says where they disagree, "" where they don't.
func (s *sections) add(r metadata.Run, p place) string {
	list := s.footer.Sections
	i, exact := slices.BinarySearchFunc(list, r.Position, func(s datafile.Section, position int64) int {
		switch {
		case s.Position < position:
			return -1
		case s.Position > position:
			return 1
		}
		return 0
	})
	if !exact {
		i--
	}
	if i < 0 || r.Position+int64(r.StoredSize) > list[i].Position+int64(list[i].StoredSize) {
		return fmt.Sprintf("the row's bytes, %d from %d on, lie in no section of the file of %d bytes", r.StoredSize, r.Position, s.footer.Size)
	}
	if problem := runProblem(r, p, &list[i]); problem != "" {
		return problem
	}
	s.runs[i] = append(s.runs[i], r)
	return ""
}

// runProblem compares a run with the section that its bytes lie in.
func runProblem(r metadata.Run, p place, s *datafile.Section) string {
	switch {
	case s.TopicID != p.id || s.Partition != p.partition:
		return fmt.Sprintf("the row's bytes are in a section of partition %d of topic %s", s.Partition, s.TopicID)
	case int16(r.Encoding) != int16(s.Encoding):
		return fmt.Sprintf("the row's encoding is %d, the section's %d", r.Encoding, s.Encoding)
	case r.Merged != s.Merged:
		return fmt.Sprintf("the row says merged %v, the section %v", r.Merged, s.Merged)
	case r.Merged && (r.BaseOffset != s.BaseOffset || r.NextOffset() != s.NextOffset):
		return fmt.Sprintf("the section has offsets %d to %d", s.BaseOffset, s.NextOffset-1)
	case r.Merged && (r.Position != s.Position || r.StoredSize != s.StoredSize || r.Size != s.Size || r.Skip != 0):
		return fmt.Sprintf("the row has %d bytes at %d, %d decoded, the section %d at %d, %d", r.StoredSize, r.Position, r.Size, s.StoredSize, s.Position, s.Size)
	case s.Encoding == datafile.Framed && (r.Position != s.Position || r.StoredSize != s.StoredSize):
		return fmt.Sprintf("the row has %d bytes at %d, the framed section %d at %d", r.StoredSize, r.Position, s.StoredSize, s.Position)
	case s.Encoding == datafile.Raw && (r.Skip != 0 || r.Size != r.StoredSize):
		return fmt.Sprintf("the row takes %d bytes from %d on out of %d raw ones", r.Size, r.Skip, r.StoredSize)
	case r.Skip < 0 || r.Size <= 0 || int64(r.Skip)+int64(r.Size) > int64(s.Size):
		return fmt.Sprintf("the row takes %d bytes from %d on, the section has %d", r.Size, r.Skip, s.Size)
	case !r.Merged && r.Records > s.Records:
		return fmt.Sprintf("the row has %d records, the section %d", r.Records, s.Records)
	case !r.Merged && r.MaxTimestamp < s.MaxTimestamp && r.Records == s.Records:
		return fmt.Sprintf("the row's timestamp is %d, the section has one of %d", r.MaxTimestamp, s.MaxTimestamp)
	}
	return ""
}
