package dir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	// maxFolders bounds the cache; a data file's folder stays busy for an hour,
	// and there are 256 of them at a time.
	maxFolders = 4096
	// settled is the age from which a folder's identity is its own: the clock of
	// a file system ticks slowly enough for two folders to be born at once.
	settled = time.Second
)

// folders remembers of which folders the entry in their parent is durable, and
// the parent's in its parent, up to the root. Without it each Put would fsync
// the whole way.
//
// Paths alone would not do: another process may delete the empty folder and
// make it anew without having fsynced it yet. So a folder is known by its
// identity, which a new one at the same path does not share. A folder with the
// same identity was never removed, and so neither were those above it.
type folders struct {
	fsync   func(path string) (identity, error) // syncFolder, but for tests
	mu      sync.Mutex
	durable map[string]identity // by path; guarded by mu
}

// sync makes the entry of a file just renamed into folder durable, and the way
// to it from root. The file is there, so nobody can remove the folder meanwhile.
func (f *folders) sync(folder, root string) error {
	id, err := f.fsync(folder)
	if err != nil {
		return err
	}
	f.mu.Lock()
	known, ok := f.durable[folder]
	f.mu.Unlock()
	if folder == root || ok && known == id {
		return nil
	}
	for above := folder; above != root; {
		above = filepath.Dir(above)
		if _, err := f.fsync(above); err != nil {
			return err
		}
	}
	if !id.valid || time.Since(id.born) < settled {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.durable) >= maxFolders {
		clear(f.durable) // costs each folder one more way up
	}
	f.durable[folder] = id
	return nil
}

// forget drops a folder that was removed.
func (f *folders) forget(folder string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.durable, folder)
}

// syncFolder fsyncs a folder and returns its identity.
func syncFolder(path string) (identity, error) {
	folder, err := os.Open(path)
	if err != nil {
		return identity{}, err
	}
	defer func() { _ = folder.Close() }() // nothing was written to it
	if err := folder.Sync(); err != nil {
		return identity{}, err
	}
	return identify(folder)
}

// makeDurable makes the folder and those above it that are missing, and
// fsyncs the entries of those that it made.
func makeDurable(path string) error {
	err := os.Mkdir(path, folderMode)
	switch {
	case err == nil:
		_, err := syncFolder(filepath.Dir(path))
		return err
	case errors.Is(err, fs.ErrExist):
		info, statErr := os.Stat(path)
		if statErr == nil && !info.IsDir() {
			return err
		}
		return statErr
	case !errors.Is(err, fs.ErrNotExist) || filepath.Dir(path) == path:
		return err
	}
	if err := makeDurable(filepath.Dir(path)); err != nil {
		return err
	}
	return makeDurable(path)
}
