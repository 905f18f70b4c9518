package machine

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestThreeMembersRebalance(t *testing.T) {
	f := newFixture(t)
	a, resp := f.newMember()
	f.wantParked(resp)
	b, resp := f.newMember()
	f.wantParked(resp)
	f.wantPhase(PreparingRebalance)
	f.pass(limits.InitialRebalanceDelay - time.Millisecond)
	f.wantPhase(PreparingRebalance)
	f.pass(limits.InitialRebalanceDelay + time.Millisecond)
	f.wantJoined(f.joinAnswer(a), 1, a)
	f.wantJoined(f.joinAnswer(b), 1, a)

	if resp := f.sync(b, 1); resp != nil {
		t.Fatalf("a follower is assigned %+v before the leader synced", resp)
	}
	f.wantPhase(CompletingRebalance)
	f.wantAssigned(f.sync(a, 1, a, "0,1", b, "2,3"), "0,1")
	f.wantPhase(Stable)
	f.wantAssigned(f.group().SyncAnswer(syncRequest(b, 1)), "2,3")
	f.wantError(f.heartbeat(a, 1), nil)

	// A third one comes: the others learn it from their heartbeats and join again.
	c, resp := f.newMember()
	f.wantParked(resp)
	f.wantPhase(PreparingRebalance)
	f.wantError(f.heartbeat(b, 1), kerr.RebalanceInProgress)
	f.wantParked(f.join(b))
	f.wantJoined(f.join(a), 2, a)
	f.wantJoined(f.joinAnswer(b), 2, a)
	f.wantJoined(f.joinAnswer(c), 2, a)
	f.wantError(f.heartbeat(b, 1), kerr.IllegalGeneration)
	// The leader forgets one, which gets an assignment all the same, an empty one.
	f.wantAssigned(f.sync(a, 2, a, "0", b, "1"), "0")
	f.wantAssigned(f.sync(b, 2), "1")
	f.wantAssigned(f.sync(c, 2), "")

	f.wantError(f.leave(a), nil)
	f.wantError(f.heartbeat(b, 2), kerr.RebalanceInProgress)
	f.wantError(f.heartbeat(a, 2), kerr.UnknownMemberID)
	f.wantParked(f.join(b))
	f.wantJoined(f.join(c), 3, b)
	f.wantError(f.leave(b), nil)
	f.wantError(f.leave(c), nil)
	f.wantPhase(Empty)
	if c := f.group().Classic; c.Generation != 4 || c.ProtocolType != "consumer" || !f.group().Empty() {
		t.Fatalf("the empty group is %s", f.state)
	}
}

func TestInitialPhaseIsExtendedWhileMembersCome(t *testing.T) {
	f := newFixture(t)
	short := func(req *kmsg.JoinGroupRequest) { req.RebalanceTimeoutMillis = 7000 }
	f.wantParked(f.join("", version(3), short))
	for range 3 {
		f.pass(2 * time.Second) // each within the delay that the one before began
		f.wantPhase(PreparingRebalance)
		f.wantParked(f.join("", version(3), short))
	}
	// Now 6 s of the 7 that the rebalance timeout allows in all have passed.
	f.pass(time.Second - time.Millisecond)
	f.wantPhase(PreparingRebalance)
	f.pass(time.Millisecond)
	f.wantPhase(CompletingRebalance)
	f.wantMembers("m1", "m2", "m3", "m4")
}

func TestInitialPhaseIsNotExtendedForTheFirstMember(t *testing.T) {
	f := newFixture(t)
	f.wantParked(f.join("", version(3)))
	f.pass(limits.InitialRebalanceDelay)
	f.wantJoined(f.joinAnswer("m1"), 1, "m1")
}

func TestWithoutInitialDelayTheFirstMemberIsThereAtOnce(t *testing.T) {
	f := newFixture(t)
	f.env.Limits.InitialRebalanceDelay = 0
	f.wantJoined(f.join("", version(3)), 1, "m1")
	f.wantParked(f.join("", version(3)))
	f.wantJoined(f.join("m1"), 2, "m1")
}

func TestMembersThatDoNotJoinInTimeGo(t *testing.T) {
	f := newFixture(t)
	f.stable(3)
	f.wantParked(f.join("m2", protocol("range", "other")))
	for range int(rebalanceTimeout / time.Second) {
		f.wantPhase(PreparingRebalance)
		f.keepAlive(time.Second)
	}
	f.wantPhase(CompletingRebalance)
	f.wantMembers("m2")
	f.wantJoined(f.joinAnswer("m2"), 2, "m2")
	f.wantError(f.heartbeat("m1", 1), kerr.UnknownMemberID)
}

