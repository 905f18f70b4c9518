package machine

import (
	"bytes"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Members of the classic protocol in a group of the consumer protocol, while the group migrates. The group
// assigns: a join is answered at once and makes nobody the leader. A member's epoch
// is its generation; from its heartbeats it learns that it has to join again.

func (c *Consumer) joinGroup(g *Group, env Env, client Client, newMemberID string, req *kmsg.JoinGroupRequest) *kmsg.JoinGroupResponse {
	memberID := req.MemberID
	if memberID == "" {
		memberID = newMemberID
	}
	old, said, refused := c.checkJoin(g, env, memberID, newMemberID, req)
	if refused != nil {
		return refused
	}

	was := ConsumerMember{ID: memberID, State: memberStable}
	if old != nil {
		was = *old
		if old.ID != memberID { // a static member that restarted
			was.ID, was.Epoch, was.PreviousEpoch = memberID, 0, 0
			delete(c.Members, old.ID)
		}
	}
	m := was
	m.setClient(client)
	m.applyJoin(env, said, req)
	c.Members[memberID] = &m
	subscribed := !slices.Equal(m.Names, was.Names) || m.Regex != was.Regex
	if old != nil && old.Classic == nil && c.mayDowngrade(env.Limits) {
		return g.downgradeToJoin(env, memberID, subscribed, req)
	}
	owned := c.owned(env.Topics, said) // by the topics that it was assigned with
	c.retarget(env, subscribed)
	c.reconcile(env, &m, owned, subscribed)

	resp := req.ResponseKind().(*kmsg.JoinGroupResponse)
	resp.MemberID, resp.Generation = memberID, m.Epoch
	resp.ProtocolType, resp.Protocol = kmsg.StringPtr(consumerProtocolType), kmsg.StringPtr(m.Classic.Protocols[0].Name)
	return resp
}

// checkJoin refuses what can't be served, and returns the member that the request is from (or
// the static one that it replaces, nil for a new one) and its subscription.
func (c *Consumer) checkJoin(g *Group, env Env, memberID, newMemberID string, req *kmsg.JoinGroupRequest) (old *ConsumerMember, said consumerMetadata, refused *kmsg.JoinGroupResponse) {
	old = c.Members[memberID]
	if req.InstanceID != nil {
		switch static := c.static(*req.InstanceID); {
		case static != nil && (req.MemberID == "" || static.ID == memberID):
			old = static
		case static != nil:
			return nil, said, joinFailed(req, kerr.FencedInstanceID)
		case req.MemberID != "":
			return nil, said, joinFailed(req, kerr.UnknownMemberID)
		}
	}
	if err := checkJoin(g.ID, env.Limits, newMemberID, req); err != nil {
		return nil, said, joinFailed(req, err)
	}
	if old == nil && len(c.Members) >= env.Limits.ConsumerMaxSize {
		refused = joinFailed(req, kerr.GroupMaxSizeReached)
		refused.MemberID = ""
		return nil, said, refused
	}
	if !c.supports(old, req) {
		return nil, said, joinFailed(req, kerr.InconsistentGroupProtocol)
	}
	said, err := readSubscription(req.Protocols[0].Metadata)
	if err != nil {
		return nil, said, joinFailed(req, kerr.InconsistentGroupProtocol)
	}
	if req.Version >= 4 && req.MemberID == "" && req.InstanceID == nil {
		// Any ID may join, so that there is nothing to remember of those that were handed out.
		refused = joinFailed(req, kerr.MemberIDRequired)
		refused.MemberID = memberID
	}
	return old, said, refused
}

// supports tells whether the classic members, and whoever joins, have a protocol in common:
// the group may become a classic one again.
func (c *Consumer) supports(joins *ConsumerMember, req *kmsg.JoinGroupRequest) bool {
	if req.ProtocolType != consumerProtocolType {
		return false
	}
	return slices.ContainsFunc(req.Protocols, func(p kmsg.JoinGroupRequestProtocol) bool {
		for _, m := range c.Members {
			if m != joins && m.Classic != nil && !m.Classic.supports(p.Name) {
				return false
			}
		}
		return true
	})
}

func (s *ClassicSide) supports(protocol string) bool {
	return slices.ContainsFunc(s.Protocols, func(p ClassicProtocol) bool { return p.Name == protocol })
}

// applyJoin takes over what the member says of itself. It has joined, and shall sync.
func (m *ConsumerMember) applyJoin(env Env, said consumerMetadata, req *kmsg.JoinGroupRequest) {
	if req.InstanceID != nil {
		m.InstanceID = req.InstanceID
	}
	if said.rack != "" {
		m.RackID = &said.rack
	}
	switch {
	case req.Version == 0:
		m.RebalanceTimeoutMs = req.SessionTimeoutMillis
	case req.RebalanceTimeoutMillis != -1:
		m.RebalanceTimeoutMs = req.RebalanceTimeoutMillis
	}
	m.Names, m.Regex = sortedSet(said.topics), ""
	m.Classic = &ClassicSide{
		SessionTimeoutMs: req.SessionTimeoutMillis,
		Protocols:        protocols(req),
		SyncBy:           stored(env.Now.Add(m.rebalanceTimeout())),
	}
	for i, p := range m.Classic.Protocols {
		m.Classic.Protocols[i].Metadata = bytes.Clone(p.Metadata) // the request's memory is not ours
	}
	m.LastRequest, m.StoredHeard = "", stored(env.Now)
	m.heard = latest(m.heard, env.Now)
}

// joinAnswer answers a join that was parked when the group was a classic one: the member joins again.
func (c *Consumer) joinAnswer(req *kmsg.JoinGroupRequest, memberID string) *kmsg.JoinGroupResponse {
	err := kerr.RebalanceInProgress
	if _, known := c.classicMember(memberID, req.InstanceID); known != nil {
		err = known
	}
	resp := joinFailed(req, err)
	if resp.MemberID = memberID; err == kerr.UnknownMemberID {
		resp.MemberID = ""
	}
	return resp
}

func (c *Consumer) syncGroup(g *Group, env Env, req *kmsg.SyncGroupRequest) *kmsg.SyncGroupResponse {
	if g.ID == "" {
		return syncFailed(req, kerr.InvalidGroupID)
	}
	if req.Version >= 5 && (req.ProtocolType == nil || req.Protocol == nil) {
		return syncFailed(req, kerr.InconsistentGroupProtocol)
	}
	m, err := c.classicMember(req.MemberID, req.InstanceID)
	switch {
	case err != nil:
		return syncFailed(req, err)
	case req.Generation != m.Epoch:
		return syncFailed(req, kerr.IllegalGeneration)
	case req.ProtocolType != nil && *req.ProtocolType != consumerProtocolType, req.Protocol != nil && *req.Protocol != m.Classic.Protocols[0].Name:
		return syncFailed(req, kerr.InconsistentGroupProtocol)
	}
	m.heard = latest(m.heard, env.Now)
	if c.Epoch > m.Epoch && m.State != memberUnrevoked {
		// One that has to revoke first would find the same again: it joins once more when it has.
		m.mustJoin(env)
		return syncFailed(req, kerr.RebalanceInProgress)
	}
	if !m.Classic.SyncBy.IsZero() {
		m.Classic.SyncBy, m.StoredHeard = time.Time{}, stored(env.Now)
	}
	resp := req.ResponseKind().(*kmsg.SyncGroupResponse)
	resp.ProtocolType, resp.Protocol = req.ProtocolType, req.Protocol
	resp.MemberAssignment = c.writeAssignment(m.Assigned, m.Classic.Protocols[0].Metadata)
	return resp
}

// syncAnswer answers a sync that was parked when the group was a classic one.
func (c *Consumer) syncAnswer(req *kmsg.SyncGroupRequest) *kmsg.SyncGroupResponse {
	if _, err := c.classicMember(req.MemberID, req.InstanceID); err != nil {
		return syncFailed(req, err)
	}
	return syncFailed(req, kerr.RebalanceInProgress)
}

// heartbeat tells the member to join again if there is another target, or if it has to revoke,
// or if what it waits for is free.
func (c *Consumer) heartbeat(g *Group, env Env, req *kmsg.HeartbeatRequest) *kmsg.HeartbeatResponse {
	if g.ID == "" {
		return heartbeatFailed(req, kerr.InvalidGroupID)
	}
	m, err := c.classicMember(req.MemberID, req.InstanceID)
	switch {
	case err != nil:
		return heartbeatFailed(req, err)
	case req.Generation != m.Epoch:
		return heartbeatFailed(req, kerr.IllegalGeneration)
	}
	m.heard = latest(m.heard, env.Now)
	// No leader watches the topics for them, and there may be classic members only.
	c.retarget(env, false)
	if m.Epoch < c.Epoch || m.State == memberUnrevoked || m.State == memberUnreleased && !c.waits(m) {
		m.mustJoin(env)
		return heartbeatFailed(req, kerr.RebalanceInProgress)
	}
	return req.ResponseKind().(*kmsg.HeartbeatResponse)
}

// quickHeartbeat is heartbeat without the answers that change something.
func (c *Consumer) quickHeartbeat(g *Group, env Env, req *kmsg.HeartbeatRequest) *kmsg.HeartbeatResponse {
	m, err := c.classicMember(req.MemberID, req.InstanceID)
	if g.ID == "" || err != nil || req.Generation != m.Epoch || !m.reconciled(c) || !c.current(env.Topics) {
		return nil
	}
	return req.ResponseKind().(*kmsg.HeartbeatResponse)
}

// waits tells whether something of the member's target is others' still.
func (c *Consumer) waits(m *ConsumerMember) bool {
	_, missing := divide(m.Target, m.Assigned)
	held, _ := divide(missing, c.heldByOthers(m))
	return len(held) > 0
}

// mustJoin gives the member time to join again, from the first time that it is told to.
func (m *ConsumerMember) mustJoin(env Env) {
	if m.Classic.JoinBy.IsZero() {
		m.Classic.JoinBy, m.StoredHeard = stored(env.Now.Add(m.rebalanceTimeout())), stored(env.Now)
	}
}

// leaveGroup removes members of either protocol: it is also how an admin does that.
func (c *Consumer) leaveGroup(g *Group, env Env, req *kmsg.LeaveGroupRequest) *kmsg.LeaveGroupResponse {
	if g.ID == "" {
		resp := req.ResponseKind().(*kmsg.LeaveGroupResponse)
		resp.ErrorCode = kerr.InvalidGroupID.Code
		return resp
	}
	var gone []string
	resp := leaveEach(req, func(memberID string, instanceID *string) *kerr.Error {
		if instanceID != nil {
			static := c.static(*instanceID)
			switch {
			case static == nil:
				return kerr.UnknownMemberID
			case memberID != "" && memberID != static.ID:
				return kerr.FencedInstanceID
			}
			memberID = static.ID
		}
		if c.Members[memberID] == nil || slices.Contains(gone, memberID) {
			return kerr.UnknownMemberID
		}
		gone = append(gone, memberID)
		return nil
	})
	c.remove(g, env, gone...)
	return resp
}

// classicMember returns the member of the classic protocol that a request is from, or why it isn't one.
func (c *Consumer) classicMember(memberID string, instanceID *string) (*ConsumerMember, *kerr.Error) {
	m := c.Members[memberID]
	if instanceID != nil {
		switch static := c.static(*instanceID); {
		case static == nil:
			return nil, kerr.UnknownMemberID
		case static.ID != memberID:
			return nil, kerr.FencedInstanceID
		}
	}
	if m == nil || m.Classic == nil {
		return nil, kerr.UnknownMemberID
	}
	return m, nil
}
