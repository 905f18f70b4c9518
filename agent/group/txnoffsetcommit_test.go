package group

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
)

// producer is a transactional producer.
type producer struct {
	t   testing.TB
	id  string
	now metadata.ProducerEpoch
	n   *node
}

// producer initialises one.
func (f *fleet) producer(n *node, id string) *producer {
	f.Helper()
	p := &producer{t: f, id: id, n: n}
	p.now = p.change(metadata.InitProducer{Timeout: time.Minute, Expected: metadata.NoProducer, NewProducerID: 7}).Producer
	return p
}

func (p *producer) change(op metadata.TransactionOp) metadata.TransactionResult {
	p.t.Helper()
	result, err := transactionsOf{p.n.spy}.Change(p.t.Context(), p.id, op)
	if err = errors.Join(err, result.Err); err != nil {
		p.t.Fatalf("%T: %v", op, err)
	}
	return result
}

// add is AddOffsetsToTxn.
func (p *producer) add(group string) {
	p.t.Helper()
	p.change(metadata.AddToTransaction{Producer: p.now, Group: &group})
}

func (p *producer) end(commit bool) {
	p.t.Helper()
	p.now = p.change(metadata.EndTransaction{Producer: p.now, Commit: commit, Version: metadata.TransactionV2, NewProducerID: 8}).Producer
}

// offsets is a request that puts offsets of the topic "t" aside.
func (p *producer) offsets(version int16, group string, offsets ...int64) *kmsg.TxnOffsetCommitRequest {
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.SetVersion(version)
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = p.id, p.now.ID, p.now.Epoch, group
	topic := kmsg.NewTxnOffsetCommitRequestTopic()
	topic.Topic = "t"
	for i, offset := range offsets {
		partition := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		text := fmt.Sprint("at ", offset)
		partition.Partition, partition.Offset, partition.Metadata = int32(i), offset, &text
		topic.Partitions = append(topic.Partitions, partition)
	}
	req.Topics = append(req.Topics, topic)
	return req
}

// as has the request say which member of its group it acts for.
func (c *client) as(req *kmsg.TxnOffsetCommitRequest) *kmsg.TxnOffsetCommitRequest {
	req.MemberID, req.InstanceID, req.Generation = c.id, c.instance, c.generation
	return req
}

// put sends the request and returns the partitions' errors.
func (p *producer) put(n *node, req *kmsg.TxnOffsetCommitRequest) (codes []string) {
	p.t.Helper()
	resp := n.TxnOffsetCommit(p.t.Context(), software, req)
	if len(resp.Topics) != len(req.Topics) {
		p.t.Fatalf("%d topics in the answer to %d", len(resp.Topics), len(req.Topics))
	}
	for i, topic := range resp.Topics {
		if topic.Topic != req.Topics[i].Topic || len(topic.Partitions) != len(req.Topics[i].Partitions) {
			p.t.Fatalf("%+v answers %+v", topic, req.Topics[i])
		}
		for j, partition := range topic.Partitions {
			if partition.Partition != req.Topics[i].Partitions[j].Partition {
				p.t.Fatalf("%+v answers %+v", topic, req.Topics[i])
			}
			codes = append(codes, errorName(partition.ErrorCode))
		}
	}
	return codes
}

func errorName(code int16) string {
	if code == 0 {
		return "ok"
	}
	return kerr.TypedErrorForCode(code).Message
}

// wantPut requires one error of all partitions.
func (p *producer) wantPut(n *node, req *kmsg.TxnOffsetCommitRequest, want string) {
	p.t.Helper()
	if codes := p.put(n, req); len(codes) == 0 || slices.ContainsFunc(codes, func(code string) bool { return code != want }) {
		p.t.Fatalf("version %d is answered %v, want %s", req.Version, codes, want)
	}
}

