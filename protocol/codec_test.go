package protocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
)

// samples are payloads from nothing to several blocks of every format.
func samples() map[string][]byte {
	rng := rand.NewChaCha8([32]byte{1})
	noise := make([]byte, 300<<10)
	rng.Read(noise)
	return map[string][]byte{
		"a byte":       {42},
		"text":         bytes.Repeat([]byte("the bed stays when the water goes; "), 40),
		"long text":    bytes.Repeat([]byte("the bed stays when the water goes; "), 40_000),
		"zeros":        make([]byte, 2<<20),
		"noise":        noise,
		"noise, zeros": append(bytes.Clone(noise), make([]byte, 300<<10)...),
	}
}

func TestCompressAndDecompressAreInverse(t *testing.T) {
	levels := map[Codec][]int{
		CodecNone:   {0},
		CodecGzip:   {-1, 1, 2, 3, 4, 5, 6, 7, 8, 9},
		CodecSnappy: {0, 99},
		CodecLZ4:    {1, 2, 8, 9, 10, 17},
		CodecZstd:   {-131072, -1, 0, 1, 3, 7, 22},
	}
	for codec := CodecNone; codec.valid(); codec++ {
		for _, level := range levels[codec] {
			for name, src := range samples() {
				packed, err := Compress(codec, level, src)
				if err != nil {
					t.Fatalf("%v, level %d, %s: %v", codec, level, name, err)
				}
				got, err := Decompress(codec, packed, len(src))
				if err != nil {
					t.Fatalf("%v, level %d, %s: %v", codec, level, name, err)
				}
				if !bytes.Equal(got, src) {
					t.Errorf("%v, level %d, %s: got %d other bytes, want %d", codec, level, name, len(got), len(src))
				}
				if _, err := Decompress(codec, packed, len(src)-1); !errors.Is(err, ErrTooLarge) {
					t.Errorf("%v, level %d, %s: a byte above the limit: %v", codec, level, name, err)
				}
			}
		}
	}
}

func TestCompressionLevelsOutOfRange(t *testing.T) {
	for codec, levels := range map[Codec][]int{
		CodecGzip: {-2, 0, 10},
		CodecLZ4:  {-1, 0, 18},
		CodecZstd: {-131073, 23},
	} {
		for _, level := range levels {
			if _, err := Compress(codec, level, []byte("x")); err == nil {
				t.Errorf("%v takes level %d", codec, level)
			}
		}
	}
}

func TestUnknownCodec(t *testing.T) {
	for _, codec := range []Codec{-1, 5, 7} {
		if _, err := Compress(codec, 0, []byte("x")); !errors.Is(err, ErrUnsupportedCodec) {
			t.Errorf("Compress with %v: %v", codec, err)
		}
		if _, err := Decompress(codec, []byte("x"), 10); !errors.Is(err, ErrUnsupportedCodec) {
			t.Errorf("Decompress with %v: %v", codec, err)
		}
	}
}

