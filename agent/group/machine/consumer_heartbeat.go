package machine

// ConsumerGroupHeartbeat (68), versions 0 and 1 (KIP-848).
//   0: the group makes the ID of a member   1: the member makes its own; regular expressions

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/group/assign"
)

// ConsumerGroupHeartbeat is the whole of the consumer protocol: members join, leave, and learn their
// assignment by it. newMemberID is a new ID for each request, and the same one if
// that request is applied again because its outcome was unknown: it becomes the ID of a member that
// has none (version 0), and tells a repetition from a new request. Answers are never parked. A
// heartbeat that changes nothing leaves Encode as it was.
func (g *Group) ConsumerGroupHeartbeat(env Env, client Client, newMemberID string, req *kmsg.ConsumerGroupHeartbeatRequest) *kmsg.ConsumerGroupHeartbeatResponse {
	resp := req.ResponseKind().(*kmsg.ConsumerGroupHeartbeatResponse)
	refused := checkHeartbeat(env.Limits, req)
	switch {
	case refused != nil:
	case req.MemberEpoch < 0:
		refused = g.leaveConsumer(env, req, resp)
	default:
		refused = g.heartbeatConsumer(env, client, newMemberID, req, resp)
	}
	if refused != nil {
		resp.ErrorCode, resp.ErrorMessage = refused.err.Code, kmsg.StringPtr(refused.message)
	}
	return resp
}

// refusal is an error with the words that clients show to people.
type refusal struct {
	err     *kerr.Error
	message string
}

func refuse(err *kerr.Error, format string, args ...any) *refusal {
	return &refusal{err, fmt.Sprintf(format, args...)}
}

// checkHeartbeat finds what is wrong with a request whatever the group's state.
func checkHeartbeat(limits Limits, req *kmsg.ConsumerGroupHeartbeatRequest) *refusal {
	blank := func(s *string) bool { return s != nil && strings.TrimSpace(*s) == "" }
	joins := req.MemberEpoch == 0
	switch {
	case blank(&req.MemberID) && (req.Version >= 1 || req.MemberEpoch > 0 || req.MemberEpoch == leaveEpoch):
		return refuse(kerr.InvalidRequest, "MemberId can't be empty.")
	case blank(&req.Group):
		return refuse(kerr.InvalidRequest, "GroupId can't be empty.")
	case blank(req.InstanceID):
		return refuse(kerr.InvalidRequest, "InstanceId can't be empty.")
	case blank(req.RackID):
		return refuse(kerr.InvalidRequest, "RackId can't be empty.")
	case joins && req.RebalanceTimeoutMillis == -1:
		return refuse(kerr.InvalidRequest, "RebalanceTimeoutMs must be provided in first request.")
	case joins && (req.Topics == nil || len(req.Topics) > 0):
		return refuse(kerr.InvalidRequest, "TopicPartitions must be empty when (re-)joining.")
	case joins && req.SubscribedTopicNames == nil && req.SubscribedTopicRegex == nil:
		return refuse(kerr.InvalidRequest, "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.")
	case req.MemberEpoch == leaveStaticEpoch && req.InstanceID == nil:
		return refuse(kerr.InvalidRequest, "InstanceId can't be null.")
	case req.MemberEpoch < leaveStaticEpoch:
		return refuse(kerr.InvalidRequest, "MemberEpoch is invalid.")
	case req.ServerAssignor != nil && !slices.Contains(limits.ConsumerAssignors, *req.ServerAssignor):
		return refuse(kerr.UnsupportedAssignor, "ServerAssignor %s is not supported. Supported assignors: %s.",
			*req.ServerAssignor, strings.Join(limits.ConsumerAssignors, ", "))
	}
	for _, s := range append([]string{req.MemberID, text(req.InstanceID), text(req.RackID), text(req.SubscribedTopicRegex)}, req.SubscribedTopicNames...) {
		if !utf8.ValidString(s) {
			return refuse(kerr.InvalidRequest, "%q is not valid UTF-8.", s) // the state couldn't keep it
		}
	}
	return nil
}

