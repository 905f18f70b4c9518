// Package history is what a store remembers of its database's changes, so that it notices when the database loses some
// of them: by a failover to a replica that lagged behind, or a restore under running agents.
//
// Each change that has a number also has a mark, a random number that no other change has. Whoever knows the number and the mark
// of a change knows all changes before it: databases lose changes from the end, never from the middle. So it
// is enough to remember the newest change that was acknowledged or shown to anybody, and to ask the database for
// its mark whenever it is asked for more. Comparing numbers would not do, since other agents, which knew less, may have
// committed in the meantime.
//
// What was lost may be given up, by whoever operates the store: then a new epoch begins, in which nobody is held to
// what he knew. A database that was made anew is another store, by its ID.
//
// The package decides without I/O, for both stores.
package history

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

const (
	// maxChanges and maxRuns bound what is remembered to be able to say what was lost: the newest.
	maxChanges = 4096
	maxRuns    = 16 << 10
)

// ErrLost: the database seems to lack changes that were known. It may be a replica that lags: only who holds the
// sequencer's lock of a database that takes writes can be sure.
var ErrLost = errors.New("changes that were known are not there")

// Point is a change, as far as it must be known to find it again. Its zero value is no change.
type Point struct {
	Epoch, Seq, Mark int64
	// Server is the one that showed it last.
	Server Server
}

// Server tells the server processes of a database apart. While one runs, it loses nothing: so who finds the server
// that showed a change needs not ask it for the change's mark.
type Server int64

// Change is a change that was acknowledged, or shown to somebody.
type Change struct {
	Seq, Mark int64
	// Runs are those that it added; they are not changed any more.
	Runs []metadata.Run
}

// Found is what the database says, in one snapshot, to somebody who asks for a Point.
type Found struct {
	Store   uuid.UUID
	Epoch   int64
	Halted  bool
	LastSeq int64
	Server  Server
	// CompatibleFrom is the version of the oldest schema whose programs may use the database.
	CompatibleFrom int64
	// Mark is that of the change with the number asked for; nil if there is none, or if it was not looked for.
	Mark *int64
}

// History is safe for concurrent use.
type History struct {
	// Schema is the version of the schema that this program knows; set once, 0 for unknown.
	Schema int64

	mu    sync.Mutex
	store uuid.UUID // uuid.Nil before the first look
	epoch int64
	// recent are the newest changes that are known, ascending; runs counts theirs.
	recent []Change
	runs   int
	// server is the one that showed the newest of them last.
	server Server
	// refusal is why the store must not be used, nil while it may.
	refusal error
	// replaced: the database is another store now, for good.
	replaced bool
	// reported: what this History knows to be lost is on record in the database.
	reported bool
}

// Newest is the newest change that is known.
func (h *History) Newest() Point {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := Point{Epoch: h.epoch, Server: h.server}
	if n := len(h.recent); n > 0 {
		p.Seq, p.Mark = h.recent[n-1].Seq, h.recent[n-1].Mark
	}
	return p
}

// Refusal is why the store must not be used as of the last look, nil if it may. It is a metadata.ErrUnavailable
// or, if this program is too old for the database, metadata.ErrSchema.
func (h *History) Refusal() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.refusal
}

// Check compares what the database says with what was known when it was asked, and looked for, unless the server is the Point's. Errors: those of [History.Refusal], and
// ErrLost, which the caller must get to the bottom of before anything else; until then it is the Refusal, too.
func (h *History) Check(asked Point, found Found) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.Schema > 0 && found.CompatibleFrom > h.Schema {
		h.refusal = fmt.Errorf("%w: the database was migrated, and needs a newer wadi than this one, which must go no further", metadata.ErrSchema)
		return h.refusal
	}
	if h.store == uuid.Nil {
		h.store, h.epoch = found.Store, found.Epoch
	}
	if h.replaced || found.Store != h.store {
		h.replaced = true
		h.refusal = fmt.Errorf("%w: the database is not the one any more that this process began with; restart it, if that is what was meant", metadata.ErrUnavailable)
		return h.refusal
	}
	if found.Epoch > h.epoch {
		// Who operates the store has given up what was lost.
		h.epoch, h.recent, h.runs, h.reported = found.Epoch, nil, 0, false
	}
	if lost(asked, found) && !(found.Halted && h.reported) {
		h.refusal = fmt.Errorf("%w: %w: up to number %d, of which the database has %d", metadata.ErrUnavailable, ErrLost, asked.Seq, found.LastSeq)
		return h.refusal
	}
	if found.Epoch == h.epoch && len(h.recent) > 0 && h.recent[len(h.recent)-1].Seq == asked.Seq {
		h.server = found.Server
	}
	h.refusal = nil
	if found.Halted {
		h.refusal = fmt.Errorf("%w: %w", metadata.ErrUnavailable, metadata.ErrHalted)
	} else {
		h.reported = false
	}
	return h.refusal
}

