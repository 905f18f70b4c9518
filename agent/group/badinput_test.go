package group

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/protocol"
)

// largestID is the longest string that the protocol carries.
var largestID = strings.Repeat("g", 32767)

// answerTo sends a request to the agent as the server would.
func answerTo(n *node, req kmsg.Request) kmsg.Response {
	ctx := n.fleet.Context()
	switch req := req.(type) {
	case *kmsg.JoinGroupRequest:
		return n.JoinGroup(ctx, software, nobodyLeaves, req)()
	case *kmsg.SyncGroupRequest:
		return n.SyncGroup(ctx, software, nobodyLeaves, req)()
	case *kmsg.HeartbeatRequest:
		return n.Heartbeat(ctx, software, req)
	case *kmsg.LeaveGroupRequest:
		return n.LeaveGroup(ctx, software, req)
	case *kmsg.ConsumerGroupHeartbeatRequest:
		return n.ConsumerGroupHeartbeat(ctx, software, req)
	case *kmsg.ConsumerGroupDescribeRequest:
		return n.ConsumerGroupDescribe(ctx, software, req)
	case *kmsg.DescribeGroupsRequest:
		return n.DescribeGroups(ctx, software, req)
	case *kmsg.ListGroupsRequest:
		return n.ListGroups(ctx, software, req)
	case *kmsg.DeleteGroupsRequest:
		return n.DeleteGroups(ctx, software, req)
	case *kmsg.OffsetCommitRequest:
		return n.OffsetCommit(ctx, software, req)
	case *kmsg.TxnOffsetCommitRequest:
		return n.TxnOffsetCommit(ctx, software, req)
	case *kmsg.OffsetFetchRequest:
		return n.OffsetFetch(ctx, software, req)
	case *kmsg.OffsetDeleteRequest:
		return n.OffsetDelete(ctx, software, req)
	}
	panic("no handler for " + kmsg.NameForKey(req.Key()))
}

// groupKeys are the APIs of this package.
var groupKeys = []int16{8, 9, 11, 12, 13, 14, 15, 16, 28, 42, 47, 68, 69}

func joinRequest(version int16, group, member string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.SetVersion(version)
	req.Group, req.MemberID, req.ProtocolType = group, member, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 30_000, 60_000
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte{0, 0}}}
	return req
}

