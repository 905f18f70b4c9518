package machine

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// inStates runs the test on a group in every state. Where there are members, m1 (static, i1, the leader) and m2 are; p is
// pending; the generation is 1, and 2 where it is Empty.
func inStates(t *testing.T, test func(f *fixture, state string)) {
	for _, state := range []string{"unknown", Empty, PreparingRebalance, CompletingRebalance, Stable} {
		f := newFixture(t)
		t.Run(state, func(t *testing.T) {
			f.TB = t
			if state == "unknown" {
				test(f, state)
				return
			}
			f.wantParked(f.join("", instance("i1")))
			f.wantParked(f.join("", version(3)))
			f.pass(2 * limits.InitialRebalanceDelay)
			if state == Stable || state == PreparingRebalance {
				f.wantAssigned(f.sync("m1", 1, "m1", "a", "m2", "b"), "a")
				f.wantAssigned(f.sync("m2", 1), "b")
			}
			if state == PreparingRebalance {
				f.wantParked(f.join("m1", instance("i1")))
			}
			if state == Empty {
				f.wantError(f.leave("m2"), nil)
				f.wantError(f.leave("m1"), nil)
			}
			f.change(func(g *Group) { g.JoinGroup(f.env, Client{}, "p", joinRequest("")) })
			f.wantPhase(state)
			test(f, state)
		})
	}
}