// fetched shows the offsets of the group in the topic "t", of all its partitions if none are named.
func fetched(n *node, group string, stable bool, partitions ...int32) string {
	var shown [2]string
	for i, version := range []int16{7, 8} {
		req := kmsg.NewPtrOffsetFetchRequest()
		req.SetVersion(version)
		req.RequireStable = stable
		if version == 7 {
			req.Group = group
			if partitions != nil {
				req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: partitions}}
			}
		} else {
			g := kmsg.NewOffsetFetchRequestGroup()
			g.Group = group
			if partitions != nil {
				g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", Partitions: partitions}}
			}
			req.Groups = append(req.Groups, g)
		}
		resp := n.OffsetFetch(n.fleet.Context(), software, req)
		var line []string
		show := func(partition int32, offset int64, epoch int32, metadata *string, code int16) {
			text := fmt.Sprintf("%d:%d", partition, offset)
			if code != 0 {
				text += " " + errorName(code)
			}
			if (offset == -1) != (*metadata == "") || epoch != -1 {
				text += fmt.Sprintf(" with metadata %q, epoch %d", *metadata, epoch)
			}
			line = append(line, text)
		}
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				show(p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode)
			}
		}
		for _, g := range resp.Groups {
			for _, topic := range g.Topics {
				for _, p := range topic.Partitions {
					show(p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode)
				}
			}
		}
		shown[i] = strings.Join(line, ", ")
	}
	if shown[0] != shown[1] {
		return fmt.Sprintf("version 7: %s; version 8: %s", shown[0], shown[1])
	}
	return shown[0]
}

func (f *fleet) wantFetched(n *node, group, want string, stable bool, partitions ...int32) {
	f.Helper()
	if got := fetched(n, group, stable, partitions...); got != want {
		f.Errorf("fetched %q, want %q (stable: %v)", got, want, stable)
	}
}

func TestOffsetsOfATransactionCountWhenItIsCommitted(t *testing.T) {
	for _, version := range []int16{0, 1, 2, 3, 4, 5} {
		t.Run(fmt.Sprint("v", version), func(t *testing.T) {
			f := newFleet(t, nil)
			a, b := f.agent(), f.agent()
			c := f.client("g")
			c.commit(a, 10, 20)
			p := f.producer(b, "tx")
			for _, commit := range []bool{false, true} {
				if version < 5 {
					p.add("g")
				}
				p.wantPut(a, p.offsets(version, "g", 11, 20, 30), "ok")
				for _, n := range []*node{a, b} {
					f.wantFetched(n, "g", "0:10, 1:20, 2:-1, 3:-1", false, 0, 1, 2, 3)
					f.wantFetched(n, "g", "0:-1 UNSTABLE_OFFSET_COMMIT, 1:-1 UNSTABLE_OFFSET_COMMIT, 2:-1 UNSTABLE_OFFSET_COMMIT, 3:-1", true, 0, 1, 2, 3)
					f.wantFetched(n, "g", "0:10, 1:20", false)
					f.wantFetched(n, "g", "0:-1 UNSTABLE_OFFSET_COMMIT, 1:-1 UNSTABLE_OFFSET_COMMIT", true)
				}
				p.end(commit)
				want := map[bool]string{false: "0:10, 1:20, 2:-1", true: "0:11, 1:20, 2:30"}[commit]
				f.wantFetched(b, "g", want, true, 0, 1, 2)
				f.wantFetched(b, "g", want, false, 0, 1, 2)
			}
		})
	}
}

