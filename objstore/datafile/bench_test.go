package datafile_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/objstore/datafile"
)

// benchmarkInputs returns JSON text in batches of the size, spread over the
// partitions of topics that have 100 each.
func benchmarkInputs(partitions, batches, batchSize int) []datafile.Input {
	rng := rand.New(rand.NewPCG(5, 6))
	data := text(rng, batches*batchSize)
	inputs := make([]datafile.Input, partitions)
	for i := range inputs {
		inputs[i] = input(uuid.NewSHA1(topicA, []byte{byte(i / 100)}), int32(i%100))
	}
	for i := range batches {
		in := &inputs[i%partitions]
		b := plain(data[i*batchSize : (i+1)*batchSize])
		b.ProducerID, b.ProducerEpoch, b.BaseSequence = 1, 0, int32(len(in.Batches))
		in.Batches = append(in.Batches, b)
	}
	return inputs
}

var layouts = []struct {
	name                           string
	partitions, batches, batchSize int
}{
	{"12x16KiB", 12, 512, 16 << 10},
	{"12x1KiB", 12, 8192, 1 << 10},
	{"10000x838B", 10_000, 10_000, 838},
}

func BenchmarkEncode(b *testing.B) {
	for _, c := range []datafile.Compression{datafile.None, datafile.S2, datafile.Zstd} {
		for _, l := range layouts {
			b.Run(fmt.Sprintf("%s/%s", c, l.name), func(b *testing.B) {
				inputs := benchmarkInputs(l.partitions, l.batches, l.batchSize)
				f := mustEncode(b, c, inputs...)
				b.SetBytes(f.RawBytes)
				b.ReportAllocs()
				for b.Loop() {
					mustEncode(b, c, inputs...)
				}
				b.ReportMetric(float64(len(f.Bytes))/float64(f.RawBytes), "size/raw")
			})
		}
	}
}

// BenchmarkEncodeIncompressible shows what the try costs where it gains nothing.
func BenchmarkEncodeIncompressible(b *testing.B) {
	rng := rand.New(rand.NewPCG(7, 8))
	var inputs []datafile.Input
	for p := range int32(12) {
		inputs = append(inputs, input(topicA, p, plain(noise(rng, 700<<10))))
	}
	for _, c := range []datafile.Compression{datafile.None, datafile.S2, datafile.Zstd} {
		b.Run(string(c), func(b *testing.B) {
			b.SetBytes(12 * 700 << 10)
			b.ReportAllocs()
			for b.Loop() {
				mustEncode(b, c, inputs...)
			}
		})
	}
}

func BenchmarkDecodeFrames(b *testing.B) {
	for _, c := range []datafile.Compression{datafile.S2, datafile.Zstd} {
		b.Run(string(c), func(b *testing.B) {
			f := mustEncode(b, c, benchmarkInputs(1, 512, 16<<10)...)
			s := f.Sections[0]
			stored := f.Bytes[s.Position:][:s.StoredSize]
			b.SetBytes(int64(s.Size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := datafile.DecodeFrames(stored, int(s.Size)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReadFooter(b *testing.B) {
	for _, l := range layouts {
		b.Run(l.name, func(b *testing.B) {
			f := mustEncode(b, datafile.None, benchmarkInputs(l.partitions, l.batches, l.batchSize)...)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := datafile.ReadFooter(f.Bytes); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