func TestJoinGroupErrors(t *testing.T) {
	type options = []func(*kmsg.JoinGroupRequest)
	requestOf := func(change func(*kmsg.JoinGroupRequest)) options { return options{change} }
	var (
		ok      = &kerr.Error{}
		sameIn  = func(err *kerr.Error) [5]*kerr.Error { return [5]*kerr.Error{err, err, err, err, err} }
		timeout = func(d time.Duration) options {
			return requestOf(func(req *kmsg.JoinGroupRequest) { req.SessionTimeoutMillis = int32(d.Milliseconds()) })
		}
		none   = requestOf(func(req *kmsg.JoinGroupRequest) { req.Protocols = nil })
		ofType = func(typ string) options {
			return requestOf(func(req *kmsg.JoinGroupRequest) { req.ProtocolType = typ })
		}
		anything = options{protocol("range", strings.Repeat("x", limits.MaxMetadataBytes))}
	)
	for _, test := range []struct {
		name     string
		memberID string
		options  options
		// unknown, Empty, PreparingRebalance, CompletingRebalance, Stable; ok is an answer or a parked request.
		want [5]*kerr.Error
	}{
		{"new dynamic", "", nil, sameIn(kerr.MemberIDRequired)},
		{"new dynamic before KIP-394", "", options{version(3)}, sameIn(ok)},
		{"new static", "", options{instance("new")}, sameIn(ok)},
		{"static that comes back", "", options{instance("i1")}, sameIn(ok)},
		{"ID that nobody handed out", "client-1", nil, sameIn(kerr.UnknownMemberID)},
		{"pending", "p", nil, [5]*kerr.Error{kerr.UnknownMemberID, ok, ok, ok, ok}},
		{"pending, but static", "p", options{instance("new")}, sameIn(kerr.UnknownMemberID)},
		{"member", "m2", nil, [5]*kerr.Error{kerr.UnknownMemberID, kerr.UnknownMemberID, ok, ok, ok}},
		{"static member", "m1", options{instance("i1")}, [5]*kerr.Error{kerr.UnknownMemberID, kerr.UnknownMemberID, ok, ok, ok}},
		{"member with another's instance ID", "m2", options{instance("i1")},
			[5]*kerr.Error{kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.FencedInstanceID, kerr.FencedInstanceID, kerr.FencedInstanceID}},
		{"member with an unknown instance ID", "m2", options{instance("i2")}, sameIn(kerr.UnknownMemberID)},

		{"session timeout too short", "", timeout(limits.MinSessionTimeout - time.Millisecond), sameIn(kerr.InvalidSessionTimeout)},
		{"shortest session timeout", "", timeout(limits.MinSessionTimeout), sameIn(kerr.MemberIDRequired)},
		{"longest session timeout", "", timeout(limits.MaxSessionTimeout), sameIn(kerr.MemberIDRequired)},
		{"session timeout too long", "", timeout(limits.MaxSessionTimeout + time.Millisecond), sameIn(kerr.InvalidSessionTimeout)},
		{"negative session timeout", "", timeout(-time.Second), sameIn(kerr.InvalidSessionTimeout)},

		{"no protocols", "", none, sameIn(kerr.InconsistentGroupProtocol)},
		{"no protocols, member", "m2", none, sameIn(kerr.InconsistentGroupProtocol)},
		{"no protocol type", "", ofType(""), sameIn(kerr.InconsistentGroupProtocol)},
		{"another protocol type", "", ofType("connect"), [5]*kerr.Error{kerr.MemberIDRequired, kerr.MemberIDRequired,
			kerr.InconsistentGroupProtocol, kerr.InconsistentGroupProtocol, kerr.InconsistentGroupProtocol}},
		{"no protocol in common", "", options{protocol("sticky", "t")}, [5]*kerr.Error{kerr.MemberIDRequired, kerr.MemberIDRequired,
			kerr.InconsistentGroupProtocol, kerr.InconsistentGroupProtocol, kerr.InconsistentGroupProtocol}},
		{"no protocol in common, member", "m2", options{protocol("sticky", "t")}, [5]*kerr.Error{kerr.UnknownMemberID, kerr.UnknownMemberID,
			kerr.InconsistentGroupProtocol, kerr.InconsistentGroupProtocol, kerr.InconsistentGroupProtocol}},
		{"a protocol twice", "", options{alsoProtocol("range", "u")}, sameIn(kerr.InconsistentGroupProtocol)},
		{"a protocol without a name", "", options{alsoProtocol("", "u")}, sameIn(kerr.InconsistentGroupProtocol)},

		{"too much metadata", "", anything, sameIn(kerr.MessageTooLarge)},
		{"too much metadata, member", "m2", anything, sameIn(kerr.MessageTooLarge)},
		{"too long an instance ID", "", options{instance(strings.Repeat("x", limits.MaxMetadataBytes))}, sameIn(kerr.MessageTooLarge)},
		{"too many protocols", "", requestOf(func(req *kmsg.JoinGroupRequest) {
			for i := range limits.MaxMetadataBytes {
				alsoProtocol(strings.Repeat("p", i))(req)
			}
		}), sameIn(kerr.MessageTooLarge)},
		{"instance ID not UTF-8", "", options{instance("\xff")}, sameIn(kerr.InvalidRequest)},
		{"protocol name not UTF-8", "", options{alsoProtocol("\xff")}, sameIn(kerr.InvalidRequest)},
		{"protocol type not UTF-8", "", ofType("\xff"), sameIn(kerr.InvalidRequest)},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := 0
			inStates(t, func(f *fixture, state string) {
				want, before := test.want[n], string(f.state)
				n++
				resp := f.join(test.memberID, test.options...)
				if resp == nil {
					f.wantError(want.Code, nil)
					return
				}
				f.wantError(resp.ErrorCode, want)
				if resp.ErrorCode == 0 {
					return
				}
				if resp.Generation != -1 || resp.Protocol != nil || resp.LeaderID != "" || len(resp.Members) > 0 {
					f.Fatalf("an error comes with %+v", resp)
				}
				if want != kerr.MemberIDRequired && (resp.MemberID != test.memberID || string(f.state) != before) {
					f.Fatalf("an error is for member %q, and left\n%s of\n%s", resp.MemberID, f.state, before)
				}
			})
		})
	}
}

func TestEmptyGroupIDIsInvalid(t *testing.T) {
	g := New("")
	env := Env{Now: epoch, Limits: limits}
	for name, code := range map[string]int16{
		"join":      g.JoinGroup(env, Client{}, "m", joinRequest("")).ErrorCode,
		"sync":      g.SyncGroup(env, syncRequest("m", 1)).ErrorCode,
		"heartbeat": g.Heartbeat(env, kmsg.NewPtrHeartbeatRequest()).ErrorCode,
		"leave":     g.LeaveGroup(env, kmsg.NewPtrLeaveGroupRequest()).ErrorCode,
	} {
		if code != kerr.InvalidGroupID.Code {
			t.Errorf("%s: %v", name, kerr.ErrorForCode(code))
		}
	}
}

