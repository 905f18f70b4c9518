package group

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

const (
	// loadSize is the number of groups in one query: their states come in one answer.
	loadSize = 64
	// loadQueries is the number of queries under way at a time. The others of the
	// store's connections are for the watcher, without which there would be more to load.
	loadQueries = 2
	// loadTimeout bounds one query.
	loadTimeout = 10 * time.Second
)

// loader reads groups. What is asked for while queries are under way shares
// the next one, so the more there are the cheaper each is, and none waits behind
// hundreds of others.
type loader struct {
	c *Coordinator

	mu      sync.Mutex
	queue   []*load
	queries int // under way
}

// load is one group that is read. All but ref is set when done is closed.
type load struct {
	ref   metadata.GroupRef
	group metadata.Group
	// now is the store's clock; asked is by ours, and the group was the newest then or later.
	now, asked time.Time
	err        error
	done       chan struct{}
}

// load reads the group as it is after the call began.
func (m *loader) load(ctx context.Context, ref metadata.GroupRef) (*load, error) {
	k := &load{ref: ref, done: make(chan struct{})}
	m.mu.Lock()
	m.queue = append(m.queue, k)
	ok := m.queries > 0
	if m.queries < loadQueries && m.c.spawn(m.work) {
		m.queries++
		ok = true
	}
	m.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("%w: the agent is stopping", metadata.ErrUnavailable)
	}
	select {
	case <-k.done:
		return k, k.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: load group %q: %w", metadata.ErrUnavailable, ref.ID, ctx.Err())
	}
}

func (m *loader) work() {
	for {
		batch := m.take()
		if len(batch) == 0 {
			return
		}
		m.query(batch)
		for _, k := range batch {
			close(k.done)
		}
	}
}

func (m *loader) take() []*load {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := min(len(m.queue), loadSize)
	batch := m.queue[:n:n]
	m.queue = m.queue[n:]
	if n == 0 {
		m.queries--
	}
	return batch
}

// query reads the groups of the batch; alone, if something is wrong with one of them.
func (m *loader) query(batch []*load) {
	ctx, cancel := context.WithTimeout(m.c.life, loadTimeout)
	defer cancel()
	refs := make([]metadata.GroupRef, len(batch))
	for i, k := range batch {
		refs[i] = k.ref
	}
	asked := time.Now()
	groups, now, err := m.c.store.LoadGroups(ctx, refs)
	if err != nil && len(batch) > 1 && !errors.Is(err, metadata.ErrUnavailable) {
		for i := range batch {
			m.query(batch[i : i+1])
		}
		return
	}
	if err == nil {
		m.c.clock.read(now)
		m.c.metrics.loads.Observe(float64(len(batch)))
	}
	for i, k := range batch {
		k.now, k.asked, k.err = now, asked, err
		if err == nil {
			k.group = groups[i]
		}
	}
}
