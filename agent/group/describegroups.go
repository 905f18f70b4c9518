package group

// DescribeGroups (15), versions 0 to 6, and ConsumerGroupDescribe (69), versions 0 to 1.
//
//   - DescribeGroups: v3 KIP-430 authorized operations; v4 KIP-345 instance IDs; v5
//     flexible; v6 KIP-1043 says by an error that there is no such group
//   - ConsumerGroupDescribe: v0 KIP-848; v1 KIP-1099 which protocol a member speaks

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/errcode"
	"github.com/wadi-log/wadi/agent/group/machine"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// groupOperations are what an anonymous client may do with a group without an
// authorizer, as bits by AclOperation's number (KIP-430): read, delete, describe,
// describe configs, alter configs.
const groupOperations = 1<<3 | 1<<6 | 1<<8 | 1<<10 | 1<<11

// DescribeGroups tells the state and the members of groups.
func (c *Coordinator) DescribeGroups(ctx context.Context, _ protocol.Client, req *kmsg.DescribeGroupsRequest) *kmsg.DescribeGroupsResponse {
	resp := req.ResponseKind().(*kmsg.DescribeGroupsResponse)
	ids := distinct(req.Groups)
	groups, _, err := c.decoded(ctx, ids)
	for i, id := range ids {
		group := kmsg.NewDescribeGroupsResponseGroup()
		switch {
		case err != nil:
			group.ErrorCode = errcode.OfCoordinator(err)
		case groups[i].err != nil:
			group.ErrorCode = errcode.OfCoordinator(groups[i].err)
		case groups[i].version == 0:
			group.State = "Dead"
			if req.Version >= 6 {
				group.ErrorCode, group.ErrorMessage = kerr.GroupIDNotFound.Code, notFound(id)
			}
		default:
			group = groups[i].group.DescribeClassic(req.Version)
		}
		if req.IncludeAuthorizedOperations && group.ErrorCode == 0 {
			group.AuthorizedOperations = groupOperations
		}
		group.Group = id
		resp.Groups = append(resp.Groups, group)
	}
	return resp
}

// ConsumerGroupDescribe tells the state and the members of consumer groups (KIP-848).
func (c *Coordinator) ConsumerGroupDescribe(ctx context.Context, _ protocol.Client, req *kmsg.ConsumerGroupDescribeRequest) *kmsg.ConsumerGroupDescribeResponse {
	resp := req.ResponseKind().(*kmsg.ConsumerGroupDescribeResponse)
	ids := distinct(req.Groups)
	groups, env, err := c.decoded(ctx, ids)
	for i, id := range ids {
		group := kmsg.NewConsumerGroupDescribeResponseGroup()
		switch {
		case !c.settings.ConsumerProtocol():
			group.ErrorCode = kerr.UnsupportedVersion.Code
		case id == "":
			group.ErrorCode = kerr.InvalidGroupID.Code
		case err != nil:
			group.ErrorCode = errcode.OfCoordinator(err)
		case groups[i].err != nil:
			group.ErrorCode = errcode.OfCoordinator(groups[i].err)
		case groups[i].version == 0:
			group.ErrorCode, group.ErrorMessage = kerr.GroupIDNotFound.Code, notFound(id)
		default:
			group = groups[i].group.DescribeConsumer(env)
			if req.IncludeAuthorizedOperations && group.ErrorCode == 0 {
				group.AuthorizedOperations = groupOperations
			}
		}
		group.Group = id
		resp.Groups = append(resp.Groups, group)
	}
	return resp
}

// distinct returns each ID once, in the order of first mention: a group that is
// named ten thousand times is described once.
func distinct(ids []string) []string {
	seen := make(map[string]bool, len(ids))
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
		again := seen[id]
		seen[id] = true
		return again
	})
}

// decodedState is a group as it is in the store, version 0 when there is none.
type decodedState struct {
	version int64
	group   *machine.Group
	err     error // its state can't be decoded
}

// decoded reads groups, in the order asked.
func (c *Coordinator) decoded(ctx context.Context, ids []string) ([]decodedState, machine.Env, error) {
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	refs := make([]metadata.GroupRef, len(ids))
	for i, id := range ids {
		refs[i].ID = id
	}
	stored, now, err := c.store.LoadGroups(ctx, refs)
	if err == nil {
		c.clock.read(now)
		var env machine.Env
		if env, err = c.env(ctx, "", inState(now)); err == nil {
			groups := make([]decodedState, len(stored))
			for i, s := range stored {
				groups[i] = decodedState{version: s.Version, group: machine.New(s.ID)}
				if s.Version != 0 {
					groups[i].group, groups[i].err = machine.Decode(s.ID, s.State)
				}
				if err := groups[i].err; err != nil {
					c.log.Error("the stored state of a consumer group can't be read", "group", s.ID, "error", err)
				}
			}
			return groups, env, nil
		}
	}
	c.log.Warn("can't read consumer groups from the metadata store", "groups", len(ids), "error", err)
	return nil, machine.Env{}, err
}

func notFound(id string) *string {
	message := "Group " + id + " not found."
	return &message
}