// TestTxnOffsetCommitAnswers is every state of the transaction and every way in which
// requests and groups misfit, as Kafka 4.2 answers them.
func TestTxnOffsetCommitAnswers(t *testing.T) {
	f := newFleet(t, map[string]string{"offset.metadata.max.bytes": "16"})
	a := f.agent()
	live := f.stable(a, "live")
	instance := "i"
	static := f.client("static")
	static.instance = &instance
	static.joined(static.joinStart(a, nil)())
	static.syncStart(a, static.id)()
	modern := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	modern.SetVersion(1)
	modern.Group, modern.MemberID, modern.RebalanceTimeoutMillis = "modern", "m", 60_000
	modern.SubscribedTopicNames, modern.Topics = []string{"t"}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	if resp := a.ConsumerGroupHeartbeat(t.Context(), software, modern); resp.ErrorCode != 0 {
		t.Fatalf("%+v", resp)
	}
	f.client("by hand").commit(a, 1)
	// The groups "joining" and "syncing" have a second member: the first hasn't joined
	// again yet, or has, and brought no assignment.
	joining, syncing := f.stable(a, "joining"), f.stable(a, "syncing")
	for _, first := range []*client{joining, syncing} {
		second := f.client(first.group)
		second.ask(a)
		go second.joinStart(a, nil)()
		f.eventually("the rebalance begins", func() bool { return first.heartbeat(a) == kerr.RebalanceInProgress.Code })
	}
	if resp := syncing.joined(syncing.joinStart(a, nil)()); resp.ErrorCode != 0 || resp.Generation != 2 {
		t.Fatalf("%+v", resp)
	}
	left := f.stable(a, "left")
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.SetVersion(1)
	leave.Group, leave.MemberID = "left", left.id
	if resp := a.LeaveGroup(t.Context(), software, leave); resp.ErrorCode != 0 {
		t.Fatalf("%+v", resp)
	}

	p := f.producer(a, "tx")
	type change = func(*kmsg.TxnOffsetCommitRequest)
	member := func(id string, instance *string, generation int32) change {
		return func(r *kmsg.TxnOffsetCommitRequest) {
			r.MemberID, r.InstanceID, r.Generation = id, instance, generation
		}
	}
	unknownID := func(r *kmsg.TxnOffsetCommitRequest) { r.TransactionalID = "nope" }
	both := func(changes ...change) change {
		return func(r *kmsg.TxnOffsetCommitRequest) {
			for _, c := range changes {
				c(r)
			}
		}
	}
	for _, test := range []struct {
		name  string
		group string
		from  int16 // the first version that can say it
		// change is what is wrong, nil for nothing.
		change change
		// want is the answer when the group is in the transaction, outside that to versions 0
		// to 3 when it isn't. From 4 on INVALID_TXN_STATE is TRANSACTION_ABORTABLE, and 5 adds the group.
		want, outside string
	}{
		{"nobody's", "by hand", 0, nil, "ok", "INVALID_TXN_STATE"},
		{"nobody's, in a group with members", "live", 0, nil, "ok", "INVALID_TXN_STATE"},
		{"nobody's, in a group that members left", "left", 0, nil, "ok", "INVALID_TXN_STATE"},
		{"nobody's, in a consumer group", "modern", 0, nil, "UNKNOWN_MEMBER_ID", "INVALID_TXN_STATE"},
		{"a member's", "live", 3, member(live.id, nil, 1), "ok", "INVALID_TXN_STATE"},
		{"a static member's", "static", 3, member(static.id, &instance, 1), "ok", "INVALID_TXN_STATE"},
		{"a consumer's", "modern", 3, member("m", nil, 1), "ok", "INVALID_TXN_STATE"},
		{"nobody's, while members join", "joining", 0, nil, "ok", "INVALID_TXN_STATE"},
		{"a member's, while others join", "joining", 3, member(joining.id, nil, 1), "ok", "INVALID_TXN_STATE"},
		{"a member's, before it has its partitions", "syncing", 3, member(syncing.id, nil, 2), "ok", "INVALID_TXN_STATE"},
		{"a member's, before it has joined again", "syncing", 3, member(syncing.id, nil, 1), "ILLEGAL_GENERATION", "INVALID_TXN_STATE"},
		{"a member's of an older generation", "live", 3, member(live.id, nil, 0), "ILLEGAL_GENERATION", "INVALID_TXN_STATE"},
		{"a consumer's of an older epoch", "modern", 3, member("m", nil, 0), "ILLEGAL_GENERATION", "INVALID_TXN_STATE"},
		{"another's", "live", 3, member("x", nil, 1), "UNKNOWN_MEMBER_ID", "INVALID_TXN_STATE"},
		{"another's, in a consumer group", "modern", 3, member("x", nil, 1), "UNKNOWN_MEMBER_ID", "INVALID_TXN_STATE"},
		{"a replaced static member's", "static", 3, member("x", &instance, 1), "FENCED_INSTANCE_ID", "INVALID_TXN_STATE"},
		{"a member's that left", "left", 3, member(left.id, nil, 1), "UNKNOWN_MEMBER_ID", "INVALID_TXN_STATE"},
		{"a member's of a group without", "by hand", 3, member("x", nil, 1), "UNKNOWN_MEMBER_ID", "INVALID_TXN_STATE"},
		{"a member's of no group", "none", 3, member("x", nil, 1), "ILLEGAL_GENERATION", "INVALID_TXN_STATE"},

		{"an unknown transactional ID", "live", 0, unknownID, "INVALID_PRODUCER_ID_MAPPING", "INVALID_PRODUCER_ID_MAPPING"},
		{"another producer", "live", 0, func(r *kmsg.TxnOffsetCommitRequest) { r.ProducerID++ }, "INVALID_PRODUCER_ID_MAPPING", "INVALID_PRODUCER_ID_MAPPING"},
		{"no producer", "live", 0, func(r *kmsg.TxnOffsetCommitRequest) { r.ProducerID, r.ProducerEpoch = -1, -1 }, "INVALID_PRODUCER_ID_MAPPING", "INVALID_PRODUCER_ID_MAPPING"},
		{"an older epoch", "live", 0, func(r *kmsg.TxnOffsetCommitRequest) { r.ProducerEpoch-- }, "INVALID_PRODUCER_EPOCH", "INVALID_PRODUCER_EPOCH"},
		{"an epoch to come", "live", 0, func(r *kmsg.TxnOffsetCommitRequest) { r.ProducerEpoch++ }, "INVALID_PRODUCER_EPOCH", "INVALID_PRODUCER_EPOCH"},
		{"an unknown ID of an old member", "live", 3, both(unknownID, member(live.id, nil, 0)), "INVALID_PRODUCER_ID_MAPPING", "INVALID_PRODUCER_ID_MAPPING"},
		{"an unknown ID and no group", "none", 0, unknownID, "INVALID_PRODUCER_ID_MAPPING", "INVALID_PRODUCER_ID_MAPPING"},

		{"no transactional ID", "live", 0, func(r *kmsg.TxnOffsetCommitRequest) { r.TransactionalID = "" }, "INVALID_REQUEST", "INVALID_REQUEST"},
		{"no group ID", "", 0, nil, "INVALID_GROUP_ID", "INVALID_GROUP_ID"},
		{"an unknown topic", "live", 0, func(r *kmsg.TxnOffsetCommitRequest) { r.Topics[0].Topic = "nope" }, "UNKNOWN_TOPIC_OR_PARTITION", "UNKNOWN_TOPIC_OR_PARTITION"},
		{"an unknown partition", "live", 0, func(r *kmsg.TxnOffsetCommitRequest) { r.Topics[0].Partitions[0].Partition = 4 }, "UNKNOWN_TOPIC_OR_PARTITION", "UNKNOWN_TOPIC_OR_PARTITION"},
		{"a negative partition", "live", 0, func(r *kmsg.TxnOffsetCommitRequest) { r.Topics[0].Partitions[0].Partition = -1 }, "UNKNOWN_TOPIC_OR_PARTITION", "UNKNOWN_TOPIC_OR_PARTITION"},
		{"metadata that is too large", "live", 0, func(r *kmsg.TxnOffsetCommitRequest) {
			long := strings.Repeat("x", 17)
			r.Topics[0].Partitions[0].Metadata = &long
		}, "OFFSET_METADATA_TOO_LARGE", "OFFSET_METADATA_TOO_LARGE"},
		{"no metadata", "live", 0, func(r *kmsg.TxnOffsetCommitRequest) { r.Topics[0].Partitions[0].Metadata = nil }, "ok", "INVALID_TXN_STATE"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p.t, f.TB = t, t
			for version := test.from; version <= 5; version++ {
				ask := func() *kmsg.TxnOffsetCommitRequest {
					req := p.offsets(version, test.group, 5)
					if test.change != nil {
						test.change(req)
					}
					return req
				}
				outside := test.outside
				switch {
				case version == 5:
					outside = test.want
				case version == 4 && outside == "INVALID_TXN_STATE":
					outside = "TRANSACTION_ABORTABLE"
				}
				p.wantPut(a, ask(), outside)
				p.end(false)
				p.add(test.group)
				p.wantPut(a, ask(), test.want)
				p.end(false)
			}
		})
	}
	p.t, f.TB = t, t
	infos, err := a.spy.ListGroups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		if info.ID == "none" || info.ID == "" {
			t.Errorf("a refused request left the group %+v behind", info)
		}
	}
	if code := live.heartbeat(a); code != 0 {
		t.Errorf("after all that the member is told %v", kerr.ErrorForCode(code))
	}
}

