package fetch

import (
	"errors"

	"github.com/google/uuid"
	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// errDoubtful marks damage that was found in bytes which may be another agent's copy: what is
// read again comes from the object store.
var errDoubtful = errors.New("possibly damaged on the way")

// doubtsKept bounds the files that are remembered as doubtful.
const doubtsKept = 1024

// doubts are the files of which damaged bytes were seen, numbered in the order of their discovery. From then
// on they are read from the object store alone. Not safe for concurrent use.
type doubts struct {
	files *simplelru.LRU[uuid.UUID, int64]
	count int64
}

func newDoubts() doubts {
	files, _ := simplelru.NewLRU[uuid.UUID, int64](doubtsKept, nil) // the error is for a count below one
	return doubts{files: files}
}

func (d *doubts) has(file uuid.UUID) bool { return d.files.Contains(file) }

// mark is what doubt is told of the time at which a reading began.
func (b *Blocks) mark() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.doubted.count
}

// doubt forgets a file's bytes, since a reading that began at the mark has found damage. It reports whether
// that may have come from another agent: then it counts only if it is found again, in what the
// object store has.
func (b *Blocks) doubt(file uuid.UUID, mark int64) (again bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop(file)
	if b.zone == nil {
		return false
	}
	number, doubted := b.doubted.files.Get(file)
	if !doubted {
		b.doubted.count++
		number = b.doubted.count
		b.doubted.files.Add(file, number)
	}
	return number > mark
}

// certain reads again when a file turned out to be doubtful, which each does once.
func certain[T any](read func() (T, error)) (T, error) {
	result, err := read()
	for errors.Is(err, errDoubtful) {
		result, err = read()
	}
	return result, err
}
