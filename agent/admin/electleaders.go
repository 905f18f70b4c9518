package admin

// ElectLeaders (43), versions 0 to 2.
//
//   - v0 KIP-183 preferred leaders; v1 KIP-460 unclean elections; v2 flexible
//
// Every agent may serve every partition at any moment, so no election is ever needed.

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// Election types.
const (
	preferredElection = 0
	uncleanElection   = 1
)

// ElectLeaders answers that nothing needs to be done. Asked for all partitions, Kafka lists the
// topics and leaves out the partitions that need no election, so here too.
func (a *Admin) ElectLeaders(ctx context.Context, _ protocol.Client, req *kmsg.ElectLeadersRequest) *kmsg.ElectLeadersResponse {
	ctx, cancel := withTimeout(ctx, req.TimeoutMillis)
	defer cancel()
	resp := req.ResponseKind().(*kmsg.ElectLeadersResponse)
	odd := req.Version >= 1 && req.ElectionType != preferredElection && req.ElectionType != uncleanElection
	if odd {
		resp.ErrorCode = kerr.InvalidRequest.Code
	}
	if req.Topics == nil && !odd {
		topics, err := a.topics.AllTopics(ctx)
		if err != nil {
			resp.ErrorCode = a.refused("elect leaders", "all", err).code
		}
		for _, topic := range topics {
			result := kmsg.NewElectLeadersResponseTopic()
			result.Topic = topic.Name
			resp.Topics = append(resp.Topics, result)
		}
		return resp
	}
	for _, t := range req.Topics {
		result := kmsg.NewElectLeadersResponseTopic()
		result.Topic = t.Topic
		topic, why := metadata.Topic{}, refuse(kerr.InvalidRequest, "Unknown election type %d", req.ElectionType)
		if !odd {
			topic, why = a.existing(ctx, "elect leaders", t.Topic, "No such topic as %s")
		}
		for _, partition := range t.Partitions {
			p := kmsg.NewElectLeadersResponseTopicPartition()
			p.Partition = partition
			reason := why
			switch {
			case reason != nil:
			case partition < 0 || int(partition) >= len(topic.Partitions):
				reason = refuse(kerr.UnknownTopicOrPartition, "No such partition as %s-%d", t.Topic, partition)
			default:
				reason = refuse(kerr.ElectionNotNeeded, "Leader election not needed for topic partition.")
			}
			p.ErrorCode, p.ErrorMessage = reason.code, &reason.message
			result.Partitions = append(result.Partitions, p)
		}
		resp.Topics = append(resp.Topics, result)
	}
	return resp
}
