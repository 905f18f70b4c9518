package group

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

const (
	// watchParked is the time between two looks for changes by other agents while
	// requests wait for them, watchIdle otherwise: then it is what keeps the copies young
	// enough for heartbeats.
	watchParked = 20 * time.Millisecond
	watchIdle   = 250 * time.Millisecond
	// watchTimeout bounds one look; watchSize is the number of groups in one query.
	watchTimeout = 5 * time.Second
	watchSize    = 1000
	// watchUnused is how long a group that nobody asks for is watched.
	watchUnused = 20 * time.Second
	// evictAfter is how long a group is remembered after its last request.
	evictAfter = time.Minute

	// keepEvery is the time between two rounds of keepTime.
	keepEvery = 500 * time.Millisecond
	// keepTimeout bounds one round's calls.
	keepTimeout = 5 * time.Second
	// claimSize is the number of due groups taken at once, claimLease how long
	// they are ours.
	claimSize  = 100
	claimLease = 5 * time.Second
)

// watch looks for changes that other agents made to the groups that this one
// works for, one query for all of them.
func (c *Coordinator) watch(ctx context.Context) {
	lastFull := time.Time{}
	failing := false
	for ctx.Err() == nil {
		full := time.Since(lastFull) >= watchIdle
		if full {
			lastFull = time.Now()
			c.evictIdle(evictAfter)
		}
		err := c.watchOnce(ctx, full)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			failing = true
			c.log.Warn("can't follow the consumer groups in the metadata store; will try again", "error", err)
		case err == nil && failing:
			failing = false
			c.log.Info("following the consumer groups again")
		}
		pause := watchIdle
		if err == nil && c.parked() > 0 {
			pause = watchParked
		}
		select {
		case <-ctx.Done():
		case <-c.parkedNow:
		case <-time.After(pause):
		}
	}
}

// watchOnce asks for the versions of the groups that requests wait for here, or
// of all that were used lately, and wakes those that changed.
func (c *Coordinator) watchOnce(ctx context.Context, full bool) error {
	var watched []*local
	for _, l := range c.all() {
		l.mu.Lock()
		if len(l.parked) > 0 || full && l.copy.version != 0 && (time.Since(l.used) < watchUnused) {
			watched = append(watched, l)
		}
		l.mu.Unlock()
	}
	for chunk := range slices.Chunk(watched, watchSize) {
		if err := c.compare(ctx, chunk); err != nil {
			return err
		}
	}
	return nil
}

func (c *Coordinator) compare(ctx context.Context, watched []*local) error {
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	ids := make([]string, len(watched))
	for i, l := range watched {
		ids[i] = l.id
	}
	asked := time.Now()
	versions, now, err := c.store.GroupVersions(ctx, ids)
	if err != nil {
		return err
	}
	c.clock.read(now)
	for i, l := range watched {
		l.mu.Lock()
		same := l.copy.version == versions[i]
		switch {
		case same && asked.After(l.checked):
			l.checked = asked
		case !same && asked.After(l.checked):
			// A copy that is younger than the question was stored meanwhile.
			l.checked = time.Time{}
		}
		wake := !same && len(l.parked) > 0
		l.mu.Unlock()
		if wake {
			c.wake(l)
		}
	}
	return nil
}

// keepTime notes in the store whom this agent heard of, and takes on groups
// whose time has come, wherever their members' requests go.
func (c *Coordinator) keepTime(ctx context.Context) {
	for round := 0; ctx.Err() == nil; round++ {
		heardThrough, err := c.noteBeats(ctx)
		if err == nil && round%2 == 0 {
			err = c.claimDue(ctx)
		}
		if err == nil {
			c.clock.good(heardThrough)
		} else if ctx.Err() == nil {
			// watch tells of an outage; this one shows in how the metrics stand still.
			c.log.Debug("can't note heartbeats or look for due groups", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(keepEvery*9/10 + rand.N(keepEvery/5)):
		}
	}
}

func (c *Coordinator) claimDue(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, keepTimeout)
	defer cancel()
	for {
		ids, err := c.store.ClaimDueGroups(ctx, claimSize, claimLease)
		if err != nil {
			return err
		}
		for _, id := range ids {
			c.claim(id)
		}
		if len(ids) < claimSize {
			return nil
		}
	}
}

// noteBeats tells the store of the groups of whose members we heard, each as
// often as their sessions need it, and then that it has been told of all. It returns until when
// all agents have told.
func (c *Coordinator) noteBeats(ctx context.Context) (heardThrough time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, keepTimeout)
	defer cancel()
	if err := c.readClock(ctx); err != nil {
		return heardThrough, err
	}
	// What is heard of from here on is noted in the next round.
	now := c.clock.now()
	var due []*local
	var beats []metadata.GroupBeats
	for _, l := range c.all() {
		if members := l.notable(now); members != nil {
			due, beats = append(due, l), append(beats, metadata.GroupBeats{GroupID: l.id, Members: members})
		}
	}
	if len(beats) > 0 {
		err = c.store.BeatMembers(ctx, c.agent, beats)
		c.metrics.notedGroups.Add(float64(len(beats)))
	}
	if err == nil {
		heardThrough, err = c.store.HeardThrough(ctx, c.agent, now)
	}
	if err != nil {
		for _, l := range due {
			l.renote()
		}
	}
	return heardThrough, err
}

// readClock reads the store's clock, unless it was read before.
func (c *Coordinator) readClock(ctx context.Context) error {
	if c.clock.known() {
		return nil
	}
	_, now, err := c.store.GroupVersions(ctx, nil)
	if err == nil {
		c.clock.read(now)
	}
	return err
}
