package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/wadi-log/wadi/metadata"
)

// advice tells the operator what to do, by SQLite's primary result code.
var advice = map[int]string{
	sqlite3.SQLITE_BUSY:     "another process keeps the file locked; is a second agent or a tool working on it?",
	sqlite3.SQLITE_LOCKED:   "another process keeps the file locked; is a second agent or a tool working on it?",
	sqlite3.SQLITE_FULL:     "the disk is full; free space on it",
	sqlite3.SQLITE_READONLY: "the file or its folder is read-only; make both writable for this user, or name another file in --metadata",
	sqlite3.SQLITE_CANTOPEN: "the file can't be opened or made; check the path in --metadata and the rights on its folder",
	sqlite3.SQLITE_PERM:     "check the rights on the file and its folder",
	sqlite3.SQLITE_NOTADB:   "the file is no SQLite database; name another one in --metadata",
	sqlite3.SQLITE_CORRUPT:  "the database is damaged; restore it from a backup",
	sqlite3.SQLITE_IOERR:    "the disk fails; look at the system's log",
}

// refused are the codes that say for sure that nothing was committed.
var refused = map[int]bool{
	sqlite3.SQLITE_BUSY: true, sqlite3.SQLITE_LOCKED: true, sqlite3.SQLITE_FULL: true,
	sqlite3.SQLITE_READONLY: true, sqlite3.SQLITE_CANTOPEN: true, sqlite3.SQLITE_PERM: true,
	sqlite3.SQLITE_INTERRUPT: true,
}

// classify sorts a failure into the contract's errors. committing tells that
// COMMIT failed: after an I/O error the transaction may come back when the
// write-ahead log is next recovered.
func classify(err error, committing bool) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, sql.ErrTxDone) {
		return fmt.Errorf("%w: %w", metadata.ErrUnavailable, err)
	}
	var failure *sqlite.Error
	if !errors.As(err, &failure) {
		return err
	}
	code := failure.Code() & 0xff // without the extension
	if hint := advice[code]; hint != "" {
		err = fmt.Errorf("%w; %s", err, hint)
	}
	switch {
	case refused[code], code == sqlite3.SQLITE_IOERR && !committing:
		return fmt.Errorf("%w: %w", metadata.ErrUnavailable, err)
	case committing:
		return fmt.Errorf("%w: %w", metadata.ErrOutcomeUnknown, err)
	}
	return err
}
