package machine

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/group/assign"
)

func TestConsumerStateAsStored(t *testing.T) {
	f := newConsumerFixture(t, "orders:3", "orders-eu:1", "other:1")
	rack := func(req *kmsg.ConsumerGroupHeartbeatRequest) { req.RackID = kmsg.StringPtr("r1") }
	f.beat("a", 0, joins("orders"), matching("orders-.*"), static("i1"), votes(assign.Range), rack)
	f.join("c", version(3), protocol("range", "orders"))
	f.beat("a", 1)
	golden(t, "consumer_reconciling.json", f.group())
}

// TestConsumersScaleUpAndDown: partitions are given up before others get them.
func TestConsumersScaleUpAndDown(t *testing.T) {
	f := newConsumerFixture(t, "t:4")
	parts := f.catalog().parts
	f.wantBeat(f.beat("a", 0, joins("t")), 1, "t:0,1,2,3")
	f.wantPhase(Stable)

	f.wantBeat(f.beat("b", 0, joins("t")), 2, nothing...)
	f.wantPhase(Reconciling)
	f.quiet(func() { f.wantBeat(f.beat("b", 2), 2) }) // a hasn't heard of it
	f.wantBeat(f.beat("a", 1), 1, "t:0,1")
	f.quiet(func() { f.wantBeat(f.beat("a", 1), 1) })                           // it says nothing of what it has
	f.quiet(func() { f.wantBeat(f.beat("a", 1, owning(parts("t:0,1,3"))), 1) }) // one is left
	f.quiet(func() { f.wantBeat(f.beat("b", 2, owning(nil)), 2) })              // so b gets neither
	f.wantBeat(f.beat("a", 1, owning(parts("t:0,1"))), 2)
	f.wantPhase(Reconciling)
	f.wantBeat(f.beat("b", 2), 2, "t:2,3")
	f.wantPhase(Stable)
	f.quiet(func() { f.wantBeat(f.beat("b", 2, owning(parts("t:2,3"))), 2) })

	f.wantBeat(f.beat("c", 0, joins("t")), 3, nothing...)
	f.wantBeat(f.beat("a", 2, owning(parts("t:0,1"))), 3)        // keeps both
	f.wantBeat(f.beat("b", 2, owning(parts("t:2,3"))), 2, "t:2") // says more than it must
	f.wantBeat(f.beat("b", 2, owning(parts("t:2"))), 3)
	f.wantBeat(f.beat("c", 3), 3, "t:3")
	f.wantPhase(Stable)

	resp := f.beat("b", leaveEpoch)
	if f.wantError(resp.ErrorCode, nil); text(resp.MemberID) != "b" || resp.MemberEpoch != -1 || resp.Assignment != nil {
		t.Errorf("left with %s", shown(resp))
	}
	f.wantPhase(Assigning)
	f.wantBeat(f.beat("a", 3), 4)
	f.wantPhase(Reconciling)
	f.wantBeat(f.beat("c", 3), 4, "t:2,3")
	f.wantPhase(Stable)
	f.beat("a", leaveEpoch)
	f.beat("c", leaveEpoch)
	f.wantPhase(Empty)
	f.wantBeat(f.beat("d", 0, joins("t")), 7, "t:0,1,2,3")
}

func TestFullHeartbeatIsToldTheAssignment(t *testing.T) {
	f := newConsumerFixture(t, "t:2")
	f.beat("a", 0, joins("t"))
	f.quiet(func() { f.wantBeat(f.beat("a", 1), 1) })
	f.quiet(func() { f.wantBeat(f.beat("a", 1, owning(f.catalog().parts("t:0,1"))), 1) })
	f.quiet(func() { f.wantBeat(f.beat("a", 1, joins("t")), 1, "t:0,1") })
	f.quiet(func() { f.wantBeat(f.beat("a", 0, joins("t")), 1, "t:0,1") }) // it comes again without having been gone
}

func TestMemberIDOfVersion0IsMade(t *testing.T) {
	f := newConsumerFixture(t, "t:1")
	resp := f.beat("", 0, joins("t"), inVersion(0))
	if f.wantBeat(resp, 1, "t:0"); text(resp.MemberID) != "m1" {
		t.Errorf("member ID %q", text(resp.MemberID))
	}
	f.wantMembers("m1")
	f.quiet(func() { f.wantBeat(f.beat("m1", 1, inVersion(0)), 1) })
}