func TestTxnOffsetCommitErrorsArePerPartition(t *testing.T) {
	f := newFleet(t, nil)
	a := f.agent()
	p := f.producer(a, "tx")
	req := p.offsets(5, "g", 1, 2)
	req.Topics[0].Partitions[1].Partition = 9
	unknown := p.offsets(5, "g", 1).Topics[0]
	unknown.Topic = "nope"
	req.Topics = append(req.Topics, unknown)
	want := []string{"ok", "UNKNOWN_TOPIC_OR_PARTITION", "UNKNOWN_TOPIC_OR_PARTITION"}
	if codes := p.put(a, req); !slices.Equal(codes, want) {
		t.Errorf("answered %v, want %v", codes, want)
	}
	p.end(true)
	f.wantFetched(a, "g", "0:1, 1:-1", true, 0, 1)
}

// TestOffsetsOfAnOlderGenerationNeverCount is KIP-447's race: the group goes on to its
// next generation between the check of the member and the writing of its offsets.
func TestOffsetsOfAnOlderGenerationNeverCount(t *testing.T) {
	f := newFleet(t, nil)
	a, b := f.agent(), f.agent()
	c := f.stable(a, "g")
	p := f.producer(b, "tx")
	p.add("g")
	old := *c
	changes := 0
	a.spy.disturb(func(kind string) error {
		if kind != "change" {
			return nil
		}
		if changes++; changes == 1 { // its member was checked
			second := f.client("g")
			second.ask(b)
			joining := second.joinStart(b, nil)
			f.eventually("the rebalance begins", func() bool { return c.heartbeat(b) == kerr.RebalanceInProgress.Code })
			if resp := c.joined(c.joinStart(b, nil)()); resp.ErrorCode != 0 || resp.Generation != 2 {
				t.Errorf("joined again: %+v", resp)
			}
			second.joined(joining())
		}
		return nil
	}, nil)
	p.wantPut(a, old.as(p.offsets(5, "g", 5)), "ILLEGAL_GENERATION")
	if changes != 2 {
		t.Errorf("the store was asked %d times", changes)
	}
	p.end(true)
	f.wantFetched(b, "g", "0:-1", true, 0)
	// In the new generation it may, also before its members have their partitions.
	p.wantPut(a, c.as(p.offsets(5, "g", 6)), "ok")
	p.end(true)
	f.wantFetched(b, "g", "0:6", true, 0)
}