// leaveConsumer removes a member, or notes that a static one is away for a moment.
func (g *Group) leaveConsumer(env Env, req *kmsg.ConsumerGroupHeartbeatRequest, resp *kmsg.ConsumerGroupHeartbeatResponse) *refusal {
	c, refused := g.existingConsumer("Group")
	if refused != nil {
		return refused
	}
	m := c.Members[req.MemberID]
	switch {
	case req.InstanceID != nil:
		if m, refused = c.ownedInstance(*req.InstanceID, req.MemberID); refused != nil {
			return refused
		}
	case m == nil:
		return g.unknownMember(req.MemberID)
	}
	if req.MemberEpoch != leaveStaticEpoch {
		c.remove(g, env, m.ID)
	} else if m.Epoch != leaveStaticEpoch {
		// What it was giving up is given up: it isn't there any more.
		m.Epoch, m.Revoking, m.RevokeBy, m.StoredHeard = leaveStaticEpoch, nil, time.Time{}, stored(env.Now)
	}
	resp.MemberID, resp.MemberEpoch = kmsg.StringPtr(m.ID), req.MemberEpoch
	return nil
}

// heartbeatConsumer lets a member join, and an existing one make progress:
//
//  1. The member is created or changed. Whatever calls for another target makes the group's epoch grow.
//  2. The target is computed if it is of an older epoch.
//  3. The member goes on towards its target.
//
// Everything that can be refused is refused before anything changes.
func (g *Group) heartbeatConsumer(env Env, client Client, newMemberID string, req *kmsg.ConsumerGroupHeartbeatRequest, resp *kmsg.ConsumerGroupHeartbeatResponse) *refusal {
	c, refused := g.existingConsumer("Consumer group")
	if req.MemberEpoch == 0 {
		c, refused = g.consumerToJoin(env)
	}
	if refused != nil {
		return refused
	}
	memberID := req.MemberID
	if strings.TrimSpace(memberID) == "" {
		memberID = newMemberID
	}
	old, refused := g.findMember(c, memberID, newMemberID, req)
	if refused != nil {
		return refused
	}
	if old == nil && len(c.Members) >= env.Limits.ConsumerMaxSize {
		return refuse(kerr.GroupMaxSizeReached, "The consumer group has reached its maximum capacity of %d members.", env.Limits.ConsumerMaxSize)
	}

	was := ConsumerMember{ID: memberID, State: memberStable}
	if old != nil {
		was = *old
		if old.ID != memberID { // a static member that restarted
			was.ID, was.Epoch, was.PreviousEpoch = memberID, 0, 0
		}
	}
	m := was
	m.apply(req)
	if refused := m.checkSize(env.Limits); refused != nil {
		return refused
	}
	if m.Regex != was.Regex && m.Regex != "" {
		if _, err := compile(m.Regex); err != nil {
			return refuse(kerr.InvalidRegularExpression, "SubscribedTopicRegex `%s` is not a valid regular expression: %v.", m.Regex, err)
		}
	}

	// Nothing is refused from here on.
	g.Classic, g.Consumer = nil, c
	c.SessionTimeoutMs = int32(env.Limits.ConsumerSessionTimeout.Milliseconds())
	if old != nil && old.ID != memberID {
		delete(c.Members, old.ID)
	}
	if c.Members == nil {
		c.Members = make(map[string]*ConsumerMember)
	}
	c.Members[memberID] = &m
	subscribed := !slices.Equal(m.Names, was.Names) || m.Regex != was.Regex
	c.retarget(env, subscribed)
	c.reconcile(env, &m, req.Topics, subscribed)

	if req.MemberEpoch > 0 && req.MemberEpoch < was.Epoch {
		// It doesn't know of the epoch it has left either, and may come with the same once more.
		m.PreviousEpoch = was.PreviousEpoch
	}

	repeated := old != nil && newMemberID != "" && old.LastRequest == newMemberID
	if !reflect.DeepEqual(m, was) || old == nil || old.ID != memberID {
		m.setClient(client)
		m.LastRequest, m.StoredHeard = newMemberID, stored(env.Now)
	}
	m.heard = latest(m.heard, env.Now)

	resp.MemberID, resp.MemberEpoch = kmsg.StringPtr(memberID), m.Epoch
	resp.HeartbeatIntervalMillis = int32(env.Limits.ConsumerHeartbeatInterval.Milliseconds())
	if wantsAssignment(req) || repeated || !m.Assigned.Equal(was.Assigned) {
		resp.Assignment = answered(m.Assigned)
	}
	return nil
}

