package sqlite

import (
	"context"
	"time"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/rowcodec"
	"github.com/wadi-log/wadi/metadata/sequence"
)

// sequencer is the row that numbers changes, inside a write transaction.
type sequencer struct {
	*tx
	lastSeq       int64
	nextPartition int32
	changed       bool
}

// sequenced runs one write transaction that may add feed entries.
func (s *Store) sequenced(ctx context.Context, doing string, run func(*sequencer) error) error {
	return s.change(ctx, doing, func(t *tx) error {
		q := &sequencer{tx: t}
		if err := t.stmt(s.prepared.lockSequencer).QueryRowContext(t.ctx).Scan(&q.lastSeq, &q.nextPartition); err != nil {
			return err
		}
		if err := run(q); err != nil {
			return err
		}
		if !q.changed {
			return nil
		}
		_, err := t.stmt(s.prepared.updateSequencer).ExecContext(t.ctx, q.lastSeq, q.nextPartition)
		return err
	})
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
	_, err := q.stmt(q.prepared.insertCommit).ExecContext(q.ctx, c.Seq, millis(at), fileID, rowcodec.EncodeCommit(c), replay)
	return c, err
}

func millis(t time.Time) int64 { return t.UnixMilli() }
