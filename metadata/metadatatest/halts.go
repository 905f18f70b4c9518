package metadatatest

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

var haltTests = []test{
	{"LostEndIsNoticedByWhoSawIt", lostEndIsNoticedByWhoSawIt},
	{"OverwrittenEndIsNoticed", overwrittenEndIsNoticed},
	{"HaltedStoreDoesNothing", haltedStoreDoesNothing},
	{"HaltSaysWhatIsLost", haltSaysWhatIsLost},
	{"ResumedStoreGoesOnBehindAllThatWasLost", resumedStoreGoesOn},
	{"ResumedStoreHandsOutNothingTwice", resumedStoreHandsOutNothingTwice},
	{"LostEndThatComesBackHaltsNoLonger", lostEndComesBack},
	{"LostProducerIDsAreMissed", lostProducerIDsAreMissed},
	{"TrimmedFeedIsNoLoss", trimmedFeedIsNoLoss},
	{"ResumeOfAStoreThatIsNotHaltedDoesNothing", resumeOfASoundStore},
	{"WhatWasNeverKnownIsNotMissed", unknownIsNotMissed},
}

// losing is a fixture whose first store has acknowledged three records of a partition, of which the database then lost two.
func losing(f *fixture) (partition metadata.PartitionID) {
	f.Helper()
	partition = f.topic("t", 1).Partitions[0]
	for range 3 {
		f.commitOne(partition, plain(1, 1))
	}
	_ = f.db.LoseChanges(f, 2)
	return partition
}

func wantHalted(t testing.TB, doing string, err error) {
	t.Helper()
	if !errors.Is(err, metadata.ErrHalted) || !errors.Is(err, metadata.ErrUnavailable) {
		t.Errorf("%s: %v, want ErrHalted and ErrUnavailable", doing, err)
	}
}

// lostEndIsNoticedByWhoSawIt: by whichever call looks first; and once it is noticed, all stores know.
func lostEndIsNoticedByWhoSawIt(f *fixture) {
	looks := map[string]func(g *fixture, p metadata.PartitionID) error{
		"commit": func(g *fixture, p metadata.PartitionID) error {
			_, err := g.store.CommitFiles(g.ctx, []metadata.File{newFile(g, appendTo(p, plain(1, 1)))})
			return err
		},
		"change of topics": func(g *fixture, _ metadata.PartitionID) error {
			_, err := g.store.CreateTopic(g.ctx, metadata.NewTopic{Name: "u", Partitions: 1})
			return err
		},
		"feed":        func(g *fixture, _ metadata.PartitionID) error { _, err := g.store.Commits(g.ctx, 4, 10); return err },
		"end of feed": func(g *fixture, _ metadata.PartitionID) error { _, err := g.store.LastSeq(g.ctx); return err },
		"readiness":   func(g *fixture, _ metadata.PartitionID) error { return g.store.Ping(g.ctx) },
	}
	for name, look := range looks {
		acknowledged, followed, began := f.empty(), f.empty(), f.empty()
		for how, g := range map[string]*fixture{"acknowledged": acknowledged, "followed": followed, "began behind": began} {
			author := g.other()
			if how == "acknowledged" {
				author = g
			}
			if how == "followed" {
				_, err := g.store.LastSeq(g.ctx)
				g.must(err)
			}
			p := author.topic("t", 1).Partitions[0]
			author.commitOne(p, plain(1, 1))
			if how == "followed" {
				g.feed(0)
			}
			if how == "began behind" {
				_, err := g.store.LastSeq(g.ctx)
				g.must(err)
			}
			_ = g.db.LoseChanges(g, 1)
			wantHalted(f, name+" of a store that "+how, look(g, p))
			newcomer := g.other()
			wantHalted(f, name+" of a store that knew nothing", look(newcomer, p))
			g.must(newcomer.store.Resume(g.ctx))
		}
	}
}

// overwrittenEndIsNoticed: others, which knew less, took the numbers of what was lost before anybody noticed.
func overwrittenEndIsNoticed(f *fixture) {
	partition := losing(f)
	unaware := f.other()
	for range 5 {
		unaware.commitOne(partition, plain(1, 1))
	}
	wantHalted(f, "readiness", f.store.Ping(f.ctx))
	_, err := f.store.CommitFiles(f.ctx, []metadata.File{newFile(f, appendTo(partition, plain(1, 1)))})
	wantHalted(f, "commit", err)
	wantHalted(f, "commit of the other", func() error {
		_, err := unaware.store.CommitFiles(f.ctx, []metadata.File{newFile(f, appendTo(partition, plain(1, 1)))})
		return err
	}())
	f.must(f.store.Resume(f.ctx))
	if b := f.bounds(partition); b.NextOffset != 6 {
		f.Errorf("next offset %d, want 6: nothing was acknowledged after the halt", b.NextOffset)
	}
}