func TestMembersThatDoNotSyncInTimeGo(t *testing.T) {
	for _, leaderSyncs := range []bool{true, false} {
		f := newFixture(t)
		f.completing(3)
		if leaderSyncs {
			f.wantAssigned(f.sync("m1", 1, "m1", "a"), "a")
			f.wantAssigned(f.sync("m2", 1), "")
		} else if resp := f.sync("m2", 1); resp != nil {
			t.Fatalf("synced before the leader: %+v", resp)
		}
		before := f.group().Info().Phase
		began := f.group().Classic.PhaseEnd.Add(-rebalanceTimeout)
		for f.env.Now.Before(began.Add(rebalanceTimeout - time.Second)) {
			f.keepAlive(time.Second)
			f.wantPhase(before)
		}
		f.keepAlive(time.Second)
		f.wantPhase(PreparingRebalance)
		if leaderSyncs {
			f.wantMembers("m1", "m2")
		} else {
			f.wantMembers("m2")
			f.wantError(f.group().SyncAnswer(syncRequest("m2", 1)).ErrorCode, kerr.RebalanceInProgress)
			f.wantJoined(f.join("m2"), 2, "m2")
		}
	}
}

func TestEachGenerationIsSyncedAnew(t *testing.T) {
	f := newFixture(t)
	f.stable(2)
	for range 2 * int(rebalanceTimeout/time.Second) {
		f.keepAlive(time.Second) // nothing is left to wait for
		f.wantPhase(Stable)
	}
	f.wantParked(f.join("m1"))
	f.wantJoined(f.join("m2"), 2, "m1")
	f.wantAssigned(f.sync("m1", 2, "m1", "a"), "a")
	for range int(rebalanceTimeout / time.Second) {
		f.wantPhase(Stable)
		f.keepAlive(time.Second)
	}
	f.wantMembers("m1")
}

// keepAlive passes time while all members are heard of.
func (f *fixture) keepAlive(d time.Duration) {
	f.Helper()
	f.env.Now = f.env.Now.Add(d)
	f.change(func(g *Group) {
		f.beating(g)
		g.Tick(f.env)
	})
}

func TestLeaderCrash(t *testing.T) {
	f := newFixture(t)
	f.stable(3)
	// m1 falls silent, the others are heard of.
	for range int(sessionLasts/time.Second) + 1 {
		f.env.Now = f.env.Now.Add(time.Second)
		f.change(func(g *Group) {
			g.Heard("m2", f.env.Now)
			g.Heard("m3", f.env.Now)
			g.Tick(f.env)
		})
	}
	f.wantPhase(PreparingRebalance)
	f.wantMembers("m2", "m3")
	f.wantParked(f.join("m3"))
	f.wantJoined(f.join("m2"), 2, "m2")
	f.wantJoined(f.joinAnswer("m3"), 2, "m2")
}

func TestLeaderThatDoesNotJoinIsReplacedByOneThatDid(t *testing.T) {
	f := newFixture(t)
	f.wantParked(f.join("", instance("i1")))
	f.wantParked(f.join("", instance("i2")))
	f.pass(2 * limits.InitialRebalanceDelay)
	f.wantAssigned(f.sync("m1", 1), "")
	f.wantAssigned(f.sync("m2", 1), "")
	f.wantParked(f.join("m2", instance("i2"), protocol("range", "other")))
	for range int(rebalanceTimeout / time.Second) {
		f.keepAlive(time.Second)
	}
	// The static member keeps its place, which is not the leader's.
	f.wantMembers("m1", "m2")
	resp := f.joinAnswer("m2", instance("i2"))
	f.wantJoined(resp, 2, "m2")
	if len(resp.Members) != 2 || *resp.Members[0].InstanceID != "i1" {
		t.Fatalf("the leader was told %+v", resp.Members)
	}
}

func TestJoinPhaseWaitsForStaticMembersIfNobodyElseIsThere(t *testing.T) {
	f := newFixture(t)
	f.wantParked(f.join("", instance("i1")))
	f.wantParked(f.join("", version(3)))
	f.pass(2 * limits.InitialRebalanceDelay)
	f.wantAssigned(f.sync("m1", 1), "")
	f.wantAssigned(f.sync("m2", 1), "")
	f.wantParked(f.join("", version(3)))
	f.wantError(f.leave("m3"), nil)
	for range 2 * int(rebalanceTimeout/time.Second) {
		f.keepAlive(time.Second)
	}
	f.wantPhase(PreparingRebalance)
	f.wantMembers("m1")
	f.wantJoined(f.join("m1", instance("i1")), 2, "m1")
}

