package fsck

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
)

// dataPrefix is where data files lie.
const dataPrefix = "data/"

// object is a data file as the bucket lists it.
type object struct {
	id   uuid.UUID
	key  string
	size int64
}

// checkObjects walks all objects and looks whether the metadata store knows them.
func (c *check) checkObjects(ctx context.Context) error {
	var page []object
	flush := func() error {
		err := c.checkPage(ctx, page)
		page = page[:0]
		c.progress("objects", c.report.Objects.Number)
		return err
	}
	err := c.bucket.List(ctx, dataPrefix, func(o objstore.ObjectInfo) error {
		c.report.Objects.add(o.Size)
		if id, err := datafile.ParseKey(o.Key); err == nil {
			page = append(page, object{id, o.Key, o.Size})
		} else {
			c.find(Finding{Kind: ForeignObject, Key: o.Key, Detail: fmt.Sprintf("an object of %d bytes that is no data file by its key", o.Size)})
		}
		if len(page) < slice {
			return nil
		}
		return flush()
	})
	if err == nil && len(page) > 0 {
		err = flush()
	}
	if err != nil {
		return fmt.Errorf("check the objects: %w", err)
	}
	return nil
}

func (c *check) checkPage(ctx context.Context, page []object) error {
	ids := make([]uuid.UUID, len(page))
	for i, o := range page {
		ids[i] = o.id
	}
	files, err := c.store.InspectFiles(ctx, ids)
	if err != nil {
		return err
	}
	now, err := c.store.Now(ctx)
	if err != nil {
		return err
	}
	var orphans []object
	for i, f := range files {
		o := page[i]
		switch {
		case f.State == metadata.FileUnknown && !c.named[o.id]:
			orphan, err := c.checkUnknown(ctx, o, now)
			if err != nil {
				return err
			}
			if orphan {
				orphans = append(orphans, o)
			}
		case f.State == metadata.FileLive && f.Size != o.size:
			c.misfits[o.id] = o.size
		}
	}
	return c.orphans(ctx, orphans)
}

// checkUnknown reports whether an object that no file is known of is an orphan. Else it is one in flight.
func (c *check) checkUnknown(ctx context.Context, o object, now time.Time) (orphan bool, err error) {
	hourEnds := datafile.IDTime(o.id).Truncate(time.Hour).Add(time.Hour)
	if now.Sub(hourEnds) <= orphanAge {
		c.report.InFlight.add(o.size)
		return false, nil
	}
	// Since the listing it may have died, been deleted and forgotten; what is known now is not to
	// be touched. Nothing else can happen to it: it is too old for a commit.
	exists, err := c.exists(ctx, o.key)
	if err != nil || !exists {
		return false, err
	}
	f, err := c.inspectFile(ctx, o.id)
	return err == nil && f.State == metadata.FileUnknown, err
}

// orphans reports the orphans of a page, and deletes them.
func (c *check) orphans(ctx context.Context, orphans []object) error {
	if len(orphans) == 0 {
		return nil
	}
	var err error
	if c.options.Repair {
		err = c.deleteObjects(ctx, orphans)
	}
	for _, o := range orphans {
		finding := Finding{Kind: Orphan, Key: o.key, File: &o.id, Detail: fmt.Sprintf("an object of %d bytes that the metadata store doesn't know, made %s", o.size, datafile.IDTime(o.id).Format(time.RFC3339))}
		if err == nil && c.options.Repair {
			c.report.DeletedOrphans.add(o.size)
			finding.Repaired = "deleted the object"
		}
		c.find(finding)
	}
	return err
}

// deleteObjects deletes objects, a page at most.
func (c *check) deleteObjects(ctx context.Context, objects []object) error {
	// Behind all that the store told of them: only then it was the right one.
	if err := c.onward(ctx); err != nil {
		return err
	}
	keys := make([]string, len(objects))
	for i, o := range objects {
		keys[i] = o.key
	}
	return c.bucket.Delete(ctx, keys...)
}

// exists reports whether there is such an object.
func (c *check) exists(ctx context.Context, key string) (bool, error) {
	_, err := c.bucket.Get(ctx, key, 0, 1)
	switch {
	case errors.Is(err, objstore.ErrNotFound):
		return false, nil
	case errors.Is(err, objstore.ErrRange):
		return true, nil // and empty
	}
	return err == nil, err
}

func (c *check) inspectFile(ctx context.Context, id uuid.UUID) (metadata.InspectedFile, error) {
	files, err := c.store.InspectFiles(ctx, []uuid.UUID{id})
	if err != nil {
		return metadata.InspectedFile{}, err
	}
	return files[0], nil
}
