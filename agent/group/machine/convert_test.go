package machine

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// classicBeat applies a classic member's Heartbeat, which may note that the member was told to join again.
func (f *fixture) classicBeat(memberID string, generation int32, instanceID ...string) int16 {
	f.Helper()
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 4, "g", memberID, generation
	if len(instanceID) > 0 {
		req.InstanceID = &instanceID[0]
	}
	var codes []int16
	f.twice(func(g *Group) {
		before := f.encode(g)
		quick, code := g.QuickHeartbeat(f.env, req), g.Heartbeat(f.env, req).ErrorCode
		if quick != nil && (quick.ErrorCode != 0 || code != 0 || !bytes.Equal(f.encode(g), before)) {
			f.Fatalf("answered quickly that all is well, but in full %v, from\n%s\nto\n%s", kerr.ErrorForCode(code), before, f.encode(g))
		}
		codes = append(codes, code)
	})
	if codes[0] != codes[1] {
		f.Fatalf("applied again, the answer is %v, was %v", kerr.ErrorForCode(codes[1]), kerr.ErrorForCode(codes[0]))
	}
	return codes[0]
}

// assignment encodes what a leader gives to a member: "t:0,1" and so on.
func assignment(parts ...string) []byte {
	a := kmsg.NewConsumerMemberAssignment()
	for _, part := range parts {
		t := kmsg.NewConsumerMemberAssignmentTopic()
		t.Topic, t.Partitions = partOf(part)
		a.Topics = append(a.Topics, t)
	}
	return a.AppendTo(nil)
}

func partOf(part string) (topic string, partitions []int32) {
	topic, list, _ := strings.Cut(part, ":")
	for s := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(s)
		if err != nil {
			panic(err)
		}
		partitions = append(partitions, int32(n))
	}
	return topic, partitions
}

// has makes the metadata say what the member has, as that of cooperative assignors does.
func has(topics []string, parts ...string) func(*kmsg.JoinGroupRequest) {
	return func(req *kmsg.JoinGroupRequest) {
		m := kmsg.NewConsumerMemberMetadata()
		m.Version, m.Topics = 1, topics
		for _, part := range parts {
			o := kmsg.NewConsumerMemberMetadataOwnedPartition()
			o.Topic, o.Partitions = partOf(part)
			m.OwnedPartitions = append(m.OwnedPartitions, o)
		}
		for i := range req.Protocols {
			req.Protocols[i].Metadata = m.AppendTo(nil)
		}
	}
}

// wantClassicAssigned compares what a classic member of a consumer group is told.
func (f *fixture) wantClassicAssigned(resp *kmsg.SyncGroupResponse, want ...string) {
	f.Helper()
	if resp == nil {
		f.Fatalf("the sync is parked: %s", f.state)
	}
	f.wantError(resp.ErrorCode, nil)
	got, err := readAssignment(resp.MemberAssignment, f.env.Topics)
	if err != nil {
		f.Fatal(err)
	}
	if want := f.catalog().parts(want...); !got.Equal(want) {
		f.Fatalf("assigned %v, want %v: %s", got, want, f.state)
	}
}

// wantClassicJoined compares the answer to a classic member that joins a consumer group.
func (f *fixture) wantClassicJoined(resp *kmsg.JoinGroupResponse, epoch int32) {
	f.Helper()
	if resp == nil {
		f.Fatalf("the join is parked: %s", f.state)
	}
	f.wantError(resp.ErrorCode, nil)
	if resp.Generation != epoch || resp.LeaderID != "" || len(resp.Members) > 0 || text(resp.Protocol) != "range" || text(resp.ProtocolType) != "consumer" {
		f.Fatalf("joined with %+v, want generation %d and no leader: %s", resp, epoch, f.state)
	}
}

func (f *fixture) wantType(want string) {
	f.Helper()
	if got := f.group().Info().Type; got != want {
		f.Fatalf("the group is %s, want %s: %s", got, want, f.state)
	}
}

// classicPair is a stable classic group of m1 (t 0 and 1) and m2 (t 2 and 3) in generation 1.
func classicPair(t testing.TB) *fixture {
	f := newConsumerFixture(t, "t:4", "u:1")
	f.completing(2)
	f.sync("m1", 1, "m1", string(assignment("t:0,1")), "m2", string(assignment("t:2,3")))
	f.sync("m2", 1)
	f.wantPhase(Stable)
	return f
}