func TestLateMember(t *testing.T) {
	f := newFixture(t)
	f.completing(2)
	f.wantParked(f.join("", version(3)))
	f.wantPhase(PreparingRebalance)
	// Those of generation 1 find out when they sync, whether before or after the next one began.
	f.wantError(f.sync("m1", 1, "m1", "a").ErrorCode, kerr.RebalanceInProgress)
	f.wantError(f.group().SyncAnswer(syncRequest("m2", 1)).ErrorCode, kerr.RebalanceInProgress)
	f.wantParked(f.join("m1"))
	f.wantJoined(f.join("m2"), 2, "m1")
	f.wantError(f.group().SyncAnswer(syncRequest("m2", 1)).ErrorCode, kerr.RebalanceInProgress)
	f.wantError(f.sync("m2", 1).ErrorCode, kerr.IllegalGeneration)
}

func TestStaticMemberIsReplacedWithoutRebalance(t *testing.T) {
	static := func(t *testing.T, v int16) *fixture {
		f := newFixture(t)
		f.wantParked(f.join("", instance("i1"), version(v)))
		f.wantParked(f.join("", instance("i2"), version(v)))
		f.pass(2 * limits.InitialRebalanceDelay)
		f.wantAssigned(f.sync("m1", 1, "m1", "a", "m2", "b"), "a")
		f.wantAssigned(f.sync("m2", 1), "b")
		return f
	}
	for _, v := range []int16{5, 9} {
		f := static(t, v)
		resp := f.join("", instance("i2"), version(v))
		f.wantJoined(resp, 1, "m1")
		if resp.MemberID != "m3" || resp.SkipAssignment {
			t.Fatalf("version %d: a follower is answered %+v", v, resp)
		}
		f.wantPhase(Stable)
		f.wantAssigned(f.sync("m3", 1), "b")
		f.wantError(f.heartbeat("m2", 1, "i2"), kerr.FencedInstanceID)
		f.wantError(f.heartbeat("m2", 1), kerr.UnknownMemberID)
		f.wantError(f.join("m2", instance("i2")).ErrorCode, kerr.FencedInstanceID)
		f.wantError(f.leave("m2", "i2"), kerr.FencedInstanceID)
		f.wantError(f.heartbeat("m3", 1, "i2"), nil)

		// The leader too. From version 9 on it is told that it is, and to leave the assignment alone.
		resp = f.join("", instance("i1"), version(v))
		f.wantError(resp.ErrorCode, nil)
		switch {
		case resp.MemberID != "m5" || resp.Generation != 1:
			t.Fatalf("version %d: the leader is answered %+v", v, resp)
		case v < 9 && (resp.LeaderID == "m5" || len(resp.Members) > 0):
			t.Fatalf("version %d: the leader knows itself as leader: %+v", v, resp)
		case v >= 9 && (resp.LeaderID != "m5" || len(resp.Members) != 2 || !resp.SkipAssignment):
			t.Fatalf("version %d: the leader isn't told so: %+v", v, resp)
		}
		f.wantAssigned(f.sync("m5", 1), "a")
		f.wantMembers("m5", "m3")
		f.wantPhase(Stable)
	}

	t.Run("but not with another protocol", func(t *testing.T) {
		f := newFixture(t)
		both := []func(*kmsg.JoinGroupRequest){protocol("range", "t"), alsoProtocol("roundrobin", "t")}
		f.wantParked(f.join("", append(both, instance("i1"))...))
		f.pass(limits.InitialRebalanceDelay)
		f.wantAssigned(f.sync("m1", 1, "m1", "a"), "a")
		f.wantJoined(f.join("", instance("i1"), protocol("roundrobin", "t")), 2, "m2")
	})
	t.Run("but not with other topics", func(t *testing.T) {
		f := static(t, 9)
		f.wantParked(f.join("", instance("i2"), protocol("range", "t", "u")))
		f.wantPhase(PreparingRebalance)
	})
	t.Run("but not while the leader assigns", func(t *testing.T) {
		f := newFixture(t)
		f.wantParked(f.join("", instance("i1")))
		f.wantParked(f.join("", instance("i2")))
		f.pass(2 * limits.InitialRebalanceDelay)
		f.wantParked(f.join("", instance("i2")))
		f.wantPhase(PreparingRebalance)
		f.wantError(f.group().SyncAnswer(func() *kmsg.SyncGroupRequest {
			req := syncRequest("m2", 1)
			req.InstanceID = kmsg.StringPtr("i2")
			return req
		}()).ErrorCode, kerr.FencedInstanceID)
		f.wantJoined(f.join("m1", instance("i1")), 2, "m1")
		f.wantJoined(f.joinAnswer("m3", instance("i2")), 2, "m1")
	})
	t.Run("while members join", func(t *testing.T) {
		f := static(t, 9)
		f.wantParked(f.join("m2", instance("i2"), protocol("range", "u")))
		f.wantParked(f.join("", instance("i2")))
		f.wantError(f.joinAnswer("m2", instance("i2")).ErrorCode, kerr.FencedInstanceID)
		f.wantJoined(f.join("m1", instance("i1")), 2, "m1")
		f.wantJoined(f.joinAnswer("m4", instance("i2")), 2, "m1")
	})
}