func TestBadInputGetsKafkasCodes(t *testing.T) {
	f := newFleet(t, map[string]string{"wadi.group.max.metadata.bytes": "2048", "offset.metadata.max.bytes": "16", "group.max.session.timeout.ms": "60000", "group.max.size": "2"})
	a := f.agent()
	member := f.stable(a, "live")
	text := func(n int) *string { s := strings.Repeat("x", n); return &s }
	commit := func(group, member string, generation int32, metadata *string) *kmsg.OffsetCommitRequest {
		req := kmsg.NewPtrOffsetCommitRequest()
		req.SetVersion(8)
		req.Group, req.MemberID, req.Generation = group, member, generation
		topic := kmsg.OffsetCommitRequestTopic{Topic: "t", Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Offset: 1, Metadata: metadata}}}
		req.Topics = append(req.Topics, topic)
		return req
	}
	heartbeat := func(group, member string, generation int32) *kmsg.HeartbeatRequest {
		req := kmsg.NewPtrHeartbeatRequest()
		req.SetVersion(4)
		req.Group, req.MemberID, req.Generation = group, member, generation
		return req
	}
	sync := func(group, member string, generation int32) *kmsg.SyncGroupRequest {
		req := kmsg.NewPtrSyncGroupRequest()
		req.SetVersion(4)
		req.Group, req.MemberID, req.Generation = group, member, generation
		return req
	}
	leave := func(group, member string) *kmsg.LeaveGroupRequest {
		req := kmsg.NewPtrLeaveGroupRequest()
		req.SetVersion(1)
		req.Group, req.MemberID = group, member
		return req
	}
	changed := func(req *kmsg.JoinGroupRequest, change func(*kmsg.JoinGroupRequest)) *kmsg.JoinGroupRequest {
		change(req)
		return req
	}
	for _, test := range []struct {
		name string
		req  kmsg.Request
		want *kerr.Error
	}{
		{"join without a group", joinRequest(5, "", ""), kerr.InvalidGroupID},
		{"sync without a group", sync("", "m", 1), kerr.InvalidGroupID},
		{"heartbeat without a group", heartbeat("", "m", 1), kerr.InvalidGroupID},
		{"leave without a group", leave("", "m"), kerr.InvalidGroupID},

		{"join with a group ID of 32 KiB", joinRequest(5, largestID, ""), kerr.MemberIDRequired},
		{"heartbeat with a group ID of 32 KiB", heartbeat(largestID, "m", 1), kerr.UnknownMemberID},
		{"commit by hand", commit("by hand", "", -1, nil), nil},
		{"commit with a group ID of 32 KiB", commit(largestID, "", -1, nil), nil},
		{"a group ID that is no text", commit("\x00\xff\xfe", "", -1, nil), nil},
		{"metadata that is no text", commit("odd", "", -1, &[]string{"\x00\xff"}[0]), nil},

		{"join as an unknown member", joinRequest(5, "live", "nobody"), kerr.UnknownMemberID},
		{"heartbeat as an unknown member", heartbeat("live", "nobody", 1), kerr.UnknownMemberID},
		{"heartbeat in an unknown group", heartbeat("nowhere", "nobody", 1), kerr.UnknownMemberID},
		{"sync as an unknown member", sync("live", "nobody", 1), kerr.UnknownMemberID},
		{"sync in an unknown group", sync("nowhere", "nobody", 1), kerr.UnknownMemberID},
		{"leave as an unknown member", leave("live", "nobody"), kerr.UnknownMemberID},
		{"leave an unknown group", leave("nowhere", "nobody"), kerr.UnknownMemberID},
		{"commit as an unknown member", commit("live", "nobody", 1, nil), kerr.UnknownMemberID},
		{"commit without a member to a group with members", commit("live", "", -1, nil), kerr.UnknownMemberID},
		{"commit in an unknown group as if it were known", commit("nowhere", "nobody", 1, nil), kerr.IllegalGeneration},

		{"commit in a generation of a group that never had one", commit("by hand", "nobody", 1, nil), kerr.UnknownMemberID},
		{"delete offsets without a group", &kmsg.OffsetDeleteRequest{}, kerr.InvalidGroupID},
		{"delete offsets of an unknown group", &kmsg.OffsetDeleteRequest{Group: "nowhere"}, kerr.GroupIDNotFound},

		{"heartbeat of a stale generation", heartbeat("live", member.id, 0), kerr.IllegalGeneration},
		{"heartbeat of a generation to come", heartbeat("live", member.id, 2), kerr.IllegalGeneration},
		{"sync of a stale generation", sync("live", member.id, 0), kerr.IllegalGeneration},
		{"commit of a stale generation", commit("live", member.id, 0, nil), kerr.IllegalGeneration},

		{"join without protocols", changed(joinRequest(5, "new", ""), func(r *kmsg.JoinGroupRequest) { r.Protocols = nil }), kerr.InconsistentGroupProtocol},
		{"join without a protocol type", changed(joinRequest(5, "new", ""), func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "" }), kerr.InconsistentGroupProtocol},
		{"join with protocols that nobody shares", changed(joinRequest(5, "live", ""), func(r *kmsg.JoinGroupRequest) { r.Protocols[0].Name = "mine" }), kerr.InconsistentGroupProtocol},
		{"join with another protocol type", changed(joinRequest(5, "live", ""), func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "connect" }), kerr.InconsistentGroupProtocol},
		{"session timeout too short", changed(joinRequest(5, "new", ""), func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 0 }), kerr.InvalidSessionTimeout},
		{"session timeout too long", changed(joinRequest(5, "new", ""), func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 60_001 }), kerr.InvalidSessionTimeout},

		{"offset metadata too large", commit("odd", "", -1, text(17)), kerr.OffsetMetadataTooLarge},
		{"offset metadata as large as allowed", commit("odd", "", -1, text(16)), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			resp := answerTo(a, test.req)
			if resp == nil {
				t.Fatal("no answer")
			}
			code := codeOf(resp)
			switch r := resp.(type) {
			case *kmsg.LeaveGroupResponse:
				code = r.ErrorCode
			case *kmsg.OffsetDeleteResponse:
				code = r.ErrorCode
			case *kmsg.OffsetCommitResponse:
				code = r.Topics[0].Partitions[0].ErrorCode
			}
			want := int16(0)
			if test.want != nil {
				want = test.want.Code
			}
			if code != want {
				t.Errorf("answered %v, want %v", kerr.ErrorForCode(code), kerr.ErrorForCode(want))
			}
		})
	}
	if code := member.heartbeat(a); code != 0 {
		t.Errorf("after all that the group's member is told %v", kerr.ErrorForCode(code))
	}
}