// haltedStoreDoesNothing, but what it must for agents to live on, and to say so.
func haltedStoreDoesNothing(f *fixture) {
	agent := f.register(newAgent(0, 1), 1)
	partition := losing(f)
	wantHalted(f, "readiness", f.store.Ping(f.ctx))
	wantHalted(f, "register", func() error { _, err := f.store.RegisterAgent(f.ctx, newAgent(0, 2)); return err }())
	for name, call := range map[string]func() error{
		"read offsets": func() error { _, err := f.store.Bounds(f.ctx, []metadata.PartitionID{partition}); return err },
		"list topics":  func() error { _, _, err := f.store.ListTopics(f.ctx); return err },
		"find files":   func() error { _, err := f.store.KnownFiles(f.ctx, []uuid.UUID{uuid.New()}); return err },
		"store a group": func() error {
			_, err := f.store.StoreGroup(f.ctx, "g", 0, metadata.GroupState{State: []byte("x")})
			return err
		},
		"commit offsets":  func() error { return f.store.WriteOffsets(f.ctx, []metadata.GroupRef{{ID: "g"}}, noOffsets) },
		"allocate IDs":    func() error { _, err := f.store.AllocateProducerIDs(f.ctx, 1); return err },
		"take a lease":    func() error { _, err := f.store.AcquireLease(f.ctx, uuid.New(), "l", time.Minute); return err },
		"take a snapshot": func() error { _, err := f.store.SnapshotState(f.ctx); return err },
		"trim the feed":   func() error { _, err := f.store.TrimFeed(f.ctx, 0, 1); return err },
	} {
		wantHalted(f, name, call())
	}
	f.beat(agent, agent)
	f.must(f.store.Resume(f.ctx))
	if _, err := f.store.LastSeq(f.ctx); err != nil {
		f.Error(err)
	}
	if b := f.bounds(partition); b.NextOffset != 1 {
		f.Errorf("next offset %d, want 1", b.NextOffset)
	}
}

func noOffsets(time.Time, []metadata.Group) (metadata.OffsetChanges, error) {
	return metadata.OffsetChanges{}, nil
}

func haltSaysWhatIsLost(f *fixture) {
	if halt, err := f.store.Halt(f.ctx); halt != nil || err != nil {
		f.Fatalf("a sound store: %+v, %v", halt, err)
	}
	partition := losing(f)
	knewLess := f.other()
	_, err := knewLess.store.LastSeq(f.ctx)
	f.must(err)
	before := time.Now().Add(-time.Minute)
	wantHalted(f, "readiness", f.store.Ping(f.ctx))
	wantHalted(f, "readiness, again", f.store.Ping(f.ctx))
	wantHalted(f, "readiness of the other", knewLess.store.Ping(f.ctx))
	halt, err := f.other().store.Halt(f.ctx)
	f.must(err)
	if halt == nil || len(halt.Losses) != 1 || halt.Since.Before(before) || !halt.Losses[0].At.Equal(halt.Since) {
		f.Fatalf("got %+v", halt)
	}
	want := metadata.Loss{At: halt.Since, Had: 4, Has: 2, First: 3, Changes: 2,
		Records: []metadata.LostRecords{{Partition: partition, Offset: 1, NextOffset: 3}}}
	if !reflect.DeepEqual(halt.Losses[0], want) {
		f.Errorf("got %+v, want %+v", halt.Losses[0], want)
	}
	f.must(f.store.Resume(f.ctx))
	if halt, err := f.store.Halt(f.ctx); halt != nil || err != nil {
		f.Errorf("after it resumed: %+v, %v", halt, err)
	}
}

// resumedStoreGoesOn: who follows the feed finds a gap before anything that is new, wherever it was.
func resumedStoreGoesOn(f *fixture) {
	partition := losing(f)
	slept, unaware := f.other(), f.other()
	_, err := slept.store.LastSeq(f.ctx)
	f.must(err)
	unaware.commitOne(partition, plain(1, 1))
	wantHalted(f, "readiness", f.store.Ping(f.ctx))
	f.must(f.other().store.Resume(f.ctx))
	f.commitOne(partition, plain(1, 1))
	slept.commitOne(partition, plain(1, 1))
	for name, g := range map[string]*fixture{"who noticed": f, "who slept": slept, "who knew nothing": f.other()} {
		for after := range int64(8) {
			commits, err := g.store.Commits(f.ctx, after, 10)
			f.must(err)
			if len(commits) != 3 || commits[0].Seq <= after+1 || len(commits[0].Runs) != 0 {
				f.Fatalf("%s, after %d: %+v", name, after, commits)
			}
			if last, err := g.store.LastSeq(f.ctx); err != nil || last != commits[2].Seq {
				f.Errorf("%s: last number %d, %v", name, last, err)
			}
		}
	}
	if runs := f.runs(partition); len(runs) != 4 {
		f.Errorf("%d runs, want one from before, one that others made in between, and two", len(runs))
	}
}