// TestTxnOffsetCommitGoesOnWhenItsGroupChanged: the group has another version, and the
// member is still in its generation.
func TestTxnOffsetCommitGoesOnWhenItsGroupChanged(t *testing.T) {
	f := newFleet(t, nil)
	a, b := f.agent(), f.agent()
	c := f.stable(a, "g")
	p := f.producer(a, "tx")
	touch := func() {
		groups, _, err := b.spy.LoadGroups(t.Context(), []metadata.GroupRef{{ID: "g"}})
		if err == nil {
			_, err = b.spy.StoreGroup(t.Context(), "g", groups[0].Version, groups[0].GroupState)
		}
		if err != nil {
			t.Error(err)
		}
	}
	for _, test := range []struct {
		times int
		want  string
	}{{3, "ok"}, {1 << 30, "COORDINATOR_LOAD_IN_PROGRESS"}} {
		changes := 0
		a.spy.disturb(func(kind string) error {
			if kind == "change" {
				if changes++; changes <= test.times {
					touch()
				}
			}
			return nil
		}, nil)
		p.wantPut(a, c.as(p.offsets(5, "g", 5)), test.want)
		if want := min(test.times+1, applyAttempts); changes != want {
			t.Errorf("asked %d times, want %d", changes, want)
		}
	}
}

