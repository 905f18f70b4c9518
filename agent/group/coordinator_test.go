package group

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/group/machine"
	"github.com/wadi-log/wadi/metadata"
)

// TestMembersOfOneGroupSpeakToDifferentAgents: two members join and sync through
// two agents, neither of which sees the other's requests.
func TestMembersOfOneGroupSpeakToDifferentAgents(t *testing.T) {
	f := newFleet(t, nil)
	a, b := f.agent(), f.agent()
	first, second := f.stable(a, "g"), f.client("g")
	second.ask(b)
	joining := second.joinStart(b, nil)
	f.eventually("the first hears of the rebalance", func() bool { return first.heartbeat(a) == kerr.RebalanceInProgress.Code })
	if resp := first.joined(first.joinStart(a, nil)()); resp.ErrorCode != 0 || resp.Generation != 2 || len(resp.Members) != 2 || resp.LeaderID != first.id {
		t.Fatalf("the leader's join was answered %+v", resp)
	}
	if resp := second.joined(joining()); resp.ErrorCode != 0 || resp.Generation != 2 || len(resp.Members) != 0 || resp.LeaderID != first.id {
		t.Fatalf("the join parked at the other agent was answered %+v", resp)
	}
	syncing := second.syncStart(b)
	if resp := first.syncStart(a, first.id, second.id)(); resp.ErrorCode != 0 || string(resp.MemberAssignment) != "part 0" {
		t.Fatalf("the leader's sync was answered %+v", resp)
	}
	if resp := syncing(); resp.ErrorCode != 0 || string(resp.MemberAssignment) != "part 1" {
		t.Fatalf("the sync parked at the other agent was answered %+v", resp)
	}
	for _, c := range []*client{first, second} {
		for _, n := range []*node{a, b} {
			if code := c.heartbeat(n); code != 0 {
				t.Errorf("a heartbeat through either agent was answered %v", kerr.ErrorForCode(code))
			}
		}
	}
}

// TestJoinIsFoundAgainWhenItsAgentDies: the agent that holds a parked join dies;
// the member asks another one, and the rebalance goes on as if nothing had happened.
func TestJoinIsFoundAgainWhenItsAgentDies(t *testing.T) {
	f := newFleet(t, nil)
	a, b := f.agent(), f.agent()
	first, second := f.stable(a, "g"), f.client("g")
	second.ask(b)
	lost := second.joinStart(b, nil)
	f.eventually("the rebalance begins", func() bool { return first.heartbeat(a) == kerr.RebalanceInProgress.Code })
	b.kill()
	go lost() // its client never hears of it
	again := second.joinStart(a, nil)
	if resp := first.joined(first.joinStart(a, nil)()); resp.Generation != 2 || len(resp.Members) != 2 {
		t.Fatalf("the leader's join was answered %+v", resp)
	}
	if resp := second.joined(again()); resp.ErrorCode != 0 || resp.Generation != 2 {
		t.Fatalf("the second join was answered %+v", resp)
	}
	// The answer is lost too: asking again starts no third generation.
	if resp := second.joined(second.joinStart(a, nil)()); resp.ErrorCode != 0 || resp.Generation != 2 {
		t.Fatalf("asked again after the rebalance: %+v", resp)
	}
}

// TestHeartbeatsWriteNothing: a heartbeat that changes nothing costs no call of
// the store of its own.
func TestHeartbeatsWriteNothing(t *testing.T) {
	f := newFleet(t, nil)
	a := f.agent()
	c := f.stable(a, "g")
	stores, loads := a.spy.count("store"), a.spy.count("load")
	const beats = 500
	for range beats {
		if code := c.heartbeat(a); code != 0 {
			t.Fatal(kerr.ErrorForCode(code))
		}
	}
	if got := a.spy.count("store") - stores; got != 0 {
		t.Errorf("%d heartbeats stored the group %d times", beats, got)
	}
	if got := a.spy.count("load") - loads; got > beats/10 {
		t.Errorf("%d heartbeats loaded the group %d times", beats, got)
	}
}

