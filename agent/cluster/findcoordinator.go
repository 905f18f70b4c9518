package cluster

// FindCoordinator (10), versions 0 to 6.
//
//   - v0 groups; v1 KIP-98 transactional IDs (key type 1); v2 throttling after
//     the answer; v3 flexible
//   - v4 KIP-699 several keys in one request; v5 KIP-890; v6 KIP-932 share
//     groups (key type 2, refused: none are served)

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/protocol"
)

// Key types that have a coordinator.
const (
	groupKey       = 0
	transactionKey = 1
)

// FindCoordinator names an agent for each group or transactional ID. Any
// agent could coordinate it; one name for all clients lets their requests meet in one place.
func (c *Cluster) FindCoordinator(_ context.Context, client protocol.Client, req *kmsg.FindCoordinatorRequest) *kmsg.FindCoordinatorResponse {
	resp := req.ResponseKind().(*kmsg.FindCoordinatorResponse)
	view := c.router.View(client)
	if req.Version >= 4 {
		for _, key := range req.CoordinatorKeys {
			coordinator := kmsg.NewFindCoordinatorResponseCoordinator()
			coordinator.Key = key
			if req.CoordinatorType == groupKey || req.CoordinatorType == transactionKey {
				b := view.Coordinator(req.CoordinatorType, key)
				coordinator.NodeID, coordinator.Host, coordinator.Port = b.NodeID, b.Host, b.Port
			} else {
				coordinator.NodeID, coordinator.Port = -1, -1
				coordinator.ErrorCode, coordinator.ErrorMessage = kerr.InvalidRequest.Code, unknownKeyType()
			}
			resp.Coordinators = append(resp.Coordinators, coordinator)
		}
		return resp
	}
	// Version 0 has no type and means groups.
	if req.CoordinatorType != groupKey && req.CoordinatorType != transactionKey {
		resp.NodeID, resp.Port = -1, -1
		resp.ErrorCode, resp.ErrorMessage = kerr.InvalidRequest.Code, unknownKeyType()
		return resp
	}
	b := view.Coordinator(req.CoordinatorType, req.CoordinatorKey)
	resp.NodeID, resp.Host, resp.Port = b.NodeID, b.Host, b.Port
	return resp
}

func unknownKeyType() *string {
	message := "coordinators are found for groups (type 0) and transactional IDs (type 1)"
	return &message
}
