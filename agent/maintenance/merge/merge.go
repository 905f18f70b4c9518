package merge

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/agent/maintenance/rewrite"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
)

const (
	// files0 is how many files from producers make a merge, filesN how many of the higher levels.
	files0 = 64
	filesN = 128
	// bytes0 and bytesN are likewise, in files of the size that merges write.
	bytes0 = 4
	bytesN = 128
	// flushes0 is how many full files from producers a merge takes at least: fewer are not worth it.
	flushes0 = 8
	// behind is how many files that are due are more than merges at their usual pace should leave.
	behind = 4 * files0
	// newFirst: where they are, all rounds but one in so many begin with new files.
	newFirst = 4
	// claimFor is how long a claim outlives its agent.
	claimFor = time.Minute
	// interleaveEvery is what Merger.interleaveEvery is outside tests.
	interleaveEvery = 5 * time.Second
	// lookEvery is the mean time between two rounds that find nothing due.
	lookEvery = 5 * time.Second
	// sparseEvery is how often sparse files are looked for at most while there are none: Postgres reads all files for it.
	sparseEvery = time.Minute
	// setAside is for how long no merge takes a file again that one could not read, for a reason that should pass.
	setAside = 5 * time.Minute
	// suspectFor is for how long a file that could not be read and was not met since stays under suspicion.
	suspectFor = time.Hour
	// callTimeout bounds one call of the metadata store.
	callTimeout = time.Minute
	// releaseTimeout bounds what a stopping agent waits for.
	releaseTimeout = 2 * time.Second
)

// Config says when to merge, and into what.
type Config struct {
	// After is how long a file from producers waits at most.
	After time.Duration
	// FlushBytes is the size of full files from producers.
	FlushBytes int64
	// FileBytes is about the size of the files to write.
	FileBytes int64
	// MemoryBytes is about what a merge takes, whatever the number of partitions: at least 4 * FileBytes.
	MemoryBytes int64
	Compression datafile.Compression
	// Behind, if set, is told after each round whether merges are far behind.
	Behind func(behind bool)
}

// window is how many bytes are read at a time. Beside it there are two open files, with what their
// buffers have to spare, and the rows of up to two claims.
func (c Config) window() int64 { return c.MemoryBytes / 8 }

// rows bounds those of a claim: with what is planned of it, a row takes about 200 bytes.
func (c Config) rows() int { return int(min(max(c.MemoryBytes/1200, 10_000), 200_000)) }

// Store is what merging asks of the metadata store.
type Store interface {
	rewrite.Store
	ClaimFiles(ctx context.Context, claim metadata.FileClaim) ([]metadata.ClaimedFile, error)
	RenewFiles(ctx context.Context, holder uuid.UUID, files []uuid.UUID, period time.Duration) (bool, error)
	ReleaseFiles(ctx context.Context, holder uuid.UUID, files []uuid.UUID, settle bool) error
	MergeBacklog(ctx context.Context) ([]metadata.LevelBacklog, error)
	ListTopics(ctx context.Context) (topics []metadata.Topic, seq int64, err error)
	metadata.Log
}

// Merger merges files. Its rounds are for one goroutine.
type Merger struct {
	config  Config
	bucket  objstore.Bucket
	store   Store
	metrics *Metrics
	log     *slog.Logger
	// claims are the kinds of merges; next is the one to look for first.
	claims []metadata.FileClaim
	next   int
	// interleaveEvery is how often a long merge looks whether new files are due meanwhile.
	interleaveEvery time.Duration
	// sparseEvery is what the constant says, outside tests; sparseAt is when to look for them again.
	sparseEvery time.Duration
	sparseAt    time.Time
	// suspects are files that could not be read the last time, for a reason that should pass, and when that was.
	suspects map[uuid.UUID]time.Time
	// setAside is what the constant says, outside tests.
	setAside time.Duration
	// told: it is known what waits. hurried counts the times since merges fell behind, 0 while they aren't.
	told    bool
	hurried int
}

