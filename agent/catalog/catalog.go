// Package catalog keeps the topics in memory, so that requests don't ask the
// metadata store for what they have seen before.
//
// What it guarantees:
//
//   - A topic is called unknown only after the metadata store said so, in a
//     query that began after the question was asked. However many such questions there are,
//     one query at a time answers them all.
//   - What this agent changes through the catalog shows in the catalog before the
//     change returns; what other agents change shows when [Catalog.Apply] got
//     their commits.
//   - An answer of the store that was long under way never replaces a newer
//     one (see table).
//   - While the store is away, known topics stay known.
//
// It refuses to know Kafka's requests, names and rules, and what is in a topic.
package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol/configs"
)

var errClosed = errors.New("topic catalog is closed")

const (
	// queryTimeout bounds one query for some topics, loadTimeout that for all.
	queryTimeout = 5 * time.Second
	loadTimeout  = 30 * time.Second
	// querySize is the number of topics asked for in one query.
	querySize = 1000
)

// Catalog is the cache of topics. Its methods are safe for concurrent use.
// Topics that it returns share their slices and maps: don't change them.
type Catalog struct {
	store metadata.Topics
	log   *slog.Logger
	table *table

	// life ends with Close, which waits for work.
	life    context.Context
	stop    context.CancelFunc
	closing sync.Mutex
	closed  bool
	work    sync.WaitGroup

	lookups lookups
	repairs repairs
}

// New makes an empty catalog over the store. It loads itself with the first
// [Catalog.Reset] or [Catalog.AllTopics]. broker returns the settings that are the
// defaults of topic configs now: a value that never changes, at another address when
// the settings do.
func New(store metadata.Topics, broker func() *configs.Broker, log *slog.Logger) *Catalog {
	c := &Catalog{store: store, log: log}
	c.table = newTable(c.parse, broker)
	c.life, c.stop = context.WithCancel(context.Background())
	return c
}

// Close ends the catalog's queries and waits for them. Calls that need one then fail.
func (c *Catalog) Close() {
	c.closing.Lock()
	c.closed = true
	c.closing.Unlock()
	c.stop()
	c.work.Wait()
}

// spawn starts a goroutine that Close waits for; false after Close.
func (c *Catalog) spawn(f func()) bool {
	c.closing.Lock()
	defer c.closing.Unlock()
	if c.closed {
		return false
	}
	c.work.Go(f)
	return true
}

// TopicByName returns the topic of that name. Errors: metadata.ErrUnknownTopic
// after the store confirmed it, and the store's.
func (c *Catalog) TopicByName(ctx context.Context, name string) (metadata.Topic, error) {
	if t, ok := c.table.byName(name); ok {
		return t, nil
	}
	if err := c.confirm(ctx, []string{name}, nil); err != nil {
		return metadata.Topic{}, fmt.Errorf("look up topic %q: %w", name, err)
	}
	if t, ok := c.table.byName(name); ok {
		return t, nil
	}
	return metadata.Topic{}, fmt.Errorf("%w: no topic has the name %q", metadata.ErrUnknownTopic, name)
}

// TopicNow is [Catalog.TopicByName] past the cache, for whoever derives a
// change from what is there.
func (c *Catalog) TopicNow(ctx context.Context, name string) (metadata.Topic, error) {
	if err := c.confirm(ctx, []string{name}, nil); err != nil {
		return metadata.Topic{}, fmt.Errorf("look up topic %q: %w", name, err)
	}
	if t, ok := c.table.byName(name); ok {
		return t, nil
	}
	return metadata.Topic{}, fmt.Errorf("%w: no topic has the name %q", metadata.ErrUnknownTopic, name)
}

// TopicByID is [Catalog.TopicByName] by ID.
func (c *Catalog) TopicByID(ctx context.Context, id uuid.UUID) (metadata.Topic, error) {
	if t, ok := c.table.byID(id); ok {
		return t, nil
	}
	if err := c.confirm(ctx, nil, []uuid.UUID{id}); err != nil {
		return metadata.Topic{}, fmt.Errorf("look up topic %s: %w", id, err)
	}
	if t, ok := c.table.byID(id); ok {
		return t, nil
	}
	return metadata.Topic{}, fmt.Errorf("%w: no topic has the ID %s", metadata.ErrUnknownTopic, id)
}

