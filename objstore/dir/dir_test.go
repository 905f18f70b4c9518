package dir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/objstoretest"
)

func openDir(t testing.TB, path string) *Bucket {
	t.Helper()
	b, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestContract(t *testing.T) {
	objstoretest.Run(t, func(t testing.TB) objstore.Bucket { return openDir(t, t.TempDir()) })
}

func Benchmark(b *testing.B) {
	objstoretest.Bench(b, openDir(b, b.TempDir()))
}

func TestParseURL(t *testing.T) {
	for raw, want := range map[string]string{
		"file:data":           "data",
		"file:./data/objects": "./data/objects",
		"file:/abs/100%":      "/abs/100%",
		"file:///abs/path":    "/abs/path",
		"file:":               "",
		"file://":             "",
		"file://host/path":    "",
		"data":                "",
		"":                    "",
	} {
		got, err := ParseURL(raw)
		if got != want || (err == nil) != (want != "") || err != nil && !errors.Is(err, objstore.ErrConfig) {
			t.Errorf("ParseURL(%q) = %q, %v; want %q, or objstore.ErrConfig for none", raw, got, err, want)
		}
	}
}

func TestOpenMakesMissingFoldersAndKeepsObjects(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "c")
	if err := openDir(t, path).Put(t.Context(), "data/x", []byte("kept")); err != nil {
		t.Fatal(err)
	}
	got, err := openDir(t, path).Get(t.Context(), "data/x", 0, -1)
	if err != nil || string(got) != "kept" {
		t.Errorf("after a second Open: %q, %v", got, err)
	}
}

