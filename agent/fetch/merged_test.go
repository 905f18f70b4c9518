package fetch

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/protocol"
)

// newModelLog has a random log in which produced, merged and compacted runs alternate.
func newModelLog(t *testing.T, seed uint64, blockBytes int64, size int) *modelLog {
	config := DefaultBlocksConfig(64 << 20)
	config.BlockBytes = blockBytes
	m := &modelLog{f: newReadFixture(t, memoryBucket(), config), r: rand.New(rand.NewPCG(seed, 0))}
	codecs := []protocol.Codec{protocol.CodecNone, protocol.CodecNone, protocol.CodecLZ4}
	compressions := []datafile.Compression{datafile.None, datafile.Auto, datafile.S2}
	for range 2 + m.r.IntN(6) {
		var batches []protocol.Batch
		for range 1 + m.r.IntN(40) {
			batches = append(batches, m.write(t, codecs[m.r.IntN(3)], size))
		}
		compression := compressions[m.r.IntN(3)]
		if kind := m.r.IntN(3); kind == 0 {
			m.append(t, compression, batches)
		} else {
			m.merge(t, compression, batches, kind == 1)
		}
	}
	return m
}

// TestReadsOfAnyRunsGiveWhatTheLogHolds: from every offset, held or left out, at both isolation
// levels, whatever is remembered of earlier requests.
func TestReadsOfAnyRunsGiveWhatTheLogHolds(t *testing.T) {
	for _, v := range []struct {
		blockBytes int64
		size       int
	}{{100, 300}, {777, 300}, {4 << 20, 300}, {10_000, 100_000}, {300_000, 100_000}} {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("blocks of %d, values up to %d, seed %d", v.blockBytes, v.size, seed), func(t *testing.T) {
			m := newModelLog(t, seed, v.blockBytes, v.size)
			for range 400 {
				offset, until, room := m.r.Int64N(m.end), m.end, m.r.Int64N(int64(v.size*10))
				if m.r.IntN(2) == 0 { // committed
					until = m.batches[m.r.IntN(len(m.batches))].BaseOffset()
				}
				for again := range 2 {
					got := m.fetch(t, offset, until, room)
					if want := m.want(offset, until, room); got.err != nil || !bytes.Equal(got.batches, want) {
						t.Fatalf("from %d, up to %d, %d bytes, time %d: got %d bytes, error %v; want %d", offset, until, room, again, len(got.batches), got.err, len(want))
					}
				}
			}
			for step := range 2 {
				var got []byte
				for offset := int64(0); offset < m.end; {
					part := m.fetch(t, offset, m.end, m.r.Int64N(int64(v.size*(1+step*10))))
					if part.err != nil || part.next <= offset {
						t.Fatalf("at %d: up to %d, error %v", offset, part.next, part.err)
					}
					got, offset = append(got, part.batches...), part.next
				}
				if want := m.want(0, m.end, 1<<40); !bytes.Equal(got, want) {
					t.Errorf("in steps: %d bytes, want %d", len(got), len(want))
				}
			}
		})
	}
}