// Lookup returns those of the topics that exist, in no set order, with one
// query for all that are not in the cache. With an error (the store's) it
// still returns those that are; nothing is known of the others.
func (c *Catalog) Lookup(ctx context.Context, names []string, ids []uuid.UUID) ([]metadata.Topic, error) {
	found := make([]metadata.Topic, 0, len(names)+len(ids))
	collect := func() (missingNames []string, missingIDs []uuid.UUID) {
		found = found[:0]
		for _, name := range names {
			if t, ok := c.table.byName(name); ok {
				found = append(found, t)
			} else {
				missingNames = append(missingNames, name)
			}
		}
		for _, id := range ids {
			if t, ok := c.table.byID(id); ok {
				found = append(found, t)
			} else {
				missingIDs = append(missingIDs, id)
			}
		}
		return missingNames, missingIDs
	}
	missingNames, missingIDs := collect()
	if len(missingNames)+len(missingIDs) == 0 {
		return found, nil
	}
	if err := c.confirm(ctx, missingNames, missingIDs); err != nil {
		return found, fmt.Errorf("look up %d topics: %w", len(missingNames)+len(missingIDs), err)
	}
	collect()
	return found, nil
}

// AllTopics returns all topics by name, from the cache once that is loaded.
func (c *Catalog) AllTopics(ctx context.Context) ([]metadata.Topic, error) {
	topics, _, err := c.Snapshot(ctx)
	return topics, err
}

// Snapshot is [Catalog.AllTopics] with the number of a commit up to which the
// topics have every change; of later changes they may have some. It grows, and of
// two agents with the same number neither knows a change that the other can't know of soon.
func (c *Catalog) Snapshot(ctx context.Context) (topics []metadata.Topic, seq int64, err error) {
	topics, seq, loaded := c.table.all()
	if loaded {
		return topics, seq, nil
	}
	if err := c.load(ctx); err != nil {
		return nil, 0, err
	}
	topics, seq, _ = c.table.all()
	return topics, seq, nil
}

// TopicConfig returns what the topic's configs say now, parsed once per change of
// the topic or of the broker's settings.
func (c *Catalog) TopicConfig(topic metadata.Topic) configs.Topic {
	if config, ok := c.table.config(topic.ID); ok {
		return config
	}
	return c.parse(topic, c.table.broker())
}

// parse never fails: configs are checked before they are stored. Where an older or newer
// version of Wadi stored what this one refuses, the topic works with the defaults.
func (c *Catalog) parse(topic metadata.Topic, broker *configs.Broker) configs.Topic {
	config, err := configs.ParseTopic(topic.Configs, *broker)
	if err == nil {
		return config
	}
	c.log.Error("stored topic configs are invalid; the topic works with the defaults", "topic", topic.Name, "error", err)
	if config, err = configs.ParseTopic(nil, *broker); err != nil {
		panic(fmt.Sprintf("broker settings that passed ParseBroker: %v", err))
	}
	return config
}

// RecentlyDeleted tells whether a topic of this name was deleted within the
// last seconds and there is none now: who looks whether it is gone must not create it.
func (c *Catalog) RecentlyDeleted(name string) bool { return c.table.recentlyDeleted(name) }

// CreateTopic is metadata.Topics.CreateTopic, after which the catalog has the topic.
func (c *Catalog) CreateTopic(ctx context.Context, topic metadata.NewTopic) (metadata.Topic, error) {
	return c.write(ctx, func() (metadata.Topic, error) { return c.store.CreateTopic(ctx, topic) })
}

// CreatePartitions is metadata.Topics.CreatePartitions, likewise.
func (c *Catalog) CreatePartitions(ctx context.Context, id uuid.UUID, count int32) (metadata.Topic, error) {
	return c.write(ctx, func() (metadata.Topic, error) { return c.store.CreatePartitions(ctx, id, count) })
}

