package postgres

import (
	"encoding/json"
	"testing"

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
		var explained []byte
		if err := conn.QueryRow(t.Context(), `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE f(`+c.args+`)`).Scan(&explained); err != nil {
			t.Fatal(err)
		}
		var plans []struct {
			Plan struct {
				Hit  int `json:"Shared Hit Blocks"`
				Read int `json:"Shared Read Blocks"`
			}
		}
		if err := json.Unmarshal(explained, &plans); err != nil {
			t.Fatal(err)
		}
		if blocks := plans[0].Plan.Hit + plans[0].Plan.Read; blocks > c.most || blocks == 0 {
			t.Errorf("%s: %d blocks, want at most %d\n%s", c.name, blocks, c.most, explained)
		}
	}
}