// TestCopyIsAsOldAsItsStoreBegan: how long the reply took, another agent had to store the next state.
func TestCopyIsAsOldAsItsStoreBegan(t *testing.T) {
	f := newFleet(t, nil)
	a := f.agent()
	a.stop() // nobody looks for a newer state
	<-a.done
	var stored time.Time
	a.spy.disturb(nil, func(kind string) error {
		if kind == "store" {
			stored = time.Now()
		}
		return nil
	})
	f.stable(a, "g")
	l := a.enter("g")
	defer l.mu.Unlock()
	if l.checked.After(stored) {
		t.Errorf("the copy counts as the newest %v after it was stored", l.checked.Sub(stored))
	}
}

// TestErrorsAreNeverToldFromAnOldCopy: the agent's copy of the group is a
// generation behind; the heartbeat of a member that knows better is well.
func TestErrorsAreNeverToldFromAnOldCopy(t *testing.T) {
	f := newFleet(t, nil)
	a, b := f.agent(), f.agent()
	c := f.stable(a, "g")
	if code := c.heartbeat(b); code != 0 { // b has a copy now
		t.Fatal(kerr.ErrorForCode(code))
	}
	c.joined(c.joinStart(a, nil)()) // the leader joins again: generation 2
	if c.generation != 2 {
		t.Fatalf("generation %d", c.generation)
	}
	c.syncStart(a, c.id)()
	if code := c.heartbeat(b); code != 0 {
		t.Errorf("the heartbeat was answered %v", kerr.ErrorForCode(code))
	}
}

func TestStoreFaults(t *testing.T) {
	unknown := errors.Join(metadata.ErrOutcomeUnknown, errors.New("the reply was lost"))
	away := errors.Join(metadata.ErrUnavailable, errors.New("pulled out"))
	once := func(kind string, err error) func(string) error {
		left := 1
		return func(k string) error {
			if k == kind && left > 0 {
				left--
				return err
			}
			return nil
		}
	}
	for _, test := range []struct {
		name          string
		before, after func(string) error
		want          int16 // of the join
	}{
		{"load fails", once("load", away), nil, kerr.CoordinatorLoadInProgress.Code},
		{"store fails", once("store", away), nil, kerr.CoordinatorLoadInProgress.Code},
		{"store's outcome unknown, nothing happened", once("store", unknown), nil, 0},
		{"store's outcome unknown, it happened", nil, once("store", unknown), 0},
		{"another agent stored first", once("store", metadata.ErrGroupVersion), nil, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFleet(t, nil)
			a := f.agent()
			c := f.client("g")
			c.ask(a)
			a.spy.disturb(test.before, test.after)
			resp := c.joined(c.joinStart(a, nil)())
			if resp.ErrorCode != test.want {
				t.Fatalf("the join was answered %v, want %v", kerr.ErrorForCode(resp.ErrorCode), kerr.ErrorForCode(test.want))
			}
			if test.want != 0 { // and again, as clients do
				resp = c.joined(c.joinStart(a, nil)())
			}
			if resp.ErrorCode != 0 || resp.Generation != 1 || len(resp.Members) != 1 {
				t.Errorf("in the end the join was answered %+v", resp)
			}
		})
	}
}

// TestClientThatLeavesStopsWaiting: nobody counts as alive because of a request
// whose client is gone.
func TestClientThatLeavesStopsWaiting(t *testing.T) {
	f := newFleet(t, nil)
	a := f.agent()
	f.stable(a, "g")
	second := f.client("g")
	second.ask(a)
	gone := make(chan struct{})
	joining := second.joinStart(a, gone)
	f.eventually("the join waits", func() bool { return a.parked() == 1 })
	if second.released.Load() == 0 {
		t.Error("a join that waits keeps its bytes from other requests")
	}
	close(gone)
	if resp := joining(); resp != nil {
		t.Errorf("who left was answered %+v", resp)
	}
	if n := a.parked(); n != 0 {
		t.Errorf("%d requests wait", n)
	}
}

