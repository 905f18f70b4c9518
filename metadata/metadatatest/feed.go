package metadatatest

import (
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/rowcodec"
)

var feedTests = []test{
	{"EntriesOfAllChanges", entriesOfAllChanges},
	{"LimitAndPosition", limitAndPosition},
	{"LargeEntriesComeInParts", largeEntriesComeInParts},
	{"FollowerMissesNothing", followerMissesNothing},
	{"TrimKeepsYoungAndNewest", trimKeepsYoungAndNewest},
}

func entriesOfAllChanges(f *fixture) {
	seq, err := f.store.LastSeq(f.ctx)
	f.must(err)
	if seq != 0 {
		f.Fatalf("a new store starts at %d", seq)
	}
	topic := f.topic("t", 1)
	_, err = f.store.CreatePartitions(f.ctx, topic.ID, 2)
	f.must(err)
	_, err = f.store.AlterTopicConfigs(f.ctx, topic.ID, setTo(map[string]string{"a": "1"}))
	f.must(err)
	file := newFile(f, appendTo(topic.Partitions[0], plain(1, 1)))
	f.commit(file)
	f.must(f.store.DeleteTopic(f.ctx, topic.ID))
	feed := f.feed(0)
	if len(feed) != 5 {
		f.Fatalf("got %+v", feed)
	}
	for _, i := range []int{0, 1, 2, 4} {
		if !slices.Equal(feed[i].Topics, []uuid.UUID{topic.ID}) || len(feed[i].Runs) != 0 {
			f.Errorf("entry %d: %+v", i, feed[i])
		}
	}
	if c := feed[3]; len(c.Topics) != 0 || len(c.Runs) != 1 || c.Runs[0].FileID != file.ID {
		f.Errorf("the file's entry: %+v", c)
	}
	// What changed nothing has no number.
	_, _, err = f.store.AlterConfigs(f.ctx, metadata.ConfigResource{Kind: metadata.GroupConfig, Name: "g"}, setTo(nil))
	f.must(err)
	f.wantErr(f.store.DeleteTopic(f.ctx, topic.ID), metadata.ErrUnknownTopic)
	if seq, err := f.store.LastSeq(f.ctx); err != nil || seq != 5 {
		f.Fatalf("last number %d, %v", seq, err)
	}
}

func limitAndPosition(f *fixture) {
	p := f.topic("t", 1).Partitions
	for range 9 {
		f.commitOne(p[0], plain(1, 1))
	}
	all := f.feed(0)
	for _, c := range []struct {
		after       int64
		limit, want int
	}{{0, 100, 10}, {0, 3, 3}, {4, 3, 3}, {8, 3, 2}, {10, 3, 0}, {99, 3, 0}} {
		got, err := f.store.Commits(f.ctx, c.after, c.limit)
		f.must(err)
		if len(got) != c.want {
			f.Fatalf("%d entries after %d, limit %d; want %d", len(got), c.after, c.limit, c.want)
		}
		if c.want > 0 && !reflect.DeepEqual(got, all[c.after:int(c.after)+c.want]) {
			f.Fatalf("after %d: %+v", c.after, got)
		}
	}
}

// largeEntriesComeInParts: a follower that is far behind does not have to hold
// everything at once, and an entry above the bound still comes.
func largeEntriesComeInParts(f *fixture) {
	const entries, topics = 5, 300_000 // 4.8 MB each
	payload := rowcodec.EncodeCommit(metadata.Commit{Topics: make([]uuid.UUID, topics)})
	for range entries {
		f.db.AddFeedEntry(f, payload)
	}
	after := int64(0)
	for after < entries {
		some, err := f.store.Commits(f.ctx, after, 100)
		f.must(err)
		if len(some) == 0 || len(some) > 2 {
			f.Fatalf("%d entries at once", len(some))
		}
		for _, c := range some {
			if c.Seq != after+1 || len(c.Topics) != topics {
				f.Fatalf("entry %d with %d topics after %d", c.Seq, len(c.Topics), after)
			}
			after = c.Seq
		}
	}
}

// followerMissesNothing: numbers become visible in order, also while several
// agents commit; a follower that only ever looks ahead sees them all.
func followerMissesNothing(f *fixture) {
	p := f.topic("t", 1).Partitions
	const committers, commits = 3, 30
	var wg sync.WaitGroup
	for range committers {
		store := f.db.Open(f)
		wg.Go(func() {
			for range commits {
				if _, err := store.CommitFiles(f.ctx, []metadata.File{newFile(f, appendTo(p[0], plain(1, 1)))}); err != nil {
					f.Error(err)
					return
				}
			}
		})
	}
	defer wg.Wait()
	offset := int64(0)
	for after := int64(1); after < 1+committers*commits && !f.Failed(); {
		some, err := f.store.Commits(f.ctx, after, 10)
		f.must(err)
		for _, c := range some {
			if c.Seq != after+1 || len(c.Runs) != 1 || c.Runs[0].BaseOffset != offset {
				f.Fatalf("after number %d and offset %d came %+v", after, offset, c)
			}
			after, offset = c.Seq, c.Runs[0].NextOffset()
		}
	}
}

func trimKeepsYoungAndNewest(f *fixture) {
	p := f.topic("t", 1).Partitions
	for range 4 {
		f.commitOne(p[0], plain(1, 1))
	}
	trim := func(olderThan time.Duration, limit, want int) {
		f.Helper()
		n, err := f.store.TrimFeed(f.ctx, olderThan, limit)
		f.must(err)
		if n != want {
			f.Fatalf("trimmed %d, want %d", n, want)
		}
	}
	trim(0, 100, 0) // whatever it says, replay records stay for MaxFileAge
	f.db.Age(f, metadata.MaxFileAge+time.Second)
	f.commitOne(p[0], plain(1, 1))
	trim(time.Hour, 100, 0)
	trim(0, 2, 2)
	if got := f.feed(0); len(got) != 4 || got[0].Seq != 3 {
		f.Fatalf("feed %+v", got)
	}
	trim(0, 100, 3)
	f.db.Age(f, 100*metadata.MaxFileAge)
	trim(0, 100, 0)
	if got := f.feed(0); len(got) != 1 || got[0].Seq != 6 {
		f.Fatalf("feed %+v", got)
	}
	f.commitOne(p[0], plain(1, 1))
	if got := f.feed(6); len(got) != 1 || got[0].Seq != 7 {
		f.Fatalf("feed %+v", got)
	}
	trim(0, 100, 1)
}