// New returns a merger.
func New(config Config, bucket objstore.Bucket, store Store, metrics *Metrics, log *slog.Logger) *Merger {
	m := &Merger{
		config: config, bucket: bucket, store: store, metrics: metrics, log: log,
		interleaveEvery: interleaveEvery, sparseEvery: sparseEvery, suspects: map[uuid.UUID]time.Time{}, setAside: setAside,
	}
	for level := range int16(metadata.MaxFileLevel) {
		claim := metadata.FileClaim{Level: level, MaxFiles: filesN, MaxBytes: bytesN * config.FileBytes}
		if level == 0 {
			claim.MaxFiles, claim.MaxBytes, claim.Due = files0, max(bytes0*config.FileBytes, flushes0*config.FlushBytes), config.After
		}
		m.claims = append(m.claims, claim)
	}
	m.claims = append(m.claims, metadata.FileClaim{Sparse: true, MaxFiles: filesN, MaxBytes: bytesN * config.FileBytes})
	for i := range m.claims {
		m.claims[i].For, m.claims[i].MaxRuns = claimFor, config.rows()
	}
	m.newHolder()
	return m
}

// newHolder claims under a new name from now on, so that what it holds under the former one isn't given to it again.
func (m *Merger) newHolder() {
	holder := uuid.New()
	for i := range m.claims {
		m.claims[i].Holder = holder
	}
}

// Job is what runs the merger.
func (m *Merger) Job() maintenance.Job {
	return maintenance.Job{
		Name:  "merge",
		Every: func() time.Duration { return min(lookEvery, m.config.After) },
		Heavy: true,
		Round: m.Round,
	}
}

// Round merges the files of one claim. The kinds of claims take turns, so that none waits for ever. Where merges are
// behind, new files come first in most rounds: they are what makes the index grow, and reads expensive.
func (m *Merger) Round(ctx context.Context, p *maintenance.Progress) (more bool, err error) {
	if !m.told {
		m.tell(ctx, p) // a round may take long, also one that should hurry
	}
	defer m.tell(ctx, p)
	output, err := m.newOutputs(p)
	if err != nil {
		return false, err
	}
	if m.hurried%newFirst != 0 {
		if more, err := m.merge(ctx, p, output, m.claims[0]); more || err != nil {
			return more, err
		}
	}
	for range m.claims {
		claim := m.claims[m.next]
		m.next = (m.next + 1) % len(m.claims)
		if claim.Sparse && time.Now().Before(m.sparseAt) {
			continue
		}
		more, err := m.merge(ctx, p, output, claim)
		if more || err != nil {
			return more, err
		}
		if claim.Sparse {
			m.sparseAt = time.Now().Add(m.sparseEvery)
		}
	}
	return false, nil
}

// tell shows what waits. It is for people, so its failure is none of the round's.
func (m *Merger) tell(ctx context.Context, p *maintenance.Progress) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	levels, err := m.store.MergeBacklog(ctx)
	if err != nil {
		m.log.Debug("can't tell how many files wait for a merge", "error", err)
		return
	}
	now, err := m.store.Now(ctx)
	if err != nil {
		m.log.Debug("can't tell how long files have waited for a merge", "error", err)
		return
	}
	m.metrics.show(levels, now)
	var due, bytes int64
	var oldest time.Duration
	for _, l := range levels {
		switch age := now.Sub(l.OldestAt) - m.config.After; {
		case l.Level == 0 && (age > 0 && l.Files > 1 || l.Files >= files0):
			due, bytes, oldest = due+l.Files, bytes+l.Bytes, max(oldest, age)
		case l.Level == 0 && l.Files > 1:
			oldest = age // to come
		case l.Level > 0 && l.Files >= filesN:
			due, bytes = due+l.Files, bytes+l.Bytes
		}
	}
	late := due > behind
	m.told = true
	if m.hurried++; !late {
		m.hurried = 0
	}
	p.Hurry(late)
	if m.config.Behind != nil {
		m.config.Behind(late)
	}
	p.Backlog(due, oldest)
	p.BacklogBytes(bytes)
}
