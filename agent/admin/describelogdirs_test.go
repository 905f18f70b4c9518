package admin

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// logDirsRequest asks for partitions of topics, for all without any.
func logDirsRequest(version int16, of ...offsetOf) *kmsg.DescribeLogDirsRequest {
	req := kmsg.NewPtrDescribeLogDirsRequest()
	req.Version = version
	for _, o := range of {
		topic := kmsg.NewDescribeLogDirsRequestTopic()
		topic.Topic, topic.Partitions = o.topic, []int32{o.partition}
		req.Topics = append(req.Topics, topic)
	}
	return req
}

// logDirs renders an answer, which must have one dir.
func logDirs(t *testing.T, resp *kmsg.DescribeLogDirsResponse) (all []string) {
	t.Helper()
	if len(resp.Dirs) != 1 || resp.Dirs[0].Dir != "s3://bucket" || resp.ErrorCode != 0 {
		t.Fatalf("got %+v", resp)
	}
	dir := resp.Dirs[0]
	if dir.TotalBytes != -1 || dir.UsableBytes != -1 {
		t.Errorf("%d bytes, %d of them usable", dir.TotalBytes, dir.UsableBytes)
	}
	if dir.ErrorCode != 0 {
		all = append(all, result(dir.ErrorCode, nil))
	}
	for _, topic := range dir.Topics {
		for _, p := range topic.Partitions {
			if p.OffsetLag != 0 || p.IsFuture {
				t.Errorf("%s-%d: lag %d, future %v", topic.Topic, p.Partition, p.OffsetLag, p.IsFuture)
			}
			all = append(all, fmt.Sprintf("%s-%d %d", topic.Topic, p.Partition, p.Size))
		}
	}
	return all
}

func TestDescribeLogDirsAnswers(t *testing.T) {
	a, topics := newTestAdmin(t, nil)
	u := create(t, topics, metadata.NewTopic{Name: "u"})
	topic := create(t, topics, metadata.NewTopic{Name: "t", Partitions: 2})
	create(t, topics, metadata.NewTopic{Name: "__consumer_offsets", Internal: true})
	write(t, topics, topic.Partitions[1], 10, -1, -1)
	write(t, topics, topic.Partitions[1], 5, -1, -1)
	write(t, topics, u.Partitions[0], 1, -1, -1)
	for name, tc := range map[string]struct {
		of   []offsetOf
		want []string
	}{
		"all":           {nil, []string{"__consumer_offsets-0 0", "t-0 0", "t-1 150", "u-0 10"}},
		"some":          {[]offsetOf{{topic: "u"}, {topic: "t", partition: 1}}, []string{"t-1 150", "u-0 10"}},
		"some twice":    {[]offsetOf{{topic: "t", partition: 1}, {topic: "u"}, {topic: "t"}, {topic: "t", partition: 1}}, []string{"t-0 0", "t-1 150", "u-0 10"}},
		"unknown":       {[]offsetOf{{topic: "none"}, {topic: ""}, {topic: "a b"}, {topic: "t", partition: 2}, {topic: "t", partition: -1}}, nil},
		"known as well": {[]offsetOf{{topic: "none"}, {topic: "t", partition: 2}, {topic: "u"}}, []string{"u-0 10"}},
	} {
		for version := int16(1); version <= 4; version++ {
			if got := logDirs(t, onTheWire(t, a.DescribeLogDirs(t.Context(), client, logDirsRequest(version, tc.of...)))); !slices.Equal(got, tc.want) {
				t.Errorf("%s, v%d: %q, want %q", name, version, got, tc.want)
			}
		}
	}
	none := logDirsRequest(4)
	none.Topics = []kmsg.DescribeLogDirsRequestTopic{}
	if got := logDirs(t, a.DescribeLogDirs(t.Context(), client, none)); got != nil {
		t.Errorf("asked for none: %q", got)
	}
}

func TestLogDirOfAgentThatDoesNotLeadIsEmpty(t *testing.T) {
	a, topics := newTestAdmin(t, nil)
	create(t, topics, metadata.NewTopic{Name: "t"})
	led := protocol.Client{ID: "odd"} // by the second agent
	if got := logDirs(t, a.DescribeLogDirs(t.Context(), led, logDirsRequest(4))); got != nil {
		t.Errorf("got %q", got)
	}
	// Behind one address nobody can tell which of them was asked.
	a.agents = view{{NodeID: 1, Listeners: at("balancer", 9092)}, {NodeID: 2, Listeners: at("balancer", 9092)}}
	if got, want := logDirs(t, a.DescribeLogDirs(t.Context(), led, logDirsRequest(4))), []string{"t-0 0"}; !slices.Equal(got, want) {
		t.Errorf("behind a balancer: %q, want %q", got, want)
	}
}

func TestLogDirThatCannotBeRead(t *testing.T) {
	for _, err := range []error{metadata.ErrUnavailable, context.DeadlineExceeded, fmt.Errorf("surprise")} {
		a, topics := newTestAdmin(t, nil)
		create(t, topics, metadata.NewTopic{Name: "t"})
		want := []string{"KAFKA_STORAGE_ERROR"}
		topics.change = err
		if got := logDirs(t, a.DescribeLogDirs(t.Context(), client, logDirsRequest(4))); !slices.Equal(got, want) {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
		topics.change, topics.lookup = nil, err
		if got := logDirs(t, a.DescribeLogDirs(t.Context(), client, logDirsRequest(4, offsetOf{topic: "t"}))); !slices.Equal(got, want) {
			t.Errorf("lookup %v: %q, want %q", err, got, want)
		}
	}
}

// sized runs a function before each question for sizes.
type sized struct {
	*direct
	before func()
}

func (s *sized) PartitionSizes(ctx context.Context, partitions []metadata.PartitionID) ([]int64, error) {
	s.before()
	return s.direct.PartitionSizes(ctx, partitions)
}

func TestDescribeLogDirsWhileATopicIsDeleted(t *testing.T) {
	a, topics := newTestAdmin(t, nil)
	gone := create(t, topics, metadata.NewTopic{Name: "gone"})
	create(t, topics, metadata.NewTopic{Name: "stays"})
	a.records = &sized{topics, func() {
		if err := topics.DeleteTopic(t.Context(), gone.ID); err != nil {
			t.Error(err)
		}
	}}
	if got, want := logDirs(t, a.DescribeLogDirs(t.Context(), client, logDirsRequest(4))), []string{"stays-0 0"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestSizesAreSummedUpForOneRequestAtATime(t *testing.T) {
	a, topics := newTestAdmin(t, nil)
	create(t, topics, metadata.NewTopic{Name: "t"})
	asked := 0
	a.records = &sized{topics, func() {
		asked++
		// While the store is asked, another request waits, as long as it can.
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got, want := logDirs(t, a.DescribeLogDirs(ctx, client, logDirsRequest(4))), []string{"KAFKA_STORAGE_ERROR"}; !slices.Equal(got, want) {
			t.Errorf("the other request: %q, want %q", got, want)
		}
	}}
	for turn := 1; turn <= 2; turn++ {
		if got := logDirs(t, a.DescribeLogDirs(t.Context(), client, logDirsRequest(4))); !slices.Equal(got, []string{"t-0 0"}) || asked != turn {
			t.Errorf("turn %d: %q, and the store was asked %d times", turn, got, asked)
		}
	}
}
