package metadata

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// ErrHalted comes with ErrUnavailable: the store has lost changes that agents knew, and nothing is read, changed or
// acknowledged until they are back or given up.
var ErrHalted = errors.New("the metadata store is halted, because it lacks changes that agents had acknowledged or seen; " +
	"did it fail over to a replica that lagged, or was it restored? Bring the former primary back, or see `wadi resume`")

// Halts is about stores that lost changes.
//
// A Store remembers the newest change that it acknowledged or showed to somebody, and looks whether the database still
// has it, wherever it goes on from there: in each call of the Feed, in Ping, on each new connection, and in each change that takes
// a number, unless it is made by the same server process that showed the newest one. If it has not, the Store halts the database, for all stores, until somebody resumes it; a database that has
// the change again, since the right server is back, works on by itself. What was trimmed from the
// feed in the meantime is not missed.
//
// While a database is halted all calls fail with ErrHalted, but for those of this interface, the Feed, Ping and
// Agents, which say so or work. A Store that knew nothing of what was lost notices with its next look.
type Halts interface {
	// Halt returns what is known of why the store is halted, nil if it is not.
	Halt(ctx context.Context) (*Halt, error)
	// Resume gives up what was lost. The numbers of changes go on far behind all that anybody knew, and the Feed begins
	// anew there, so that all followers drop what they had. So do producer IDs, versions of groups and IDs of partitions, which
	// somebody may have got by a change that is lost. Of a store that isn't halted nothing is changed.
	Resume(ctx context.Context) error
}

// Halt is why a store is halted.
type Halt struct {
	// Since is by the store's clock.
	Since time.Time
	// Losses are what each agent knows to be lost, who noticed first first; they overlap.
	Losses []Loss
}

// Add adds what a store noted as JSON, and when.
func (h *Halt) Add(at time.Time, loss []byte) error {
	l := Loss{At: at}
	if err := json.Unmarshal(loss, &l); err != nil {
		return fmt.Errorf("what is lost: %w", err)
	}
	h.Losses = append(h.Losses, l)
	h.Since = h.Losses[0].At
	return nil
}

// Loss is what one agent knows to be lost: at least that.
type Loss struct {
	// At is when it was noticed, by the store's clock.
	At time.Time `json:"-"`
	// Had is the number of the newest change that the agent knew, Has that of the newest in the database.
	Had int64 `json:"had"`
	Has int64 `json:"has"`
	// First is the number of the first change that is lost, as far as the agent remembers, Changes how many it remembers.
	First   int64 `json:"first"`
	Changes int   `json:"changes"`
	// Records are the offsets of their records and markers, by partition. Others may have got the same offsets since.
	Records []LostRecords `json:"records,omitempty"`
}

// LostRecords are the offsets from Offset to before NextOffset of a partition.
type LostRecords struct {
	Partition  PartitionID `json:"partition"`
	Offset     int64       `json:"offset"`
	NextOffset int64       `json:"next_offset"`
}

// ResumeJump is by how much the numbers of changes, producer IDs and versions of groups rise when a store resumes, and
// ResumePartitions by how much the IDs of partitions do: more than any store that was lost can have had beyond those that are left.
const (
	ResumeJump       = 1 << 32
	ResumePartitions = 1 << 20
)
