package fetch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore/datafile"
)

const (
	// maxRunsPerQuery bounds what one query returns of all its partitions.
	maxRunsPerQuery = 8192
	// aheadBytes is how much behind its limit a partition that catches up is
	// planned, to read it ahead.
	aheadBytes = 24 << 20
)

// errOffsetOutOfRange: the offset lies outside of what the store itself says.
var errOffsetOutOfRange = errors.New("offset out of range")

// asked is one partition of a fetch.
type asked struct {
	partition metadata.PartitionID
	offset    int64
	// maxBytes limits what the partition returns.
	maxBytes int64
}

// plan is what to read of one partition. All of it is of one snapshot, of the
// tail or of the store.
type plan struct {
	metadata.Bounds
	// until is where the offsets end that the consumer may read, by its isolation level.
	until int64
	// runs are contiguous, the first one contains the offset, the last one begins before until.
	runs []metadata.Run
	// aborted are the transactions of which a consumer of committed records
	// skips what it finds in the runs, by LastOffset. Nobody changes them.
	aborted []metadata.AbortedTransaction
	// ahead are the runs behind them that the next request will likely ask for.
	ahead []metadata.Run
	// room is what is left of the request's limit for the partition, and of its own: the most that the runs may return.
	// bytes estimates what they will (the place of the offset within
	// the first one is not known before it is read), at most room.
	room, bytes int64
	pool        Pool
	// err is errOffsetOutOfRange, metadata.ErrUnknownPartition or an error of the store.
	err error

	// What the reader adds: runs[reached] is where it is, from is the place there to go
	// on from. lost is why it doesn't know the place to begin.
	reached int
	from    place
	lost    error
}

// current is the run that the reader is at.
func (p *plan) current() *metadata.Run { return &p.runs[p.reached] }

// goOn goes to the next run.
func (p *plan) goOn() {
	p.reached++
	p.from = place{}
	if p.reached < len(p.runs) {
		p.from = beginning(p.current())
	}
}

// place is where the reader will begin in the k-th run.
func (p *plan) place(k int) place {
	if k == p.reached {
		return p.from
	}
	return beginning(&p.runs[k])
}

// planner finds the runs that a fetch reads.
type planner struct {
	tail    *Tail
	log     metadata.Log
	metrics *Metrics
	// tailAge as in [Config].
	tailAge time.Duration
}

// plan plans the partitions in their order: what the client asked for first
// has the first claim on maxBytes. The store is asked at most once, for all
// partitions that the tail can't answer. plans has the same length as parts.
func (p *planner) plan(ctx context.Context, level isolation, parts []asked, maxBytes int64, plans []plan) {
	at := p.tail.snapshot()
	query := p.tail.look(level, parts, maxBytes, plans)
	query = append(query, p.outdated(plans)...)
	p.metrics.fromTail.Add(float64(len(parts) - len(query)))
	if len(query) > 0 {
		p.query(ctx, at, level, parts, maxBytes, query, plans)
	}
	share(parts, plans, maxBytes)
}

// look plans what the tail knows. query are the indexes of partitions that the
// store must be asked for.
func (t *Tail) look(level isolation, parts []asked, maxBytes int64, plans []plan) (query []int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range parts {
		a, pl := &parts[i], &plans[i]
		*pl = plan{}
		c := t.chains[a.partition]
		if c == nil || c.logStart < 0 || a.offset > c.end || a.offset < c.logStart {
			query = append(query, i)
			continue
		}
		bounds := c.bounds()
		until := level.end(&bounds)
		if a.offset < until && a.offset < c.start() {
			query = append(query, i)
			continue
		}
		pl.Bounds, pl.until, pl.pool = bounds, until, Hot
		if a.offset < until {
			runs := c.from(a.offset)
			runs = runs[:enough(runs, a.offset, min(a.maxBytes, maxBytes))]
			pl.runs = append(pl.runs, before(runs, until)...)
			if level == readCommitted {
				pl.aborted = c.abortedFrom(a.offset)
			}
		}
	}
	return query
}

