package protocol

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// filtered is a batch before and after Kafka's cleaner.
type filtered struct {
	name          string
	horizon       int64
	keep          []int64 // offsets
	before, after Batch
}

// filteredByKafka reads what MemoryRecords.filterTo of Kafka's 4.2.0 clients wrote, in lines of name, delete
// horizon (current time + retention), kept offsets, batch before, batch after.
func filteredByKafka(t testing.TB) []filtered {
	t.Helper()
	text, err := os.ReadFile("testdata/kafka-filter.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []filtered
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		f := filtered{name: fields[0], before: unhex(t, fields[3]), after: unhex(t, fields[4])}
		if f.horizon, err = strconv.ParseInt(fields[1], 10, 64); err != nil {
			t.Fatal(err)
		}
		for _, s := range strings.FieldsFunc(fields[2], func(r rune) bool { return r == ',' || r == '-' }) {
			offset, err := strconv.ParseInt(s, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			f.keep = append(f.keep, offset)
		}
		all = append(all, f)
	}
	return all
}

func (f filtered) kept(k Key) bool { return slices.Contains(f.keep, k.Offset) }

func TestFilterWritesWhatKafkasCleanerWrites(t *testing.T) {
	for _, f := range filteredByKafka(t) {
		t.Run(f.name, func(t *testing.T) {
			before := bytes.Clone(f.before)
			var got Batch
			var err error
			if f.name == "marker-gets-horizon" {
				got, err = f.before.WithDeleteHorizon(testLimit, f.horizon)
			} else if got, err = f.before.Filter(testLimit, f.horizon, f.kept); got == nil {
				got = f.before.Empty()
			}
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(f.before, before) {
				t.Error("the batch was changed")
			}
			if got.Codec() == CodecNone && !bytes.Equal(got, f.after) {
				t.Fatalf("got  %x\nwant %x", []byte(got), []byte(f.after))
			}
			// Other compressors make other bytes; all else is the same.
			if err := got.Validate(); got.NumRecords() == got.LastOffsetDelta()+1 && err != nil || !got.CheckCRC() {
				t.Errorf("%v, CRC right: %v", err, got.CheckCRC())
			}
			if want := f.after[atCRC+4 : BatchHeaderSize]; !bytes.Equal(got[atCRC+4:BatchHeaderSize], want) {
				t.Errorf("header %x, want %x", got[atCRC+4:BatchHeaderSize], want)
			}
			if got, want := collect(t, got, testLimit), collect(t, f.after, testLimit); !reflect.DeepEqual(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		})
	}
}

func TestFilterReturnsAnUntouchedBatchItself(t *testing.T) {
	for _, f := range filteredByKafka(t) {
		if !strings.HasSuffix(f.name, "untouched") {
			continue
		}
		got, err := f.before.Filter(testLimit, f.horizon, f.kept)
		if err != nil || &got[0] != &f.before[0] {
			t.Errorf("%s: a copy, or %v", f.name, err)
		}
	}
}

func TestFilterSetsNoHorizonWithoutOne(t *testing.T) {
	b := build(t, []kmsg.Record{{Key: []byte("a")}, {Key: []byte("b")}}, nil)
	got, err := b.Filter(testLimit, NoHorizon, func(k Key) bool { return k.Offset == 1 })
	if err != nil {
		t.Fatal(err)
	}
	if _, has := got.DeleteHorizon(); has || got.NumRecords() != 1 {
		t.Errorf("horizon %v, %d records", has, got.NumRecords())
	}
	got, err = b.Filter(testLimit, 5, func(Key) bool { return true })
	if ms, has := got.DeleteHorizon(); err != nil || !has || ms != 5 || got.NumRecords() != 2 {
		t.Errorf("%v: horizon %v %d, %d records", err, has, ms, got.NumRecords())
	}
}

func TestAClientReadsFilteredBatches(t *testing.T) {
	for _, f := range filteredByKafka(t) {
		got, err := f.before.Filter(testLimit, f.horizon, f.kept)
		if got == nil {
			got = f.before.Empty()
		}
		if err != nil {
			t.Fatal(err)
		}
		response := kmsg.NewFetchResponseTopicPartition()
		response.RecordBatches = got
		response.HighWatermark = 2000
		fetched, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
			Topic: "t", Offset: 1000, KeepControlRecords: true,
		}, &response, kgo.DefaultDecompressor(), nil)
		// Past the batch's last offset, although its last records may be gone.
		if want := 1001 + int64(got.LastOffsetDelta()); fetched.Err != nil || next != want {
			t.Errorf("%s: %v, next offset %d, want %d", f.name, fetched.Err, next, want)
		}
		want := collect(t, got, testLimit)
		if len(fetched.Records) != len(want) {
			t.Fatalf("%s: got %d records, want %d", f.name, len(fetched.Records), len(want))
		}
		for i, r := range fetched.Records {
			if r.Offset != want[i].Offset {
				t.Errorf("%s: offset %d, want %d", f.name, r.Offset, want[i].Offset)
			}
			checkRecord(t, want[i], r)
		}
	}
}