// TestGroupIsEnteredOnlyForATransactionThatMayUseIt: two producers at two agents use a
// group that isn't there.
func TestGroupIsEnteredOnlyForATransactionThatMayUseIt(t *testing.T) {
	f := newFleet(t, nil)
	a, b := f.agent(), f.agent()
	p := f.producer(a, "tx")
	other := &producer{t: t, id: "other", n: b}
	other.now = other.change(metadata.InitProducer{Timeout: time.Minute, Expected: metadata.NoProducer, NewProducerID: 9}).Producer
	fenced := *p
	fenced.now.Epoch++
	p.wantPut(a, fenced.offsets(5, "g", 5), "INVALID_PRODUCER_EPOCH")
	if infos, err := a.spy.ListGroups(t.Context()); err != nil || len(infos) != 0 {
		t.Fatalf("there are groups %+v, %v", infos, err)
	}
	stores := 0
	a.spy.disturb(func(kind string) error {
		if kind == "store" {
			stores++
			other.wantPut(b, other.offsets(5, "g", 1, 2), "ok") // enters it first
		}
		return nil
	}, nil)
	p.wantPut(a, p.offsets(5, "g", 5), "ok")
	if stores == 0 {
		t.Fatal("the group was not entered")
	}
	p.end(true)
	f.wantFetched(a, "g", "0:-1 UNSTABLE_OFFSET_COMMIT, 1:-1 UNSTABLE_OFFSET_COMMIT", true, 0, 1)
	f.wantFetched(a, "g", "0:5, 1:-1", false, 0, 1)
	other.end(false)
	f.wantFetched(a, "g", "0:5, 1:-1", true, 0, 1)
}

func TestTxnOffsetCommitStoreFaults(t *testing.T) {
	lost := func(kind string, err error) func(string) error {
		return func(k string) error {
			if k == kind {
				return err
			}
			return nil
		}
	}
	for _, test := range []struct {
		name          string
		before, after func(string) error
		want, old     string
	}{
		{"the group can't be read", lost("load", metadata.ErrUnavailable), nil, "COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE"},
		{"the offsets can't be written", lost("change", metadata.ErrUnavailable), nil, "COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE"},
		{"they are written and the reply is lost", nil, lost("change", metadata.ErrOutcomeUnknown), "COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE"},
		{"the wait ends", lost("change", context.DeadlineExceeded), nil, "COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE"},
		{"nobody knows what happened", lost("change", errors.New("a bug")), nil, "UNKNOWN_SERVER_ERROR", "UNKNOWN_SERVER_ERROR"},
		{"the group can't be entered", lost("store", metadata.ErrUnavailable), nil, "COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFleet(t, nil)
			a := f.agent()
			p := f.producer(a, "tx")
			p.add("g")
			for version := int16(0); version <= 5; version++ {
				want := test.want
				if version < 2 {
					want = test.old
				}
				a.spy.disturb(test.before, test.after)
				p.wantPut(a, p.offsets(version, "g", 5), want)
			}
			a.spy.disturb(nil, nil)
			p.wantPut(a, p.offsets(3, "g", 5), "ok") // the client asks again
			p.end(true)
			f.wantFetched(a, "g", "0:5", true, 0)
		})
	}
}

