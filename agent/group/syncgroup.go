package group

// SyncGroup (14), versions 0 to 5.
//
//   - v2 throttle after the answer; v3 KIP-345 static members; v4 flexible; v5
//     KIP-559 protocol type and name

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/group/machine"
	"github.com/wadi-log/wadi/protocol"
)

// SyncGroup gives a member of a classic group its assignment. The returned function
// waits for it: until the leader brought the assignments of all. It returns nil when the
// client left before that.
func (c *Coordinator) SyncGroup(ctx context.Context, _ protocol.Client, from Waiting, req *kmsg.SyncGroupRequest) (wait func() kmsg.Response) {
	refuse := func(code int16) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.SyncGroupResponse)
		resp.ErrorCode = notLoading(code)
		return resp
	}
	if req.Group == "" {
		return func() kmsg.Response { return refuse(kerr.InvalidGroupID.Code) }
	}
	return c.begin(ctx, req.Group, from.Gone, &call{
		apply: func(g *machine.Group, env machine.Env) kmsg.Response {
			if resp := g.SyncGroup(env, req); resp != nil {
				return resp
			}
			return nil
		},
		later: func(g *machine.Group) kmsg.Response {
			if resp := g.SyncAnswer(req); resp != nil {
				return resp
			}
			return nil
		},
		parked: func() {
			req.GroupAssignment = nil // only the leader's counts, which doesn't wait
			from.Release()
		},
		refuse: refuse,
		member: req.MemberID,
	})
}

// notLoading replaces the code for "try again in a moment" where clients take it
// for a fatal one (Java's do in answers to SyncGroup and Heartbeat). They look for
// the coordinator then, and go on with it.
func notLoading(code int16) int16 {
	if code == kerr.CoordinatorLoadInProgress.Code {
		return kerr.CoordinatorNotAvailable.Code
	}
	return code
}
