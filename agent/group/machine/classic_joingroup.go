package machine

// JoinGroup (11), versions 0 to 9.
//   0: a member without an ID becomes one at once   1: rebalance timeout   2, 3: throttle time
//   4: it is told its ID and joins again with that (KIP-394)   5: instance ID (KIP-345)   6: flexible
//   7: protocol type in the answer (KIP-559)   8: reason (KIP-800)   9: skip assignment (KIP-814)

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxPending bounds the member IDs that are handed out and not used: beyond it the oldest are forgotten, and
// whoever comes with one starts again.
const maxPending = 10_000

func (c *Classic) joinGroup(groupID string, env Env, client Client, newMemberID string, req *kmsg.JoinGroupRequest) *kmsg.JoinGroupResponse {
	if err := checkJoin(groupID, env.Limits, newMemberID, req); err != nil {
		return joinFailed(req, err)
	}
	if req.MemberID == "" && c.member(newMemberID) != nil {
		return c.joinAnswer(req, newMemberID) // this very request was applied before
	}
	old := c.member(req.MemberID)
	if req.MemberID == "" && req.InstanceID != nil {
		old = c.static(*req.InstanceID)
	}
	if !c.accepts(old, env.Limits.MaxSize) {
		c.refuse(env, req.MemberID)
		resp := joinFailed(req, kerr.GroupMaxSizeReached)
		resp.MemberID = ""
		return resp
	}
	if !c.supports(req) {
		return joinFailed(req, kerr.InconsistentGroupProtocol)
	}

	switch {
	case req.MemberID != "":
		return c.joinKnown(env, client, req)
	case old != nil:
		return c.replaceStatic(env, client, old, newMemberID, req)
	case req.InstanceID == nil && req.Version >= 4:
		return c.handOut(env, newMemberID, req)
	}
	return c.add(env, client, newMemberID, req)
}

// checkJoin finds what is wrong with a request whatever the group's state.
func checkJoin(groupID string, limits Limits, newMemberID string, req *kmsg.JoinGroupRequest) *kerr.Error {
	if groupID == "" {
		return kerr.InvalidGroupID
	}
	if timeout := millis(req.SessionTimeoutMillis); timeout < limits.MinSessionTimeout || timeout > limits.MaxSessionTimeout {
		return kerr.InvalidSessionTimeout
	}

	texts := []string{newMemberID, req.ProtocolType}
	if req.InstanceID != nil {
		texts = append(texts, *req.InstanceID)
	}
	size := 0
	for _, p := range req.Protocols {
		texts = append(texts, p.Name)
		size += len(p.Metadata)
	}
	for _, t := range texts {
		if !utf8.ValidString(t) {
			return kerr.InvalidRequest // the state couldn't keep it
		}
		size += len(t)
	}
	// A member ID is made of the instance or client ID, and older versions have no room for a longer one. The error is
	// one that no client takes for a reason to try again, and it says what is wrong: see the package's documentation.
	if size > limits.MaxMetadataBytes || len(newMemberID) > math.MaxInt16 {
		return kerr.MessageTooLarge
	}

	names := map[string]bool{}
	for _, p := range req.Protocols {
		if p.Name == "" || names[p.Name] {
			return kerr.InconsistentGroupProtocol
		}
		names[p.Name] = true
	}
	return nil
}

// accepts tells whether the group has room for the member, nil if it is new. While members join, those count that
// did: of a group that became too large (group.max.size went down) the last ones have no room any more.
func (c *Classic) accepts(m *ClassicMember, maxSize int) bool {
	switch c.State {
	case Empty:
		return true
	case PreparingRebalance:
		joined := 0
		for _, m := range c.Members {
			if m.Joining {
				joined++
			}
		}
		return m != nil && m.Joining || joined < maxSize
	}
	return m != nil || len(c.Members) < maxSize
}

// refuse removes a member that has no room in the group.
func (c *Classic) refuse(env Env, memberID string) {
	members := len(c.Members)
	c.remove(func(m *ClassicMember) bool { return m.ID == memberID })
	if c.removePending(memberID) || len(c.Members) < members {
		c.maybeCompleteJoin(env)
	}
}

