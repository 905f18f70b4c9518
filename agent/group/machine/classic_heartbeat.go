package machine

// Heartbeat (12), versions 0 to 4.
//   1, 2: throttle time   3: instance ID (KIP-345)   4: flexible

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (c *Classic) heartbeat(groupID string, req *kmsg.HeartbeatRequest) *kmsg.HeartbeatResponse {
	if groupID == "" {
		return heartbeatFailed(req, kerr.InvalidGroupID)
	}
	_, err := c.knownMember(req.MemberID, req.InstanceID)
	switch {
	case err != nil:
		return heartbeatFailed(req, err)
	case req.Generation != c.Generation:
		return heartbeatFailed(req, kerr.IllegalGeneration)
	case c.State == PreparingRebalance:
		return heartbeatFailed(req, kerr.RebalanceInProgress)
	}
	return req.ResponseKind().(*kmsg.HeartbeatResponse)
}

func heartbeatFailed(req *kmsg.HeartbeatRequest, err *kerr.Error) *kmsg.HeartbeatResponse {
	resp := req.ResponseKind().(*kmsg.HeartbeatResponse)
	resp.ErrorCode = err.Code
	return resp
}
