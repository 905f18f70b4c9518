package recovery

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/agent/maintenance/backup"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
)

// Unfinished says what becomes of transactions whose end nobody knows.
type Unfinished string

const (
	// Undecided: if there are any, nothing is restored.
	Undecided Unfinished = ""
	Abort     Unfinished = "abort"
	Commit    Unfinished = "commit"
)

// ErrUnfinished: there are transactions of which nobody knows how they ended, and it was not
// said what shall become of them. Nothing was changed; the report has them.
var ErrUnfinished = errors.New("transactions without an end")

// Options says what to recover.
type Options struct {
	// Snapshot is the name of one, "" for the newest that can be read.
	Snapshot   string
	Unfinished Unfinished
	// Names are those of topics that the snapshot doesn't know, by their IDs.
	Names map[uuid.UUID]string
	// DryRun changes nothing, and needs no store.
	DryRun bool
	// Tell, if it isn't nil, is told how far the recovery is.
	Tell func(string)
}

// Recover fills the store, which must be empty, with what the bucket has. store is nil for a dry run. The
// report tells what there was also with an error, as far as it came. Errors: backup.ErrNoSnapshot,
// backup.ErrDamaged and backup.ErrVersion if no snapshot can be read, ErrUnfinished, metadata.ErrStoreNotEmpty, those of the bucket and of
// the store; with metadata.ErrOutcomeUnknown all may be done. After any other, nothing is.
func Recover(ctx context.Context, store metadata.Snapshots, bucket objstore.Bucket, p *maintenance.Progress, o Options) (*Report, error) {
	report := &Report{
		DryRun: o.DryRun, Topics: []*TopicReport{}, Transactions: []TransactionReport{}, Missing: []MissingFile{}, Damaged: []DamagedFile{},
	}
	if o.Tell == nil {
		o.Tell = func(string) {}
	}
	manifest, s, err := choose(ctx, bucket, p, o, report)
	if err != nil {
		return report, err
	}
	if err := checkNames(s, o.Names); err != nil {
		return report, err
	}
	found, err := look(ctx, bucket, s, report, o.Tell)
	if err != nil {
		return report, err
	}
	r := newReplay(s, order(found.files), o.Names, report)
	if err := r.run(); err != nil {
		return report, err
	}
	rows := r.rows(manifest.Rows(ctx, bucket, p))
	if err := r.decideTransactions(o); err != nil {
		return report, err
	}
	r.finish()
	if o.DryRun {
		// To the end: it has the ranges of missing files.
		for _, err := range rows {
			if err != nil {
				return report, err
			}
		}
		return report, nil
	}
	o.Tell(fmt.Sprintf("writing %d rows of the snapshot and %d newer ones", s.rows, len(r.files)+len(r.runs)))
	return report, store.ImportSnapshot(ctx, rows)
}

// choose reads the snapshot that was asked for, or the newest. If that can't be read, an older one may do, with what was
// set and committed since lost: the operator decides.
func choose(ctx context.Context, bucket objstore.Bucket, p *maintenance.Progress, o Options, report *Report) (backup.Manifest, *state, error) {
	l, err := backup.List(ctx, bucket)
	if err != nil {
		return backup.Manifest{}, nil, err
	}
	name := o.Snapshot
	if name == "" {
		if len(l.Whole) == 0 {
			return backup.Manifest{}, nil, fmt.Errorf("%w of a metadata store is whole in the object store (%d are torn)", backup.ErrNoSnapshot, len(l.Torn))
		}
		name = l.Whole[0]
	}
	m, err := backup.ReadManifest(ctx, bucket, name)
	if err != nil {
		return m, nil, offer(err, name, l)
	}
	s, err := readState(m.Rows(ctx, bucket, p))
	if err != nil {
		return m, nil, offer(err, name, l)
	}
	if err := goOnBehind(ctx, bucket, l, m, s); err != nil {
		return m, nil, err
	}
	report.Snapshot = SnapshotReport{Name: name, At: m.At, ClusterID: m.ClusterID, Rows: s.rows}
	o.Tell(fmt.Sprintf("read snapshot %s: %d rows", name, s.rows))
	return m, s, nil
}

// goOnBehind has the store go on from where the newest snapshot was, also if it is made of an older one: agents refuse a
// store that is behind that.
func goOnBehind(ctx context.Context, bucket objstore.Bucket, l backup.Listing, chosen backup.Manifest, s *state) error {
	if len(l.Whole) == 0 || l.Whole[0] == chosen.Name {
		return nil
	}
	newest, err := backup.ReadManifest(ctx, bucket, l.Whole[0])
	if errors.Is(err, backup.ErrDamaged) || errors.Is(err, backup.ErrVersion) || errors.Is(err, backup.ErrNoSnapshot) {
		return nil // agents can't read it either
	}
	s.head.LastSeq = max(s.head.LastSeq, newest.LastSeq)
	return err
}

