package rowcodec

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sequence"
)

var fileA, fileB = uuid.UUID{0: 1, 6: 0x70, 15: 0xa}, uuid.UUID{0: 1, 6: 0x70, 15: 0xb}

// The bytes are in databases: a change of them needs a new version.
func TestFormatIsStable(t *testing.T) {
	commit := metadata.Commit{
		Topics: []uuid.UUID{{15: 9}},
		Runs: []metadata.Run{
			{Partition: 5, BaseOffset: 300, Records: 2, FileID: fileA, Encoding: metadata.EncodingFramed, Position: 8, StoredSize: 50, Skip: 10, Size: 90, MaxTimestamp: 1000},
			{Partition: 4, BaseOffset: 0, Records: 1, FileID: fileA, Position: 58, StoredSize: 7, Size: 7, MaxTimestamp: -1},
		},
	}
	configs := metadata.Commit{Configs: []metadata.ConfigResource{{Kind: metadata.BrokerConfig}, {Kind: metadata.GroupConfig, Name: "g\xff"}}}
	logStarts := metadata.Commit{LogStarts: []metadata.LogStart{{Partition: 5, Offset: 300}, {Partition: 4, Offset: 0}}}
	ended := metadata.Commit{
		Runs: []metadata.Run{
			metadata.Marker{ProducerID: 1000, Epoch: 3, Timestamp: 1 << 40}.Run(5, 300, 1000),
			metadata.Marker{ProducerID: 1000, Epoch: 3, Timestamp: 1 << 40}.Run(7, 0, -1),
			metadata.Marker{ProducerID: 7, Epoch: 1, Commit: true, Timestamp: 1 << 40}.Run(5, 301, 1000),
		},
		Stable: []metadata.StableOffset{{Partition: 5, Offset: 200}, {Partition: 4, Offset: 0}},
		Aborted: []metadata.AbortedTransaction{
			{Partition: 5, ProducerID: 1000, FirstOffset: 290, LastOffset: 300, StableOffset: 200},
			{Partition: 7, ProducerID: 1000, FirstOffset: 0, LastOffset: 0, StableOffset: 1},
		},
	}
	stable := metadata.Commit{Stable: ended.Stable[:1]}
	compacted := metadata.Commit{Compacted: []metadata.CompactedUntil{{Partition: 5, Offset: 300}, {Partition: 7, Offset: 1}}}
	outcomes := [][]metadata.Outcome{
		{{BaseOffset: 300}, {BaseOffset: 7, Duplicate: true}, {BaseOffset: -1, Err: metadata.ErrOutOfOrderSequence}, {BaseOffset: -1, Err: metadata.ErrInvalidProducerEpoch}},
		{{BaseOffset: -1, Err: metadata.ErrUnknownPartition}, {BaseOffset: -1, Err: metadata.ErrProducerIDMapping}, {BaseOffset: -1, Err: metadata.ErrInvalidTransactionState}},
	}
	replay, err := EncodeReplay(outcomes)
	if err != nil {
		t.Fatal(err)
	}
	producer := []sequence.ProducerBatch{{FirstSequence: math.MaxInt32, LastSequence: 1, BaseOffset: 1 << 40}}
	beats := map[string]time.Time{"b": time.UnixMicro(299), "": time.UnixMicro(300), "a\xff": time.UnixMicro(-1)}
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"commit", EncodeCommit(commit), "01" + "01" + "00000000000000000000000000000009" + "01" + "0100000000007000000000000000000a" + "02" +
			"0a" + "ac02" + "02" + "01" + "10" + "32" + "0a" + "5a" + "d00f" + "01" + "00" + "01" + "00" + "00" + "07" + "d10f"},
		{"empty commit", EncodeCommit(metadata.Commit{}), "01000000"},
		{"commit of configs", EncodeCommit(configs), "01000000" + "02" + "04" + "00" + "20" + "02" + "67ff"},
		{"commit of log starts", EncodeCommit(logStarts), "01000000" + "00" + "02" + "0aac02" + "0100"},
		{"commit of ended transactions", EncodeCommit(ended), "01" + "00" +
			"02" + "00000100000000000003000000000000" + "00000100000000000001010000000000" + "03" +
			"00" + "0a" + "ac02" + "01" + "02" + "d00f" + "00" + "00" + "4e" + "d00f" +
			"00" + "04" + "00" + "01" + "02" + "00" + "00" + "00" + "4e" + "d10f" +
			"01" + "03" + "ad02" + "01" + "02" + "c10f" + "00" + "00" + "4e" + "d20f" +
			"00" + "00" + "02" + "0ac801" + "0100" + "02" + "0ae807a2020ac701" + "04e807000002"},
		{"commit of a last stable offset", EncodeCommit(stable), "01000000" + "00" + "00" + "01" + "0ac801"},
		{"commit of compacted partitions", EncodeCommit(compacted), "01000000" + "00" + "00" + "00" + "00" + "02" + "0aac02" + "0401"},
		{"replay", replay, "01" + "02" + "04" + "00d804" + "01c904" + "03" + "04" + "03" + "02" + "05" + "06"},
		{"beats", EncodeBeats(beats), "01" + "03" + "00" + "d804" + "02" + "61ff" + "d904" + "01" + "62" + "d804"},
		{"no beats", EncodeBeats(nil), "0100"},
		{"producer", EncodeProducerBatches(producer), "01" + "01" + "ffffffff07" + "02" + "808080808020"},
	} {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
	for _, c := range []metadata.Commit{commit, configs, logStarts, ended, stable, compacted} {
		if got, err := DecodeCommit(EncodeCommit(c)); err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("got  %+v, %v\nwant %+v", got, err, c)
		}
	}
	if got, err := DecodeReplay(replay); err != nil || !reflect.DeepEqual(got, outcomes) {
		t.Errorf("replay: got %+v, %v", got, err)
	}
	got := map[string]time.Time{}
	if err := AddBeats(got, EncodeBeats(beats)); err != nil || !reflect.DeepEqual(got, beats) {
		t.Errorf("beats: got %v, %v", got, err)
	}
	if got, err := DecodeProducerBatches(EncodeProducerBatches(producer)); err != nil || !reflect.DeepEqual(got, producer) {
		t.Errorf("producer: got %+v, %v", got, err)
	}
}

