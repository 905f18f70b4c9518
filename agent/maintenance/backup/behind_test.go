package backup_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/wadi-log/wadi/agent/maintenance/backup"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/memory"
)

// feed is a store that has seen so many changes.
type feed struct{ last int64 }

func (f feed) LastSeq(context.Context) (int64, error) { return f.last, nil }

func TestStoreThatWentBackInTimeIsRefused(t *testing.T) {
	bucket := memory.Open()
	put := func(at time.Time, lastSeq int64) {
		t.Helper()
		m := backup.Manifest{
			Version: metadata.SnapshotVersion, Name: at.UTC().Format("20060102T150405.000Z") + "-0123abcd", At: at, LastSeq: lastSeq,
			Parts: []backup.Part{{Rows: 1, Size: 1, RawSize: 1}},
		}
		b, err := json.Marshal(m)
		if err == nil {
			err = bucket.Put(t.Context(), "snapshots/"+m.Name+"/manifest.json", b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	check := func(last int64, want error) {
		t.Helper()
		if err := backup.CheckNotBehind(t.Context(), feed{last: last}, bucket); !errors.Is(err, want) {
			t.Errorf("a store with %d changes: %v, want %v", last, err, want)
		}
	}
	check(0, nil)
	at := time.Now()
	put(at, 0) // of a version that didn't note it
	check(0, nil)
	put(at.Add(time.Minute), 100)
	check(99, objstore.ErrConfig)
	check(100, nil)
	check(101, nil)
	// A recovery from an older snapshot goes on far behind the newest.
	put(at.Add(2*time.Minute), 50)
	check(99, nil)
	newest := at.Add(3*time.Minute).UTC().Format("20060102T150405.000Z") + "-0123abcd"
	if err := bucket.Put(t.Context(), "snapshots/"+newest+"/manifest.json", []byte("{")); err != nil {
		t.Fatal(err)
	}
	check(0, nil)
}