// TestRollingUpgradeAndBack: one member after the other restarts with the consumer protocol, and then with the classic one again.
func TestRollingUpgradeAndBack(t *testing.T) {
	f := classicPair(t)
	topics := []string{"t"}
	f.wantBeat(f.beat("a", 0, joins("t")), 2, nothing...)
	f.wantType("consumer")
	f.wantPhase(Reconciling)
	f.wantMembers("a", "m1", "m2")
	for _, id := range []string{"m1", "m2"} {
		if timeout, ok := f.group().SessionTimeout(id); !ok || timeout != sessionTimeout {
			t.Errorf("%s: session timeout %v, %v", id, timeout, ok)
		}
		f.wantError(f.classicBeat(id, 1), kerr.RebalanceInProgress)
		f.quiet(func() { f.wantError(f.classicBeat(id, 1), kerr.RebalanceInProgress) })
		f.wantError(f.syncWith(syncRequest(id, 1)).ErrorCode, kerr.RebalanceInProgress)
	}
	f.wantClassicJoined(f.join("m2", has(topics, "t:2,3")), 1) // stays in its epoch to give up
	f.wantClassicAssigned(f.sync("m2", 1), "t:2")
	f.wantError(f.classicBeat("m2", 1), kerr.RebalanceInProgress)
	f.quiet(func() { f.wantBeat(f.beat("a", 2), 2) })
	f.wantClassicJoined(f.join("m2", has(topics, "t:2")), 2)
	f.wantClassicAssigned(f.sync("m2", 2), "t:2")
	f.quiet(func() { f.wantError(f.classicBeat("m2", 2), nil) })
	f.wantBeat(f.beat("a", 2), 2, "t:3")
	f.wantClassicJoined(f.join("m1", has(topics, "t:0,1")), 2) // has nothing to give up
	f.wantClassicAssigned(f.sync("m1", 2), "t:0,1")
	f.wantPhase(Stable)
	f.wantErr(f.group().CheckCommit(f.env, "m1", nil, 2, 8), nil)

	f.wantError(f.leave("m1"), nil)
	f.wantPhase(Assigning)
	f.wantError(f.classicBeat("m2", 2), kerr.RebalanceInProgress)
	f.wantBeat(f.beat("a", 2), 3, "t:0,3")
	f.wantClassicJoined(f.join("m2", has(topics, "t:2")), 3)
	f.wantClassicAssigned(f.sync("m2", 3), "t:1,2")
	f.wantBeat(f.beat("b", 0, joins("t")), 4, nothing...)
	f.wantClassicJoined(f.join("m2", has(topics, "t:1,2")), 3)
	f.wantClassicAssigned(f.sync("m2", 3), "t:1")
	f.wantClassicJoined(f.join("m2", has(topics, "t:1")), 4)
	f.wantClassicAssigned(f.sync("m2", 4), "t:1")
	f.wantBeat(f.beat("b", 4), 4, "t:2")
	f.wantBeat(f.beat("a", 3), 4)
	f.wantPhase(Stable)

	f.wantError(f.beat("b", leaveEpoch).ErrorCode, nil)
	f.wantType("consumer")
	f.wantError(f.beat("a", leaveEpoch).ErrorCode, nil)
	f.wantType("classic")
	f.wantPhase(PreparingRebalance)
	f.wantError(f.classicBeat("m2", 5), kerr.RebalanceInProgress)
	f.wantError(f.classicBeat("m2", 4), kerr.IllegalGeneration)
	f.wantJoined(f.join("m2", has(topics, "t:1")), 6, "m2")
	f.sync("m2", 6, "m2", string(assignment("t:0,1,2,3")))
	f.wantPhase(Stable)
}

