package produce

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/time/rate"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore/datafile"
)

// Config paces the write path.
type Config struct {
	// FlushInterval bounds how long a record waits in the open file while
	// other files are being uploaded. With none under way it ships at once.
	FlushInterval time.Duration
	// FlushBytes seals a file that holds as much.
	FlushBytes int64
	// PutRate is how many files a second may ship before they are full; 0 is
	// no limit. Full files always ship: they cost least per byte.
	PutRate float64
	// Uploads is the number of files uploaded at the same time.
	Uploads int
	// Compression of uncompressed batches inside data files.
	Compression datafile.Compression
}

// maxRecords seals a file by its record count, and bounds that of a request: a
// section's count is an int32 in the file format.
const maxRecords = 1 << 30

// ErrStopped answers what comes after Drain.
var ErrStopped = errors.New("agent is stopping")

// ErrFileFailed answers batches whose data file, or one before it, failed for
// good; see the package's guarantee on order. Nothing of the file was committed.
var ErrFileFailed = errors.New("data file failed")

// Putter is what the write path needs of the object store.
type Putter interface {
	Put(ctx context.Context, key string, body []byte) error
}

// Committer is what the write path needs of the metadata store.
type Committer interface {
	CommitFiles(ctx context.Context, files []metadata.File) (metadata.CommitResult, error)
}

// Committed is told of files that were committed, before their waiters are:
// who reads after an acknowledgement finds the records. It takes over body,
// which nobody changes any more.
type Committed func(files []metadata.File, bodies [][]byte, commits []metadata.Commit)

// Accumulator collects the batches of all producers into data files, ships
// them at the pace of its Config, and commits them in order.
//
// Three goroutines share the work: the pacer seals and launches uploads, the
// uploads run side by side, the committer takes the uploaded files in the
// order they were sealed. One mutex guards the open file and the queue of
// sealed ones; it is never held across I/O.
type Accumulator struct {
	config    Config
	bucket    Putter
	store     Committer
	committed Committed
	metrics   *Metrics
	log       *slog.Logger
	limiter   *rate.Limiter

	mu       sync.Mutex
	open     *file
	failing  bool    // by failQueue: nothing is launched
	sealed   []*file // sealed, upload not launched
	inFlight []*file // launched, not finished, in the order of their sealing
	hurried  bool    // files ship at once
	stopping bool

	paceKick, commitKick chan struct{}
	slots                chan struct{}
	running              sync.WaitGroup
	// hard ends I/O; Drain cancels it when its time is over.
	hard context.Context
	kill context.CancelFunc
}

// NewAccumulator starts the goroutines of the write path; Drain ends them.
func NewAccumulator(config Config, bucket Putter, store Committer, committed Committed, metrics *Metrics, log *slog.Logger) *Accumulator {
	limit := rate.Inf
	if config.PutRate > 0 {
		limit = rate.Limit(config.PutRate)
	}
	hard, kill := context.WithCancel(context.Background())
	a := &Accumulator{
		config: config, bucket: bucket, store: store, committed: committed, metrics: metrics, log: log,
		limiter:  rate.NewLimiter(limit, max(1, int(config.PutRate))),
		paceKick: make(chan struct{}, 1), commitKick: make(chan struct{}, 1),
		slots: make(chan struct{}, max(1, config.Uploads)),
		hard:  hard, kill: kill,
	}
	a.running.Go(a.pace)
	a.running.Go(a.commitInOrder)
	return a
}

// Add appends the entries of one request to the open file, in order and never
// split over two files. release is called once when the entries' bytes are no
// longer needed, also after an error. The entries must not be changed any more.
func (a *Accumulator) Add(entries []Entry, release func()) (Ticket, error) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopping {
		release()
		return Ticket{}, ErrStopped
	}
	if a.open == nil {
		a.open = newFile(now)
	}
	t := a.open.add(entries, release)
	if a.open.bytes >= a.config.FlushBytes || a.open.records >= maxRecords {
		a.sealed = append(a.sealed, a.open)
		a.open = nil
	}
	kick(a.paceKick)
	return t, nil
}

