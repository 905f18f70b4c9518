package datafile_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/objstore/datafile"
)

var seed = flag.Uint64("seed", 0, "seed of the random test; 0 takes another one each time")

func TestEncodedFileReadsBackByteForByte(t *testing.T) {
	seed := *seed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d runs this again", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	compressions := []datafile.Compression{datafile.Auto, datafile.Zstd, datafile.S2, datafile.None}
	framed := 0
	for round := range 24 {
		inputs := randomInputs(rng)
		f := mustEncode(t, compressions[round%4], inputs...)
		footer, err := datafile.ReadFooter(f.Bytes)
		if err != nil {
			t.Fatalf("ReadFooter: %v", err)
		}
		want := datafile.Footer{ID: fileID, Version: 1, Size: int64(len(f.Bytes)), Sections: f.Sections}
		if !reflect.DeepEqual(footer, want) {
			t.Fatalf("ReadFooter = %+v\nwant %+v", footer, want)
		}
		if opened, err := datafile.Open(context.Background(), &object{b: f.Bytes}, int64(len(f.Bytes))); err != nil || !reflect.DeepEqual(opened, want) {
			t.Fatalf("Open = %+v, %v\nwant %+v", opened, err, want)
		}
		var raw, stored int64
		i := 0
		for c, err := range footer.Contents(f.Bytes) {
			if err != nil {
				t.Fatalf("section %d: %v", i, err)
			}
			checkContent(t, rng, c, inputs[i], f.Bytes)
			raw += int64(c.Size)
			stored += int64(c.StoredSize)
			if c.Encoding == datafile.Framed {
				framed++
			}
			i++
		}
		if i != len(inputs) || raw != f.RawBytes || stored != f.StoredBytes {
			t.Fatalf("%d sections of %d bytes, stored %d; want %d, %d, %d", i, raw, stored, len(inputs), f.RawBytes, f.StoredBytes)
		}
	}
	if framed == 0 {
		t.Error("no section was framed")
	}
}

// checkContent compares a section with the input it came from.
func checkContent(t *testing.T, rng *rand.Rand, c datafile.Content, in datafile.Input, file []byte) {
	t.Helper()
	want := joined(in)
	if c.TopicID != in.TopicID || c.Partition != in.Partition || !bytes.Equal(c.Bytes, want) {
		t.Fatalf("section of %v-%d with %d bytes is not the input %v-%d with %d", c.TopicID, c.Partition, len(c.Bytes), in.TopicID, in.Partition, len(want))
	}
	records, timestamp := int32(0), int64(math.MinInt64)
	ends := map[int]bool{}
	position := 0
	for _, b := range in.Batches {
		records += b.Records
		timestamp = max(timestamp, b.MaxTimestamp)
		for at := position + datafile.MaxFrameSize; at < position+len(b.Bytes); at += datafile.MaxFrameSize {
			ends[at] = true
		}
		position += len(b.Bytes)
		ends[position] = true
	}
	if c.Batches != int32(len(in.Batches)) || c.Records != records || c.MaxTimestamp != timestamp {
		t.Fatalf("section %+v\nwant %d batches, %d records, max timestamp %d", c.Section, len(in.Batches), records, timestamp)
	}
	if c.Encoding == datafile.Raw {
		return
	}
	if int64(c.StoredSize)*10 > int64(c.Size)*9 {
		t.Errorf("framed section takes %d of %d bytes", c.StoredSize, c.Size)
	}
	position = 0
	for i, frame := range c.Frames {
		if position += frame.Size; !ends[position] {
			t.Errorf("frame %d ends at byte %d, inside a batch", i, position)
		}
	}
	stored := file[c.Position:][:c.StoredSize]
	for range 5 {
		skip := rng.IntN(len(want))
		size := rng.IntN(len(want) - skip + 1)
		if got, err := datafile.DecodeRange(stored, skip, size); err != nil || !bytes.Equal(got, want[skip:skip+size]) {
			t.Fatalf("DecodeRange(%d, %d) of %d: %d bytes, %v", skip, size, len(want), len(got), err)
		}
	}
}