// TestUpgradeAnswersWhoWaits: the answers follow from the state of the other protocol.
func TestUpgradeAnswersWhoWaits(t *testing.T) {
	f := classicPair(t)
	f.wantParked(f.join("m1", protocol("range", "t", "u")))
	f.wantPhase(PreparingRebalance)
	f.wantBeat(f.beat("a", 0, joins("t")), 2, nothing...)
	resp := f.joinAnswer("m1")
	if f.wantError(resp.ErrorCode, kerr.RebalanceInProgress); resp.MemberID != "m1" {
		t.Errorf("member ID %q", resp.MemberID)
	}
	if resp := f.joinAnswer("x"); resp.ErrorCode != kerr.UnknownMemberID.Code || resp.MemberID != "" {
		t.Errorf("%+v", resp)
	}
	f.wantClassicJoined(f.join("m1", protocol("range", "t", "u")), 2)

	f = newConsumerFixture(t, "t:4")
	f.completing(2)
	if resp := f.sync("m2", 1); resp != nil {
		t.Fatalf("%+v", resp)
	}
	f.wantBeat(f.beat("a", 0, joins("t")), 2, "t:0,3") // nobody has any
	f.wantError(f.group().SyncAnswer(syncRequest("m2", 1)).ErrorCode, kerr.RebalanceInProgress)
	f.wantError(f.group().SyncAnswer(syncRequest("x", 1)).ErrorCode, kerr.UnknownMemberID)
}

// TestUpgradeInTheInitialPhase: there was no generation yet.
func TestUpgradeInTheInitialPhase(t *testing.T) {
	f := newConsumerFixture(t, "t:2")
	f.wantParked(f.join("", version(3)))
	f.wantBeat(f.beat("a", 0, joins("t")), 1, "t:0")
	f.wantError(f.joinAnswer("m1").ErrorCode, kerr.RebalanceInProgress)
	f.wantClassicJoined(f.join("m1", version(3)), 1)
	f.wantClassicAssigned(f.sync("m1", 1), "t:1")
	f.wantPhase(Stable)
}

// TestUpgradeBetweenGenerationsLeavesMembersWhatTheyHave: cooperative members have partitions while they rebalance.
func TestUpgradeBetweenGenerationsLeavesMembersWhatTheyHave(t *testing.T) {
	f := classicPair(t)
	f.wantParked(f.join("m1", has([]string{"t"}, "t:0,1")))
	f.wantJoined(f.join("m2", has([]string{"t"}, "t:2,3")), 2, "m1")
	f.wantParked(f.join("m1", has([]string{"t", "u"}, "t:0,1")))
	f.wantPhase(PreparingRebalance) // of generation 2 nobody was told an assignment
	f.wantBeat(f.beat("a", 0, joins("t")), 3, nothing...)
	for id, want := range map[string]string{"m1": "t:0,1", "m2": "t:2,3"} {
		if got := f.member(id).Assigned; !got.Equal(f.catalog().parts(want)) {
			t.Errorf("%s has %v, want %v", id, got, want)
		}
	}
}

func TestUpgradeRefused(t *testing.T) {
	userData := kmsg.NewConsumerMemberAssignment()
	userData.UserData = []byte("mine")
	const cannot = "Cannot upgrade classic group g to consumer group because "
	for name, test := range map[string]struct {
		change  func(f *fixture)
		message string
	}{
		"policy": {func(f *fixture) { f.env.Limits.MayUpgrade = false }, cannot + "online upgrade is disabled."},
		"not consumers": {func(f *fixture) {
			f.state = []byte(strings.ReplaceAll(string(f.state), `"protocol_type":"consumer"`, `"protocol_type":"connect"`))
		}, cannot + "the group does not use the consumer embedded protocol."},
		"too many members": {func(f *fixture) { f.env.Limits.ConsumerMaxSize = 1 }, cannot + "the group size exceeds the consumer group maximum size."},
		"malformed subscription": {func(f *fixture) { f.change(func(g *Group) { g.Classic.Members[1].Protocols[0].Metadata = []byte{0} }) },
			cannot + "the embedded consumer protocol is malformed."},
		"malformed assignment": {func(f *fixture) { f.change(func(g *Group) { g.Classic.Members[1].Assignment = []byte{0} }) },
			cannot + "the embedded consumer protocol is malformed."},
		"assignor's data": {func(f *fixture) {
			f.change(func(g *Group) { g.Classic.Members[1].Assignment = userData.AppendTo(nil) })
		},
			cannot + "an unsupported custom assignor is in use. Please refer to the documentation or switch to a default assignor before re-attempting the upgrade."},
	} {
		t.Run(name, func(t *testing.T) {
			f := classicPair(t)
			test.change(f)
			f.quiet(func() { f.wantRefused(f.beat("a", 0, joins("t")), kerr.GroupIDNotFound, test.message) })
		})
	}
	f := classicPair(t)
	f.quiet(func() {
		f.wantRefused(f.beat("m1", 1), kerr.GroupIDNotFound, "Group g is not a consumer group.")
		f.wantRefused(f.beat("m1", leaveEpoch), kerr.GroupIDNotFound, "Group g is not a consumer group.")
		f.wantRefused(f.beat("a", 0, joins("t"), matching("[")), kerr.InvalidRegularExpression, // refused after all else was well
			"SubscribedTopicRegex `[` is not a valid regular expression: error parsing regexp: missing closing ]: `[`.")
	})
}

