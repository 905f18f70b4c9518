package group

// Heartbeat (12), versions 0 to 4.
//
//   - v2 throttle after the answer; v3 KIP-345 static members; v4 flexible

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/group/machine"
	"github.com/wadi-log/wadi/protocol"
)

// Heartbeat keeps a member of a classic group alive, and tells it when to join again.
func (c *Coordinator) Heartbeat(ctx context.Context, _ protocol.Client, req *kmsg.HeartbeatRequest) *kmsg.HeartbeatResponse {
	refuse := func(code int16) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.HeartbeatResponse)
		resp.ErrorCode = notLoading(code)
		return resp
	}
	if req.Group == "" {
		return refuse(kerr.InvalidGroupID.Code).(*kmsg.HeartbeatResponse)
	}
	return run[*kmsg.HeartbeatResponse](ctx, c, req.Group, &call{
		apply: func(g *machine.Group, env machine.Env) kmsg.Response { return g.Heartbeat(env, req) },
		quick: func(g *machine.Group, env machine.Env) kmsg.Response {
			if resp := g.QuickHeartbeat(env, req); resp != nil {
				return resp
			}
			return nil
		},
		refuse: refuse,
		member: req.MemberID,
	})
}