// wantsAssignment tells whether the member joins, or says everything anew, as it does after an error.
func wantsAssignment(req *kmsg.ConsumerGroupHeartbeatRequest) bool {
	full := req.RebalanceTimeoutMillis != -1 && req.Topics != nil && (req.SubscribedTopicNames != nil || req.SubscribedTopicRegex != nil)
	return req.MemberEpoch == 0 || full
}

// existingConsumer returns the group of a member that believes to be in one. called is how Kafka's
// message calls one that doesn't exist.
func (g *Group) existingConsumer(called string) (*Consumer, *refusal) {
	switch {
	case g.Consumer != nil:
		return g.Consumer, nil
	case g.Classic != nil:
		return nil, refuse(kerr.GroupIDNotFound, "Group %s is not a consumer group.", g.ID)
	}
	return nil, refuse(kerr.GroupIDNotFound, "%s %s not found.", called, g.ID)
}

// consumerToJoin returns the group that a member joins. It is not g's yet if there was none or a classic one.
func (g *Group) consumerToJoin(env Env) (*Consumer, *refusal) {
	switch {
	case g.Consumer != nil:
		return g.Consumer, nil
	case g.Classic == nil || g.Classic.State == Empty:
		return newConsumer(), nil
	}
	return g.upgraded(env)
}

// findMember returns the member that a request is from, or the static one that it
// replaces, nil for a new one.
func (g *Group) findMember(c *Consumer, memberID, newMemberID string, req *kmsg.ConsumerGroupHeartbeatRequest) (*ConsumerMember, *refusal) {
	joins := req.MemberEpoch == 0
	m := c.Members[memberID]
	switch {
	case req.InstanceID == nil && m == nil && !joins:
		return nil, g.unknownMember(memberID)
	case req.InstanceID != nil && !joins:
		var refused *refusal
		if m, refused = c.ownedInstance(*req.InstanceID, memberID); refused != nil {
			return nil, refused
		}
	case req.InstanceID != nil:
		static := c.static(*req.InstanceID)
		if static == nil {
			break
		}
		if static.ID != memberID && static.Classic == nil && static.Epoch != leaveStaticEpoch {
			return nil, refuse(kerr.UnreleasedInstanceID, "Static member %s with instance id %s cannot join the group because the instance id is owned by %s member.",
				memberID, *req.InstanceID, static.ID)
		}
		m = static
	}
	if joins {
		// It has given up everything, whatever became of its last requests.
		return m, nil
	}
	return m, m.checkEpoch(newMemberID, req)
}

// checkEpoch fences a member that missed something and may use what isn't its any more.
func (m *ConsumerMember) checkEpoch(newMemberID string, req *kmsg.ConsumerGroupHeartbeatRequest) *refusal {
	switch {
	case req.MemberEpoch == m.Epoch:
		return nil
	case req.MemberEpoch > m.Epoch:
		return refuse(kerr.FencedMemberEpoch, "The consumer group member has a greater member epoch (%d) than the one known by the group coordinator (%d). "+
			"The member must abandon all its partitions and rejoin.", req.MemberEpoch, m.Epoch)
	case req.MemberEpoch == m.PreviousEpoch && newMemberID != "" && newMemberID == m.LastRequest:
		return nil // this very request took it from there to its epoch
	case m.PreviousEpoch > 0 && req.MemberEpoch >= m.PreviousEpoch && req.Topics != nil && ownsOnly(req.Topics, m.Assigned, m.Revoking):
		return nil // it didn't get the answers since then
	}
	return refuse(kerr.FencedMemberEpoch, "The consumer group member has a smaller member epoch (%d) than the one known by the group coordinator (%d). "+
		"The member must abandon all its partitions and rejoin.", req.MemberEpoch, m.Epoch)
}

