package dir

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wadi-log/wadi/objstore"
)

// mount mounts a tmpfs with the options, for the time of the test, or skips.
func mount(t *testing.T, options string) (path string) {
	t.Helper()
	path = t.TempDir()
	if err := unix.Mount("tmpfs", path, "tmpfs", 0, options); err != nil {
		t.Skipf("mounting a tmpfs needs root (CAP_SYS_ADMIN): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(path, 0); err != nil {
			t.Errorf("unmount %s: %v", path, err)
		}
	})
	return path
}

func TestReadOnlyFileSystem(t *testing.T) {
	path := mount(t, "size=1m")
	b := openDir(t, path)
	if err := unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_RDONLY, "size=1m"); err != nil {
		t.Fatal(err)
	}
	_, openErr := Open(t.Context(), path)
	for what, err := range map[string]error{
		"Open": openErr,
		"Put":  b.Put(t.Context(), "data/x", []byte("x")),
	} {
		if !errors.Is(err, objstore.ErrConfig) || !strings.Contains(err.Error(), "read-only file system; mount it writable") {
			t.Errorf("%s: %v, want objstore.ErrConfig and what to do", what, err)
		}
	}
}

func TestFullDiskIsNamedAndHeals(t *testing.T) {
	b := openDir(t, mount(t, "size=1m"))
	if err := b.Put(t.Context(), "data/fits", make([]byte, 600<<10)); err != nil {
		t.Fatal(err)
	}
	err := b.Put(t.Context(), "data/too-much", make([]byte, 600<<10))
	if !errors.Is(err, syscall.ENOSPC) || errors.Is(err, objstore.ErrConfig) || !strings.Contains(err.Error(), "disk full: free space") {
		t.Errorf("Put: %v, want ENOSPC as an error to retry, and what to do", err)
	}
	wantNoTemporaryFiles(t, b)
	if err := b.Delete(t.Context(), "data/fits"); err != nil {
		t.Fatal(err)
	}
	if err := b.Put(t.Context(), "data/too-much", make([]byte, 600<<10)); err != nil {
		t.Errorf("Put after space was freed: %v", err)
	}
}

func TestNoPermission(t *testing.T) {
	root := t.TempDir()
	if err := os.Chmod(root, 0o555); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		// Root may write anywhere. For the rest of the test this thread alone
		// touches files as another user. The temporary folders above must let it in.
		for path := root; path != filepath.Clean(os.TempDir()) && len(path) > 1; path = path[:strings.LastIndexByte(path, '/')] {
			if err := os.Chmod(path, 0o555); err != nil {
				t.Fatal(err)
			}
		}
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := unix.Setfsuid(65534); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := unix.Setfsuid(0); err != nil {
				t.Fatal(err)
			}
		}()
	}
	_, err := Open(t.Context(), root)
	if !errors.Is(err, objstore.ErrConfig) || !strings.Contains(err.Error(), "no permission in "+root) {
		t.Errorf("Open: %v, want objstore.ErrConfig that names the folder", err)
	}
}
