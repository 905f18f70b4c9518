package machine

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/group/assign"
)

const (
	consumerSession   = 45 * time.Second
	consumerLasts     = consumerSession + consumerSession/8
	heartbeatInterval = 5 * time.Second
)

// catalog is Topics as a value: a change makes another one.
type catalog struct {
	seq    int64
	topics []Topic // sorted by name
}

// topicID makes the ID of a topic from its name and the catalog in which it was created.
func topicID(name string, created int64) uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte(fmt.Sprint(name, created)))
}

// topics makes a catalog of descriptions like "a:3", topic a with three partitions.
func topics(descriptions ...string) catalog {
	return catalog{}.with(descriptions...)
}

// with creates topics, or adds partitions to them.
func (c catalog) with(descriptions ...string) catalog {
	changed := catalog{seq: c.seq + 1, topics: slices.Clone(c.topics)}
	for _, description := range descriptions {
		name, count, _ := strings.Cut(description, ":")
		partitions, err := strconv.Atoi(count)
		if err != nil {
			panic(err)
		}
		at, found := slices.BinarySearchFunc(changed.topics, name, func(t Topic, name string) int { return cmp.Compare(t.Name, name) })
		if !found {
			changed.topics = slices.Insert(changed.topics, at, Topic{Name: name, ID: topicID(name, changed.seq)})
		}
		changed.topics[at].Partitions = int32(partitions)
	}
	return changed
}

func (c catalog) without(name string) catalog {
	return catalog{seq: c.seq + 1, topics: slices.DeleteFunc(slices.Clone(c.topics), func(t Topic) bool { return t.Name == name })}
}

func (c catalog) Seq() int64 { return c.seq }

func (c catalog) ByName(name string) (Topic, bool) {
	at, found := slices.BinarySearchFunc(c.topics, name, func(t Topic, name string) int { return cmp.Compare(t.Name, name) })
	if !found {
		return Topic{}, false
	}
	return c.topics[at], true
}

func (c catalog) ByID(id uuid.UUID) (Topic, bool) {
	for _, t := range c.topics {
		if t.ID == id {
			return t, true
		}
	}
	return Topic{}, false
}

func (c catalog) Names() []string {
	names := make([]string, len(c.topics))
	for i, t := range c.topics {
		names[i] = t.Name
	}
	return names
}

// parts makes partitions of descriptions like "a:0,1" with the IDs of the catalog.
func (c catalog) parts(descriptions ...string) assign.Partitions {
	var p assign.Partitions
	for _, description := range descriptions {
		name, list, _ := strings.Cut(description, ":")
		topic, ok := c.ByName(name)
		if !ok {
			panic("no topic " + name)
		}
		for s := range strings.SplitSeq(list, ",") {
			n, err := strconv.Atoi(s)
			if err != nil {
				panic(err)
			}
			p = add(p, topic.ID, int32(n))
		}
	}
	return p
}

func consumerLimits() Limits {
	l := limits
	l.ConsumerSessionTimeout, l.ConsumerHeartbeatInterval = consumerSession, heartbeatInterval
	l.ConsumerMaxSize, l.ConsumerAssignors = 5, []string{assign.Uniform, assign.Range}
	l.MayUpgrade, l.MayDowngrade = true, true
	return l
}

// newConsumerFixture is a group with these topics.
func newConsumerFixture(t testing.TB, descriptions ...string) *fixture {
	f := newFixture(t)
	f.env.Limits, f.env.Topics = consumerLimits(), topics(descriptions...)
	return f
}

func (f *fixture) catalog() catalog { return f.env.Topics.(catalog) }

type beatOption = func(*kmsg.ConsumerGroupHeartbeatRequest)

// beatRequest is a heartbeat that says nothing new, changed by the options.
func beatRequest(memberID string, epoch int32, options ...beatOption) *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.MemberEpoch, req.RebalanceTimeoutMillis = 1, "g", memberID, epoch, -1
	for _, option := range options {
		option(req)
	}
	return req
}

// joins makes it one that joins, with these topics.
func joins(names ...string) beatOption {
	return func(req *kmsg.ConsumerGroupHeartbeatRequest) {
		req.RebalanceTimeoutMillis, req.Topics = int32(rebalanceTimeout.Milliseconds()), []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		subscribes(names...)(req)
	}
}

func subscribes(names ...string) beatOption {
	return func(req *kmsg.ConsumerGroupHeartbeatRequest) { req.SubscribedTopicNames = append([]string{}, names...) }
}

func matching(regex string) beatOption {
	return func(req *kmsg.ConsumerGroupHeartbeatRequest) { req.SubscribedTopicRegex = &regex }
}

