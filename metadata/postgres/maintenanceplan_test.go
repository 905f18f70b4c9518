package postgres

import (
	"testing"

	"github.com/wadi-log/wadi/test/harness"
)

// TestMaintenanceFindsItsRows among those of 5,000 files in four partitions, of which others hold the
// first 200, and 5,000 dead ones, whether or not the planner knows yet how many there are.
func TestMaintenanceFindsItsRows(t *testing.T) {
	url := harness.Postgres(t)
	open(t, url)
	for _, table := range []string{"partitions", "runs", "files", "dead_files"} {
		exec(t, url, `ALTER TABLE `+table+` SET (autovacuum_enabled = off)`)
	}
	conn := dial(t, url)
	for _, query := range []string{
		`INSERT INTO partitions (id, log_start_offset, next_offset, max_timestamp) SELECT p, 0, 50000, 50000 FROM generate_series(1, 4) p`,
		// The first partition has a marker behind each run.
		`INSERT INTO runs (partition_id, base_offset, records, file_id, encoding, position, stored_size, skip, size, max_timestamp)
			SELECT p, i * 10, CASE p WHEN 1 THEN 9 ELSE 10 END, md5(i::text)::uuid, 0, 0, 1000, 0, 1000, i * 10 FROM generate_series(0, 4999) i, generate_series(1, 4) p`,
		`INSERT INTO runs (partition_id, base_offset, records, file_id, encoding, position, stored_size, skip, size, max_timestamp)
			SELECT 1, i * 10 + 9, 1, gen_random_uuid(), 2, 7, 0, 0, 78, i * 10 FROM generate_series(0, 4999) i`,
		`INSERT INTO files (id, size, committed_at, live_runs, level, seq, live_bytes, partitions, offsets, claimed_by, claimed_until)
			SELECT md5(i::text)::uuid, 4000, clock_timestamp(), 4, 0, i, 4000, '{1,2,3,4}', ARRAY[i * 10, i * 10, i * 10, i * 10],
				CASE WHEN i < 200 THEN gen_random_uuid() END, CASE WHEN i < 200 THEN clock_timestamp() + interval '1 hour' END FROM generate_series(0, 4999) i`,
		`INSERT INTO dead_files (id, size, died_at) SELECT gen_random_uuid(), 1, clock_timestamp() + i * interval '1 second' FROM generate_series(1, 5000) i`,
		`SET plan_cache_mode = force_generic_plan`,
		`PREPARE claimable (uuid, int8, int2) AS ` + claimableOfLevel,
		`PREPARE claimable_sparse (uuid, int8, uuid[]) AS ` + claimableSparse,
		`PREPARE claim (uuid[], uuid, interval) AS ` + claimFiles,
		`PREPARE runs_of (uuid[]) AS ` + runsOfFiles,
		`PREPARE markers (int4[], int8[], int8[], uuid, int8) AS ` + markersAround,
		`PREPARE lock_standing (int4[], int8[], int8[]) AS ` + lockStanding,
		`PREPARE read_standing (int4[], int8[], int8[]) AS ` + readStanding,
		`PREPARE replace (int4[], int8[]) AS ` + deleteRuns + countDown,
		`PREPARE retained (int4[], int8[], int8[]) AS ` + retainedFrom,
		`PREPARE dead (timestamptz, int8) AS ` + findDead,
		`PREPARE known (uuid[]) AS ` + findKnown,
	} {
		if _, err := conn.Exec(t.Context(), query); err != nil {
			t.Fatal(query, err)
		}
	}
	const three = `ARRAY[md5('300')::uuid, md5('2500')::uuid, md5('4900')::uuid]`
	for range 2 {
		for _, c := range []struct {
			first, query string
			most         int
		}{
			{``, `EXECUTE claimable(gen_random_uuid(), 64, 0::int2)`, 80}, // those that are held, too
			{``, `EXECUTE claimable_sparse(gen_random_uuid(), 64, ` + three + `)`, 20},
			{``, `EXECUTE claim(` + three + `, gen_random_uuid(), '1 minute')`, 60},
			{``, `EXECUTE runs_of(` + three + `)`, 100},
			{``, `EXECUTE markers('{1,2}', '{25000,25000}', '{25009,25010}', gen_random_uuid(), 100)`, 60},
			{``, `EXECUTE lock_standing('{1,2}', '{25000,25000}', '{25100,25100}')`, 70},
			{``, `EXECUTE read_standing('{1,2}', '{25000,25000}', '{25100,25100}')`, 40},
			{``, `EXECUTE replace('{1,1,2}', '{25000,25009,25000}')`, 60},
			{byKeys, `EXECUTE retained('{2}', '{25000}', '{-1}')`, 90},
			{byKeys, `EXECUTE retained('{2}', '{-1}', '{20000}')`, 40},
			{``, `EXECUTE dead('infinity', 10)`, 10},
			{``, `EXECUTE known(` + three + `)`, 30},
		} {
			for _, query := range []string{`BEGIN`, c.first} {
				if _, err := conn.Exec(t.Context(), query); err != nil {
					t.Fatal(err)
				}
			}
			if blocks, plan := blocksOf(t, conn, c.query); blocks > c.most || blocks == 0 {
				t.Errorf("%s: %d blocks, want at most %d\n%s", c.query, blocks, c.most, plan)
			}
			if _, err := conn.Exec(t.Context(), `ROLLBACK`); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := conn.Exec(t.Context(), `ANALYZE`); err != nil {
			t.Fatal(err)
		}
	}
}
