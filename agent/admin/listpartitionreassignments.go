package admin

// ListPartitionReassignments (46), version 0.
//
//   - v0 KIP-455

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/protocol"
)

// ListPartitionReassignments answers that none is going on: there are no replicas to move.
func (a *Admin) ListPartitionReassignments(_ context.Context, _ protocol.Client, req *kmsg.ListPartitionReassignmentsRequest) *kmsg.ListPartitionReassignmentsResponse {
	return req.ResponseKind().(*kmsg.ListPartitionReassignmentsResponse)
}
