package machine

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var (
	epoch  = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	limits = Limits{
		MinSessionTimeout: 6 * time.Second, MaxSessionTimeout: 30 * time.Minute,
		InitialRebalanceDelay: 3 * time.Second, MaxSize: 5, MaxMetadataBytes: 1 << 10,
	}
)

const (
	sessionTimeout   = 10 * time.Second
	sessionLasts     = sessionTimeout + sessionTimeout/8
	rebalanceTimeout = time.Minute
)

// fixture is a group with a clock. Each request goes through what it goes through in the agents: the state is decoded, the
// request applied, the state encoded; and then the request is applied once more, as if the reply was lost.
type fixture struct {
	testing.TB
	id    string
	state []byte
	env   Env
	ids   int
}

func newFixture(t testing.TB) *fixture {
	f := &fixture{TB: t, id: "g", env: Env{Now: epoch, Limits: limits}}
	f.state = f.encode(New(f.id))
	return f
}

func (f *fixture) group() *Group {
	f.Helper()
	g, err := Decode(f.id, f.state)
	if err != nil {
		f.Fatalf("%v\n%s", err, f.state)
	}
	return g
}

func (f *fixture) encode(g *Group) []byte {
	f.Helper()
	b, err := g.Encode()
	if err != nil {
		f.Fatal(err)
	}
	return b
}

func (f *fixture) change(apply func(*Group)) {
	f.Helper()
	g := f.group()
	apply(g)
	f.state = f.encode(g)
	if again := f.encode(f.group()); !bytes.Equal(again, f.state) {
		f.Fatalf("decoded and encoded again, the state is\n%s, was\n%s", again, f.state)
	}
}

// twice applies a request, and again as after a lost reply; the second time must change nothing.
func (f *fixture) twice(apply func(*Group)) {
	f.Helper()
	f.change(apply)
	once := f.state
	f.change(apply)
	if !bytes.Equal(once, f.state) {
		f.Fatalf("applied again, the request changed the state\n%s to\n%s", once, f.state)
	}
}

// pass lets time go by, with a Tick whenever one is due.
func (f *fixture) pass(d time.Duration) {
	f.Helper()
	for end := f.env.Now.Add(d); ; {
		due := f.group().Due(f.env)
		if due.IsZero() || due.After(end) {
			f.env.Now = end
			return
		}
		if due.After(f.env.Now) {
			f.env.Now = due
		}
		f.change(func(g *Group) { g.Tick(f.env) })
		if due := f.group().Due(f.env); !due.IsZero() && !due.After(f.env.Now) {
			f.Fatalf("after a tick at %v the next is due at %v: %s", f.env.Now, due, f.state)
		}
	}
}

// joinRequest is one of a consumer with the protocol range, changed by the options.
func joinRequest(memberID string, options ...func(*kmsg.JoinGroupRequest)) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.ProtocolType = 9, "g", memberID, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = int32(sessionTimeout.Milliseconds()), int32(rebalanceTimeout.Milliseconds())
	protocol("range", "t")(req)
	for _, option := range options {
		option(req)
	}
	return req
}

func version(v int16) func(*kmsg.JoinGroupRequest) {
	return func(req *kmsg.JoinGroupRequest) { req.Version = v }
}

func instance(id string) func(*kmsg.JoinGroupRequest) {
	return func(req *kmsg.JoinGroupRequest) { req.InstanceID = &id }
}

// protocol replaces the protocols by one with these topics.
func protocol(name string, topics ...string) func(*kmsg.JoinGroupRequest) {
	return func(req *kmsg.JoinGroupRequest) {
		req.Protocols = nil
		alsoProtocol(name, topics...)(req)
	}
}

func alsoProtocol(name string, topics ...string) func(*kmsg.JoinGroupRequest) {
	return func(req *kmsg.JoinGroupRequest) {
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = name, subscription(topics...)
		req.Protocols = append(req.Protocols, p)
	}
}

