package objstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// ownerPrefix is where an object's name says which cluster a bucket belongs to.
const ownerPrefix = "owner/"

const ownerText = "the data files here belong to the cluster that this object is named after\n"

// Claim makes sure that b belongs to the cluster of this ID and to no other, for each
// deletes what its metadata store doesn't know. A bucket that nobody has claimed is
// claimed; so an agent with a new metadata store can't come to a bucket that is in use.
// Of clusters that claim it at the same time one succeeds at most. Errors: ErrConfig
// for another's bucket.
func Claim(ctx context.Context, b Bucket, clusterID string) error {
	ours, other, err := owners(ctx, b, clusterID)
	if err != nil || ours && other == "" {
		return err
	}
	if other != "" {
		return foreign(clusterID, other)
	}
	key := ownerPrefix + clusterID
	if err := b.Put(ctx, key, []byte(ownerText)); err != nil {
		return fmt.Errorf("claim the bucket: %w", err)
	}
	// Another cluster may have done the same since the first look. Of the two, who put its
	// name first sees only that in the second look, or both see both.
	ours, other, err = owners(ctx, b, clusterID)
	switch {
	case err != nil:
		return err
	case other != "":
		// Dies here: both names stay, and neither cluster's agents start until somebody removes one.
		return errors.Join(foreign(clusterID, other), b.Delete(ctx, key))
	case !ours:
		return fmt.Errorf("%w: --objects: a listing misses %q right after it was written; it must be consistent", ErrConfig, key)
	}
	return nil
}

// owners tells whether the bucket is the cluster's, and which other one's it is.
func owners(ctx context.Context, b Bucket, clusterID string) (ours bool, other string, err error) {
	err = b.List(ctx, ownerPrefix, func(o ObjectInfo) error {
		if name := strings.TrimPrefix(o.Key, ownerPrefix); name == clusterID {
			ours = true
		} else {
			other = name
		}
		return nil
	})
	if err != nil {
		return false, "", fmt.Errorf("find out whose the bucket is: %w", err)
	}
	return ours, other, nil
}

func foreign(clusterID, other string) error {
	return fmt.Errorf("%w: --objects: the bucket belongs to the cluster %s, and --metadata is that of another one, %s, which would delete its data files; "+
		"use the metadata store that belongs to the bucket (a lost one is rebuilt by wadi recover), or another bucket or prefix; if the other cluster is no more, delete the object %s",
		ErrConfig, other, clusterID, ownerPrefix+other)
}

// Reclaim puts the object of [Claim] again, which changes nothing: it is for measuring how long the store takes.
func Reclaim(ctx context.Context, b Bucket, clusterID string) error {
	return b.Put(ctx, ownerPrefix+clusterID, []byte(ownerText))
}
