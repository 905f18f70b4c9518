package group

// TxnOffsetCommit (28), versions 0 to 5.
//
//   - v0 KIP-98; v2 KIP-320 leader epoch; v3 KIP-447 the group's member, flexible
//   - v4 KIP-890 TRANSACTION_ABORTABLE; v5 KIP-890 adds the group to the transaction

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/errcode"
	"github.com/wadi-log/wadi/agent/group/machine"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// Transactions is what groups ask of transactions.
type Transactions interface {
	// Change carries out one request about one transactional ID. Errors of the store
	// are the error, refusals the result's.
	Change(ctx context.Context, id string, op metadata.TransactionOp) (metadata.TransactionResult, error)
}

// TxnOffsetCommit puts offsets aside that count when the producer's transaction is
// committed. Who says which member it acts for may commit in that member's generation
// alone: the group is checked in one version, and the offsets are taken only if it is
// still in that version. So none of an older generation comes after the next one
// has begun, which reads where to go on (KIP-447).
func (c *Coordinator) TxnOffsetCommit(ctx context.Context, client protocol.Client, req *kmsg.TxnOffsetCommitRequest) *kmsg.TxnOffsetCommitResponse {
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	asked := asOffsetCommit(req)
	answer := asked.ResponseKind().(*kmsg.OffsetCommitResponse)
	offsets := c.commitTargets(ctx, asked, answer)
	code := int16(0)
	switch {
	case len(offsets) == 0:
	case req.Group == "":
		code = kerr.InvalidGroupID.Code
	case req.TransactionalID == "":
		code = kerr.InvalidRequest.Code
	default:
		why, err := c.putAside(ctx, req, offsets)
		code = errcode.OfCoordinator(err)
		switch {
		case err != nil && !errcode.Known(err):
			c.log.Error("can't put offsets of a transaction aside", "group", req.Group, "transactional_id", req.TransactionalID, "client", client.ID, "error", err)
		case err != nil:
			c.log.Debug("can't put offsets of a transaction aside; the client is told to try again", "group", req.Group, "transactional_id", req.TransactionalID, "client", client.ID, "error", err)
		case why != nil:
			code = why.Code
		}
	}
	for _, o := range offsets {
		o.slot.ErrorCode = code
	}
	return asTxnOffsetCommit(req, answer)
}

// putAside returns why the offsets may not be put aside, nil when they are.
func (c *Coordinator) putAside(ctx context.Context, req *kmsg.TxnOffsetCommitRequest, targets []*target) (*kerr.Error, error) {
	op := metadata.TransactionOffsets{
		Producer: metadata.ProducerEpoch{ID: req.ProducerID, Epoch: req.ProducerEpoch},
		GroupID:  req.Group, Version: metadata.TransactionV1,
		Offsets: make([]metadata.Offset, len(targets)),
	}
	if req.Version >= 5 {
		op.Version = metadata.TransactionV2
	}
	for i, t := range targets {
		op.Offsets[i] = t.offset
	}
	for range applyAttempts {
		g, version, env, err := c.current(ctx, req.Group)
		if err != nil {
			return nil, err
		}
		why := checkTxnCommit(g, version != 0, env, req)
		// Where the group refuses, or isn't there, the transaction is asked all the same:
		// what it has to object goes first, as in Kafka. No group is in version 0, so
		// if it has nothing to object the answer is ErrGroupVersion.
		if op.GroupVersion = version; why != nil {
			op.GroupVersion = 0
		}
		result, err := c.transactions.Change(ctx, req.TransactionalID, op)
		switch {
		case err != nil:
			return nil, err
		case !errors.Is(result.Err, metadata.ErrGroupVersion):
			return txnCommitError(result.Err, req.Version)
		case why != nil:
			return why, nil
		case version == 0:
			if err := c.enterUnused(ctx, g, env); err != nil {
				return nil, err
			}
		default:
			c.metrics.conflicts.Inc()
		}
	}
	return nil, fmt.Errorf("%w: group %q changed %d times in a row", metadata.ErrUnavailable, req.Group, applyAttempts)
}