func TestMemberMayNotStoreWhatItLikes(t *testing.T) {
	f := newFleet(t, map[string]string{"wadi.group.max.metadata.bytes": "2048"})
	a := f.agent()
	req := joinRequest(3, "g", "")
	req.Protocols[0].Metadata = make([]byte, 2049)
	if resp := answerTo(a, req).(*kmsg.JoinGroupResponse); resp.ErrorCode == 0 || kerr.IsRetriable(kerr.ErrorForCode(resp.ErrorCode)) {
		t.Errorf("a join with more than wadi.group.max.metadata.bytes is answered %v, want an error that ends it", kerr.ErrorForCode(resp.ErrorCode))
	}
	req.Protocols[0].Metadata = make([]byte, 1024)
	if resp := answerTo(a, req).(*kmsg.JoinGroupResponse); resp.ErrorCode != 0 {
		t.Errorf("a join with less is answered %v", kerr.ErrorForCode(resp.ErrorCode))
	}
}

func TestClientIDThatIsNoText(t *testing.T) {
	f := newFleet(t, nil)
	a := f.agent()
	odd := protocol.Client{ID: "\xff\xfe", Host: "127.0.0.1"}
	resp := a.JoinGroup(t.Context(), odd, nobodyLeaves, joinRequest(3, "g", ""))().(*kmsg.JoinGroupResponse)
	if resp.ErrorCode != 0 || resp.Generation != 1 {
		t.Errorf("answered %+v", resp)
	}
}

// TestSecondMemberOfAnInstanceFencesTheFirst: two consumers run with one
// group.instance.id, by mistake.
func TestSecondMemberOfAnInstanceFencesTheFirst(t *testing.T) {
	f := newFleet(t, nil)
	a, b := f.agent(), f.agent()
	instance := "printer-1"
	first, second := f.client("g"), f.client("g")
	first.instance, second.instance = &instance, &instance
	first.joined(first.joinStart(a, nil)())
	if resp := first.syncStart(a, first.id)(); resp.ErrorCode != 0 {
		t.Fatalf("%+v", resp)
	}
	if resp := second.joined(second.joinStart(b, nil)()); resp.ErrorCode != 0 || resp.Generation != 1 {
		t.Fatalf("the second was answered %+v", resp)
	}
	f.eventually("the first is told", func() bool { return first.heartbeat(a) == kerr.FencedInstanceID.Code })
	if codes := first.commit(a, 1); !slices.Equal(codes, []int16{kerr.FencedInstanceID.Code}) {
		t.Errorf("its commit is answered %v", codes)
	}
	if code := second.heartbeat(b); code != 0 {
		t.Errorf("the second is told %v", kerr.ErrorForCode(code))
	}
}

