package compact

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/agent/maintenance/rewrite"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/protocol/configs"
)

// Store is what compaction asks of the metadata store.
type Store interface {
	Now(ctx context.Context) (time.Time, error)
	Compactions(ctx context.Context, partitions []metadata.PartitionID) ([]metadata.Compaction, error)
	FinishCompactions(ctx context.Context, finished []metadata.CompactedUntil) ([]metadata.Commit, error)
	ReplaceRuns(ctx context.Context, replacement metadata.Replacement) (taken []bool, err error)
	metadata.Log
	metadata.Leases
}

// Topics tells which topics there are, with the configs that are set on them now.
type Topics interface {
	AllTopics(ctx context.Context) ([]metadata.Topic, error)
	TopicByID(ctx context.Context, id uuid.UUID) (metadata.Topic, error)
}

// Config bounds what a round takes.
type Config struct {
	// KeyBytes is the size of the table of keys, made when it is first needed: 32 bytes for each key of a pass.
	KeyBytes int64
	// WindowBytes bounds what is read ahead of runs, and is the size up to which partitions are small,
	// and share an output.
	WindowBytes int64
	// FileBytes is the size at which an output file is committed.
	FileBytes int64
}

const (
	// groupSize is the number of small partitions that share an output at most, for each of
	// which a lease is held.
	groupSize = 256
	// planFor is for how long what was found to be due is believed, by the store's clock.
	planFor = time.Minute
	// sliceBytes is [Compactor.slice]: some seconds of reading.
	sliceBytes = 512 << 20
)

// Compactor is an agent's compaction. Its rounds come one after the other.
type Compactor struct {
	store  Store
	bucket objstore.Bucket
	topics Topics
	broker func() *configs.Broker
	holder uuid.UUID
	config Config
	log    *slog.Logger

	keys *keys
	// slice is how much of a large partition a round reads, so that other jobs have their turn.
	slice int64
	// large is a pass over a large partition that goes on with the next round, nil without one.
	large *pass
	// due is what was planned at plannedAt and is left to do.
	due       []candidate
	plannedAt time.Time
	// unfinished: a pass since then ended before everything was clean, so there is more to do at once.
	unfinished bool
	waits      waits
}

// New returns an agent's compaction. broker returns the defaults of topic configs; the holder is who it is
// to others.
func New(store Store, bucket objstore.Bucket, topics Topics, broker func() *configs.Broker, holder uuid.UUID, config Config, log *slog.Logger) *Compactor {
	return &Compactor{
		store: store, bucket: bucket, topics: topics, broker: broker, holder: holder, config: config, log: log,
		keys: newKeys(config.KeyBytes), slice: sliceBytes, waits: waits{},
	}
}

// Round compacts a part of one large partition that is due, or some small ones: see [maintenance.Job].
func (c *Compactor) Round(ctx context.Context, progress *maintenance.Progress) (more bool, err error) {
	now, err := c.store.Now(ctx)
	if err != nil {
		return false, fmt.Errorf("ask the metadata store for its time: %w", err)
	}
	if c.large != nil {
		err = c.goOn(ctx, progress)
		return c.more(), err
	}
	if len(c.due) == 0 || now.Sub(c.plannedAt) > planFor {
		if c.due, err = c.findDue(ctx, now); err != nil {
			return false, err
		}
		c.plannedAt, c.unfinished = now, false
	}
	c.showBacklog(progress, now)
	if len(c.due) == 0 {
		c.keys.release()
		return false, nil
	}
	if group := c.nextGroup(); c.small(&group[0]) {
		err = c.hold(ctx, group, func(ctx context.Context, held []candidate) error { return c.compact(ctx, progress, held, now) })
	} else {
		c.large = &pass{candidate: group[0], now: now, alone: true}
		err = c.goOn(ctx, progress)
	}
	c.showBacklog(progress, now)
	return c.more(), err
}