// current reads a group, version 0 if there is none. Don't change it.
func (c *Coordinator) current(ctx context.Context, id string) (*machine.Group, int64, machine.Env, error) {
	known := c.peek(id)
	loaded, err := c.loads.load(ctx, metadata.GroupRef{ID: id, Known: known.version})
	if err != nil {
		return nil, 0, machine.Env{}, err
	}
	env, err := c.env(ctx, id, inState(loaded.now))
	if err != nil {
		return nil, 0, machine.Env{}, err
	}
	version, g := loaded.group.Version, machine.New(id)
	switch {
	case version == 0:
	case version == known.version:
		g = known.group
	default:
		g, err = machine.Decode(id, loaded.group.State)
	}
	return g, version, env, err
}

// enterUnused stores a group that is used for its offsets only, unless somebody did.
func (c *Coordinator) enterUnused(ctx context.Context, g *machine.Group, env machine.Env) error {
	state, err := stateOf(g, env)
	if err != nil {
		return err
	}
	if _, err = c.storeGroup(ctx, g.ID, 0, state); errors.Is(err, metadata.ErrGroupVersion) {
		return nil
	}
	return err
}

// checkTxnCommit says why the group refuses the offsets, nil if it doesn't.
func checkTxnCommit(g *machine.Group, exists bool, env machine.Env, req *kmsg.TxnOffsetCommitRequest) *kerr.Error {
	why := knowing(g, exists, g.CheckTxnCommit(env, req.MemberID, req.InstanceID, req.Generation))
	if why == kerr.StaleMemberEpoch {
		return kerr.IllegalGeneration // Java's producer takes the other one for fatal
	}
	return why
}

// txnCommitError is what the client is told when the transaction refused; nil for nil.
func txnCommitError(err error, version int16) (*kerr.Error, error) {
	switch {
	case err == nil:
		return nil, nil
	case errors.Is(err, metadata.ErrProducerIDMapping):
		return kerr.InvalidProducerIDMapping, nil
	case errors.Is(err, metadata.ErrProducerFenced):
		return kerr.InvalidProducerEpoch, nil // in this API, in every version
	case errors.Is(err, metadata.ErrInvalidTransactionState) && version >= 4:
		return kerr.TransactionAbortable, nil
	case errors.Is(err, metadata.ErrInvalidTransactionState):
		return kerr.InvalidTxnState, nil
	}
	return nil, err
}

// asOffsetCommit has the request's offsets in the form in which [Coordinator.commitTargets] takes them.
func asOffsetCommit(req *kmsg.TxnOffsetCommitRequest) *kmsg.OffsetCommitRequest {
	asked := kmsg.NewPtrOffsetCommitRequest()
	asked.Version, asked.Group = 9, req.Group
	asked.Topics = make([]kmsg.OffsetCommitRequestTopic, len(req.Topics))
	for i, t := range req.Topics {
		asked.Topics[i] = kmsg.NewOffsetCommitRequestTopic()
		asked.Topics[i].Topic = t.Topic
		for _, p := range t.Partitions {
			partition := kmsg.NewOffsetCommitRequestTopicPartition()
			partition.Partition, partition.Offset, partition.LeaderEpoch, partition.Metadata = p.Partition, p.Offset, p.LeaderEpoch, p.Metadata
			asked.Topics[i].Partitions = append(asked.Topics[i].Partitions, partition)
		}
	}
	return asked
}

// asTxnOffsetCommit is the way back.
func asTxnOffsetCommit(req *kmsg.TxnOffsetCommitRequest, answer *kmsg.OffsetCommitResponse) *kmsg.TxnOffsetCommitResponse {
	resp := req.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
	resp.Topics = make([]kmsg.TxnOffsetCommitResponseTopic, len(answer.Topics))
	for i, t := range answer.Topics {
		resp.Topics[i].Topic = t.Topic
		for _, p := range t.Partitions {
			partition := kmsg.NewTxnOffsetCommitResponseTopicPartition()
			partition.Partition, partition.ErrorCode = p.Partition, p.ErrorCode
			if req.Version < 2 && p.ErrorCode == kerr.CoordinatorLoadInProgress.Code {
				partition.ErrorCode = kerr.CoordinatorNotAvailable.Code // Java's clients before 2.0 die of the other (KAFKA-7296)
			}
			resp.Topics[i].Partitions = append(resp.Topics[i].Partitions, partition)
		}
	}
	return resp
}
