package machine

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestConsumerGroupHeartbeatInvalid(t *testing.T) {
	type options = []beatOption
	for name, test := range map[string]struct {
		memberID string
		epoch    int32
		options  options
		want     *kerr.Error
		message  string
	}{
		"no group": {"a", 0, options{joins("t"), func(req *kmsg.ConsumerGroupHeartbeatRequest) { req.Group = " " }},
			kerr.InvalidRequest, "GroupId can't be empty."},
		"no member ID, joining":            {"", 0, options{joins("t")}, kerr.InvalidRequest, "MemberId can't be empty."},
		"no member ID, version 0":          {"", 1, options{inVersion(0)}, kerr.InvalidRequest, "MemberId can't be empty."},
		"no member ID, version 0, leaving": {"", -1, options{inVersion(0)}, kerr.InvalidRequest, "MemberId can't be empty."},
		"blank member ID":                  {" ", 1, nil, kerr.InvalidRequest, "MemberId can't be empty."},
		"no instance ID":                   {"a", 1, options{static("")}, kerr.InvalidRequest, "InstanceId can't be empty."},
		"no rack": {"a", 1, options{func(req *kmsg.ConsumerGroupHeartbeatRequest) { req.RackID = kmsg.StringPtr("") }},
			kerr.InvalidRequest, "RackId can't be empty."},
		"joining without a rebalance timeout": {"a", 0, options{subscribes("t"), owning(nil)},
			kerr.InvalidRequest, "RebalanceTimeoutMs must be provided in first request."},
		"joining without a list of partitions": {"a", 0, options{joins("t"), func(req *kmsg.ConsumerGroupHeartbeatRequest) { req.Topics = nil }},
			kerr.InvalidRequest, "TopicPartitions must be empty when (re-)joining."},
		"joining with partitions": {"a", 0, options{joins("t"), owning(topics("t:1").parts("t:0"))},
			kerr.InvalidRequest, "TopicPartitions must be empty when (re-)joining."},
		"joining without a subscription": {"a", 0, options{joins(), func(req *kmsg.ConsumerGroupHeartbeatRequest) { req.SubscribedTopicNames = nil }},
			kerr.InvalidRequest, "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining."},
		"leaving for a moment without an instance": {"a", -2, nil, kerr.InvalidRequest, "InstanceId can't be null."},
		"an epoch that is none":                    {"a", -3, nil, kerr.InvalidRequest, "MemberEpoch is invalid."},
		"an unknown assignor": {"a", 0, options{joins("t"), votes("sticky")},
			kerr.UnsupportedAssignor, "ServerAssignor sticky is not supported. Supported assignors: uniform, range."},
		"a regular expression that is none": {"a", 0, options{joins("t"), matching("a)|(b")},
			kerr.InvalidRegularExpression, "SubscribedTopicRegex `a)|(b` is not a valid regular expression: error parsing regexp: unexpected ): `a)|(b`."},
		"look-ahead, which RE2 lacks": {"a", 0, options{joins("t"), matching("(?=a)")},
			kerr.InvalidRegularExpression, "SubscribedTopicRegex `(?=a)` is not a valid regular expression: error parsing regexp: invalid or unsupported Perl syntax: `(?=`."},
		"a topic name not UTF-8": {"a", 0, options{joins("\xff")}, kerr.InvalidRequest, `"\xff" is not valid UTF-8.`},
		"too long a subscription": {"a", 0, options{joins(strings.Repeat("t", limits.MaxMetadataBytes))},
			kerr.MessageTooLarge, "The member's IDs and subscription have 1025 bytes, more than the 1024 that a group keeps of one."},
		"too long a regular expression": {"a", 0, options{joins(), matching(strings.Repeat("t", limits.MaxMetadataBytes))},
			kerr.MessageTooLarge, "The member's IDs and subscription have 1025 bytes, more than the 1024 that a group keeps of one."},
		"a member of a group that doesn't exist":  {"a", 1, nil, kerr.GroupIDNotFound, "Consumer group g not found."},
		"leaving a group that doesn't exist":      {"a", -1, nil, kerr.GroupIDNotFound, "Group g not found."},
		"leaving a group that doesn't exist (-2)": {"a", -2, options{static("i")}, kerr.GroupIDNotFound, "Group g not found."},
	} {
		t.Run(name, func(t *testing.T) {
			f := newConsumerFixture(t, "t:1")
			f.quiet(func() { f.wantRefused(f.beat(test.memberID, test.epoch, test.options...), test.want, test.message) })
		})
	}
}

