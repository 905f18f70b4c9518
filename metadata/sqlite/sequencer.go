package sqlite

import (
	"context"
	"time"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/history"
	"github.com/wadi-log/wadi/metadata/rowcodec"
	"github.com/wadi-log/wadi/metadata/sequence"
)

// sequencer is the row that numbers changes, inside a write transaction.
type sequencer struct {
	*tx
	lastSeq       int64
	nextPartition int32
	changed       bool
	// found is what the database says of what is known of it; made are the changes that the transaction adds.
	found history.Found
	made  []history.Change
}

// sequenced runs one write transaction that may add feed entries.
func (s *Store) sequenced(ctx context.Context, doing string, run func(*sequencer) error) error {
	var q *sequencer
	err := s.changeAnyway(ctx, doing, func(t *tx) error {
		q = &sequencer{tx: t}
		asked := s.history.Newest()
		if err := t.stmt(s.prepared.lockSequencer).QueryRowContext(t.ctx, asked.Seq).Scan(append(foundTargets(&q.found), &q.nextPartition)...); err != nil {
			return err
		}
		if err := s.history.Check(asked, q.found); err != nil {
			return err
		}
		q.lastSeq = q.found.LastSeq
		if err := run(q); err != nil {
			return err
		}
		if !q.changed {
			return nil
		}
		_, err := t.stmt(s.prepared.updateSequencer).ExecContext(t.ctx, q.lastSeq, q.nextPartition)
		return err
	})
	if err == nil {
		s.history.Note(q.found, q.made...)
	}
	return s.orHalt(ctx, doing, err)
}

// add numbers and writes a feed entry and returns it with its number. With a
// file it is also the replay record of the file's commit.
func (q *sequencer) add(c metadata.Commit, file *metadata.File, replay []byte) (metadata.Commit, error) {
	q.lastSeq++
	q.changed = true
	c.Seq = q.lastSeq
	at := q.now
	var fileID any
	if file != nil {
		fileID = file.ID[:]
		if made, ok := sequence.FileTime(file.ID); ok && made.After(at) {
			at = made
		}
	}
	mark := metadata.NewMark()
	q.made = append(q.made, history.Change{Seq: c.Seq, Mark: mark, Runs: c.Runs})
	_, err := q.stmt(q.prepared.insertCommit).ExecContext(q.ctx, c.Seq, mark, millis(at), fileID, rowcodec.EncodeCommit(c), replay)
	return c, err
}

func millis(t time.Time) int64 { return t.UnixMilli() }