func subscription(topics ...string) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Version, m.Topics = 3, topics
	return m.AppendTo(nil)
}

// join applies a JoinGroup; nil is a parked one.
func (f *fixture) join(memberID string, options ...func(*kmsg.JoinGroupRequest)) *kmsg.JoinGroupResponse {
	f.Helper()
	f.ids++
	req, newID := joinRequest(memberID, options...), fmt.Sprintf("m%d", f.ids)
	var resps []*kmsg.JoinGroupResponse
	f.twice(func(g *Group) {
		resps = append(resps, g.JoinGroup(f.env, Client{ID: "client", Host: "/10.0.0.1"}, newID, req))
	})
	first, again := resps[0], resps[1]
	if first == nil != (again == nil) || first != nil &&
		(first.ErrorCode != again.ErrorCode || first.MemberID != again.MemberID || first.Generation != again.Generation) {
		f.Fatalf("applied again, the answer is %+v, was %+v", again, first)
	}
	return first
}

// joinAnswer asks for the answer of a parked join.
func (f *fixture) joinAnswer(memberID string, options ...func(*kmsg.JoinGroupRequest)) *kmsg.JoinGroupResponse {
	f.Helper()
	return f.group().JoinAnswer(joinRequest(memberID, options...), memberID)
}

func syncRequest(memberID string, generation int32, assignments ...string) *kmsg.SyncGroupRequest {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 5, "g", memberID, generation
	req.ProtocolType, req.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
	for i := 0; i+1 < len(assignments); i += 2 {
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID, a.MemberAssignment = assignments[i], []byte(assignments[i+1])
		req.GroupAssignment = append(req.GroupAssignment, a)
	}
	return req
}

// sync applies a SyncGroup with pairs of a member ID and an assignment; nil is a parked one.
func (f *fixture) sync(memberID string, generation int32, assignments ...string) *kmsg.SyncGroupResponse {
	f.Helper()
	return f.syncWith(syncRequest(memberID, generation, assignments...))
}

func (f *fixture) syncWith(req *kmsg.SyncGroupRequest) *kmsg.SyncGroupResponse {
	f.Helper()
	var resps []*kmsg.SyncGroupResponse
	f.twice(func(g *Group) { resps = append(resps, g.SyncGroup(f.env, req)) })
	if first, again := resps[0], resps[1]; first == nil != (again == nil) || first != nil &&
		(first.ErrorCode != again.ErrorCode || !bytes.Equal(first.MemberAssignment, again.MemberAssignment)) {
		f.Fatalf("applied again, the answer is %+v, was %+v", again, first)
	}
	return resps[0]
}

// heartbeat returns the error code, and has the member be heard of if it is one.
func (f *fixture) heartbeat(memberID string, generation int32, instanceID ...string) int16 {
	f.Helper()
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 4, "g", memberID, generation
	if len(instanceID) > 0 {
		req.InstanceID = &instanceID[0]
	}
	before, g := f.state, f.group()
	code := g.Heartbeat(f.env, req).ErrorCode
	if after := f.encode(g); !bytes.Equal(before, after) {
		f.Fatalf("a heartbeat changed the state\n%s to\n%s", before, after)
	}
	return code
}

// leave removes one member, named by member ID or instance ID, and returns its error code.
func (f *fixture) leave(memberID string, instanceID ...string) int16 {
	f.Helper()
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version, req.Group = 5, "g"
	m := kmsg.NewLeaveGroupRequestMember()
	m.MemberID = memberID
	if len(instanceID) > 0 {
		m.InstanceID = &instanceID[0]
	}
	req.Members = append(req.Members, m)
	var resp *kmsg.LeaveGroupResponse
	f.change(func(g *Group) { resp = g.LeaveGroup(f.env, req) })
	if resp.ErrorCode != 0 || len(resp.Members) != 1 || resp.Members[0].MemberID != memberID {
		f.Fatalf("leave: %+v", resp)
	}
	return resp.Members[0].ErrorCode
}