// TestSubscriptionsChange: members that have to give up and to get at once.
func TestSubscriptionsChange(t *testing.T) {
	f := newConsumerFixture(t, "t:2", "u:2")
	parts := f.catalog().parts
	f.wantBeat(f.beat("a", 0, joins("t")), 1, "t:0,1")
	f.wantBeat(f.beat("b", 0, joins("u")), 2, "u:0,1")
	f.wantBeat(f.beat("a", 1), 2)

	f.wantBeat(f.beat("a", 2, subscribes("u")), 2, nothing...) // gives up t
	f.wantBeat(f.beat("b", 2, subscribes("t")), 2, nothing...) // gives up u
	f.wantPhase(Reconciling)
	if c := f.group().Consumer; c.Epoch != 4 || !c.Members["a"].Target.Equal(parts("u:0,1")) || !c.Members["b"].Target.Equal(parts("t:0,1")) {
		t.Fatalf("%s", f.state)
	}
	f.wantBeat(f.beat("a", 2, owning(nil)), 4)
	f.wantBeat(f.beat("b", 2, owning(nil)), 4, "t:0,1")
	f.wantBeat(f.beat("a", 4), 4, "u:0,1")
	f.wantPhase(Stable)
	f.quiet(func() { f.wantBeat(f.beat("a", 4, subscribes("u")), 4) })

	f.wantBeat(f.beat("a", 4, subscribes()), 4, nothing...)
	f.wantBeat(f.beat("a", 4, owning(nil)), 5)
	f.wantBeat(f.beat("b", 4), 5)
	if f.group().Subscribed("u") || !f.group().Subscribed("t") {
		t.Error("the group still subscribes to u")
	}
}

// TestLostRepliesAreSaidAgain: the client comes with all it knows, in the epoch that it knows.
func TestLostRepliesAreSaidAgain(t *testing.T) {
	f := newConsumerFixture(t, "t:4")
	parts := f.catalog().parts
	f.beat("a", 0, joins("t"))
	f.beat("b", 0, joins("t"))
	f.beat("a", 1) // lost: give up 2 and 3
	full := func(owned ...string) []beatOption { return []beatOption{joins("t"), owning(parts(owned...))} }
	f.quiet(func() { f.wantBeat(f.beat("a", 1, full("t:0,1,2,3")...), 1, "t:0,1") })
	f.beat("a", 1, owning(parts("t:0,1"))) // lost: epoch 2
	f.quiet(func() { f.wantBeat(f.beat("a", 1, full("t:0,1")...), 2, "t:0,1") })
	f.beat("b", 2) // lost: gets 2 and 3
	f.quiet(func() { f.wantBeat(f.beat("b", 2, full()...), 2, "t:2,3") })
	f.wantPhase(Stable)
}

func TestMemberThatNeverRevokesIsRemoved(t *testing.T) {
	f := newConsumerFixture(t, "t:2")
	f.beat("a", 0, joins("t"))
	f.beat("b", 0, joins("t"))
	f.wantBeat(f.beat("a", 1), 1, "t:0")
	f.alive(rebalanceTimeout-time.Second, "a", "b")
	f.quiet(func() { f.wantBeat(f.beat("a", 1), 1) })
	f.alive(time.Second, "a", "b")
	f.wantMembers("b")
	f.wantRefused(f.beat("a", 1), kerr.UnknownMemberID, "Member a is not a member of group g.")
	f.wantBeat(f.beat("b", 2), 3, "t:0,1")
	f.wantBeat(f.beat("a", 0, joins("t")), 4, nothing...)
}

func TestMemberThatRevokesInTimeStays(t *testing.T) {
	f := newConsumerFixture(t, "t:2")
	f.beat("a", 0, joins("t"))
	f.beat("b", 0, joins("t"))
	f.beat("a", 1)
	f.alive(rebalanceTimeout-time.Second, "a", "b")
	f.wantBeat(f.beat("a", 1, owning(f.catalog().parts("t:0"))), 2)
	f.alive(2*rebalanceTimeout, "a", "b")
	f.wantMembers("a", "b")
}

// alive lets time go by in which these members are heard of.
func (f *fixture) alive(d time.Duration, ids ...string) {
	f.Helper()
	for end := f.env.Now.Add(d); f.env.Now.Before(end); {
		f.env.Now = f.env.Now.Add(min(heartbeatInterval, end.Sub(f.env.Now)))
		f.change(func(g *Group) {
			for _, id := range ids {
				g.Heard(id, f.env.Now)
			}
			g.Tick(f.env)
		})
	}
}

