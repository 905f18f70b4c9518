package recovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/wadi-log/wadi/agent/maintenance/verify"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/protocol"
)

const (
	// readers is how many files are read at the same time, each into memory.
	readers = 8
	// wholeSize is up to which size a file is read at once, without a look at its footer before.
	wholeSize = 16 << 20
	// maxIndex is more than the index of any partition.
	maxIndex = 1 << 20
	// commitMargin is how long a commit may have been under way when the snapshot began.
	commitMargin = time.Minute
)

// scan is what the bucket has beside what the snapshot knows.
type scan struct {
	bucket objstore.Bucket
	state  *state
	report *Report
	tell   func(string)

	mu    sync.Mutex // guards what follows
	files []*file
	// sources are those of merged files, with their commits' numbers.
	sources map[uuid.UUID]int64
	read    int
}

// look lists the bucket, and reads every data file that may have been committed after the snapshot.
func look(ctx context.Context, bucket objstore.Bucket, s *state, report *Report, tell func(string)) (*scan, error) {
	l := &scan{bucket: bucket, state: s, report: report, tell: tell, sources: map[uuid.UUID]int64{}}
	unknown, err := l.list(ctx)
	if err != nil {
		return nil, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for _, object := range unknown {
		group.Go(func() error {
			if err := l.readFile(ctx, object); err != nil {
				return fmt.Errorf("read %s: %w", object.Key, err)
			}
			l.progress(len(unknown))
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	l.prove()
	return l, nil
}

// list returns the objects to read, and reports those that are missing.
func (l *scan) list(ctx context.Context) (unknown []objstore.ObjectInfo, err error) {
	missing := make(map[uuid.UUID]struct{}, len(l.state.live))
	for id := range l.state.live {
		missing[id] = struct{}{}
	}
	// A younger file can't have been committed when the snapshot began.
	oldest := l.state.head.At.Add(-metadata.MaxFileAge - commitMargin)
	err = l.bucket.List(ctx, "data/", func(o objstore.ObjectInfo) error {
		// What has another key is none of ours.
		if id, err := datafile.ParseKey(o.Key); err == nil {
			delete(missing, id)
			if l.sort(id, oldest) {
				unknown = append(unknown, o)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list data files: %w", err)
	}
	for id := range missing {
		l.report.Missing = append(l.report.Missing, MissingFile{ID: id, Ranges: []MissingRange{}})
	}
	slices.SortFunc(l.report.Missing, func(a, b MissingFile) int { return slices.Compare(a.ID[:], b.ID[:]) })
	l.tell(fmt.Sprintf("listed %d data files: %d are in the snapshot, %d are newer", l.report.Files.Listed, l.report.Files.Known, len(unknown)))
	return unknown, nil
}

// sort counts a listed file, and tells whether it must be read.
func (l *scan) sort(id uuid.UUID, oldest time.Time) bool {
	if l.report.Files.Listed++; l.report.Files.Listed%100_000 == 0 {
		l.tell(fmt.Sprintf("listed %d data files", l.report.Files.Listed))
	}
	switch {
	case l.state.knows(id):
		l.report.Files.Known++
	case datafile.IDTime(id).Before(oldest):
		l.report.Files.Orphans++
	default:
		return true
	}
	return false
}

func (l *scan) progress(of int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.read++; l.read%1000 == 0 || l.read == of {
		l.tell(fmt.Sprintf("read %d of %d newer data files", l.read, of))
	}
}

// readFile reads one object. What is wrong with it is reported, and no error.
func (l *scan) readFile(ctx context.Context, o objstore.ObjectInfo) error {
	content, footer, err := l.open(ctx, o)
	if errors.Is(err, objstore.ErrNotFound) {
		return nil // somebody swept it since
	}
	if errors.Is(err, datafile.ErrCorrupt) || errors.Is(err, datafile.ErrVersion) {
		l.damaged(DamagedFile{Key: o.Key, Problem: err.Error()})
		return nil
	}
	if err != nil {
		return err
	}
	if merged(footer) {
		l.mergedFile(footer)
		return nil
	}
	f := &file{id: footer.ID, size: footer.Size}
	for c, err := range footer.Contents(content) {
		s, problem := readSection(c, err)
		if problem != nil {
			l.damaged(DamagedFile{Key: o.Key, TopicID: &c.TopicID, Partition: c.Partition, Problem: problem.Error()})
			continue
		}
		f.sections = append(f.sections, s)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.files = append(l.files, f)
	return nil
}

// open reads the footer, and the whole file unless it is a merged one.
func (l *scan) open(ctx context.Context, o objstore.ObjectInfo) ([]byte, datafile.Footer, error) {
	if o.Size > wholeSize {
		footer, err := datafile.Open(ctx, ranges{l.bucket, o.Key}, o.Size)
		if err != nil || merged(footer) {
			return nil, footer, err
		}
	}
	content, err := l.bucket.Get(ctx, o.Key, 0, -1)
	if err != nil {
		return nil, datafile.Footer{}, err
	}
	footer, err := datafile.ReadFooter(content)
	if err == nil && datafile.Key(footer.ID) != o.Key {
		err = fmt.Errorf("%w: it is file %s", datafile.ErrCorrupt, footer.ID)
	}
	return content, footer, err
}

// ranges reads an object by ranges, for package datafile.
type ranges struct {
	bucket objstore.Bucket
	key    string
}

// ReadRange implements datafile.RangeReader.
func (r ranges) ReadRange(ctx context.Context, offset, length int64) ([]byte, error) {
	return r.bucket.Get(ctx, r.key, offset, length)
}

func merged(f datafile.Footer) bool {
	return slices.ContainsFunc(f.Sections, func(s datafile.Section) bool { return s.Merged })
}

func (l *scan) mergedFile(f datafile.Footer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Files.Merged++
	for _, s := range f.Sources {
		l.sources[s.FileID] = s.Seq
	}
}

func (l *scan) damaged(d DamagedFile) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Damaged = append(l.report.Damaged, d)
}

// readSection makes of a section what the sequencer needs to know of it.
func readSection(c datafile.Content, err error) (section, error) {
	if err != nil {
		return section{}, err
	}
	if c.Partition >= maxIndex {
		return section{}, fmt.Errorf("there is no partition %d", c.Partition)
	}
	s := section{topic: c.TopicID, index: c.Partition, Append: metadata.Append{
		Encoding: metadata.Encoding(c.Encoding), Position: c.Position, StoredSize: c.StoredSize,
	}}
	problems := verify.Section(c, func(_ int, b protocol.Batch) {
		s.Batches = append(s.Batches, metadata.Batch{
			Size: int32(b.Size()), Records: b.LastOffsetDelta() + 1, MaxTimestamp: b.MaxTimestamp(),
			ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence(), Transactional: b.IsTransactional(),
		})
	})
	return s, errors.Join(problems...)
}

// prove gives files the numbers of their commits, where merged files tell.
func (l *scan) prove() {
	for _, f := range l.files {
		if seq, ok := l.sources[f.id]; ok {
			f.seq, f.proven = seq, true
			if seq > 0 {
				l.report.Files.ByCommit++
			}
		}
	}
	l.report.Files.Restored = len(l.files)
	slices.SortFunc(l.report.Damaged, func(a, b DamagedFile) int {
		if a.Key != b.Key {
			return slices.Compare([]byte(a.Key), []byte(b.Key))
		}
		return int(a.Partition) - int(b.Partition)
	})
}
