package compact

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestKeysAreThoseOfAMap(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	for _, bytes := range []int64{0, 100, 1000, 100_000} {
		t.Run(fmt.Sprintf("%d bytes, seed %d", bytes, seed), func(t *testing.T) {
			k := newKeys(bytes)
			for range 5 {
				records := rng.Int64N(3000)
				k.reset(records)
				if int64(len(k.table)*slotBytes) > max(bytes, 2*slotBytes) {
					t.Fatalf("%d slots in %d bytes", len(k.table), bytes)
				}
				want := map[string]int64{}
				full := false
				for offset := range records {
					key := binary.AppendUvarint(nil, rng.Uint64N(uint64(records)))
					_, known := want[string(key)]
					if k.put(key, offset) {
						want[string(key)] = offset
					} else if full = true; known {
						t.Fatal("no room for a key that is there")
					} else if len(want) != k.limit {
						t.Fatalf("full with %d of %d keys", len(want), k.limit)
					}
				}
				if full && len(k.slots) != k.most {
					t.Fatalf("full with %d slots of %d", len(k.slots), k.most)
				}
				for i := range uint64(records) {
					key := binary.AppendUvarint(nil, i)
					offset, known := want[string(key)]
					if got := k.replaced(key, -1); got != known {
						t.Fatalf("key %d: known %v, want %v", i, got, known)
					}
					if known && (!k.replaced(key, offset-1) || k.replaced(key, offset)) {
						t.Fatalf("key %d: not at offset %d", i, offset)
					}
				}
			}
		})
	}
}

func TestKeysHoldOneKeyInNoMemory(t *testing.T) {
	k := newKeys(0)
	k.reset(1_000_000)
	if !k.put([]byte("a"), 5) || !k.put([]byte("a"), 6) || k.put([]byte("b"), 7) {
		t.Error("want one key, whatever the memory")
	}
	if !k.replaced([]byte("a"), 5) || k.replaced([]byte("a"), 6) || k.replaced([]byte("b"), 0) {
		t.Error("wrong offsets")
	}
}

func BenchmarkKeys(b *testing.B) {
	k := newKeys(64 << 20)
	k.reset(1 << 40)
	var key [16]byte
	for i := range b.N {
		if binary.LittleEndian.PutUint64(key[:], uint64(i)%uint64(k.limit)); !k.put(key[:], int64(i)) {
			b.Fatal("full")
		}
	}
}
