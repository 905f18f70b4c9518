package recovery

import (
	"bytes"
	"cmp"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sequence"
)

// file is a data file from producers that the snapshot doesn't know.
type file struct {
	id   uuid.UUID
	size int64
	// seq is the number of the commit that brought it, 0 where no merged file tells.
	seq int64
	// proven: a merged file was made from it, so it was committed.
	proven   bool
	sections []section
}

// section is what the file holds of one partition of a topic.
type section struct {
	topic uuid.UUID
	index int32
	// The partition's ID in the store is not known here.
	metadata.Append
}

// at is when the file was made, by its agent's clock.
func (f *file) at() time.Time {
	at, _ := sequence.FileTime(f.id)
	return at
}

// compare orders files by their agents' clocks.
func (f *file) compare(other *file) int {
	return cmp.Or(f.at().Compare(other.at()), bytes.Compare(f.id[:], other.id[:]))
}
