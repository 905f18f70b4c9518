package recovery_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/agent/maintenance/backup"
	"github.com/wadi-log/wadi/agent/maintenance/recovery"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/objstore/objstoretest"
)

// What was committed before and after the snapshot, merged or not, is there, with the offsets that clients were told, and producers
// go on.
func TestEverythingComesBack(t *testing.T) {
	for _, merged := range []bool{false, true} {
		t.Run(fmt.Sprint("merged=", merged), func(t *testing.T) {
			c := newCluster(t)
			topic, quiet := c.topic("t", 3), c.topic("quiet", 1)
			p := c.producer()
			c.produce(p.batch(topic, 0, "a", "b"), plain().batch(topic, 1, "c"), plain().batch(quiet, 0, "q"))
			before := c.snapshot()
			for i := range 10 {
				c.produce(p.batch(topic, 0, fmt.Sprint("p", i)), plain().batch(topic, int32(1+i%2), fmt.Sprint("v", i)), p.batch(topic, 0, fmt.Sprint("r", i)))
			}
			if merged {
				c.merge()
				c.produce(p.batch(topic, 0, "last"))
			}
			retry := p.batch(topic, 1, "retried")
			c.produce(retry)
			logs := map[metadata.PartitionID][]string{}
			for _, id := range slices.Concat(topic.Partitions, quiet.Partitions) {
				logs[id] = c.read(id, false)
			}
			clusterID, err := c.store.ClusterID(t.Context())
			c.must(err)

			report := c.mustRecover(recovery.Options{})
			if id, err := c.store.ClusterID(t.Context()); err != nil || id != clusterID {
				t.Errorf("cluster ID %q, %v", id, err)
			}
			if again := c.named("t"); !reflect.DeepEqual(again.Partitions, topic.Partitions) || again.ID != topic.ID || !reflect.DeepEqual(again.Configs, topic.Configs) {
				t.Errorf("got %+v, want %+v", again, topic)
			}
			for id, want := range logs {
				c.wantLog(id, false, want...)
			}
			restored, byCommit := 11, 0
			if merged {
				restored, byCommit = 12, 10
			}
			if f := report.Files; f.Restored != restored || f.ByCommit != byCommit || f.Known != 1 || f.Orphans != 0 || !report.Whole() || report.Snapshot.Name != before.Name {
				t.Errorf("report: %+v", report)
			}
			for _, r := range report.Topics {
				want := recovery.TopicReport{ID: topic.ID, Name: "t", SnapshotRecords: 3, RestoredRecords: 31, Unproven: 31}
				if merged {
					want.RestoredRecords, want.Unproven = 32, 2
				}
				if r.Name == "quiet" {
					want = recovery.TopicReport{ID: quiet.ID, Name: "quiet", SnapshotRecords: 1}
				}
				r.ByClock, r.Ranges = 0, nil // the files are milliseconds apart
				if !reflect.DeepEqual(*r, want) {
					t.Errorf("got  %+v\nwant %+v", *r, want)
				}
			}
			if o := c.commit(retry)[0]; !o.Duplicate {
				t.Errorf("the retry after the recovery: %+v", o)
			}
			c.produce(p.batch(topic, 1, "goes on"))
			c.merge()
			c.wantLog(topic.Partitions[1], false, append(logs[topic.Partitions[1]], fmt.Sprintf("%d goes on", len(logs[topic.Partitions[1]])))...)
		})
	}
}

// Files of which neither commits nor producers tell the order are reported, with their offsets.
func TestOrderByClocksAloneIsReported(t *testing.T) {
	c := newCluster(t)
	topic := c.topic("t", 2)
	p := c.producer()
	c.snapshot()
	start := c.at
	for i, seconds := range []int{0, 10, 100, 200, 210, 220} {
		c.at = start.Add(time.Duration(seconds) * time.Second)
		c.produce(plain().batch(topic, 0, fmt.Sprint("v", i)), p.batch(topic, 1, "chained"))
		c.at = c.at.Add(time.Millisecond)
		c.produce(plain().batch(topic, 0, fmt.Sprint("w", i)))
	}
	report := c.mustRecover(recovery.Options{}).Topics[0]
	var got []string
	for _, r := range report.Ranges {
		got = append(got, fmt.Sprintf("%d:%d-%d of %d", r.Partition, r.From, r.To, len(r.Files)))
	}
	// The idempotent producer's batches chain the files v, in which partition 0 has no doubt, either.
	want := []string{"0:0-4 of 4", "0:4-6 of 2", "0:6-12 of 6"}
	if !slices.Equal(got, want) || report.ByClock != 12 {
		t.Errorf("got %q, %d records; want %q, 12", got, report.ByClock, want)
	}
}