// more reports whether something is due that is known of.
func (c *Compactor) more() bool { return c.large != nil || len(c.due) > 0 || c.unfinished }

func (c *Compactor) showBacklog(progress *maintenance.Progress, now time.Time) {
	size, oldest := int64(0), now
	for i := range c.due {
		size += c.due[i].CleanBytes + c.due[i].DirtyBytes
		if since := c.due[i].DirtySince; since >= 0 && since < oldest.UnixMilli() {
			oldest = time.UnixMilli(since)
		}
	}
	progress.Backlog(int64(len(c.due)), now.Sub(oldest))
	progress.BacklogBytes(size)
}

func (c *Compactor) small(p *candidate) bool {
	return p.CleanBytes+p.DirtyBytes <= c.config.WindowBytes/4
}

// nextGroup takes what the next round works on from what is due: the most urgent partition if that is large, or else
// the most urgent of the small ones, in the order in which they lie in files.
func (c *Compactor) nextGroup() []candidate {
	if first := c.due[0]; !c.small(&first) {
		c.due = c.due[1:]
		return []candidate{first}
	}
	var group, rest []candidate
	left := c.config.WindowBytes
	for i := range c.due {
		p := &c.due[i]
		size := p.CleanBytes + p.DirtyBytes
		if len(group) < groupSize && c.small(p) && size <= left {
			group = append(group, *p)
			left -= size
		} else {
			rest = append(rest, *p)
		}
	}
	c.due = rest
	slices.SortFunc(group, func(a, b candidate) int {
		return cmp.Or(bytes.Compare(a.topic.ID[:], b.topic.ID[:]), cmp.Compare(a.index, b.index))
	})
	return group
}

// compact makes a pass over each of the partitions, whose outputs are shared if there are several.
// What is wrong with one partition stops no other, but for an error that may be everybody's: then the rest
// waits for the next round.
func (c *Compactor) compact(ctx context.Context, progress *maintenance.Progress, group []candidate, now time.Time) error {
	reader := rewrite.NewReader(c.bucket, progress, c.config.WindowBytes)
	file, err := rewrite.NewOutput(c.bucket, c.store, progress, datafile.Auto)
	if err != nil {
		return err
	}
	passes, err := c.begin(ctx, reader, group, now)
	if err != nil {
		return err
	}
	out := &output{c: c, file: file}
	var failed error
	for _, p := range passes {
		_, err := p.step(ctx, c.keys, out)
		if failed = c.settle(ctx, progress, p, err); failed != nil {
			break
		}
	}
	if ctx.Err() == nil {
		failed = errors.Join(failed, out.commit(ctx))
	}
	for _, p := range passes {
		progress.Records(p.removed)
		if p.lost {
			c.log.Debug("a partition changed while it was compacted; it is done again", "topic", p.topic.Name, "partition", p.index)
		}
	}
	return failed
}

// begin reads where the partitions stand, and the runs of those that share a group, with few requests.
func (c *Compactor) begin(ctx context.Context, reader *rewrite.Reader, group []candidate, now time.Time) ([]*pass, error) {
	ids := make([]metadata.PartitionID, len(group))
	for i := range group {
		ids[i] = group[i].partition()
	}
	// Again, for another agent may have been here since the plan was made.
	states, err := c.store.Compactions(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("read how far %d partitions are compacted: %w", len(ids), err)
	}
	var passes []*pass
	var queries []metadata.RunQuery
	for i := range group {
		p := &pass{candidate: group[i], now: now, left: math.MaxInt64}
		p.Compaction = states[i]
		if !p.due(p.DirtyBytes, now.UnixMilli()) {
			continue
		}
		p.log = partitionLog{store: c.store, reader: reader, partition: ids[i]}
		passes = append(passes, p)
		queries = append(queries, metadata.RunQuery{
			Partition: ids[i], Offset: p.LogStartOffset, MaxBytes: c.config.WindowBytes, MaxRuns: metadata.MaxRuns,
		})
	}
	if len(passes) == 0 {
		return nil, nil
	}
	found, err := c.store.FindRuns(ctx, queries)
	if err != nil {
		return nil, fmt.Errorf("find runs of %d partitions: %w", len(queries), err)
	}
	var runs []metadata.Run
	for i, p := range passes {
		p.log.first = &page{PartitionRuns: found[i]}
		runs = append(runs, found[i].Runs...)
	}
	if reader.Fit(runs) == len(runs) {
		window := reader.Load(ctx, runs)
		for _, p := range passes {
			p.log.first.window = window
		}
	}
	return passes, nil
}

