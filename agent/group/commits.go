package group

import (
	"context"
	"fmt"
	"time"

	"github.com/wadi-log/wadi/agent/gather"
	"github.com/wadi-log/wadi/agent/group/machine"
	"github.com/wadi-log/wadi/metadata"
)

const (
	// commitTimeout bounds one transaction.
	commitTimeout = 10 * time.Second
	// commitOffsets is the number of offsets after which no more requests join
	// a transaction.
	commitOffsets = 20_000
	// decodedBytes bounds the states (as stored) that are kept decoded for the checks.
	decodedBytes = 16 << 20
)

// committer writes committed offsets. One transaction is under way at a time; all
// requests that come meanwhile share the next one. So commits of one connection
// keep their order, and the more there are the cheaper each is.
type committer struct {
	c     *Coordinator
	queue *gather.Queue[*commit]

	// Owned by the queue's one worker.
	decoded map[string]decodedGroup
	bytes   int // of the states decoded
}

type decodedGroup struct {
	version int64
	group   *machine.Group
}

// commit is one request's changes of one group's offsets.
type commit struct {
	group string
	// create enters the group if there is none, as one that is used for offsets only.
	create bool
	// decide returns what is written, by the group's state under the lock. It may
	// be called more than once; what the client is answered it keeps to itself.
	// exists tells whether there is such a group at all.
	decide  func(g *machine.Group, exists bool, env machine.Env) metadata.OffsetChanges
	offsets int // about how many

	failed error // this commit alone
	done   chan error
}

func newCommitter(c *Coordinator) *committer {
	m := &committer{c: c, decoded: map[string]decodedGroup{}}
	m.queue = gather.New(1, c.workers.Spawn, gather.Until(commitOffsets, func(k *commit) int { return k.offsets }), m.answer)
	return m
}

// write writes what the commit decides, and returns when it is durable. With an
// error nothing is known to be written. It takes as long as a transaction that is
// under way and one more, which are bounded.
func (m *committer) write(k *commit) error {
	k.done = make(chan error, 1)
	if !m.queue.Add(k) {
		return fmt.Errorf("%w: the agent is stopping", metadata.ErrUnavailable)
	}
	return <-k.done
}

// answer writes a batch and tells who waits.
func (m *committer) answer(batch []*commit) {
	err := m.transact(batch)
	for _, k := range batch {
		if err == nil {
			k.done <- k.failed
		} else {
			k.done <- err
		}
	}
}

// transact writes a batch. An outcome that is unknown is not tried again here: the
// client does it, who may have more to commit by then.
func (m *committer) transact(batch []*commit) error {
	ctx, cancel := context.WithTimeout(m.c.workers.Life(), commitTimeout)
	defer cancel()
	topics, err := m.c.topics.now(ctx)
	if err != nil {
		return err
	}
	refs, index, err := m.refs(batch, topics)
	if err != nil {
		return err
	}
	began := time.Now()
	written, offsets := 0, 0
	for _, k := range batch {
		offsets += k.offsets
	}
	err = m.c.store.WriteOffsets(ctx, refs, func(now time.Time, groups []metadata.Group) (metadata.OffsetChanges, error) {
		m.c.clock.read(now)
		now = inState(now)
		// The groups are locked until this is written.
		all := metadata.OffsetChanges{Put: make([]metadata.Offset, 0, offsets)}
		for _, k := range batch {
			var g *machine.Group
			stored := groups[index[k.group]]
			// A state that can't be decoded is no reason to fail other groups' commits.
			if g, k.failed = m.groupOf(stored); k.failed == nil {
				var changes metadata.OffsetChanges
				changes, k.failed = k.decided(g, stored.Version != 0, m.c.envAt(k.group, now, topics))
				all.Put, all.Delete = append(all.Put, changes.Put...), append(all.Delete, changes.Delete...)
			}
		}
		written = len(all.Put)
		return all, nil
	})
	if err == nil {
		m.c.metrics.committed(written, len(batch), time.Since(began))
	}
	return err
}

// decided is decide, whose panic fails this commit alone.
func (k *commit) decided(g *machine.Group, exists bool, env machine.Env) (changes metadata.OffsetChanges, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked(p)
		}
	}()
	return k.decide(g, exists, env), nil
}

// refs names each group of the batch once; index says where.
func (m *committer) refs(batch []*commit, topics *view) (refs []metadata.GroupRef, index map[string]int, err error) {
	index = make(map[string]int, len(batch))
	if m.bytes > decodedBytes {
		clear(m.decoded)
		m.bytes = 0
	}
	for _, k := range batch {
		i, ok := index[k.group]
		if !ok {
			i = len(refs)
			index[k.group] = i
			refs = append(refs, metadata.GroupRef{ID: k.group, Known: m.decoded[k.group].version})
		}
		if k.create && refs[i].Create == nil {
			state, err := stateOf(machine.New(k.group), m.c.envAt(k.group, m.c.clock.now(), topics))
			if err != nil {
				return nil, nil, err
			}
			refs[i].Create = &state
		}
	}
	return refs, index, nil
}

// groupOf decodes a group's state, once per version.
func (m *committer) groupOf(stored metadata.Group) (*machine.Group, error) {
	if stored.Version == 0 {
		return machine.New(stored.ID), nil
	}
	if known, ok := m.decoded[stored.ID]; ok && known.version == stored.Version {
		return known.group, nil
	}
	g, err := machine.Decode(stored.ID, stored.State)
	if err != nil {
		return nil, err
	}
	m.decoded[stored.ID] = decodedGroup{stored.Version, g}
	m.bytes += len(stored.ID) + len(stored.State) // older versions are counted on, until all are dropped
	return g, nil
}
