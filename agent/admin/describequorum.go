package admin

// DescribeQuorum (55), versions 0 to 2.
//
//   - v0 KIP-595; v1 KIP-836 times; v2 KIP-853 directories and endpoints
//
// There is no quorum: the metadata store decides. In the words of this API its log is the feed of
// commits, which ends at the high watermark. The voter is the agent that clients are told to
// take for the controller, the others are observers, and nobody lags in what he decides by, since all
// ask the store. (When an agent last followed the feed, the others don't know: -1.)

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/protocol"
)

// DescribeQuorum describes the partition of the metadata log.
func (a *Admin) DescribeQuorum(ctx context.Context, client protocol.Client, req *kmsg.DescribeQuorumRequest) *kmsg.DescribeQuorumResponse {
	ctx, cancel := withTimeout(ctx, 0)
	defer cancel()
	resp := req.ResponseKind().(*kmsg.DescribeQuorumResponse)
	resp.ErrorMessage = new(string)
	described := false
	for _, t := range req.Topics {
		topic := kmsg.NewDescribeQuorumResponseTopic()
		topic.Topic = t.Topic
		for _, asked := range t.Partitions {
			p := kmsg.NewDescribeQuorumResponseTopicPartition()
			p.Partition, p.ErrorMessage = asked.Partition, new(string)
			if t.Topic != metadataTopic || asked.Partition != 0 {
				why := refuse(kerr.UnknownTopicOrPartition, "%s", kerr.UnknownTopicOrPartition.Description)
				p.ErrorCode, p.ErrorMessage = why.code, &why.message
			} else {
				seq, err := a.feed.LastSeq(ctx)
				if err != nil {
					why := a.refused("describe quorum", t.Topic, err)
					resp.ErrorCode, resp.ErrorMessage = why.code, &why.message
					return resp
				}
				a.quorum(&p, client, seq)
				described = true
			}
			topic.Partitions = append(topic.Partitions, p)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	if described {
		controller, at := a.agents.Controller(client)
		node, listener := kmsg.NewDescribeQuorumResponseNode(), kmsg.NewDescribeQuorumResponseNodeListener()
		listener.Name, listener.Host, listener.Port = at.Name, at.Host, uint16(at.Port)
		node.NodeID, node.Listeners = controller, append(node.Listeners, listener)
		resp.Nodes = append(resp.Nodes, node)
	}
	return resp
}

func (a *Admin) quorum(p *kmsg.DescribeQuorumResponseTopicPartition, client protocol.Client, seq int64) {
	controller, _ := a.agents.Controller(client)
	p.LeaderID, p.LeaderEpoch, p.HighWatermark = controller, protocol.LeaderEpoch, seq
	for _, id := range a.agents.Brokers(client) {
		r := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
		r.ReplicaID, r.LogEndOffset, r.LastFetchTimestamp, r.LastCaughtUpTimestamp = id, seq, -1, -1
		if id == p.LeaderID {
			p.CurrentVoters = append(p.CurrentVoters, r)
		} else {
			p.Observers = append(p.Observers, r)
		}
	}
}