func TestSilentMemberIsRemoved(t *testing.T) {
	f := newFleet(t, nil)
	a, b := f.agent(), f.agent()
	c := f.client("g")
	c.ask(a) // an ID lasts a session, too: a busy machine takes its time
	c.timeout = 300 * time.Millisecond
	if resp := c.join(a); resp.ErrorCode != 0 {
		t.Fatalf("%+v", resp)
	}
	c.syncStart(a, c.id)()
	f.eventually("the silent member is gone", func() bool { return describe(b, "g").State == "Empty" })
	// Whichever agent removed it, the other one's copy of the group may be a moment old.
	f.eventually("it is told so", func() bool { return c.heartbeat(a) == kerr.UnknownMemberID.Code })
}

// TestMemberIsHeardThroughAnyAgent: the member's heartbeats reach one agent, while
// another one, which hears nothing of it, alone looks for silent members.
func TestMemberIsHeardThroughAnyAgent(t *testing.T) {
	f := newFleet(t, nil)
	a := f.agent()
	f.agent()
	var c *client
	join := func() time.Time {
		c = f.client("g")
		c.timeout = 2 * time.Second
		if resp := c.join(a); resp.ErrorCode != 0 {
			t.Fatalf("%+v", resp)
		}
		c.syncStart(a, c.id)()
		return time.Now()
	}
	start := join()
	a.spy.disturb(func(kind string) error {
		if kind == "claim" {
			return metadata.ErrUnavailable
		}
		return nil
	}, nil)
	heard := start
	f.eventually("it lived through more than two sessions", func() bool {
		asked := time.Now()
		code := c.heartbeat(a)
		late := time.Since(heard) > time.Second
		heard = asked
		switch {
		case late && code != 0: // a busy machine kept it from beating
			start = join()
			heard = start
		case code != 0:
			t.Fatalf("after %v its heartbeat was answered %v", time.Since(start), kerr.ErrorForCode(code))
		}
		return time.Since(start) > 5*time.Second
	})
}

// TestOutageEndsNoSession: while the store is away no heartbeat can be noted, so
// none counts as missed.
func TestOutageEndsNoSession(t *testing.T) {
	f := newFleet(t, nil)
	a := f.agent()
	c := f.client("g")
	c.timeout = 5 * time.Second
	if resp := c.join(a); resp.ErrorCode != 0 {
		t.Fatalf("%+v", resp)
	}
	c.syncStart(a, c.id)()
	away := errors.Join(metadata.ErrUnavailable, errors.New("pulled out"))
	a.spy.disturb(func(string) error { return away }, nil)
	start := time.Now()
	f.eventually("the outage is over", func() bool { return time.Since(start) > 7*time.Second })
	if code := c.heartbeat(a); code != kerr.CoordinatorNotAvailable.Code {
		t.Errorf("during the outage a heartbeat is answered %v", kerr.ErrorForCode(code))
	}
	claims := a.spy.count("claim")
	a.spy.disturb(nil, nil)
	f.eventually("the agent has looked for silent members", func() bool { return a.spy.count("claim") > claims })
	if code := c.heartbeat(a); code != 0 {
		t.Errorf("after it a heartbeat is answered %v", kerr.ErrorForCode(code))
	}
}

