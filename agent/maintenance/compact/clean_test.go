package compact

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// at gives the batch its offset.
func at(offset int64, b protocol.Batch) protocol.Batch {
	b = slices.Clone(b)
	b.SetBaseOffset(offset)
	return b
}

func marker(offset, producer int64, commit bool) protocol.Batch {
	return at(offset, protocol.EndMarker{ProducerID: producer, Commit: commit, Timestamp: 50}.AppendTo(nil))
}

// horizoned is the marker as a pass left it.
func horizoned(t *testing.T, b protocol.Batch, ms int64) protocol.Batch {
	t.Helper()
	b, err := b.WithDeleteHorizon(1000, ms)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWhatIsLeftOfABatch(t *testing.T) {
	w := &world{TB: t, produced: map[sequenceKey]int32{}}
	const now, horizon = 1_000, 5_000
	plain := func(records ...keyed) protocol.Batch { return w.batch(protocol.CodecNone, records...) }
	transactional := func(producer int64, records ...keyed) protocol.Batch {
		return w.by(metadata.ProducerEpoch{ID: producer}, true, 0, plain(records...))
	}
	deleted := func(ms int64, records ...keyed) protocol.Batch {
		b, err := plain(records...).Filter(1000, ms, func(protocol.Key) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var other kmsg.RecordBatch
	if err := other.ReadFrom(marker(30, 7, true)); err != nil {
		t.Fatal(err)
	}
	other.Records[8] = 3 // the type, in the key
	otherControl := sealed(t, other)
	aborted9 := []metadata.AbortedTransaction{{ProducerID: 9, FirstOffset: 40, LastOffset: 45}}

	for _, c := range []struct {
		name   string
		before []protocol.Batch // what came before, of which nothing is asked
		batch  protocol.Batch
		known  []metadata.AbortedTransaction
		// want are the offsets that are left, nil for no batch; asIs that it is the same batch.
		want    []int64
		asIs    bool
		horizon int64
	}{
		{name: "latest of its keys", batch: at(60, plain(kv("c", "1"))), want: []int64{60}, asIs: true},
		{name: "replaced later", batch: at(20, plain(kv("a", "1"), kv("c", "1"))), want: []int64{21}},
		{name: "all replaced", batch: at(20, plain(kv("a", "1")))},
		{name: "of a key that is new here", batch: at(20, plain(kv("unknown", "1"))), want: []int64{20}, asIs: true},
		{name: "without key", batch: at(20, plain(keyed{nil, []byte("v"), 0}, kv("c", "1"))), want: []int64{21}},
		{name: "empty key is a key", batch: at(20, plain(kv("", "1"))), want: []int64{20}, asIs: true},
		{name: "before the log start", batch: at(5, plain(kv("x", "1"), kv("y", "1")))},
		{name: "at the log start", batch: at(9, plain(kv("x", "1"), kv("y", "1"))), want: []int64{9, 10}, asIs: true},
		{name: "behind the end", batch: at(100, plain(kv("a", "1"), keyed{nil, nil, 0})), want: []int64{100, 101}, asIs: true},
		{name: "across the end", batch: at(98, plain(keyed{nil, []byte("v"), 0}, kv("c", "1"), keyed{nil, []byte("v"), 0})), want: []int64{99, 100}},
		{name: "empty", batch: at(20, plain(kv("c", "1"))).Empty()},

		{name: "tombstone", batch: at(60, plain(tombstone("c"))), want: []int64{60}, horizon: horizon},
		{name: "replaced tombstone", batch: at(20, plain(tombstone("a"), kv("c", "1"))), want: []int64{21}},
		{name: "tombstone across the end", batch: at(98, plain(kv("a", "1"), tombstone("c"), tombstone("d"))), want: []int64{98, 99, 100}, asIs: true},
		{name: "tombstone before its horizon", batch: at(60, deleted(now+1, tombstone("c"))), want: []int64{60}, asIs: true, horizon: now + 1},
		{name: "tombstone at its horizon", batch: at(60, deleted(now, tombstone("c")))},
		{name: "value beside a tombstone", batch: at(60, deleted(now, tombstone("c"), kv("d", "1"))), want: []int64{61}, horizon: now},

		{name: "aborted", batch: at(40, transactional(9, kv("c", "1"))), known: aborted9},
		{name: "aborted, of another producer", batch: at(40, transactional(8, kv("c", "1"))), known: aborted9, want: []int64{40}, asIs: true},
		{name: "of the same producer, before", batch: at(39, transactional(9, kv("c", "1"))), known: aborted9, want: []int64{39}, asIs: true},
		{name: "of the same producer, after", batch: at(46, transactional(9, kv("c", "1"))), known: aborted9, want: []int64{46}, asIs: true},
		{name: "of the same producer, outside of it", batch: at(41, w.by(metadata.ProducerEpoch{ID: 9}, false, 1, plain(kv("c", "1")))), known: aborted9, want: []int64{41}, asIs: true},

		{name: "marker behind its records", before: []protocol.Batch{at(40, transactional(7, kv("c", "1")))}, batch: marker(45, 7, true), want: []int64{45}, asIs: true},
		{name: "marker behind records that go", before: []protocol.Batch{at(40, transactional(7, kv("a", "1")))}, batch: marker(45, 7, true), want: []int64{45}, asIs: true},
		{name: "marker behind aborted records", before: []protocol.Batch{at(40, transactional(9, kv("c", "1")))}, known: aborted9, batch: marker(45, 9, false), want: []int64{45}, asIs: true},
		{name: "marker behind an empty batch", before: []protocol.Batch{at(40, transactional(7, kv("c", "1"))).Empty()}, batch: marker(45, 7, true), want: []int64{45}, horizon: horizon},
		{name: "marker behind another transaction's", before: []protocol.Batch{at(40, transactional(7, kv("c", "1"))), marker(41, 7, true)}, batch: marker(45, 7, false), want: []int64{45}, horizon: horizon},
		{name: "marker without records", batch: marker(45, 7, false), want: []int64{45}, horizon: horizon},
		{name: "marker before its horizon", batch: horizoned(t, marker(45, 7, true), now+1), want: []int64{45}, asIs: true, horizon: now + 1},
		{name: "marker at its horizon", batch: horizoned(t, marker(45, 7, true), now)},
		{name: "marker that consumers are told of", batch: horizoned(t, marker(45, 9, false), now), known: aborted9, want: []int64{45}, asIs: true, horizon: now},
		{name: "marker that they forgot", batch: horizoned(t, marker(45, 9, false), now)},
		{name: "emptied marker", batch: marker(45, 7, false).Empty()},
		{name: "marker behind the end", batch: marker(101, 7, true), want: []int64{101}, asIs: true},
		{name: "other control batch", batch: otherControl, want: []int64{30}, asIs: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newKeys(1000)
			k.reset(10)
			k.put([]byte("a"), 50)
			cl := cleaner{start: 10, end: 100, keys: k, aborted: newAborted(c.known), now: now, horizon: horizon, open: map[int64]struct{}{}}
			for _, b := range c.before {
				if _, err := cl.clean(b); err != nil {
					t.Fatal(err)
				}
			}
			left, err := cl.clean(c.batch)
			if err != nil {
				t.Fatal(err)
			}
			var offsets []int64
			if left != nil {
				offsets = []int64{}
				for r, err := range left.Records(1000) {
					if err != nil {
						t.Fatal(err)
					}
					offsets = append(offsets, r.Offset)
				}
				if left.BaseOffset() != c.batch.BaseOffset() || left.LastOffsetDelta() != c.batch.LastOffsetDelta() || !left.CheckCRC() {
					t.Errorf("a batch of other offsets: %d + %d", left.BaseOffset(), left.LastOffsetDelta())
				}
			}
			if !slices.Equal(offsets, c.want) || (offsets == nil) != (c.want == nil) {
				t.Errorf("left are %v, want %v", offsets, c.want)
			}
			if same := bytes.Equal(left, c.batch); same != c.asIs {
				t.Errorf("the same bytes: %v", same)
			}
			ms, has := int64(0), false
			if left != nil {
				ms, has = left.DeleteHorizon()
			}
			if has != (c.horizon != 0) || has && ms != c.horizon {
				t.Errorf("horizon %d (%v), want %d", ms, has, c.horizon)
			}
		})
	}
}

func TestAPassEndsBetweenBatchesIfItCan(t *testing.T) {
	w := &world{TB: t}
	for _, c := range []struct {
		name    string
		keys    int
		batches [][]string // keys of each batch's records
		from    int64
		want    int64
	}{
		{"room for all", 9, [][]string{{"a", "b"}, {"c", "d"}}, 0, 4},
		{"full in the second batch", 3, [][]string{{"a", "b"}, {"c", "d"}}, 0, 2},
		{"no more keys in the second batch", 2, [][]string{{"a", "b"}, {"b", "a"}, {"c"}}, 0, 4},
		{"full in the first batch", 1, [][]string{{"a", "a", "b", "c"}}, 0, 2},
		{"full in the first dirty batch, from its middle", 1, [][]string{{"x", "y", "a", "b"}}, 2, 3},
		{"clean ones take no room", 1, [][]string{{"x", "y"}, {"a"}}, 2, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newKeys(0)
			k.reset(0)
			k.slots, k.limit = make([]slot, 2*c.keys), c.keys
			d := dirty{keys: k, from: c.from, end: c.from}
			offset := int64(0)
			for _, names := range c.batches {
				var records []keyed
				for _, name := range names {
					records = append(records, kv(name, "v"))
				}
				more, err := d.add(at(offset, w.batch(protocol.CodecLZ4, records...)), aborted{})
				if err != nil {
					t.Fatal(err)
				}
				if !more {
					break
				}
				offset += int64(len(names))
			}
			if d.end != c.want {
				t.Errorf("the pass ends at %d, want %d", d.end, c.want)
			}
		})
	}
}

func TestHorizonsDoNotOverflow(t *testing.T) {
	if got := horizon(1000, math.MaxInt64); got != math.MaxInt64 {
		t.Error(got)
	}
	if got := horizon(1000, 5); got != 1005 {
		t.Error(got)
	}
}
