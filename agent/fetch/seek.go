package fetch

import (
	"bytes"
	"context"
	"fmt"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore/datafile"
)

// seek finds where to begin in the first run of each plan: where the consumer's last request
// stopped; else in a large merged run where its index says; else at its beginning.
func (r *reader) seek(ctx context.Context, parts []asked, plans []plan) {
	var unknown []int
	for i := range plans {
		p := &plans[i]
		if p.err != nil || len(p.runs) == 0 {
			continue
		}
		var known bool
		if p.from, known = r.start(&p.runs[0], parts[i].offset); !known {
			unknown = append(unknown, i)
		}
	}
	// Indexes are read side by side, as many as a window holds.
	loads := make([]*load, len(unknown))
	started, ahead := 0, int64(0)
	for k, i := range unknown {
		for ; started < len(unknown) && (started == k || ahead < windowBytes); started++ {
			p := &plans[unknown[started]]
			loads[started] = r.loadIndex(&p.runs[0], p.pool)
			ahead += loads[started].missing
		}
		p := &plans[i]
		index, err := r.index(ctx, &p.runs[0], p.pool, loads[k])
		if err == nil && len(index.Entries) > 0 {
			p.from = r.placeIn(&p.runs[0], index.SeekOffset(parts[i].offset))
		}
		p.lost = err
		ahead -= loads[k].missing
		loads[k] = nil
	}
}

// start returns where to begin in a run for the offset. Not known: its index can tell better.
func (r *reader) start(run *metadata.Run, offset int64) (from place, known bool) {
	if offset > run.BaseOffset {
		if from, ok := r.places.find(run, offset); ok {
			return from, true
		}
	}
	return beginning(run), offset <= run.BaseOffset || !r.worthSeeking(run)
}

// worthSeeking: to walk through a smaller run costs less than to read its index.
func (r *reader) worthSeeking(run *metadata.Run) bool {
	return run.Merged && int64(run.StoredSize) > r.blocks.config.BlockBytes/4
}

// loadIndex starts to read the beginning of the index behind a merged run.
func (r *reader) loadIndex(run *metadata.Run, pool Pool) *load {
	return r.blocks.load(run.FileID, run.Position+int64(run.StoredSize), datafile.IndexPrefixSize, pool)
}

// index reads the index of a merged run, the beginning of which is loaded. If it is damaged, that
// is logged, and the index empty: the batches say the same, though it takes longer to read them.
func (r *reader) index(ctx context.Context, run *metadata.Run, pool Pool, begin *load) (datafile.Index, error) {
	index, err := r.readIndex(ctx, run, pool, begin)
	if isDamage(err) && r.blocks.doubt(run.FileID, begin.mark) {
		index, err = r.readIndex(ctx, run, pool, r.loadIndex(run, pool))
	}
	if isDamage(err) {
		r.damagedIndex(run, err)
		return datafile.Index{}, nil
	}
	return index, err
}

func (r *reader) readIndex(ctx context.Context, run *metadata.Run, pool Pool, begin *load) (datafile.Index, error) {
	pieces, err := begin.wait(ctx)
	if err != nil {
		return datafile.Index{}, err
	}
	size, err := datafile.IndexSize(bytes.Join(pieces, nil))
	if err != nil {
		return datafile.Index{}, err
	}
	pieces, err = r.blocks.load(run.FileID, run.Position+int64(run.StoredSize), int64(size), pool).wait(ctx)
	if err != nil {
		return datafile.Index{}, err
	}
	return datafile.ReadIndex(bytes.Join(pieces, nil))
}

// placeIn is the place of an entry of the run's index, or the run's beginning where the
// index is of something else.
func (r *reader) placeIn(run *metadata.Run, e datafile.IndexEntry) place {
	if e.Offset < run.BaseOffset || e.Offset >= run.NextOffset() || e.Position >= run.Size || e.Stored >= run.StoredSize ||
		run.Encoding == metadata.EncodingRaw && e.Stored != e.Position {
		r.damagedIndex(run, fmt.Errorf("%w: index has offset %d at byte %d, stored at %d", errCorrupt, e.Offset, e.Position, e.Stored))
		return beginning(run)
	}
	return place{offset: e.Offset, exact: true, at: int64(e.Position), stored: int64(e.Stored)}
}

func (r *reader) damagedIndex(run *metadata.Run, err error) {
	r.metrics.corrupt.Inc()
	r.blocks.Drop(run.FileID) // in case it is only our copy that is damaged
	r.complain("the index of merged records is damaged; they are read from their beginning", readError(run, err))
}

// readError says which run could not be read.
func readError(run *metadata.Run, err error) error {
	return fmt.Errorf("%w of partition %d from offset %d on, object %s, byte %d: %w",
		errUnread, run.Partition, run.BaseOffset, datafile.Key(run.FileID), run.Position, err)
}