// A topic and partitions that were created after the snapshot come back from the files alone.
func TestWhatIsNewerThanTheSnapshotIsMade(t *testing.T) {
	c := newCluster(t)
	old := c.topic("old", 1)
	c.snapshot()
	grown, err := c.store.CreatePartitions(t.Context(), old.ID, 3)
	c.must(err)
	named, unnamed := c.topic("named", 1), c.topic("unnamed", 2)
	c.produce(plain().batch(grown, 2, "x"), plain().batch(named, 0, "y"), plain().batch(unnamed, 1, "z"))

	if _, err := c.recover(recovery.Options{Names: map[uuid.UUID]string{named.ID: "old"}}); !errors.Is(err, metadata.ErrTopicExists) {
		t.Errorf("a name that is taken: %v", err)
	}
	if _, err := c.recover(recovery.Options{Names: map[uuid.UUID]string{old.ID: "new"}}); err == nil {
		t.Error("a name for a topic that has one: no error")
	}
	report := c.mustRecover(recovery.Options{Names: map[uuid.UUID]string{named.ID: "again"}})
	for name, want := range map[string]struct {
		topic   metadata.Topic
		index   int32
		created bool
		value   string
	}{
		"old":                              {grown, 2, false, "x"},
		"again":                            {named, 0, true, "y"},
		recovery.GeneratedName(unnamed.ID): {unnamed, 1, true, "z"},
	} {
		topic := c.named(name)
		if topic.ID != want.topic.ID || len(topic.Partitions) != len(want.topic.Partitions) {
			t.Errorf("%s: got %+v, want %+v", name, topic, want.topic)
		}
		c.wantLog(topic.Partitions[want.index], false, "0 "+want.value)
		i := slices.IndexFunc(report.Topics, func(r *recovery.TopicReport) bool { return r.Name == name })
		if i < 0 || report.Topics[i].Created != want.created || report.Topics[i].RestoredRecords != 1 {
			t.Errorf("%s: %+v", name, report.Topics)
		}
	}
}

// Nothing that the lost store may have handed out since the snapshot is handed out again.
func TestNumbersAreNotHandedOutAgain(t *testing.T) {
	c := newCluster(t)
	topic := c.topic("t", 1)
	version, err := c.store.StoreGroup(t.Context(), "g", 0, metadata.GroupState{State: []byte("1")})
	c.must(err)
	c.snapshot()
	version, err = c.store.StoreGroup(t.Context(), "g", version, metadata.GroupState{State: []byte("2")})
	c.must(err)
	seen := c.producer()
	unseen := c.producer() // has written nothing
	c.produce(seen.batch(topic, 0, "a"))
	last, err := c.store.LastSeq(t.Context())
	c.must(err)

	c.mustRecover(recovery.Options{})
	if p := c.producer(); p.id <= unseen.id {
		t.Errorf("producer ID %d again", p.id)
	}
	now, err := c.store.LastSeq(t.Context())
	c.must(err)
	if now <= last {
		t.Errorf("commit %d after %d", now, last)
	}
	groups, _, err := c.store.LoadGroups(t.Context(), []metadata.GroupRef{{ID: "g"}})
	c.must(err)
	if string(groups[0].State) != "1" {
		t.Errorf("group %+v", groups[0])
	}
	next, err := c.store.StoreGroup(t.Context(), "g", groups[0].Version, metadata.GroupState{State: []byte("3")})
	c.must(err)
	if next <= version {
		t.Errorf("version %d after %d", next, version)
	}
}

