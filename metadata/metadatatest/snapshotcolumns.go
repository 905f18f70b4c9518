package metadatatest

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// leftOut are the tables and columns that snapshots have not, and why.
var leftOut = map[string]string{
	"schema_version":      "the schema's own",
	"commits":             "the feed begins anew",
	"agents":              "they register again",
	"cluster_secret":      "a new store makes its own",
	"group_beats":         "agents hear of living members again",
	"group_listeners":     "as group_beats",
	"leases":              "whoever held one starts over",
	"snapshots":           "tells of the snapshots of the store that was lost",
	"halts":               "tells of the store that was lost",
	"sequencer.store_id":  "another store has another ID",
	"sequencer.epoch":     "as halts",
	"sequencer.epoch_seq": "as halts",
	"sequencer.halted":    "as halts",

	"sequencer.compatible_from": "the schema's own",
	"files.claimed_by":          "as leases",
	"files.claimed_until":       "as leases",
}

// CheckSnapshotColumns checks the columns that a store's tables have, as TABLE.COLUMN: what a migration adds must survive
// the database, or be named in leftOut, or in own for one store's, with a reason why it need not. known are those
// that snapshots have.
func CheckSnapshotColumns(t testing.TB, columns, known []string, own map[string]string) {
	t.Helper()
	out := maps.Clone(leftOut)
	maps.Copy(out, own)
	exist := map[string]bool{}
	for _, name := range columns {
		table, _, _ := strings.Cut(name, ".")
		exist[table], exist[name] = true, true
		if !slices.Contains(known, name) && out[table] == "" && out[name] == "" {
			t.Errorf("snapshots don't have %s; add it to snapshotTables, or to leftOut with the reason", name)
		}
	}
	for name := range out {
		if !exist[name] {
			t.Errorf("leftOut names %s, which doesn't exist", name)
		}
	}
}