func TestSilentMemberIsRemoved(t *testing.T) {
	f := newConsumerFixture(t, "t:2")
	f.beat("a", 0, joins("t"))
	f.beat("b", 0, joins("t"))
	f.beat("a", 1)
	f.beat("a", 1, owning(f.catalog().parts("t:0")))
	for name, id := range map[string]string{"a member": "a", "another": "b"} {
		if timeout, ok := f.group().SessionTimeout(id); !ok || timeout != consumerSession {
			t.Errorf("%s: session timeout %v, %v", name, timeout, ok)
		}
	}
	if _, ok := f.group().SessionTimeout("x"); ok {
		t.Error("x has a session")
	}
	f.alive(consumerLasts-time.Millisecond, "b")
	f.wantMembers("a", "b")
	f.alive(time.Millisecond, "b")
	f.wantMembers("b")
	f.wantPhase(Assigning)
	f.wantBeat(f.beat("b", 2), 3, "t:0,1")
	f.pass(consumerLasts)
	f.wantPhase(Empty)
	if due := f.group().Due(f.env); !due.IsZero() {
		t.Errorf("an empty group is due at %v", due)
	}
}

func TestConsumersAreNotSilentFromBeforeWeListened(t *testing.T) {
	f := newConsumerFixture(t, "t:2")
	f.beat("a", 0, joins("t"))
	f.beat("b", 0, joins("t"))
	f.beat("a", 1) // has to revoke
	f.env.Now = f.env.Now.Add(time.Hour)
	f.env.Since = f.env.Now
	f.change(func(g *Group) { g.Tick(f.env) })
	f.wantMembers("a", "b")
	f.alive(rebalanceTimeout-time.Second, "a", "b")
	f.wantMembers("a", "b")
	f.alive(time.Second, "a", "b")
	f.wantMembers("b")
}

func TestStaticConsumerRestartsWithItsPartitions(t *testing.T) {
	f := newConsumerFixture(t, "t:2")
	f.beat("a", 0, joins("t"), static("i"))
	f.beat("b", 0, joins("t"))
	f.beat("a", 1, static("i"))
	f.beat("a", 1, static("i"), owning(f.catalog().parts("t:0")))
	f.beat("b", 2)
	f.wantPhase(Stable)

	resp := f.beat("a", leaveStaticEpoch, static("i"))
	if f.wantError(resp.ErrorCode, nil); text(resp.MemberID) != "a" || resp.MemberEpoch != leaveStaticEpoch {
		t.Errorf("left with %s", shown(resp))
	}
	f.alive(consumerLasts-time.Millisecond, "b")
	f.quiet(func() { f.wantBeat(f.beat("b", 2), 2) })
	f.wantBeat(f.beat("a2", 0, joins("t"), static("i")), 2, "t:0")
	f.wantMembers("a2", "b")
	f.wantPhase(Stable)
	f.wantRefused(f.beat("a", 2, static("i")), kerr.FencedInstanceID, "Static member a with instance id i was fenced by member a2.")
	f.wantRefused(f.beat("a", 2), kerr.UnknownMemberID, "Member a is not a member of group g.")

	f.beat("a2", leaveStaticEpoch, static("i"))
	f.alive(consumerLasts, "b")
	f.wantMembers("b")
	f.wantBeat(f.beat("b", 2), 3, "t:0,1")
}

func TestStaticConsumerThatWasRevokingComesBack(t *testing.T) {
	f := newConsumerFixture(t, "t:2")
	f.beat("a", 0, joins("t"), static("i"))
	f.beat("b", 0, joins("t"))
	f.wantBeat(f.beat("a", 1, static("i")), 1, "t:0")
	f.beat("a", leaveStaticEpoch, static("i"))
	f.wantBeat(f.beat("b", 2), 2, "t:1") // nobody uses it any more
	f.wantBeat(f.beat("a2", 0, joins("t"), static("i")), 2, "t:0")
	f.wantPhase(Stable)
}

func TestStaticConsumerLeavesForGood(t *testing.T) {
	f := newConsumerFixture(t, "t:2")
	f.beat("a", 0, joins("t"), static("i"))
	f.wantError(f.beat("a", leaveEpoch, static("i")).ErrorCode, nil)
	f.wantPhase(Empty)
	f.wantBeat(f.beat("b", 0, joins("t"), static("i")), 3, "t:0,1")
}

