package group

// LeaveGroup (13), versions 0 to 5.
//
//   - v2 throttle after the answer; v3 KIP-345 several members, static ones too; v4
//     flexible; v5 KIP-800 reason

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/group/machine"
	"github.com/wadi-log/wadi/protocol"
)

// LeaveGroup has members leave their group.
func (c *Coordinator) LeaveGroup(ctx context.Context, _ protocol.Client, req *kmsg.LeaveGroupRequest) *kmsg.LeaveGroupResponse {
	refuse := func(code int16) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.LeaveGroupResponse)
		resp.ErrorCode = code
		return resp
	}
	if req.Group == "" {
		return refuse(kerr.InvalidGroupID.Code).(*kmsg.LeaveGroupResponse)
	}
	return run[*kmsg.LeaveGroupResponse](ctx, c, req.Group, &call{
		apply:  func(g *machine.Group, env machine.Env) kmsg.Response { return g.LeaveGroup(env, req) },
		refuse: refuse,
	})
}