func TestStaticMemberThatComesBackBeginsANewSession(t *testing.T) {
	f := newFixture(t)
	f.wantParked(f.join("", instance("i1")))
	f.wantParked(f.join("", instance("i2")))
	f.pass(2 * limits.InitialRebalanceDelay)
	f.wantAssigned(f.sync("m1", 1), "")
	f.wantAssigned(f.sync("m2", 1), "")
	f.wantParked(f.join("m2", instance("i2"), protocol("range", "u")))
	// Late in its session, while its join waits, it restarts and asks for the same.
	f.env.Now = f.env.Now.Add(sessionLasts - time.Second)
	f.wantParked(f.join("", instance("i2"), protocol("range", "u")))
	f.env.Now = f.env.Now.Add(2 * time.Second)
	f.change(func(g *Group) { g.Tick(f.env) })
	f.wantMembers("m4")
}

func TestStaticMembersRestartOneAfterTheOther(t *testing.T) {
	f := newFixture(t)
	f.env.Limits.MaxSize = 3 // a full group takes them back
	instances := []string{"i1", "i2", "i3"}
	for _, i := range instances {
		f.wantParked(f.join("", instance(i)))
	}
	f.pass(2 * limits.InitialRebalanceDelay)
	ids := f.group().Members()
	f.wantAssigned(f.sync("m1", 1, "m1", "a", "m2", "b", "m3", "c"), "a")
	f.sync("m2", 1)
	f.sync("m3", 1)
	for range 3 {
		for n, i := range instances {
			f.keepAlive(sessionTimeout - time.Second) // it is away for almost a session
			resp := f.join("", instance(i))
			f.wantError(resp.ErrorCode, nil)
			if resp.Generation != 1 || slices.Contains(ids, resp.MemberID) {
				t.Fatalf("%s came back as %+v", i, resp)
			}
			ids[n] = resp.MemberID
			f.wantAssigned(f.sync(resp.MemberID, 1), string(rune('a'+n)))
		}
	}
	f.wantMembers(ids...)
	// An admin removes one for good.
	f.wantError(f.leave("", "i2"), nil)
	f.wantPhase(PreparingRebalance)
	f.wantMembers(ids[0], ids[2])
	f.wantError(f.leave("", "i2"), kerr.UnknownMemberID)
}

func TestDynamicMembersRestartOneAfterTheOther(t *testing.T) {
	f := newFixture(t)
	f.stable(3)
	for generation := int32(2); generation < 20; generation += 2 {
		members := f.group().Members()
		f.wantError(f.leave(members[0]), nil)
		f.wantParked(f.join(members[1]))
		f.wantJoined(f.join(members[2]), generation, members[1])
		f.wantAssigned(f.sync(members[1], generation, members[1], "x", members[2], "y"), "x")
		f.wantAssigned(f.sync(members[2], generation), "y")
		id, resp := f.newMember()
		f.wantParked(resp)
		f.wantParked(f.join(members[1]))
		f.wantJoined(f.join(members[2]), generation+1, members[1])
		f.wantJoined(f.joinAnswer(id), generation+1, members[1])
		for _, m := range append(members[1:], id) {
			f.wantAssigned(f.sync(m, generation+1, id, "z"), map[bool]string{true: "z"}[m == id])
		}
	}
}

