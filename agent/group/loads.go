package group

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wadi-log/wadi/agent/gather"
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
	c     *Coordinator
	queue *gather.Queue[*load]
}

func newLoader(c *Coordinator) *loader {
	m := &loader{c: c}
	m.queue = gather.New(loadQueries, c.workers.Spawn, gather.Until(loadSize, func(*load) int { return 1 }), m.answer)
	return m
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
	if !m.queue.Add(k) {
		return nil, fmt.Errorf("%w: the agent is stopping", metadata.ErrUnavailable)
	}
	select {
	case <-k.done:
		return k, k.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: load group %q: %w", metadata.ErrUnavailable, ref.ID, ctx.Err())
	}
}

// answer reads the groups of the batch and tells who waits.
func (m *loader) answer(batch []*load) {
	m.query(batch)
	for _, k := range batch {
		close(k.done)
	}
}

// query reads the groups of the batch; alone, if something is wrong with one of them.
func (m *loader) query(batch []*load) {
	ctx, cancel := context.WithTimeout(m.c.workers.Life(), loadTimeout)
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
