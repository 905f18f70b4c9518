package fsck

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/agent/maintenance/backup"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
)

// Store is what a check asks of the metadata store.
type Store interface {
	metadata.Inspection
	ClusterID(ctx context.Context) (string, error)
	ListTopics(ctx context.Context) ([]metadata.Topic, int64, error)
	Now(ctx context.Context) (time.Time, error)
	LastSnapshot(ctx context.Context) (at time.Time, ok bool, err error)
	backup.Commits
	ForgetFiles(ctx context.Context, ids []uuid.UUID) error
}

// Options say how to check.
type Options struct {
	// Deep reads every section that has a row, and checks all of it.
	Deep bool
	// Repair deletes orphans, and files that have been dead for the grace period, and
	// corrects what files count. A deep one gives files back to merges that can be read again.
	Repair bool
	Grace  time.Duration
	// Parallel is how many files are looked at at the same time. In a deep check each takes the memory
	// of its largest section, stored and decoded.
	Parallel int
	// Progress, which may be nil, is told now and then how far the check is, by one goroutine at a time.
	Progress func(Progress)
}

// MaxFindings bounds how many findings of a kind are listed.
const MaxFindings = 1000

// Progress is how far a check is.
type Progress struct {
	// Step is "index", "objects" or "files".
	Step string
	// Done counts rows, objects or files.
	Done int64
	// Findings counts what was found.
	Findings int64
}

const (
	// orphanAge is how long the hour of an object's ID must be over before the object can be an
	// orphan. Files whose IDs are older than metadata.MaxFileAge are refused, both by the store's clock.
	orphanAge = time.Hour
	// overdueAge is how much longer than the grace period a dead file may wait without being a finding:
	// jobs run at intervals, and wait for snapshots.
	overdueAge = 24 * time.Hour
	// snapshotMargin is how much earlier than a snapshot a file must have died: a file's death is dated at the
	// beginning of its transaction, and seen by others at its end.
	snapshotMargin = time.Minute
	// slice is how many rows, objects or files are asked for at a time.
	slice = 1000
)

// check is one check under way.
type check struct {
	store   Store
	bucket  objstore.Bucket
	options Options
	topics  *topics

	// snapshot is when the newest snapshot was made: what died since may be in it. Zero: it may have any file.
	snapshot    time.Time
	hasSnapshot bool

	// Only the goroutine of Run touches these.
	//
	// named are the files that rows name and the store doesn't know: no orphans.
	named map[uuid.UUID]bool
	// misfits are the files whose objects have another size, which is this.
	misfits map[uuid.UUID]int64
	// suspects are the files whose counts seem wrong.
	suspects []uuid.UUID
	leftover map[metadata.PartitionID]bool
	// lastSeq is how many changes the store had when it was last asked before a repair.
	lastSeq int64

	mu     sync.Mutex
	report Report
	// bad are files with which something is wrong.
	bad    map[uuid.UUID]bool
	listed map[Kind]int
}

// Run checks the bucket against the store. An error means that the check could not be
// done; the report has what was found until then.
func Run(ctx context.Context, store Store, bucket objstore.Bucket, options Options) (Report, error) {
	c := &check{
		store: store, bucket: bucket, options: options, topics: newTopics(store),
		named: map[uuid.UUID]bool{}, misfits: map[uuid.UUID]int64{}, leftover: map[metadata.PartitionID]bool{},
		listed: map[Kind]int{}, bad: map[uuid.UUID]bool{},
	}
	c.report = Report{Deep: options.Deep, Repair: options.Repair, ByKind: map[Kind]int64{}, Findings: []Finding{}}
	err := c.run(ctx)
	c.report.sort()
	return c.report, err
}