// TestConsumerGroupHeartbeatErrors has a group of a (epoch 3, before 2) with t 0 and 1, s (static, i, epoch 3) with t 2, and
// away (static, j, gone for a moment).
func TestConsumerGroupHeartbeatErrors(t *testing.T) {
	const rejoin = "The member must abandon all its partitions and rejoin."
	f := newConsumerFixture(t, "t:3")
	f.wantBeat(f.beat("a", 0, joins("t")), 1, "t:0,1,2")
	f.wantBeat(f.beat("s", 0, joins("t"), static("i")), 2, nothing...)
	f.wantBeat(f.beat("a", 1), 1, "t:0,1")
	f.wantBeat(f.beat("a", 1, owning(f.catalog().parts("t:0,1"))), 2)
	f.wantBeat(f.beat("s", 2), 2, "t:2")
	f.wantBeat(f.beat("away", 0, joins(), static("j")), 2, nothing...)
	f.wantBeat(f.beat("away", 2, subscribes("u")), 3)
	f.wantError(f.beat("away", leaveStaticEpoch, static("j")).ErrorCode, nil)
	f.wantBeat(f.beat("a", 2), 3)
	f.wantBeat(f.beat("s", 2), 3)

	parts := f.catalog().parts
	for name, test := range map[string]struct {
		memberID string
		epoch    int32
		options  []beatOption
		want     *kerr.Error
		message  string
	}{
		"unknown member":          {"x", 1, nil, kerr.UnknownMemberID, "Member x is not a member of group g."},
		"unknown member leaves":   {"x", -1, nil, kerr.UnknownMemberID, "Member x is not a member of group g."},
		"unknown instance":        {"a", 3, []beatOption{static("x")}, kerr.UnknownMemberID, "Instance id x is unknown."},
		"unknown instance leaves": {"a", -2, []beatOption{static("x")}, kerr.UnknownMemberID, "Instance id x is unknown."},
		"another's instance":      {"a", 3, []beatOption{static("i")}, kerr.FencedInstanceID, "Static member a with instance id i was fenced by member s."},
		"another's instance leaves": {"a", -1, []beatOption{static("i")},
			kerr.FencedInstanceID, "Static member a with instance id i was fenced by member s."},
		"instance in use": {"x", 0, []beatOption{joins("t"), static("i")},
			kerr.UnreleasedInstanceID, "Static member x with instance id i cannot join the group because the instance id is owned by s member."},
		"an epoch from the future": {"a", 4, nil,
			kerr.FencedMemberEpoch, "The consumer group member has a greater member epoch (4) than the one known by the group coordinator (3). " + rejoin},
		"an epoch of long ago": {"a", 1, []beatOption{owning(parts("t:0"))},
			kerr.FencedMemberEpoch, "The consumer group member has a smaller member epoch (1) than the one known by the group coordinator (3). " + rejoin},
		"the previous epoch, but it doesn't say what it has": {"a", 2, nil,
			kerr.FencedMemberEpoch, "The consumer group member has a smaller member epoch (2) than the one known by the group coordinator (3). " + rejoin},
		"the previous epoch, but it has what isn't its": {"a", 2, []beatOption{owning(parts("t:0,2"))},
			kerr.FencedMemberEpoch, "The consumer group member has a smaller member epoch (2) than the one known by the group coordinator (3). " + rejoin},
		"a static member that is away": {"away", 3, []beatOption{static("j")},
			kerr.FencedMemberEpoch, "The consumer group member has a greater member epoch (3) than the one known by the group coordinator (-2). " + rejoin},
		"a regular expression that is none": {"a", 3, []beatOption{matching("[")},
			kerr.InvalidRegularExpression, "SubscribedTopicRegex `[` is not a valid regular expression: error parsing regexp: missing closing ]: `[`."},
		"too long a subscription": {"a", 3, []beatOption{subscribes(strings.Repeat("t", limits.MaxMetadataBytes))},
			kerr.MessageTooLarge, "The member's IDs and subscription have 1025 bytes, more than the 1024 that a group keeps of one."},
	} {
		t.Run(name, func(t *testing.T) {
			f.TB = t
			f.quiet(func() { f.wantRefused(f.beat(test.memberID, test.epoch, test.options...), test.want, test.message) })
		})
	}
	f.TB = t
	f.quiet(func() { f.wantBeat(f.beat("a", 3), 3) })
	f.quiet(func() { f.wantBeat(f.beat("a", 2, owning(parts("t:0"))), 3) }) // it didn't get the last answer
}

func TestConsumerGroupIsFull(t *testing.T) {
	f := newConsumerFixture(t, "t:9")
	f.env.Limits.ConsumerMaxSize = 2
	f.beat("a", 0, joins("t"))
	f.beat("b", 0, joins("t"), static("i"))
	f.quiet(func() {
		f.wantRefused(f.beat("c", 0, joins("t")), kerr.GroupMaxSizeReached, "The consumer group has reached its maximum capacity of 2 members.")
	})
	resp := f.join("", version(3))
	if f.wantError(resp.ErrorCode, kerr.GroupMaxSizeReached); resp.MemberID != "" {
		t.Errorf("member ID %q", resp.MemberID)
	}
	// Those that are in it already have their place.
	f.wantError(f.beat("a", 0, joins("t")).ErrorCode, nil)
	f.wantError(f.beat("b", leaveStaticEpoch, static("i")).ErrorCode, nil)
	f.wantError(f.beat("c", 0, joins("t"), static("i")).ErrorCode, nil)
	f.wantMembers("a", "c")
}

