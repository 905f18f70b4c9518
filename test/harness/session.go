package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// current is what this test process started: the kernel ties children to a
// process, so there can be only one.
var current session

// session owns the temporary folder, the thread that starts children, and the
// servers that all tests of the process share.
type session struct {
	mu       sync.Mutex // guards folder, lock and requests
	folder   string
	lock     *os.File
	requests chan spawnRequest

	postgres shared[*PostgresServer]
	minio    shared[*MinioServer]
	binary   shared[string]
	older    shared[string]
}

// shared is a value that is made once, by whoever asks first. A failure is kept
// too: the second test would only wait for the same one again.
type shared[T any] struct {
	once  sync.Once
	value T
	err   error
}

func (s *shared[T]) get(start func() (T, error)) (T, error) {
	s.once.Do(func() { s.value, s.err = start() })
	return s.value, s.err
}

// close stops the shared servers, ends the spawning thread and removes the folder.
func (s *session) close() error {
	// get, instead of a look at value, so that a start under way is waited for.
	var errs []error
	nothing := errors.New("never started")
	if p, err := s.postgres.get(func() (*PostgresServer, error) { return nil, nothing }); err == nil {
		errs = append(errs, p.stop())
	}
	if m, err := s.minio.get(func() (*MinioServer, error) { return nil, nothing }); err == nil {
		errs = append(errs, m.stop())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.requests != nil {
		close(s.requests)
		s.requests = nil
	}
	if s.folder != "" {
		errs = append(errs, os.RemoveAll(s.folder), s.lock.Close())
		s.folder = ""
	}
	return errors.Join(errs...)
}

const folderPrefix = "wadi-test-"

// newFolder returns a new empty folder inside the process's temporary folder.
func (s *session) newFolder(name string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.folder == "" {
		removeAbandoned(os.TempDir())
		folder, lock, err := lockedFolder()
		if err != nil {
			return "", err
		}
		s.folder, s.lock = folder, lock
	}
	return os.MkdirTemp(s.folder, name+"-")
}

// lockedFolder makes the folder and locks the file "lock" in it for as long as
// this process lives: so a later run knows whether the folder is still used,
// which a process ID would not tell across containers that share /tmp.
func lockedFolder() (string, *os.File, error) {
	folder, err := os.MkdirTemp("", folderPrefix)
	if err != nil {
		return "", nil, err
	}
	// Postgres may run as another user than we, and must pass through.
	if err := os.Chmod(folder, 0o711); err != nil {
		return "", nil, err
	}
	lock, err := os.Create(filepath.Join(folder, "lock"))
	if err != nil {
		return "", nil, err
	}
	if err := tryLock(lock); err != nil {
		return "", nil, errors.Join(fmt.Errorf("lock %s: %w", lock.Name(), err), lock.Close())
	}
	return folder, lock, nil
}

// tryLock locks a file for as long as it is open, unless somebody else has.
func tryLock(file *os.File) error {
	return syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

// removeAbandoned removes the folders of test processes that were killed. What
// can't be looked at or removed belongs to another user and stays.
func removeAbandoned(dir string) {
	found, err := filepath.Glob(filepath.Join(dir, folderPrefix+"*"))
	if err != nil {
		panic(err) // only for a malformed pattern
	}
	for _, folder := range found {
		lock, err := os.Open(filepath.Join(folder, "lock"))
		if err != nil {
			// No lock yet: the folder is being made, or its maker died right then.
			info, statErr := os.Stat(folder)
			if errors.Is(err, os.ErrNotExist) && statErr == nil && time.Since(info.ModTime()) > time.Hour {
				_ = os.RemoveAll(folder)
			}
			continue
		}
		// A lock that is new may be about to be taken.
		info, statErr := lock.Stat()
		old := statErr == nil && time.Since(info.ModTime()) > time.Minute
		if old && tryLock(lock) == nil {
			_ = os.RemoveAll(folder)
		}
		_ = lock.Close()
	}
}

type spawnRequest struct {
	cmd  *exec.Cmd
	done chan<- error
}

// spawn starts cmd from a thread that lives until close. The kernel sends the
// parent-death signal when the *thread* that forked ends, and Go ends threads
// as it likes, so children must not be started from just any goroutine.
func (s *session) spawn(cmd *exec.Cmd) error {
	s.mu.Lock()
	if s.requests == nil {
		s.requests = make(chan spawnRequest)
		go spawnFrom(s.requests)
	}
	requests := s.requests
	s.mu.Unlock()
	done := make(chan error, 1)
	requests <- spawnRequest{cmd, done}
	return <-done
}

func spawnFrom(requests <-chan spawnRequest) {
	// Never unlocked: the thread ends with this goroutine, and with the thread
	// whatever child still runs.
	runtime.LockOSThread()
	for r := range requests {
		r.done <- r.cmd.Start()
	}
}
