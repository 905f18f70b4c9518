package fetch

import (
	"github.com/google/uuid"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/wadi-log/wadi/metadata"
)

// place is where a batch lies in a run: reading may begin there.
type place struct {
	// offset is the batch's base offset. Where it is not exact, the batch, of a merged run, may
	// as well begin behind it: the offsets before it are left out.
	offset int64
	exact  bool
	// at is the batch's position in the run's decoded bytes.
	at int64
	// stored is the position in the run's stored bytes from which they are read: the
	// batch's own, or that of a frame, and the batch lies skip decoded bytes behind its beginning.
	stored, skip int64
}

// beginning is the place of the run's first batch.
func beginning(run *metadata.Run) place {
	p := place{offset: run.BaseOffset}
	if run.Encoding == metadata.EncodingFramed {
		p.skip = int64(run.Skip)
	}
	return p
}

// placesKept bounds the places that are remembered, to about 3 MB.
const placesKept = 16 << 10

// places remembers where consumers stopped in the middle of runs, so that the next
// request goes on there. Data files never change, so a place holds for as long as anybody
// asks for its run. Safe for concurrent use.
type places struct{ known *lru.Cache[placeKey, place] }

// placeKey is a run, by its file and position, and the offset that will be asked for.
type placeKey struct {
	file             uuid.UUID
	position, offset int64
}

func newPlaces(limit int) places {
	known, err := lru.New[placeKey, place](limit)
	if err != nil {
		panic(err) // the limit is a constant above 0
	}
	return places{known}
}

func (p places) remember(run *metadata.Run, offset int64, at place) {
	p.known.Add(placeKey{run.FileID, run.Position, offset}, at)
}

func (p places) find(run *metadata.Run, offset int64) (place, bool) {
	return p.known.Get(placeKey{run.FileID, run.Position, offset})
}