func TestRegexFollowsTheTopics(t *testing.T) {
	f := newConsumerFixture(t, "a:1", "ab:2", "__consumer_offsets:1")
	f.wantBeat(f.beat("x", 0, joins("other"), matching("a.?")), 1, "a:0", "ab:0,1")
	f.env.Topics = f.catalog().with("b:1", "abc:1") // of the whole name
	f.wantBeat(f.beat("x", 1), 1)
	if seq := f.group().Consumer.TopicsSeq; seq != 2 { // else all heartbeats would look again
		t.Errorf("looked at catalog %d", seq)
	}
	f.env.Topics = f.catalog().with("ac:1")
	f.wantBeat(f.beat("x", 1), 2, "a:0", "ab:0,1", "ac:0")
	f.env.Topics = f.catalog().with("other:1")
	f.wantBeat(f.beat("x", 2), 3, "a:0", "ab:0,1", "ac:0", "other:0")
	f.env.Topics = f.catalog().without("ab")
	f.wantBeat(f.beat("x", 3), 3, "a:0", "ac:0", "other:0")
	f.wantBeat(f.beat("x", 3, owning(f.catalog().parts("a:0", "ac:0", "other:0"))), 4)
	f.wantBeat(f.beat("y", 0, joins(), matching("a|other")), 5, nothing...)
	f.wantBeat(f.beat("x", 4, matching("")), 4, "other:0")
	f.wantBeat(f.beat("x", 4, owning(f.catalog().parts("other:0"))), 6)
	f.wantBeat(f.beat("y", 5), 6, "a:0")
	f.wantBeat(f.beat("y", 6, matching(".*")), 7, "a:0", "b:0", "abc:0", "ac:0", "__consumer_offsets:0") // internal ones too, as in Kafka
}

func TestPartitionGrowthAndRecreation(t *testing.T) {
	f := newConsumerFixture(t, "t:1")
	f.wantBeat(f.beat("a", 0, joins("t", "missing")), 1, "t:0")
	f.env.Topics = f.catalog().with("other:1")
	f.quiet(func() { f.wantBeat(f.beat("a", 1), 1) })
	f.env.Topics = f.catalog().with("t:3")
	f.wantBeat(f.beat("a", 1), 2, "t:0,1,2")
	f.env.Topics = f.catalog().with("missing:1")
	f.wantBeat(f.beat("a", 2), 3, "t:0,1,2", "missing:0")
	old := f.catalog().parts("t:0,1,2", "missing:0")
	f.env.Topics = f.catalog().without("t").with("t:1") // another topic of that name
	f.wantBeat(f.beat("a", 3, owning(old)), 3, "missing:0")
	f.wantBeat(f.beat("a", 3, owning(f.catalog().parts("missing:0"))), 4, "t:0", "missing:0")
}

// TestOldCatalogUndoesNothing: an agent that doesn't know of a change yet leaves the assignment to others.
func TestOldCatalogUndoesNothing(t *testing.T) {
	f := newConsumerFixture(t, "t:1")
	old := f.env.Topics
	f.beat("a", 0, joins("t"))
	f.env.Topics = f.catalog().with("t:2", "u:1")
	f.wantBeat(f.beat("a", 1), 2, "t:0,1")
	current := f.catalog()

	f.env.Topics = old
	f.quiet(func() { f.wantBeat(f.beat("a", 2), 2) })
	f.wantBeat(f.beat("b", 0, joins("t", "u")), 2, nothing...)
	f.wantPhase(Assigning)
	f.quiet(func() { f.wantBeat(f.beat("a", 2), 2) })
	f.wantBeat(f.beat("a", 2, subscribes("u")), 2, nothing...) // it gives up t in any case
	f.wantBeat(f.beat("a", 2, owning(nil)), 2)

	f.env.Topics = current
	f.wantBeat(f.beat("b", 2), 4, "t:0,1")
	f.wantBeat(f.beat("a", 2), 4, "u:0")
	f.wantPhase(Stable)
}