// goOn does the next part of the pass over a large partition. Between two of them the lease is kept by KeepLease. If
// another agent has it nevertheless, what the pass has done is the other one's to do.
func (c *Compactor) goOn(ctx context.Context, progress *maintenance.Progress) error {
	p := c.large
	c.large = nil // if anything goes wrong
	return c.hold(ctx, []candidate{p.candidate}, func(ctx context.Context, _ []candidate) error {
		reader := rewrite.NewReader(c.bucket, progress, c.config.WindowBytes)
		p.log = partitionLog{store: c.store, reader: reader, partition: p.partition()}
		file, err := rewrite.NewOutput(c.bucket, c.store, progress, datafile.Auto)
		if err != nil {
			return err
		}
		states, err := c.store.Compactions(ctx, []metadata.PartitionID{p.partition()})
		if err != nil {
			return fmt.Errorf("read how far partition %d is compacted: %w", p.partition(), err)
		}
		switch now := states[0]; {
		case !p.begun:
			p.Compaction = now // another agent may have been here since the plan was made
		case now.CleanUntil > max(p.CleanUntil, now.LogStartOffset):
			return nil // another agent made a pass since the last round: it had the lease while this one waited for too long
		default:
			p.LogStartOffset = now.LogStartOffset
		}
		p.left = c.slice
		over, err := p.step(ctx, c.keys, &output{c: c, file: file})
		progress.Records(p.removed)
		p.removed = 0
		if err == nil && !over {
			c.large = p
			return nil
		}
		return c.settle(ctx, progress, p, err)
	})
}

// settle deals with how a pass over one partition ended. It returns what is not the partition's alone.
func (c *Compactor) settle(ctx context.Context, progress *maintenance.Progress, p *pass, err error) error {
	switch {
	case err != nil:
		return c.isolate(ctx, progress, p, err)
	case !p.notBefore.IsZero() && !p.begun:
		c.waits[p.partition()] = wait{until: p.notBefore, lag: p.config.MinCompactionLagMs}
	case p.begun && p.end < p.limit:
		c.unfinished = true
	}
	return nil
}

// isolate deals with what went wrong with one partition's pass. It returns what is not the partition's alone.
func (c *Compactor) isolate(ctx context.Context, progress *maintenance.Progress, p *pass, err error) error {
	if ctx.Err() != nil {
		return err
	}
	switch {
	case errors.Is(err, errMoved):
		p.lost = true
		return nil
	case errors.Is(err, errSwitched):
		return nil
	}
	var unread *rewrite.RunError
	if !errors.As(err, &unread) || !errors.Is(err, rewrite.ErrDamaged) {
		c.waits.fail(p.partition(), p.now) // lest it be the first one again
		return err
	}
	standing, standingErr := rewrite.Standing(ctx, c.store, unread.Run)
	if standingErr != nil {
		return standingErr
	}
	if !standing {
		p.lost = true // the object was deleted, since it was replaced long ago
		return nil
	}
	progress.Damaged(1)
	c.log.Error("a partition can't be compacted, for its data is damaged; it stays as it is",
		"topic", p.topic.Name, "partition", p.index, "again_in", c.waits.fail(p.partition(), p.now), "error", err)
	return nil
}
