package transaction

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// AddOffsetsToTxn is API key 25, served in versions 0 to 4.
//
//	v0  adds a group to the transaction, whose offsets TxnOffsetCommit brings (KIP-98)
//	v1  throttling after the answer (KIP-219)
//	v2  PRODUCER_FENCED (KIP-588), before it INVALID_PRODUCER_EPOCH
//	v3  flexible (KIP-482)
//	v4  TRANSACTION_ABORTABLE (KIP-890), which is never answered here
//
// Clients of transaction version 2 don't send it.
func (c *Coordinator) AddOffsetsToTxn(ctx context.Context, client protocol.Client, req *kmsg.AddOffsetsToTxnRequest) *kmsg.AddOffsetsToTxnResponse {
	resp := req.ResponseKind().(*kmsg.AddOffsetsToTxnResponse)
	if req.TransactionalID == "" {
		resp.ErrorCode = kerr.InvalidRequest.Code
		return resp
	}
	result, err := c.Change(ctx, req.TransactionalID, metadata.AddToTransaction{
		Producer: metadata.ProducerEpoch{ID: req.ProducerID, Epoch: req.ProducerEpoch}, Group: &req.Group,
	})
	resp.ErrorCode = c.codeOf(client, req, req.TransactionalID, result, err)
	return resp
}
