package agent

import (
	"context"

	"github.com/wadi-log/wadi/agent/fetch"
	"github.com/wadi-log/wadi/metadata"
)

// records is the records of the metadata store, whose deletions and compactions this agent's own
// fetches see at once.
type records struct {
	metadata.Store
	tail     *fetch.Tail
	follower *fetch.Follower
}

// DeleteRecords is metadata.Records.DeleteRecords.
func (r records) DeleteRecords(ctx context.Context, deletions []metadata.RecordsDeletion) (metadata.RecordsDeleted, error) {
	deleted, err := r.Store.DeleteRecords(ctx, deletions)
	if err == nil && r.tail.Apply(deleted.Commits) {
		r.follower.Kick()
	}
	return deleted, err
}

// FinishCompactions is metadata.Maintenance.FinishCompactions.
func (r records) FinishCompactions(ctx context.Context, finished []metadata.CompactedUntil) ([]metadata.Commit, error) {
	commits, err := r.Store.FinishCompactions(ctx, finished)
	if err == nil && r.tail.Apply(commits) {
		r.follower.Kick()
	}
	return commits, err
}
