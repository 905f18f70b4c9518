package machine

// LeaveGroup (13), versions 0 to 5.
//   1, 2: throttle time   3: several members, by instance ID too (KIP-345)   4: flexible   5: reason (KIP-800)

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (c *Classic) leaveGroup(groupID string, env Env, req *kmsg.LeaveGroupRequest) *kmsg.LeaveGroupResponse {
	if groupID == "" {
		resp := req.ResponseKind().(*kmsg.LeaveGroupResponse)
		resp.ErrorCode = kerr.InvalidGroupID.Code
		return resp
	}
	members, pending := len(c.Members), len(c.Pending)
	resp := leaveEach(req, c.leave)
	switch {
	case len(c.Members) < members:
		c.membersGone(env)
	case len(c.Pending) < pending:
		c.maybeCompleteJoin(env)
	}
	return resp
}

// leave removes one member. Without a member ID it is an admin that removes a static member.
func (c *Classic) leave(memberID string, instanceID *string) *kerr.Error {
	if memberID == "" && instanceID != nil {
		if m := c.static(*instanceID); m != nil {
			memberID = m.ID
		}
	}
	if c.removePending(memberID) {
		return nil
	}
	m, err := c.knownMember(memberID, instanceID)
	if err != nil {
		return err
	}
	c.remove(func(other *ClassicMember) bool { return other == m })
	return nil
}

// leaveEach lets each member that the request names leave, and answers in the form of its version: the first versions
// have one member, and its error is the request's.
func leaveEach(req *kmsg.LeaveGroupRequest, leave func(memberID string, instanceID *string) *kerr.Error) *kmsg.LeaveGroupResponse {
	resp := req.ResponseKind().(*kmsg.LeaveGroupResponse)
	if req.Version < 3 {
		if err := leave(req.MemberID, nil); err != nil {
			resp.ErrorCode = err.Code
		}
		return resp
	}
	for _, m := range req.Members {
		rm := kmsg.NewLeaveGroupResponseMember()
		rm.MemberID, rm.InstanceID = m.MemberID, m.InstanceID
		if err := leave(m.MemberID, m.InstanceID); err != nil {
			rm.ErrorCode = err.Code
		}
		resp.Members = append(resp.Members, rm)
	}
	return resp
}
