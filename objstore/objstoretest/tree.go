package objstoretest

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// Tree lists the folder and all that is in it, each with its mode, its size and the time
// of its last change, which for a folder is when an entry came or went. So whoever leaves
// the list as it was has written nothing, not even what he removed again.
//
// SQLite's log and shared memory come and go with whoever looks at a database (*.db). They
// are left out, and so is the time of the folder that they are in.
func Tree(t testing.TB, root string) []string {
	t.Helper()
	var tree []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || strings.HasSuffix(path, ".db-wal") || strings.HasSuffix(path, ".db-shm") {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		entry := fmt.Sprint(path, " ", info.Mode())
		databases, err := filepath.Glob(filepath.Join(path, "*.db"))
		if len(databases) == 0 {
			entry += fmt.Sprint(" ", info.Size(), " bytes at ", info.ModTime())
		}
		tree = append(tree, entry)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}