// ownedInstance returns the static member with that instance ID if memberID is its.
func (c *Consumer) ownedInstance(instanceID, memberID string) (*ConsumerMember, *refusal) {
	m := c.static(instanceID)
	switch {
	case m == nil:
		return nil, refuse(kerr.UnknownMemberID, "Instance id %s is unknown.", instanceID)
	case m.ID != memberID:
		return nil, refuse(kerr.FencedInstanceID, "Static member %s with instance id %s was fenced by member %s.", memberID, instanceID, m.ID)
	}
	return m, nil
}

func (g *Group) unknownMember(memberID string) *refusal {
	return refuse(kerr.UnknownMemberID, "Member %s is not a member of group %s.", memberID, g.ID)
}

// apply takes over what the member says of itself. What it leaves out stays as it was.
func (m *ConsumerMember) apply(req *kmsg.ConsumerGroupHeartbeatRequest) {
	if req.InstanceID != nil {
		m.InstanceID = req.InstanceID
	}
	if req.RackID != nil {
		m.RackID = req.RackID
	}
	if req.RebalanceTimeoutMillis != -1 {
		m.RebalanceTimeoutMs = req.RebalanceTimeoutMillis
	}
	if req.SubscribedTopicNames != nil {
		m.Names = sortedSet(req.SubscribedTopicNames)
	}
	if req.SubscribedTopicRegex != nil {
		m.Regex = *req.SubscribedTopicRegex
	}
	if req.ServerAssignor != nil {
		m.Assignor = *req.ServerAssignor
	}
	m.Classic = nil
}

// checkSize bounds what one member adds to the state.
func (m *ConsumerMember) checkSize(limits Limits) *refusal {
	size := len(m.ID) + len(text(m.InstanceID)) + len(text(m.RackID)) + len(m.Regex)
	for _, name := range m.Names {
		size += len(name)
	}
	if size > limits.MaxMetadataBytes {
		return refuse(kerr.MessageTooLarge, "The member's IDs and subscription have %d bytes, more than the %d that a group keeps of one.", size, limits.MaxMetadataBytes)
	}
	return nil
}

func (m *ConsumerMember) setClient(client Client) {
	m.ClientID, m.ClientHost = strings.ToValidUTF8(client.ID, "\uFFFD"), strings.ToValidUTF8(client.Host, "\uFFFD")
}

// ownsOnly tells whether a member reports nothing but partitions that are in p or q.
func ownsOnly(owned []kmsg.ConsumerGroupHeartbeatRequestTopic, p, q assign.Partitions) bool {
	for _, topic := range owned {
		for _, n := range topic.Partitions {
			if !p.Contains(topic.TopicID, n) && !q.Contains(topic.TopicID, n) {
				return false
			}
		}
	}
	return true
}

func answered(p assign.Partitions) *kmsg.ConsumerGroupHeartbeatResponseAssignment {
	a := kmsg.NewConsumerGroupHeartbeatResponseAssignment()
	for _, id := range p.Topics() {
		topic := kmsg.NewConsumerGroupHeartbeatResponseAssignmentTopic()
		topic.TopicID, topic.Partitions = id, p[id]
		a.Topics = append(a.Topics, topic)
	}
	return &a
}

// compile reads a regular expression as Kafka does: RE2's syntax, for the whole of a name.
func compile(regex string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(regex); err != nil {
		return nil, err // before what is put around it could repair it
	}
	return regexp.Compile(`\A(?:` + regex + `)\z`)
}

// sortedSet returns the strings sorted, each once; nil for none.
func sortedSet(s []string) []string {
	if len(s) == 0 {
		return nil
	}
	s = slices.Clone(s)
	slices.Sort(s)
	return slices.Compact(s)
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
