package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/wadi-log/wadi/objstore"
)

// List implements objstore.Bucket. It holds the names of the folders that it is
// in, not those of all objects.
func (b *Bucket) List(ctx context.Context, prefix string, visit func(objstore.ObjectInfo) error) error {
	// All keys that start with the prefix are in this folder or below it.
	folder := prefix[:strings.LastIndexByte(prefix, '/')+1]
	if folder != "" && objstore.CheckKey(strings.TrimSuffix(folder, "/")) != nil {
		return nil //nolint:nilerr // no object has such a key: an empty listing
	}
	return b.list(ctx, folder, prefix, visit)
}

// list visits the objects below folder ("" or ending in a slash).
func (b *Bucket) list(ctx context.Context, folder, prefix string, visit func(objstore.ObjectInfo) error) error {
	entries, err := os.ReadDir(b.path(folder))
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
		return nil // or no longer
	case err != nil:
		return b.explain("list", prefix, err)
	}
	// Everything in folder x has a key that starts with "x/", which sorts after
	// "x-" and before "x0": compare as if folders had the slash in their name.
	slices.SortFunc(entries, func(x, y fs.DirEntry) int { return strings.Compare(sortName(x), sortName(y)) })
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("list %s: %w", prefix, err)
		}
		name := folder + sortName(e)
		switch {
		case strings.HasPrefix(e.Name(), "."):
			// our own
		case e.IsDir():
			if strings.HasPrefix(name, prefix) || strings.HasPrefix(prefix, name) {
				if err := b.list(ctx, name, prefix, visit); err != nil {
					return err
				}
			}
		case e.Type().IsRegular() && strings.HasPrefix(name, prefix):
			info, err := os.Lstat(filepath.Join(b.path(folder), e.Name()))
			if errors.Is(err, fs.ErrNotExist) {
				continue // deleted meanwhile
			}
			if err != nil {
				return b.explain("list", name, err)
			}
			if err := visit(objstore.ObjectInfo{Key: name, Size: info.Size(), Modified: info.ModTime()}); err != nil {
				return err
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("list %s: %w", prefix, err)
	}
	return nil
}

func sortName(e fs.DirEntry) string {
	if e.IsDir() {
		return e.Name() + "/"
	}
	return e.Name()
}
