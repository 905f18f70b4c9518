package group

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/wadi-log/wadi/agent/group/machine"
	"github.com/wadi-log/wadi/metadata"
)

// expirePage is the number of groups looked at between two queries.
const expirePage = 500

// expireOffsets deletes offsets whose time is over, and groups of which nothing is
// left (KIP-211), until ctx ends. Every agent does it, at its own times; what one
// has deleted another doesn't find.
func (c *Coordinator) expireOffsets(ctx context.Context) {
	for {
		every := max(c.settings.Offsets().CheckInterval, time.Second)
		select {
		case <-ctx.Done():
			return
		case <-time.After(every/2 + rand.N(every)):
		}
		if err := c.expireOnce(ctx); err != nil && ctx.Err() == nil {
			c.log.Warn("expiring committed offsets failed; it is tried again later", "error", err)
		}
	}
}

func (c *Coordinator) expireOnce(ctx context.Context) error {
	retention := c.settings.Offsets().Retention
	after := ""
	for {
		ids, err := c.idle(ctx, after, retention)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := c.expireGroup(ctx, id, retention); err != nil {
				return err
			}
		}
		if len(ids) < expirePage {
			return nil
		}
		after = ids[len(ids)-1]
	}
}

func (c *Coordinator) idle(ctx context.Context, after string, retention time.Duration) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	if err := c.readClock(ctx); err != nil {
		return nil, err
	}
	return c.store.IdleGroups(ctx, after, c.clock.now().Add(-retention), expirePage)
}

// expireGroup deletes what is over of one group, by what its state says under the
// lock, and the group itself when it has neither members nor offsets.
func (c *Coordinator) expireGroup(ctx context.Context, id string, retention time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	topics, err := c.topics.now(ctx)
	if err != nil {
		return err
	}
	lists, err := c.store.FetchOffsets(ctx, []metadata.OffsetQuery{{GroupID: id}})
	if err != nil {
		return err
	}
	offsets := lists[0]
	over, left := 0, 0
	if len(offsets) > 0 {
		if err := c.commits.write(&commit{
			group: id, offsets: len(offsets),
			decide: func(g *machine.Group, _ bool, env machine.Env) (changes metadata.OffsetChanges) {
				changes.Delete = expired(g, env.Now, retention, topics, offsets)
				over, left = len(changes.Delete), len(offsets)-len(changes.Delete)
				return changes
			},
		}); err != nil {
			return err
		}
	}
	c.metrics.expired.Add(float64(over))
	if left > 0 {
		return nil
	}
	return c.deleteEmpty(ctx, id)
}

// expired are the offsets whose time is over. Those of topics that are gone are
// left to the store, and none expires while an open transaction is about to replace it.
func expired(g *machine.Group, now time.Time, retention time.Duration, topics *view, offsets []metadata.Offset) []metadata.OffsetKey {
	places := topics.partitions()
	var keys []metadata.OffsetKey
	for _, o := range offsets {
		at, ok := places[o.Partition]
		if ok && !o.Unstable && g.OffsetExpired(now, retention, topics.topics[at.topic].Name, o.CommittedAt, o.ExpireAt) {
			keys = append(keys, metadata.OffsetKey{GroupID: o.GroupID, Partition: o.Partition, CommittedAt: o.CommittedAt})
		}
	}
	return keys
}

// deleteEmpty deletes a group that has no members, unless it has offsets by then.
func (c *Coordinator) deleteEmpty(ctx context.Context, id string) error {
	groups, _, err := c.decoded(ctx, []string{id})
	if err != nil {
		return err
	}
	g := groups[0]
	if g.version == 0 || g.group == nil || !g.group.Empty() { // nil: nobody can read it, which is logged
		return nil
	}
	err = c.store.DeleteUnusedGroup(ctx, id, g.version)
	if errors.Is(err, metadata.ErrGroupVersion) {
		return nil
	}
	return err
}
