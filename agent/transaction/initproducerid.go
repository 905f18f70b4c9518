package transaction

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// InitProducerID is API key 22, served in versions 0 to 5.
//
//	v0  idempotent and transactional producers (KIP-98)
//	v2  flexible (KIP-482)
//	v3  the producer's present ID and epoch (KIP-360); they matter with a transactional ID only
//	v4  PRODUCER_FENCED (KIP-588), before it INVALID_PRODUCER_EPOCH
//	v5  TRANSACTION_ABORTABLE (KIP-890), which is never answered here
//
// Version 6 (KIP-939, two-phase commit by others, with keepPreparedTxn) is not served.
//
// Kafka aborts what the former producer left open and lets the client ask again until
// that is done (CONCURRENT_TRANSACTIONS). Here it is one change, so the first answer
// is the last.
func (c *Coordinator) InitProducerID(ctx context.Context, client protocol.Client, req *kmsg.InitProducerIDRequest) *kmsg.InitProducerIDResponse {
	resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	expected := metadata.ProducerEpoch{ID: req.ProducerID, Epoch: req.ProducerEpoch}
	timeout := milliseconds(int64(req.TransactionTimeoutMillis))
	switch {
	case (expected.ID == metadata.NoProducer.ID) != (expected.Epoch == metadata.NoProducer.Epoch):
		resp.ErrorCode = kerr.InvalidRequest.Code
	case req.TransactionalID == nil:
		id, err := c.ids.take(ctx)
		if err != nil {
			resp.ErrorCode = c.code(client, req, "", err)
			break
		}
		resp.ProducerID, resp.ProducerEpoch = id, 0
	case *req.TransactionalID == "":
		resp.ErrorCode = kerr.InvalidRequest.Code
	case timeout <= 0 || timeout > milliseconds(c.settings().TransactionMaxTimeoutMs):
		resp.ErrorCode = kerr.InvalidTransactionTimeout.Code
	case expected != metadata.NoProducer && (expected.ID < 0 || expected.Epoch < 0): // nobody was ever given that
		resp.ErrorCode = c.code(client, req, *req.TransactionalID, metadata.ErrProducerFenced)
	default:
		result, err := c.changeWithID(ctx, *req.TransactionalID, func(newID int64) metadata.TransactionOp {
			return metadata.InitProducer{Timeout: timeout, Expected: expected, NewProducerID: newID}
		})
		if resp.ErrorCode = c.codeOf(client, req, *req.TransactionalID, result, err); resp.ErrorCode == 0 {
			resp.ProducerID, resp.ProducerEpoch = result.Producer.ID, result.Producer.Epoch
		}
	}
	return resp
}
