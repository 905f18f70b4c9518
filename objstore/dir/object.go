package dir

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/wadi-log/wadi/objstore"
)

const (
	// writeBytes is how much is written between two looks at ctx.
	writeBytes = 4 << 20
	// renameAttempts bounds the races that a Put may lose against Deletes which
	// remove the folder that it has just made.
	renameAttempts = 100
)

// Put implements objstore.Bucket. It looks at ctx between its steps; what
// waits for the disk can't be interrupted.
func (b *Bucket) Put(ctx context.Context, key string, body []byte) error {
	if err := objstore.CheckKey(key); err != nil {
		return fmt.Errorf("put: %w", err)
	}
	temp := filepath.Join(b.root, tempFolder, rand.Text())
	if err := writeDurable(ctx, temp, body); err != nil {
		return b.explain("put", key, errors.Join(err, removeIfExists(temp)))
	}
	// A crash here leaves a temporary file: no object.
	target := b.path(key)
	if err := rename(temp, target); err != nil {
		return b.explain("put", key, errors.Join(err, removeIfExists(temp)))
	}
	// A crash here leaves the whole object, or none: its entry may not be on disk.
	if err := b.folders.sync(filepath.Dir(target), b.root); err != nil {
		return b.explain("put", key, err)
	}
	return nil
}

// writeDurable makes the file and fsyncs its bytes. Its entry in the folder
// is not fsynced: it is about to be renamed.
func writeDurable(ctx context.Context, path string, body []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	for len(body) > 0 && err == nil {
		n := min(len(body), writeBytes)
		if _, err = file.Write(body[:n]); err == nil {
			err = ctx.Err()
		}
		body = body[n:]
	}
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// rename moves the file to its key and makes the folders for it. Between
// making a folder and renaming into it a Delete may remove it, being empty.
func rename(temp, target string) error {
	var err error
	for range renameAttempts {
		if err = os.Rename(temp, target); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		err = os.MkdirAll(filepath.Dir(target), folderMode)
		// ErrExist: someone made it before us, and removed it again before
		// MkdirAll could look at it. A file in its place is ENOTDIR.
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return err
}

func removeIfExists(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Get implements objstore.Bucket.
func (b *Bucket) Get(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	if err := objstore.CheckKey(key); err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	if err := objstore.CheckRange(offset, length); err != nil {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	file, err := os.Open(b.path(key))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, fmt.Errorf("get %s: %w", key, objstore.ErrNotFound)
	}
	if err != nil {
		return nil, b.explain("get", key, err)
	}
	defer func() { _ = file.Close() }() // nothing was written to it
	info, err := file.Stat()
	if err != nil {
		return nil, b.explain("get", key, err)
	}
	switch size := info.Size(); {
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("get %s: %w: it is a folder", key, objstore.ErrNotFound)
	case offset > 0 && offset >= size:
		return nil, fmt.Errorf("get %s: %w: offset %d of %d bytes", key, objstore.ErrRange, offset, size)
	case length < 0 || length > size-offset:
		length = size - offset
	}
	data := make([]byte, length)
	if _, err := io.ReadFull(io.NewSectionReader(file, offset, length), data); err != nil {
		return nil, b.explain("get", key, err)
	}
	return data, nil
}

// Delete implements objstore.Bucket. The removals are durable when it returns
// nil: an object that came back after a crash would be nobody's.
func (b *Bucket) Delete(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if err := objstore.CheckKey(key); err != nil {
			return fmt.Errorf("delete: %w", err)
		}
	}
	changed := map[string]bool{} // folders that lost an entry
	for _, key := range keys {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("delete: %w", err)
		}
		path := b.path(key)
		err := os.Remove(path)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), notEmpty(err):
			continue // no object
		case err != nil:
			return b.explain("delete", key, err)
		}
		folder, err := b.prune(filepath.Dir(path))
		if err != nil {
			return b.explain("delete", key, err)
		}
		changed[folder] = true
	}
	for folder := range changed {
		_, err := syncFolder(folder)
		// A folder that is gone was removed by someone who fsyncs in our place.
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return b.explain("delete from", folder, err)
		}
	}
	return nil
}

// prune removes the folder if it is empty, then the one above it, and so on
// below the root. It returns the folder that lost an entry and is still there.
// The file system refuses to remove a folder that a Put has just used; a Put
// whose folder vanished makes it again.
func (b *Bucket) prune(folder string) (string, error) {
	for folder != b.root {
		err := syscall.Rmdir(folder)
		switch {
		case notEmpty(err) || errors.Is(err, syscall.EBUSY): // or a mount point
			return folder, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return folder, err
		}
		b.folders.forget(folder)
		folder = filepath.Dir(folder)
	}
	return folder, nil
}

// notEmpty tells whether err says that a folder can't be removed because
// something is in it; systems differ in how they say so.
func notEmpty(err error) bool {
	return errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EEXIST)
}