// outdated are the indexes of plans that name a file which may have been merged, and deleted
// since. Older runs come first, but for what agents' clocks differ.
func (p *planner) outdated(plans []plan) (query []int) {
	if p.tailAge <= 0 {
		return nil
	}
	oldest := time.Now().Add(-p.tailAge)
	for i := range plans {
		for k := range plans[i].runs {
			if run := &plans[i].runs[k]; run.Encoding != metadata.EncodingMarker {
				if datafile.IDTime(run.FileID).Before(oldest) {
					query = append(query, i)
				}
				break
			}
		}
	}
	return query
}

// query asks the store for the partitions of the list.
func (p *planner) query(ctx context.Context, at snapshot, level isolation, parts []asked, maxBytes int64, which []int, plans []plan) {
	p.metrics.queried.Add(float64(len(which)))
	queries := make([]metadata.RunQuery, len(which))
	for k, i := range which {
		queries[k] = metadata.RunQuery{
			Partition: parts[i].partition, Offset: parts[i].offset,
			MaxBytes: min(parts[i].maxBytes, maxBytes) + aheadBytes,
			MaxRuns:  min(metadata.MaxRuns, max(1, maxRunsPerQuery/len(which))),
		}
	}
	found, err := p.log.FindRuns(ctx, queries)
	if err == nil && len(found) != len(queries) {
		err = fmt.Errorf("metadata store answered %d of %d queries", len(found), len(queries))
	}
	for k, i := range which {
		if err != nil {
			plans[i].err = err
			continue
		}
		p.tail.learn(at, parts[i].partition, &found[k])
		until := level.end(&found[k].Bounds)
		plans[i] = plan{Bounds: found[k].Bounds, until: until, pool: Cold, err: outside(&found[k], parts[i].offset)}
		if parts[i].offset < until {
			plans[i].runs, plans[i].aborted = before(found[k].Runs, until), found[k].Aborted
		}
	}
}

// outside returns why the store's answer has nothing at the offset, if so.
func outside(found *metadata.PartitionRuns, offset int64) error {
	switch {
	case !found.Exists:
		return metadata.ErrUnknownPartition
	case offset < found.LogStartOffset || offset > found.NextOffset:
		return errOffsetOutOfRange
	}
	return nil
}

// enough is the number of runs that hold the bytes from the offset on, at least one of any.
func enough(runs []metadata.Run, offset, bytes int64) int {
	for i := range runs {
		if i == metadata.MaxRuns {
			return i
		}
		if bytes -= sizeFrom(&runs[i], offset); bytes <= 0 {
			return i + 1
		}
	}
	return len(runs)
}

// before returns the runs that begin before the offset.
func before(runs []metadata.Run, offset int64) []metadata.Run {
	n := len(runs)
	for n > 0 && runs[n-1].BaseOffset >= offset {
		n--
	}
	return runs[:n]
}

// sizeFrom estimates the bytes that a run holds from the offset on, at least
// one: its records taken as equally large.
func sizeFrom(r *metadata.Run, offset int64) int64 { return sizeWithin(r, offset, r.NextOffset()) }

// sizeWithin is the same for the offsets from one to before another.
func sizeWithin(r *metadata.Run, from, until int64) int64 {
	from, until = max(from, r.BaseOffset), min(until, r.NextOffset())
	if r.Records <= 0 || until-from >= int64(r.Records) {
		return int64(r.Size)
	}
	return max(1, int64(r.Size)*(until-from)/int64(r.Records))
}

// share hands out maxBytes in the order of the partitions and cuts their runs
// to it: what is behind goes to ahead. The first partition that has anything
// keeps its first run whatever the limits (KIP-74: a consumer must get past a batch
// that is larger than they are).
func share(parts []asked, plans []plan, maxBytes int64) {
	left := maxBytes
	first := true
	for i := range plans {
		pl := &plans[i]
		if pl.err != nil || len(pl.runs) == 0 {
			continue
		}
		room := min(parts[i].maxBytes, left)
		if room <= 0 && !first {
			pl.runs, pl.ahead = nil, pl.runs
			continue
		}
		pl.room = room
		n := enough(pl.runs, parts[i].offset, room)
		pl.runs, pl.ahead = pl.runs[:n], pl.runs[n:]
		for k := range pl.runs {
			pl.bytes += sizeWithin(&pl.runs[k], parts[i].offset, pl.until)
		}
		pl.bytes = min(pl.bytes, max(room, 1))
		left -= pl.bytes
		first = false
	}
}