func TestMostVotesChooseTheAssignor(t *testing.T) {
	f := newConsumerFixture(t, "t:2", "u:2")
	want := func(assignor string) {
		t.Helper()
		if got := f.group().DescribeConsumer(f.env).AssignorName; got != assignor {
			t.Fatalf("the assignor is %q, want %q", got, assignor)
		}
	}
	f.beat("a", 0, joins("t", "u"))
	want(assign.Uniform)
	f.beat("b", 0, joins("t", "u"), votes(assign.Range))
	want(assign.Range)
	if target := f.member("a").Target; !target.Equal(f.catalog().parts("t:0", "u:0")) {
		t.Errorf("not by range: %v", target)
	}
	f.beat("c", 0, joins("t", "u"), votes(assign.Uniform))
	want(assign.Uniform) // as many votes, and named first
	f.beat("b", leaveEpoch)
	f.beat("d", 0, joins("t", "u"), votes(assign.Range))
	f.beat("c", 3, votes(assign.Range))
	want(assign.Range)
	f.env.Limits.ConsumerAssignors = []string{assign.Uniform} // range isn't offered any more
	want(assign.Uniform)
}

func TestDescribeConsumer(t *testing.T) {
	f := newConsumerFixture(t, "t:2", "u:1")
	f.beat("a", 0, joins("t", "u"), matching("u.*"), static("i"), func(req *kmsg.ConsumerGroupHeartbeatRequest) { req.RackID = kmsg.StringPtr("r") })
	f.join("c", version(3))
	got := f.group().DescribeConsumer(f.env)
	if got.Group != "g" || got.State != Reconciling || got.Epoch != 2 || got.AssignmentEpoch != 2 || got.AssignorName != assign.Uniform || got.ErrorCode != 0 || len(got.Members) != 2 {
		t.Fatalf("%+v", got)
	}
	list := func(parts ...string) kmsg.Assignment {
		var a kmsg.Assignment
		for _, part := range parts {
			tp := kmsg.NewAssignmentTopicPartition()
			tp.Topic, tp.Partitions = partOf(part)
			topic, _ := f.catalog().ByName(tp.Topic)
			tp.TopicID = topic.ID
			a.TopicPartitions = append(a.TopicPartitions, tp)
		}
		return a
	}
	a := kmsg.NewConsumerGroupDescribeResponseGroupMember()
	a.MemberID, a.InstanceID, a.RackID, a.MemberEpoch, a.MemberType = "a", kmsg.StringPtr("i"), kmsg.StringPtr("r"), 1, 1
	a.ClientID, a.ClientHost, a.SubscribedTopics, a.SubscribedTopicRegex = "client", "/10.0.0.1", []string{"t", "u"}, kmsg.StringPtr("u.*")
	a.Assignment, a.TargetAssignment = list("t:0,1", "u:0"), list("t:0", "u:0")
	c := kmsg.NewConsumerGroupDescribeResponseGroupMember()
	c.MemberID, c.MemberEpoch, c.MemberType, c.ClientID, c.ClientHost, c.SubscribedTopics = "c", 2, 0, "client", "/10.0.0.1", []string{"t"}
	c.TargetAssignment = list("t:1")
	for i, want := range []kmsg.ConsumerGroupDescribeResponseGroupMember{a, c} {
		got, want := shownMember(t, got.Members[i]), shownMember(t, want)
		if got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}

	f.env.Topics = f.catalog().without("u")
	if got := f.group().DescribeConsumer(f.env).Members[0].Assignment; !reflect.DeepEqual(got, list("t:0,1")) {
		t.Errorf("with a topic deleted: %+v", got)
	}
	if got := New("g").DescribeConsumer(f.env); got.ErrorCode != kerr.GroupIDNotFound.Code || text(got.ErrorMessage) != "Group g is not a consumer group." {
		t.Errorf("%+v", got)
	}
	if got := f.group().DescribeClassic(6); got.ErrorCode != kerr.GroupIDNotFound.Code || got.State != "Dead" {
		t.Errorf("%+v", got)
	}
	if got := f.group().Info(); got != (Info{Type: "consumer", ProtocolType: "consumer", Phase: Reconciling}) {
		t.Errorf("%+v", got)
	}
}

func shownMember(t *testing.T, m kmsg.ConsumerGroupDescribeResponseGroupMember) string {
	t.Helper()
	for _, list := range [][]kmsg.AssignmentTopicPartition{m.Assignment.TopicPartitions, m.TargetAssignment.TopicPartitions} {
		slices.SortFunc(list, func(a, b kmsg.AssignmentTopicPartition) int { return strings.Compare(a.Topic, b.Topic) })
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
