package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
)

// Write writes a snapshot of the store. Dies before the manifest is put: the snapshot is torn, and
// one of the next ones removes it. Nothing is noted in the store.
func Write(ctx context.Context, store metadata.Snapshots, bucket objstore.Bucket, p *maintenance.Progress) (Manifest, error) {
	before, err := List(ctx, bucket)
	if err != nil {
		return Manifest{}, err
	}
	parts, err := newPartWriter()
	if err != nil {
		return Manifest{}, err
	}
	w := writer{ctx: ctx, bucket: bucket, progress: p, before: before, parts: parts}
	if err := store.ExportSnapshot(ctx, w.row); err != nil {
		return Manifest{}, fmt.Errorf("write a snapshot: %w", err)
	}
	if err := w.finish(); err != nil {
		return Manifest{}, fmt.Errorf("write snapshot %s: %w", w.manifest.Name, err)
	}
	return w.manifest, nil
}

// writer is one snapshot that is being written.
type writer struct {
	ctx      context.Context // that of Write, which the writer doesn't outlive
	bucket   objstore.Bucket
	progress *maintenance.Progress
	before   Listing // behind which it is named
	parts    *partWriter
	manifest Manifest
}

func (w *writer) row(row metadata.SnapshotRow) error {
	if head := row.Head; head != nil {
		w.manifest = Manifest{Version: metadata.SnapshotVersion, Name: newName(head.At, w.before), ClusterID: head.ClusterID, At: head.At, State: head.State, LastSeq: head.LastSeq}
	}
	full, err := w.parts.add(row)
	if err != nil || !full {
		return err
	}
	return w.cut()
}

// cut puts what has come together as a part.
func (w *writer) cut() error {
	part, b, err := w.parts.cut()
	if err != nil {
		return err
	}
	key := partKey(w.manifest.Name, len(w.manifest.Parts))
	if err := w.put(key, b); err != nil {
		return err
	}
	w.manifest.Parts = append(w.manifest.Parts, part)
	w.progress.Files(1)
	return nil
}

func (w *writer) put(key string, b []byte) error {
	if err := w.progress.Write(w.ctx, int64(len(b))); err != nil {
		return err
	}
	return w.bucket.Put(w.ctx, key, b)
}

// finish puts the last part, and then the manifest, which makes a snapshot of the parts.
func (w *writer) finish() error {
	if w.manifest.Name == "" {
		return errors.New("the metadata store exports no head")
	}
	if w.parts.rows > 0 {
		if err := w.cut(); err != nil {
			return err
		}
	}
	b, err := json.MarshalIndent(w.manifest, "", " ")
	if err != nil {
		return err
	}
	return w.put(manifestKey(w.manifest.Name), append(b, '\n'))
}
