package sqlite

import "testing"

// What a migration adds must survive the database, or be named with a reason why it need not.
func TestEveryColumnIsInSnapshotsOrLeftOut(t *testing.T) {
	db := newDatabase(t).(database)
	db.Open(t)
	known := map[string]bool{}
	for _, column := range []string{
		"cluster.id", "cluster.cluster_id", "sequencer.id", "sequencer.last_seq", "sequencer.next_partition_id", "sequencer.next_producer_id",
		"group_versions.id", "group_versions.last",
	} {
		known[column] = true
	}
	for _, table := range snapshotTables {
		for _, column := range table.columns {
			known[table.name+"."+column] = true
		}
		for _, column := range table.second.columns {
			known[table.second.name+"."+column] = true
		}
	}
	rows, err := db.raw(t).QueryContext(t.Context(), `SELECT t.name, c.name FROM sqlite_schema t JOIN pragma_table_info(t.name) c WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	exist := map[string]bool{}
	for rows.Next() {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			t.Fatal(err)
		}
		name := table + "." + column
		exist[table], exist[name] = true, true
		if !known[name] && leftOut[table] == "" && leftOut[name] == "" {
			t.Errorf("snapshots don't have %s; add it to snapshotTables, or to leftOut with the reason", name)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for name := range leftOut {
		if !exist[name] {
			t.Errorf("leftOut names %s, which doesn't exist", name)
		}
	}
}
