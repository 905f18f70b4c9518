package catalog

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/uuid"
)

// lookups joins the questions for topics that the cache doesn't have: one
// query is under way, and all who ask meanwhile share the next one. A question
// never joins a query that has begun, which may not see a topic made since
// (this is why singleflight won't do).
type lookups struct {
	mu      sync.Mutex
	running bool
	next    *lookup
}

type lookup struct {
	names map[string]struct{}
	ids   map[uuid.UUID]struct{}
	done  chan struct{}
	err   error // after done
}

// confirm asks the store for topics, and returns when the table has what it
// answered. The end of ctx ends the wait, not the query that others share.
func (c *Catalog) confirm(ctx context.Context, names []string, ids []uuid.UUID) error {
	l := c.join(names, ids)
	select {
	case <-l.done:
		return l.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Catalog) join(names []string, ids []uuid.UUID) *lookup {
	c.lookups.mu.Lock()
	defer c.lookups.mu.Unlock()
	l := c.lookups.next
	if l == nil {
		l = &lookup{names: map[string]struct{}{}, ids: map[uuid.UUID]struct{}{}, done: make(chan struct{})}
		c.lookups.next = l
	}
	for _, name := range names {
		l.names[name] = struct{}{}
	}
	for _, id := range ids {
		l.ids[id] = struct{}{}
	}
	if !c.lookups.running {
		c.lookups.running = c.spawn(c.runLookups)
	}
	if !c.lookups.running {
		c.lookups.next = nil
		l.err = errClosed
		close(l.done)
	}
	return l
}

// runLookups answers questions until there are none.
func (c *Catalog) runLookups() {
	for {
		c.lookups.mu.Lock()
		l := c.lookups.next
		c.lookups.next = nil
		c.lookups.running = l != nil
		c.lookups.mu.Unlock()
		if l == nil {
			return
		}
		l.err = c.query(c.life, slices.Collect(maps.Keys(l.names)), slices.Collect(maps.Keys(l.ids)))
		close(l.done)
	}
}

// repairs holds what the store said has changed and could not be read.
type repairs struct {
	mu      sync.Mutex
	running bool
	all     bool
	ids     map[uuid.UUID]struct{}
	// seq is the last commit that is mended with them.
	seq int64
}

// advance notes that the table has every change up to the commit, unless an
// earlier one still has to be repaired, which then brings it.
func (c *Catalog) advance(seq int64) {
	r := &c.repairs
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running {
		r.seq = max(r.seq, seq)
		return
	}
	c.table.reflects(seq)
}

// repair reads topics, nil for all, as soon as the store answers. With them the
// table has every change up to the commit seq.
func (c *Catalog) repair(ids []uuid.UUID, seq int64) {
	r := &c.repairs
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = r.all || ids == nil
	r.seq = max(r.seq, seq)
	if r.ids == nil {
		r.ids = map[uuid.UUID]struct{}{}
	}
	for _, id := range ids {
		r.ids[id] = struct{}{}
	}
	if !r.running {
		r.running = c.spawn(c.runRepairs)
	}
}

// runRepairs tries until nothing is left to repair or the catalog closes.
func (c *Catalog) runRepairs() {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 100*time.Millisecond, 5*time.Second
	for {
		timer := time.NewTimer(pause.NextBackOff())
		select {
		case <-timer.C:
		case <-c.life.Done():
			timer.Stop()
			return
		}
		r := &c.repairs
		r.mu.Lock()
		all, ids := r.all, r.ids
		r.all, r.ids = false, nil
		if !all && len(ids) == 0 {
			r.running = false
			c.table.reflects(r.seq)
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		// All topics include the few.
		var err error
		if all {
			err = c.load(c.life)
		} else {
			err = c.query(c.life, nil, slices.Collect(maps.Keys(ids)))
		}
		if err == nil {
			pause.Reset()
			continue
		}
		r.mu.Lock()
		r.all = r.all || all
		if r.ids == nil {
			r.ids = map[uuid.UUID]struct{}{}
		}
		maps.Copy(r.ids, ids)
		r.mu.Unlock()
	}
}