func TestUpgradeGivesEachPartitionOnce(t *testing.T) {
	f := newConsumerFixture(t, "t:4")
	f.completing(2)
	f.sync("m1", 1, "m1", string(assignment("t:0,1,2")), "m2", string(assignment("t:2,3,3")))
	f.sync("m2", 1)
	f.beat("a", 0, joins("t"))
	if got := f.member("m2").Assigned; !got.Equal(f.catalog().parts("t:3")) {
		t.Errorf("m2 has %v", got)
	}
}

// TestGroupOfClassicMembersOnlyWorksOn where it may not be downgraded.
func TestGroupOfClassicMembersOnlyWorksOn(t *testing.T) {
	f := classicPair(t)
	f.env.Limits.MayDowngrade = false
	f.beat("a", 0, joins("t"))
	f.beat("a", leaveEpoch)
	f.wantType("consumer")
	for _, id := range []string{"m1", "m2"} {
		f.wantError(f.classicBeat(id, 1), kerr.RebalanceInProgress)
		f.wantClassicJoined(f.join(id, has([]string{"t"}, map[string]string{"m1": "t:0,1", "m2": "t:2,3"}[id])), 3)
	}
	f.wantClassicAssigned(f.sync("m1", 3), "t:0,1")
	f.wantClassicAssigned(f.sync("m2", 3), "t:2,3")
	f.wantPhase(Stable)
	f.env.Topics = f.catalog().with("t:5")
	f.wantError(f.classicBeat("m1", 3), kerr.RebalanceInProgress)
	f.wantClassicJoined(f.join("m1", has([]string{"t"}, "t:0,1")), 4)
	f.wantClassicAssigned(f.sync("m1", 4), "t:0,1,4")
}

// TestClassicMembersHaveTheirTimes: to join again after they were told, and to sync after they joined.
func TestClassicMembersHaveTheirTimes(t *testing.T) {
	f := classicPair(t)
	f.beat("a", 0, joins("t"))
	f.classicBeat("m1", 1)
	f.alive(rebalanceTimeout/2, "a", "m1", "m2")
	f.classicBeat("m2", 1)
	f.classicBeat("m1", 1) // doesn't start it anew
	f.alive(rebalanceTimeout/2-time.Second, "a", "m1", "m2")
	f.wantMembers("a", "m1", "m2")
	f.alive(time.Second, "a", "m1", "m2")
	f.wantMembers("a", "m2")
	f.join("m2", has([]string{"t"}, "t:2,3"))
	f.alive(rebalanceTimeout-time.Second, "a", "m2")
	f.wantMembers("a", "m2")
	f.alive(time.Second, "a", "m2")
	f.wantMembers("a")

	f = classicPair(t)
	f.beat("a", 0, joins("t"))
	f.alive(sessionLasts, "a", "m1")
	f.wantMembers("a", "m1")
}