func TestCodecNames(t *testing.T) {
	for codec := CodecNone; codec.valid(); codec++ {
		if got, err := ParseCodec(codec.String()); got != codec || err != nil {
			t.Errorf("%v became %v, %v", codec, got, err)
		}
	}
	if got, err := ParseCodec("uncompressed"); got != CodecNone || err != nil {
		t.Errorf("uncompressed became %v, %v", got, err)
	}
	for _, name := range []string{"", "producer", "ZSTD", "codec 5"} {
		if _, err := ParseCodec(name); !errors.Is(err, ErrUnsupportedCodec) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Java's clients are the strictest readers. Their SnappyInputStream wants its own
// framing, their lz4 reader blocks that don't depend on one another and no reserved bits.
func TestCompressWritesWhatJavaReads(t *testing.T) {
	src := bytes.Repeat([]byte("the bed stays when the water goes; "), 4000)
	packed, err := Compress(CodecSnappy, 0, src)
	if err != nil {
		t.Fatal(err)
	}
	if want := unhex(t, "82 534e41505059 00 00000001 00000001"); !bytes.HasPrefix(packed, want) {
		t.Errorf("snappy starts with %x", packed[:16])
	}
	packed, err = Compress(CodecLZ4, 9, src)
	if err != nil {
		t.Fatal(err)
	}
	// Magic, version 1 with independent blocks, no checksums and no content
	// size, blocks of 64 KiB, header checksum.
	if want := unhex(t, "04224d18 60 40 82"); !bytes.HasPrefix(packed, want) {
		t.Errorf("lz4 starts with %x", packed[:7])
	}
}

func TestDecompressBareSnappy(t *testing.T) {
	for name, src := range samples() {
		got, err := Decompress(CodecSnappy, snappy.Encode(nil, src), len(src))
		if err != nil || !bytes.Equal(got, src) {
			t.Errorf("%s: %v, %d bytes, want %d", name, err, len(got), len(src))
		}
	}
}

func TestDecompressConcatenatedFrames(t *testing.T) {
	for _, codec := range []Codec{CodecGzip, CodecZstd} {
		one, err := Compress(codec, codec.DefaultLevel(), []byte("one "))
		if err != nil {
			t.Fatal(err)
		}
		two, err := Compress(codec, codec.DefaultLevel(), []byte("two"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Decompress(codec, append(one, two...), 7); string(got) != "one two" || err != nil {
			t.Errorf("%v: %q, %v", codec, got, err)
		}
	}
}

func TestDecompressCorruptInput(t *testing.T) {
	src := bytes.Repeat([]byte("the bed stays when the water goes; "), 100)
	for codec := CodecGzip; codec.valid(); codec++ {
		packed, err := Compress(codec, codec.DefaultLevel(), src)
		if err != nil {
			t.Fatal(err)
		}
		for name, in := range map[string][]byte{
			"cut short":    packed[:len(packed)-1],
			"half":         packed[:len(packed)/2],
			"random bytes": []byte("\x00random bytes, 100% unpacked"),
		} {
			if got, err := Decompress(codec, in, testLimit); !errors.Is(err, ErrCorruptBatch) {
				t.Errorf("%v, %s: %d bytes, %v", codec, name, len(got), err)
			}
		}
	}
}

type lyingPayload struct {
	name  string
	codec Codec
	in    []byte
	err   error // nil for one that only looks like a lie
}

// lyingPayloads announce much more than there is in them.
func lyingPayloads(t testing.TB) []lyingPayload {
	uvarint := func(n uint64) []byte { return binary.AppendUvarint(nil, n) }
	block := func(b []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...) }
	xerial := unhex(t, "82 534e41505059 00 00000001 00000001")
	literal := []byte{0, 'x'}
	return []lyingPayload{
		{"snappy block of 90 MB", CodecSnappy, append(uvarint(90<<20), literal...), ErrCorruptBatch},
		{"snappy block of 4 GB", CodecSnappy, append(uvarint(1<<32-1), literal...), ErrTooLarge},
		{"framed snappy block of 90 MB", CodecSnappy, append(bytes.Clone(xerial), block(append(uvarint(90<<20), literal...))...), ErrCorruptBatch},
		{"framed snappy block beyond the input", CodecSnappy, append(bytes.Clone(xerial), 0xff, 0xff, 0xff, 0xff, 0), ErrCorruptBatch},
		{"framed snappy without a block's length", CodecSnappy, append(bytes.Clone(xerial), 0), ErrCorruptBatch},
		// Magic, flags, (window,) content size, one last raw block of a byte.
		{"zstd content of 90 MB", CodecZstd, unhex(t, "28b52ffd a0 0000a005 090000 78"), ErrCorruptBatch},
		{"zstd content of 2^63", CodecZstd, unhex(t, "28b52ffd e0 0000000000000080 090000 78"), ErrCorruptBatch},
		{"zstd window of 128 MB is a Java producer's", CodecZstd, unhex(t, "28b52ffd 00 88 090000 78"), nil},
		{"zstd window of 1 TB", CodecZstd, unhex(t, "28b52ffd 00 f0 090000 78"), ErrCorruptBatch},
		{"zstd skippable frame beyond the input", CodecZstd, unhex(t, "502a4d18 ffffffff 00"), ErrCorruptBatch},
		{"zstd without blocks", CodecZstd, unhex(t, "28b52ffd 00 88"), ErrCorruptBatch},
	}
}

func TestDecompressDoesNotTrustAnnouncedSizes(t *testing.T) {
	// The decoder that is made at first use is not what is measured here.
	if _, err := Decompress(CodecZstd, unhex(t, "28b52ffd 00 88 090000 78"), 1); err != nil {
		t.Fatal(err)
	}
	for _, c := range lyingPayloads(t) {
		for _, limit := range []int{100 << 20, math.MaxInt} {
			t.Run(fmt.Sprintf("%s/limit %d", c.name, limit), func(t *testing.T) {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				out, err := Decompress(c.codec, c.in, limit)
				runtime.ReadMemStats(&after)
				if !errors.Is(err, c.err) {
					t.Errorf("got %v, want %v", err, c.err)
				}
				if c.err == nil && string(out) != "x" {
					t.Errorf("got %q", out)
				}
				if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 1<<20 {
					t.Errorf("allocated %d bytes", allocated)
				}
			})
		}
	}
}

func TestDecompressWithoutALimit(t *testing.T) {
	for codec := CodecNone; codec.valid(); codec++ {
		packed, err := Compress(codec, codec.DefaultLevel(), []byte("text"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Decompress(codec, packed, math.MaxInt); err != nil || string(got) != "text" {
			t.Errorf("%v: %q, %v", codec, got, err)
		}
		if _, err := Decompress(codec, packed, -1); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%v with a negative limit: %v", codec, err)
		}
	}
}

// A real bomb costs what the limit allows, whatever it would become.
func TestDecompressStopsBombsAtTheLimit(t *testing.T) {
	zeros := make([]byte, 64<<20)
	for codec := CodecGzip; codec.valid(); codec++ {
		bomb, err := Compress(codec, codec.DefaultLevel(), zeros)
		if err != nil {
			t.Fatal(err)
		}
		const limit = 1 << 20
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err = Decompress(codec, bomb, limit)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, ErrTooLarge) {
			t.Errorf("%v: %d bytes: %v", codec, len(bomb), err)
		}
		// Growing buffers add up, and decoders have their own.
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 16*limit {
			t.Errorf("%v: allocated %d bytes", codec, allocated)
		}
	}
}

// The pools hand a decoder that met an error to the next caller.
func TestCodecsAfterErrorsAndConcurrently(t *testing.T) {
	src := bytes.Repeat([]byte("the bed stays when the water goes; "), 5000)
	var wg sync.WaitGroup
	for codec := CodecGzip; codec.valid(); codec++ {
		for worker := range 4 {
			wg.Go(func() {
				for i := range 20 {
					if err := useCodec(codec, src, i); err != nil {
						t.Errorf("%v, worker %d, round %d: %v", codec, worker, i, err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
}

func useCodec(codec Codec, src []byte, round int) error {
	packed, err := Compress(codec, codec.DefaultLevel(), src)
	if err != nil {
		return err
	}
	switch round % 3 {
	case 0:
		if _, err := Decompress(codec, packed[:len(packed)/2], len(src)); err == nil {
			return errors.New("half of the input was taken")
		}
	case 1:
		if _, err := Decompress(codec, packed, len(src)/2); !errors.Is(err, ErrTooLarge) {
			return fmt.Errorf("half of the output: %w", err)
		}
	}
	got, err := Decompress(codec, packed, len(src))
	if err == nil && !bytes.Equal(got, src) {
		err = errors.New("got other bytes back")
	}
	return err
}

// TestDecompressFindsTheRoom: a frame that doesn't announce its size, as streams don't
// (Java's among them), may decode to a little more than any first guess.
func TestDecompressFindsTheRoom(t *testing.T) {
	const seed = 1
	rng := rand.New(rand.NewPCG(seed, 2))
	for i := range 200 {
		var text bytes.Buffer
		for range 1 + rng.IntN(400) {
			fmt.Fprintf(&text, "org.apache.kafka.producer.metric.%x.of.topic.%d=%d;", rng.Uint32()&0xff, rng.IntN(9), rng.IntN(1000))
		}
		var packed bytes.Buffer
		w, err := zstd.NewWriter(&packed, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(1+rng.IntN(6))))
		if err != nil {
			t.Fatal(err)
		}
		for rest := text.Bytes(); len(rest) > 0; {
			n := min(len(rest), 1+rng.IntN(5000))
			if _, err := w.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			if rest = rest[n:]; rng.IntN(3) == 0 {
				if err := w.Flush(); err != nil { // ends a block, and keeps the size unknown
					t.Fatal(err)
				}
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		out, err := Decompress(CodecZstd, packed.Bytes(), 1<<20)
		if err != nil || !bytes.Equal(out, text.Bytes()) {
			t.Fatalf("seed %d, frame %d: %d bytes from %d became %d, %v", seed, i, text.Len(), packed.Len(), len(out), err)
		}
		if _, err := Decompress(CodecZstd, packed.Bytes(), text.Len()-1); !errors.Is(err, ErrTooLarge) {
			t.Fatalf("seed %d, frame %d: %d bytes with room for one less: %v", seed, i, text.Len(), err)
		}
	}
}
