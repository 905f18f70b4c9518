package dir

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// identity tells a folder from a later one at the same path: inode numbers are
// used again at once, so the time of birth belongs to it.
type identity struct {
	valid bool // the file system knows times of birth
	inode uint64
	born  time.Time
}

func identify(folder *os.File) (identity, error) {
	var stat unix.Statx_t
	err := unix.Statx(int(folder.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_BTIME, &stat)
	if err != nil {
		return identity{}, &os.PathError{Op: "statx", Path: folder.Name(), Err: err}
	}
	return identity{
		valid: stat.Mask&unix.STATX_BTIME != 0,
		inode: stat.Ino,
		born:  time.Unix(stat.Btime.Sec, int64(stat.Btime.Nsec)),
	}, nil
}
