package group

import (
	"sync"
	"time"
)

// interruption is how long this agent may be cut off from the store before it
// counts as having missed what others noted in the meantime.
const interruption = 3 * time.Second

// clock follows the store's clock, which all agents share: theirs may differ.
type clock struct {
	mu     sync.Mutex
	offset time.Duration // of the store's clock against ours
	set    bool
	// lastGood is when we last reached the store, by our clock, and uninterrupted
	// since when we always did, by the store's.
	lastGood      time.Time
	uninterrupted time.Time
	// heardThrough is until when all agents have told whom they heard of.
	heardThrough time.Time
}

// read notes what the store's clock said just now.
func (c *clock) read(store time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset, c.set = time.Until(store), true
}

// now estimates the store's time, in ms as states hold it.
func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nowLocked()
}

func (c *clock) nowLocked() time.Time {
	return inState(time.Now().Add(c.offset))
}

// inState is the time as states hold it: in ms, without a monotonic reading.
func inState(t time.Time) time.Time { return t.Round(0).UTC().Truncate(time.Millisecond) }

// known tells whether the store's clock was ever read.
func (c *clock) known() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.set
}

// good notes that the store was reached, notes and all, and until when all agents
// have told it whom they heard of.
func (c *clock) good(heardThrough time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heardThrough = inState(heardThrough)
	now := time.Now()
	if c.cutOffLocked() {
		// After an outage nobody can have been heard of: all members get a session
		// anew, as they do when Kafka's coordinator moves.
		c.uninterrupted = c.nowLocked()
	}
	c.lastGood = now
}

// hearing tells since when (by the store's clock) this agent could hear of all members
// without interruption, and how long before now it was that all agents had
// told whom they heard of. While it is cut off everybody gets a session anew: since is now, and there is no lag.
func (c *clock) hearing(now time.Time) (since time.Time, lag time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cutOffLocked() {
		return c.nowLocked(), 0
	}
	return c.uninterrupted, max(now.Sub(c.heardThrough), 0)
}

// cutOffLocked tells that nobody can be heard of at the moment.
func (c *clock) cutOffLocked() bool {
	return c.lastGood.IsZero() || time.Since(c.lastGood) > interruption
}
