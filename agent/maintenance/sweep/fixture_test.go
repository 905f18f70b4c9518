package sweep

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sqlite"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/objstore/memory"
	"github.com/wadi-log/wadi/objstore/objstoretest"
)

// cluster is the stores of a cluster, in a bubble of synctest: the metadata store's clock is
// that of the bubble, set ahead by its skew.
type cluster struct {
	testing.TB
	*sqlite.Store
	// bucket is what an agent sees, store what is really there.
	bucket *objstoretest.Faulty
	store  objstore.Bucket
	skew   time.Duration
	topic  metadata.Topic
	logged bytes.Buffer
	// call is asked before each call of the metadata store by an agent; nil for no faults.
	call func(name string) objstoretest.Fault
	// onward is what agents ask before they delete.
	onward Onward
}

var discard = slog.New(slog.DiscardHandler)

// errInjected is what calls fail with.
var errInjected = errors.New("injected")

func run(t *testing.T, test func(c *cluster)) {
	synctest.Test(t, func(t *testing.T) {
		store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "metadata.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		}()
		objects := memory.Open()
		c := &cluster{TB: t, Store: store, store: objects, bucket: objstoretest.NewFaulty(objects)}
		c.onward = func(context.Context) error { return nil }
		c.topic, err = store.CreateTopic(t.Context(), metadata.NewTopic{Name: "t", Partitions: 1})
		c.must(err)
		test(c)
	})
}

func (c *cluster) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// newID is an ID of a file that was made at the time, by the metadata store's clock.
func (c *cluster) newID(at time.Time) uuid.UUID {
	id := uuid.New()
	binary.BigEndian.PutUint64(id[:], uint64(at.UnixMilli())<<16|0x7<<12|uint64(id[7]))
	return id
}

func (c *cluster) now() time.Time { return time.Now().Add(c.skew) }

// put puts an object of a new file made at the time, to which nothing refers.
func (c *cluster) put(at time.Time) uuid.UUID {
	c.Helper()
	id := c.newID(at)
	c.must(c.store.Put(c.Context(), datafile.Key(id), []byte("0123456789")))
	return id
}

// probe puts an object as an agent leaves it that dies while it tries out the store.
func (c *cluster) probe() (key string) {
	c.Helper()
	key = objstore.ProbePrefix + "left"
	c.must(c.store.Put(c.Context(), key, []byte("x")))
	return key
}

// commit puts files with a record each and commits them.
func (c *cluster) commit(n int) (ids []uuid.UUID) {
	c.Helper()
	var files []metadata.File
	for range n {
		id := c.put(time.Now())
		ids, files = append(ids, id), append(files, c.file(id))
	}
	result, err := c.CommitFiles(c.Context(), files)
	c.must(err)
	for _, f := range result.Files {
		c.must(f.Outcomes[0][0].Err)
	}
	return ids
}

// file is a file of put's as it is committed.
func (c *cluster) file(id uuid.UUID) metadata.File {
	return metadata.File{ID: id, Size: 10, Appends: []metadata.Append{{
		Partition: c.topic.Partitions[0], StoredSize: 10,
		Batches: []metadata.Batch{{Size: 10, Records: 1, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}},
	}}}
}

// kill deletes all records, so that all files so far are dead.
func (c *cluster) kill() {
	c.Helper()
	_, err := c.DeleteRecords(c.Context(), []metadata.RecordsDeletion{{Partition: c.topic.Partitions[0], Before: metadata.AllRecords}})
	c.must(err)
}

// die commits so many files and kills them.
func (c *cluster) die(n int) (ids []uuid.UUID) {
	c.Helper()
	ids = c.commit(n)
	c.kill()
	return ids
}

// has tells whether the object of the file is there.
func (c *cluster) has(id uuid.UUID) bool {
	c.Helper()
	_, err := c.store.Get(c.Context(), datafile.Key(id), 0, -1)
	if err != nil && !errors.Is(err, objstore.ErrNotFound) {
		c.Fatal(err)
	}
	return err == nil
}

func (c *cluster) wantObjects(want bool, ids ...uuid.UUID) {
	c.Helper()
	for i, id := range ids {
		if c.has(id) != want {
			c.Errorf("object %d (of %v): is there: %v, want %v", i, datafile.IDTime(id), !want, want)
		}
	}
}

// remembered are how many of the files the metadata store knows.
func (c *cluster) remembered(ids ...uuid.UUID) (n int) {
	c.Helper()
	known, err := c.KnownFiles(c.Context(), ids)
	c.must(err)
	for _, k := range known {
		if k {
			n++
		}
	}
	return n
}

// check holds always: each file that the metadata store says is live has its object.
func (c *cluster) check(live ...uuid.UUID) {
	c.Helper()
	c.wantObjects(true, live...)
	if n := c.remembered(live...); n != len(live) {
		c.Errorf("%d of %d live files are known", n, len(live))
	}
}

// agent is a job on one agent.
type agent struct {
	*cluster
	holder  uuid.UUID
	job     maintenance.Job
	metrics *prometheus.Registry
	p       *maintenance.Progress
}

func (c *cluster) agent(job func(store calls, holder uuid.UUID, log *slog.Logger) maintenance.Job) *agent {
	a := &agent{cluster: c, holder: uuid.New(), metrics: prometheus.NewRegistry()}
	a.job = job(calls{c}, a.holder, slog.New(slog.NewTextHandler(&c.logged, nil)))
	a.p = maintenance.NewProgress(a.job.Name, rate.NewLimiter(rate.Inf, 1), maintenance.NewMetrics(a.metrics))
	return a
}

