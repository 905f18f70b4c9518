package group

// ConsumerGroupHeartbeat (68), versions 0 to 1.
//
//   - v0 KIP-848; v1 regular expressions, and member IDs made by clients (KIP-1082)

import (
	"context"
	"encoding/base64"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/group/machine"
	"github.com/wadi-log/wadi/protocol"
)

// ConsumerGroupHeartbeat is all that a member of a consumer group says: that it
// joins, lives, leaves, what it subscribes to and what it owns. The answer tells it
// what it should own.
func (c *Coordinator) ConsumerGroupHeartbeat(ctx context.Context, client protocol.Client, req *kmsg.ConsumerGroupHeartbeatRequest) *kmsg.ConsumerGroupHeartbeatResponse {
	refuse := func(code int16) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.ConsumerGroupHeartbeatResponse)
		resp.ErrorCode = code
		return resp
	}
	if !c.settings.ConsumerProtocol() {
		return refuse(kerr.UnsupportedVersion.Code).(*kmsg.ConsumerGroupHeartbeatResponse)
	}
	if req.Group == "" {
		resp := refuse(kerr.InvalidRequest.Code).(*kmsg.ConsumerGroupHeartbeatResponse)
		message := "GroupId can't be empty."
		resp.ErrorMessage = &message
		return resp
	}
	from := clientOf(client)
	newMember := kafkaUUID()
	member := req.MemberID
	if member == "" {
		member = newMember
	}
	return run[*kmsg.ConsumerGroupHeartbeatResponse](ctx, c, req.Group, &call{
		apply: func(g *machine.Group, env machine.Env) kmsg.Response {
			return g.ConsumerGroupHeartbeat(env, from, newMember, req)
		},
		quick: func(g *machine.Group, env machine.Env) kmsg.Response {
			if resp := g.QuickConsumerHeartbeat(env, newMember, req); resp != nil {
				return resp
			}
			return nil
		},
		refuse: refuse,
		member: member,
	})
}

// kafkaUUID makes an ID in the form that Kafka's clients make them.
func kafkaUUID() string {
	id := uuid.New()
	return base64.RawURLEncoding.EncodeToString(id[:])
}