// resumedStoreHandsOutNothingTwice of what somebody may have got by a change that is lost: producers with the same ID take each
// other's records for duplicates, and records that wait for a topic that is lost must not end in another one.
func resumedStoreHandsOutNothingTwice(f *fixture) {
	handOut := func(topic string) (id, version int64, partition metadata.PartitionID) {
		id, err := f.store.AllocateProducerIDs(f.ctx, 1)
		f.must(err)
		version, err = f.store.StoreGroup(f.ctx, topic, 0, metadata.GroupState{State: []byte("x")})
		f.must(err)
		return id, version, f.topic(topic, 1).Partitions[0]
	}
	id, version, partition := handOut("u")
	losing(f)
	wantHalted(f, "readiness", f.store.Ping(f.ctx))
	f.must(f.other().store.Resume(f.ctx))
	f.must(f.store.Ping(f.ctx))
	newID, newVersion, newPartition := handOut("v")
	if newID < id+metadata.ResumeJump || newVersion < version+metadata.ResumeJump || newPartition < partition+metadata.ResumePartitions {
		f.Errorf("producer ID %d, group in version %d, partition %d; and once it resumed: %d, %d, %d", id, version, partition, newID, newVersion, newPartition)
	}
}

// lostEndComesBack: whoever operates the store found the server that has all.
func lostEndComesBack(f *fixture) {
	partition := f.topic("t", 1).Partitions[0]
	f.commitOne(partition, plain(1, 1))
	f.commitOne(partition, plain(1, 1))
	bringBack := f.db.LoseChanges(f, 1)
	wantHalted(f, "readiness", f.store.Ping(f.ctx))
	bringBack()
	f.must(f.store.Ping(f.ctx))
	f.commitOne(partition, plain(1, 1))
	if b := f.bounds(partition); b.NextOffset != 3 {
		f.Errorf("next offset %d, want 3", b.NextOffset)
	}
}

// lostProducerIDsAreMissed, though nothing else is lost: they would be handed out twice.
func lostProducerIDsAreMissed(f *fixture) {
	_, err := f.store.AllocateProducerIDs(f.ctx, 1000)
	f.must(err)
	_ = f.db.LoseChanges(f, 1)
	wantHalted(f, "readiness", f.store.Ping(f.ctx))
	f.must(f.store.Resume(f.ctx))
}

// trimmedFeedIsNoLoss of a store that was away for longer than the feed goes back.
func trimmedFeedIsNoLoss(f *fixture) {
	partition := f.topic("t", 1).Partitions[0]
	f.commitOne(partition, plain(1, 1))
	awake := f.other()
	awake.commitOne(partition, plain(1, 1))
	f.db.Age(f, 2*metadata.MaxFileAge)
	awake.commitOne(partition, plain(1, 1))
	if n, err := awake.store.TrimFeed(f.ctx, 0, 100); err != nil || n != 3 {
		f.Fatalf("trimmed %d, %v", n, err)
	}
	f.must(f.store.Ping(f.ctx))
	f.commitOne(partition, plain(1, 1))
	if b := f.bounds(partition); b.NextOffset != 4 {
		f.Errorf("next offset %d, want 4", b.NextOffset)
	}
}

func resumeOfASoundStore(f *fixture) {
	partition := f.topic("t", 1).Partitions[0]
	f.must(f.store.Resume(f.ctx))
	f.commitOne(partition, plain(1, 1))
	if last, err := f.store.LastSeq(f.ctx); err != nil || last != 2 {
		f.Errorf("last number %d, %v", last, err)
	}
}

// unknownIsNotMissed: a store misses what it saw itself, not what only others saw.
func unknownIsNotMissed(f *fixture) {
	partition := f.topic("t", 1).Partitions[0]
	author := f.other()
	author.commitOne(partition, plain(1, 1))
	_ = f.db.LoseChanges(f, 1)
	f.must(f.store.Ping(f.ctx))
	f.commitOne(partition, plain(1, 1))
	if b := f.bounds(partition); b.NextOffset != 1 {
		f.Errorf("next offset %d, want 1", b.NextOffset)
	}
}