func TestDrainSendsWaitingMembersElsewhere(t *testing.T) {
	f := newFleet(t, nil)
	a, b := f.agent(), f.agent()
	first, second := f.stable(a, "g"), f.client("g")
	second.ask(b)
	joining := second.joinStart(b, nil)
	f.eventually("the join waits", func() bool { return b.parked() == 1 })
	b.Drain()
	if resp := joining(); resp.ErrorCode != kerr.NotCoordinator.Code {
		t.Errorf("the parked join was answered %v", kerr.ErrorForCode(resp.ErrorCode))
	}
	if resp := second.joinStart(b, nil)(); resp.ErrorCode != kerr.NotCoordinator.Code {
		t.Errorf("a join after that was answered %v", kerr.ErrorForCode(resp.ErrorCode))
	}
	if code := first.heartbeat(b); code != kerr.RebalanceInProgress.Code {
		t.Errorf("a heartbeat after that was answered %v", kerr.ErrorForCode(code))
	}
	again := second.joinStart(a, nil)
	first.joined(first.joinStart(a, nil)())
	if resp := second.joined(again()); resp.ErrorCode != 0 || resp.Generation != 2 {
		t.Errorf("at the other agent the join was answered %+v", resp)
	}
}

// TestDrainWhileWaitingMembersAreLookedAt: the worker has just taken the parked
// calls out, to see whether a new state answers them.
func TestDrainWhileWaitingMembersAreLookedAt(t *testing.T) {
	f := newFleet(t, nil)
	a := f.agent()
	looking, drained := make(chan struct{}), make(chan struct{})
	var looks atomic.Int32
	k := &call{
		apply: func(*machine.Group, machine.Env) kmsg.Response { return nil },
		later: func(*machine.Group) kmsg.Response {
			if looks.Add(1) == 2 { // the first one was before it was parked
				close(looking)
				<-drained
			}
			return nil
		},
		refuse: func(code int16) kmsg.Response { return &kmsg.JoinGroupResponse{ErrorCode: code} },
	}
	wait := a.begin(t.Context(), "g", nil, k)
	f.eventually("the call waits", func() bool { return a.parked() == 1 })
	a.claim("g")
	<-looking
	a.Drain()
	close(drained)
	if resp := wait(); codeOf(resp) != kerr.NotCoordinator.Code {
		t.Errorf("the parked call is answered %v", kerr.ErrorForCode(codeOf(resp)))
	}
}

// TestPanicCostsNobodyElse: what goes wrong with one request ends neither the
// agent nor the group, and each request that met it has an answer.
func TestPanicCostsNobodyElse(t *testing.T) {
	f := newFleet(t, nil)
	a := f.agent()
	c := f.stable(a, "g")
	refuse := func(code int16) kmsg.Response { return &kmsg.HeartbeatResponse{ErrorCode: code} }
	for _, k := range []*call{
		{refuse: refuse, apply: func(*machine.Group, machine.Env) kmsg.Response { panic("a bug") }},
		{refuse: refuse, quick: func(*machine.Group, machine.Env) kmsg.Response { panic("a bug") }, apply: func(*machine.Group, machine.Env) kmsg.Response { panic("a bug") }},
		{refuse: refuse, apply: func(*machine.Group, machine.Env) kmsg.Response { return nil }, later: func(*machine.Group) kmsg.Response { panic("a bug") }},
	} {
		if resp := a.begin(t.Context(), "g", nil, k)(); codeOf(resp) != kerr.UnknownServerError.Code {
			t.Errorf("answered %v", kerr.ErrorForCode(codeOf(resp)))
		}
	}
	if err := a.commits.write(&commit{group: "g", decide: func(*machine.Group, bool, machine.Env) metadata.OffsetChanges { panic("a bug") }}); err == nil {
		t.Error("a commit that panics succeeds")
	}
	if code := c.heartbeat(a); code != 0 {
		t.Errorf("after that a heartbeat is answered %v", kerr.ErrorForCode(code))
	}
	if codes := c.commit(a, 1); !slices.Equal(codes, []int16{0}) {
		t.Errorf("after that a commit is answered %v", codes)
	}
}

