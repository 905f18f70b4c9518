package fsck_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/agent/maintenance/backup"
	"github.com/wadi-log/wadi/agent/maintenance/fsck"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/objstore/memory"
	"github.com/wadi-log/wadi/objstore/objstoretest"
	"github.com/wadi-log/wadi/protocol"
)

// TestMergesMeanwhileAreNoFindings replaces all files and deletes the old ones while a check is between
// two steps, before each kind of look at the objects.
func TestMergesMeanwhileAreNoFindings(t *testing.T) {
	for _, when := range []objstoretest.Op{objstoretest.List, objstoretest.Get} {
		t.Run(string(when), func(t *testing.T) {
			stores(t, func(t *testing.T, c *cluster) {
				var once sync.Once
				c.objects.Inject(func(op objstoretest.Op, key string) objstoretest.Fault {
					if op == when && strings.HasPrefix(key, "data/") {
						once.Do(func() {
							c.objects.Inject(nil)
							c.merge(t)
							c.deleteDead(t)
						})
					}
					return objstoretest.Fault{}
				})
				before := len(c.live(t))
				r := c.check(t, fsck.Options{Deep: true, Repair: true})
				if r.Total() != 0 {
					t.Errorf("findings %+v", r.Findings)
				}
				if after := len(c.live(t)); after >= before {
					t.Fatalf("%d files before, %d after a merge", before, after)
				}
			})
		})
	}
}

// deleteDead deletes all dead files, as the job does after the grace period.
func (c *cluster) deleteDead(t testing.TB) {
	t.Helper()
	dead, err := c.store.DeadFiles(t.Context(), time.Now().Add(time.Hour), 1000)
	must(t, err)
	for _, f := range dead {
		must(t, c.objects.Delete(t.Context(), datafile.Key(f.ID)))
		must(t, c.store.ForgetFiles(t.Context(), []uuid.UUID{f.ID}))
	}
}

// TestMergesBetweenCallsOfTheStoreAreNoFindings is the same between any two calls of the metadata store.
func TestMergesBetweenCallsOfTheStoreAreNoFindings(t *testing.T) {
	calls := map[string]int{}
	sound := newCluster(t, newSQLite(t))
	_, err := fsck.Run(t.Context(), &brokenStore{store: sound.store, before: func(call string) { calls[call]++ }}, sound.objects, fsck.Options{Parallel: 1})
	must(t, err)
	if calls["InspectRows"] == 0 || calls["InspectFiles"] == 0 || calls["ListFiles"] == 0 {
		t.Fatalf("calls %v", calls)
	}
	for call, n := range calls {
		for i := range n {
			c := newCluster(t, newSQLite(t))
			seen := 0
			hooked := &brokenStore{store: c.store, before: func(called string) {
				if called != call {
					return
				}
				if seen++; seen == i+1 {
					c.merge(t)
					c.deleteDead(t)
				}
			}}
			r, err := fsck.Run(t.Context(), hooked, c.objects, fsck.Options{Deep: true, Parallel: 1})
			must(t, err)
			if seen <= i || r.Total() > 0 {
				t.Errorf("a merge before call %d of %d of %s: %+v", i+1, seen, call, r.Findings)
			}
		}
	}
}

func TestFileThatDiesMeanwhileIsNotMiscounted(t *testing.T) {
	c := newCluster(t, newSQLite(t))
	c.exec(t, `UPDATE files SET live_runs = 7 WHERE id = $1`, c.fresh[0])
	hooked := &brokenStore{store: c.store, before: func(call string) {
		if call == "RecountFiles" {
			c.exec(t, `UPDATE files SET live_runs = 2 WHERE id = $1`, c.fresh[0])
			must(t, c.store.DeleteTopic(t.Context(), c.a.ID))
		}
	}}
	r, err := fsck.Run(t.Context(), hooked, c.objects, fsck.Options{Repair: true})
	must(t, err)
	if r.Total() > 0 || r.Corrected > 0 {
		t.Errorf("report %+v", r)
	}
}

