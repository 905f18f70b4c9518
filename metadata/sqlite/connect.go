package sqlite

import (
	"errors"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const readConnections = 4

// callTimeout bounds one call, with waiting for another process's transaction.
var callTimeout = 10 * time.Second

// filePath returns the absolute path that sqlite:PATH, or a bare path, names.
func filePath(u string) (string, error) {
	path := strings.TrimPrefix(u, "sqlite:")
	if strings.HasPrefix(path, "///") {
		path = path[2:]
	}
	if path == "" || path == ":memory:" || strings.HasPrefix(path, "//") {
		return "", errors.New("--metadata: want sqlite:PATH, with the path of a file, as in sqlite:wadi-data/metadata.db")
	}
	return filepath.Abs(path)
}

// writerDSN: a commit syncs the log before it returns. Checkpoints come every
// 8192 pages (32 MiB) instead of 1000: a commit to many partitions changes the
// same pages again and again, and a checkpoint writes each only once.
func writerDSN(path string) string {
	return dsn(path, "journal_mode(WAL)", "synchronous(FULL)", "wal_autocheckpoint(8192)", "journal_size_limit(67108864)", "cache_size(-65536)") +
		"&_txlock=immediate"
}

// readerDSN: mode=rw opens only a file that exists. (SQLite's mode=ro would leave its
// log and shared memory behind where nobody else has the file open.)
func readerDSN(path string) string {
	return dsn(path, "cache_size(-8192)") + "&mode=rw&_query_only=1"
}

func dsn(path string, pragmas ...string) string {
	file := url.URL{Path: filepath.ToSlash(path)}
	values := url.Values{
		// The deadline of the call ends the wait.
		"_busy_timeout": {strconv.FormatInt(2*callTimeout.Milliseconds(), 10)},
		// A misspelt column is an error, not a string.
		"_dqs":    {"0"},
		"_pragma": pragmas,
	}
	return "file:" + file.EscapedPath() + "?" + values.Encode()
}