func (f *fixture) wantPhase(want string) {
	f.Helper()
	if got := f.group().Info().Phase; got != want {
		f.Fatalf("the group is %s, want %s: %s", got, want, f.state)
	}
}

func (f *fixture) wantMembers(want ...string) {
	f.Helper()
	if got := f.group().Members(); !slices.Equal(got, want) {
		f.Fatalf("members %q, want %q: %s", got, want, f.state)
	}
}

// wantError compares a code with a Kafka error, nil for none.
func (f *fixture) wantError(got int16, want *kerr.Error) {
	f.Helper()
	if want == nil {
		want = &kerr.Error{Message: "NONE"}
	}
	if got != want.Code {
		f.Fatalf("answered %v, want %s: %s", kerr.ErrorForCode(got), want.Message, f.state)
	}
}

// wantJoined compares what a member is told when its join phase is over.
func (f *fixture) wantJoined(resp *kmsg.JoinGroupResponse, generation int32, leader string) {
	f.Helper()
	if resp == nil {
		f.Fatalf("the join is parked: %s", f.state)
	}
	f.wantError(resp.ErrorCode, nil)
	if resp.Generation != generation || resp.LeaderID != leader || resp.Protocol == nil || resp.ProtocolType == nil {
		f.Fatalf("joined generation %d with leader %q: %+v, want generation %d and leader %q", resp.Generation, resp.LeaderID, resp, generation, leader)
	}
	if (resp.MemberID == leader) != (len(resp.Members) > 0) {
		f.Fatalf("%q was told %d members, the leader is %q", resp.MemberID, len(resp.Members), leader)
	}
}

func (f *fixture) wantParked(resp *kmsg.JoinGroupResponse) {
	f.Helper()
	if resp != nil {
		f.Fatalf("the join is answered with %+v, want it parked: %s", resp, f.state)
	}
}

func (f *fixture) wantAssigned(resp *kmsg.SyncGroupResponse, want string) {
	f.Helper()
	if resp == nil {
		f.Fatalf("the sync is parked: %s", f.state)
	}
	f.wantError(resp.ErrorCode, nil)
	if resp.MemberAssignment == nil || string(resp.MemberAssignment) != want {
		f.Fatalf("assigned %q, want %q", resp.MemberAssignment, want)
	}
}

// newMember lets a dynamic member get its ID and join with it.
func (f *fixture) newMember(options ...func(*kmsg.JoinGroupRequest)) (memberID string, resp *kmsg.JoinGroupResponse) {
	f.Helper()
	told := f.join("", options...)
	f.wantError(told.ErrorCode, kerr.MemberIDRequired)
	return told.MemberID, f.join(told.MemberID, options...)
}

// stable makes the group one of n dynamic members m1.., generation 1, whose assignments are a1..; m1 leads.
func (f *fixture) stable(n int, options ...func(*kmsg.JoinGroupRequest)) {
	f.Helper()
	f.completing(n, options...)
	var assignments []string
	for i, id := range f.group().Members() {
		assignments = append(assignments, id, fmt.Sprintf("a%d", i+1))
	}
	for i, id := range f.group().Members() {
		f.wantAssigned(f.sync(id, 1, assignments...), fmt.Sprintf("a%d", i+1))
	}
	f.wantPhase(Stable)
}

// completing is what stable is before the leader syncs.
func (f *fixture) completing(n int, options ...func(*kmsg.JoinGroupRequest)) {
	f.Helper()
	for range n {
		f.wantParked(f.join("", append([]func(*kmsg.JoinGroupRequest){version(3)}, options...)...))
	}
	f.pass(limits.InitialRebalanceDelay * 2)
	f.wantPhase(CompletingRebalance)
}

// all beats for every member.
func (f *fixture) beating(g *Group) {
	for _, id := range g.Members() {
		g.Heard(id, f.env.Now)
	}
}