func TestTopicDeletedMeanwhileIsNoFinding(t *testing.T) {
	stores(t, func(t *testing.T, c *cluster) {
		var once sync.Once
		c.objects.Inject(func(op objstoretest.Op, key string) objstoretest.Fault {
			if op == objstoretest.Get {
				once.Do(func() {
					c.objects.Inject(nil)
					must(t, c.store.DeleteTopic(t.Context(), c.a.ID))
					c.deleteDead(t)
				})
			}
			return objstoretest.Fault{}
		})
		if r := c.check(t, fsck.Options{Deep: true}); r.Total() != 0 {
			t.Errorf("findings %+v", r.Findings)
		}
	})
}

func TestObjectsInFlightStay(t *testing.T) {
	c := newCluster(t, newSQLite(t))
	for _, age := range []time.Duration{0, 10 * time.Minute, time.Hour} {
		must(t, c.objects.Put(t.Context(), datafile.Key(newID(t, time.Now().Add(-age))), []byte("upload")))
	}
	r := c.check(t, fsck.Options{Repair: true})
	if r.Total() != 0 || r.InFlight != (fsck.Count{Number: 3, Bytes: 18}) || r.DeletedOrphans.Number != 0 {
		t.Errorf("report %+v", r)
	}
	if again := c.check(t, fsck.Options{}); again.Objects != r.Objects {
		t.Errorf("a repair left %+v of %+v", again.Objects, r.Objects)
	}
}

// TestUnknownFileWithRowsIsNoOrphan: its bytes are all that is left of the records.
func TestUnknownFileWithRowsIsNoOrphan(t *testing.T) {
	stores(t, func(t *testing.T, c *cluster) {
		old := newID(t, time.Now().Add(-5*time.Hour))
		must(t, c.objects.Put(t.Context(), datafile.Key(old), c.object(t, c.fresh[2])))
		c.exec(t, `UPDATE runs SET file_id = $1 WHERE file_id = $2`, old, c.fresh[2])
		c.exec(t, `DELETE FROM files WHERE id = $1`, c.fresh[2])
		must(t, c.objects.Delete(t.Context(), datafile.Key(c.fresh[2])))
		r := c.check(t, fsck.Options{Repair: true})
		if got := kinds(r); !slices.Equal(got, []fsck.Kind{fsck.UnknownFile}) || r.DeletedOrphans.Number != 0 {
			t.Errorf("findings %+v", r.Findings)
		}
		c.object(t, old)
	})
}

func TestRepairDeletesWhatIsDeadForLong(t *testing.T) {
	stores(t, func(t *testing.T, c *cluster) {
		steps := []struct {
			name     string
			do       func()
			deleted  int64
			waiting  int64
			findings int64
		}{
			{"in the grace period", func() {}, 0, 3, 0},
			{"after it, but in the snapshot from which the store was recovered", func() {
				c.exec(t, `UPDATE dead_files SET died_at = $1`, time.Now().Add(-time.Hour))
				c.putManifest(t, time.Now().Add(-2*time.Hour))
			}, 0, 3, 0},
			{"in the newest snapshot", func() {
				must(t, c.store.NoteSnapshot(t.Context(), time.Now().Add(-2*time.Hour)))
			}, 0, 3, 0},
			{"in a snapshot of before the clock went back", func() {
				must(t, c.store.NoteSnapshot(t.Context(), time.Now().Add(2*time.Hour)))
			}, 0, 3, 0},
			{"in no snapshot", func() { must(t, c.store.NoteSnapshot(t.Context(), time.Now())) }, 3, 0, 0},
			{"deleted", func() {}, 0, 0, 0},
		}
		objects := c.check(t, fsck.Options{}).Objects.Number
		for _, step := range steps {
			step.do()
			if r := c.check(t, fsck.Options{}); r.Dead.Number != step.deleted+step.waiting || r.DeletedDead.Number != 0 || r.Total() != 0 {
				t.Errorf("%s, only looking: %+v", step.name, r)
			}
			r := c.check(t, fsck.Options{Repair: true})
			if r.DeletedDead.Number != step.deleted || r.Dead.Number != step.waiting || r.Total() != step.findings {
				t.Errorf("%s: %+v", step.name, r)
			}
			objects -= step.deleted
			if left := c.check(t, fsck.Options{}).Objects.Number; left != objects {
				t.Errorf("%s: %d objects are left, want %d", step.name, left, objects)
			}
		}
	})
}

