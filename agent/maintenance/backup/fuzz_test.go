package backup

import (
	"encoding/json"
	"hash/crc32"
	"testing"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

// What is no part is refused; what is one has as many rows as it says, and they can be written again.
func FuzzReadPart(f *testing.F) {
	w, err := newPartWriter()
	if err != nil {
		f.Fatal(err)
	}
	for _, row := range []metadata.SnapshotRow{
		{Head: &metadata.SnapshotHead{ClusterID: "c", At: time.UnixMicro(1).UTC()}},
		{Run: &metadata.SnapshotRun{Partition: 1, Records: 1}},
	} {
		if _, err := w.add(row); err != nil {
			f.Fatal(err)
		}
	}
	part, b, err := w.cut()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, part.Rows, part.RawSize)
	f.Add([]byte{}, int64(0), int64(0))
	f.Fuzz(func(t *testing.T, b []byte, rows, raw int64) {
		if raw < 0 || raw > 1<<20 {
			return // the manifest bounds it
		}
		p := Part{Rows: rows, Size: int64(len(b)), RawSize: raw, CRC: crc32.Checksum(b, castagnoli)}
		var all []metadata.SnapshotRow
		if err := p.read(b, func(row metadata.SnapshotRow) error { all = append(all, row); return nil }); err != nil {
			return
		}
		if int64(len(all)) != rows {
			t.Fatalf("%d rows, it says %d", len(all), rows)
		}
		for _, row := range all {
			encoded, err := json.Marshal(row)
			var again metadata.SnapshotRow
			if err == nil {
				err = json.Unmarshal(encoded, &again)
			}
			if err != nil {
				t.Fatalf("%+v: %v", row, err)
			}
		}
	})
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(`{"version":1,"name":"n","cluster_id":"c","at":"2026-11-26T17:00:00Z","state":"s","parts":[{"rows":1,"size":2,"raw_size":3,"crc32c":4}]}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseManifest(b)
		if err != nil {
			return
		}
		if m.RowCount() < 1 || m.Size() < 1 {
			t.Fatalf("accepted %+v", m)
		}
	})
}