func TestLongMemberIDIsRefused(t *testing.T) {
	g, env := New("g"), Env{Now: epoch, Limits: limits}
	env.Limits.MaxMetadataBytes = 1 << 20
	resp := g.JoinGroup(env, Client{}, strings.Repeat("x", 1<<15), joinRequest("", version(3)))
	if resp.ErrorCode != kerr.MessageTooLarge.Code {
		t.Fatalf("a member ID that its answer has no room for: %v", kerr.ErrorForCode(resp.ErrorCode))
	}
}

func TestFullGroup(t *testing.T) {
	inStates(t, func(f *fixture, state string) {
		f.env.Limits.MaxSize = 2
		if state == PreparingRebalance {
			f.env.Limits.MaxSize = 1 // m1 joined, and m2 has not
		}
		full := kerr.GroupMaxSizeReached
		if state == "unknown" || state == Empty {
			full = nil
		}
		for _, options := range [][]func(*kmsg.JoinGroupRequest){{version(3)}, {instance("new")}} {
			g := f.group()
			resp := g.JoinGroup(f.env, Client{}, "new", joinRequest("", options...))
			switch {
			case full == nil && resp != nil:
				f.Fatalf("%+v", resp)
			case full != nil:
				f.wantError(resp.ErrorCode, full)
			}
		}
		if full != nil {
			resp := f.join("p")
			f.wantError(resp.ErrorCode, full)
			if resp.MemberID != "" || f.group().Classic.pending("p") {
				f.Fatalf("refused, p is still %+v: %s", resp, f.state)
			}
		}
	})
}

func TestSyncGroupErrors(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*kmsg.SyncGroupRequest)
		// unknown, Empty, PreparingRebalance, CompletingRebalance, Stable
		want [5]*kerr.Error
	}{
		{"member", func(*kmsg.SyncGroupRequest) {},
			[5]*kerr.Error{kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.RebalanceInProgress, nil, nil}},
		{"nobody", func(req *kmsg.SyncGroupRequest) { req.MemberID = "nobody" },
			[5]*kerr.Error{kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID}},
		{"pending", func(req *kmsg.SyncGroupRequest) { req.MemberID = "p" },
			[5]*kerr.Error{kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID}},
		{"another's instance ID", func(req *kmsg.SyncGroupRequest) { req.InstanceID = kmsg.StringPtr("i1") },
			[5]*kerr.Error{kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.FencedInstanceID, kerr.FencedInstanceID, kerr.FencedInstanceID}},
		{"unknown instance ID", func(req *kmsg.SyncGroupRequest) { req.InstanceID = kmsg.StringPtr("i2") },
			[5]*kerr.Error{kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID}},
		{"earlier generation", func(req *kmsg.SyncGroupRequest) { req.Generation = 0 },
			[5]*kerr.Error{kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.IllegalGeneration, kerr.IllegalGeneration, kerr.IllegalGeneration}},
		{"later generation", func(req *kmsg.SyncGroupRequest) { req.Generation = 2 },
			[5]*kerr.Error{kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.IllegalGeneration, kerr.IllegalGeneration, kerr.IllegalGeneration}},
		{"another protocol type", func(req *kmsg.SyncGroupRequest) { req.ProtocolType = kmsg.StringPtr("connect") },
			[5]*kerr.Error{kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.InconsistentGroupProtocol, kerr.InconsistentGroupProtocol, kerr.InconsistentGroupProtocol}},
		{"another protocol", func(req *kmsg.SyncGroupRequest) { req.Protocol = kmsg.StringPtr("sticky") },
			[5]*kerr.Error{kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.InconsistentGroupProtocol, kerr.InconsistentGroupProtocol, kerr.InconsistentGroupProtocol}},
		{"no protocol type", func(req *kmsg.SyncGroupRequest) { req.ProtocolType = nil },
			[5]*kerr.Error{kerr.InconsistentGroupProtocol, kerr.InconsistentGroupProtocol, kerr.InconsistentGroupProtocol, kerr.InconsistentGroupProtocol, kerr.InconsistentGroupProtocol}},
		{"no protocol", func(req *kmsg.SyncGroupRequest) { req.Protocol = nil },
			[5]*kerr.Error{kerr.InconsistentGroupProtocol, kerr.InconsistentGroupProtocol, kerr.InconsistentGroupProtocol, kerr.InconsistentGroupProtocol, kerr.InconsistentGroupProtocol}},
		{"no protocol before KIP-559", func(req *kmsg.SyncGroupRequest) { req.Version, req.Protocol, req.ProtocolType = 4, nil, nil },
			[5]*kerr.Error{kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.RebalanceInProgress, nil, nil}},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := 0
			inStates(t, func(f *fixture, state string) {
				want, before := test.want[n], string(f.state)
				n++
				req := syncRequest("m2", 1)
				test.change(req)
				resp := f.syncWith(req)
				if state == CompletingRebalance && want == nil {
					if resp != nil {
						f.Fatalf("answered %+v before the leader synced", resp)
					}
					return
				}
				f.wantError(resp.ErrorCode, want)
				if resp.MemberAssignment == nil || want != nil && (len(resp.MemberAssignment) > 0 || string(f.state) != before) {
					f.Fatalf("answered %+v", resp)
				}
			})
		})
	}
}

