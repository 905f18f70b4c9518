package catalog

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sqlite"
)

// openStore opens a fresh store of the real kind.
func openStore(t *testing.T) metadata.Store {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "metadata.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// waiting is the number of topics that the next query will ask for.
func (c *Catalog) waiting() int {
	c.lookups.mu.Lock()
	defer c.lookups.mu.Unlock()
	if c.lookups.next == nil {
		return 0
	}
	return len(c.lookups.next.names) + len(c.lookups.next.ids)
}

// waitABit rests between two looks at something that will come. The test's own
// deadline ends a wait for what never comes.
func waitABit(t *testing.T) {
	t.Helper()
	select {
	case <-t.Context().Done():
		t.Fatal("the test ended before what it waited for")
	case <-time.After(time.Millisecond):
	}
}
