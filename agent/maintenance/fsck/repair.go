package fsck

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore/datafile"
)

// checkDead deals with a file that waits to be deleted.
func (c *check) checkDead(ctx context.Context, f metadata.InspectedFile, now time.Time) error {
	if c.named[f.ID] {
		return nil // rows name it: who deletes it loses them
	}
	dead := now.Sub(f.DiedAt) - c.options.Grace
	// What died after the newest snapshot may be in it, and be needed to recover from it.
	deletable := dead > 0 && (!c.hasSnapshot || f.DiedAt.Before(c.snapshot.Add(-snapshotMargin)))
	if c.options.Repair && deletable {
		// Store first, row second: if we die in between, the row says that there is something to delete.
		if err := c.bucket.Delete(ctx, datafile.Key(f.ID)); err != nil {
			return err
		}
		if err := c.store.ForgetFiles(ctx, []uuid.UUID{f.ID}); err != nil {
			return err
		}
		c.report.DeletedDead.add(f.Size)
	} else {
		c.report.Dead.add(f.Size)
	}
	if dead <= overdueAge {
		return nil
	}
	if !c.options.Repair || !deletable {
		if exists, err := c.exists(ctx, datafile.Key(f.ID)); err != nil || !exists {
			return err
		}
	}
	finding := Finding{Kind: Overdue, Key: datafile.Key(f.ID), File: &f.ID, Detail: fmt.Sprintf("nothing refers to the file of %d bytes since %s, and it was not deleted", f.Size, f.DiedAt.UTC().Format(time.RFC3339))}
	if c.options.Repair && deletable {
		finding.Repaired = "deleted the object"
	}
	c.find(finding)
	return nil
}

// checkCounts counts the rows of suspects anew, from one snapshot each, and corrects what they say.
func (c *check) checkCounts(ctx context.Context) error {
	for ids := c.suspects; len(ids) > 0; {
		some := ids[:min(slice, len(ids))]
		ids = ids[len(some):]
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
