package group

// ListGroups (16), versions 0 to 5.
//
//   - v2 throttle after the answer; v3 flexible; v4 KIP-518 states; v5 KIP-848 types

import (
	"context"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/errcode"
	"github.com/wadi-log/wadi/protocol"
)

// ListGroups lists all groups, or those of the states and types asked for, by ID.
func (c *Coordinator) ListGroups(ctx context.Context, _ protocol.Client, req *kmsg.ListGroupsRequest) *kmsg.ListGroupsResponse {
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	resp := req.ResponseKind().(*kmsg.ListGroupsResponse)
	groups, err := c.store.ListGroups(ctx)
	if err != nil {
		c.log.Warn("can't list the consumer groups", "error", err)
		resp.ErrorCode = errcode.OfCoordinator(err)
		return resp
	}
	for _, g := range groups {
		if !chosen(req.StatesFilter, g.Phase) || !chosen(req.TypesFilter, g.Type) {
			continue
		}
		listed := kmsg.NewListGroupsResponseGroup()
		listed.Group, listed.ProtocolType, listed.GroupState, listed.GroupType = g.ID, g.ProtocolType, g.Phase, g.Type
		resp.Groups = append(resp.Groups, listed)
	}
	slices.SortFunc(resp.Groups, func(a, b kmsg.ListGroupsResponseGroup) int { return strings.Compare(a.Group, b.Group) })
	return resp
}

// chosen tells whether a filter takes the value; case doesn't matter, and an empty
// filter takes all.
func chosen(filter []string, value string) bool {
	return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool { return strings.EqualFold(f, value) })
}
