package catalog

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol/configs"
)

// deletedMemory is how long a deleted topic's name is remembered. It must
// outlive the question whether the deletion is through, and not the wish for a
// new topic of the same name.
const deletedMemory = 5 * time.Second

// ticket numbers queries in the order in which they begin.
type ticket int64

// table is what the catalog knows, without I/O.
//
// Queries run side by side and their answers come in any order, so each takes
// a ticket before it begins, and what it says of a topic counts only if no
// query with a later ticket has spoken of that topic. This may refuse an answer that
// was read later than the one it has (the queries overtook each other on their
// way to the store), yet never for good: any change makes an entry in the feed, and
// the query that the entry causes takes its ticket when the change was already
// visible, so it, and every query with a later ticket, has it.
type table struct {
	parse  func(metadata.Topic, *configs.Broker) configs.Topic
	broker func() *configs.Broker

	mu     sync.RWMutex
	last   ticket
	active map[ticket]struct{} // begun, not ended
	topics map[uuid.UUID]*entry
	names  map[string]*entry
	// removed holds deleted topics until no query from before is under way.
	removed map[uuid.UUID]ticket
	// deleted holds the time at which a name's topic went.
	deleted map[string]time.Time
	loaded  bool
	sorted  []metadata.Topic // all topics by name; nil after a change
	// seq is the number of a commit up to which the table has every change of topics.
	seq int64
}

type entry struct {
	topic  metadata.Topic
	parsed atomic.Pointer[parsed]
	from   ticket
}

// parsed is what a topic's configs say on top of the broker's settings.
type parsed struct {
	config configs.Topic
	broker *configs.Broker
}

func newTable(parse func(metadata.Topic, *configs.Broker) configs.Topic, broker func() *configs.Broker) *table {
	return &table{
		parse: parse, broker: broker,
		active: map[ticket]struct{}{}, topics: map[uuid.UUID]*entry{}, names: map[string]*entry{},
		removed: map[uuid.UUID]ticket{}, deleted: map[string]time.Time{},
	}
}

// begin takes a ticket; every ticket is ended once.
func (b *table) begin() ticket {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	b.active[b.last] = struct{}{}
	return b.last
}

func (b *table) end(t ticket) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.active, t)
	if len(b.removed) == 0 {
		return
	}
	oldest := b.last + 1
	for a := range b.active {
		oldest = min(oldest, a)
	}
	for id, at := range b.removed {
		if at < oldest {
			delete(b.removed, id)
		}
	}
}

// put enters a topic as a query with ticket t saw it. It returns false when
// a later query spoke of it.
func (b *table) put(t ticket, topic metadata.Topic) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.putLocked(t, topic)
}

// putAll enters the whole list of topics that a query saw.
func (b *table) putAll(t ticket, topics []metadata.Topic) {
	b.mu.Lock()
	defer b.mu.Unlock()
	listed := make(map[uuid.UUID]struct{}, len(topics))
	for _, topic := range topics {
		listed[topic.ID] = struct{}{}
	}
	// Removals first: a topic of the list may have the name of one that is gone.
	for id := range b.topics {
		if _, ok := listed[id]; !ok {
			b.removeLocked(t, id)
		}
	}
	for _, topic := range topics {
		b.putLocked(t, topic)
	}
	b.loaded = true
}

// putNames enters what a query for the names saw: the topics, and that the
// other names have none.
func (b *table) putNames(t ticket, names []string, topics []metadata.Topic) {
	b.mu.Lock()
	defer b.mu.Unlock()
	found := make(map[string]struct{}, len(topics))
	for _, topic := range topics {
		found[topic.Name] = struct{}{}
	}
	for _, name := range names {
		if _, ok := found[name]; ok {
			continue
		}
		if e := b.names[name]; e != nil {
			b.removeLocked(t, e.topic.ID)
		}
	}
	for _, topic := range topics {
		b.putLocked(t, topic)
	}
}

