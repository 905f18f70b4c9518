package machine

import (
	"reflect"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// QuickConsumerHeartbeat is [Group.ConsumerGroupHeartbeat] for a group that is only to be read: it answers what members say
// nearly always, that they live and nothing is new. It returns nil for all the rest, of which
// ConsumerGroupHeartbeat may still find that nothing changes.
//
// It takes the same steps, and at each one returns nil unless that step changes nothing.
func (g *Group) QuickConsumerHeartbeat(env Env, newMemberID string, req *kmsg.ConsumerGroupHeartbeatRequest) *kmsg.ConsumerGroupHeartbeatResponse {
	c := g.Consumer
	if c == nil || req.MemberEpoch <= 0 || checkHeartbeat(env.Limits, req) != nil {
		return nil
	}
	m, refused := g.findMember(c, req.MemberID, newMemberID, req)
	if refused != nil || m.ID != req.MemberID || m.Epoch != req.MemberEpoch || m.LastRequest == newMemberID {
		return nil
	}
	same := *m
	same.apply(req)
	switch {
	case !reflect.DeepEqual(same, *m), same.checkSize(env.Limits) != nil:
		return nil
	case int64(c.SessionTimeoutMs) != env.Limits.ConsumerSessionTimeout.Milliseconds():
		return nil
	case !c.current(env.Topics), !m.reconciled(c), !m.RevokeBy.IsZero():
		return nil
	case wantsAssignment(req):
		return nil
	}
	resp := req.ResponseKind().(*kmsg.ConsumerGroupHeartbeatResponse)
	resp.MemberID, resp.MemberEpoch = kmsg.StringPtr(m.ID), m.Epoch
	resp.HeartbeatIntervalMillis = int32(env.Limits.ConsumerHeartbeatInterval.Milliseconds())
	return resp
}
