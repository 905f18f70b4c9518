package cluster

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/protocol"
)

// fuzz sends whatever decodes as a request of the API through its handler, and
// the answer through its encoding.
func fuzz[Req kmsg.Request, Resp kmsg.Response](f *testing.F, handle func(context.Context, protocol.Client, Req) Resp, seeds ...Req) {
	var zero Req
	key := zero.Key()
	for _, seed := range seeds {
		for version := int16(0); version <= seed.MaxVersion(); version++ {
			seed.SetVersion(version)
			f.Add(version, seed.AppendTo(nil))
		}
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		h := protocol.RequestHeader{Key: key, Version: version}
		req, err := protocol.ParseRequest(h, body)
		if err != nil {
			return
		}
		resp := handle(t.Context(), client, req.(Req))
		onTheWire(t, kmsg.Response(resp))
		if frame := protocol.AppendResponse(nil, h, resp); len(frame) < 8 {
			t.Errorf("a frame of %d bytes", len(frame))
		}
	})
}

func newFuzzCluster(f *testing.F) *Cluster {
	c, topics := newTestCluster(f, nil, agents(1, 2)...)
	create(f, topics, "t", 3)
	create(f, topics, "u", 1)
	return c
}

func FuzzMetadata(f *testing.F) {
	c := newFuzzCluster(f)
	all := metadataRequest(0)
	all.Topics = nil
	auto := metadataRequest(0, "t", "new", "")
	auto.AllowAutoTopicCreation = true
	fuzz(f, c.Metadata, all, auto)
}

func FuzzDescribeTopicPartitions(f *testing.F) {
	fuzz(f, newFuzzCluster(f).DescribeTopicPartitions, describeRequest(2, "t 1", "t", "u"), describeRequest(9, ""))
}

func FuzzDescribeCluster(f *testing.F) {
	fuzz(f, newFuzzCluster(f).DescribeCluster, kmsg.NewPtrDescribeClusterRequest())
}

func FuzzFindCoordinator(f *testing.F) {
	one, many := kmsg.NewPtrFindCoordinatorRequest(), kmsg.NewPtrFindCoordinatorRequest()
	one.CoordinatorKey = "g"
	many.CoordinatorType, many.CoordinatorKeys = 1, []string{"a", ""}
	fuzz(f, newFuzzCluster(f).FindCoordinator, one, many)
}

func FuzzApiVersions(f *testing.F) {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "kgo", "1.0"
	fuzz(f, newFuzzCluster(f).ApiVersions, req)
}
