package machine

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Consumer is a group of the consumer protocol (KIP-848).
type Consumer struct{}

func newConsumer() *Consumer { return &Consumer{} }

func (c *Consumer) check() error { return nil }
func (c *Consumer) info() Info {
	return Info{Type: "consumer", ProtocolType: "consumer", Phase: "Empty"}
}
func (c *Consumer) due(g *Group, env Env) time.Time                           { return time.Time{} }
func (c *Consumer) tick(g *Group, env Env)                                    {}
func (c *Consumer) heardOf(memberID string, at time.Time)                     {}
func (c *Consumer) sessionTimeout(memberID string) (d time.Duration, ok bool) { return 0, false }
func (c *Consumer) members() []string                                         { return nil }
func (c *Consumer) empty() bool                                               { return true }
func (c *Consumer) joinGroup(g *Group, env Env, client Client, newMemberID string, req *kmsg.JoinGroupRequest) *kmsg.JoinGroupResponse {
	return joinFailed(req, kerr.UnknownMemberID)
}
func (c *Consumer) joinAnswer(g *Group, req *kmsg.JoinGroupRequest, memberID string) *kmsg.JoinGroupResponse {
	return joinFailed(req, kerr.UnknownMemberID)
}
func (c *Consumer) syncGroup(g *Group, env Env, req *kmsg.SyncGroupRequest) *kmsg.SyncGroupResponse {
	return syncFailed(req, kerr.UnknownMemberID)
}
func (c *Consumer) syncAnswer(g *Group, req *kmsg.SyncGroupRequest) *kmsg.SyncGroupResponse {
	return syncFailed(req, kerr.UnknownMemberID)
}
func (c *Consumer) heartbeat(g *Group, env Env, req *kmsg.HeartbeatRequest) *kmsg.HeartbeatResponse {
	return heartbeatFailed(req, kerr.UnknownMemberID)
}
func (c *Consumer) leaveGroup(g *Group, env Env, req *kmsg.LeaveGroupRequest) *kmsg.LeaveGroupResponse {
	return req.ResponseKind().(*kmsg.LeaveGroupResponse)
}
func (c *Consumer) consumerGroupHeartbeat(g *Group, env Env, client Client, req *kmsg.ConsumerGroupHeartbeatRequest) *kmsg.ConsumerGroupHeartbeatResponse {
	resp := req.ResponseKind().(*kmsg.ConsumerGroupHeartbeatResponse)
	resp.ErrorCode = kerr.UnsupportedVersion.Code
	return resp
}
func (c *Consumer) describe(g *Group, env Env) kmsg.ConsumerGroupDescribeResponseGroup {
	return kmsg.NewConsumerGroupDescribeResponseGroup()
}
func (c *Consumer) checkCommit(g *Group, env Env, memberID string, instanceID *string, generation int32, version int16) *kerr.Error {
	return nil
}
func (c *Consumer) checkTxnCommit(g *Group, env Env, memberID string, instanceID *string, generation int32) *kerr.Error {
	return nil
}
func (c *Consumer) checkFetch(memberID *string, memberEpoch int32) *kerr.Error { return nil }
func (c *Consumer) checkDelete() *kerr.Error                                   { return nil }
func (c *Consumer) subscribed(topic string) bool                               { return false }
func (c *Consumer) offsetExpired(now time.Time, retention time.Duration, topic string, committedAt, expireAt time.Time) bool {
	return false
}
