package metadatatest

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

var topicTests = []test{
	{"CreatedTopicIsEverywhere", createdTopicIsEverywhere},
	{"NamesCollide", namesCollide},
	{"OneOfTwoCreatorsWins", oneOfTwoCreatorsWins},
	{"Partitions", partitionsGrow},
	{"Configs", configsChange},
	{"NoEditIsLost", noEditIsLost},
	{"DeletedTopicLeavesNothing", deletedTopicLeavesNothing},
	{"RecreatedTopicIsAnother", recreatedTopicIsAnother},
	{"UnknownTopic", unknownTopic},
	{"ListIsOrderedAndNumbered", listIsOrderedAndNumbered},
}

// sameTopic compares all but the time zone of CreatedAt.
func (f *fixture) sameTopic(got, want metadata.Topic) {
	f.Helper()
	if !got.CreatedAt.Equal(want.CreatedAt) || want.CreatedAt.IsZero() {
		f.Fatalf("created at %v, want %v", got.CreatedAt, want.CreatedAt)
	}
	got.CreatedAt = want.CreatedAt
	if !reflect.DeepEqual(got, want) {
		f.Fatalf("got  %+v\nwant %+v", got, want)
	}
}

func createdTopicIsEverywhere(f *fixture) {
	created, err := f.store.CreateTopic(f.ctx, metadata.NewTopic{
		Name: "orders.v1", Partitions: 3, Internal: true,
		Configs: map[string]string{"retention.ms": "-1", "x": `"'\\é` + "\n"},
	})
	f.must(err)
	if created.ID == uuid.Nil || len(created.Partitions) != 3 || created.Name != "orders.v1" || !created.Internal {
		f.Fatalf("created %+v", created)
	}
	bare := f.topic("bare", 1)
	if bare.Internal || bare.Configs == nil || len(bare.Configs) != 0 {
		f.Fatalf("created %+v", bare)
	}
	other := f.db.Open(f)
	byID, err := other.TopicsByID(f.ctx, []uuid.UUID{created.ID, uuid.New()})
	f.must(err)
	byName, err := other.TopicsByName(f.ctx, []string{"nonesuch", "orders.v1", "orders_v1"})
	f.must(err)
	if len(byID) != 1 || len(byName) != 1 {
		f.Fatalf("by ID %+v, by name %+v", byID, byName)
	}
	f.sameTopic(byID[0], created)
	f.sameTopic(byName[0], created)
	all, _, err := other.ListTopics(f.ctx)
	f.must(err)
	if len(all) != 2 {
		f.Fatalf("list %+v", all)
	}
	f.sameTopic(all[0], bare)
	f.sameTopic(all[1], created)
	for _, ask := range []func() ([]metadata.Topic, error){
		func() ([]metadata.Topic, error) { return other.TopicsByID(f.ctx, nil) },
		func() ([]metadata.Topic, error) { return other.TopicsByName(f.ctx, nil) },
	} {
		if none, err := ask(); err != nil || len(none) != 0 {
			f.Fatalf("asked for none: %+v, %v", none, err)
		}
	}
	if _, err := f.store.CreateTopic(f.ctx, metadata.NewTopic{Name: "none", Partitions: 0}); err == nil {
		f.Fatal("created a topic without partitions")
	}
}

func namesCollide(f *fixture) {
	f.topic("a.b_c", 1)
	for _, name := range []string{"a.b_c", "a_b.c", "a.b.c", "a_b_c"} {
		_, err := f.store.CreateTopic(f.ctx, metadata.NewTopic{Name: name, Partitions: 1})
		f.wantErr(err, metadata.ErrTopicExists)
		if !strings.Contains(err.Error(), `"a.b_c"`) {
			f.Errorf("%v does not name the topic that is in the way", err)
		}
	}
	f.topic("A.b_c", 1)
	f.topic("a-b_c", 1)
}

func oneOfTwoCreatorsWins(f *fixture) {
	stores := []metadata.Store{f.store, f.db.Open(f)}
	for i := range 10 {
		errs := make([]error, len(stores))
		var wg sync.WaitGroup
		for j, store := range stores {
			wg.Go(func() {
				_, errs[j] = store.CreateTopic(f.ctx, metadata.NewTopic{Name: fmt.Sprintf("t%c%d", "._"[j], i), Partitions: 1})
			})
		}
		wg.Wait()
		if errs[0] == nil {
			errs[0], errs[1] = errs[1], errs[0]
		}
		f.must(errs[1])
		f.wantErr(errs[0], metadata.ErrTopicExists)
	}
}