func TestWalkKeysStopsWhenToldTo(t *testing.T) {
	b := build(t, threeRecords(), nil)
	b.SetBaseOffset(70)
	var keys []Key
	err := b.WalkKeys(testLimit, func(k Key) bool {
		keys = append(keys, k)
		return len(keys) < 2
	})
	want := []Key{{Offset: 70, Key: []byte("k0")}, {Offset: 71, Tombstone: true}}
	if err != nil || !reflect.DeepEqual(keys, want) {
		t.Errorf("%v, %v", keys, err)
	}
}

func TestRecordsOfABatchWithGaps(t *testing.T) {
	const first, second = "0c 00 00 04 01 01 00", "0c 00 00 0a 01 01 00" // offset deltas 2 and 5
	for _, c := range []struct {
		name    string
		records string
		last    int32
		err     bool
	}{
		{"ascending", first + second, 7, false},
		{"up to the last", first + second, 5, false},
		{"beyond the last", first + second, 4, true},
		{"descending", second + first, 7, true},
		{"twice the same", first + first, 7, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := build(t, nil, func(kb *kmsg.RecordBatch) {
				kb.Records, kb.NumRecords, kb.LastOffsetDelta = unhex(t, c.records), 2, c.last
			})
			if b.Validate() == nil {
				t.Error("a producer may send it")
			}
			var broken error
			for _, err := range b.Records(testLimit) {
				broken = err
			}
			if (broken != nil) != c.err {
				t.Errorf("got %v", broken)
			}
		})
	}
}

// Filter of whatever passes for a batch, against its records one by one.
func FuzzFilter(f *testing.F) {
	for _, c := range filteredByKafka(f) {
		b := c.before
		f.Add(b.Attributes(), b.NumRecords(), b.LastOffsetDelta(), b.BaseTimestamp(), []byte(b[BatchHeaderSize:]), uint64(5), c.horizon)
	}
	f.Fuzz(func(t *testing.T, attributes int16, count, last int32, base int64, payload []byte, choice uint64, horizon int64) {
		const limit = 1 << 20
		b := build(t, nil, func(kb *kmsg.RecordBatch) {
			kb.Attributes, kb.NumRecords, kb.LastOffsetDelta = attributes, count, last
			kb.FirstTimestamp, kb.MaxTimestamp, kb.Records = base, max(base, 0), payload
		})
		if base < -1 {
			return // refused when it was produced
		}
		horizon = max(horizon&(1<<50-1), NoHorizon)
		var want []Record
		var broken error
		rng := rand.New(rand.NewPCG(choice, 0))
		kept := map[int64]bool{}
		tombstone := false
		for r, err := range b.Records(limit) {
			if broken = err; err != nil {
				break
			}
			if kept[r.Offset] = rng.IntN(2) == 0; kept[r.Offset] {
				want = append(want, r)
				tombstone = tombstone || r.Value == nil
			}
		}
		got, err := b.Filter(limit, horizon, func(k Key) bool { return kept[k.Offset] })
		if (err != nil) != (broken != nil) {
			t.Fatalf("Records: %v, Filter: %v", broken, err)
		}
		if err != nil || got == nil {
			if err == nil && len(want) > 0 {
				t.Fatalf("nothing left of %d", len(want))
			}
			return
		}
		if !got.CheckCRC() || got.LastOffsetDelta() != last || got.Codec() != b.Codec() {
			t.Fatalf("CRC right: %v, last offset delta %d, %v", got.CheckCRC(), got.LastOffsetDelta(), got.Codec())
		}
		if !reflect.DeepEqual(collect(t, got, 2*limit), want) {
			t.Fatalf("got  %v\nwant %v", collect(t, got, 2*limit), want)
		}
		ms, has := got.DeleteHorizon()
		before, had := b.DeleteHorizon()
		switch {
		case had && (!has || ms != before):
			t.Fatalf("horizon %d became %d", before, ms)
		case !had && has != (tombstone && horizon != NoHorizon), !had && has && ms != horizon:
			t.Fatalf("horizon %d (%v), asked for %d, tombstone left: %v", ms, has, horizon, tombstone)
		}
		if binary.BigEndian.Uint32(got[atLength:]) != uint32(len(got)-batchPrefixSize) {
			t.Fatal("the length lies")
		}
	})
}
