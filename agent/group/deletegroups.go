package group

// DeleteGroups (42), versions 0 to 2.
//
//   - v0 KIP-229; v1 throttle after the answer; v2 flexible

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/errcode"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// deleteAttempts is how often a deletion is tried anew because the group changed.
const deleteAttempts = 5

// DeleteGroups deletes groups without members, and their offsets.
func (c *Coordinator) DeleteGroups(ctx context.Context, _ protocol.Client, req *kmsg.DeleteGroupsRequest) *kmsg.DeleteGroupsResponse {
	resp := req.ResponseKind().(*kmsg.DeleteGroupsResponse)
	for _, id := range distinct(req.Groups) {
		group := kmsg.NewDeleteGroupsResponseGroup()
		group.Group, group.ErrorCode = id, c.deleteGroup(ctx, id)
		resp.Groups = append(resp.Groups, group)
	}
	return resp
}

func (c *Coordinator) deleteGroup(ctx context.Context, id string) int16 {
	err := metadata.ErrGroupVersion
	for range deleteAttempts {
		groups, _, loadErr := c.decoded(ctx, []string{id})
		switch {
		case loadErr != nil:
			return errcode.OfCoordinator(loadErr)
		case groups[0].version == 0:
			return kerr.GroupIDNotFound.Code
		case groups[0].err != nil:
			return errcode.OfCoordinator(groups[0].err)
		}
		if why := groups[0].group.CheckDelete(); why != nil {
			return why.Code
		}
		err = c.store.DeleteGroup(ctx, id, groups[0].version)
		if !errors.Is(err, metadata.ErrGroupVersion) {
			break
		}
	}
	if err != nil {
		c.log.Warn("can't delete a consumer group", "group", id, "error", err)
	}
	return errcode.OfCoordinator(err)
}