// An unacknowledged file from before the snapshot may have been committed after it: it comes back, and is told. One that
// is older than any commit takes doesn't. What its producer sent again is there once.
func TestLeftoversAreToldApart(t *testing.T) {
	c := newCluster(t)
	topic := c.topic("t", 1)
	p := c.producer()
	now := c.at
	c.at = now.Add(-metadata.MaxFileAge - 5*time.Minute)
	c.put(plain().batch(topic, 0, "too old"))
	c.at = now.Add(-5 * time.Minute)
	c.put(plain().batch(topic, 0, "left over"))
	c.at = now
	sent := p.batch(topic, 0, "twice")
	c.put(sent)
	c.produce(sent)
	c.produce(p.batch(topic, 0, "next"))
	c.snapshot()
	lost := p.batch(topic, 0, "lost, and sent again")
	c.put(lost)
	c.produce(lost)
	c.put(lost)

	report := c.mustRecover(recovery.Options{})
	// (Where the leftover comes is a matter of clocks.)
	c.wantLog(topic.Partitions[0], false, "0 twice", "1 next", "2 left over", "3 lost, and sent again")
	if f := report.Files; f.Orphans != 1 || f.Restored != 5 {
		t.Errorf("files: %+v", f)
	}
	if r := report.Topics[0]; r.LeftOver != 1 || r.Unproven != 2 || r.Duplicates != 3 || r.RestoredRecords != 2 || len(r.Forced) != 0 {
		t.Errorf("topic: %+v", r)
	}
	// The file of which nothing was needed is known, and goes.
	dead, err := c.store.DeadFiles(t.Context(), time.Now().Add(time.Hour), 10)
	c.must(err)
	if len(dead) != 3 {
		t.Errorf("dead files: %+v", dead)
	}
}

// A damaged section costs what it holds and no more; a file that is missing is reported with its offsets; what no producer
// refuses is restored behind the gap.
func TestLossesAreReported(t *testing.T) {
	c := newCluster(t)
	topic := c.topic("t", 2)
	p := c.producer()
	gone, commit := c.put(plain().batch(topic, 0, "gone"), plain().batch(topic, 1, "gone, too"))
	_, err := c.store.CommitFiles(t.Context(), []metadata.File{commit})
	c.must(err)
	c.produce(p.batch(topic, 0, "a"))
	c.snapshot()
	damaged, commit := c.put(p.batch(topic, 0, "damaged"), plain().batch(topic, 1, "whole"))
	_, err = c.store.CommitFiles(t.Context(), []metadata.File{commit})
	c.must(err)
	c.produce(p.batch(topic, 0, "after"))
	c.must(c.bucket.Delete(t.Context(), datafile.Key(gone.ID), datafile.Key(damaged.ID)))
	broken := slices.Clone(damaged.Bytes)
	broken[damaged.Sections[0].Position+int64(damaged.Sections[0].StoredSize)-1] ^= 1
	c.must(c.bucket.Put(t.Context(), datafile.Key(damaged.ID), broken))
	noFile, err := datafile.NewID(c.at)
	c.must(err)
	c.must(c.bucket.Put(t.Context(), datafile.Key(noFile), []byte("no data file")))

	report := c.mustRecover(recovery.Options{})
	if report.Whole() || len(report.Missing) != 1 || len(report.Damaged) != 2 {
		t.Fatalf("report: %+v", report)
	}
	if m := report.Missing[0]; m.ID != gone.ID || !slices.Equal(m.Ranges, []recovery.MissingRange{{"t", 0, 0, 1}, {"t", 1, 0, 1}}) {
		t.Errorf("missing: %+v", m)
	}
	for _, d := range report.Damaged {
		if d.Key == datafile.Key(damaged.ID) && (d.TopicID == nil || *d.TopicID != topic.ID || d.Partition != 0) || d.Key == datafile.Key(noFile) && d.TopicID != nil || d.Problem == "" {
			t.Errorf("damaged: %+v", d)
		}
	}
	r := report.Topics[0]
	if len(r.Forced) != 1 || r.Forced[0].Offset != 2 || r.RestoredRecords != 2 {
		t.Errorf("topic: %+v", r)
	}
	b, err := c.store.Bounds(t.Context(), topic.Partitions)
	c.must(err)
	if b[0].NextOffset != 3 || b[1].NextOffset != 2 {
		t.Errorf("bounds: %+v", b)
	}
}