func TestCommitIsFencedByGeneration(t *testing.T) {
	f := newFleet(t, nil)
	a, b := f.agent(), f.agent()
	c := f.stable(a, "g")
	if codes := c.commit(a, 10, 20); !slices.Equal(codes, []int16{0, 0}) {
		t.Fatal(codes)
	}
	old := *c
	c.joined(c.joinStart(b, nil)())
	c.syncStart(b, c.id)()
	if codes := old.commit(a, 5, 5); !slices.Equal(codes, []int16{kerr.IllegalGeneration.Code, kerr.IllegalGeneration.Code}) {
		t.Errorf("a commit of the last generation was answered %v", codes)
	}
	stranger := client{t: t, group: "g", id: "nobody", generation: c.generation}
	if codes := stranger.commit(a, 5); !slices.Equal(codes, []int16{kerr.UnknownMemberID.Code}) {
		t.Errorf("a stranger's commit was answered %v", codes)
	}
	if codes := c.commit(b, 11); !slices.Equal(codes, []int16{0}) {
		t.Errorf("a commit of this generation was answered %v", codes)
	}
	if got := c.committedOffsets(a); !slices.Equal(got, []int64{11, 20, -1, -1}) {
		t.Errorf("committed %v", got)
	}
}

func TestGroupMayBeUsedForOffsetsOnly(t *testing.T) {
	f := newFleet(t, nil)
	a := f.agent()
	c := f.client("by hand")
	if codes := c.commit(a, 1, 2, 3, 4, 5); !slices.Equal(codes, []int16{0, 0, 0, 0, kerr.UnknownTopicOrPartition.Code}) {
		t.Fatal(codes)
	}
	if got := c.committedOffsets(a); !slices.Equal(got, []int64{1, 2, 3, 4}) {
		t.Errorf("committed %v", got)
	}
	if d := describe(a, "by hand"); d.State != "Empty" || d.ErrorCode != 0 {
		t.Errorf("described as %+v", d)
	}
	list := a.ListGroups(t.Context(), software, kmsg.NewPtrListGroupsRequest())
	if len(list.Groups) != 1 || list.Groups[0].Group != "by hand" {
		t.Errorf("listed %+v", list.Groups)
	}
	member := f.stable(a, "by hand")
	if codes := c.commit(a, 9); !slices.Equal(codes, []int16{kerr.UnknownMemberID.Code}) {
		t.Errorf("with a member in the group, a commit without one was answered %v", codes)
	}
	if codes := member.commit(a, 9); !slices.Equal(codes, []int16{0}) {
		t.Errorf("the member's commit was answered %v", codes)
	}
}

// TestCommitByHandMayNameAMember: a generation of -1 is a commit by hand even if
// the client says who it is, also the first one of a group.
func TestCommitByHandMayNameAMember(t *testing.T) {
	f := newFleet(t, nil)
	a := f.agent()
	c := client{t: t, group: "by hand", id: "somebody", generation: -1}
	for _, offset := range []int64{1, 2} {
		if codes := c.commit(a, offset); !slices.Equal(codes, []int16{0}) {
			t.Fatalf("the commit of %d is answered %v", offset, codes)
		}
	}
	if got := c.committedOffsets(a); !slices.Equal(got, []int64{2, -1, -1, -1}) {
		t.Errorf("committed %v", got)
	}
}

func TestCommitWhoseReplyIsLostIsToldToTryAgain(t *testing.T) {
	f := newFleet(t, nil)
	a := f.agent()
	c := f.stable(a, "g")
	lost := true
	a.spy.disturb(nil, func(kind string) error {
		if kind == "offsets" && lost {
			lost = false
			return metadata.ErrOutcomeUnknown
		}
		return nil
	})
	if codes := c.commit(a, 7); !slices.Equal(codes, []int16{kerr.CoordinatorLoadInProgress.Code}) {
		t.Errorf("answered %v", codes)
	}
	if codes := c.commit(a, 7); !slices.Equal(codes, []int16{0}) {
		t.Errorf("the second try was answered %v", codes)
	}
}

