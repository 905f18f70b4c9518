package group

// OffsetCommit (8), versions 2 to 10.
//
//   - v2 to v4 with a retention of their own; v5 KIP-211 without; v6 KIP-320 leader
//     epoch; v7 KIP-345 static members; v8 flexible
//   - v9 KIP-848 member epochs; v10 KIP-848 topic IDs

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/errcode"
	"github.com/wadi-log/wadi/agent/group/machine"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// OffsetCommit stores how far a group has read. A commit by a member is accepted in
// its generation (its epoch) alone; one without a member by a group without members.
func (c *Coordinator) OffsetCommit(ctx context.Context, client protocol.Client, req *kmsg.OffsetCommitRequest) *kmsg.OffsetCommitResponse {
	resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
	offsets := c.commitTargets(ctx, req, resp)
	if len(offsets) == 0 {
		return resp
	}
	var why *kerr.Error
	var timeout time.Duration
	err := c.commits.write(&commit{
		group: req.Group,
		// Who names no generation assigns its partitions by hand, whatever it calls itself.
		create:  req.Generation < 0,
		offsets: len(offsets),
		decide: func(g *machine.Group, exists bool, env machine.Env) metadata.OffsetChanges {
			why = knowing(g, exists, g.CheckCommit(env, req.MemberID, req.InstanceID, req.Generation, req.Version))
			if why != nil {
				return metadata.OffsetChanges{}
			}
			timeout, _ = g.SessionTimeout(req.MemberID)
			if req.Version <= 4 && req.RetentionTimeMillis >= 0 {
				expire := env.Now.Add(time.Duration(req.RetentionTimeMillis) * time.Millisecond)
				for _, o := range offsets {
					o.offset.ExpireAt = expire
				}
			}
			puts := make([]metadata.Offset, len(offsets))
			for i, o := range offsets {
				puts[i] = o.offset
			}
			return metadata.OffsetChanges{Put: puts}
		},
	})
	code := errcode.OfCoordinator(err)
	switch {
	case err != nil && !errcode.Known(err):
		c.log.Error("can't commit offsets", "group", req.Group, "client", client.ID, "error", err)
	case err != nil:
		c.log.Debug("can't commit offsets; the client is told to try again", "group", req.Group, "client", client.ID, "error", err)
	case why != nil:
		code = why.Code
	case timeout > 0:
		// Who commits is alive.
		l := c.enter(req.Group)
		l.hearLocked(req.MemberID, c.clock.now(), timeout)
		l.mu.Unlock()
	}
	for _, o := range offsets {
		o.slot.ErrorCode = code
	}
	return resp
}

// knowing is the group's refusal, where it is known whether the group exists: one that
// is used for its offsets only has no members.
func knowing(g *machine.Group, exists bool, why *kerr.Error) *kerr.Error {
	if why != nil && exists && g.Classic == nil && g.Consumer == nil {
		return kerr.UnknownMemberID
	}
	return why
}

// target is one partition of a commit: what is to be stored, and the place of its answer.
type target struct {
	offset metadata.Offset
	slot   *kmsg.OffsetCommitResponseTopicPartition
}

// commitTargets lays out the answer and returns the partitions that may be
// committed; the others have their error.
func (c *Coordinator) commitTargets(ctx context.Context, req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse) []*target {
	names, ids := make([]string, 0, len(req.Topics)), make([]uuid.UUID, 0, len(req.Topics))
	for _, t := range req.Topics {
		if req.Version >= 10 {
			ids = append(ids, t.TopicID)
		} else {
			names = append(names, t.Topic)
		}
	}
	found, err := c.lookup(ctx, names, ids)
	most := c.settings.Offsets().MaxMetadataBytes
	var offsets []*target
	resp.Topics = make([]kmsg.OffsetCommitResponseTopic, len(req.Topics))
	for i, t := range req.Topics {
		to := &resp.Topics[i]
		to.Topic, to.TopicID = t.Topic, t.TopicID
		to.Partitions = make([]kmsg.OffsetCommitResponseTopicPartition, len(t.Partitions))
		topic, code := found.get(t.Topic, t.TopicID, req.Version >= 10, err)
		for j, p := range t.Partitions {
			slot := &to.Partitions[j]
			slot.Partition = p.Partition
			text := ""
			if p.Metadata != nil {
				text = *p.Metadata
			}
			switch {
			case code != 0:
				slot.ErrorCode = code
			case p.Partition < 0 || int(p.Partition) >= len(topic.Partitions):
				slot.ErrorCode = kerr.UnknownTopicOrPartition.Code
			case len(text) > most:
				slot.ErrorCode = kerr.OffsetMetadataTooLarge.Code
			default:
				offsets = append(offsets, &target{slot: slot, offset: metadata.Offset{
					GroupID: req.Group, Partition: topic.Partitions[p.Partition],
					Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: text,
				}})
			}
		}
	}
	return offsets
}

// topicsFound are topics by name and by ID.
type topicsFound struct {
	byName map[string]metadata.Topic
	byID   map[uuid.UUID]metadata.Topic
}

// lookup finds topics; with an error those that are known.
func (c *Coordinator) lookup(ctx context.Context, names []string, ids []uuid.UUID) (topicsFound, error) {
	topics, err := c.topics.catalog.Lookup(ctx, names, ids)
	found := topicsFound{byName: make(map[string]metadata.Topic, len(topics)), byID: make(map[uuid.UUID]metadata.Topic, len(topics))}
	for _, t := range topics {
		found.byName[t.Name], found.byID[t.ID] = t, t
	}
	return found, err
}

// get returns a topic or the code for why it isn't there; failed is lookup's error.
func (f topicsFound) get(name string, id uuid.UUID, byID bool, failed error) (metadata.Topic, int16) {
	topic, ok := f.byName[name]
	unknown := kerr.UnknownTopicOrPartition.Code
	if byID {
		topic, ok = f.byID[id]
		unknown = kerr.UnknownTopicID.Code
	}
	switch {
	case ok:
		return topic, 0
	case failed != nil:
		return topic, errcode.OfCoordinator(failed)
	}
	return topic, unknown
}