// offer names the other snapshots to whoever can't have the one.
func offer(err error, name string, l backup.Listing) error {
	others := slices.DeleteFunc(slices.Clone(l.Whole), func(other string) bool { return other == name })
	if len(others) == 0 || !errors.Is(err, backup.ErrDamaged) && !errors.Is(err, backup.ErrNoSnapshot) && !errors.Is(err, backup.ErrVersion) {
		return err
	}
	return fmt.Errorf("%w; there are others, the newest first: %s", err, strings.Join(others, ", "))
}

// checkNames refuses names that the topics of the snapshot have, and topics that have one.
func checkNames(s *state, names map[uuid.UUID]string) error {
	// Kafka's rule: names that differ only in '.' and '_' collide.
	collision := func(name string) string { return strings.ReplaceAll(name, ".", "_") }
	taken := map[string]string{}
	for _, t := range s.topics {
		taken[collision(t.Name)] = t.Name
	}
	for id, name := range names {
		if t, known := s.topics[id]; known {
			return fmt.Errorf("topic %s is in the snapshot, as %q", id, t.Name)
		}
		if other, ok := taken[collision(name)]; ok {
			return fmt.Errorf("%w: %q, for topic %s", metadata.ErrTopicExists, other, id)
		}
		taken[collision(name)] = name
	}
	return nil
}

// decideTransactions ends what is open, as the operator says.
func (r *replay) decideTransactions(o Options) error {
	if len(r.open) == 0 {
		return nil
	}
	if o.Unfinished == Undecided {
		if o.DryRun {
			return nil
		}
		return fmt.Errorf("%w: %d", ErrUnfinished, len(r.open))
	}
	r.report.TransactionsEnded = string(o.Unfinished)
	r.end(o.Unfinished == Commit, time.Now().UTC().Truncate(time.Microsecond))
	return nil
}

// rows yields the restored store: what is in memory, and the snapshot's rows of files and runs, which come from the bucket
// once more, with those that were added behind them.
func (r *replay) rows(snapshot iter.Seq2[metadata.SnapshotRow, error]) iter.Seq2[metadata.SnapshotRow, error] {
	return func(yield func(metadata.SnapshotRow, error) bool) {
		if !r.state.small(func(row metadata.SnapshotRow) bool { return yield(row, nil) }) {
			return
		}
		missing := newMissing(r.report.Missing, r.places)
		files := r.files
		addFiles := func() bool {
			for ; len(files) > 0; files = files[1:] {
				if !yield(metadata.SnapshotRow{File: &files[0]}, nil) {
					return false
				}
			}
			return true
		}
		for row, err := range snapshot {
			if row.File == nil && row.Run == nil && err == nil {
				continue // it is in memory
			}
			if row.Run != nil {
				if missing.note(row.Run); !addFiles() {
					return
				}
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
		if !addFiles() {
			return
		}
		for _, run := range r.runs {
			row := snapshotRun(run)
			if !yield(metadata.SnapshotRow{Run: &row}, nil) {
				return
			}
		}
	}
}

func snapshotRun(r metadata.Run) metadata.SnapshotRun {
	return metadata.SnapshotRun{
		Partition: r.Partition, BaseOffset: r.BaseOffset, Records: r.Records, File: r.FileID, Encoding: r.Encoding,
		Position: r.Position, StoredSize: r.StoredSize, Skip: r.Skip, Size: r.Size, MaxTimestamp: r.MaxTimestamp, Merged: r.Merged,
	}
}

// missing finds out what files had that are not there.
type missing struct {
	files  map[uuid.UUID]*MissingFile
	places map[metadata.PartitionID]place
}

func newMissing(files []MissingFile, places map[metadata.PartitionID]place) missing {
	m := missing{map[uuid.UUID]*MissingFile{}, places}
	for i := range files {
		files[i].Ranges = []MissingRange{}
		m.files[files[i].ID] = &files[i]
	}
	return m
}

func (m missing) note(run *metadata.SnapshotRun) {
	f, ok := m.files[run.File]
	if !ok {
		return
	}
	// Those of deleted topics are no loss.
	if at, ok := m.places[run.Partition]; ok {
		f.Ranges = append(f.Ranges, MissingRange{at.topic.Name, at.index, run.BaseOffset, run.BaseOffset + int64(run.Records)})
	}
}