func (c *Classic) removePending(memberID string) bool {
	pending := len(c.Pending)
	c.Pending = slices.DeleteFunc(c.Pending, func(p PendingMember) bool { return p.ID == memberID })
	return len(c.Pending) < pending
}

// supports tells whether all members, and whoever joins, have a protocol in common.
func (c *Classic) supports(req *kmsg.JoinGroupRequest) bool {
	if c.State == Empty {
		return req.ProtocolType != "" && len(req.Protocols) > 0
	}
	return req.ProtocolType == c.ProtocolType &&
		slices.ContainsFunc(req.Protocols, func(p kmsg.JoinGroupRequestProtocol) bool { return c.allSupport(p.Name) })
}

// handOut tells a new member its ID; it joins with that.
func (c *Classic) handOut(env Env, newMemberID string, req *kmsg.JoinGroupRequest) *kmsg.JoinGroupResponse {
	if !c.pending(newMemberID) {
		c.Pending = append(c.Pending, PendingMember{ID: newMemberID, Since: stored(env.Now), SessionTimeoutMs: req.SessionTimeoutMillis})
		c.Pending = c.Pending[max(0, len(c.Pending)-maxPending):]
	}
	resp := joinFailed(req, kerr.MemberIDRequired)
	resp.MemberID = newMemberID
	return resp
}

// add makes a member of whoever sent the request.
func (c *Classic) add(env Env, client Client, memberID string, req *kmsg.JoinGroupRequest) *kmsg.JoinGroupResponse {
	c.removePending(memberID)
	if len(c.Members) == 0 {
		c.ProtocolType, c.Leader = req.ProtocolType, memberID
	}
	c.MoreJoined = c.MoreJoined || c.Initial
	m := &ClassicMember{ID: memberID, InstanceID: req.InstanceID}
	m.setClient(client)
	m.update(env, req)
	m.Joining = true
	c.Members = append(c.Members, m)
	c.joined(env)
	return c.joinAnswer(req, memberID)
}

// joinKnown lets a member join that has an ID.
func (c *Classic) joinKnown(env Env, client Client, req *kmsg.JoinGroupRequest) *kmsg.JoinGroupResponse {
	if req.InstanceID == nil && c.pending(req.MemberID) {
		return c.add(env, client, req.MemberID, req)
	}
	m, err := c.knownMember(req.MemberID, req.InstanceID)
	if err != nil {
		return joinFailed(req, err)
	}
	same := slices.EqualFunc(m.Protocols, protocols(req), ClassicProtocol.equal)
	switch {
	case same && c.State == CompletingRebalance, same && c.State == Stable && c.Leader != m.ID:
		// It joined this generation already, and may have missed the answer.
		return c.joinAnswer(req, m.ID)
	}
	// The leader of a stable group joins because it wants a rebalance: the topics changed, not the members.
	m.update(env, req)
	m.Joining = true
	c.joined(env)
	return c.joinAnswer(req, m.ID)
}

// joined goes on after somebody joined.
func (c *Classic) joined(env Env) {
	if c.State == PreparingRebalance {
		c.maybeCompleteJoin(env)
	} else {
		c.prepareRebalance(env)
	}
}

// replaceStatic gives a static member that restarted a new ID, and the old one's assignment if that can stay.
// Whoever still uses the old ID is fenced.
func (c *Classic) replaceStatic(env Env, client Client, m *ClassicMember, newMemberID string, req *kmsg.JoinGroupRequest) *kmsg.JoinGroupResponse {
	oldLeader := c.Leader
	if c.Leader == m.ID {
		c.Leader = newMemberID
	}
	topics, known := m.topics(c)
	m.ID, m.StoredHeard, m.heard = newMemberID, stored(env.Now), time.Time{} // of the old ID nobody will hear
	m.setClient(client)
	m.update(env, req)
	if newTopics, newKnown := m.topics(c); c.State != Stable || c.selectProtocol() != c.Protocol ||
		newKnown != known || !slices.Equal(newTopics, topics) {
		// In CompletingRebalance the leader may have assigned to the old ID already.
		m.Joining = true
		c.joined(env)
		return c.joinAnswer(req, newMemberID)
	}

	resp := c.joinAnswer(req, newMemberID)
	if req.Version < 9 && c.Leader == newMemberID {
		// It can't be told to skip the assignment, which would be in vain: it mustn't know itself as leader.
		resp.LeaderID, resp.Members = oldLeader, nil
	}
	return resp
}

