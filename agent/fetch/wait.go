package fetch

import "github.com/wadi-log/wadi/metadata"

// position is where a long poll stands in a partition: it has planned to read
// up to the offset, and up to left further bytes of the partition count for it.
// Of a consumer of committed records the offset may lie above what is decided.
type position struct {
	partition metadata.PartitionID
	offset    int64
	left      int64
}

// waiter is one long poll. It wakes once: when the commits applied since its
// positions sum up to what it needs, or when something happened that only a
// new plan can tell (a reset, an eviction, a topic changed). To consumers of committed
// records bytes count once they are decided.
type waiter struct {
	level isolation
	// woken is closed to wake it.
	woken chan struct{}

	// Guarded by the tail's mutex.
	asked int64 // what it needed at first
	need  int64 // what is missing of that
	done  bool
	nodes []waitNode
}

// waitNode links a waiter into the ring of a chain.
type waitNode struct {
	waiter *waiter
	// offset and left are as in position; offset moves with what is counted of decided bytes.
	offset, left int64
	prev, next   *waitNode
}

// wait registers a long poll that needs more bytes. Commits applied since its
// positions were planned count at once, so none is missed in between. The
// caller ends it with stop.
func (t *Tail) wait(level isolation, positions []position, need int64) *waiter {
	w := &waiter{level: level, woken: make(chan struct{}), asked: need, need: need, nodes: make([]waitNode, len(positions))}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiters[w] = struct{}{}
	if len(t.waiters) == 1 {
		select {
		case t.arrived <- struct{}{}:
		default:
		}
	}
	if need <= 0 {
		w.wake()
	}
	for i := range positions {
		p := &positions[i]
		c := t.chains[p.partition]
		if c == nil || level != readCommitted && p.offset < c.start() {
			w.wake()
			return w
		}
		n := &w.nodes[i]
		n.waiter, n.offset, n.left = w, p.offset, p.left
		n.prev, n.next = c.waiting.prev, &c.waiting
		n.prev.next, n.next.prev = n, n
		switch {
		case level == readCommitted:
			n.countStable(c)
		case p.offset < c.end:
			for _, run := range c.from(p.offset) {
				n.count(&run)
			}
		}
	}
	return w
}

// stop takes the waiter out of the tail. It reports whether anything came for it.
func (t *Tail) stop(w *waiter) (came bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.waiters, w)
	for i := range w.nodes {
		if n := &w.nodes[i]; n.next != nil {
			n.prev.next, n.next.prev = n.next, n.prev
		}
	}
	return w.done || w.need < w.asked
}

// enough reports whether commits brought what it needs. Only after stop.
func (w *waiter) enough() bool { return w.need <= 0 }

// Waiting is the number of long polls that wait.
func (t *Tail) Waiting() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.waiters)
}

// wakeAll wakes all long polls. t.mu is held.
func (t *Tail) wakeAll() {
	for w := range t.waiters {
		w.wake()
	}
}

// wakeAll wakes the long polls on this partition. t.mu is held.
func (c *chain) wakeAll() {
	for n := c.waiting.next; n != &c.waiting; n = n.next {
		n.waiter.wake()
	}
}

// count tells the long polls on this partition of a new run, and of what is
// decided with it. t.mu is held.
func (c *chain) count(run *metadata.Run) {
	for n := c.waiting.next; n != &c.waiting; n = n.next {
		if n.waiter.level == readCommitted {
			n.countStable(c)
		} else {
			n.count(run)
		}
	}
}

func (n *waitNode) count(run *metadata.Run) {
	if run.BaseOffset < n.offset {
		return // planned already, from a newer answer of the store
	}
	n.add(int64(run.Size))
}

// countStable counts what is decided and was not at the last time.
func (n *waitNode) countStable(c *chain) {
	switch {
	case c.stable <= n.offset:
		return
	case n.offset < c.start():
		// A transaction was open for so long that its first runs are not here any more.
		n.waiter.wake()
		return
	}
	for _, run := range before(c.from(n.offset), c.stable) {
		n.add(sizeWithin(&run, n.offset, c.stable))
	}
	n.offset = c.stable
}

func (n *waitNode) add(bytes int64) {
	counted := min(bytes, n.left)
	n.left -= counted
	n.waiter.need -= counted
	if n.waiter.need <= 0 {
		n.waiter.wake()
	}
}

func (w *waiter) wake() {
	if !w.done {
		w.done = true
		close(w.woken)
	}
}
