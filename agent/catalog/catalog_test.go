package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol/configs"
	"github.com/wadi-log/wadi/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// spy is the real store, watched and disturbed. Its hooks get the query's kind and
// run before the store is asked (an error is then the answer) or after it answered.
type spy struct {
	metadata.Store
	queries atomic.Int64
	mu      sync.Mutex
	before  func(kind string) error
	after   func(kind string)
}

func (s *spy) hook(before func(string) error, after func(string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before, s.after = before, after
}

func (s *spy) enter(kind string) (leave func(), err error) {
	s.queries.Add(1)
	s.mu.Lock()
	before, after := s.before, s.after
	s.mu.Unlock()
	if before != nil {
		err = before(kind)
	}
	return func() {
		if after != nil {
			after(kind)
		}
	}, err
}

func (s *spy) ListTopics(ctx context.Context) ([]metadata.Topic, int64, error) {
	leave, err := s.enter("list")
	if err != nil {
		return nil, 0, err
	}
	defer leave()
	return s.Store.ListTopics(ctx)
}

func (s *spy) TopicsByName(ctx context.Context, names []string) ([]metadata.Topic, error) {
	leave, err := s.enter("names")
	if err != nil {
		return nil, err
	}
	defer leave()
	return s.Store.TopicsByName(ctx, names)
}

func (s *spy) TopicsByID(ctx context.Context, ids []uuid.UUID) ([]metadata.Topic, error) {
	leave, err := s.enter("ids")
	if err != nil {
		return nil, err
	}
	defer leave()
	return s.Store.TopicsByID(ctx, ids)
}

func newTestCatalog(t *testing.T, store metadata.Store) (*Catalog, *spy) {
	t.Helper()
	s := &spy{Store: store}
	broker := configs.DefaultBroker()
	c := New(s, func() *configs.Broker { return &broker }, slog.New(slog.DiscardHandler))
	t.Cleanup(c.Close)
	return c, s
}

// set is an edit that sets one config.
func set(name, value string) metadata.ConfigEdit {
	return func(now map[string]string) (map[string]string, error) {
		now[name] = value
		return now, nil
	}
}

func create(t *testing.T, store interface {
	CreateTopic(context.Context, metadata.NewTopic) (metadata.Topic, error)
}, name string) metadata.Topic {
	t.Helper()
	topic, err := store.CreateTopic(t.Context(), metadata.NewTopic{Name: name, Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

func TestUnknownTopicIsAskedOfTheStore(t *testing.T) {
	c, s := newTestCatalog(t, openStore(t))
	ctx := t.Context()
	c.Reset(ctx)
	if _, err := c.TopicByName(ctx, "t"); !errors.Is(err, metadata.ErrUnknownTopic) {
		t.Fatalf("error %v, want ErrUnknownTopic", err)
	}
	// Another agent creates it; the feed has not told us.
	topic := create(t, s.Store, "t")
	if got, err := c.TopicByName(ctx, "t"); err != nil || got.ID != topic.ID {
		t.Errorf("by name: %v, %v", got, err)
	}
	other := create(t, s.Store, "u")
	if got, err := c.TopicByID(ctx, other.ID); err != nil || got.Name != "u" {
		t.Errorf("by ID: %v, %v", got, err)
	}
	if _, err := c.TopicByID(ctx, metadata.NewTopicID()); !errors.Is(err, metadata.ErrUnknownTopic) {
		t.Errorf("error %v, want ErrUnknownTopic", err)
	}
	queries := s.queries.Load()
	for range 10 {
		if _, err := c.TopicByName(ctx, "t"); err != nil {
			t.Error(err)
		}
		if _, err := c.TopicByID(ctx, other.ID); err != nil {
			t.Error(err)
		}
	}
	if n := s.queries.Load(); n != queries {
		t.Errorf("known topics cost %d queries", n-queries)
	}
}

func TestFloodOfUnknownTopicsIsFewQueries(t *testing.T) {
	c, s := newTestCatalog(t, openStore(t))
	ctx := t.Context()
	begun, release := make(chan struct{}, 1), make(chan struct{})
	var first sync.Once
	s.hook(func(string) error {
		first.Do(func() { begun <- struct{}{}; <-release })
		return nil
	}, nil)
	var wg sync.WaitGroup
	ask := func(i int) {
		wg.Go(func() {
			if _, err := c.TopicByName(ctx, fmt.Sprint("t", i)); !errors.Is(err, metadata.ErrUnknownTopic) {
				t.Errorf("error %v, want ErrUnknownTopic", err)
			}
		})
	}
	ask(0)
	<-begun
	for i := range 500 {
		ask(i)
	}
	// All of the 500 wait before the first query may go on.
	for c.waiting() < 500 {
		waitABit(t)
	}
	close(release)
	wg.Wait()
	if n := s.queries.Load(); n > 2 {
		t.Errorf("501 questions cost %d queries, want 2", n)
	}
}

func TestQuestionDoesNotJoinABegunQuery(t *testing.T) {
	c, s := newTestCatalog(t, openStore(t))
	ctx := t.Context()
	answered, release := make(chan struct{}), make(chan struct{})
	var first sync.Once
	s.hook(nil, func(string) {
		first.Do(func() { close(answered); <-release })
	})
	early := make(chan error, 1)
	go func() {
		_, err := c.TopicByName(ctx, "t")
		early <- err
	}()
	<-answered // the store said: unknown
	create(t, s.Store, "t")
	late := make(chan error, 1)
	go func() {
		_, err := c.TopicByName(ctx, "t")
		late <- err
	}()
	for c.waiting() == 0 {
		waitABit(t)
	}
	close(release)
	if err := <-late; err != nil {
		t.Errorf("a topic made before the question is unknown: %v", err)
	}
	if err := <-early; err != nil && !errors.Is(err, metadata.ErrUnknownTopic) {
		t.Error(err)
	}
}

func TestCancelledQuestionLeavesTheQueryToOthers(t *testing.T) {
	c, s := newTestCatalog(t, openStore(t))
	topic := create(t, s.Store, "t")
	begun, release := make(chan struct{}), make(chan struct{})
	var first sync.Once
	s.hook(func(string) error {
		first.Do(func() { close(begun); <-release })
		return nil
	}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := c.TopicByName(ctx, "t")
		done <- err
	}()
	<-begun
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	close(release)
	if got, err := c.TopicByName(t.Context(), "t"); err != nil || got.ID != topic.ID {
		t.Errorf("%v, %v", got, err)
	}
}

func TestSlowListDoesNotUndoChanges(t *testing.T) {
	c, s := newTestCatalog(t, openStore(t))
	ctx := t.Context()
	altered, deleted := create(t, c, "altered"), create(t, c, "deleted")
	answered, release := make(chan struct{}), make(chan struct{})
	s.hook(nil, func(kind string) {
		if kind == "list" {
			close(answered)
			<-release
		}
	})
	done := make(chan struct{})
	go func() { defer close(done); c.Reset(ctx) }()
	<-answered
	value := "77"
	if _, err := c.AlterTopicConfigs(ctx, altered.ID, set("retention.ms", value)); err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteTopic(ctx, deleted.ID); err != nil {
		t.Fatal(err)
	}
	created := create(t, c, "created")
	close(release)
	<-done
	if config := c.TopicConfig(altered); config.RetentionMs != 77 {
		t.Errorf("retention is %d ms, want the 77 set meanwhile", config.RetentionMs)
	}
	if _, err := c.TopicByName(ctx, "deleted"); !errors.Is(err, metadata.ErrUnknownTopic) {
		t.Errorf("the topic deleted meanwhile: %v, want ErrUnknownTopic", err)
	}
	if _, ok := c.table.byID(created.ID); !ok {
		t.Error("the topic created meanwhile is gone")
	}
}

func TestTopicConfigFollowsTheBroker(t *testing.T) {
	broker := configs.DefaultBroker()
	now := &broker
	c := New(openStore(t), func() *configs.Broker { return now }, slog.New(slog.DiscardHandler))
	t.Cleanup(c.Close)
	own, other := create(t, c, "own"), create(t, c, "other")
	if _, err := c.AlterTopicConfigs(t.Context(), own.ID, set("max.message.bytes", "77")); err != nil {
		t.Fatal(err)
	}
	changed, err := broker.With(map[string]string{"message.max.bytes": "5000"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		broker *configs.Broker
		want   int32
	}{{&broker, 1048588}, {&changed, 5000}, {&broker, 1048588}} {
		now = step.broker
		if got, kept := c.TopicConfig(other).MaxMessageBytes, c.TopicConfig(own).MaxMessageBytes; got != step.want || kept != 77 {
			t.Errorf("max.message.bytes is %d, want %d; of the topic that sets it %d", got, step.want, kept)
		}
	}
}

func TestChangesShowBeforeTheyReturn(t *testing.T) {
	c, s := newTestCatalog(t, openStore(t))
	ctx := t.Context()
	c.Reset(ctx)
	topic := create(t, c, "t")
	queries := s.queries.Load()
	if _, err := c.CreatePartitions(ctx, topic.ID, 5); err != nil {
		t.Fatal(err)
	}
	value := "compact"
	if _, err := c.AlterTopicConfigs(ctx, topic.ID, set("cleanup.policy", value)); err != nil {
		t.Fatal(err)
	}
	got, err := c.TopicByID(ctx, topic.ID)
	if err != nil || len(got.Partitions) != 5 || !c.TopicConfig(got).CleanupCompact {
		t.Errorf("after the changes: %+v, %v", got, err)
	}
	if n := s.queries.Load(); n != queries {
		t.Errorf("changes cost %d queries besides themselves", n-queries)
	}
	if err := c.DeleteTopic(ctx, topic.ID); err != nil {
		t.Fatal(err)
	}
	if all, err := c.AllTopics(ctx); err != nil || len(all) != 0 {
		t.Errorf("after the deletion: %v, %v", all, err)
	}
	if !c.RecentlyDeleted("t") {
		t.Error("the deletion is not remembered")
	}
	if err := c.DeleteTopic(ctx, topic.ID); !errors.Is(err, metadata.ErrUnknownTopic) {
		t.Errorf("a second deletion: %v, want ErrUnknownTopic", err)
	}
}

// TestWriteOvertakenByAnotherShowsTheLast makes two changes whose replies come
// in the wrong order.
func TestWriteOvertakenByAnotherShowsTheLast(t *testing.T) {
	store := openStore(t)
	c, _ := newTestCatalog(t, store)
	ctx := t.Context()
	topic := create(t, c, "t")
	begun, release := make(chan struct{}), make(chan struct{})
	slow := &slowPartitions{Store: store, begun: begun, release: release}
	c.store = slow
	done := make(chan error, 1)
	go func() {
		_, err := c.CreatePartitions(ctx, topic.ID, 5)
		done <- err
	}()
	<-begun
	value := "77"
	if _, err := c.AlterTopicConfigs(ctx, topic.ID, set("retention.ms", value)); err != nil {
		t.Fatal(err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got, _ := c.table.byID(topic.ID); len(got.Partitions) != 5 || got.Configs["retention.ms"] != "77" {
		t.Errorf("the topic has %d partitions and configs %v, want both changes", len(got.Partitions), got.Configs)
	}
}

// slowPartitions holds CreatePartitions back before it reaches the store.
type slowPartitions struct {
	metadata.Store
	begun, release chan struct{}
}

func (s *slowPartitions) CreatePartitions(ctx context.Context, id uuid.UUID, count int32) (metadata.Topic, error) {
	close(s.begun)
	<-s.release
	return s.Store.CreatePartitions(ctx, id, count)
}

// feed returns the commits of the store after the number.
func feed(t *testing.T, store metadata.Store, after int64) []metadata.Commit {
	t.Helper()
	commits, err := store.Commits(t.Context(), after, 100)
	if err != nil {
		t.Fatal(err)
	}
	return commits
}

func TestApplyFollowsOtherAgents(t *testing.T) {
	store := openStore(t)
	c, _ := newTestCatalog(t, store)
	ctx := t.Context()
	c.Reset(ctx)
	seq, err := store.LastSeq(ctx)
	if err != nil {
		t.Fatal(err)
	}
	kept, gone := create(t, store, "kept"), create(t, store, "gone")
	c.Apply(ctx, feed(t, store, seq))
	if all, err := c.AllTopics(ctx); err != nil || len(all) != 2 {
		t.Fatalf("after creations: %v, %v", all, err)
	}
	if _, err := store.CreatePartitions(ctx, kept.ID, 3); err != nil {
		t.Fatal(err)
	}
	if err := store.DeleteTopic(ctx, gone.ID); err != nil {
		t.Fatal(err)
	}
	c.Apply(ctx, feed(t, store, seq))
	all, err := c.AllTopics(ctx)
	if err != nil || len(all) != 1 || len(all[0].Partitions) != 3 {
		t.Errorf("after changes: %v, %v", all, err)
	}
	if !c.RecentlyDeleted("gone") {
		t.Error("another agent's deletion is not remembered")
	}
	last, err := store.LastSeq(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, seq, err := c.Snapshot(ctx); err != nil || seq != last {
		t.Errorf("the snapshot has every change up to %d (%v), want %d", seq, err, last)
	}
}

func TestOutageIsRepaired(t *testing.T) {
	for name, bring := range map[string]func(*Catalog, []metadata.Commit){
		"changes": func(c *Catalog, commits []metadata.Commit) { c.Apply(context.Background(), commits) },
		"gap":     func(c *Catalog, _ []metadata.Commit) { c.Reset(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			store := openStore(t)
			c, s := newTestCatalog(t, store)
			ctx := t.Context()
			topic := create(t, c, "t")
			c.Reset(ctx)
			seq, err := store.LastSeq(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := store.CreatePartitions(ctx, topic.ID, 4); err != nil {
				t.Fatal(err)
			}
			unknown := create(t, store, "unknown")
			away := fmt.Errorf("%w: pulled out", metadata.ErrUnavailable)
			s.hook(func(string) error { return away }, nil)
			bring(c, feed(t, store, seq))

			if _, err := c.TopicByName(ctx, "t"); err != nil {
				t.Errorf("a known topic during the outage: %v", err)
			}
			if _, err := c.TopicByName(ctx, "unknown"); !errors.Is(err, metadata.ErrUnavailable) {
				t.Errorf("an unknown topic during the outage: %v, want ErrUnavailable", err)
			}
			if _, got, err := c.Snapshot(ctx); err != nil || got != seq {
				t.Errorf("during the outage the snapshot claims to have every change up to %d (%v), want %d", got, err, seq)
			}
			if got, err := c.Lookup(ctx, []string{"t", "unknown"}, nil); !errors.Is(err, metadata.ErrUnavailable) || len(got) != 1 {
				t.Errorf("both during the outage: %v, %v", got, err)
			}

			s.hook(nil, nil)
			for {
				got, _ := c.table.byID(topic.ID)
				_, ok := c.table.byID(unknown.ID)
				_, reflected, _ := c.table.all()
				if ok && len(got.Partitions) == 4 && reflected == seq+2 {
					break
				}
				waitABit(t)
			}
		})
	}
}

func TestLookupFindsManyWithOneQuery(t *testing.T) {
	c, s := newTestCatalog(t, openStore(t))
	var names []string
	for i := range 20 {
		names = append(names, create(t, s.Store, fmt.Sprint("t", i)).Name)
	}
	got, err := c.Lookup(t.Context(), append(names, "none"), nil)
	if err != nil || len(got) != 20 {
		t.Errorf("found %d of 20, %v", len(got), err)
	}
	if n := s.queries.Load(); n != 1 {
		t.Errorf("%d queries, want 1", n)
	}
}

func TestAllTopicsLoadsTheFirstTime(t *testing.T) {
	c, s := newTestCatalog(t, openStore(t))
	create(t, s.Store, "b")
	create(t, s.Store, "a")
	for range 3 {
		all, err := c.AllTopics(t.Context())
		if err != nil || len(all) != 2 || all[0].Name != "a" || all[1].Name != "b" {
			t.Fatalf("%v, %v", all, err)
		}
	}
	if n := s.queries.Load(); n != 1 {
		t.Errorf("%d queries, want 1", n)
	}
}

func TestTopicNowIsNotTheCache(t *testing.T) {
	c, s := newTestCatalog(t, openStore(t))
	ctx := t.Context()
	topic := create(t, c, "t")
	if _, err := s.Store.CreatePartitions(ctx, topic.ID, 7); err != nil {
		t.Fatal(err)
	}
	if got, err := c.TopicNow(ctx, "t"); err != nil || len(got.Partitions) != 7 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := c.TopicNow(ctx, "none"); !errors.Is(err, metadata.ErrUnknownTopic) {
		t.Errorf("error %v, want ErrUnknownTopic", err)
	}
}

// TestTopicNowSeesADeletion: a query by name says nothing of a topic that had
// the name, yet whoever asks past the cache must not get it from there.
func TestTopicNowSeesADeletion(t *testing.T) {
	c, s := newTestCatalog(t, openStore(t))
	ctx := t.Context()
	topic := create(t, c, "t")
	if err := s.Store.DeleteTopic(ctx, topic.ID); err != nil {
		t.Fatal(err)
	}
	if got, err := c.TopicNow(ctx, "t"); !errors.Is(err, metadata.ErrUnknownTopic) {
		t.Errorf("the deleted topic: %v, %v", got, err)
	}
}

func TestInvalidStoredConfigsFallBackToDefaults(t *testing.T) {
	c, s := newTestCatalog(t, openStore(t))
	value := "from another version"
	topic := create(t, s.Store, "t")
	if _, err := s.Store.AlterTopicConfigs(t.Context(), topic.ID, set("retention.ms", value)); err != nil {
		t.Fatal(err)
	}
	got, err := c.TopicByName(t.Context(), "t")
	if err != nil || c.TopicConfig(got).RetentionMs != 604800000 {
		t.Errorf("%+v, %v", c.TopicConfig(got), err)
	}
	if config := c.TopicConfig(metadata.Topic{ID: metadata.NewTopicID(), Configs: map[string]string{"retention.ms": "5"}}); config.RetentionMs != 5 {
		t.Errorf("a topic that is not in the catalog has retention %d", config.RetentionMs)
	}
}

func TestInternalTopicsAreMadeOnce(t *testing.T) {
	store := openStore(t)
	var wg sync.WaitGroup
	for range 4 {
		c, _ := newTestCatalog(t, store)
		wg.Go(func() {
			if err := c.EnsureInternalTopics(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	all, _, err := store.ListTopics(t.Context())
	if err != nil || len(all) != 2 || all[0].Name != "__consumer_offsets" || all[1].Name != "__transaction_state" {
		t.Fatalf("%v, %v", all, err)
	}
	for _, topic := range all {
		if config, err := configs.ParseTopic(topic.Configs, configs.DefaultBroker()); !topic.Internal || err != nil || !config.CleanupCompact {
			t.Errorf("%s is internal %v, with %+v, %v", topic.Name, topic.Internal, config, err)
		}
	}
}

func TestClosedCatalogAnswers(t *testing.T) {
	c, s := newTestCatalog(t, openStore(t))
	create(t, c, "t")
	c.Close()
	if _, err := c.TopicByName(t.Context(), "t"); err != nil {
		t.Errorf("a known topic after Close: %v", err)
	}
	if _, err := c.TopicByName(t.Context(), "unknown"); !errors.Is(err, errClosed) {
		t.Errorf("an unknown topic after Close: %v, want errClosed", err)
	}
	s.hook(func(string) error { return metadata.ErrUnavailable }, nil)
	c.Reset(t.Context()) // must not leave a goroutine behind
}