const grace = 10 * time.Minute

// deleter is the job "delete" on an agent, which takes the snapshots, or none if they are nil.
func (c *cluster) deleter(s *snapshots) *agent {
	config := DeleteConfig{Grace: grace, TakesSnapshots: s != nil}
	if s == nil {
		s = &snapshots{}
	}
	return c.deleterOf(s, config)
}

func (c *cluster) deleterOf(s *snapshots, config DeleteConfig) *agent {
	return c.agent(func(store calls, holder uuid.UUID, log *slog.Logger) maintenance.Job {
		return Delete(store, s, c.bucket, c.onward, config, holder, log)
	})
}

// sweeper is the job "orphans".
func (c *cluster) sweeper() *agent {
	return c.agent(func(store calls, holder uuid.UUID, log *slog.Logger) maintenance.Job {
		return Orphans(store, c.bucket, c.onward, 6*time.Hour, holder, log)
	})
}

// round does a round, by which no lease of another agent is left.
func (a *agent) round(ctx context.Context) error {
	a.Helper()
	more, err := a.job.Round(ctx, a.p)
	if more {
		a.Error("a round left something for now")
	}
	return err
}

// wait waits until the leases of other agents are over.
func (a *agent) wait() { time.Sleep(a.job.Every()) }

func (a *agent) metric(name string) float64 {
	a.Helper()
	families, err := a.metrics.Gather()
	a.must(err)
	for _, family := range families {
		if family.GetName() == "wadi_job_"+name {
			m := family.GetMetric()[0]
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return 0
}

func (a *agent) wantMetrics(want map[string]float64) {
	a.Helper()
	for name, value := range want {
		if got := a.metric(name); got != value {
			a.Errorf("%s is %v, want %v", name, got, value)
		}
	}
}

// calls are an agent's calls of the metadata store, which may fail.
type calls struct{ *cluster }

func through[T any](c *cluster, name string, do func() (T, error)) (T, error) {
	var none T
	var f objstoretest.Fault
	if c.call != nil {
		f = c.call(name)
	}
	if f.Err != nil && !f.Persisted {
		return none, f.Err
	}
	out, err := do()
	if f.Err != nil {
		return none, f.Err
	}
	return out, err
}

func (c calls) Now(ctx context.Context) (time.Time, error) {
	return through(c.cluster, "Now", func() (time.Time, error) {
		now, err := c.Store.Now(ctx)
		return now.Add(c.skew), err
	})
}

func (c calls) AcquireLease(ctx context.Context, holder uuid.UUID, name string, period time.Duration) (bool, error) {
	return through(c.cluster, "AcquireLease", func() (bool, error) { return c.Store.AcquireLease(ctx, holder, name, period) })
}

func (c calls) DeadFiles(ctx context.Context, before time.Time, limit int) ([]metadata.DeadFile, error) {
	return through(c.cluster, "DeadFiles", func() ([]metadata.DeadFile, error) {
		files, err := c.Store.DeadFiles(ctx, before.Add(-c.skew), limit)
		for i := range files {
			files[i].DiedAt = files[i].DiedAt.Add(c.skew)
		}
		return files, err
	})
}

func (c calls) ForgetFiles(ctx context.Context, ids []uuid.UUID) error {
	_, err := through(c.cluster, "ForgetFiles", func() (struct{}, error) { return struct{}{}, c.Store.ForgetFiles(ctx, ids) })
	return err
}

func (c calls) KnownFiles(ctx context.Context, ids []uuid.UUID) ([]bool, error) {
	return through(c.cluster, "KnownFiles", func() ([]bool, error) { return c.Store.KnownFiles(ctx, ids) })
}

// faultKinds are the ways in which a call may end badly.
var faultKinds = map[string]struct{ persisted, killed bool }{
	"failed": {}, "failed but persisted": {persisted: true}, "killed before": {killed: true}, "killed after": {persisted: true, killed: true},
}

// spoil makes the first call of the name, of either store, end badly during a round of the agent, and checks
// that the round ends by that, with no call after its agent is dead.
func (a *agent) spoil(step string, kind struct{ persisted, killed bool }) {
	a.Helper()
	ctx, kill := context.WithCancel(a.Context())
	defer kill()
	faults := 0
	hook := func(name string) objstoretest.Fault {
		switch {
		case ctx.Err() != nil:
			a.Errorf("%s is called by an agent that is dead", name)
		case name == step && faults == 0:
			faults++
			err := fmt.Errorf("%w: %w", metadata.ErrOutcomeUnknown, errInjected)
			if kind.killed {
				kill()
				err = ctx.Err()
			}
			return objstoretest.Fault{Err: err, Persisted: kind.persisted}
		}
		return objstoretest.Fault{}
	}
	a.call = hook
	a.bucket.Inject(func(op objstoretest.Op, _ string) objstoretest.Fault { return hook(string(op)) })
	err := a.round(ctx)
	a.call = nil
	a.bucket.Inject(nil)
	want := errInjected
	if kind.killed {
		want = context.Canceled
	}
	if faults != 1 || !errors.Is(err, want) {
		a.Errorf("%d faults of %s, the round ends with %v", faults, step, err)
	}
}

// keys are those of all objects.
func (c *cluster) keys() (keys []string) {
	c.Helper()
	c.must(c.store.List(c.Context(), "", func(o objstore.ObjectInfo) error {
		keys = append(keys, o.Key)
		return nil
	}))
	slices.Sort(keys)
	return keys
}

// sleep lets time pass in the bubble.
func (c *cluster) sleep(d time.Duration) { time.Sleep(d) }
