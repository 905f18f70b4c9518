package machine

// SyncGroup (14), versions 0 to 5.
//   1, 2: throttle time   3: instance ID (KIP-345)   4: flexible   5: protocol type and name (KIP-559)

import (
	"bytes"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (c *Classic) syncGroup(groupID string, env Env, req *kmsg.SyncGroupRequest) *kmsg.SyncGroupResponse {
	if groupID == "" {
		return syncFailed(req, kerr.InvalidGroupID)
	}
	m, err := c.checkSync(req)
	if err != nil {
		return syncFailed(req, err)
	}
	if c.State == PreparingRebalance {
		return syncFailed(req, kerr.RebalanceInProgress)
	}
	if c.State == CompletingRebalance && m.ID == c.Leader {
		for _, a := range req.GroupAssignment {
			if len(a.MemberAssignment) > env.Limits.MaxMetadataBytes {
				return syncFailed(req, kerr.MessageTooLarge)
			}
		}
		c.assign(env, req)
	}
	if !m.Synced {
		m.Synced, m.StoredHeard = true, stored(env.Now)
		c.maybeAllSynced()
	}
	return c.syncAnswer(req)
}

// checkSync finds who sent the request, and what is wrong with it.
func (c *Classic) checkSync(req *kmsg.SyncGroupRequest) (*ClassicMember, *kerr.Error) {
	differs := func(said *string, is string) bool { return said != nil && *said != is }
	if req.Version >= 5 && (req.ProtocolType == nil || req.Protocol == nil) {
		return nil, kerr.InconsistentGroupProtocol
	}
	m, err := c.knownMember(req.MemberID, req.InstanceID)
	switch {
	case err != nil:
		return nil, err
	case req.Generation != c.Generation:
		return nil, kerr.IllegalGeneration
	case differs(req.ProtocolType, c.ProtocolType), differs(req.Protocol, c.Protocol):
		return nil, kerr.InconsistentGroupProtocol
	}
	return m, nil
}

// assign gives the members what the leader says, nothing to those that it leaves out.
func (c *Classic) assign(env Env, req *kmsg.SyncGroupRequest) {
	assignments := map[string][]byte{}
	for _, a := range req.GroupAssignment {
		assignments[a.MemberID] = a.MemberAssignment
	}
	for _, m := range c.Members {
		m.Assignment = bytes.Clone(assignments[m.ID]) // the request's memory is not ours
	}
	c.State, c.Since = Stable, stored(env.Now)
}

// maybeAllSynced ends the wait for members that didn't sync if there are none.
func (c *Classic) maybeAllSynced() {
	for _, m := range c.Members {
		if !m.Synced {
			return
		}
	}
	c.PhaseEnd = time.Time{}
}

// syncAnswer tells a member its assignment, nil if the leader didn't say it yet.
func (c *Classic) syncAnswer(req *kmsg.SyncGroupRequest) *kmsg.SyncGroupResponse {
	m, err := c.checkSync(req)
	switch {
	case err == kerr.IllegalGeneration && req.Generation < c.Generation:
		// It was right when it came. The rebalance since then is what there is to say.
		return syncFailed(req, kerr.RebalanceInProgress)
	case err != nil:
		return syncFailed(req, err)
	case c.State == PreparingRebalance:
		return syncFailed(req, kerr.RebalanceInProgress)
	case c.State == CompletingRebalance:
		return nil
	}
	resp := req.ResponseKind().(*kmsg.SyncGroupResponse)
	resp.ProtocolType, resp.Protocol = kmsg.StringPtr(c.ProtocolType), kmsg.StringPtr(c.Protocol)
	resp.MemberAssignment = notNil(m.Assignment)
	return resp
}

func syncFailed(req *kmsg.SyncGroupRequest, err *kerr.Error) *kmsg.SyncGroupResponse {
	resp := req.ResponseKind().(*kmsg.SyncGroupResponse)
	resp.ErrorCode, resp.MemberAssignment = err.Code, []byte{}
	return resp
}

// notNil keeps clients from a null where they expect bytes.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
