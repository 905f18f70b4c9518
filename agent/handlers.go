package agent

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/admin"
	"github.com/wadi-log/wadi/agent/cluster"
	"github.com/wadi-log/wadi/agent/fetch"
	"github.com/wadi-log/wadi/agent/group"
	"github.com/wadi-log/wadi/agent/produce"
	"github.com/wadi-log/wadi/agent/server"
	"github.com/wadi-log/wadi/agent/telemetry"
	"github.com/wadi-log/wadi/agent/transaction"
	"github.com/wadi-log/wadi/protocol"
)

// handlers is the table of the APIs served. A test compares it with the table
// of versions in package protocol, from which ApiVersions answers. takes tells whether records of a
// client are taken here.
func handlers(takes func(protocol.Client) bool, p *produce.Handler, x *transaction.Coordinator, f *fetch.Fetcher, c *cluster.Cluster, g *group.Coordinator, a *admin.Admin, t *telemetry.Telemetry) map[int16]server.Handler {
	return map[int16]server.Handler{
		int16(kmsg.Produce):                 produceHandler(takes, p),
		int16(kmsg.InitProducerID):          server.Inline(x.InitProducerID),
		int16(kmsg.AddPartitionsToTxn):      server.Inline(x.AddPartitionsToTxn),
		int16(kmsg.AddOffsetsToTxn):         server.Inline(x.AddOffsetsToTxn),
		int16(kmsg.EndTxn):                  server.Inline(x.EndTxn),
		int16(kmsg.TxnOffsetCommit):         server.Inline(g.TxnOffsetCommit),
		int16(kmsg.DescribeTransactions):    server.Inline(x.DescribeTransactions),
		int16(kmsg.ListTransactions):        server.Inline(x.ListTransactions),
		int16(kmsg.Fetch):                   fetchHandler(f),
		int16(kmsg.ListOffsets):             server.Inline(f.ListOffsets),
		int16(kmsg.OffsetForLeaderEpoch):    server.Inline(f.OffsetForLeaderEpoch),
		int16(kmsg.ApiVersions):             server.Inline(c.ApiVersions),
		int16(kmsg.Metadata):                server.Inline(c.Metadata),
		int16(kmsg.DescribeCluster):         server.Inline(c.DescribeCluster),
		int16(kmsg.DescribeTopicPartitions): server.Inline(c.DescribeTopicPartitions),
		int16(kmsg.FindCoordinator):         server.Inline(c.FindCoordinator),
		int16(kmsg.JoinGroup):               waiting(g.JoinGroup),
		int16(kmsg.SyncGroup):               waiting(g.SyncGroup),
		int16(kmsg.Heartbeat):               server.Inline(g.Heartbeat),
		int16(kmsg.LeaveGroup):              server.Inline(g.LeaveGroup),
		int16(kmsg.ConsumerGroupHeartbeat):  server.Inline(g.ConsumerGroupHeartbeat),
		int16(kmsg.ConsumerGroupDescribe):   server.Inline(g.ConsumerGroupDescribe),
		int16(kmsg.DescribeGroups):          server.Inline(g.DescribeGroups),
		int16(kmsg.ListGroups):              server.Inline(g.ListGroups),
		int16(kmsg.DeleteGroups):            server.Inline(g.DeleteGroups),
		int16(kmsg.OffsetCommit):            server.Inline(g.OffsetCommit),
		int16(kmsg.OffsetFetch):             server.Inline(g.OffsetFetch),
		int16(kmsg.OffsetDelete):            server.Inline(g.OffsetDelete),
		int16(kmsg.CreateTopics):            server.Inline(a.CreateTopics),
		int16(kmsg.DeleteTopics):            server.Inline(a.DeleteTopics),
		int16(kmsg.CreatePartitions):        server.Inline(a.CreatePartitions),
		int16(kmsg.DeleteRecords):           server.Inline(a.DeleteRecords),
		int16(kmsg.DescribeLogDirs):         server.Inline(a.DescribeLogDirs),
		int16(kmsg.DescribeProducers):       server.Inline(a.DescribeProducers),
		int16(kmsg.DescribeConfigs):         server.Inline(a.DescribeConfigs),
		int16(kmsg.AlterConfigs):            server.Inline(a.AlterConfigs),
		int16(kmsg.IncrementalAlterConfigs): server.Inline(a.IncrementalAlterConfigs),

		int16(kmsg.ListConfigResources):        server.Inline(a.ListConfigResources),
		int16(kmsg.ElectLeaders):               server.Inline(a.ElectLeaders),
		int16(kmsg.AlterPartitionAssignments):  server.Inline(a.AlterPartitionReassignments),
		int16(kmsg.ListPartitionReassignments): server.Inline(a.ListPartitionReassignments),
		int16(kmsg.DescribeQuorum):             server.Inline(a.DescribeQuorum),
		int16(kmsg.UpdateFeatures):             server.Inline(a.UpdateFeatures),
		int16(kmsg.DescribeACLs):               server.Inline(a.DescribeAcls),
		int16(kmsg.CreateACLs):                 server.Inline(a.CreateAcls),
		int16(kmsg.DeleteACLs):                 server.Inline(a.DeleteAcls),
		int16(kmsg.DescribeClientQuotas):       server.Inline(a.DescribeClientQuotas),

		int16(kmsg.GetTelemetrySubscriptions): server.Inline(t.GetTelemetrySubscriptions),
		int16(kmsg.PushTelemetry):             server.Inline(t.PushTelemetry),
	}
}

// produceHandler starts a produce request and lets the next one start before
// its file is committed. The request's bytes stay in use as long.
func produceHandler(takes func(protocol.Client) bool, p *produce.Handler) server.Handler {
	return func(ctx context.Context, req *server.Request) server.Pending {
		start := p.Produce
		if !takes(req.Client) {
			start = p.Elsewhere
		}
		wait := start(ctx, req.Body.(*kmsg.ProduceRequest), req.Keep())
		return func() kmsg.Response {
			resp, err := wait()
			switch {
			case err != nil:
				return server.HangUp
			case resp == nil:
				return nil // not a nil *ProduceResponse, which is no nil Response
			}
			return resp
		}
	}
}

// waiting starts a request that may wait for minutes, for other members of its
// group, and lets the next one of its connection start meanwhile. It ends when
// the client leaves. Its bytes stay charged to the budget until it waits or is answered.
func waiting[Req any, PReq interface {
	*Req
	kmsg.Request
}](start func(ctx context.Context, client protocol.Client, from group.Waiting, req PReq) func() kmsg.Response) server.Handler {
	return func(ctx context.Context, req *server.Request) server.Pending {
		done := req.Keep()
		wait := start(ctx, req.Client, group.Waiting{Gone: req.Gone, Release: done}, req.Body.(PReq))
		return func() kmsg.Response {
			defer done()
			return wait()
		}
	}
}

// fetchHandler answers a fetch before the next request is started, and keeps
// its buffer until the answer is written.
func fetchHandler(f *fetch.Fetcher) server.Handler {
	return func(ctx context.Context, req *server.Request) server.Pending {
		resp, done := f.Fetch(ctx, req.Client, req.Body.(*kmsg.FetchRequest))
		req.AfterAnswer(done)
		return func() kmsg.Response { return resp }
	}
}