func TestStaticMemberChangesItsProtocol(t *testing.T) {
	f := newConsumerFixture(t, "t:2", "u:1")
	f.wantBeat(f.beat("a", 0, joins("t"), static("i")), 1, "t:0,1")
	resp := f.join("", version(3))
	f.wantClassicJoined(resp, 2)
	f.beat("a", 1, static("i"))
	f.beat("a", 1, static("i"), owning(f.catalog().parts("t:0")))
	f.wantClassicJoined(f.join(resp.MemberID), 2)
	f.wantClassicAssigned(f.sync(resp.MemberID, 2), "t:1")
	f.wantPhase(Stable)
	mixed := string(f.state)

	// It comes back with the classic protocol: the last of the other one is gone, and nobody else notices.
	back := f.join("", instance("i"), version(5))
	f.wantType("classic")
	f.wantPhase(Stable)
	f.wantJoined(back, 2, f.group().Classic.Leader)
	f.wantClassicAssigned(f.sync(back.MemberID, 2), "t:0")
	f.wantError(f.classicBeat(resp.MemberID, 2), nil)
	f.wantMembers(slices.Sorted(slices.Values([]string{resp.MemberID, back.MemberID}))...)

	// With other topics it is a rebalance.
	f.state = []byte(mixed)
	f.wantParked(f.join("", instance("i"), version(5), protocol("range", "u")))
	f.wantType("classic")
	f.wantPhase(PreparingRebalance)

	// Nor may it be silent if somebody hasn't got there.
	f.state = []byte(mixed)
	f.wantBeat(f.beat("a", 2, static("i"), subscribes("t", "u")), 3, "t:0", "u:0")
	f.wantBeat(f.beat("a", 3, static("i"), subscribes("t")), 3, "t:0")
	f.wantBeat(f.beat("a", 3, static("i"), owning(f.catalog().parts("t:0"))), 4)
	f.wantParked(f.join("", instance("i"), version(5)))
	f.wantPhase(PreparingRebalance)

	// The other way round: a classic static member comes back with the consumer protocol, without leaving first.
	f = newConsumerFixture(t, "t:2")
	f.wantParked(f.join("", instance("i"), version(5)))
	f.pass(limits.InitialRebalanceDelay)
	f.sync("m1", 1, "m1", string(assignment("t:0,1")))
	f.wantBeat(f.beat("a", 0, joins("t"), static("i")), 2, "t:0,1")
	f.wantMembers("a")
	f.wantPhase(Stable)
}

func TestEmptyGroupIsReplaced(t *testing.T) {
	f := newConsumerFixture(t, "t:1")
	f.env.Limits.MayUpgrade, f.env.Limits.MayDowngrade = false, false
	f.beat("a", 0, joins("t"))
	f.beat("a", leaveEpoch)
	f.wantError(f.classicBeat("a", 1), kerr.UnknownMemberID)
	f.wantParked(f.join("", version(3)))
	f.wantType("classic")
	f.wantError(f.leave(f.group().Members()[0]), nil)
	f.wantPhase(Empty)
	f.wantBeat(f.beat("b", 0, joins("t")), 1, "t:0")
	f.wantType("consumer")
}