func partitionsGrow(f *fixture) {
	first, between := f.topic("first", 2), f.topic("between", 1)
	grown, err := f.store.CreatePartitions(f.ctx, first.ID, 4)
	f.must(err)
	if len(grown.Partitions) != 4 || !slices.Equal(grown.Partitions[:2], first.Partitions) {
		f.Fatalf("%+v became %+v", first, grown)
	}
	seen := map[metadata.PartitionID]bool{}
	for _, id := range slices.Concat(grown.Partitions, between.Partitions) {
		if seen[id] || id < 1 {
			f.Fatalf("partition IDs %v and %v", grown.Partitions, between.Partitions)
		}
		seen[id] = true
	}
	read, err := f.store.TopicsByID(f.ctx, []uuid.UUID{first.ID})
	f.must(err)
	f.sameTopic(read[0], grown)
	f.wantOutcome(f.commitOne(grown.Partitions[3], plain(1, 1)), accepted(0))
	for _, count := range []int32{4, 3, 0, -1} {
		_, err := f.store.CreatePartitions(f.ctx, first.ID, count)
		f.wantErr(err, metadata.ErrPartitionCount)
	}
}

func configsChange(f *fixture) {
	topic, err := f.store.CreateTopic(f.ctx, metadata.NewTopic{Name: "t", Partitions: 1, Configs: map[string]string{"a": "1", "b": "2"}})
	f.must(err)
	altered, err := f.store.AlterTopicConfigs(f.ctx, topic.ID, func(now map[string]string) (map[string]string, error) {
		if want := map[string]string{"a": "1", "b": "2"}; !maps.Equal(now, want) {
			f.Errorf("the edit is given %v, want %v", now, want)
		}
		delete(now, "a")
		now["b"], now["c"] = "", "3"
		return now, nil
	})
	f.must(err)
	if want := map[string]string{"b": "", "c": "3"}; !maps.Equal(altered.Configs, want) {
		f.Fatalf("got %v, want %v", altered.Configs, want)
	}
	read, err := f.store.TopicsByID(f.ctx, []uuid.UUID{topic.ID})
	f.must(err)
	f.sameTopic(read[0], altered)

	before := f.feed(0)
	same, err := f.store.AlterTopicConfigs(f.ctx, topic.ID, setTo(map[string]string{"b": "", "c": "3"}))
	f.must(err)
	f.sameTopic(same, altered)
	refusal := errors.New("no")
	_, err = f.store.AlterTopicConfigs(f.ctx, topic.ID, func(now map[string]string) (map[string]string, error) {
		now["c"] = "4"
		return now, refusal
	})
	f.wantErr(err, refusal)
	if after := f.feed(0); len(after) != len(before) {
		f.Errorf("changes of nothing are in the feed: %+v", after[len(before):])
	}
	read, err = f.store.TopicsByID(f.ctx, []uuid.UUID{topic.ID})
	f.must(err)
	f.sameTopic(read[0], altered)
}

// noEditIsLost: of edits through several stores at the same time each starts
// from what the one before it left.
func noEditIsLost(f *fixture) {
	topic := f.topic("t", 1)
	group := metadata.ConfigResource{Kind: metadata.GroupConfig, Name: "g"}
	add := func(now map[string]string) (map[string]string, error) {
		now["list"] += "x"
		return now, nil
	}
	const editors, edits = 3, 10
	var wg sync.WaitGroup
	for range editors {
		store := f.db.Open(f)
		wg.Go(func() {
			for range edits {
				if _, err := store.AlterTopicConfigs(f.ctx, topic.ID, add); err != nil {
					f.Error(err)
				}
				if _, _, err := store.AlterConfigs(f.ctx, group, add); err != nil {
					f.Error(err)
				}
			}
		})
	}
	wg.Wait()
	want := strings.Repeat("x", editors*edits)
	read, err := f.store.TopicsByID(f.ctx, []uuid.UUID{topic.ID})
	f.must(err)
	if got := read[0].Configs["list"]; got != want {
		f.Errorf("the topic has %d edits of %d", len(got), len(want))
	}
	set, _, err := f.store.ListConfigs(f.ctx)
	f.must(err)
	if got := set[group]["list"]; got != want {
		f.Errorf("the group has %d edits of %d", len(got), len(want))
	}
}