func TestConsumerCheckCommit(t *testing.T) {
	f := newConsumerFixture(t, "t:1")
	f.beat("a", 0, joins("t"))
	classic := f.join("c", version(3)).Generation
	for name, test := range map[string]struct {
		memberID string
		epoch    int32
		version  int16
		want     *kerr.Error
		txn      *kerr.Error
	}{
		"member":                           {"a", 1, 9, nil, nil},
		"member, old version":              {"a", 1, 8, kerr.UnsupportedVersion, nil},
		"member, old version, wrong epoch": {"a", 7, 8, kerr.UnsupportedVersion, kerr.StaleMemberEpoch},
		"member, wrong epoch":              {"a", 2, 9, kerr.StaleMemberEpoch, kerr.StaleMemberEpoch},
		"member, epoch below zero":         {"a", -1, 9, kerr.StaleMemberEpoch, kerr.StaleMemberEpoch},
		"unknown member":                   {"x", 1, 9, kerr.UnknownMemberID, kerr.UnknownMemberID},
		"nobody":                           {"", -1, 9, kerr.UnknownMemberID, kerr.UnknownMemberID},
		"classic member":                   {"c", classic, 9, nil, nil},
		"classic member, old version":      {"c", classic, 2, nil, nil},
		"classic member, wrong generation": {"c", classic + 1, 8, kerr.IllegalGeneration, kerr.IllegalGeneration},
	} {
		t.Run(name, func(t *testing.T) {
			f.TB = t
			f.wantErr(f.group().CheckCommit(f.env, test.memberID, nil, test.epoch, test.version), test.want)
			f.wantErr(f.group().CheckTxnCommit(f.env, test.memberID, nil, test.epoch), test.txn)
		})
	}
	f.TB = t
	f.wantErr(f.group().CheckDelete(), kerr.NonEmptyGroup)
	f.wantErr(f.group().CheckDeleteOffsets(), nil)
	f.beat("a", leaveEpoch)
	f.leave("c")
	f.wantPhase(Empty)
	f.wantErr(f.group().CheckCommit(f.env, "", nil, -1, 9), nil)
	f.wantErr(f.group().CheckTxnCommit(f.env, "", nil, -1), nil)
	f.wantErr(f.group().CheckCommit(f.env, "a", nil, 1, 9), kerr.UnknownMemberID)
	f.wantErr(f.group().CheckDelete(), nil)
	if !f.group().Empty() {
		t.Error("a group without members is not empty")
	}
}

func TestConsumerCheckFetch(t *testing.T) {
	f := newConsumerFixture(t, "t:1")
	f.beat("a", 0, joins("t"))
	id := func(s string) *string { return &s }
	for _, test := range []struct {
		memberID *string
		epoch    int32
		want     *kerr.Error
	}{
		{nil, -1, nil},
		{id("a"), 1, nil},
		{id("a"), 2, kerr.StaleMemberEpoch},
		{id("x"), 1, kerr.UnknownMemberID},
		{nil, 1, kerr.UnknownMemberID},
		{id(""), -1, kerr.UnknownMemberID},
	} {
		f.wantErr(f.group().CheckFetch(test.memberID, test.epoch), test.want)
	}
}

func TestConsumerOffsetsExpireFromTheirCommitOn(t *testing.T) {
	f := newConsumerFixture(t, "t:1", "abc:1")
	f.beat("a", 0, joins("t"), matching("ab.*"))
	const retention = time.Hour
	for _, test := range []struct {
		topic    string
		age      time.Duration
		expireIn time.Duration
		want     bool
	}{
		{"t", 2 * retention, 0, false},
		{"abc", 2 * retention, 0, false},
		{"abd", 2 * retention, 0, false}, // not there yet, but it would match
		{"zab", 2 * retention, 0, true},
		{"u", retention, 0, true},
		{"u", retention - 1, 0, false},
		{"u", 2 * retention, time.Second, false},
		{"u", 0, -time.Second, true},
	} {
		var expireAt time.Time
		if test.expireIn != 0 {
			expireAt = f.env.Now.Add(test.expireIn)
		}
		if got := f.group().OffsetExpired(f.env.Now, retention, test.topic, f.env.Now.Add(-test.age), expireAt); got != test.want {
			t.Errorf("%s, committed %v ago, to expire in %v: %v", test.topic, test.age, test.expireIn, got)
		}
	}
	f.beat("a", leaveEpoch)
	if f.group().Subscribed("t") || !f.group().OffsetExpired(f.env.Now, retention, "t", f.env.Now.Add(-retention), time.Time{}) {
		t.Error("without members the offsets don't expire")
	}
}