// TestDeepRepairGivesFilesBackToMerges at a level at which they are due, whatever it was before.
func TestDeepRepairGivesFilesBackToMerges(t *testing.T) {
	stores(t, func(t *testing.T, c *cluster) {
		c.exec(t, `UPDATE files SET level = -2`)
		if r := c.check(t, fsck.Options{Repair: true}); r.Total() > 0 || r.Unmarked > 0 {
			t.Errorf("a check that is not deep: %+v", r)
		}
		live := int64(len(c.live(t)))
		if r := c.check(t, fsck.Options{Repair: true, Deep: true}); r.Unmarked != live || r.Total() != live {
			t.Errorf("%d files unmarked, want %d; findings %+v", r.Unmarked, live, r.Findings)
		}
		for _, f := range c.live(t) {
			want := int16(0)
			if slices.Contains(c.merged, f.ID) {
				want = 1
			}
			if f.Level != want {
				t.Errorf("file %s is at level %d, want %d", f.ID, f.Level, want)
			}
		}
		c.merge(t)
		for _, f := range c.live(t) {
			if f.Level == 0 {
				t.Errorf("file %s was not merged", f.ID)
			}
		}
	})
}

// TestRepairDeletesNothingOnceTheStoreWentBack in the middle of the check, before it comes to what it would delete.
func TestRepairDeletesNothingOnceTheStoreWentBack(t *testing.T) {
	for _, c := range []struct {
		name, call string
		// orphan: there is one. Otherwise files are dead for long.
		orphan bool
		back   func(t *testing.T, c *cluster, store *brokenStore)
	}{
		{"orphans, a newer snapshot", "InspectFiles", true, func(t *testing.T, c *cluster, _ *brokenStore) { c.putManifestOf(t, time.Now(), 1<<40) }},
		{"orphans, fewer changes than before", "InspectFiles", true, func(_ *testing.T, _ *cluster, store *brokenStore) { store.lost = 1 }},
		{"dead files, a newer snapshot", "ListFiles", false, func(t *testing.T, c *cluster, _ *brokenStore) { c.putManifestOf(t, time.Now(), 1<<40) }},
		{"dead files, fewer changes than before", "ListFiles", false, func(_ *testing.T, _ *cluster, store *brokenStore) { store.lost = 1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			cluster := newCluster(t, newSQLite(t))
			if c.orphan {
				must(t, cluster.objects.Put(t.Context(), datafile.Key(newID(t, time.Now().Add(-3*time.Hour))), []byte("of a file that was lost")))
			} else {
				cluster.exec(t, `UPDATE dead_files SET died_at = $1`, time.Now().Add(-72*time.Hour))
			}
			before := cluster.check(t, fsck.Options{})
			store := &brokenStore{store: cluster.store}
			store.before = func(call string) {
				if call == c.call {
					store.before = nil
					c.back(t, cluster, store)
				}
			}
			options := fsck.Options{Repair: true, Grace: time.Minute}
			r, err := fsck.Run(t.Context(), store, cluster.objects, options)
			if !errors.Is(err, objstore.ErrConfig) || r.DeletedOrphans.Number+r.DeletedDead.Number > 0 {
				t.Errorf("%v, report %+v", err, r)
			}
			if after := cluster.check(t, fsck.Options{}); after.Objects != before.Objects || after.Dead != before.Dead {
				t.Errorf("%+v are left of %+v, %+v dead ones of %+v", after.Objects, before.Objects, after.Dead, before.Dead)
			}
		})
	}
}

// putManifest puts the manifest of a snapshot of the time, which is all that a check looks at.
func (c *cluster) putManifest(t testing.TB, at time.Time) {
	t.Helper()
	c.putManifestOf(t, at, 0)
}