func deletedTopicLeavesNothing(f *fixture) {
	gone, stays := f.topic("gone", 2), f.topic("stays", 1)
	var shared, own metadata.File
	for i := range int32(3) {
		shared = newFile(f, appendTo(gone.Partitions[0], idempotent(9, 0, i, 1), idempotent(9, 0, i, 1), plain(1, 1)), appendTo(stays.Partitions[0], idempotent(9, 0, i, 1)), appendTo(gone.Partitions[1], plain(1, 1)))
		own = newFile(f, appendTo(gone.Partitions[1], plain(1, 1)))
		f.commit(shared, own)
	}
	f.must(f.store.DeleteTopic(f.ctx, gone.ID))
	counts := f.db.FileCounts(f)
	if got := counts[shared.ID]; got != (FileCount{LiveRuns: 1, Rows: 1}) {
		f.Errorf("shared file: %+v", got)
	}
	if got, known := counts[own.ID]; got != (FileCount{}) || !known {
		f.Errorf("file of the deleted topic alone: %+v, %v", got, known)
	}
	for _, id := range gone.Partitions {
		if b := f.bounds(id); b.Exists {
			f.Errorf("partition %d still exists: %+v", id, b)
		}
	}
	// Nothing is left to do, and nothing of other topics was touched.
	if n, err := f.store.ReclaimDeleted(f.ctx, 100); err != nil || n != 0 {
		f.Errorf("reclaimed %d more, %v", n, err)
	}
	f.wantOutcome(f.commitOne(stays.Partitions[0], idempotent(9, 0, 3, 1)), accepted(3))
	checkContiguous(f, f.runs(stays.Partitions[0]), 4)
}

func recreatedTopicIsAnother(f *fixture) {
	before := f.topic("t", 2)
	f.commitOne(before.Partitions[0], idempotent(9, 7, 5, 3))
	f.must(f.store.DeleteTopic(f.ctx, before.ID))
	after := f.topic("t", 2)
	if after.ID == before.ID || slices.ContainsFunc(after.Partitions, func(id metadata.PartitionID) bool { return slices.Contains(before.Partitions, id) }) {
		f.Fatalf("%+v is not another topic than %+v", after, before)
	}
	// Offsets and producers start anew; what still names the old one is refused.
	f.wantOutcome(f.commitOne(after.Partitions[0], idempotent(9, 0, 0, 1)), accepted(0))
	f.wantOutcome(f.commitOne(before.Partitions[0], plain(1, 1)), refused(metadata.ErrUnknownPartition))
}

func unknownTopic(f *fixture) {
	f.topic("t", 1)
	id := uuid.New()
	f.wantErr(f.store.DeleteTopic(f.ctx, id), metadata.ErrUnknownTopic)
	_, err := f.store.CreatePartitions(f.ctx, id, 2)
	f.wantErr(err, metadata.ErrUnknownTopic)
	_, err = f.store.AlterTopicConfigs(f.ctx, id, setTo(nil))
	f.wantErr(err, metadata.ErrUnknownTopic)
}

func listIsOrderedAndNumbered(f *fixture) {
	topics, seq, err := f.store.ListTopics(f.ctx)
	if err != nil || len(topics) != 0 || seq != 0 {
		f.Fatalf("empty store: %+v, %d, %v", topics, seq, err)
	}
	for _, name := range []string{"b", "a", "B", "é", "a-b", "aa"} {
		f.topic(name, 1)
	}
	topics, seq, err = f.store.ListTopics(f.ctx)
	f.must(err)
	var names []string
	for _, topic := range topics {
		names = append(names, topic.Name)
	}
	if want := []string{"B", "a", "a-b", "aa", "b", "é"}; !slices.Equal(names, want) || seq != 6 {
		f.Fatalf("got %q as of %d, want %q as of 6", names, seq, want)
	}
}
