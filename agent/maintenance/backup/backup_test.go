package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/time/rate"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/agent/maintenance/backup"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sqlite"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/memory"
	"github.com/wadi-log/wadi/objstore/objstoretest"
)

func newStore(t testing.TB) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "metadata.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func progress() *maintenance.Progress {
	return maintenance.NewProgress("snapshot", rate.NewLimiter(rate.Inf, 1<<30), maintenance.NewMetrics(prometheus.NewRegistry()))
}

func addTopic(t testing.TB, s metadata.Topics, name string) {
	t.Helper()
	if _, err := s.CreateTopic(t.Context(), metadata.NewTopic{Name: name, Partitions: 3}); err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, s metadata.Snapshots, b objstore.Bucket) backup.Manifest {
	t.Helper()
	m, err := backup.Write(t.Context(), s, b, progress())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// rows reads a snapshot, up to the first error.
func rows(ctx context.Context, m backup.Manifest, b objstore.Bucket) (all []metadata.SnapshotRow, err error) {
	for row, err := range m.Rows(ctx, b, progress()) {
		if err != nil {
			return all, err
		}
		all = append(all, row)
	}
	return all, nil
}

func exported(t testing.TB, s metadata.Snapshots) (all []metadata.SnapshotRow) {
	t.Helper()
	if err := s.ExportSnapshot(t.Context(), func(row metadata.SnapshotRow) error {
		all = append(all, row)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// noise doesn't compress.
func noise(seed uint64, n int) []byte {
	rng := rand.NewChaCha8([32]byte{0: byte(seed)})
	b := make([]byte, n)
	_, _ = rng.Read(b) // never fails
	return b
}

// largeStore needs several parts.
func largeStore(t testing.TB) *sqlite.Store {
	s := newStore(t)
	addTopic(t, s, "t")
	for i := range uint64(3) {
		if _, err := s.StoreGroup(t.Context(), fmt.Sprint("g", i), 0, metadata.GroupState{State: noise(i, 6<<20)}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	s, b := largeStore(t), memory.Open()
	m := write(t, s, b)
	if len(m.Parts) < 2 {
		t.Fatalf("%d parts", len(m.Parts))
	}
	read, err := backup.ReadManifest(t.Context(), b, m.Name)
	if err != nil || !reflect.DeepEqual(read, m) {
		t.Fatalf("read manifest %+v, %v; want %+v", read, err, m)
	}
	got, err := rows(t.Context(), read, b)
	if err != nil {
		t.Fatal(err)
	}
	want := exported(t, s)
	want[0].Head.At = got[0].Head.At
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%d rows are not the %d of the store", len(got), len(want))
	}
	if int64(len(got)) != m.RowCount() {
		t.Errorf("the manifest says %d rows, there are %d", m.RowCount(), len(got))
	}
	other := newStore(t)
	if err := other.ImportSnapshot(t.Context(), read.Rows(t.Context(), b, progress())); err != nil {
		t.Fatal(err)
	}
	moved := exported(t, other)
	moved[0] = got[0]
	if !reflect.DeepEqual(moved, got) {
		t.Error("the store that took it over has other rows")
	}
}

// Whatever is changed, cut or missing, of any object: it is refused, and no row of the object that
// is damaged comes out.
func TestDamageIsRefused(t *testing.T) {
	const seed = 7
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	s, clean := newStore(t), memory.Open()
	for i := range 20 {
		addTopic(t, s, fmt.Sprint("t", i))
	}
	m := write(t, s, clean)
	var keys []string
	if err := clean.List(t.Context(), "snapshots/", func(o objstore.ObjectInfo) error { keys = append(keys, o.Key); return nil }); err != nil {
		t.Fatal(err)
	}
	part := keys[slices.IndexFunc(keys, func(k string) bool { return strings.Contains(k, "/part-") })]
	content, err := clean.Get(t.Context(), part, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	damaged := [][]byte{nil, content[:len(content)-1], append(bytes.Clone(content), 0), content[:1]}
	for range 200 {
		b := bytes.Clone(content)
		b[rng.IntN(len(b))] ^= byte(1 + rng.IntN(255))
		damaged = append(damaged, b)
	}
	for i, content := range damaged {
		b := memory.Open()
		if content != nil {
			if err := b.Put(t.Context(), part, content); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := rows(t.Context(), m, b); !errors.Is(err, backup.ErrDamaged) || len(got) != 0 {
			t.Errorf("damage %d: %d rows, %v", i, len(got), err)
		}
	}
}

func TestManifestsAreRefused(t *testing.T) {
	b := memory.Open()
	good := write(t, newStore(t), b)
	name := good.Name
	for content, want := range map[string]error{
		"":                                      backup.ErrDamaged,
		"{":                                     backup.ErrDamaged,
		"null":                                  backup.ErrDamaged,
		`{"version":1}`:                         backup.ErrDamaged,
		`{"version":2}`:                         backup.ErrVersion,
		`{"version":9,"parts":"another thing"}`: backup.ErrVersion,
		`{"version":1,"name":"` + name + `","parts":[{"rows":1,"size":1,"raw_size":1e12}]}`: backup.ErrDamaged,
		`{"version":1,"name":"` + name + `","parts":[{"rows":-1,"size":1,"raw_size":1}]}`:   backup.ErrDamaged,
		`{"version":1,"name":"another","parts":[{"rows":1,"size":1,"raw_size":1}]}`:         backup.ErrDamaged,
	} {
		b := memory.Open()
		if err := b.Put(t.Context(), "snapshots/"+name+"/manifest.json", []byte(content)); err != nil {
			t.Fatal(err)
		}
		if _, err := backup.ReadManifest(t.Context(), b, name); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", content, err, want)
		}
	}
	for _, name := range []string{"", "..", "nonesuch", "20260101T000000.000Z-00000000", "../" + name} {
		if _, err := backup.ReadManifest(t.Context(), b, name); !errors.Is(err, backup.ErrNoSnapshot) {
			t.Errorf("name %q: %v", name, err)
		}
	}
	// A manifest that goes with other rows.
	other := good
	other.ClusterID = "another"
	if _, err := rows(t.Context(), other, b); !errors.Is(err, backup.ErrDamaged) {
		t.Errorf("another cluster's manifest: %v", err)
	}
}

// Whichever step of writing fails, also if it was carried out: the snapshot doesn't count unless all of it is
// there, and the one before it stays.
func TestTornSnapshotIsPassedOver(t *testing.T) {
	s := largeStore(t)
	b := objstoretest.NewFaulty(memory.Open())
	before := write(t, s, b)
	puts := len(before.Parts) + 1
	for step := range puts {
		for _, persisted := range []bool{false, true} {
			n := 0
			b.Inject(func(op objstoretest.Op, _ string) objstoretest.Fault {
				if op != objstoretest.Put {
					return objstoretest.Fault{}
				}
				if n++; n == step+1 {
					return objstoretest.Fault{Err: errors.New("died"), Persisted: persisted}
				}
				return objstoretest.Fault{}
			})
			if _, err := backup.Write(t.Context(), s, b, progress()); err == nil {
				t.Fatalf("step %d: no error", step)
			}
			b.Inject(nil)
			l, err := backup.List(t.Context(), b)
			if err != nil {
				t.Fatal(err)
			}
			whole := 1
			if step == puts-1 && persisted {
				whole++ // the manifest is there: nothing is missing
			}
			if len(l.Whole) != whole || !slices.Contains(l.Whole, before.Name) {
				t.Errorf("step %d, persisted %v: %d whole snapshots: %v", step, persisted, len(l.Whole), l.Whole)
			}
		}
	}
	l, err := backup.List(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range l.Whole {
		m, err := backup.ReadManifest(t.Context(), b, name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := rows(t.Context(), m, b); err != nil || int64(len(got)) != m.RowCount() {
			t.Errorf("snapshot %s has %d rows, %v", name, len(got), err)
		}
	}
}

func TestOldAndTornSnapshotsAreRemoved(t *testing.T) {
	b := memory.Open()
	put := func(name, file string) {
		t.Helper()
		if err := b.Put(t.Context(), "snapshots/"+name+"/"+file, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	name := func(hour int) string { return fmt.Sprintf("20261126T%02d0000.000Z-0000000%d", hour, hour%10) }
	for hour := 10; hour < 20; hour++ {
		put(name(hour), "part-00000.jsonl.zst")
		if hour%2 == 0 { // the others are torn
			put(name(hour), "manifest.json")
		}
	}
	put("readme", "x") // not ours
	l, err := backup.List(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{name(18), name(16), name(14), name(12), name(10)}; !slices.Equal(l.Whole, want) {
		t.Fatalf("whole: %v, want %v", l.Whole, want)
	}
	if err := backup.Prune(t.Context(), b, l); err != nil {
		t.Fatal(err)
	}
	l, err = backup.List(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{name(18), name(16), name(14)}; !slices.Equal(l.Whole, want) {
		t.Errorf("whole: %v, want %v", l.Whole, want)
	}
	if want := []string{name(19), name(17), name(15)}; !slices.Equal(l.Torn, want) {
		t.Errorf("torn: %v, want %v", l.Torn, want)
	}
	if _, err := b.Get(t.Context(), "snapshots/readme/x", 0, -1); err != nil {
		t.Errorf("another's object: %v", err)
	}
}

// jobs is agents with the job, on one store and bucket.
type jobs struct {
	*testing.T
	store  *sqlite.Store
	bucket *objstoretest.Faulty
	// ahead is by how much the store's clock is.
	ahead time.Duration
	// back is why the store is no longer to be trusted.
	back error
}

// skewed is a store whose clock is ahead.
type skewed struct {
	*sqlite.Store
	ahead time.Duration
}

func (s skewed) Now(ctx context.Context) (time.Time, error) {
	now, err := s.Store.Now(ctx)
	return now.Add(s.ahead), err
}

func (s skewed) ExportSnapshot(ctx context.Context, visit func(metadata.SnapshotRow) error) error {
	return s.Store.ExportSnapshot(ctx, func(row metadata.SnapshotRow) error {
		if row.Head != nil {
			row.Head.At = row.Head.At.Add(s.ahead)
		}
		return visit(row)
	})
}

func newJobs(t *testing.T) *jobs {
	return &jobs{T: t, store: newStore(t), bucket: objstoretest.NewFaulty(memory.Open())}
}

// round runs a round of an agent of its own and returns how many objects it put.
func (j *jobs) round(interval time.Duration) (puts int, err error) {
	j.Helper()
	before := j.bucket.Calls(objstoretest.Put)
	err = j.roundOf(skewed{j.store, j.ahead}, interval)
	return j.bucket.Calls(objstoretest.Put) - before, err
}

// roundOf is a round of an agent that has the store.
func (j *jobs) roundOf(store backup.Store, interval time.Duration) error {
	job := backup.Job(store, j.bucket, func(context.Context) error { return j.back }, interval, uuid.New(), slog.New(slog.DiscardHandler))
	if more, err := job.Round(j.Context(), progress()); err != nil || more {
		return fmt.Errorf("more: %v, %w", more, err)
	}
	return nil
}

func (j *jobs) want(interval time.Duration, puts int) {
	j.Helper()
	if got, err := j.round(interval); err != nil || got != puts {
		j.Fatalf("%d puts, %v; want %d", got, err, puts)
	}
}

func (j *jobs) last() time.Time {
	j.Helper()
	at, ok, err := j.store.LastSnapshot(j.Context())
	if err != nil || !ok {
		j.Fatalf("last snapshot: %v, %v", ok, err)
	}
	return at
}

func TestSnapshotsComeAtTheirInterval(t *testing.T) {
	j := newJobs(t)
	j.want(time.Hour, 2) // a part and the manifest, at once: there is none
	addTopic(t, j.store, "t")
	j.want(time.Hour, 0)
	first := j.last()
	j.want(time.Nanosecond, 2)
	if !j.last().After(first) {
		t.Errorf("%v, then %v", first, j.last())
	}
}

// The next snapshot shows as due when it is, also if the job is paused by then.
func TestSnapshotThatNobodyTakesIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJobs(t)
		reg := prometheus.NewRegistry()
		p := maintenance.NewProgress("snapshot", rate.NewLimiter(rate.Inf, 1<<30), maintenance.NewMetrics(reg))
		job := backup.Job(j.store, j.bucket, func(context.Context) error { return nil }, time.Hour, uuid.New(), slog.New(slog.DiscardHandler))
		for range 2 { // one that writes it, one that only looks
			if _, err := job.Round(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Minute)
		}
		time.Sleep(time.Minute)
		want := "# HELP wadi_job_oldest_due_seconds How long the oldest work that is due has been so.\n" +
			"# TYPE wadi_job_oldest_due_seconds gauge\nwadi_job_oldest_due_seconds{name=\"snapshot\"} 60\n"
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "wadi_job_oldest_due_seconds"); err != nil {
			t.Error(err)
		}
	})
}

// A clock that was two hours ahead for a while has left snapshots of the future. The next one comes at once, not in two hours, and
// is the newest.
func TestClockThatWentBackHoldsNoSnapshotUp(t *testing.T) {
	j := newJobs(t)
	j.ahead = 2 * time.Hour
	for i := range backup.Kept {
		addTopic(t, j.store, fmt.Sprint("t", i))
		j.want(time.Nanosecond, 2)
	}
	j.ahead = 0
	for i := range 2 {
		addTopic(t, j.store, fmt.Sprint("u", i))
		j.want(time.Hour, 2*(1-i))
		if j.last().After(time.Now()) {
			t.Errorf("noted %v", j.last())
		}
	}
	j.want(time.Nanosecond, 2)
	l, m := newest(t, j.bucket)
	if state, err := j.store.SnapshotState(t.Context()); err != nil || m.State != state {
		t.Errorf("the newest of %v has the state %q, the store %q, %v", l.Whole, m.State, state, err)
	}
	if m.At.After(time.Now()) {
		t.Errorf("the newest is of %v", m.At)
	}
}

// What nobody changes is not written again. But deletion waits for a snapshot, and has it.
func TestIdleClusterPutsNothing(t *testing.T) {
	j := newJobs(t)
	addTopic(t, j.store, "t")
	j.want(time.Nanosecond, 2)
	first := j.last()
	for range 3 {
		j.want(time.Nanosecond, 0)
	}
	if !j.last().After(first) {
		t.Errorf("noted %v, then %v", first, j.last())
	}
	addTopic(t, j.store, "u")
	j.want(time.Nanosecond, 2)
}

// The newest snapshot is all that is left of what the store lost, and proves that it lost it.
func TestStoreThatWentBackInTimeIsNotWritten(t *testing.T) {
	j := newJobs(t)
	j.want(time.Nanosecond, 2)
	noted := j.last()
	addTopic(t, j.store, "t")
	j.back = errors.New("went back")
	if puts, err := j.round(time.Nanosecond); puts != 0 || !errors.Is(err, j.back) {
		t.Errorf("%d puts, %v", puts, err)
	}
	if !j.last().Equal(noted) {
		t.Errorf("noted %v, then %v", noted, j.last())
	}
}

// A snapshot that is there but can't be read is as good as none, also while nothing changes.
func TestUnreadableSnapshotIsReplaced(t *testing.T) {
	for name, damage := range map[string]struct {
		file    string
		content []byte // nil for none
	}{
		"damaged manifest": {"manifest.json", []byte("{")},
		"lost part":        {"part-00000.jsonl.zst", nil},
		"short part":       {"part-00000.jsonl.zst", []byte("x")},
	} {
		t.Run(name, func(t *testing.T) {
			j := newJobs(t)
			j.want(time.Nanosecond, 2)
			l, err := backup.List(t.Context(), j.bucket)
			if err != nil {
				t.Fatal(err)
			}
			key := "snapshots/" + l.Whole[0] + "/" + damage.file
			err = j.bucket.Delete(t.Context(), key)
			if err == nil && damage.content != nil {
				err = j.bucket.Put(t.Context(), key, damage.content)
			}
			if err != nil {
				t.Fatal(err)
			}
			j.want(time.Nanosecond, 2)
			j.want(time.Nanosecond, 0)
		})
	}
}

// Each step of a round fails, also after it was carried out: the next round writes what is missing, and nothing
// is noted before a snapshot is whole.
func TestRoundsThatDie(t *testing.T) {
	for _, op := range []objstoretest.Op{objstoretest.List, objstoretest.Put, objstoretest.Get, objstoretest.Delete} {
		for _, persisted := range []bool{false, true} {
			for call := 1; ; call++ {
				j := newJobs(t)
				for i := range backup.Kept + 1 {
					addTopic(t, j.store, fmt.Sprint("t", i))
					if _, err := backup.Write(t.Context(), j.store, j.bucket, progress()); err != nil {
						t.Fatal(err)
					}
				}
				addTopic(t, j.store, "new")
				n := 0
				j.bucket.Inject(func(called objstoretest.Op, _ string) objstoretest.Fault {
					if called != op {
						return objstoretest.Fault{}
					}
					if n++; n == call {
						return objstoretest.Fault{Err: errors.New("died"), Persisted: persisted}
					}
					return objstoretest.Fault{}
				})
				_, err := j.round(time.Nanosecond)
				j.bucket.Inject(nil)
				if n < call {
					break // there is no such step
				}
				if err == nil {
					t.Errorf("%s %d: no error", op, call)
				}
				if _, err := j.round(time.Nanosecond); err != nil {
					t.Errorf("%s %d: the round after: %v", op, call, err)
				}
				l, m := newest(t, j.bucket)
				state, err := j.store.SnapshotState(t.Context())
				if err != nil || m.State != state || len(l.Whole) != backup.Kept {
					t.Errorf("%s %d: %d snapshots, the newest of %q; the store is at %q, %v", op, call, len(l.Whole), m.State, state, err)
				}
			}
		}
	}
}

// step is one call of the metadata store.
type step struct {
	call string
	nth  int
}

// dying is a store of an agent that has trouble at a step: it fails there, before anything happens or when it
// has, or it is the last that the agent does.
type dying struct {
	skewed
	at                step
	persisted, killed bool
	calls             map[string]int
	reached           bool
}

var errDied = errors.New("died")

func (d *dying) try(call string, do func() error) error {
	d.calls[call]++
	if d.calls[call] != d.at.nth || call != d.at.call {
		if d.killed && d.reached {
			return errDied
		}
		return do()
	}
	d.reached = true
	if d.persisted {
		if err := do(); err != nil {
			return err
		}
	}
	return errDied
}

func (d *dying) Now(ctx context.Context) (at time.Time, err error) {
	err = d.try("Now", func() error { at, err = d.skewed.Now(ctx); return err })
	return at, err
}

func (d *dying) LastSnapshot(ctx context.Context) (at time.Time, ok bool, err error) {
	err = d.try("LastSnapshot", func() error { at, ok, err = d.skewed.LastSnapshot(ctx); return err })
	return at, ok, err
}

func (d *dying) AcquireLease(ctx context.Context, holder uuid.UUID, name string, period time.Duration) (ok bool, err error) {
	err = d.try("AcquireLease", func() error { ok, err = d.skewed.AcquireLease(ctx, holder, name, period); return err })
	return ok, err
}

func (d *dying) ReleaseLease(ctx context.Context, holder uuid.UUID, name string) error {
	return d.try("ReleaseLease", func() error { return d.skewed.ReleaseLease(ctx, holder, name) })
}

func (d *dying) SnapshotState(ctx context.Context) (state string, err error) {
	err = d.try("SnapshotState", func() error { state, err = d.skewed.SnapshotState(ctx); return err })
	return state, err
}

func (d *dying) ExportSnapshot(ctx context.Context, visit func(metadata.SnapshotRow) error) error {
	return d.try("ExportSnapshot", func() error { return d.skewed.ExportSnapshot(ctx, visit) })
}

func (d *dying) NoteSnapshot(ctx context.Context, at time.Time) error {
	return d.try("NoteSnapshot", func() error { return d.skewed.NoteSnapshot(ctx, at) })
}

// TestMetadataStoreThatFailsAtAnyStep of a round, or an agent that is killed there: another agent takes the snapshot, within a lease.
func TestMetadataStoreThatFailsAtAnyStep(t *testing.T) {
	steps := 0
	for _, call := range []string{"Now", "LastSnapshot", "AcquireLease", "SnapshotState", "ExportSnapshot", "NoteSnapshot", "ReleaseLease"} {
		for _, how := range []dying{{}, {persisted: true}, {killed: true}, {killed: true, persisted: true}} {
			for nth := 1; ; nth++ {
				reached := false
				synctest.Test(t, func(t *testing.T) {
					j := newJobs(t)
					for i := range backup.Kept {
						addTopic(t, j.store, fmt.Sprint("t", i))
						j.want(time.Nanosecond, 2)
						time.Sleep(time.Second)
					}
					addTopic(t, j.store, "new")
					store := how
					store.skewed, store.at, store.calls = skewed{Store: j.store}, step{call, nth}, map[string]int{}
					err := j.roundOf(&store, time.Nanosecond)
					if reached = store.reached; !reached {
						return
					}
					if !errors.Is(err, errDied) {
						t.Errorf("%+v: %v", store.at, err)
					}
					time.Sleep(time.Minute) // in which the lease of an agent that is gone runs out
					if _, err := j.round(time.Nanosecond); err != nil {
						t.Errorf("%+v: another agent: %v", store.at, err)
					}
					l, m := newest(t, j.bucket)
					state, err := j.store.SnapshotState(t.Context())
					if err != nil || m.State != state || len(l.Whole) != backup.Kept || len(l.Torn) > 0 {
						t.Errorf("%+v: snapshots %+v, the newest of %q; the store is at %q, %v", store.at, l, m.State, state, err)
					}
					if at := j.last(); at.Before(m.At) {
						t.Errorf("%+v: noted %v, the newest snapshot is of %v", store.at, at, m.At)
					}
				})
				if !reached {
					break // there is no such step
				}
				steps++
			}
		}
	}
	if steps < 4*7 {
		t.Errorf("%d steps", steps)
	}
}

// TestAgentsThatTakeSnapshotsAtOnce take turns by the lease: each snapshot is whole, and no more are kept than should be.
func TestAgentsThatTakeSnapshotsAtOnce(t *testing.T) {
	j := newJobs(t)
	for i := range 3 * backup.Kept {
		addTopic(t, j.store, fmt.Sprint("t", i))
		var agents sync.WaitGroup
		for range 4 {
			agents.Go(func() {
				if err := j.roundOf(skewed{Store: j.store}, time.Nanosecond); err != nil {
					t.Error(err)
				}
			})
		}
		agents.Wait()
		l, m := newest(t, j.bucket)
		state, err := j.store.SnapshotState(t.Context())
		if err != nil || m.State != state || len(l.Whole) > backup.Kept || len(l.Torn) > 0 {
			t.Errorf("snapshots %+v, the newest of %q; the store is at %q, %v", l, m.State, state, err)
		}
	}
}

// A minute in which the object store asks to slow down costs only time: no snapshot is noted meanwhile, and one
// comes soon after it, whole.
func TestStoreThatAsksToSlowDownIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJobs(t)
		j.want(time.Nanosecond, 2)
		noted := j.last()
		addTopic(t, j.store, "new")
		time.Sleep(time.Second)
		over := time.Now().Add(time.Minute)
		j.bucket.FailUntil(over, objstore.ErrSlowDown)
		for time.Now().Before(over) {
			if _, err := j.round(time.Nanosecond); !errors.Is(err, objstore.ErrSlowDown) {
				t.Fatalf("%v until the store answers again: %v", time.Until(over), err)
			}
			if !j.last().Equal(noted) {
				t.Errorf("noted %v, then %v", noted, j.last())
			}
			time.Sleep(10 * time.Second)
		}
		j.want(time.Nanosecond, 2)
		if state, err := j.store.SnapshotState(t.Context()); err != nil {
			t.Error(err)
		} else if _, m := newest(t, j.bucket); m.State != state {
			t.Errorf("the newest snapshot is of %q, the store at %q", m.State, state)
		}
	})
}

// newest lists the snapshots, and reads the manifest of the newest whole one.
func newest(t *testing.T, bucket objstore.Bucket) (backup.Listing, backup.Manifest) {
	t.Helper()
	l, err := backup.List(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	m, err := backup.ReadManifest(t.Context(), bucket, l.Whole[0])
	if err != nil {
		t.Fatal(err)
	}
	return l, m
}
