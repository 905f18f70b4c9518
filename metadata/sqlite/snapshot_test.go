package sqlite

import (
	"testing"

	"github.com/wadi-log/wadi/metadata/metadatatest"
)

func TestEveryColumnIsInSnapshotsOrLeftOut(t *testing.T) {
	db := newDatabase(t).(database)
	db.Open(t)
	known := []string{
		"cluster.id", "cluster.cluster_id", "sequencer.id", "sequencer.last_seq", "sequencer.next_partition_id", "sequencer.next_producer_id",
		"group_versions.id", "group_versions.last",
	}
	for _, table := range snapshotTables {
		for _, column := range table.columns {
			known = append(known, table.name+"."+column)
		}
		for _, column := range table.second.columns {
			known = append(known, table.second.name+"."+column)
		}
	}
	rows, err := db.raw(t).QueryContext(t.Context(), `SELECT t.name || '.' || c.name FROM sqlite_schema t JOIN pragma_table_info(t.name) c WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var columns []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		columns = append(columns, name)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	metadatatest.CheckSnapshotColumns(t, columns, known, nil)
}