// TestGroupOfAnOpenTransactionIsNotCleanedUp: neither the offset that is about to be
// replaced expires, nor does the group go that has only offsets to come.
func TestGroupOfAnOpenTransactionIsNotCleanedUp(t *testing.T) {
	f := newFleet(t, nil)
	a := f.agent()
	p := f.producer(a, "tx")
	f.client("old").commit(a, 1, 2)
	p.wantPut(a, p.offsets(5, "old", 11), "ok")
	p.wantPut(a, p.offsets(5, "new", 12), "ok")
	clean := func() {
		t.Helper()
		for _, group := range []string{"old", "new"} {
			if err := a.expireGroup(t.Context(), group, -time.Second); err != nil {
				t.Fatal(err)
			}
		}
	}
	clean()
	f.wantFetched(a, "old", "0:1, 1:-1", false, 0, 1) // the other partition's has expired
	infos, err := a.spy.ListGroups(t.Context())
	if err != nil || len(infos) != 2 {
		t.Fatalf("there are groups %+v, %v", infos, err)
	}
	p.end(true)
	f.wantFetched(a, "old", "0:11", true)
	f.wantFetched(a, "new", "0:12", true)
	clean()
	if infos, err := a.spy.ListGroups(t.Context()); err != nil || len(infos) != 0 {
		t.Errorf("there are still groups %+v, %v", infos, err)
	}
}

// TestDeletedGroupForgetsOpenTransactions: what a transaction held for the group doesn't
// come back with its end.
func TestDeletedGroupForgetsOpenTransactions(t *testing.T) {
	f := newFleet(t, nil)
	a := f.agent()
	p := f.producer(a, "tx")
	p.wantPut(a, p.offsets(5, "g", 5), "ok")
	if code := deleteGroup(a, "g"); code != 0 {
		t.Fatal(kerr.ErrorForCode(code))
	}
	f.wantFetched(a, "g", "0:-1", true, 0)
	p.wantPut(a, p.offsets(5, "g", 0, 6), "ok") // which makes it again
	f.wantFetched(a, "g", "0:-1 UNSTABLE_OFFSET_COMMIT, 1:-1 UNSTABLE_OFFSET_COMMIT, 2:-1", true, 0, 1, 2)
	p.end(true)
	f.wantFetched(a, "g", "0:0, 1:6", true)
}

// TestDeletedOffsetsAreThoseOfOpenTransactionsToo, as in Kafka, whose tombstones mean both.
func TestDeletedOffsetsAreThoseOfOpenTransactionsToo(t *testing.T) {
	f := newFleet(t, nil)
	a := f.agent()
	p := f.producer(a, "tx")
	f.client("g").commit(a, 1, 2)
	p.wantPut(a, p.offsets(5, "g", 11, 12, 13), "ok")
	req := kmsg.NewPtrOffsetDeleteRequest()
	req.Group = "g"
	req.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}, {Partition: 2}}}}
	for _, partition := range a.OffsetDelete(t.Context(), software, req).Topics[0].Partitions {
		if partition.ErrorCode != 0 {
			t.Errorf("partition %d: %v", partition.Partition, kerr.ErrorForCode(partition.ErrorCode))
		}
	}
	f.wantFetched(a, "g", "0:-1, 1:-1 UNSTABLE_OFFSET_COMMIT, 2:-1", true, 0, 1, 2)
	p.end(true)
	f.wantFetched(a, "g", "1:12", true)
}