func TestCommitOfSeveralFiles(t *testing.T) {
	commit := metadata.Commit{Runs: []metadata.Run{
		{Partition: math.MaxInt32, BaseOffset: math.MaxInt64, Records: math.MaxInt32, FileID: fileA, StoredSize: 1, Size: 1, MaxTimestamp: math.MaxInt64},
		{Partition: 1, FileID: fileB, Records: 1, Position: math.MaxInt64 - 1, StoredSize: 1, Size: 1, MaxTimestamp: math.MinInt64},
		{Partition: 2, FileID: fileA, Records: 1, StoredSize: 1, Size: 1},
	}}
	if got, err := DecodeCommit(EncodeCommit(commit)); err != nil || !reflect.DeepEqual(got, commit) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestLatestBeatStays(t *testing.T) {
	early, late := time.UnixMicro(1), time.UnixMicro(2)
	got := map[string]time.Time{}
	for _, beats := range []map[string]time.Time{{"a": late, "b": early}, {"a": early, "b": late, "c": early}, {}} {
		if err := AddBeats(got, EncodeBeats(beats)); err != nil {
			t.Fatal(err)
		}
	}
	if want := map[string]time.Time{"a": late, "b": late, "c": early}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestReplayRefusesOutcomeThatIsNotKept(t *testing.T) {
	if _, err := EncodeReplay([][]metadata.Outcome{{{BaseOffset: -1, Err: metadata.ErrFileTooOld}}}); err == nil {
		t.Error("no error")
	}
}

func TestDecodersRefuse(t *testing.T) {
	for _, in := range []string{"", "00", "02", "01", "01ff", "0100", "01000000ff", "01ffffffffffffffffff01", "010000018080808080", "0100000000", "01000000010420", "010000000104016100", "010000000000", "01000000000100", "0100000000010a8080808080808080ff01", "01000000000180808080f00000",
		// An empty list at the end, an offset below 0, a partition that is none, a last offset beyond all, a stable one below 0.
		"0100000000000000", "01000000000000" + "00", "010000000000" + "01" + "0a80808080808080808001", "010000000000" + "01" + "80808080f00000",
		"01000000000000" + "01" + "0a00" + "ffffffffffffffff7f" + "01" + "00", "01000000000000" + "01" + "0a000000" + "01"} {
		b, _ := hex.DecodeString(in)
		if _, err := DecodeCommit(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("commit %q: %v", in, err)
		}
		if _, err := DecodeProducerBatches(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("producer %q: %v", in, err)
		}
		if err := AddBeats(map[string]time.Time{}, b); !errors.Is(err, ErrCorrupt) && in != "0100" {
			t.Errorf("beats %q: %v", in, err)
		}
		if _, err := DecodeReplay(b); !errors.Is(err, ErrCorrupt) && in != "0100" {
			t.Errorf("replay %q: %v", in, err)
		}
	}
}

// What decodes must encode and decode to the same again. (Not to the same
// bytes: a varint has longer forms.)
func FuzzDecodeCommit(f *testing.F) {
	f.Add(EncodeCommit(metadata.Commit{}))
	f.Add(EncodeCommit(metadata.Commit{Topics: []uuid.UUID{fileA}, Runs: []metadata.Run{
		{Partition: 5, BaseOffset: 300, Records: 2, FileID: fileA, Encoding: metadata.EncodingFramed, Position: 8, StoredSize: 50, Skip: 10, Size: 90, MaxTimestamp: 1000},
		{Partition: 6, BaseOffset: 1, Records: 1, FileID: fileB, Position: 58, StoredSize: 7, Size: 7},
	}}))
	f.Add(EncodeCommit(metadata.Commit{Configs: []metadata.ConfigResource{{Kind: metadata.BrokerConfig, Name: "1"}, {Kind: metadata.GroupConfig, Name: "g"}}}))
	f.Add(EncodeCommit(metadata.Commit{LogStarts: []metadata.LogStart{{Partition: 5, Offset: 300}, {Partition: 4, Offset: 1}}}))
	f.Add(EncodeCommit(metadata.Commit{
		Runs:    []metadata.Run{metadata.Marker{ProducerID: 1000, Epoch: 3, Timestamp: 1 << 40}.Run(5, 300, 1000)},
		Stable:  []metadata.StableOffset{{Partition: 5, Offset: 200}},
		Aborted: []metadata.AbortedTransaction{{Partition: 5, ProducerID: 1000, FirstOffset: 290, LastOffset: 300, StableOffset: 200}},
	}))
	f.Add(EncodeCommit(metadata.Commit{Compacted: []metadata.CompactedUntil{{Partition: 5, Offset: 300}, {Partition: 7, Offset: 1}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeCommit(b)
		if err != nil {
			return
		}
		again, err := DecodeCommit(EncodeCommit(c))
		if err != nil || !reflect.DeepEqual(c, again) {
			t.Fatalf("%+v became %+v, %v", c, again, err)
		}
	})
}

func FuzzDecodeReplay(f *testing.F) {
	b, _ := EncodeReplay([][]metadata.Outcome{{{BaseOffset: 3}, {BaseOffset: 1, Duplicate: true}}, {{BaseOffset: -1, Err: metadata.ErrUnknownPartition}}})
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := DecodeReplay(b)
		if err != nil {
			return
		}
		encoded, err := EncodeReplay(o)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := DecodeReplay(encoded); err != nil || !reflect.DeepEqual(o, again) {
			t.Fatalf("%+v became %+v, %v", o, again, err)
		}
	})
}

func FuzzDecodeProducerBatches(f *testing.F) {
	f.Add(EncodeProducerBatches([]sequence.ProducerBatch{{FirstSequence: math.MaxInt32, LastSequence: 1, BaseOffset: 7}, {FirstSequence: 2, LastSequence: 9, BaseOffset: 10}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		last, err := DecodeProducerBatches(b)
		if err != nil {
			return
		}
		encoded := EncodeProducerBatches(last)
		if again, err := DecodeProducerBatches(encoded); err != nil || !reflect.DeepEqual(last, again) || !bytes.Equal(encoded, EncodeProducerBatches(again)) {
			t.Fatalf("%+v became %+v, %v", last, again, err)
		}
	})
}

func FuzzAddBeats(f *testing.F) {
	f.Add(EncodeBeats(map[string]time.Time{"a": time.UnixMicro(1), "b": time.UnixMicro(2), "": time.UnixMicro(-5)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		beats, again := map[string]time.Time{}, map[string]time.Time{}
		if err := AddBeats(beats, b); err != nil {
			return
		}
		if err := AddBeats(again, EncodeBeats(beats)); err != nil || !reflect.DeepEqual(beats, again) {
			t.Fatalf("%v became %v, %v", beats, again, err)
		}
	})
}