// TestRepetitionsAreAnsweredOnce: an answer is never many times as large as its question.
func TestRepetitionsAreAnsweredOnce(t *testing.T) {
	f := newFleet(t, nil)
	a := f.agent()
	f.stable(a, "g").commit(a, 1, 2, 3, 4)
	many := make([]string, 1000)
	for i := range many {
		many[i] = []string{"g", "nowhere"}[i%2]
	}
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.SetVersion(6)
	describe.Groups = many
	if got := answerTo(a, describe).(*kmsg.DescribeGroupsResponse).Groups; len(got) != 2 || got[0].Group != "g" || got[1].Group != "nowhere" {
		t.Errorf("described %d groups", len(got))
	}
	consumers := kmsg.NewPtrConsumerGroupDescribeRequest()
	consumers.Groups = many
	if got := answerTo(a, consumers).(*kmsg.ConsumerGroupDescribeResponse).Groups; len(got) != 2 {
		t.Errorf("described %d consumer groups", len(got))
	}
	fetch := kmsg.NewPtrOffsetFetchRequest()
	fetch.SetVersion(8)
	for range 100 {
		topic := kmsg.OffsetFetchRequestGroupTopic{Topic: "t", Partitions: slices.Repeat([]int32{0, 3, 77}, 100)}
		fetch.Groups = append(fetch.Groups, kmsg.OffsetFetchRequestGroup{Group: "g", Topics: []kmsg.OffsetFetchRequestGroupTopic{topic}})
	}
	groups := answerTo(a, fetch).(*kmsg.OffsetFetchResponse).Groups
	partitions := 0
	for _, g := range groups {
		for _, topic := range g.Topics {
			partitions += len(topic.Partitions)
		}
	}
	if len(groups) != 1 || partitions != 3 {
		t.Errorf("fetched %d partitions in %d groups, want 3 in 1", partitions, len(groups))
	}
	fetch.Groups = append(fetch.Groups, kmsg.OffsetFetchRequestGroup{Group: "g"})
	groups = answerTo(a, fetch).(*kmsg.OffsetFetchResponse).Groups
	if len(groups) != 1 || len(groups[0].Topics) != 1 || len(groups[0].Topics[0].Partitions) != 4 {
		t.Errorf("fetched %+v, want all 4", groups)
	}
}

// TestRandomRequests sends odd requests of every API and version: each has an
// answer, and a member that behaves is not harmed.
func TestRandomRequests(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	randomRequests(t, rand.New(rand.NewPCG(seed, 0)), 400)
}

func FuzzRequests(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { randomRequests(t, rand.New(rand.NewPCG(seed, 0)), 20) })
}

func randomRequests(t *testing.T, random *rand.Rand, n int) {
	f := newFleet(t, nil)
	a := f.agent()
	member := f.stable(a, "live")
	for range n {
		key := groupKeys[random.IntN(len(groupKeys))]
		req := kmsg.RequestForKey(key)
		i := slices.IndexFunc(protocol.Versions(), func(v protocol.VersionRange) bool { return v.Key == key })
		v := protocol.Versions()[i]
		req.SetVersion(v.Min + int16(random.IntN(int(v.Max-v.Min)+1)))
		oddly(random, reflect.ValueOf(req).Elem())
		answered := make(chan kmsg.Response, 1)
		switch req.(type) {
		case *kmsg.JoinGroupRequest, *kmsg.SyncGroupRequest:
			go func() { answered <- answerTo(a, req) }() // may wait for others that never come
		default:
			answered <- answerTo(a, req)
			if resp := <-answered; resp == nil {
				t.Fatalf("%s %d has no answer: %+v", kmsg.NameForKey(key), req.GetVersion(), req)
			}
		}
	}
	if code := member.heartbeat(a); code != 0 && code != kerr.RebalanceInProgress.Code {
		t.Errorf("after that the member is told %v", kerr.ErrorForCode(code))
	}
	a.Drain() // answers those that wait
}

var oddStrings = []string{"", "live", "odd", "t", "range", "consumer", "\x00", "\xff\xfe", largestID}

// oddly fills a request with values that are odd, and sometimes right. It never
// says the live member's ID, which nobody can guess.
func oddly(random *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; name != "Version" && name != "UnknownTags" {
				oddly(random, v.Field(i))
			}
		}
	case reflect.Slice:
		if n := random.IntN(4); n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n-1, n-1))
			for i := range n - 1 {
				oddly(random, v.Index(i))
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			oddly(random, v.Index(i))
		}
	case reflect.Pointer:
		if random.IntN(2) == 0 {
			v.Set(reflect.New(v.Type().Elem()))
			oddly(random, v.Elem())
		}
	case reflect.String:
		v.SetString(oddStrings[random.IntN(len(oddStrings))])
	case reflect.Bool:
		v.SetBool(random.IntN(2) == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt([]int64{0, 1, -1, -2, 2, 30_000, 1 << 30, -1 << 31}[random.IntN(8)])
	case reflect.Uint8:
		v.SetUint(uint64(random.IntN(256)))
	}
}
