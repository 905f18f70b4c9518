package compact

import (
	"context"
	"fmt"
	"time"

	"github.com/wadi-log/wadi/agent/maintenance/rewrite"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// finishTimeout bounds a call of the metadata store.
const finishTimeout = 10 * time.Second

// output is the file that the passes of a group write into, one after the other. Whichever fills it puts
// it and swaps it in, and then finishes the passes whose last section it had.
type output struct {
	c    *Compactor
	file *rewrite.Output
	// sections are those that have ended.
	sections []written
	// pass is the one that writes now.
	pass *pass
}

type written struct {
	pass    *pass
	removed int64
	runs    int
}

func (o *output) begin(p *pass, base int64) error {
	o.pass = p
	return o.file.Begin(rewrite.Place{TopicID: p.topic.ID, Index: p.index, Partition: p.partition()}, base)
}

func (o *output) add(b protocol.Batch) error { return o.file.Add(b) }

func (o *output) end(next, maxTimestamp int64, replaces []metadata.RunKey, removed int64) error {
	if err := o.file.End(next, maxTimestamp, replaces); err != nil {
		return err
	}
	o.sections = append(o.sections, written{o.pass, removed, len(replaces)})
	return nil
}

func (o *output) abandon() { o.file.Abandon() }

// full reports whether the file should be committed.
func (o *output) full() bool {
	return o.file.Size() >= o.c.config.FileBytes || o.file.Replaced() >= rewrite.MaxReplaced-pieceRuns
}

// commit puts the file and swaps it in. A pass of which a section was not taken is lost: what stands there is
// not what it read. A pass that is done and not lost is finished. If we die in between, it is done again.
func (o *output) commit(ctx context.Context) error {
	sections := o.sections
	o.sections = nil
	taken, err := o.file.Commit(ctx, rewrite.Origin{Level: metadata.LevelSettled})
	if err != nil {
		return err
	}
	var finished []*pass
	for i, s := range sections {
		if s.pass.lost = !taken[i]; s.pass.lost {
			continue
		}
		s.pass.removed += s.removed
		if s.pass.done {
			finished = append(finished, s.pass)
		}
	}
	return o.finish(ctx, finished)
}

// finish notes, in one call, how far partitions are clean.
func (o *output) finish(ctx context.Context, passes []*pass) error {
	if len(passes) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, finishTimeout)
	defer cancel()
	finished := make([]metadata.CompactedUntil, len(passes))
	for i, p := range passes {
		finished[i] = metadata.CompactedUntil{Partition: p.partition(), Offset: p.end}
	}
	if _, err := o.c.store.FinishCompactions(ctx, finished); err != nil {
		return fmt.Errorf("note that %d partitions are compacted, the first of them partition %d of topic %s to offset %d: %w",
			len(passes), passes[0].index, passes[0].topic.Name, passes[0].end, err)
	}
	for _, p := range passes {
		delete(o.c.waits, p.partition())
		o.c.log.Debug("compacted a partition", "topic", p.topic.Name, "partition", p.index, "clean_until", p.end, "removed_records", p.removed)
	}
	return nil
}
