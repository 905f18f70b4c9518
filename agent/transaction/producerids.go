package transaction

import (
	"context"
	"sync"
)

// idBlock is how many producer IDs an agent takes from the store at a time
// (KIP-730 has the same for brokers).
const idBlock = 1000

// producerIDs hands out producer IDs, each once, from blocks of the metadata
// store. What is left of a block when the agent stops is never used.
type producerIDs struct {
	store interface {
		AllocateProducerIDs(ctx context.Context, count int) (first int64, err error)
	}

	refill    sync.Mutex // held while a block is fetched
	mu        sync.Mutex
	returned  []int64 // at most as many as are out at one time
	next, end int64
}

// take returns a producer ID that nobody has.
func (p *producerIDs) take(ctx context.Context) (int64, error) {
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

func (p *producerIDs) fromBlock() (int64, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.returned); n > 0 {
		id := p.returned[n-1]
		p.returned = p.returned[:n-1]
		return id, true
	}
	if p.next == p.end {
		return -1, false
	}
	p.next++
	return p.next - 1, true
}

// forget wastes what is left of the block.
func (p *producerIDs) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.returned, p.next, p.end = nil, 0, 0
}

// giveBack takes an ID back that was surely not used: most who bring one along, in
// case their epochs have run out, don't need it.
func (p *producerIDs) giveBack(id int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.returned = append(p.returned, id)
}