func TestEncodeChoosesEncoding(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const kib, mib = 1 << 10, 1 << 20
	compressible, random := text(rng, 3*mib), noise(rng, 3*mib)
	tests := []struct {
		name        string
		compression datafile.Compression
		batches     []datafile.Batch
		want        string // codecs of the frames, "" when raw
	}{
		{"none", datafile.None, []datafile.Batch{plain(compressible)}, ""},
		{"auto is s2", datafile.Auto, []datafile.Batch{plain(compressible[:mib])}, "s2"},
		{"s2", datafile.S2, []datafile.Batch{plain(compressible[:mib])}, "s2"},
		{"zstd", datafile.Zstd, []datafile.Batch{plain(compressible[:mib])}, "zstd"},
		{"small", datafile.S2, []datafile.Batch{plain(compressible[:kib])}, "s2"},
		{"one byte", datafile.S2, []datafile.Batch{plain(compressible[:1])}, ""},
		{"incompressible", datafile.S2, []datafile.Batch{plain(random)}, ""},
		{"incompressible, zstd", datafile.Zstd, []datafile.Batch{plain(random)}, ""},
		{"compressed by the client, whatever it gains", datafile.S2, []datafile.Batch{byClient(compressible)}, ""},
		{"first frame does not gain", datafile.S2, []datafile.Batch{plain(random[:mib]), plain(compressible)}, ""},
		{"later frame does not gain", datafile.S2, []datafile.Batch{plain(compressible[:mib]), plain(random[:mib])}, "s2 stored"},
		{"gains too little in the end", datafile.S2, []datafile.Batch{plain(compressible[:100*kib]), plain(random)}, ""},
		{"batch above a frame", datafile.S2, []datafile.Batch{plain(compressible[:2*mib+1])}, "s2 s2 stored"},
		{"batch above a frame shares none", datafile.S2, []datafile.Batch{plain(compressible[:kib]), plain(compressible[:mib+kib]), plain(compressible[:kib])}, "s2 s2 s2 s2"},
		{"batches share a frame", datafile.S2, []datafile.Batch{plain(compressible[:kib]), plain(compressible[:kib]), plain(compressible[:kib])}, "s2"},
		{"mixed, less than half by the client", datafile.S2, []datafile.Batch{byClient(random[:400*kib]), plain(compressible[:600*kib])}, "stored s2"},
		{"mixed, more than half by the client", datafile.S2, []datafile.Batch{byClient(random[:600*kib]), plain(compressible[:400*kib])}, ""},
		{"mixed, small batches share a frame", datafile.S2, []datafile.Batch{byClient(random[:kib]), plain(compressible[:4*kib]), byClient(random[:kib])}, "s2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := input(topicA, 0, tt.batches...)
			f := mustEncode(t, tt.compression, in)
			footer, err := datafile.ReadFooter(f.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			for c, err := range footer.Contents(f.Bytes) {
				var codecs []string
				for _, frame := range c.Frames {
					codecs = append(codecs, frame.Codec.String())
				}
				if got := strings.Join(codecs, " "); err != nil || got != tt.want || (c.Encoding == datafile.Framed) != (tt.want != "") {
					t.Errorf("%v with frames %q, %v; want %q", c.Encoding, got, err, tt.want)
				}
				if !bytes.Equal(c.Bytes, joined(in)) {
					t.Error("other bytes than written")
				}
			}
		})
	}
}

func TestEncodeSortsAndDescribesItsInputs(t *testing.T) {
	inputs := []datafile.Input{
		input(topicB, 0, plain([]byte("b0"))),
		input(topicA, 10, plain([]byte("a10"))),
		input(topicA, 9, plain([]byte("a9"))),
	}
	f := mustEncode(t, datafile.None, inputs...)
	var got []string
	for i, s := range f.Sections {
		if s.TopicID != inputs[i].TopicID || s.Partition != inputs[i].Partition {
			t.Errorf("section %d is %v-%d, input %v-%d", i, s.TopicID, s.Partition, inputs[i].TopicID, inputs[i].Partition)
		}
		got = append(got, string(f.Bytes[s.Position:][:s.StoredSize]))
	}
	if want := []string{"a9", "a10", "b0"}; !reflect.DeepEqual(got, want) {
		t.Errorf("sections %q, want %q", got, want)
	}
}