// lost tells whether the change is not there any more. One that was trimmed is: nothing but its successors tells of it, but the
// newest entry is never trimmed, so there are some.
func lost(asked Point, found Found) bool {
	switch {
	case found.Epoch < asked.Epoch:
		return true // also for whom nothing is known of it yet: the change that began it is gone
	case asked.Seq == 0 || found.Epoch > asked.Epoch:
		return false
	case found.LastSeq < asked.Seq:
		return true
	}
	return found.Mark != nil && *found.Mark != asked.Mark
}

// Note remembers changes that the database has, as of what was found.
func (h *History) Note(found Found, changes ...Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if found.Epoch != h.epoch {
		return // others were told meanwhile that they don't count any more
	}
	for _, c := range changes {
		at, known := h.find(c.Seq)
		if known {
			continue
		}
		if at == len(h.recent) {
			h.server = found.Server
		}
		h.recent = slices.Insert(h.recent, at, c)
		h.runs += len(c.Runs)
	}
	h.forget()
}

func (h *History) find(seq int64) (int, bool) {
	if n := len(h.recent); n == 0 || h.recent[n-1].Seq < seq {
		return n, false // as almost always
	}
	return slices.BinarySearchFunc(h.recent, seq, func(c Change, seq int64) int { return int(min(max(c.Seq-seq, -1), 1)) })
}

// forget drops the oldest changes, where there are too many. The newest stays.
func (h *History) forget() {
	drop := 0
	for drop < len(h.recent)-1 && (len(h.recent)-drop > maxChanges || h.runs > maxRuns) {
		h.runs -= len(h.recent[drop].Runs)
		drop++
	}
	if drop > 0 {
		clear(h.recent[:drop]) // their runs are garbage
		h.recent = h.recent[drop:]
	}
}

// Oldest is the number of the oldest change that is remembered, 0 for none.
func (h *History) Oldest() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.recent) == 0 {
		return 0
	}
	return h.recent[0].Seq
}

// Loss is what is known to be lost: of what is remembered, what the database has not, or otherwise. marks are those
// that the database has, by number, from [History.Oldest] on.
func (h *History) Loss(asked Point, found Found, marks map[int64]int64) metadata.Loss {
	h.mu.Lock()
	defer h.mu.Unlock()
	loss := metadata.Loss{Had: asked.Seq, Has: found.LastSeq}
	ends := map[metadata.PartitionID]*metadata.LostRecords{}
	for _, c := range h.recent {
		mark, there := marks[c.Seq]
		if there && mark == c.Mark || !there && c.Seq <= found.LastSeq {
			continue // it is there, or was trimmed
		}
		if loss.Changes == 0 {
			loss.First = c.Seq
		}
		loss.Changes++
		for _, r := range c.Runs {
			l := ends[r.Partition]
			if l == nil {
				l = &metadata.LostRecords{Partition: r.Partition, Offset: r.BaseOffset}
				ends[r.Partition] = l
			}
			l.Offset, l.NextOffset = min(l.Offset, r.BaseOffset), max(l.NextOffset, r.NextOffset())
		}
	}
	for _, l := range ends {
		loss.Records = append(loss.Records, *l)
	}
	slices.SortFunc(loss.Records, func(a, b metadata.LostRecords) int { return int(a.Partition - b.Partition) })
	return loss
}

// Reported notes that the database is halted, and has on record what is lost. It returns the Refusal.
func (h *History) Reported() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reported = true
	h.refusal = fmt.Errorf("%w: %w", metadata.ErrUnavailable, metadata.ErrHalted)
	return h.refusal
}