func TestPendingMembersHoldUpTheJoinPhase(t *testing.T) {
	f := newFixture(t)
	f.stable(2)
	first, second := f.join("").MemberID, f.join("").MemberID
	f.wantPhase(Stable)
	f.wantParked(f.join("m2", protocol("range", "u")))
	f.wantParked(f.join("m1"))
	f.wantPhase(PreparingRebalance)
	f.wantParked(f.join(first))
	f.wantPhase(PreparingRebalance)

	t.Run("until they join", func(t *testing.T) {
		f := *f
		f.TB = t
		f.wantJoined(f.join(second), 2, "m1")
	})
	t.Run("until they leave", func(t *testing.T) {
		f := *f
		f.TB = t
		f.wantError(f.leave(second), nil)
		f.wantJoined(f.joinAnswer(first), 2, "m1")
	})
	t.Run("until they should have been here", func(t *testing.T) {
		f := *f
		f.TB = t
		for range int(pendingPatience/time.Second) - 1 {
			f.keepAlive(time.Second)
			f.wantPhase(PreparingRebalance)
		}
		f.keepAlive(time.Second)
		f.wantJoined(f.joinAnswer(first), 2, "m1")
		// It comes late, and the others join once more.
		f.wantParked(f.join(second))
		f.wantPhase(PreparingRebalance)
	})
}

func TestPendingMembersAreForgotten(t *testing.T) {
	f := newFixture(t)
	f.stable(1)
	soon, late := f.join("").MemberID, f.join("").MemberID
	f.pass(sessionTimeout - time.Second)
	f.wantParked(f.join(soon))
	f.pass(time.Second)
	f.wantError(f.join(late).ErrorCode, kerr.UnknownMemberID)
}

func TestAgentsDieWhileJoinsAreParked(t *testing.T) {
	f := newFixture(t)
	f.stable(3)
	f.wantParked(f.join("m2", protocol("range", "u")))
	f.wantParked(f.join("m1"))
	// Their agent dies, and the clients send the same to another one.
	before := string(f.state)
	f.wantParked(f.join("m2", protocol("range", "u")))
	f.wantParked(f.join("m1"))
	if string(f.state) != before {
		t.Fatalf("joining again changed\n%s to\n%s", before, f.state)
	}
	f.wantJoined(f.join("m3"), 2, "m1")
	// It dies again, with the answers: they are the same ones, not the start of another rebalance.
	before = string(f.state)
	f.wantJoined(f.join("m1"), 2, "m1")
	f.wantJoined(f.join("m2", protocol("range", "u")), 2, "m1")
	if string(f.state) != before {
		t.Fatalf("joining again changed\n%s to\n%s", before, f.state)
	}
	f.wantAssigned(f.sync("m1", 2, "m1", "a", "m2", "b"), "a")
	f.wantJoined(f.join("m2", protocol("range", "u")), 2, "m1")
	f.wantAssigned(f.sync("m2", 2), "b")
	f.wantAssigned(f.sync("m1", 2), "a")
	f.wantPhase(Stable)

	// The leader's topics changed.
	f.wantParked(f.join("m1"))
	f.wantPhase(PreparingRebalance)
}

func TestAnswersFollowFromMuchLaterStates(t *testing.T) {
	f := newFixture(t)
	f.wantParked(f.join("", version(3)))
	f.wantParked(f.join("", version(3)))
	f.pass(2 * limits.InitialRebalanceDelay)
	f.wantAssigned(f.sync("m1", 1, "m1", "a", "m2", "b"), "a")
	f.wantJoined(f.joinAnswer("m2"), 1, "m1") // Stable by now
	resp := f.joinAnswer("m1")
	f.wantJoined(resp, 1, "m1")
	if !resp.SkipAssignment {
		t.Fatal("the leader is to assign a generation that is assigned")
	}
	f.wantParked(f.join("", version(3)))
	// The next rebalance began. They join generation 1 and learn of it by their syncs.
	f.wantJoined(f.joinAnswer("m2"), 1, "m1")
	f.wantJoined(f.joinAnswer("m1"), 1, "m1")
	f.wantError(f.group().SyncAnswer(syncRequest("m2", 1)).ErrorCode, kerr.RebalanceInProgress)
	for range int(rebalanceTimeout / time.Second) {
		f.keepAlive(time.Second)
	}
	f.wantJoined(f.joinAnswer("m3"), 2, "m3")
	resp = f.joinAnswer("m2")
	f.wantError(resp.ErrorCode, kerr.UnknownMemberID)
	if resp.MemberID != "" {
		t.Fatalf("a member that is gone keeps the ID %q", resp.MemberID)
	}
	f.wantError(f.group().SyncAnswer(syncRequest("m2", 1)).ErrorCode, kerr.UnknownMemberID)
}

