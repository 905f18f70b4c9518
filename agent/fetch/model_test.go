package fetch

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/protocol"
)

// modelLog is what partition 1 holds, batch by batch, and the runs in which that lies.
type modelLog struct {
	f *readFixture
	r *rand.Rand
	// batches ascend by their offsets, of which compaction leaves some out.
	batches []protocol.Batch
	runs    []metadata.Run
	// end is the offset after the last batch.
	end int64
}

func lastOf(b protocol.Batch) int64 { return b.BaseOffset() + int64(b.LastOffsetDelta()) }

// write makes a random batch with up to size bytes in a value, as it is in the log at the end.
func (m *modelLog) write(t testing.TB, codec protocol.Codec, size int) protocol.Batch {
	if m.r.IntN(4) == 0 {
		marker := protocol.EndMarker{ProducerID: m.r.Int64N(3), ProducerEpoch: 1, Commit: m.r.IntN(2) == 0, Timestamp: 5}
		return m.place(marker.AppendTo(nil))
	}
	records := recs(1+m.r.IntN(5), 1+m.r.IntN(size), m.r.Int64N(1000))
	batch := makeBatch(t, codec, records...)
	if m.r.IntN(3) == 0 {
		setProducer(batch, m.r.Int64N(3), 1, 0)
	}
	return m.place(batch)
}

// place gives a batch the offsets at the log's end.
func (m *modelLog) place(b protocol.Batch) protocol.Batch {
	b.SetBaseOffset(m.end)
	b.SetLeaderEpoch(protocol.LeaderEpoch)
	m.end = lastOf(b) + 1
	return b
}

// append adds the batches as produced: a run of each stretch without markers.
func (m *modelLog) append(t testing.TB, compression datafile.Compression, batches []protocol.Batch) {
	m.batches = append(m.batches, batches...)
	for len(batches) > 0 {
		n := slices.IndexFunc(batches, protocol.Batch.IsControl)
		if n == 0 {
			m.runs = append(m.runs, markerRun(t, batches[0]))
			batches = batches[1:]
			continue
		}
		if n < 0 {
			n = len(batches)
		}
		m.f.next[1] = batches[0].BaseOffset()
		produced := make([]protocol.Batch, n)
		for i := range produced {
			produced[i] = slices.Clone(batches[i])
			produced[i].SetBaseOffset(0)
			produced[i].SetLeaderEpoch(-1)
		}
		m.runs = append(m.runs, m.f.write(t, compression, map[metadata.PartitionID][]protocol.Batch{1: produced})[1])
		batches = batches[n:]
	}
}

func markerRun(t testing.TB, b protocol.Batch) metadata.Run {
	marker := metadata.Marker{ProducerID: b.ProducerID(), Epoch: b.ProducerEpoch(), Timestamp: b.MaxTimestamp()}
	for record, err := range b.Records(0) {
		if err != nil {
			t.Fatal(err)
		}
		marker.Commit = record.Key[3] == 1
	}
	return marker.Run(1, b.BaseOffset(), 0)
}

// merge adds the batches as a merge writes them; compact takes some of them away, as Kafka's cleaner does.
func (m *modelLog) merge(t testing.TB, compression datafile.Compression, batches []protocol.Batch, compact bool) {
	base, next := batches[0].BaseOffset(), lastOf(batches[len(batches)-1])+1
	if compact {
		batches = m.compact(t, batches)
	}
	m.batches = append(m.batches, batches...)
	m.runs = append(m.runs, m.f.merge(t, compression, base, next, batches))
}

func (m *modelLog) compact(t testing.TB, batches []protocol.Batch) (left []protocol.Batch) {
	for i, b := range batches {
		filtered, err := b.Filter(1<<30, protocol.NoHorizon, func(protocol.Key) bool { return m.r.IntN(3) == 0 })
		if err != nil {
			t.Fatal(err)
		}
		if filtered == nil && i == len(batches)-1 {
			filtered = b.Empty()
		}
		if filtered != nil {
			left = append(left, filtered)
		}
	}
	return left
}

// merge stores a merged file with the batches of partition 1, which cover the offsets from base to before
// next, and something of another partition, and returns their run.
func (f *readFixture) merge(t testing.TB, compression datafile.Compression, base, next int64, batches []protocol.Batch) metadata.Run {
	t.Helper()
	w, err := datafile.NewMergeWriter(compression, nil)
	if err != nil {
		t.Fatal(err)
	}
	filler := makeBatch(t, protocol.CodecNone, recs(3, 100, 0)...)
	mergeSection(t, w, 0, 0, 3, []protocol.Batch{filler})
	section := mergeSection(t, w, 1, base, next, batches)
	file, err := w.Finish(newFileID(t))
	if err == nil {
		err = f.bucket.Put(t.Context(), datafile.Key(file.ID), slices.Clone(file.Bytes))
	}
	if err != nil {
		t.Fatal(err)
	}
	return mergedRun(1, file.ID, section)
}

func mergeSection(t testing.TB, w *datafile.MergeWriter, partition int32, base, next int64, batches []protocol.Batch) datafile.Section {
	t.Helper()
	err := w.Begin(uuid.Max, partition, base)
	for _, b := range batches {
		if err == nil {
			err = w.Append(datafile.MergedBatch{Bytes: b, Compressed: b.Codec() != protocol.CodecNone,
				BaseOffset: b.BaseOffset(), LastOffset: lastOf(b), MaxTimestamp: b.MaxTimestamp()})
		}
	}
	var s datafile.Section
	if err == nil {
		s, err = w.End(next)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// mergedRun is the run of a merged section.
func mergedRun(p metadata.PartitionID, file uuid.UUID, s datafile.Section) metadata.Run {
	return metadata.Run{Partition: p, BaseOffset: s.BaseOffset, Records: int32(s.NextOffset - s.BaseOffset), FileID: file,
		Encoding: metadata.Encoding(s.Encoding), Position: s.Position, StoredSize: s.StoredSize, Size: s.Size,
		MaxTimestamp: s.MaxTimestamp, Merged: true}
}

// want are the batches that a fetch gets.
func (m *modelLog) want(offset, until, room int64) (out []byte) {
	for _, b := range m.batches {
		switch size := int64(b.Size()); {
		case lastOf(b) < offset:
		case lastOf(b) >= until || len(out) > 0 && size > room-int64(len(out)):
			return out
		default:
			out = append(out, b...)
		}
	}
	return out
}

// plan is what a planner finds for the offset.
func (m *modelLog) plan(offset, until, room int64) plan {
	c := chain{runs: m.runs, end: m.end}
	p := planned(before(c.from(offset), until)...)
	p.until, p.pool, p.bytes = until, Cold, min(p.bytes, max(room, 1))
	return p
}

// fetch reads partition 1 as it is planned.
func (m *modelLog) fetch(t *testing.T, offset, until, room int64) readPart {
	t.Helper()
	plans := []plan{m.plan(offset, until, room)}
	return m.f.read(t.Context(), []asked{{1, offset, room}}, plans, limits{maxBytes: 1 << 30}, noReplan(t))[0]
}
