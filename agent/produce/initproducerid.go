package produce

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/errcode"
	"github.com/wadi-log/wadi/protocol"
)

// InitProducerID is API key 22, served in versions 0 to 5.
//
//	v0  idempotent producers (KIP-98)
//	v2  flexible (KIP-482)
//	v3  the producer's present ID and epoch (KIP-360); they matter with a transactional ID only
//	v4  PRODUCER_FENCED (KIP-588)
//	v5  TRANSACTION_ABORTABLE (KIP-890)
//
// Transactional IDs are not served yet and get UNSUPPORTED_VERSION, which
// clients report as fatal at once instead of trying again for ever.

// idBlock is how many producer IDs an agent takes from the store at a time
// (KIP-730 has the same for brokers).
const idBlock = 1000

// IDAllocator reserves producer IDs in the metadata store.
type IDAllocator interface {
	AllocateProducerIDs(ctx context.Context, count int) (first int64, err error)
}

// ProducerIDs hands out producer IDs, each once, from blocks of the metadata
// store. What is left of a block when the agent stops is never used.
type ProducerIDs struct {
	store IDAllocator

	refill    sync.Mutex // held while a block is fetched
	mu        sync.Mutex
	next, end int64
}

// NewProducerIDs makes the dispenser.
func NewProducerIDs(store IDAllocator) *ProducerIDs { return &ProducerIDs{store: store} }

// InitProducerID answers API key 22.
func (p *ProducerIDs) InitProducerID(ctx context.Context, _ protocol.Client, req *kmsg.InitProducerIDRequest) *kmsg.InitProducerIDResponse {
	resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	switch {
	case req.TransactionalID != nil && *req.TransactionalID == "":
		resp.ErrorCode = kerr.InvalidRequest.Code
	case req.TransactionalID != nil:
		resp.ErrorCode = kerr.UnsupportedVersion.Code
	default:
		id, err := p.take(ctx)
		if err != nil {
			resp.ErrorCode = errcode.OfCoordinator(err)
			break
		}
		resp.ProducerID, resp.ProducerEpoch = id, 0
	}
	return resp
}

func (p *ProducerIDs) take(ctx context.Context) (int64, error) {
	if id, ok := p.fromBlock(); ok {
		return id, nil
	}
	p.refill.Lock()
	defer p.refill.Unlock()
	if id, ok := p.fromBlock(); ok { // another request fetched a block meanwhile
		return id, nil
	}
	first, err := p.store.AllocateProducerIDs(ctx, idBlock)
	if err != nil {
		return -1, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next, p.end = first+1, first+idBlock
	return first, nil
}

func (p *ProducerIDs) fromBlock() (int64, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == p.end {
		return -1, false
	}
	p.next++
	return p.next - 1, true
}
