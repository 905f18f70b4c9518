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
	for i, s := range sections {
		if s.pass.lost = !taken[i]; s.pass.lost {
			continue
		}
		s.pass.removed += s.removed
		if s.pass.done {
			if err := o.finish(ctx, s.pass); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *output) finish(ctx context.Context, p *pass) error {
	ctx, cancel := context.WithTimeout(ctx, finishTimeout)
	defer cancel()
	if err := o.c.store.FinishCompaction(ctx, p.partition(), p.end); err != nil {
		return fmt.Errorf("note that partition %d of topic %s is compacted to offset %d: %w", p.index, p.topic.Name, p.end, err)
	}
	delete(o.c.waits, p.partition())
	o.c.log.Debug("compacted a partition", "topic", p.topic.Name, "partition", p.index, "clean_until", p.end, "removed_records", p.removed)
	return nil
}