// joinAnswer tells a member of the generation that it joined, nil if it still waits for that.
func (c *Classic) joinAnswer(req *kmsg.JoinGroupRequest, memberID string) *kmsg.JoinGroupResponse {
	m := c.member(memberID)
	if m == nil {
		// It was removed while it waited.
		if req.InstanceID != nil && c.static(*req.InstanceID) != nil {
			resp := joinFailed(req, kerr.FencedInstanceID)
			resp.MemberID = memberID
			return resp
		}
		resp := joinFailed(req, kerr.UnknownMemberID)
		resp.MemberID = ""
		return resp
	}
	if m.Joining {
		return nil
	}
	// If the next rebalance began already, then this is the generation before: its SyncGroup will say so.
	resp := req.ResponseKind().(*kmsg.JoinGroupResponse)
	resp.Generation, resp.Protocol, resp.ProtocolType = c.Generation, kmsg.StringPtr(c.Protocol), kmsg.StringPtr(c.ProtocolType)
	resp.MemberID, resp.LeaderID = m.ID, c.Leader
	if c.Leader != m.ID {
		return resp
	}
	resp.SkipAssignment = req.Version >= 9 && c.State == Stable
	for _, m := range c.Members {
		metadata, ok := m.metadata(c.Protocol)
		if !ok {
			continue
		}
		rm := kmsg.NewJoinGroupResponseMember()
		rm.MemberID, rm.InstanceID, rm.ProtocolMetadata = m.ID, m.InstanceID, metadata
		resp.Members = append(resp.Members, rm)
	}
	return resp
}

func joinFailed(req *kmsg.JoinGroupRequest, err *kerr.Error) *kmsg.JoinGroupResponse {
	resp := req.ResponseKind().(*kmsg.JoinGroupResponse)
	resp.ErrorCode, resp.Generation, resp.MemberID = err.Code, -1, req.MemberID
	return resp
}

func (m *ClassicMember) setClient(client Client) {
	m.ClientID, m.ClientHost = strings.ToValidUTF8(client.ID, "\uFFFD"), strings.ToValidUTF8(client.Host, "\uFFFD")
}

// update takes over what a member says of itself; saying it again changes nothing.
func (m *ClassicMember) update(env Env, req *kmsg.JoinGroupRequest) {
	rebalanceTimeoutMs := req.RebalanceTimeoutMillis
	if req.Version == 0 {
		rebalanceTimeoutMs = req.SessionTimeoutMillis
	}
	ps := protocols(req)
	if m.Joining && m.SessionTimeoutMs == req.SessionTimeoutMillis && m.RebalanceTimeoutMs == rebalanceTimeoutMs &&
		slices.EqualFunc(m.Protocols, ps, ClassicProtocol.equal) {
		return
	}
	m.SessionTimeoutMs, m.RebalanceTimeoutMs, m.Protocols = req.SessionTimeoutMillis, rebalanceTimeoutMs, ps
	for i := range ps {
		ps[i].Metadata = bytes.Clone(ps[i].Metadata) // the request's memory is not ours
	}
	m.StoredHeard = stored(env.Now)
}

func protocols(req *kmsg.JoinGroupRequest) []ClassicProtocol {
	ps := make([]ClassicProtocol, len(req.Protocols))
	for i, p := range req.Protocols {
		ps[i] = ClassicProtocol{Name: p.Name, Metadata: p.Metadata}
	}
	return ps
}
