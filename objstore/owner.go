package objstore

import (
	"context"
	"fmt"
)

// CheckOwner looks whether b belongs to the cluster, and changes nothing. Errors: ErrConfig
// for another's bucket, and for one that nobody has claimed (see [Claim]).
func CheckOwner(ctx context.Context, b Bucket, clusterID string) error {
	ours, other, err := owners(ctx, b, clusterID)
	switch {
	case err != nil:
		return err
	case other != "":
		return foreign(clusterID, other)
	case !ours:
		return fmt.Errorf("%w: --objects: the bucket belongs to no cluster yet, as no agent has been started with it and this --metadata", ErrConfig)
	}
	return nil
}
