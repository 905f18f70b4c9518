package admin

// AlterPartitionReassignments (45), versions 0 to 1.
//
//   - v0 KIP-455; v1 KIP-1087 (changes of the replication factor may be forbidden)
//
// There are no replicas to move. Where a partition is to be is where this client is told that it is,
// or else it is refused: an answer that it moved would be shown to be false by the next
// Metadata, at which Kafka's own tool would say that the reassignment failed.

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/protocol"
)

// AlterPartitionReassignments takes each partition's present place for done, and refuses
// every other one.
func (a *Admin) AlterPartitionReassignments(ctx context.Context, client protocol.Client, req *kmsg.AlterPartitionAssignmentsRequest) *kmsg.AlterPartitionAssignmentsResponse {
	ctx, cancel := withTimeout(ctx, req.TimeoutMillis)
	defer cancel()
	resp := req.ResponseKind().(*kmsg.AlterPartitionAssignmentsResponse)
	resp.AllowReplicationFactorChange = req.AllowReplicationFactorChange
	place := a.agents.Place(client)
	for _, t := range req.Topics {
		result := kmsg.NewAlterPartitionAssignmentsResponseTopic()
		result.Topic = t.Topic
		topic, why := a.existing(ctx, "alter partition reassignments", t.Topic, "Unable to find a topic named %s.")
		for _, asked := range t.Partitions {
			p := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
			p.Partition = asked.Partition
			reason := why
			if reason == nil && (asked.Partition < 0 || int(asked.Partition) >= len(topic.Partitions)) {
				reason = refuse(kerr.UnknownTopicOrPartition, "Unable to find partition %s:%d.", t.Topic, asked.Partition)
			}
			if reason == nil {
				replicas, _ := place(topic.ID, asked.Partition)
				reason = a.reassign(asked.Replicas, replicas)
			}
			if reason != nil {
				p.ErrorCode, p.ErrorMessage = reason.code, &reason.message
			}
			result.Partitions = append(result.Partitions, p)
		}
		resp.Topics = append(resp.Topics, result)
	}
	return resp
}

// reassign says why a partition that is shown on those brokers can't have these replicas; nil cancels a
// reassignment, of which there is none.
func (a *Admin) reassign(replicas, shown []int32) *refusal {
	if replicas == nil {
		return refuse(kerr.NoReassignmentInProgress, "%s", kerr.NoReassignmentInProgress.Description)
	}
	if why := a.checkReplicas([][]int32{replicas}); why != nil {
		return why
	}
	if !slices.Equal(replicas, shown) {
		return refuse(kerr.InvalidReplicaAssignment, "Partitions have no replicas that could move: the object store replicates, and every agent serves every partition. This client is shown it on %s.", strings.Trim(fmt.Sprint(shown), "[]"))
	}
	return nil
}