// putIDs is putNames for a query by ID.
func (b *table) putIDs(t ticket, ids []uuid.UUID, topics []metadata.Topic) {
	b.mu.Lock()
	defer b.mu.Unlock()
	found := make(map[uuid.UUID]struct{}, len(topics))
	for _, topic := range topics {
		found[topic.ID] = struct{}{}
	}
	for _, id := range ids {
		if _, ok := found[id]; !ok {
			b.removeLocked(t, id)
		}
	}
	for _, topic := range topics {
		b.putLocked(t, topic)
	}
}

func (b *table) remove(t ticket, id uuid.UUID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.removeLocked(t, id)
}

func (b *table) putLocked(t ticket, topic metadata.Topic) bool {
	old := b.topics[topic.ID]
	if b.removed[topic.ID] >= t || old != nil && old.from > t {
		return false
	}
	// The name has one topic at a time: of two, the query that spoke last saw
	// the one that is there, and the other is deleted.
	if rival := b.names[topic.Name]; rival != nil && rival.topic.ID != topic.ID {
		if rival.from > t {
			return false
		}
		b.removeLocked(t, rival.topic.ID)
	}
	e := &entry{topic: topic, from: t}
	b.parseEntry(e, b.broker())
	b.topics[topic.ID], b.names[topic.Name] = e, e
	delete(b.deleted, topic.Name)
	b.sorted = nil
	return true
}

func (b *table) removeLocked(t ticket, id uuid.UUID) {
	old := b.topics[id]
	if old != nil && old.from > t {
		return
	}
	b.removed[id] = max(b.removed[id], t)
	if old == nil {
		return
	}
	delete(b.topics, id)
	delete(b.names, old.topic.Name)
	b.sorted = nil
	now := time.Now()
	for name, at := range b.deleted {
		if now.Sub(at) >= deletedMemory {
			delete(b.deleted, name)
		}
	}
	b.deleted[old.topic.Name] = now
}

func (b *table) byName(name string) (metadata.Topic, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if e := b.names[name]; e != nil {
		return e.topic, true
	}
	return metadata.Topic{}, false
}

func (b *table) byID(id uuid.UUID) (metadata.Topic, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if e := b.topics[id]; e != nil {
		return e.topic, true
	}
	return metadata.Topic{}, false
}

// config is parsed anew by the first who asks after the broker's settings changed.
func (b *table) config(id uuid.UUID) (configs.Topic, bool) {
	b.mu.RLock()
	e := b.topics[id]
	b.mu.RUnlock()
	if e == nil {
		return configs.Topic{}, false
	}
	p, now := e.parsed.Load(), b.broker()
	if p.broker != now {
		return b.parseEntry(e, now), true
	}
	return p.config, true
}

func (b *table) parseEntry(e *entry, broker *configs.Broker) configs.Topic {
	config := b.parse(e.topic, broker)
	e.parsed.Store(&parsed{config, broker})
	return config
}

func (b *table) recentlyDeleted(name string) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	at, ok := b.deleted[name]
	return ok && time.Since(at) < deletedMemory
}

// reflects notes that the table has every change of topics up to the commit.
func (b *table) reflects(seq int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seq = max(b.seq, seq)
}

// all returns all topics by name, and a number up to which they have every
// change; loaded is false before the first putAll.
func (b *table) all() (topics []metadata.Topic, seq int64, loaded bool) {
	b.mu.RLock()
	topics, seq, loaded = b.sorted, b.seq, b.loaded
	b.mu.RUnlock()
	if topics != nil || !loaded {
		return topics, seq, loaded
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sorted == nil {
		sorted := make([]metadata.Topic, 0, len(b.topics))
		for _, e := range b.topics {
			sorted = append(sorted, e.topic)
		}
		slices.SortFunc(sorted, func(a, b metadata.Topic) int { return cmp.Compare(a.Name, b.Name) })
		b.sorted = sorted
	}
	return b.sorted, b.seq, true
}
