package fetch

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/protocol"
)

func TestReadDamageIsItsPartitionsOwn(t *testing.T) {
	for _, compression := range []datafile.Compression{datafile.None, datafile.S2} {
		f := newReadFixture(t, memoryBucket(), DefaultBlocksConfig(1<<20))
		batch := makeBatch(t, protocol.CodecNone, recs(10, 300, 0)...)
		runs := f.write(t, compression, map[metadata.PartitionID][]protocol.Batch{1: {batch, batch}, 2: {batch, batch}, 3: {batch}})
		size := int64(batch.Size())
		damages := map[string]func(body []byte, run metadata.Run){
			"bit flip": func(b []byte, r metadata.Run) { b[r.Position+int64(r.StoredSize)-5] ^= 1 },
			"zeros":    func(b []byte, r metadata.Run) { clear(b[r.Position:][:r.StoredSize]) },
			"length":   func(b []byte, r metadata.Run) { b[r.Position+8] ^= 0x40 },
		}
		if compression == datafile.None {
			damages["magic"] = func(b []byte, r metadata.Run) { b[r.Position+16] = 1 }
			damages["offset delta"] = func(b []byte, r metadata.Run) { b[r.Position+26]++ }
			damages["second batch"] = func(b []byte, r metadata.Run) { b[r.Position+size+30] ^= 1 }
		}
		for name, damage := range damages {
			t.Run(fmt.Sprintf("%s, %s", compression, name), func(t *testing.T) {
				id, key := runs[2].FileID, datafile.Key(runs[2].FileID)
				body, err := f.bucket.Get(t.Context(), key, 0, -1)
				if err != nil {
					t.Fatal(err)
				}
				broken := bytes.Clone(body)
				damage(broken, runs[2])
				f.blocks.Drop(id)
				f.blocks.Fill(id, broken) // as if it had been read so
				read := func() []readPart {
					return f.read(t.Context(), []asked{{1, 0, 1 << 20}, {2, 10, 1 << 20}, {3, 0, 1 << 20}},
						[]plan{planned(runs[1]), planned(runs[2]), planned(runs[3])}, limits{maxBytes: 1 << 20}, noReplan(t))
				}
				got := read()
				for i, want := range []int64{2 * size, 0, size} {
					if int64(len(got[i].batches)) != want || (got[i].err != nil) != (i == 1) {
						t.Errorf("partition %d: %d bytes, error %v; want %d", i+1, len(got[i].batches), got[i].err, want)
					}
				}
				if !isDamage(got[1].err) {
					t.Errorf("error %v is no damage", got[1].err)
				}
				// Only the copy was damaged, so it is read again.
				if got = read(); got[1].err != nil || int64(len(got[1].batches)) != size {
					t.Errorf("after the copy is gone: %d bytes, error %v", len(got[1].batches), got[1].err)
				}
			})
		}
	}
}

func TestReadReturnsWhatIsBeforeTheDamage(t *testing.T) {
	f := newReadFixture(t, memoryBucket(), DefaultBlocksConfig(1<<20))
	batch := makeBatch(t, protocol.CodecNone, recs(10, 300, 0)...)
	bad := bytes.Clone(batch)
	bad[100]++
	run := f.write(t, datafile.None, map[metadata.PartitionID][]protocol.Batch{1: {batch, bad}})[1]
	got, err := f.one(t, 0, 1<<20, run)
	if err != nil || len(got) != batch.Size() {
		t.Errorf("%d bytes, error %v; want the first batch", len(got), err)
	}
	if _, err := f.one(t, 10, 1<<20, run); !errors.Is(err, errCorrupt) {
		t.Errorf("error %v, want %v", err, errCorrupt)
	}
}

func TestReadIndexThatLiesIsDamage(t *testing.T) {
	f := newReadFixture(t, memoryBucket(), DefaultBlocksConfig(1<<20))
	batch := makeBatch(t, protocol.CodecNone, recs(10, 300, 0)...)
	good := f.write(t, datafile.None, map[metadata.PartitionID][]protocol.Batch{1: {batch}})[1]
	for name, lie := range map[string]func(*metadata.Run){
		"more records":  func(r *metadata.Run) { r.Records++ },
		"fewer records": func(r *metadata.Run) { r.Records-- },
		"more bytes":    func(r *metadata.Run) { r.Size += 100; r.StoredSize += 100 },
		"fewer bytes":   func(r *metadata.Run) { r.Size--; r.StoredSize-- },
		"past the end":  func(r *metadata.Run) { r.Position += 1 << 20 },
		"no bytes":      func(r *metadata.Run) { r.Size, r.StoredSize = 0, 0 },
	} {
		run := good
		lie(&run)
		// From the end on, so that nothing before the lie is returned.
		if got, err := f.one(t, run.NextOffset()-1, 1<<20, run); len(got) == 0 && !isDamage(err) {
			t.Errorf("%s: %d bytes, error %v; want damage", name, len(got), err)
		}
	}
}
