package transaction

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/errcode"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// fencedFrom is the first version of each API whose clients know PRODUCER_FENCED
// (KIP-588). The others are told INVALID_PRODUCER_EPOCH, which they take for the same.
var fencedFrom = map[int16]int16{
	int16(kmsg.InitProducerID):     4,
	int16(kmsg.AddPartitionsToTxn): 2,
	int16(kmsg.AddOffsetsToTxn):    2,
	int16(kmsg.EndTxn):             2,
}

// codeOf returns the code for what became of a change.
func (c *Coordinator) codeOf(client protocol.Client, req kmsg.Request, id string, result metadata.TransactionResult, err error) int16 {
	if err == nil {
		err = result.Err
	}
	return c.code(client, req, id, err)
}

// code returns the code for an error, 0 for nil, and logs what is no client's fault. What passes
// by itself is COORDINATOR_LOAD_IN_PROGRESS, on which Java's and other clients
// repeat each of these APIs, with the same coordinator.
func (c *Coordinator) code(client protocol.Client, req kmsg.Request, id string, err error) int16 {
	code := errcode.OfCoordinator(err)
	switch {
	case code == kerr.ProducerFenced.Code && req.GetVersion() < fencedFrom[req.Key()]:
		return kerr.InvalidProducerEpoch.Code
	case err == nil:
	case !errcode.Known(err):
		c.log.Error("can't serve a transaction", "api", kmsg.NameForKey(req.Key()), "transactional_id", id, "client", client.ID, "error", err)
	case code == kerr.CoordinatorLoadInProgress.Code && c.workers.Life().Err() == nil:
		c.log.Debug("can't serve a transaction; the client is told to try again", "api", kmsg.NameForKey(req.Key()), "transactional_id", id, "client", client.ID, "error", err)
	}
	return code
}