func TestOpenReadOnlyChangesNothing(t *testing.T) {
	parent := t.TempDir()
	missing, file, root := filepath.Join(parent, "missing"), filepath.Join(parent, "file"), filepath.Join(parent, "objects")
	if err := os.WriteFile(file, nil, fileMode); err != nil {
		t.Fatal(err)
	}
	if err := openDir(t, root).Put(t.Context(), "data/x", []byte("x")); err != nil {
		t.Fatal(err)
	}
	leaveBehind(t, root, "old", tempAge+time.Minute)
	before := objstoretest.Tree(t, parent)
	for _, path := range []string{missing, file, filepath.Join(file, "below")} {
		if _, err := OpenReadOnly(t.Context(), path); !errors.Is(err, objstore.ErrConfig) || !strings.Contains(err.Error(), "--objects") {
			t.Errorf("OpenReadOnly(%q): %v, want objstore.ErrConfig that names --objects", path, err)
		}
	}
	b, err := OpenReadOnly(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.Get(t.Context(), "data/x", 0, -1); err != nil || string(got) != "x" {
		t.Errorf("Get: %q, %v", got, err)
	}
	if after := objstoretest.Tree(t, parent); !slices.Equal(after, before) {
		t.Errorf("before\n%s\nand after\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

// leaveBehind makes a temporary file as a process leaves it that died so long ago.
func leaveBehind(t *testing.T, root, name string, age time.Duration) (path string) {
	t.Helper()
	path = filepath.Join(root, tempFolder, name)
	if err := os.WriteFile(path, []byte("unfinished"), fileMode); err != nil {
		t.Fatal(err)
	}
	began := time.Now().Add(-age)
	if err := os.Chtimes(path, began, began); err != nil {
		t.Fatal(err)
	}
	return path
}

func wantLeftovers(t *testing.T, gone, stays string) {
	t.Helper()
	if _, err := os.Stat(gone); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the old leftover is still there: %v", err)
	}
	if _, err := os.Stat(stays); err != nil {
		t.Errorf("the young file, which another agent may be writing, is gone: %v", err)
	}
}

func TestOpenRemovesOnlyOldLeftovers(t *testing.T) {
	root := t.TempDir()
	openDir(t, root)
	old, young := leaveBehind(t, root, "old", tempAge+time.Minute), leaveBehind(t, root, "young", 0)
	openDir(t, root)
	wantLeftovers(t, old, young)
}

func TestAbortUploadsRemovesOnlyOldLeftovers(t *testing.T) {
	root := t.TempDir()
	b := openDir(t, root)
	if err := b.Put(t.Context(), "data/x", []byte("x")); err != nil {
		t.Fatal(err)
	}
	old, young := leaveBehind(t, root, "old", 25*time.Hour), leaveBehind(t, root, "young", 23*time.Hour)
	for _, want := range []int{1, 0} {
		if n, err := b.AbortUploads(t.Context(), "data/", 24*time.Hour); n != want || err != nil {
			t.Errorf("AbortUploads: %d, %v; want %d", n, err, want)
		}
	}
	wantLeftovers(t, old, young)
	if _, err := b.Get(t.Context(), "data/x", 0, -1); err != nil {
		t.Error(err)
	}
}

func TestPutLeavesNoTemporaryFile(t *testing.T) {
	b := openDir(t, t.TempDir())
	if err := b.Put(t.Context(), "data/x", []byte("x")); err != nil {
		t.Fatal(err)
	}
	// A file in the way of a folder makes the rename fail.
	if err := b.Put(t.Context(), "data/x/below", []byte("x")); !errors.Is(err, objstore.ErrConfig) {
		t.Errorf("Put below an object: %v, want %v", err, objstore.ErrConfig)
	}
	wantNoTemporaryFiles(t, b)
}

func wantNoTemporaryFiles(t *testing.T, b *Bucket) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(b.root, tempFolder))
	if err != nil || len(entries) != 0 {
		t.Errorf("temporary files: %v, %v; want none", entries, err)
	}
}

func TestDeleteRemovesEmptyFolders(t *testing.T) {
	b := openDir(t, t.TempDir())
	for _, key := range []string{"data/aa/hour/1", "data/aa/hour/2", "data/bb/hour/3"} {
		if err := b.Put(t.Context(), key, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	exists := func(name string) bool {
		_, err := os.Stat(filepath.Join(b.root, name))
		return err == nil
	}
	if err := b.Delete(t.Context(), "data/aa/hour/1"); err != nil || !exists("data/aa/hour") {
		t.Errorf("a folder with an object left was removed, or: %v", err)
	}
	if err := b.Delete(t.Context(), "data/aa/hour/2"); err != nil || exists("data/aa") || !exists("data/bb/hour") {
		t.Errorf("the empty folder data/aa was not removed, or data/bb was; %v", err)
	}
	if err := b.Delete(t.Context(), "data/bb/hour/3"); err != nil || exists("data") || !exists(".") {
		t.Errorf("the empty folder data was not removed, or the root was; %v", err)
	}
}

func TestListSkipsWhatIsNoObject(t *testing.T) {
	b := openDir(t, t.TempDir())
	if err := os.MkdirAll(filepath.Join(b.root, "empty", "folder"), folderMode); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".hidden", "empty/.hidden"} {
		if err := os.WriteFile(filepath.Join(b.root, name), nil, fileMode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/", filepath.Join(b.root, "link")); err != nil {
		t.Fatal(err)
	}
	err := b.List(t.Context(), "", func(o objstore.ObjectInfo) error {
		t.Errorf("List visits %q", o.Key)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// recordSyncs makes the bucket note which folders it fsyncs, from its root.
func recordSyncs(b *Bucket) *[]string {
	var synced []string
	b.folders.fsync = func(path string) (identity, error) {
		name, err := filepath.Rel(b.root, path)
		if err != nil {
			return identity{}, err
		}
		synced = append(synced, name)
		id, err := syncFolder(path)
		id.born = id.born.Add(-2 * settled) // as if it were not new
		return id, err
	}
	return &synced
}

func TestPutSyncsTheWayOnceAndThenItsFolder(t *testing.T) {
	b := openDir(t, t.TempDir())
	synced := recordSyncs(b)
	put := func(key string, want ...string) {
		t.Helper()
		*synced = nil
		if err := b.Put(t.Context(), key, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(*synced, want) {
			t.Errorf("Put(%q) fsyncs %q, want %q", key, *synced, want)
		}
	}
	put("a/b/1", "a/b", "a", ".")
	id, err := syncFolder(filepath.Join(b.root, "a"))
	if err != nil {
		t.Fatal(err)
	}
	if !id.valid {
		t.Log("this file system knows no times of birth: every Put syncs the whole way")
		put("a/b/2", "a/b", "a", ".")
		return
	}
	put("a/b/2", "a/b")
	put("root", ".")
	put("a/c/1", "a/c", "a", ".")

	// Another process deletes the folder and makes it anew: maybe at the same
	// inode, but born later.
	if err := os.RemoveAll(filepath.Join(b.root, "a")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(b.root, "a", "b"), folderMode); err != nil {
		t.Fatal(err)
	}
	b.folders.mu.Lock()
	stale := b.folders.durable[filepath.Join(b.root, "a", "b")]
	stale.born = stale.born.Add(-time.Hour) // test and clock are too fast to tell
	b.folders.durable[filepath.Join(b.root, "a", "b")] = stale
	b.folders.mu.Unlock()
	put("a/b/3", "a/b", "a", ".")
	put("a/b/4", "a/b")
}

func TestNewFolderIsNotTrustedYet(t *testing.T) {
	b := openDir(t, t.TempDir())
	b.folders.fsync = func(path string) (identity, error) {
		id, err := syncFolder(path)
		id.born = time.Now().Add(time.Minute) // surely less than a second ago
		return id, err
	}
	if err := b.Put(t.Context(), "a/1", []byte("x")); err != nil {
		t.Fatal(err)
	}
	// A folder made in its place within one tick of the clock would look the same.
	if n := len(b.folders.durable); n != 0 {
		t.Errorf("%d folders are remembered right after they were made, want 0", n)
	}
}

func TestPutFailsWhenAFolderCannotBeSynced(t *testing.T) {
	for _, broken := range []string{"a/b", "a", "."} {
		t.Run(strings.ReplaceAll(broken, "/", "-"), func(t *testing.T) {
			b := openDir(t, t.TempDir())
			b.folders.fsync = func(path string) (identity, error) {
				if path == filepath.Join(b.root, broken) {
					return identity{}, syscall.EIO
				}
				return syncFolder(path)
			}
			if err := b.Put(t.Context(), "a/b/1", []byte("x")); !errors.Is(err, syscall.EIO) || errors.Is(err, objstore.ErrConfig) {
				t.Errorf("Put: %v, want %v as an error to retry", err, syscall.EIO)
			}
			if len(b.folders.durable) != 0 {
				t.Error("the folder counts as durable")
			}
		})
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	b := &Bucket{root: "/store"}
	for _, test := range []struct {
		err    error
		config bool
		says   string
	}{
		{syscall.ENOSPC, false, "disk full"},
		{syscall.EDQUOT, false, "disk full"},
		{syscall.EROFS, true, "read-only"},
		{syscall.EACCES, true, "permission"},
		{syscall.EPERM, true, "permission"},
		{syscall.ENOTDIR, true, "a file is where a folder has to be"},
		{syscall.EIO, false, "input/output error"},
		{syscall.EMFILE, false, "too many open files"},
	} {
		err := b.explain("put", "key", &os.PathError{Op: "write", Path: "/store/key", Err: test.err})
		if errors.Is(err, objstore.ErrConfig) != test.config || !errors.Is(err, test.err) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%v becomes %q, want a word of %q, ErrConfig %v", test.err, err, test.says, test.config)
		}
		if test.config && !strings.Contains(err.Error(), "--objects") {
			t.Errorf("%q does not name the setting", err)
		}
	}
}

func TestOpenWhereAFileIsInTheWay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, fileMode); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, filepath.Join(path, "below")} {
		_, err := Open(t.Context(), p)
		if !errors.Is(err, objstore.ErrConfig) || !strings.Contains(err.Error(), "--objects") {
			t.Errorf("Open(%q): %v, want objstore.ErrConfig that names --objects", p, err)
		}
	}
}
