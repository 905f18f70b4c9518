package protocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// goldenBatches are those of other encoders.
func goldenBatches(t testing.TB) [][]byte {
	t.Helper()
	batches := [][]byte{unhex(t, writtenByKafka)}
	files, err := filepath.Glob("testdata/*.hex")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden batches: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		batches = append(batches, unhex(t, string(text)))
	}
	return batches
}

func FuzzParseRequestHeader(f *testing.F) {
	formatter := kmsg.NewRequestFormatter(kmsg.FormatterClientID("id"))
	for _, v := range Versions() {
		for _, version := range []int16{0, v.Min, v.Max, v.Max + 1} {
			req := kmsg.RequestForKey(v.Key)
			req.SetVersion(version)
			f.Add(formatter.AppendRequest(nil, req, 1)[4:])
		}
	}
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, frame []byte) {
		h, body, err := ParseRequestHeader(frame)
		if err != nil {
			if !errors.Is(err, ErrMalformed) || body != nil {
				t.Fatalf("%v with a body of %d bytes", err, len(body))
			}
			return
		}
		if len(h.ClientID)+len(body) > len(frame) || !bytes.HasSuffix(frame, body) {
			t.Fatalf("client ID %q and %d bytes of body from %d", h.ClientID, len(body), len(frame))
		}
	})
}

func FuzzParseRequest(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, v := range Versions() {
		for version := int16(0); version <= v.Max; version++ {
			f.Add(v.Key, version, randomRequest(rng, v.Key, version).AppendTo(nil))
		}
	}
	for _, lie := range lyingBodies(f, 100) {
		f.Add(lie.key, lie.version, lie.body)
	}
	f.Add(int16(1000), int16(0), []byte{})
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		h := RequestHeader{Key: key, Version: version}
		req, err := ParseRequest(h, body)
		switch {
		case err == nil:
			if !Supports(key, version) {
				t.Fatal("not served, yet no error")
			}
		case errors.Is(err, ErrUnsupportedVersion):
			if Supports(key, version) {
				t.Fatal(err)
			}
		case !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnknownKey) || req != nil:
			t.Fatalf("%v with %v", err, req)
		}
		if req == nil {
			return
		}
		// What was understood survives being written and read again.
		encoded := req.AppendTo(nil)
		again, err := ParseRequest(h, encoded)
		if again == nil {
			t.Fatalf("%v\nread    %x\nwritten %x", err, body, encoded)
		}
		if got := again.AppendTo(nil); !bytes.Equal(got, encoded) {
			t.Fatalf("got  %x\nwant %x", got, encoded)
		}
	})
}

func FuzzNextBatch(f *testing.F) {
	golden := goldenBatches(f)
	for _, b := range golden {
		f.Add(b)
	}
	f.Add(bytes.Join(golden, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		rest := bytes.Clone(b)
		for len(rest) > 0 {
			batch, next, err := NextBatch(rest)
			if err != nil {
				if !errors.Is(err, ErrCorruptBatch) && !errors.Is(err, ErrMagic) {
					t.Fatal(err)
				}
				return
			}
			if batch.Size() < BatchHeaderSize || batch.Size()+len(next) != len(rest) {
				t.Fatalf("%d and %d bytes from %d", batch.Size(), len(next), len(rest))
			}
			checkAnyBatch(t, batch)
			rest = next
		}
	})
}

// checkAnyBatch uses everything that works on a batch which may be anything.
func checkAnyBatch(t *testing.T, b Batch) {
	t.Helper()
	const limit = 1 << 20
	valid := b.Validate()
	var broken error
	records := int32(0)
	for _, err := range b.Records(limit) {
		if broken = err; err == nil {
			records++
		}
	}
	if valid == nil && b.Codec() == CodecNone && (broken != nil || records != b.NumRecords()) {
		t.Fatalf("valid, but %d records and %v", records, broken)
	}
	if packed, err := Recompress(b, CodecZstd, 1, limit); (err == nil) != (broken == nil) || err == nil && !packed.CheckCRC() {
		t.Fatalf("Records: %v, Recompress: %v", broken, err)
	}
	if _, err := b.RepairMaxTimestamp(limit); err != nil && broken == nil {
		t.Fatalf("Records: %v, RepairMaxTimestamp: %v", broken, err)
	}
	b.SetLogAppendTime(1)
	if !b.CheckCRC() {
		t.Fatal("wrong CRC after SetLogAppendTime")
	}
}

