package postgres

import (
	"encoding/json"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/wadi-log/wadi/test/harness"
)

// TestFindRunsCostFollowsTheBudget: neither the lag of a consumer nor MaxRuns
// makes a small fetch expensive, also with the generic plan that a prepared
// statement ends up with.
func TestFindRunsCostFollowsTheBudget(t *testing.T) {
	url := harness.Postgres(t)
	partition := createTopic(t, open(t, url))
	const runs = 20_000
	exec(t, url, `INSERT INTO runs (partition_id, base_offset, records, file_id, encoding, position, stored_size, skip, size, max_timestamp)
		SELECT $1::int4, i, 1, gen_random_uuid(), 0, 0, 1000, 0, 1000, 0 FROM generate_series(0, $2::int8 - 1) i`, partition, runs)
	exec(t, url, `UPDATE partitions SET next_offset = $1`, runs)
	conn := dial(t, url)
	for _, query := range []string{`SET plan_cache_mode = force_generic_plan`, `ANALYZE`, `PREPARE f (int4[], int8[], int8[], int4[]) AS ` + findRuns} {
		if _, err := conn.Exec(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, args string
		most       int
	}{
		{"few bytes at a great lag", `'{1}', '{5}', '{3000}', '{256}'`, 30},
		{"many runs", `'{1}', '{5}', '{100000000}', '{256}'`, 100},
	} {
		if blocks, plan := blocksOf(t, conn, `EXECUTE f(`+c.args+`)`); blocks > c.most || blocks == 0 {
			t.Errorf("%s: %d blocks, want at most %d\n%s", c.name, blocks, c.most, plan)
		}
	}
}

// TestTrimProbesTheKey of each partition that ever lost records, and reads none
// of the runs that are to stay.
func TestTrimProbesTheKey(t *testing.T) {
	url := harness.Postgres(t)
	open(t, url)
	conn := dial(t, url)
	for _, query := range []string{
		`INSERT INTO partitions (id, log_start_offset, next_offset, max_timestamp) SELECT p, 5 * (p % 2), 10000, 0 FROM generate_series(1, 20) p`,
		`INSERT INTO runs (partition_id, base_offset, records, file_id, encoding, position, stored_size, skip, size, max_timestamp)
			SELECT p, i * 10, 10, gen_random_uuid(), 0, 0, 1000, 0, 1000, 0 FROM generate_series(0, 999) i, generate_series(1, 20) p`,
		`SET plan_cache_mode = force_generic_plan`,
		`PREPARE trim_all (int8) AS ` + trimmable,
		`PREPARE trim_some (int8, int4[]) AS ` + trimmableOf,
	} {
		if _, err := conn.Exec(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		for _, c := range []struct {
			query string
			most  int
		}{{`EXECUTE trim_all(1000)`, 80}, {`EXECUTE trim_some(1000, '{1,3}')`, 20}} {
			if blocks, plan := blocksOf(t, conn, c.query); blocks > c.most || blocks == 0 {
				t.Errorf("%s: %d blocks, want at most %d\n%s", c.query, blocks, c.most, plan)
			}
		}
		if _, err := conn.Exec(t.Context(), `ANALYZE`); err != nil {
			t.Fatal(err)
		}
	}
}

// blocksOf runs the query and returns how many blocks it looked at, and its plan.
func blocksOf(t *testing.T, conn *pgx.Conn, query string) (blocks int, plan []byte) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) `+query).Scan(&plan); err != nil {
		t.Fatal(err)
	}
	var plans []struct {
		Plan struct {
			Hit  int `json:"Shared Hit Blocks"`
			Read int `json:"Shared Read Blocks"`
		}
	}
	if err := json.Unmarshal(plan, &plans); err != nil {
		t.Fatal(err)
	}
	return plans[0].Plan.Hit + plans[0].Plan.Read, plan
}

// TestGroupQueriesFindTheirRows among those of 3,000 groups, whether or not the
// planner knows yet how many there are.
func TestGroupQueriesFindTheirRows(t *testing.T) {
	url := harness.Postgres(t)
	open(t, url)
	conn := dial(t, url)
	for _, query := range []string{
		`ALTER TABLE groups SET (autovacuum_enabled = off)`,
		`ALTER TABLE group_states SET (autovacuum_enabled = off)`,
		`ALTER TABLE group_beats SET (autovacuum_enabled = off)`,
		`ALTER TABLE group_offsets SET (autovacuum_enabled = off)`,
		`INSERT INTO groups (group_key, version, due_at, name, protocol_type, type, phase)
			SELECT md5(i::text)::uuid, i, clock_timestamp() + '1 hour', i::text::bytea, 'consumer', 'classic', 'Stable' FROM generate_series(1, 3000) i`,
		`INSERT INTO group_states (group_key, version, state) SELECT md5(i::text)::uuid, i,
			(SELECT string_agg(sha256((i * 1000 + j)::text::bytea), '') FROM generate_series(1, 100) j) FROM generate_series(1, 3000) i`,
		`INSERT INTO group_beats (group_key, agent, at, beats) SELECT md5(i::text)::uuid, gen_random_uuid(), clock_timestamp(), '' FROM generate_series(1, 3000) i, generate_series(1, 3)`,
		`INSERT INTO group_offsets (group_key, partition_id, committed_offset, leader_epoch, committed_at, metadata)
			SELECT md5(i::text)::uuid, p, 5, -1, clock_timestamp(), '' FROM generate_series(1, 3000) i, generate_series(1, 10) p`,
		`SET plan_cache_mode = force_generic_plan`,
		`PREPARE load (uuid[], int8[]) AS ` + loadGroups,
		`PREPARE fetch_offsets (int4[], uuid[], int4[], uuid[], int4[]) AS ` + fetchOffsets,
		`PREPARE claim (int8, interval) AS ` + claimDueGroups,
	} {
		if _, err := conn.Exec(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		for _, c := range []struct {
			query string
			most  int
		}{
			{`EXECUTE load(ARRAY[md5('7')::uuid], '{0}')`, 25},
			{`EXECUTE fetch_offsets('{0}', ARRAY[md5('7')::uuid], '{}', '{}', '{}')`, 30},
			{`EXECUTE fetch_offsets('{}', '{}', '{0,0}', ARRAY[md5('7')::uuid, md5('7')::uuid], '{1,2}')`, 20},
			{`EXECUTE claim(10, '1 minute')`, 120}, // all of groups, and nothing else
		} {
			if blocks, plan := blocksOf(t, conn, c.query); blocks > c.most || blocks == 0 {
				t.Errorf("%s: %d blocks, want at most %d\n%s", c.query, blocks, c.most, plan)
			}
		}
		if _, err := conn.Exec(t.Context(), `ANALYZE`); err != nil {
			t.Fatal(err)
		}
	}
}