// putManifestOf is the same of a store that had seen so many changes.
func (c *cluster) putManifestOf(t testing.TB, at time.Time, lastSeq int64) {
	t.Helper()
	name := at.UTC().Format("20060102T150405.000Z") + "-00000000"
	b, err := json.Marshal(backup.Manifest{Version: 1, Name: name, At: at, LastSeq: lastSeq, Parts: []backup.Part{{Rows: 1, Size: 1, RawSize: 1}}})
	must(t, err)
	must(t, c.objects.Put(t.Context(), "snapshots/"+name+"/manifest.json", b))
}

// TestRowsOfManySlices: one partition with more rows than are asked for at a time.
func TestRowsOfManySlices(t *testing.T) {
	stores(t, func(t *testing.T, c *cluster) {
		id := c.producerID(t)
		var batches []protocol.Batch
		for i := range int32(1300) {
			b := withProducer(makeBatch(t, 1, 1), id, 0, i, false)
			batches = append(batches, b, b) // the second one is a duplicate, which ends the run
		}
		c.produce(t, datafile.None, part{c.b, 0, batches})
		r := c.check(t, fsck.Options{Deep: true})
		if r.Total() != 0 || r.Rows < 1300 {
			t.Fatalf("%d rows, findings %+v", r.Rows, r.Findings)
		}
		rows, err := c.store.InspectRows(t.Context(), c.b.Partitions[0], 0, 2000)
		must(t, err)
		for _, at := range []int{998, 1001} { // of 1000 in a slice
			c.exec(t, `DELETE FROM runs WHERE partition_id = $1 AND base_offset = $2`, c.b.Partitions[0], rows.Runs[at].BaseOffset)
		}
		found := c.check(t, fsck.Options{})
		if got, want := kinds(found), []fsck.Kind{fsck.Hole, fsck.Hole, fsck.WrongCounts}; !slices.Equal(got, want) || found.Rows != r.Rows-2 {
			t.Errorf("%d rows of %d, findings %+v", found.Rows, r.Rows, found.Findings)
		}
	})
}

func TestManyFindingsAreCountedAndNotAllListed(t *testing.T) {
	c := newCluster(t, newSQLite(t))
	for range fsck.MaxFindings + 5 {
		must(t, c.objects.Put(t.Context(), datafile.Key(newID(t, time.Now().Add(-3*time.Hour))), nil))
	}
	must(t, c.objects.Put(t.Context(), "data/x", nil))
	r := c.check(t, fsck.Options{})
	if r.ByKind[fsck.Orphan] != fsck.MaxFindings+5 || r.Total() != fsck.MaxFindings+6 || len(r.Findings) != fsck.MaxFindings+1 {
		t.Errorf("%v, %d listed", r.ByKind, len(r.Findings))
	}
}

func TestCheckThatCannotBeDone(t *testing.T) {
	c := newCluster(t, newSQLite(t))
	options := fsck.Options{Grace: time.Minute}
	other := memory.Open()
	must(t, objstore.Claim(t.Context(), other, "another"))
	for name, bucket := range map[string]objstore.Bucket{"bucket of nobody": memory.Open(), "bucket of another cluster": other} {
		options := options
		options.Repair = true // which must not happen
		if _, err := fsck.Run(t.Context(), c.store, bucket, options); !errors.Is(err, objstore.ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	lost := errors.New("connection reset")
	for _, op := range []objstoretest.Op{objstoretest.List, objstoretest.Get} {
		c.objects.Inject(func(called objstoretest.Op, key string) objstoretest.Fault {
			if called == op && strings.HasPrefix(key, "data/") {
				return objstoretest.Fault{Err: lost}
			}
			return objstoretest.Fault{}
		})
		r, err := fsck.Run(t.Context(), c.store, c.objects, options)
		if !errors.Is(err, lost) || r.Total() != 0 || r.Partitions != 3 {
			t.Errorf("%s fails: %v, %+v", op, err, r)
		}
	}
	c.objects.Inject(nil)
	for name, break_ := range map[string]*brokenStore{
		"InspectRows": {store: c.store, rows: lost}, "InspectFiles": {store: c.store, files: lost}, "ListFiles": {store: c.store, list: lost}, "Now": {store: c.store, now: lost},
	} {
		if _, err := fsck.Run(t.Context(), break_, c.objects, options); !errors.Is(err, lost) {
			t.Errorf("%s fails: %v", name, err)
		}
	}
}