// TestClassicRequestsToConsumerGroup has a (consumer protocol), c (classic) and s (classic, static, i) in epoch 1, which is the group's.
func TestClassicRequestsToConsumerGroup(t *testing.T) {
	f := newConsumerFixture(t, "t:2")
	f.beat("a", 0, joins())
	c, s := f.join("", version(3)).MemberID, f.join("", instance("i"), version(5)).MemberID
	for range 2 {
		for id, owns := range map[string]string{c: "t:0", s: "t:1"} {
			f.join(id, has([]string{"t"}, owns))
			f.sync(id, 3)
		}
	}
	f.wantClassicAssigned(f.sync(c, 3), "t:0")
	f.beat("a", 1)
	f.wantPhase(Stable)

	join := func(memberID string, options ...func(*kmsg.JoinGroupRequest)) func() int16 {
		return func() int16 { return f.join(memberID, options...).ErrorCode }
	}
	sync := func(memberID string, generation int32, change func(*kmsg.SyncGroupRequest)) func() int16 {
		return func() int16 {
			req := syncRequest(memberID, generation)
			change(req)
			return f.syncWith(req).ErrorCode
		}
	}
	same := func(*kmsg.SyncGroupRequest) {}
	for name, test := range map[string]struct {
		request func() int16
		want    *kerr.Error
	}{
		"join, new":                       {join(""), kerr.MemberIDRequired},
		"join, another's instance":        {join(c, instance("i")), kerr.FencedInstanceID},
		"join, unknown instance":          {join(c, instance("x")), kerr.UnknownMemberID},
		"join, other protocol":            {join("new", protocol("sticky", "t")), kerr.InconsistentGroupProtocol},
		"join, no protocol":               {join("new", func(req *kmsg.JoinGroupRequest) { req.Protocols = nil }), kerr.InconsistentGroupProtocol},
		"join, other type":                {join("new", func(req *kmsg.JoinGroupRequest) { req.ProtocolType = "connect" }), kerr.InconsistentGroupProtocol},
		"join, malformed":                 {join("new", func(req *kmsg.JoinGroupRequest) { req.Protocols[0].Metadata = nil }), kerr.InconsistentGroupProtocol},
		"join, session timeout too short": {join("new", func(req *kmsg.JoinGroupRequest) { req.SessionTimeoutMillis = 1 }), kerr.InvalidSessionTimeout},
		"join, too large": {join("new", func(req *kmsg.JoinGroupRequest) { req.Protocols[0].Metadata = make([]byte, limits.MaxMetadataBytes+1) }),
			kerr.MessageTooLarge},
		"sync":                         {sync(c, 3, same), nil},
		"sync, unknown":                {sync("x", 3, same), kerr.UnknownMemberID},
		"sync, not classic":            {sync("a", 3, same), kerr.UnknownMemberID},
		"sync, other generation":       {sync(c, 4, same), kerr.IllegalGeneration},
		"sync, another's instance":     {sync(c, 3, func(req *kmsg.SyncGroupRequest) { req.InstanceID = kmsg.StringPtr("i") }), kerr.FencedInstanceID},
		"sync, unknown instance":       {sync(c, 3, func(req *kmsg.SyncGroupRequest) { req.InstanceID = kmsg.StringPtr("x") }), kerr.UnknownMemberID},
		"sync, other protocol":         {sync(c, 3, func(req *kmsg.SyncGroupRequest) { req.Protocol = kmsg.StringPtr("sticky") }), kerr.InconsistentGroupProtocol},
		"sync, other type":             {sync(c, 3, func(req *kmsg.SyncGroupRequest) { req.ProtocolType = kmsg.StringPtr("connect") }), kerr.InconsistentGroupProtocol},
		"sync, no protocol":            {sync(c, 3, func(req *kmsg.SyncGroupRequest) { req.Protocol = nil }), kerr.InconsistentGroupProtocol},
		"heartbeat":                    {func() int16 { return f.classicBeat(c, 3) }, nil},
		"heartbeat, static":            {func() int16 { return f.classicBeat(s, 3, "i") }, nil},
		"heartbeat, unknown":           {func() int16 { return f.classicBeat("x", 3) }, kerr.UnknownMemberID},
		"heartbeat, not classic":       {func() int16 { return f.classicBeat("a", 3) }, kerr.UnknownMemberID},
		"heartbeat, other generation":  {func() int16 { return f.classicBeat(c, 2) }, kerr.IllegalGeneration},
		"heartbeat, another's":         {func() int16 { return f.classicBeat(c, 3, "i") }, kerr.FencedInstanceID},
		"leave, unknown":               {func() int16 { return f.leave("x") }, kerr.UnknownMemberID},
		"leave, another's":             {func() int16 { return f.leave(c, "i") }, kerr.FencedInstanceID},
		"leave, unknown instance":      {func() int16 { return f.leave("", "x") }, kerr.UnknownMemberID},
		"leave, neither ID is set":     {func() int16 { return f.leave("") }, kerr.UnknownMemberID},
		"consumer protocol's instance": {func() int16 { return f.beat("a", 3, static("i")).ErrorCode }, kerr.FencedInstanceID},
	} {
		t.Run(name, func(t *testing.T) {
			f.TB = t
			f.quiet(func() { f.wantError(test.request(), test.want) })
		})
	}
	f.TB = t
	f.wantError(f.leave("", "i"), nil) // by an admin
	f.wantMembers("a", c)
	f.wantError(f.leave("a"), nil) // which is of the other protocol, so that the group becomes a classic one
	f.wantMembers(c)
	f.wantType("classic")
}

// TestDowngradeWithoutRoomStays: a classic group may be smaller.
func TestDowngradeWithoutRoomStays(t *testing.T) {
	f := classicPair(t)
	f.env.Limits.MaxSize = 1
	f.beat("a", 0, joins("t"))
	f.beat("a", leaveEpoch)
	f.wantType("consumer")
}

func TestLastModernMemberIsSilent(t *testing.T) {
	f := classicPair(t)
	f.beat("a", 0, joins("t"))
	f.alive(consumerLasts, "m1", "m2")
	f.wantType("classic")
	f.wantPhase(PreparingRebalance)
	f.wantParked(f.join("m1"))
	f.wantJoined(f.join("m2"), 3, "m1")
}
