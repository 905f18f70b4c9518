// Package dir is an object store in a directory: Wadi's embedded default. An
// object is a file, its key the path. Several agents on one machine may share
// the directory.
//
// What it guarantees, given a file system that keeps what fsync has written:
//
//   - Put: the file is written and fsynced under a temporary name, then renamed
//     to its key, then every folder entry on the way to it is fsynced. A crash
//     leaves the whole object or a temporary file, which a later Open or AbortUploads removes.
//   - Delete removes folders that became empty, also while others put objects
//     into them.
//   - List visits one folder at a time, in the order of keys.
//
// The folder .wadi-tmp is its own, and so is any name that starts with a dot.
package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/wadi-log/wadi/objstore"
)

const (
	// tempFolder holds files that are being written. It is in the store's root
	// so that renaming them to their keys stays in one file system.
	tempFolder = ".wadi-tmp"
	// tempAge is when a temporary file is surely nobody's: the Put that wrote
	// it would have failed long ago.
	tempAge = time.Hour

	folderMode = 0o750
	fileMode   = 0o640
)

// Bucket is an object store in a directory.
type Bucket struct {
	root    string
	folders folders
}

// ParseURL reads a --objects URL of the form file:PATH and returns the path,
// which may be relative and is taken as it is, without escapes; file:///PATH
// is the absolute path /PATH. Errors: objstore.ErrConfig.
func ParseURL(raw string) (path string, err error) {
	path, ok := strings.CutPrefix(raw, "file:")
	rest, slashes := strings.CutPrefix(path, "//")
	switch {
	case !ok || path == "":
		return "", fmt.Errorf("%w: --objects: %q names no folder; want file:PATH", objstore.ErrConfig, raw)
	case slashes && !strings.HasPrefix(rest, "/"):
		return "", fmt.Errorf("%w: --objects: %q names a host; want file:PATH or file:///PATH", objstore.ErrConfig, raw)
	case slashes:
		return rest, nil
	}
	return path, nil
}

// Open makes the directory if need be, removes what crashed agents left
// unfinished, and returns the store after trying out that it can be used.
// Errors: objstore.ErrConfig; others, like a full disk, may pass.
func Open(ctx context.Context, path string) (*Bucket, error) {
	b, err := newBucket(path)
	if err != nil {
		return nil, err
	}
	if err := makeDurable(filepath.Join(b.root, tempFolder)); err != nil {
		return nil, b.explain("make folder", tempFolder, err)
	}
	if _, err := b.AbortUploads(ctx, "", tempAge); err != nil {
		return nil, err
	}
	if err := objstore.Probe(ctx, b); err != nil {
		return nil, fmt.Errorf("try out the object store: %w", err)
	}
	return b, nil
}

// OpenReadOnly returns the store in a directory that exists, after trying out that it
// can be read. It writes and removes nothing. Errors: objstore.ErrConfig.
func OpenReadOnly(ctx context.Context, path string) (*Bucket, error) {
	b, err := newBucket(path)
	if err != nil {
		return nil, err
	}
	switch info, err := os.Stat(b.root); {
	case errors.Is(err, fs.ErrNotExist), err == nil && !info.IsDir():
		return nil, fmt.Errorf("%w: --objects: %s is no folder; correct the path", objstore.ErrConfig, b.root)
	case err != nil:
		return nil, b.explain("look at folder", "", err)
	}
	if err := objstore.ProbeReading(ctx, b); err != nil {
		return nil, fmt.Errorf("try out the object store: %w", err)
	}
	return b, nil
}

func newBucket(path string) (*Bucket, error) {
	root, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("%w: --objects: %q: %w", objstore.ErrConfig, path, err)
	}
	return &Bucket{root: root, folders: folders{fsync: syncFolder, durable: map[string]identity{}}}, nil
}

// AbortUploads implements objstore.Uploads: it removes temporary files that are older than
// the age. They bear no keys, so the prefix is of no account.
func (b *Bucket) AbortUploads(ctx context.Context, _ string, age time.Duration) (int, error) {
	n, err := b.removeLeftovers(ctx, time.Now().Add(-age))
	if err != nil {
		return n, b.explain("remove leftovers in", tempFolder, err)
	}
	return n, nil
}

func (b *Bucket) removeLeftovers(ctx context.Context, before time.Time) (int, error) {
	entries, err := os.ReadDir(filepath.Join(b.root, tempFolder))
	if err != nil {
		return 0, err
	}
	removed := 0
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		info, err := e.Info()
		if err == nil && info.ModTime().Before(before) {
			if err = os.Remove(filepath.Join(b.root, tempFolder, e.Name())); err == nil {
				removed++
			}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // its writer, or another agent, was faster
			return removed, err
		}
	}
	return removed, nil
}

// Close implements objstore.Bucket; there is nothing to release.
func (b *Bucket) Close() error { return nil }

// path returns where the object is, or would be.
func (b *Bucket) path(key string) string { return filepath.Join(b.root, filepath.FromSlash(key)) }

// explain says what a failure of the file system means, and to an operator
// what to do about it.
func (b *Bucket) explain(verb, key string, err error) error {
	doing := strings.TrimSpace(verb + " " + key)
	config := func(advice string) error {
		return fmt.Errorf("%s: %w: --objects: %s: %w", doing, objstore.ErrConfig, advice, err)
	}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%s: disk full: free space for %s, or move it and change --objects (--data-dir): %w", doing, b.root, err)
	case errors.Is(err, syscall.EROFS):
		return config(fmt.Sprintf("%s is on a read-only file system; mount it writable or choose another folder", b.root))
	case errors.Is(err, fs.ErrPermission):
		return config(fmt.Sprintf("no permission in %s; make this process's user its owner, or choose another folder", b.root))
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EEXIST), errors.Is(err, syscall.EISDIR):
		return config(fmt.Sprintf("a file is where a folder has to be, or the other way round, in %s; move it away or choose another folder", b.root))
	}
	return fmt.Errorf("%s: %w", doing, err)
}