// The records of a batch whose header and CRC are right. What we accept, kmsg
// must decode to the same.
func FuzzBatchRecords(f *testing.F) {
	for _, wire := range goldenBatches(f) {
		b := Batch(wire)
		f.Add(int8(b.Codec()), b.NumRecords(), b.BaseTimestamp(), []byte(b[BatchHeaderSize:]))
	}
	f.Add(int8(0), int32(2), int64(0), unhex(f, "0c 00 00 00 01 01 00 14 00 00 02 01 01 02 02 6b 02 76"))
	f.Fuzz(func(t *testing.T, codec int8, count int32, base int64, payload []byte) {
		b := build(t, nil, func(kb *kmsg.RecordBatch) {
			kb.Attributes = int16(codec & attributeCodec)
			kb.NumRecords, kb.LastOffsetDelta = count, count-1
			kb.FirstTimestamp, kb.MaxTimestamp = base, base
			kb.Records = payload
		})
		if b.Validate() == nil && b.Codec() == CodecNone {
			compareWithKmsg(t, b)
		}
		checkAnyBatch(t, b)
	})
}

func compareWithKmsg(t *testing.T, b Batch) {
	t.Helper()
	rest := []byte(b[BatchHeaderSize:])
	for got, err := range b.Records(0) {
		if err != nil {
			t.Fatal(err)
		}
		length, n := binary.Varint(rest)
		end := n + int(length)
		var want kmsg.Record
		if err := want.ReadFrom(rest[:end]); err != nil {
			t.Fatalf("kmsg: %v: %x", err, rest[:end])
		}
		rest = rest[end:]
		if got.Offset != b.BaseOffset()+int64(want.OffsetDelta) || got.Timestamp != b.BaseTimestamp()+want.TimestampDelta64 ||
			!bytes.Equal(got.Key, want.Key) || (got.Key == nil) != (want.Key == nil) ||
			!bytes.Equal(got.Value, want.Value) || (got.Value == nil) != (want.Value == nil) || len(got.Headers) != len(want.Headers) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
		for i, h := range got.Headers {
			if h.Key != want.Headers[i].Key || !bytes.Equal(h.Value, want.Headers[i].Value) {
				t.Fatalf("got  %+v\nwant %+v", got, want)
			}
		}
	}
}

func FuzzDecompress(f *testing.F) {
	text := bytes.Repeat([]byte("the bed stays when the water goes; "), 40)
	for codec := CodecNone; codec.valid(); codec++ {
		for _, src := range [][]byte{nil, text, make([]byte, 200<<10)} {
			packed, err := Compress(codec, codec.DefaultLevel(), src)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(int8(codec), packed, uint32(len(src)))
		}
	}
	for _, lie := range lyingPayloads(f) {
		f.Add(int8(lie.codec), lie.in, uint32(1000))
	}
	f.Fuzz(func(t *testing.T, code int8, src []byte, limit32 uint32) {
		codec, limit := Codec(code), int(limit32%(1<<20))
		out, err := Decompress(codec, src, limit)
		if err != nil {
			if !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrCorruptBatch) && !errors.Is(err, ErrUnsupportedCodec) || out != nil {
				t.Fatalf("%d bytes and %v", len(out), err)
			}
			return
		}
		if len(out) > limit {
			t.Fatalf("%d bytes, limit %d", len(out), limit)
		}
		// The limit decides whether, never what.
		if more, err := Decompress(codec, src, 2*limit+1); err != nil || !bytes.Equal(more, out) {
			t.Fatalf("%d bytes with a higher limit, %d before: %v", len(more), len(out), err)
		}
		packed, err := Compress(codec, codec.DefaultLevel(), out)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Decompress(codec, packed, limit); err != nil || !bytes.Equal(again, out) {
			t.Fatalf("%d bytes after another round, %d before: %v", len(again), len(out), err)
		}
	})
}