func static(instanceID string) beatOption {
	return func(req *kmsg.ConsumerGroupHeartbeatRequest) { req.InstanceID = &instanceID }
}

func votes(assignor string) beatOption {
	return func(req *kmsg.ConsumerGroupHeartbeatRequest) { req.ServerAssignor = &assignor }
}

func inVersion(v int16) beatOption {
	return func(req *kmsg.ConsumerGroupHeartbeatRequest) { req.Version = v }
}

func owning(p assign.Partitions) beatOption {
	return func(req *kmsg.ConsumerGroupHeartbeatRequest) {
		req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		for _, id := range p.Topics() {
			topic := kmsg.NewConsumerGroupHeartbeatRequestTopic()
			topic.TopicID, topic.Partitions = id, p[id]
			req.Topics = append(req.Topics, topic)
		}
	}
}

// beat applies a ConsumerGroupHeartbeat, twice as after a lost reply of the store: the answer is the same.
func (f *fixture) beat(memberID string, epoch int32, options ...beatOption) *kmsg.ConsumerGroupHeartbeatResponse {
	f.Helper()
	f.ids++
	req, newID := beatRequest(memberID, epoch, options...), fmt.Sprintf("m%d", f.ids)
	var resps []*kmsg.ConsumerGroupHeartbeatResponse
	f.twice(func(g *Group) {
		resps = append(resps, g.ConsumerGroupHeartbeat(f.env, Client{ID: "client", Host: "/10.0.0.1"}, newID, req))
	})
	if resps[0].Assignment == nil {
		resps[1].Assignment = nil // it may say more the second time
	}
	if epoch != leaveEpoch && !reflect.DeepEqual(resps[0], resps[1]) {
		f.Fatalf("applied again, the answer is %s, was %s", shown(resps[1]), shown(resps[0]))
	}
	return resps[0]
}

func shown(resp *kmsg.ConsumerGroupHeartbeatResponse) string {
	return fmt.Sprintf("%v %q member %q epoch %d interval %d ms assignment %v",
		kerr.ErrorForCode(resp.ErrorCode), text(resp.ErrorMessage), text(resp.MemberID), resp.MemberEpoch, resp.HeartbeatIntervalMillis, resp.Assignment)
}

// told returns the assignment in an answer, nil if it has none.
func told(resp *kmsg.ConsumerGroupHeartbeatResponse) assign.Partitions {
	if resp.Assignment == nil {
		return nil
	}
	p := assign.Partitions{}
	for _, topic := range resp.Assignment.Topics {
		p[topic.TopicID] = topic.Partitions
	}
	return p
}

// wantBeat compares an answer: epoch, and the assignment in the form of parts; none if the answer shall have none.
func (f *fixture) wantBeat(resp *kmsg.ConsumerGroupHeartbeatResponse, epoch int32, parts ...string) {
	f.Helper()
	f.wantError(resp.ErrorCode, nil)
	if resp.MemberEpoch != epoch || resp.HeartbeatIntervalMillis != int32(heartbeatInterval.Milliseconds()) {
		f.Fatalf("answered %s, want epoch %d: %s", shown(resp), epoch, f.state)
	}
	got := told(resp)
	if parts == nil && got != nil {
		f.Fatalf("answered %s, want no assignment: %s", shown(resp), f.state)
	}
	if parts != nil && (got == nil || !got.Equal(f.catalog().parts(parts...))) {
		f.Fatalf("assigned %v, want %v: %s", got, f.catalog().parts(parts...), f.state)
	}
}

// nothing is an assignment of no partitions.
var nothing = []string{}

func (f *fixture) wantRefused(resp *kmsg.ConsumerGroupHeartbeatResponse, want *kerr.Error, message string) {
	f.Helper()
	f.wantError(resp.ErrorCode, want)
	if text(resp.ErrorMessage) != message || resp.MemberID != nil || resp.MemberEpoch != 0 || resp.Assignment != nil || resp.HeartbeatIntervalMillis != 0 {
		f.Fatalf("refused with %s, want %q", shown(resp), message)
	}
}

// quiet checks that a request changes nothing.
func (f *fixture) quiet(request func()) {
	f.Helper()
	before := string(f.state)
	request()
	if string(f.state) != before {
		f.Fatalf("the state was\n%s, is\n%s", before, f.state)
	}
}

func (f *fixture) member(id string) *ConsumerMember {
	f.Helper()
	m := f.group().Consumer.Members[id]
	if m == nil {
		f.Fatalf("no member %q: %s", id, f.state)
	}
	return m
}
