package transaction

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// EndTxn is API key 26, served in versions 0 to 5.
//
//	v0  commits or aborts (KIP-98)
//	v1  throttling after the answer (KIP-219)
//	v2  PRODUCER_FENCED (KIP-588), before it INVALID_PRODUCER_EPOCH
//	v3  flexible (KIP-482)
//	v4  TRANSACTION_ABORTABLE (KIP-890), which is never answered here
//	v5  transaction version 2 (KIP-890): each end raises the epoch, which is answered
func (c *Coordinator) EndTxn(ctx context.Context, client protocol.Client, req *kmsg.EndTxnRequest) *kmsg.EndTxnResponse {
	resp := req.ResponseKind().(*kmsg.EndTxnResponse)
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	if req.TransactionalID == "" {
		resp.ErrorCode = kerr.InvalidRequest.Code
		return resp
	}
	result, err := c.end(ctx, req)
	if resp.ErrorCode = c.codeOf(client, req, req.TransactionalID, result, err); resp.ErrorCode == 0 {
		resp.ProducerID, resp.ProducerEpoch = result.Producer.ID, result.Producer.Epoch
	}
	return resp
}

func (c *Coordinator) end(ctx context.Context, req *kmsg.EndTxnRequest) (metadata.TransactionResult, error) {
	op := metadata.EndTransaction{
		Producer: metadata.ProducerEpoch{ID: req.ProducerID, Epoch: req.ProducerEpoch},
		Commit:   req.Commit, Version: metadata.TransactionV1, NewProducerID: metadata.NoProducer.ID,
	}
	if req.Version >= 5 {
		op.Version = metadata.TransactionV2
	}
	if op.Version == metadata.TransactionV1 || op.Producer.Epoch < metadata.LastProducerEpoch {
		return c.Change(ctx, req.TransactionalID, op)
	}
	return c.changeWithID(ctx, req.TransactionalID, func(newID int64) metadata.TransactionOp {
		op.NewProducerID = newID
		return op
	})
}