// TestMembersThatLeftAreForgotten: a client that joins and leaves all the time
// takes no memory, and no room in the notes of who is alive.
func TestMembersThatLeftAreForgotten(t *testing.T) {
	f := newFleet(t, nil)
	a := f.agent()
	for range 20 {
		c := f.stable(a, "g")
		if code := c.heartbeat(a); code != 0 {
			t.Fatal(kerr.ErrorForCode(code))
		}
		leave := kmsg.NewPtrLeaveGroupRequest()
		leave.SetVersion(1)
		leave.Group, leave.MemberID = "g", c.id
		if resp := a.LeaveGroup(t.Context(), software, leave); resp.ErrorCode != 0 {
			t.Fatalf("leave: %+v", resp)
		}
	}
	l := a.enter("g")
	defer l.mu.Unlock()
	if len(l.heard) > 0 {
		t.Errorf("%d members are remembered, and none is left", len(l.heard))
	}
}

// TestOperationsOnGroupsThatDoNotExist: they are told of wherever there is no error, as in Kafka.
func TestOperationsOnGroupsThatDoNotExist(t *testing.T) {
	f := newFleet(t, nil)
	a := f.agent()
	f.stable(a, "g")
	for version, want := range map[int16]int32{5: groupOperations, 6: -1 << 31} {
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.SetVersion(version)
		req.Groups, req.IncludeAuthorizedOperations = []string{"nowhere", "g"}, true
		resp := a.DescribeGroups(t.Context(), software, req)
		if got := resp.Groups[0]; got.State != "Dead" || got.AuthorizedOperations != want {
			t.Errorf("version %d: %+v", version, got)
		}
		if got := resp.Groups[1]; got.State != "Stable" || got.AuthorizedOperations != groupOperations {
			t.Errorf("version %d: %+v", version, got)
		}
	}
}

func TestDeleteGroups(t *testing.T) {
	f := newFleet(t, nil)
	a, b := f.agent(), f.agent()
	c := f.stable(a, "g")
	c.commit(a, 1)
	if code := deleteGroup(b, "g"); code != kerr.NonEmptyGroup.Code {
		t.Errorf("with a member: %v", kerr.ErrorForCode(code))
	}
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.SetVersion(1)
	leave.Group, leave.MemberID = "g", c.id
	if resp := b.LeaveGroup(t.Context(), software, leave); resp.ErrorCode != 0 {
		t.Fatalf("leave: %+v", resp)
	}
	if code := deleteGroup(b, "g"); code != 0 {
		t.Errorf("without members: %v", kerr.ErrorForCode(code))
	}
	if code := deleteGroup(a, "g"); code != kerr.GroupIDNotFound.Code {
		t.Errorf("a second time: %v", kerr.ErrorForCode(code))
	}
	if got := c.committedOffsets(a); !slices.Equal(got, []int64{-1, -1, -1, -1}) {
		t.Errorf("offsets that survived their group: %v", got)
	}
	// Its agent's copy is of a group that is no more.
	if again := f.stable(a, "g"); again.generation != 1 {
		t.Errorf("a new group of that name begins with generation %d", again.generation)
	}
}

// TestMadeUpGroupsAreForgotten: whoever asks for groups that don't exist fills no memory.
func TestMadeUpGroupsAreForgotten(t *testing.T) {
	f := newFleet(t, nil)
	a := f.agent()
	for i := range 100 {
		c := f.client(fmt.Sprint("made up ", i))
		c.id = "nobody"
		if code := c.heartbeat(a); code != kerr.UnknownMemberID.Code {
			t.Fatal(kerr.ErrorForCode(code))
		}
	}
	f.eventually("they are forgotten", func() bool { return len(a.all()) == 0 })
}

func describe(n *node, group string) kmsg.DescribeGroupsResponseGroup {
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.SetVersion(5)
	req.Groups = []string{group}
	return n.DescribeGroups(n.fleet.Context(), software, req).Groups[0]
}

func deleteGroup(n *node, group string) int16 {
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.SetVersion(2)
	req.Groups = []string{group}
	return n.DeleteGroups(n.fleet.Context(), software, req).Groups[0].ErrorCode
}
