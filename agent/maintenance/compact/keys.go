package compact

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// keys remembers the latest offset of each key that it was told of, in a table whose size doesn't
// depend on how many keys there are or how long: a key is known by 16 bytes of its SHA-256. (Kafka
// takes MD5, of which anybody can make two keys with the same sum, and so make one record
// replace another.)
type keys struct {
	table []slot
	// slots is the part of the table in use, for up to limit keys of which count are there.
	slots        []slot
	count, limit int
	most         int // slots that memory allows
}

// slot is one key's entry, 24 bytes.
type slot struct {
	high, low uint64
	next      int64 // the offset plus one; 0 is a free slot
}

const slotBytes = 24

// newKeys returns a table that never takes more than so many bytes, and none before it is used.
func newKeys(maxBytes int64) *keys {
	return &keys{most: int(max(maxBytes/slotBytes, 2))}
}

// reset forgets all keys and makes room for those of so many records, as far as memory allows.
func (k *keys) reset(records int64) {
	// A quarter of the slots stays free, so that a search ends soon.
	n := int(min(records+records/3+2, int64(k.most)))
	if len(k.table) < n {
		size := n
		if n > k.most/4 {
			size = k.most // so that the tables before, which are garbage, add up to little
		}
		k.table = nil
		k.table = make([]slot, size)
	}
	k.slots = k.table[:n]
	clear(k.slots)
	k.count, k.limit = 0, max(n-n/4-1, 1)
}

// put notes the key's offset, which is behind all noted before. False: the table is full, and nothing
// was noted.
func (k *keys) put(key []byte, offset int64) bool {
	s := k.find(key)
	if s.next == 0 {
		if k.count == k.limit {
			return false
		}
		k.count++
	}
	s.next = offset + 1
	return true
}

// replaced reports whether a record of the key is known that comes behind the offset.
func (k *keys) replaced(key []byte, offset int64) bool {
	return k.find(key).next > offset+1
}

// find returns the key's slot, with the sum filled in, or a free one.
func (k *keys) find(key []byte) *slot {
	sum := sha256.Sum256(key)
	high, low := binary.LittleEndian.Uint64(sum[:]), binary.LittleEndian.Uint64(sum[8:])
	at, _ := bits.Mul64(high, uint64(len(k.slots)))
	for {
		s := &k.slots[at]
		if s.next == 0 {
			s.high, s.low = high, low
			return s
		}
		if s.high == high && s.low == low {
			return s
		}
		if at++; at == uint64(len(k.slots)) {
			at = 0
		}
	}
}

// release gives the memory back until the next reset.
func (k *keys) release() { k.table, k.slots = nil, nil }