func TestSnapshotsThatCannotBeUsed(t *testing.T) {
	c := newCluster(t)
	if _, err := c.recover(recovery.Options{}); !errors.Is(err, backup.ErrNoSnapshot) {
		t.Errorf("without any: %v", err)
	}
	c.topic("t", 1)
	older, newer := c.snapshot(), c.snapshot()
	if older.Name > newer.Name { // in the same millisecond
		older, newer = newer, older
	}
	if report := c.mustRecover(recovery.Options{}); report.Snapshot.Name != newer.Name {
		t.Errorf("chose %s of %s and %s", report.Snapshot.Name, older.Name, newer.Name)
	}
	if _, err := c.recover(recovery.Options{Snapshot: "nonesuch"}); !errors.Is(err, backup.ErrNoSnapshot) || !strings.Contains(err.Error(), newer.Name) {
		t.Errorf("of another name: %v", err)
	}
	c.must(c.bucket.Delete(t.Context(), "snapshots/"+newer.Name+"/part-00000.jsonl.zst"))
	if _, err := c.recover(recovery.Options{}); !errors.Is(err, backup.ErrDamaged) || !strings.Contains(err.Error(), "newest first: "+older.Name) {
		t.Errorf("with a damaged one: %v", err)
	}
	if last, err := c.store.LastSeq(t.Context()); err != nil || last != 0 {
		t.Errorf("the store is at %d, %v", last, err)
	}
	if report := c.mustRecover(recovery.Options{Snapshot: older.Name}); report.Snapshot.Name != older.Name {
		t.Errorf("chose %s", report.Snapshot.Name)
	}
	// The store goes on from the newest all the same, so agents don't take it for an old copy.
	c.topic("u", 1)
	c.snapshot()
	c.mustRecover(recovery.Options{Snapshot: older.Name})
	if err := backup.CheckNotBehind(t.Context(), c.store, c.bucket); err != nil {
		t.Error(err)
	}
	c.named("t")
	if _, err := recovery.Recover(t.Context(), c.store, c.bucket, progress(), recovery.Options{Snapshot: older.Name}); !errors.Is(err, metadata.ErrStoreNotEmpty) {
		t.Errorf("into a store that is not empty: %v", err)
	}
}

// Wherever a recovery dies, the store is empty, and the next try succeeds.
func TestRecoveryThatDies(t *testing.T) {
	c := newCluster(t)
	topic := c.topic("t", 1)
	c.produce(plain().batch(topic, 0, "a"))
	c.snapshot()
	c.produce(plain().batch(topic, 0, "b"))
	died := errors.New("died")
	for call := 1; ; call++ {
		n := 0
		c.bucket.Inject(func(objstoretest.Op, string) objstoretest.Fault {
			if n++; n == call {
				return objstoretest.Fault{Err: died}
			}
			return objstoretest.Fault{}
		})
		_, err := c.recover(recovery.Options{})
		c.bucket.Inject(nil)
		if n < call {
			c.must(err)
			break
		}
		if !errors.Is(err, died) {
			t.Fatalf("call %d: %v", call, err)
		}
		if last, err := c.store.LastSeq(t.Context()); err != nil || last != 0 {
			t.Errorf("call %d: the store is at %d, %v", call, last, err)
		}
		if _, err := recovery.Recover(t.Context(), c.store, c.bucket, progress(), recovery.Options{}); err != nil {
			t.Errorf("after call %d: %v", call, err)
		}
	}
	c.wantLog(topic.Partitions[0], false, "0 a", "1 b")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c.newStore()
	if _, err := recovery.Recover(ctx, c.store, c.bucket, progress(), recovery.Options{}); err == nil {
		t.Error("cancelled: no error")
	}
}

func TestDryRunNeedsNoStore(t *testing.T) {
	c := newCluster(t)
	topic := c.topic("t", 1)
	c.produce(plain().batch(topic, 0, "a"))
	c.snapshot()
	c.produce(plain().batch(topic, 0, "b"))
	before := objects(c)
	report, err := recovery.Recover(t.Context(), nil, c.bucket, progress(), recovery.Options{DryRun: true})
	c.must(err)
	if !report.DryRun || len(report.Topics) != 1 || report.Topics[0].RestoredRecords != 1 {
		t.Errorf("report: %+v", report)
	}
	if after := objects(c); !slices.Equal(after, before) {
		t.Errorf("objects: %q, then %q", before, after)
	}
}

func objects(c *cluster) (keys []string) {
	c.Helper()
	c.must(c.bucket.List(c.Context(), "", func(o objstore.ObjectInfo) error { keys = append(keys, o.Key); return nil }))
	return keys
}
