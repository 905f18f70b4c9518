package fsck

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore/datafile"
)

// checkDead deals with files that wait to be deleted, a slice at most.
func (c *check) checkDead(ctx context.Context, files []metadata.InspectedFile, now time.Time) error {
	var due []metadata.InspectedFile
	for _, f := range files {
		if c.named[f.ID] {
			continue // rows name it: who deletes it loses them
		}
		// What died after the newest snapshot may be in it, and be needed to recover from it.
		if deletable := c.deadFor(f, now) > 0 && (!c.hasSnapshot || f.DiedAt.Before(c.snapshot.Add(-snapshotMargin))); c.options.Repair && deletable {
			due = append(due, f)
			continue
		}
		c.report.Dead.add(f.Size)
		if c.deadFor(f, now) <= overdueAge {
			continue
		}
		exists, err := c.exists(ctx, datafile.Key(f.ID))
		if err != nil {
			return err
		}
		if exists {
			c.find(overdue(f))
		}
	}
	if len(due) == 0 {
		return nil
	}
	if err := c.deleteDead(ctx, due); err != nil {
		return err
	}
	for _, f := range due {
		c.report.DeletedDead.add(f.Size)
		if c.deadFor(f, now) > overdueAge {
			finding := overdue(f)
			finding.Repaired = "deleted the object"
			c.find(finding)
		}
	}
	return nil
}

// deadFor is for how long a file has been dead beyond the grace period.
func (c *check) deadFor(f metadata.InspectedFile, now time.Time) time.Duration {
	return now.Sub(f.DiedAt) - c.options.Grace
}

func overdue(f metadata.InspectedFile) Finding {
	return Finding{Kind: Overdue, Key: datafile.Key(f.ID), File: &f.ID, Detail: fmt.Sprintf("nothing refers to the file of %d bytes since %s, and it was not deleted", f.Size, f.DiedAt.UTC().Format(time.RFC3339))}
}

func (c *check) deleteDead(ctx context.Context, files []metadata.InspectedFile) error {
	objects, ids := make([]object, len(files)), make([]uuid.UUID, len(files))
	for i, f := range files {
		objects[i], ids[i] = object{f.ID, datafile.Key(f.ID), f.Size}, f.ID
	}
	// Store first, row second: if we die in between, the row says that there is something to delete.
	if err := c.deleteObjects(ctx, objects); err != nil {
		return err
	}
	return c.store.ForgetFiles(ctx, ids)
}

// checkMark deals with the mark of a file that a merge could not read, when all of it was read and nothing is wrong with it:
// its object may have been away for a while, or was restored.
func (c *check) checkMark(ctx context.Context, f metadata.InspectedFile) error {
	c.mu.Lock()
	bad := c.bad[f.ID]
	c.mu.Unlock()
	if f.Level != metadata.LevelDamaged || bad || !f.KeysKnown {
		return nil
	}
	finding := Finding{Kind: MarkedDamaged, Key: datafile.Key(f.ID), File: &f.ID, Detail: fmt.Sprintf("the file of %d bytes could not be read once, and no merge takes it; it can be read", f.Size)}
	if !c.options.Repair {
		if now, err := c.inspectFile(ctx, f.ID); err != nil || now.State != metadata.FileLive || now.Level != metadata.LevelDamaged {
			return err
		}
		c.find(finding)
		return nil
	}
	// How often its records were merged is not known any more: once, if they were.
	level := int16(0)
	if slices.ContainsFunc(f.Runs, func(r metadata.Run) bool { return r.Merged }) {
		level = metadata.FileLevel(1, f.Size, len(f.Runs))
	}
	unmarked, err := c.store.UnmarkFile(ctx, f.ID, level)
	if err != nil || !unmarked {
		return err
	}
	c.mu.Lock()
	c.report.Unmarked++
	c.mu.Unlock()
	finding.Repaired = "given back to merges"
	c.find(finding)
	return nil
}

// checkCounts counts the rows of suspects anew, from one snapshot each, and corrects what they say.
func (c *check) checkCounts(ctx context.Context) error {
	for ids := c.suspects; len(ids) > 0; {
		some := ids[:min(slice, len(ids))]
		ids = ids[len(some):]
		if err := c.onward(ctx); err != nil {
			return err
		}
		counts, err := c.store.RecountFiles(ctx, some, c.options.Repair)
		if err != nil {
			return err
		}
		for i, count := range counts {
			if !count.Wrong() {
				continue
			}
			f := Finding{Kind: WrongCounts, Key: datafile.Key(some[i]), File: &some[i], Detail: countsProblem(count)}
			if c.options.Repair {
				f.Repaired = "corrected"
				c.report.Corrected++
			}
			c.find(f)
		}
	}
	return nil
}

func countsProblem(c metadata.FileRecount) string {
	switch {
	case c.LiveRuns != c.Rows:
		return fmt.Sprintf("the file counts %d rows, there are %d", c.LiveRuns, c.Rows)
	case c.Unkeyed > 0:
		return fmt.Sprintf("%d of the file's %d rows are not found by its keys", c.Unkeyed, c.Rows)
	}
	return fmt.Sprintf("the file counts %d live bytes, %d can be", c.LiveBytes, c.RightBytes)
}