func TestEncodeJoinsProducerRuns(t *testing.T) {
	f := mustEncode(t, datafile.None, input(topicA, 0,
		idempotent(7, 0, 0, 10),
		idempotent(7, 0, 10, 5), // continues
		idempotent(7, 0, 16, 1), // gap
		idempotent(7, 1, 17, 1), // new epoch
		idempotent(8, 1, 18, 1), // other producer
		plain([]byte("batch")),
		idempotent(8, 1, 19, 1), // not adjacent any more
	), input(topicA, 1,
		idempotent(8, 1, 20, 1), // other partition
		idempotent(9, 0, math.MaxInt32-2, 2),
		idempotent(9, 0, math.MaxInt32, 3), // continues, wraps inside
		idempotent(9, 0, 2, 1),
		idempotent(10, 0, math.MaxInt32, 1),
		idempotent(10, 0, 0, 1), // continues behind the wrap
	))
	want := [][]datafile.ProducerRun{
		{{7, 0, 0, 14, 2}, {7, 0, 16, 16, 1}, {7, 1, 17, 17, 1}, {8, 1, 18, 18, 1}, {8, 1, 19, 19, 1}},
		{{8, 1, 20, 20, 1}, {9, 0, math.MaxInt32 - 2, 2, 3}, {10, 0, math.MaxInt32, 0, 2}},
	}
	for i, s := range f.Sections {
		if !reflect.DeepEqual(s.Producers, want[i]) {
			t.Errorf("section %d has runs %v, want %v", i, s.Producers, want[i])
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	ok := input(topicA, 0, plain([]byte("batch")))
	noRecords := plain([]byte("batch"))
	noRecords.Records = 0
	many := plain([]byte("batch"))
	many.Records = math.MaxInt32
	tests := []struct {
		name        string
		id          uuid.UUID
		compression datafile.Compression
		inputs      []datafile.Input
		want        string
	}{
		{"another version of UUID", topicA, datafile.Auto, []datafile.Input{ok}, "no UUIDv7"},
		{"unknown compression", fileID, "gzip", []datafile.Input{ok}, `"gzip"`},
		{"nothing", fileID, datafile.Auto, nil, "without sections"},
		{"partition twice", fileID, datafile.Auto, []datafile.Input{ok, input(topicB, 0, ok.Batches...), ok}, "twice"},
		{"negative partition", fileID, datafile.Auto, []datafile.Input{input(topicA, -1, ok.Batches...)}, "negative partition"},
		{"no batches", fileID, datafile.Auto, []datafile.Input{input(topicA, 3)}, "partition 3 of topic aaaaaaaa-0000-4000-8000-000000000001: no batches"},
		{"empty batch", fileID, datafile.Auto, []datafile.Input{input(topicA, 0, ok.Batches[0], plain(nil))}, "batch 1 has 0 bytes"},
		{"batch without records", fileID, datafile.Auto, []datafile.Input{input(topicA, 0, noRecords)}, "0 records"},
		{"too many records", fileID, datafile.Auto, []datafile.Input{input(topicA, 0, many, many)}, "more than a section can hold"},
		{"negative sequence", fileID, datafile.Auto, []datafile.Input{input(topicA, 0, idempotent(1, 0, -1, 1))}, "sequence -1"},
		{"negative epoch", fileID, datafile.Auto, []datafile.Input{input(topicA, 0, idempotent(1, -1, 0, 1))}, "epoch -1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := datafile.Encode(tt.id, tt.compression, tt.inputs)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// TestEncodeResultIsItsOwn: the result serves as a cache while the next files
// are encoded in the same pooled buffers.
func TestEncodeResultIsItsOwn(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	first := mustEncode(t, datafile.S2, input(topicA, 0, idempotent(1, 0, 0, 1), plain(text(rng, 100_000))))
	if first.Sections[0].Encoding != datafile.Framed {
		t.Fatal("not framed")
	}
	bytesBefore, sectionsBefore := bytes.Clone(first.Bytes), fmt.Sprint(first.Sections)
	for range 3 {
		mustEncode(t, datafile.S2, input(topicB, 1, idempotent(2, 0, 5, 1), plain(text(rng, 100_000))))
	}
	if !bytes.Equal(first.Bytes, bytesBefore) || fmt.Sprint(first.Sections) != sectionsBefore {
		t.Error("a later Encode changed an earlier result")
	}
	if spare := cap(first.Bytes) - len(first.Bytes); spare > len(first.Bytes)/4 {
		t.Errorf("result of %d bytes keeps %d more", len(first.Bytes), spare)
	}
}

func TestEncodeAllocationsDoNotGrowWithBatches(t *testing.T) {
	for _, c := range []datafile.Compression{datafile.None, datafile.S2, datafile.Zstd} {
		in := benchmarkInputs(12, 20_000, 100)
		allocs := testing.AllocsPerRun(5, func() { mustEncode(t, c, in...) })
		// Some slack: the garbage collector may empty the pool, and with -race
		// the pool forgets on purpose.
		if allocs > 60 {
			t.Errorf("%s: %.0f allocations for 20,000 batches", c, allocs)
		}
	}
}
