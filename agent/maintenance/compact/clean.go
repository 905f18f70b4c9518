package compact

import (
	"maps"

	"github.com/wadi-log/wadi/protocol"
)

// decompressLimit bounds what a batch may decompress to, as where it was produced.
const decompressLimit = 128 << 20

// dirty collects the keys of a partition's records that no pass has cleaned, and so decides how far this
// one cleans.
type dirty struct {
	keys *keys
	// from is the first offset of interest, end the first that the keys say nothing of.
	from, end int64
}

// add takes the next batch, which lies before the partition's last stable offset. False: the
// keys are full, and end is final.
//
// A pass ends between batches. Only where the very first has more keys than there is room for, it
// ends within, so that every pass gets somewhere.
func (d *dirty) add(b protocol.Batch, aborted aborted) (more bool, err error) {
	next := b.BaseOffset() + int64(b.LastOffsetDelta()) + 1
	if next <= d.end {
		return true, nil
	}
	if !b.IsControl() && !aborted.has(b) {
		full := int64(-1)
		err := b.WalkKeys(decompressLimit, func(k protocol.Key) bool {
			if k.Offset >= d.from && k.Key != nil && !d.keys.put(k.Key, k.Offset) {
				full = k.Offset
				return false
			}
			return true
		})
		switch {
		case err != nil:
			return false, err
		case full >= 0 && d.end == d.from:
			d.end = full
			return false, nil
		case full >= 0:
			return false, nil
		}
	}
	d.end = next
	return true, nil
}

// cleaner decides what a pass leaves of each batch. It does no I/O: it is a function of the batches, which
// it must get all and in order, of the keys and of the aborted transactions.
//
// What it does is what Kafka's LogCleaner does, but for three things. A delete horizon is given only to batches
// that were cleaned as a whole: else a tombstone could go together with what it deletes, which a consumer
// may have read a moment ago. A marker that aborts stays as long as the metadata store knows of its
// transaction, since consumers are told of it and would skip later records of its producer. And
// nothing is kept for the sake of producers' sequence numbers, which the metadata store has.
type cleaner struct {
	// start is the log start, end the first offset that is not cleaned, as dirty found.
	start, end int64
	// from is where the part begins that is written now. What lies before it was cleaned, and joined by a merge with
	// what follows; aborted and open say nothing of it.
	from    int64
	keys    *keys
	aborted aborted
	// now is the store's time and horizon the delete horizon that is given, in ms.
	now, horizon int64
	// open are the producers of which transactional records came since their last marker,
	// although the records may be gone now.
	open map[int64]struct{}
}

// clean returns what is left of the batch: nil for nothing, else the batch itself or a new one.
func (c *cleaner) clean(b protocol.Batch) (protocol.Batch, error) {
	base := b.BaseOffset()
	last := base + int64(b.LastOffsetDelta())
	switch {
	case last < c.start:
		return nil, nil // nobody can read it
	case base >= c.end, last < c.from:
		return b, nil
	case b.NumRecords() == 0:
		return nil, nil
	case b.IsControl():
		return c.cleanMarker(b)
	}
	if b.IsTransactional() {
		c.open[b.ProducerID()] = struct{}{}
		if c.aborted.has(b) {
			return nil, nil
		}
	}
	horizon := c.horizon
	if last >= c.end {
		horizon = protocol.NoHorizon
	}
	due, has := b.DeleteHorizon()
	forget := has && due <= c.now // its tombstones have been there for long enough
	return b.Filter(decompressLimit, horizon, func(k protocol.Key) bool {
		switch {
		case k.Offset >= c.end:
			return true
		case k.Key == nil, k.Tombstone && forget:
			return false
		}
		return !c.keys.replaced(k.Key, k.Offset)
	})
}

// cleanMarker deals with the end of a transaction. It stays until nothing was left of the transaction
// when a pass came by, and the delete horizon that it got then has passed.
func (c *cleaner) cleanMarker(b protocol.Batch) (protocol.Batch, error) {
	if _, ok := b.EndsTransaction(); !ok {
		return b, nil
	}
	_, held := c.open[b.ProducerID()]
	delete(c.open, b.ProducerID())
	due, has := b.DeleteHorizon()
	switch {
	case held:
		return b, nil
	case !has:
		return b.WithDeleteHorizon(decompressLimit, c.horizon)
	case due <= c.now && !c.aborted.has(b):
		return nil, nil
	}
	return b, nil
}

// mark and reset let a part of a pass be done again.
func (c *cleaner) mark() map[int64]struct{}      { return maps.Clone(c.open) }
func (c *cleaner) reset(open map[int64]struct{}) { c.open = maps.Clone(open) }
