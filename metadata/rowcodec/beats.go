package rowcodec

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"
)

// EncodeBeats encodes when an agent heard of each member of a group last:
//
//	version  byte
//	members  count, then each, in the order of their IDs:
//	           length of the ID, the ID
//	           time - previous time     signed, in microseconds since the epoch
func EncodeBeats(members map[string]time.Time) []byte {
	b := []byte{version}
	b = binary.AppendUvarint(b, uint64(len(members)))
	previous := int64(0)
	for _, id := range slices.Sorted(maps.Keys(members)) {
		at := members[id].UnixMicro()
		b = binary.AppendUvarint(b, uint64(len(id)))
		b = append(b, id...)
		b = binary.AppendVarint(b, at-previous)
		previous = at
	}
	return b
}

// AddBeats decodes what one agent heard and adds it to what others did: of each
// member the latest time stays.
func AddBeats(members map[string]time.Time, b []byte) error {
	r := newReader(b)
	at := int64(0)
	for range r.count(2) {
		id := r.string()
		at += r.varint()
		heard := time.UnixMicro(at)
		if known, ok := members[id]; r.err == nil && (!ok || heard.After(known)) {
			members[id] = heard
		}
	}
	return r.done()
}
