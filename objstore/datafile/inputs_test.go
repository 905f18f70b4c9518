package datafile_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/objstore/datafile"
)

var (
	fileID = uuid.MustParse("01936b2c-7a00-7bcd-8def-0123456789ab")
	topicA = uuid.MustParse("aaaaaaaa-0000-4000-8000-000000000001")
	topicB = uuid.MustParse("bbbbbbbb-0000-4000-8000-000000000002")
)

// text returns n bytes that compress well, noise n bytes that don't.
func text(rng *rand.Rand, n int) []byte {
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, `{"flight":%d,"origin":"%s","delay":%d,"distance":%d}`+"\n",
			rng.IntN(100_000), []string{"OAK", "SFO", "LAX", "JFK"}[rng.IntN(4)], rng.IntN(200)-20, rng.IntN(3000))
	}
	return b.Bytes()[:n]
}

func noise(rng *rand.Rand, n int) []byte {
	b := make([]byte, 0, n+8)
	for len(b) < n {
		b = binary.NativeEndian.AppendUint64(b, rng.Uint64())
	}
	return b[:n]
}

// plain is a batch without idempotence.
func plain(b []byte) datafile.Batch {
	return datafile.Batch{Bytes: b, Records: 1, MaxTimestamp: 1_700_000_000_000, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}
}

func byClient(b []byte) datafile.Batch {
	batch := plain(b)
	batch.Compressed = true
	return batch
}

func idempotent(pid int64, epoch int16, seq, records int32) datafile.Batch {
	b := plain([]byte("batch"))
	b.Records, b.ProducerID, b.ProducerEpoch, b.BaseSequence = records, pid, epoch, seq
	return b
}

func input(topic uuid.UUID, partition int32, batches ...datafile.Batch) datafile.Input {
	return datafile.Input{TopicID: topic, Partition: partition, Batches: batches}
}

func mustEncode(t testing.TB, c datafile.Compression, inputs ...datafile.Input) datafile.File {
	t.Helper()
	f, err := datafile.Encode(fileID, c, inputs)
	if err != nil {
		t.Fatalf("Encode: %v", err)
	}
	return f
}

func joined(in datafile.Input) []byte {
	var b []byte
	for i := range in.Batches {
		b = append(b, in.Batches[i].Bytes...)
	}
	return b
}

// randomInputs returns up to 20 partitions of up to 40 batches, in random
// order, most of them small and some above a frame.
func randomInputs(rng *rand.Rand) []datafile.Input {
	inputs := make([]datafile.Input, 1+rng.IntN(20))
	for i := range inputs {
		topic := topicA
		if rng.IntN(2) == 0 {
			topic = topicB
		}
		batches := make([]datafile.Batch, 1+rng.IntN(40))
		for j := range batches {
			size := 1 + rng.IntN(4000)
			switch rng.IntN(100) {
			case 0:
				size = datafile.MaxFrameSize - 1 + rng.IntN(3)
			case 1:
				size = 1 + rng.IntN(3*datafile.MaxFrameSize)
			case 2, 3, 4, 5:
				size = 1 + rng.IntN(datafile.MaxFrameSize/4)
			}
			switch rng.IntN(4) {
			case 0:
				batches[j] = byClient(noise(rng, size))
			case 1:
				batches[j] = plain(noise(rng, size))
			default:
				batches[j] = plain(text(rng, size))
			}
			batches[j].Records = 1 + rng.Int32N(100)
			batches[j].MaxTimestamp = rng.Int64()
			if rng.IntN(2) == 0 {
				batches[j].ProducerID = rng.Int64N(3)
				batches[j].ProducerEpoch = int16(rng.IntN(2))
				batches[j].BaseSequence = rng.Int32()
			}
		}
		inputs[i] = input(topic, int32(i), batches...)
	}
	rng.Shuffle(len(inputs), func(i, j int) { inputs[i], inputs[j] = inputs[j], inputs[i] })
	return inputs
}

// seal computes the trailer's CRC again, after a test changed the footer.
func seal(file []byte) []byte {
	end := len(file) - 16
	size := int(binary.BigEndian.Uint32(file[end:]))
	binary.BigEndian.PutUint32(file[end+4:], crc32c(file[end-size:end]))
	return file
}

func crc32c(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
