package group

// JoinGroup (11), versions 0 to 9.
//
//   - v1 rebalance timeout; v2 throttle after the answer; v4 KIP-394: a member gets
//     its ID before it joins; v5 KIP-345 static members; v6 flexible
//   - v7 KIP-559 protocol type; v8 KIP-800 reason; v9 KIP-814 skip the assignment

import (
	"context"
	"strings"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/group/machine"
	"github.com/wadi-log/wadi/protocol"
)

// JoinGroup has a member join a classic group. The returned function waits for
// the answer, which comes when the other members have joined too; it returns nil
// when the client left before that.
func (c *Coordinator) JoinGroup(ctx context.Context, client protocol.Client, from Waiting, req *kmsg.JoinGroupRequest) (wait func() kmsg.Response) {
	refuse := func(code int16) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.JoinGroupResponse)
		resp.ErrorCode, resp.Generation, resp.MemberID = code, -1, req.MemberID
		return resp
	}
	if req.Group == "" {
		return func() kmsg.Response { return refuse(kerr.InvalidGroupID.Code) }
	}
	who := clientOf(client)
	newMember := newMemberID(client, req.InstanceID)
	member := req.MemberID
	if member == "" {
		member = newMember
	}
	return c.begin(ctx, req.Group, from.Gone, &call{
		apply: func(g *machine.Group, env machine.Env) kmsg.Response {
			if resp := g.JoinGroup(env, who, newMember, req); resp != nil {
				return resp
			}
			return nil
		},
		later: func(g *machine.Group) kmsg.Response {
			if resp := g.JoinAnswer(req, member); resp != nil {
				return resp
			}
			return nil
		},
		parked: func() {
			// The subscription is in the group's state by now.
			req.Protocols = nil
			from.Release()
		},
		refuse: refuse,
		member: member,
	})
}

// newMemberID makes the ID of a member that has none, as Kafka does: after its
// instance ID or its client ID, and not to be guessed. A client ID that is no text
// is no reason to refuse a member.
func newMemberID(client protocol.Client, instance *string) string {
	prefix := client.ID
	if instance != nil {
		prefix = *instance
	}
	return strings.ToValidUTF8(prefix, "?") + "-" + uuid.NewString()
}

// clientOf is a client as groups describe it. Kafka's tools show the host with a
// slash before it.
func clientOf(client protocol.Client) machine.Client {
	return machine.Client{ID: client.ID, Host: "/" + client.Host}
}
