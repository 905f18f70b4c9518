//go:build !linux

package dir

import (
	"os"
	"time"
)

// identity of folders is not known on this system, so that every Put fsyncs
// the whole way to its object.
type identity struct {
	valid bool
	born  time.Time
}

func identify(*os.File) (identity, error) { return identity{}, nil }