// pace launches sealed files, and seals the open one when it is due.
func (a *Accumulator) pace() {
	for {
		// The slot comes first: while all uploads are busy, the open file goes
		// on growing, which makes fewer and larger files under load.
		select {
		case a.slots <- struct{}{}:
		case <-a.hard.Done():
			a.failAll(ErrStopped)
			return
		}
		f := a.awaitDue()
		if f == nil {
			<-a.slots
			kick(a.commitKick)
			return
		}
		a.running.Go(func() {
			a.upload(f)
			f.cancelUpload()
			<-a.slots
			kick(a.paceKick)
			kick(a.commitKick)
		})
	}
}

// awaitDue waits for the next file to upload and moves it to those in flight.
// It returns nil when the accumulator has stopped and nothing is left.
func (a *Accumulator) awaitDue() *file {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		a.mu.Lock()
		f, wait := a.due(time.Now())
		if f != nil {
			f.uploadCtx, f.cancelUpload = context.WithTimeout(a.hard, uploadTimeout)
			f.commit.ID, f.err = uuid.NewV7() // here, so that IDs rise in the order of commits
			a.inFlight = append(a.inFlight, f)
		}
		stopped := a.stopping && a.open == nil && len(a.sealed) == 0
		a.mu.Unlock()
		if f != nil || stopped {
			return f
		}
		timer.Reset(wait)
		select {
		case <-a.paceKick:
		case <-timer.C:
		case <-a.hard.Done():
			a.failAll(ErrStopped)
			return nil
		}
	}
}

// due returns the file to ship now, taken out of its place, or how long to
// wait if nothing happens before. a.mu is held.
func (a *Accumulator) due(now time.Time) (*file, time.Duration) {
	if a.failing {
		return nil, time.Hour
	}
	if len(a.sealed) > 0 {
		f := a.sealed[0]
		a.sealed = a.sealed[1:]
		a.limiter.AllowN(now, 1) // full files pay if they can, and never wait
		return f, 0
	}
	if a.open == nil {
		return nil, time.Hour
	}
	if age := now.Sub(a.open.opened); !a.hurried && len(a.inFlight) > 0 && age < a.config.FlushInterval {
		return nil, a.config.FlushInterval - age
	}
	if r := a.limiter.ReserveN(now, 1); !a.hurried && r.DelayFrom(now) > 0 {
		wait := r.DelayFrom(now)
		r.CancelAt(now)
		return nil, wait
	}
	f := a.open
	a.open = nil
	return f, 0
}

// failAll fails what was accumulated and not launched. a.mu is not held.
func (a *Accumulator) failAll(err error) {
	a.mu.Lock()
	files := a.sealed
	if a.open != nil {
		files = append(files, a.open)
	}
	a.open, a.sealed = nil, nil
	a.mu.Unlock()
	for _, f := range files {
		f.finish(metadata.FileResult{}, err)
	}
	kick(a.commitKick)
}

// Hurry ships files without regard for the pace from now on: connections wait for them
// that are to be closed. Entries are taken as before.
func (a *Accumulator) Hurry() {
	a.mu.Lock()
	a.hurried = true
	a.mu.Unlock()
	kick(a.paceKick)
}

// Drain takes no more entries, ships and commits what there is, and ends the
// goroutines. When ctx ends first, what is left fails and ctx's error is returned.
func (a *Accumulator) Drain(ctx context.Context) error {
	a.mu.Lock()
	a.hurried, a.stopping = true, true
	a.mu.Unlock()
	kick(a.paceKick)
	kick(a.commitKick)
	done := make(chan struct{})
	go func() {
		a.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		a.kill()
		return nil
	case <-ctx.Done():
		a.kill()
		<-done
		return ctx.Err()
	}
}

// kick wakes the goroutine that listens on the channel, or lets it know that
// there is something new if it is busy.
func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