// AlterTopicConfigs is metadata.Topics.AlterTopicConfigs, likewise.
func (c *Catalog) AlterTopicConfigs(ctx context.Context, id uuid.UUID, edit metadata.ConfigEdit) (metadata.Topic, error) {
	return c.write(ctx, func() (metadata.Topic, error) { return c.store.AlterTopicConfigs(ctx, id, edit) })
}

// write makes a change and enters its result. When another answer of the store
// came between, the result may be older or newer than what the cache has, so
// that only a new query tells.
func (c *Catalog) write(ctx context.Context, change func() (metadata.Topic, error)) (metadata.Topic, error) {
	t := c.table.begin()
	defer c.table.end(t)
	topic, err := change()
	if err != nil {
		return metadata.Topic{}, err
	}
	if !c.table.put(t, topic) {
		c.refresh(ctx, []uuid.UUID{topic.ID}, 0)
	}
	return topic, nil
}

// DeleteTopic is metadata.Topics.DeleteTopic, after which the catalog no longer has the topic.
func (c *Catalog) DeleteTopic(ctx context.Context, id uuid.UUID) error {
	err := c.store.DeleteTopic(ctx, id)
	if err == nil || errors.Is(err, metadata.ErrUnknownTopic) {
		// An ID is never used again: what is true now stays true.
		t := c.table.begin()
		defer c.table.end(t)
		c.table.remove(t, id)
	}
	return err
}

// Apply brings commits of the feed: topics that they created, altered or deleted
// are read anew. What can't be read now is read as soon as the store answers.
func (c *Catalog) Apply(ctx context.Context, commits []metadata.Commit) {
	var ids []uuid.UUID
	var seq int64
	for _, commit := range commits {
		if len(commit.Topics) > 0 {
			ids, seq = append(ids, commit.Topics...), commit.Seq
		}
	}
	if len(ids) == 0 {
		return
	}
	slices.SortFunc(ids, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	c.refresh(ctx, slices.Compact(ids), seq)
}

// Reset reads all topics anew, as after a gap in the feed. What can't be read
// now is read as soon as the store answers.
func (c *Catalog) Reset(ctx context.Context) {
	if err := c.load(ctx); err != nil {
		c.log.Warn("can't read the topics from the metadata store; will try again", "error", err)
		c.repair(nil, 0)
	}
}

// refresh reads topics anew, now or later; with them the table has every
// change up to the commit seq.
func (c *Catalog) refresh(ctx context.Context, ids []uuid.UUID, seq int64) {
	if err := c.query(ctx, nil, ids); err != nil {
		c.log.Warn("can't read changed topics from the metadata store; will try again", "topics", len(ids), "error", err)
		c.repair(ids, seq)
		return
	}
	c.advance(seq)
}

// load reads all topics.
func (c *Catalog) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	t := c.table.begin()
	defer c.table.end(t)
	topics, seq, err := c.store.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	c.table.putAll(t, topics)
	c.table.reflects(seq)
	return nil
}

// query reads topics by name and by ID and enters what it found, and what it didn't find.
func (c *Catalog) query(ctx context.Context, names []string, ids []uuid.UUID) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	for chunk := range slices.Chunk(names, querySize) {
		t := c.table.begin()
		topics, err := c.store.TopicsByName(ctx, chunk)
		if err == nil {
			c.table.putNames(t, chunk, topics)
		}
		c.table.end(t)
		if err != nil {
			return fmt.Errorf("read %d topics by name: %w", len(chunk), err)
		}
	}
	for chunk := range slices.Chunk(ids, querySize) {
		t := c.table.begin()
		topics, err := c.store.TopicsByID(ctx, chunk)
		if err == nil {
			c.table.putIDs(t, chunk, topics)
		}
		c.table.end(t)
		if err != nil {
			return fmt.Errorf("read %d topics by ID: %w", len(chunk), err)
		}
	}
	return nil
}