func (c *check) run(ctx context.Context) (err error) {
	if c.report.ClusterID, err = c.store.ClusterID(ctx); err != nil {
		return err
	}
	if err := objstore.CheckOwner(ctx, c.bucket, c.report.ClusterID); err != nil {
		return err
	}
	if c.report.StartedAt, err = c.store.Now(ctx); err != nil {
		return err
	}
	if err := c.findSnapshot(ctx); err != nil {
		return err
	}
	if err := c.onward(ctx); err != nil {
		return err
	}
	// The order matters: what rows name is known before orphans are looked for, and
	// which objects have another size before their footers are read.
	for _, step := range []func(context.Context) error{c.checkIndex, c.checkObjects, c.checkFiles, c.checkCounts} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	c.report.EndedAt, err = c.store.Now(ctx)
	return err
}

// onward fails before a repair if the metadata store has gone back in time: behind the newest snapshot in the bucket, or
// behind what this check has seen of it. What an old copy of the store doesn't know is no orphan, and what it takes for dead may be in
// use. A check takes long, and the store that answers may become another one, so each batch of deletes is asked for anew.
func (c *check) onward(ctx context.Context) error {
	if !c.options.Repair {
		return nil
	}
	if err := backup.CheckNotBehind(ctx, c.store, c.bucket); err != nil {
		return err
	}
	last, err := c.store.LastSeq(ctx)
	if err != nil {
		return fmt.Errorf("ask the metadata store how far it is: %w", err)
	}
	if last < c.lastSeq {
		return fmt.Errorf("%w: the metadata store had %d changes, and then %d: it went back in time under this check, which repairs nothing more",
			objstore.ErrConfig, c.lastSeq, last)
	}
	c.lastSeq = last
	return nil
}

// findSnapshot finds out when the newest snapshot was begun. A store that was recovered knows of none before it has one
// of its own; until then it must be possible to recover it once more.
func (c *check) findSnapshot(ctx context.Context) (err error) {
	defer func() {
		if c.snapshot.After(c.report.StartedAt) {
			c.snapshot = time.Time{} // the clock went back since
		}
	}()
	if c.snapshot, c.hasSnapshot, err = c.store.LastSnapshot(ctx); err != nil || c.hasSnapshot {
		return err
	}
	l, err := backup.List(ctx, c.bucket)
	if err != nil || len(l.Whole) == 0 {
		return err
	}
	c.hasSnapshot = true
	m, err := backup.ReadManifest(ctx, c.bucket, l.Whole[0])
	if errors.Is(err, backup.ErrDamaged) || errors.Is(err, backup.ErrVersion) || errors.Is(err, backup.ErrNoSnapshot) {
		return nil // it may name any file
	}
	c.snapshot = m.At
	return err
}

// find adds a finding.
func (c *check) find(f Finding) {
	f.Severity = severities[f.Kind]
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.ByKind[f.Kind]++
	if c.listed[f.Kind]++; c.listed[f.Kind] <= MaxFindings {
		c.report.Findings = append(c.report.Findings, f)
	}
}

// ofFile makes a finding about a file, and the records that lie in the runs.
func (c *check) ofFile(ctx context.Context, kind Kind, id uuid.UUID, runs []metadata.Run, format string, args ...any) (Finding, error) {
	f := Finding{Kind: kind, Key: datafile.Key(id), File: &id, Detail: fmt.Sprintf(format, args...)}
	for i := 0; i < len(runs); {
		end := runs[i].NextOffset()
		j := i + 1
		for ; j < len(runs) && runs[j].Partition == runs[i].Partition && runs[j].BaseOffset <= end; j++ {
			end = max(end, runs[j].NextOffset())
		}
		if len(f.Hit) == MaxHit {
			f.MoreHit++
		} else {
			hit, err := c.topics.offsets(ctx, runs[i].Partition, runs[i].BaseOffset, end)
			if err != nil {
				return f, err
			}
			f.Hit = append(f.Hit, hit)
		}
		i = j
	}
	return f, nil
}

func (c *check) progress(step string, done int64) {
	if c.options.Progress == nil {
		return
	}
	c.mu.Lock()
	found := c.report.Total()
	c.mu.Unlock()
	c.options.Progress(Progress{Step: step, Done: done, Findings: found})
}