func TestTooLargeAssignmentIsRefused(t *testing.T) {
	f := newFixture(t)
	f.completing(2)
	before := string(f.state)
	f.wantError(f.sync("m1", 1, "m1", "a", "m2", strings.Repeat("x", limits.MaxMetadataBytes+1)).ErrorCode, kerr.MessageTooLarge)
	if string(f.state) != before {
		t.Fatalf("a refused assignment left %s of %s", f.state, before)
	}
	f.wantAssigned(f.sync("m1", 1, "m2", strings.Repeat("x", limits.MaxMetadataBytes)), "")
}

func TestHeartbeatErrors(t *testing.T) {
	for _, test := range []struct {
		name, memberID, instanceID string
		generation                 int32
		want                       [5]*kerr.Error
	}{
		{"member", "m2", "", 1, [5]*kerr.Error{kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.RebalanceInProgress, nil, nil}},
		{"static member", "m1", "i1", 1, [5]*kerr.Error{kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.RebalanceInProgress, nil, nil}},
		{"another generation", "m2", "", 0, [5]*kerr.Error{kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.IllegalGeneration, kerr.IllegalGeneration, kerr.IllegalGeneration}},
		{"no generation", "m2", "", -1, [5]*kerr.Error{kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.IllegalGeneration, kerr.IllegalGeneration, kerr.IllegalGeneration}},
		{"another's instance ID", "m2", "i1", 1, [5]*kerr.Error{kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.FencedInstanceID, kerr.FencedInstanceID, kerr.FencedInstanceID}},
		{"unknown instance ID", "m2", "i2", 1, [5]*kerr.Error{kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID}},
		{"nobody", "", "", 1, [5]*kerr.Error{kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID}},
		{"pending", "p", "", 1, [5]*kerr.Error{kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID}},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := 0
			inStates(t, func(f *fixture, state string) {
				var instanceID []string
				if test.instanceID != "" {
					instanceID = []string{test.instanceID}
				}
				f.wantError(f.heartbeat(test.memberID, test.generation, instanceID...), test.want[n])
				n++
			})
		})
	}
}

