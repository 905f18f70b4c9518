package merge

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/time/rate"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/objstore/objstoretest"
	"github.com/wadi-log/wadi/protocol"
)

// runOf returns the row of a partition that lies in the file.
func (c *cluster) runOf(t *testing.T, partition metadata.PartitionID, file uuid.UUID) metadata.Run {
	t.Helper()
	for _, run := range c.runs(t, partition) {
		if run.FileID == file {
			return run
		}
	}
	t.Fatalf("no run of partition %d in file %v", partition, file)
	return metadata.Run{}
}

// spoil changes a byte in the middle of a run.
func (c *cluster) spoil(t *testing.T, run metadata.Run) {
	t.Helper()
	key := datafile.Key(run.FileID)
	object, err := c.bucket.Bucket.Get(t.Context(), key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	object[run.Position+int64(run.StoredSize)/2] ^= 1
	if err := c.bucket.Bucket.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if err := c.bucket.Bucket.Put(t.Context(), key, object); err != nil {
		t.Fatal(err)
	}
}

// checkBut compares all partitions but some.
func (c *cluster) checkBut(t *testing.T, damaged ...metadata.PartitionID) {
	t.Helper()
	kept := map[metadata.PartitionID]bool{}
	for _, p := range damaged {
		kept[p] = true
	}
	want := c.want
	c.want = map[metadata.PartitionID][]protocol.Batch{}
	for p := range want {
		if !kept[p] {
			c.want[p] = want[p]
		}
	}
	c.check(t)
	c.want = want
}

func TestMergeLeavesADamagedRunAndGoesOnAroundIt(t *testing.T) {
	c := newCluster(t, 3)
	files := c.produceSome(t, seeded(t), 4)
	damaged := c.topics[0].Partitions[1]
	bad := c.runOf(t, damaged, files[2])
	c.spoil(t, bad)

	var log bytes.Buffer
	reg := prometheus.NewRegistry()
	m := c.merger(Config{})
	m.log = slog.New(slog.NewTextHandler(&log, nil))
	p := maintenance.NewProgress("merge", rate.NewLimiter(rate.Inf, 1<<20), maintenance.NewMetrics(reg))
	if more, err := m.Round(t.Context(), p); !more || err != nil {
		t.Fatalf("merged %v, %v", more, err)
	}
	c.checkBut(t, damaged)
	for _, partition := range c.topics[0].Partitions {
		runs := c.runs(t, partition)
		if partition != damaged {
			if len(runs) != 1 || !runs[0].Merged {
				t.Errorf("partition %d has %d rows", partition, len(runs))
			}
			continue
		}
		// What is before it, it, and what is behind it.
		if len(runs) != 3 || !runs[0].Merged || runs[1] != bad || !runs[2].Merged {
			t.Errorf("the damaged partition has %+v", runs)
		}
	}
	if text := log.String(); strings.Count(text, "level=ERROR") != 1 || !strings.Contains(text, files[2].String()) {
		t.Errorf("the log says %s", text)
	}
	if err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP wadi_job_damaged_total Damaged or missing data that jobs met and left alone.
# TYPE wadi_job_damaged_total counter
wadi_job_damaged_total{name="merge"} 1
`), "wadi_job_damaged_total"); err != nil {
		t.Error(err)
	}
	// It is settled: nobody stumbles over it again.
	log.Reset()
	c.produceSome(t, seeded(t), 4)
	drain(t, m)
	c.checkBut(t, damaged)
	if log.Len() > 0 {
		t.Errorf("the damaged file was read again: %s", log.String())
	}
}

func TestMergeGoesOnWithoutAMissingObject(t *testing.T) {
	c := newCluster(t, 40)
	files := c.produceSome(t, seeded(t), 4)
	if err := c.bucket.Bucket.Delete(t.Context(), datafile.Key(files[1])); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	m := c.merger(Config{})
	m.log = slog.New(slog.NewTextHandler(&log, nil))
	drain(t, m)
	for _, partition := range c.topics[0].Partitions {
		runs := c.runs(t, partition)
		if len(runs) != 3 || !runs[0].Merged || runs[1].FileID != files[1] || !runs[2].Merged {
			t.Errorf("partition %d has %+v", partition, runs)
		}
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
		t.Errorf("%d complaints of one file: %s", n, log.String())
	}
}

// A run that is replaced or trimmed while it is read is no damage, even if its object is gone already.
func TestMergeDoesNotCallDamageWhatWasReplaced(t *testing.T) {
	c := newCluster(t, 2)
	files := c.produceSome(t, seeded(t), 4)
	var log bytes.Buffer
	m := c.merger(Config{})
	m.log = slog.New(slog.NewTextHandler(&log, nil))
	c.store.inject(func(method string) fault {
		if method != "ListTopics" {
			return fault{}
		}
		c.store.inject(nil)
		// Another merge of the same files, as after a claim that ran out, and then the grace period.
		rival := c.merger(Config{})
		claimed := claimedBy(t, c, m)
		if _, err := rival.mergeClaimed(t.Context(), progress(), outputsOf(t, rival), rival.claims[0], claimed); err != nil {
			t.Error(err)
		}
		for _, id := range files {
			if err := c.bucket.Bucket.Delete(t.Context(), datafile.Key(id)); err != nil {
				t.Error(err)
			}
		}
		return fault{}
	})
	if more, err := m.Round(t.Context(), progress()); more || err != nil {
		t.Fatalf("merged %v, %v", more, err)
	}
	if log.Len() > 0 {
		t.Errorf("the log says %s", log.String())
	}
	c.check(t)
}

// claimedBy returns the files that a merger has just claimed, as it got them.
func claimedBy(t *testing.T, c *cluster, m *Merger) []metadata.ClaimedFile {
	t.Helper()
	claim := m.claims[0]
	if err := c.store.Store.ReleaseFiles(t.Context(), claim.Holder, allFiles(t, c), false); err != nil {
		t.Fatal(err)
	}
	files, err := c.store.Store.ClaimFiles(t.Context(), claim)
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	return files
}

func allFiles(t *testing.T, c *cluster) (ids []uuid.UUID) {
	t.Helper()
	for id := range c.files(t) {
		ids = append(ids, id)
	}
	return ids
}

func outputsOf(t testing.TB, m *Merger) *outputs {
	t.Helper()
	o, err := m.newOutputs(progress())
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// A store that is away ends the merge; one object that stays out of reach doesn't slow the others down.
func TestMergeGoesOnAroundAnObjectOutOfReach(t *testing.T) {
	c := newCluster(t, 3)
	files := c.produceSome(t, seeded(t), 4)
	key, gets := datafile.Key(files[1]), 0
	forbidden := errors.New("access denied")
	c.bucket.Inject(func(op objstoretest.Op, asked string) objstoretest.Fault {
		if op == objstoretest.Get && asked == key {
			gets++
			return objstoretest.Fault{Err: forbidden}
		}
		return objstoretest.Fault{}
	})
	var log bytes.Buffer
	m := c.merger(Config{})
	m.log = slog.New(slog.NewTextHandler(&log, nil))
	before, holder := c.files(t), m.claims[0].Holder
	if more, err := m.Round(t.Context(), progress()); more || !errors.Is(err, forbidden) {
		t.Fatalf("merged %v, %v", more, err)
	}
	if after := c.files(t); len(after) != len(before) {
		t.Error("something was merged although the store may be away")
	}
	// The next rounds merge the rest, as fast as they can, and tell of it.
	drain(t, m)
	c.check(t)
	if after := c.files(t); len(after) > 2 || !after[files[1]] {
		t.Errorf("rows refer to %d files", len(after))
	}
	if n := testutil.ToFloat64(m.metrics.unread); n != 1 || strings.Count(log.String(), "level=WARN") != 1 || !strings.Contains(log.String(), files[1].String()) {
		t.Errorf("%v files are counted, and the log says %s", n, log.String())
	}
	// It is let alone for a while, and is no reason to merge single files of those that come meanwhile.
	asked := gets
	single := c.produceSome(t, seeded(t), 1)
	if rounds := drain(t, m); rounds != 0 || gets != asked || !c.files(t)[single[0]] {
		t.Errorf("%d rounds, %d more requests for the object", rounds, gets-asked)
	}
	c.produceSome(t, seeded(t), 3)
	if rounds := drain(t, m); rounds == 0 || gets != asked {
		t.Errorf("%d rounds, %d more requests for the object", rounds, gets-asked)
	}
	// Once it can be read it is merged like others.
	c.bucket.Inject(nil)
	if err := c.store.Store.ReleaseFiles(t.Context(), holder, files[1:2], false); err != nil {
		t.Fatal(err)
	}
	c.produceSome(t, seeded(t), 3)
	drain(t, m)
	c.check(t)
	if c.files(t)[files[1]] {
		t.Error("the file is still there")
	}
	if len(m.suspects) > 0 {
		t.Error("files are still suspected")
	}
}

// With nothing that can be read it is the store that is away, however often that was so before.
func TestMergesFailWhileNothingCanBeRead(t *testing.T) {
	c := newCluster(t, 3)
	files := c.produceSome(t, seeded(t), 3)
	c.bucket.Inject(func(op objstoretest.Op, _ string) objstoretest.Fault {
		if op == objstoretest.Get {
			return objstoretest.Fault{Err: objstore.ErrSlowDown}
		}
		return objstoretest.Fault{}
	})
	m := c.merger(Config{})
	m.setAside = time.Nanosecond
	for round := range 20 {
		var err error
		for range m.claims { // level 0 is among them
			if _, failed := m.Round(t.Context(), progress()); failed != nil {
				err = failed
			}
		}
		if !errors.Is(err, objstore.ErrSlowDown) {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	if n := len(m.suspects); n != len(files) {
		t.Errorf("%d files are suspected", n)
	}
	c.bucket.Inject(nil)
	drain(t, m)
	c.check(t)
	for _, id := range files {
		if c.files(t)[id] {
			t.Error("a file is left out for good")
		}
	}
}

// A merge of new files that fails half-way in the midst of another one leaves that one nothing of its own.
func TestMergeInBetweenThatFailsHarmsNoOther(t *testing.T) {
	const partitions = 30
	c := newCluster(t, partitions)
	m := c.merger(Config{FileBytes: 4 << 20})
	m.interleaveEvery = 0
	random := seeded(t)
	c.produceSome(t, random, 8)
	for range 2 {
		if more, err := m.merge(t.Context(), progress(), outputsOf(t, m), m.claims[0]); !more || err != nil {
			t.Fatalf("merged %v, %v", more, err)
		}
	}
	// More than is read at a time: of one file the rest can't be.
	m.claims[1].MaxFiles = 2
	var files []uuid.UUID
	for range 4 {
		batches := map[at][]protocol.Batch{}
		for index := range int32(partitions) {
			batches[at{0, index}] = []protocol.Batch{makeBatch(t, random, 1, 25<<10)}
		}
		files = append(files, c.produce(t, datafile.None, batches))
	}
	forbidden, gets := errors.New("access denied"), 0
	c.bucket.Inject(func(op objstoretest.Op, key string) objstoretest.Fault {
		if op == objstoretest.Get && key == datafile.Key(files[1]) {
			if gets++; gets > 1 {
				return objstoretest.Fault{Err: forbidden}
			}
		}
		return objstoretest.Fault{}
	})
	more, err := m.merge(t.Context(), progress(), outputsOf(t, m), m.claims[1])
	if !more || !errors.Is(err, forbidden) || strings.Contains(err.Error(), "out of order") || gets < 2 {
		t.Errorf("merged %v with %d requests for the file: %v", more, gets, err)
	}
	backlog, err := c.store.Store.MergeBacklog(t.Context())
	if err != nil || backlog[0].Files != 1 || backlog[1].Files != 1 {
		t.Errorf("want the one file out of reach at level 0, and at level 1 what the three others became: %+v, %v", backlog, err)
	}
	c.bucket.Inject(nil)
	c.check(t)
}

func TestMergeOutlivesAStoreThatIsAway(t *testing.T) {
	c := newCluster(t, 10)
	c.produceSome(t, seeded(t), 12)
	m := c.merger(Config{})
	for _, op := range []objstoretest.Op{objstoretest.Get, objstoretest.Put} {
		var calls atomic.Int64
		c.bucket.Inject(func(called objstoretest.Op, _ string) objstoretest.Fault {
			if called != op || calls.Add(1) > 20 {
				return objstoretest.Fault{}
			}
			return objstoretest.Fault{Err: objstore.ErrSlowDown}
		})
		failed := 0
		for rounds := 0; calls.Load() <= 20; rounds++ {
			if rounds > 100 {
				t.Fatalf("%d calls in 100 rounds", calls.Load())
			}
			if _, err := m.Round(t.Context(), progress()); err != nil {
				if !errors.Is(err, objstore.ErrSlowDown) {
					t.Fatal(err)
				}
				failed++
			}
			c.check(t)
			if len(c.files(t)) < 5 {
				c.produceSome(t, seeded(t), 8) // there must be something to merge
			}
		}
		if failed == 0 {
			t.Error("no round failed")
		}
	}
	c.bucket.Inject(nil)
	drain(t, m)
	c.check(t)
	if n := len(c.files(t)); n > 10 {
		t.Errorf("%d files are left", n)
	}
}

func TestMergeThatIsStoppedGivesItsClaimsUp(t *testing.T) {
	c := newCluster(t, 5)
	c.produceSome(t, seeded(t), 4)
	ctx, stop := context.WithCancel(t.Context())
	release := make(chan struct{})
	defer close(release)
	c.bucket.Inject(func(op objstoretest.Op, _ string) objstoretest.Fault {
		if op != objstoretest.Get {
			return objstoretest.Fault{}
		}
		stop()
		return objstoretest.Fault{Block: release}
	})
	m := c.merger(Config{})
	if more, err := m.Round(ctx, progress()); more || !errors.Is(err, context.Canceled) {
		t.Fatalf("merged %v, %v", more, err)
	}
	c.bucket.Inject(nil)
	if drain(t, c.merger(Config{})) != 1 {
		t.Error("another agent could not go on at once")
	}
	c.check(t)
}