func TestNobodyIsSilentFromBeforeWeListened(t *testing.T) {
	f := newFixture(t)
	f.stable(2)
	f.wantParked(f.join("m2", protocol("range", "u")))
	// All agents are down for an hour.
	f.env.Now = f.env.Now.Add(time.Hour)
	f.env.Since = f.env.Now
	f.pass(sessionLasts - time.Millisecond)
	f.wantMembers("m1", "m2")
	f.wantPhase(PreparingRebalance)
	f.wantParked(f.join("m2", protocol("range", "u")))
	f.wantJoined(f.join("m1"), 2, "m1")
}

func TestPhasesLastFromWhenWeListened(t *testing.T) {
	f := newFixture(t)
	f.stable(2)
	f.wantParked(f.join("m2", protocol("range", "u")))
	f.env.Now = f.env.Now.Add(time.Hour)
	f.env.Since = f.env.Now
	for range int(rebalanceTimeout/time.Second) - 1 {
		f.keepAlive(time.Second)
		f.wantMembers("m1", "m2")
	}
	f.keepAlive(time.Second)
	f.wantMembers("m2")
}

func TestSessionsLastAsLongAsSomeAgentHears(t *testing.T) {
	f := newFixture(t)
	f.stable(1)
	for range 100 {
		f.env.Now = f.env.Now.Add(sessionTimeout)
		f.change(func(g *Group) {
			g.Heard("m1", f.env.Now.Add(-time.Second))
			g.Heard("m1", f.env.Now.Add(-time.Minute)) // another agent knows less
			g.Heard("nobody", f.env.Now)
			g.Tick(f.env)
			if got, want := g.Due(f.env), f.env.Now.Add(sessionLasts-time.Second); !got.Equal(want) {
				t.Fatalf("due at %v, want %v", got, want)
			}
		})
	}
	f.wantMembers("m1")
	f.env.Now = f.env.Now.Add(sessionLasts)
	f.change(func(g *Group) {
		g.Heard("m1", f.env.Now.Add(-sessionLasts))
		g.Tick(f.env)
	})
	f.wantMembers()
	f.wantPhase(Empty)
}

func TestGroupShrinksToItsMaxSize(t *testing.T) {
	f := newFixture(t)
	f.stable(5)
	f.env.Limits.MaxSize = 3
	f.wantJoined(f.join("m5"), 1, "m1") // members are welcome until the next rebalance
	f.wantParked(f.join("m1"))
	f.wantParked(f.join("m2"))
	f.wantParked(f.join("m3"))
	f.wantParked(f.join("m3"))
	for _, late := range []string{"m4", "m5"} {
		f.wantError(f.group().JoinGroup(f.env, Client{}, "", joinRequest(late)).ErrorCode, kerr.GroupMaxSizeReached)
	}
	f.change(func(g *Group) { g.JoinGroup(f.env, Client{}, "", joinRequest("m4")) })
	f.wantPhase(PreparingRebalance)
	f.change(func(g *Group) { g.JoinGroup(f.env, Client{}, "", joinRequest("m5")) })
	f.wantPhase(CompletingRebalance)
	f.wantMembers("m1", "m2", "m3")
}

func TestProtocolIsChosenByVotes(t *testing.T) {
	f := newFixture(t)
	vote := func(names ...string) {
		f.Helper()
		f.wantParked(f.join("", version(3), func(req *kmsg.JoinGroupRequest) {
			req.Protocols = nil
			for _, name := range names {
				alsoProtocol(name, name)(req)
			}
		}))
	}
	vote("own", "sticky", "range")
	vote("range", "sticky", "other")
	vote("other", "range", "sticky")
	f.pass(2 * limits.InitialRebalanceDelay)
	resp := f.joinAnswer("m1")
	f.wantJoined(resp, 1, "m1")
	if *resp.Protocol != "range" || !slices.Equal(resp.Members[2].ProtocolMetadata, subscription("range")) {
		t.Fatalf("chosen %q: %+v", *resp.Protocol, resp)
	}
}

func TestPendingMembersAreBounded(t *testing.T) {
	f := newFixture(t)
	g := f.group()
	for i := range maxPending + 10 {
		g.JoinGroup(f.env, Client{}, string(rune('a'+i%26))+time.Duration(i).String(), joinRequest(""))
	}
	if n := len(g.Classic.Pending); n != maxPending {
		t.Fatalf("%d pending members, want %d", n, maxPending)
	}
}