func TestLeaveGroupErrors(t *testing.T) {
	for _, test := range []struct {
		name, memberID, instanceID string
		want                       [5]*kerr.Error
	}{
		{"member", "m2", "", [5]*kerr.Error{kerr.UnknownMemberID, kerr.UnknownMemberID, nil, nil, nil}},
		{"static member", "m1", "i1", [5]*kerr.Error{kerr.UnknownMemberID, kerr.UnknownMemberID, nil, nil, nil}},
		{"by instance ID", "", "i1", [5]*kerr.Error{kerr.UnknownMemberID, kerr.UnknownMemberID, nil, nil, nil}},
		{"by unknown instance ID", "", "i2", [5]*kerr.Error{kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID}},
		{"another's instance ID", "m2", "i1", [5]*kerr.Error{kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.FencedInstanceID, kerr.FencedInstanceID, kerr.FencedInstanceID}},
		{"pending", "p", "", [5]*kerr.Error{kerr.UnknownMemberID, nil, nil, nil, nil}},
		{"nobody", "", "", [5]*kerr.Error{kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID, kerr.UnknownMemberID}},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := 0
			inStates(t, func(f *fixture, state string) {
				var instanceID []string
				if test.instanceID != "" {
					instanceID = []string{test.instanceID}
				}
				f.wantError(f.leave(test.memberID, instanceID...), test.want[n])
				if test.want[n] == nil && test.memberID == "p" {
					f.wantPhase(state) // one that never was a member leaves no gap
				}
				n++
			})
		})
	}
}

func TestLeaveGroupForms(t *testing.T) {
	f := newFixture(t)
	f.stable(3)
	leave := func(v int16, memberID string, members ...string) *kmsg.LeaveGroupResponse {
		req := kmsg.NewPtrLeaveGroupRequest()
		req.Version, req.Group, req.MemberID = v, "g", memberID
		for _, id := range members {
			m := kmsg.NewLeaveGroupRequestMember()
			m.MemberID = id
			req.Members = append(req.Members, m)
		}
		var resp *kmsg.LeaveGroupResponse
		f.change(func(g *Group) { resp = g.LeaveGroup(f.env, req) })
		return resp
	}
	if resp := leave(2, "nobody"); resp.ErrorCode != kerr.UnknownMemberID.Code || len(resp.Members) > 0 {
		t.Fatalf("version 2: %+v", resp)
	}
	f.wantPhase(Stable)
	if resp := leave(2, "m1"); resp.ErrorCode != 0 {
		t.Fatalf("version 2: %+v", resp)
	}
	f.wantMembers("m2", "m3")
	resp := leave(3, "", "m2", "nobody", "m3", "m3")
	var codes []int16
	for _, m := range resp.Members {
		codes = append(codes, m.ErrorCode)
	}
	if unknown := kerr.UnknownMemberID.Code; resp.ErrorCode != 0 || len(codes) != 4 || codes[0] != 0 || codes[1] != unknown || codes[2] != 0 || codes[3] != unknown {
		t.Fatalf("version 3: %+v", resp)
	}
	f.wantPhase(Empty)
}

func TestJoinAnswerByVersion(t *testing.T) {
	for v := range int16(10) {
		f := newFixture(t)
		failed := f.join("nobody", version(v))
		for _, resp := range []*kmsg.JoinGroupResponse{failed, func() *kmsg.JoinGroupResponse {
			f.join("", version(3))
			f.pass(limits.InitialRebalanceDelay)
			return f.joinAnswer(f.group().Members()[0], version(v))
		}()} {
			got := kmsg.NewPtrJoinGroupResponse()
			got.Version = v
			if err := got.ReadFrom(resp.AppendTo(nil)); err != nil {
				t.Fatalf("version %d: %v", v, err)
			}
			wantType, wantProtocol := "consumer", "range"
			if resp == failed {
				wantType, wantProtocol = "", ""
			}
			text := func(s *string) string {
				if s == nil {
					return ""
				}
				return *s
			}
			if text(got.Protocol) != wantProtocol || v >= 7 && text(got.ProtocolType) != wantType ||
				(got.Protocol == nil) != (v >= 7 && resp == failed) {
				t.Errorf("version %d: %+v", v, got)
			}
		}
	}
	// Version 0 has one timeout for all.
	f := newFixture(t)
	f.join("", version(0), func(req *kmsg.JoinGroupRequest) { req.RebalanceTimeoutMillis = -1 })
	if m := f.group().Classic.Members[0]; m.RebalanceTimeoutMs != m.SessionTimeoutMs {
		t.Errorf("version 0: %+v", m)
	}
}
