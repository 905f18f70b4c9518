package postgres

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wadi-log/wadi/metadata"
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

// TestTransactionQueriesFindTheirRows among those of 3,000 open transactions in as
// many partitions, whether or not the planner knows yet how many there are.
func TestTransactionQueriesFindTheirRows(t *testing.T) {
	url := harness.Postgres(t)
	open(t, url)
	conn := dial(t, url)
	for _, table := range []string{"partitions", "transactions", "transaction_partitions", "transaction_groups", "transaction_offsets", "group_states", "group_offsets"} {
		exec(t, url, `ALTER TABLE `+table+` SET (autovacuum_enabled = off)`)
	}
	for _, query := range []string{
		`INSERT INTO partitions (id, log_start_offset, next_offset, max_timestamp) SELECT p, 0, 100, 0 FROM generate_series(1, 3000) p`,
		`INSERT INTO transactions (txn_key, name, producer_id, producer_epoch, last_producer_id, last_epoch, state, version, timeout_ms, started_at, updated_at)
			SELECT md5(i::text)::uuid, i::text::bytea, i, 0, -1, -1, 1, 2, 60000, clock_timestamp(), clock_timestamp() FROM generate_series(1, 3000) i`,
		`INSERT INTO transaction_partitions (producer_id, partition_id, first_offset) SELECT i, 1 + (i + 7 * p) % 3000, p FROM generate_series(1, 3000) i, generate_series(1, 10) p`,
		`INSERT INTO transaction_groups (producer_id, group_key, name) SELECT i, md5(i::text)::uuid, i::text::bytea FROM generate_series(1, 3000) i`,
		`INSERT INTO transaction_offsets (producer_id, group_key, partition_id, pending_offset, leader_epoch, put_at, metadata)
			SELECT i, md5(i::text)::uuid, p, 5, -1, clock_timestamp(), '' FROM generate_series(1, 3000) i, generate_series(1, 10) p`,
		`INSERT INTO group_states (group_key, version, state) SELECT md5(i::text)::uuid, i, '' FROM generate_series(1, 3000) i`,
		`INSERT INTO group_offsets (group_key, partition_id, committed_offset, leader_epoch, committed_at, metadata)
			SELECT md5(i::text)::uuid, p, 5, -1, clock_timestamp(), '' FROM generate_series(1, 3000) i, generate_series(1, 10) p`,
		`SET plan_cache_mode = force_generic_plan`,
		`PREPARE by_key (uuid[]) AS ` + transactionsByKey,
		`PREPARE heads (uuid[]) AS ` + headsOfTransactions,
		`PREPARE open_with (uuid[]) AS ` + openWithTransactions,
		`PREPARE lock_groups (uuid[], uuid[]) AS ` + lockTransactionGroups,
		`PREPARE commit_offsets (int8[]) AS ` + commitOffsets,
		`PREPARE fetch_offsets (int4[], uuid[], int4[], uuid[], int4[]) AS ` + fetchOffsets,
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
			{`EXECUTE by_key(ARRAY[md5('7')::uuid])`, 40},
			{`EXECUTE heads(ARRAY[md5('7')::uuid])`, 50},
			{`EXECUTE open_with(ARRAY[md5('7')::uuid])`, 80}, // those of 10 transactions in each of 10 partitions
			{`EXECUTE lock_groups(ARRAY[md5('8')::uuid], ARRAY[md5('7')::uuid])`, 40},
			{`EXECUTE commit_offsets('{7}')`, 80},
			{`EXECUTE fetch_offsets('{0}', ARRAY[md5('7')::uuid], '{}', '{}', '{}')`, 40},
			{`EXECUTE fetch_offsets('{}', '{}', '{0,0}', ARRAY[md5('7')::uuid, md5('7')::uuid], '{1,2}')`, 30},
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

// TestEndedTransactionsAreNotSearchedThrough: what 500 transactions over the same
// partitions have left is not gone through for the next one, also before it is vacuumed.
func TestEndedTransactionsAreNotSearchedThrough(t *testing.T) {
	url := harness.Postgres(t)
	store := open(t, url)
	for _, query := range []string{
		`ALTER TABLE transaction_partitions SET (autovacuum_enabled = off)`,
		`INSERT INTO partitions (id, log_start_offset, next_offset, max_timestamp) SELECT p, 0, 100, 0 FROM generate_series(1, 40) p`,
	} {
		exec(t, url, query)
	}
	change := func(op metadata.TransactionOp) metadata.ProducerEpoch {
		changed, err := store.ChangeTransactions(t.Context(), []metadata.TransactionRequest{{ID: "busy", Op: op}})
		if err != nil {
			t.Fatal(err)
		}
		if err := changed.Results[0].Err; err != nil {
			t.Fatal(err)
		}
		return changed.Results[0].Producer
	}
	producer := change(metadata.InitProducer{Timeout: time.Hour, Expected: metadata.NoProducer, NewProducerID: 7})
	add := metadata.AddToTransaction{Producer: producer}
	for p := range 40 {
		add.Partitions = append(add.Partitions, metadata.PartitionID(p+1))
	}
	for range 500 {
		change(add)
		change(metadata.EndTransaction{Producer: producer, Version: metadata.TransactionV1, NewProducerID: -1})
	}
	change(add)

	conn := dial(t, url)
	for _, query := range []string{`SET plan_cache_mode = force_generic_plan`, `PREPARE open_with (uuid[]) AS ` + openWithTransactions, `BEGIN`, byKeys} {
		if _, err := conn.Exec(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	query := `EXECUTE open_with(ARRAY['` + metadata.TransactionKey("busy").String() + `'::uuid])`
	if blocks, plan := blocksOf(t, conn, query); blocks > 120 {
		t.Errorf("%d blocks, want at most 120\n%s", blocks, plan)
	}
}

// TestAbortedAreSoughtNearTheRange that is read, or removed, however many there are
// behind it.
func TestAbortedAreSoughtNearTheRange(t *testing.T) {
	url := harness.Postgres(t)
	open(t, url)
	conn := dial(t, url)
	for _, query := range []string{
		`INSERT INTO partitions (id, log_start_offset, next_offset, max_timestamp, last_aborted) SELECT p, 0, 1000000, 0, 999999 FROM generate_series(1, 3) p`,
		`INSERT INTO aborted_transactions (partition_id, producer_id, first_offset, last_offset, stable_offset)
			SELECT p, 7, 10 * i, 10 * i + 9, 10 * i + 10 FROM generate_series(1, 3) p, generate_series(0, 20000) i`,
		`INSERT INTO runs (partition_id, base_offset, records, file_id, encoding, position, stored_size, skip, size, max_timestamp)
			SELECT p, 10 * i + 9, 1, gen_random_uuid(), 2, 7, 0, 0, 78, 0 FROM generate_series(1, 3) p, generate_series(0, 20000) i`,
		`SET plan_cache_mode = force_generic_plan`,
		`PREPARE aborted (int4[], int8[], int8[], int8[]) AS ` + findAborted,
		`PREPARE remove (int4[], int8[]) AS ` + removeRuns,
	} {
		if _, err := conn.Exec(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		for _, query := range []string{
			`EXECUTE aborted('{1,2}', '{50005,100005}', '{50055,100055}', '{1000000,1000000}')`,
			`EXECUTE remove('{1,2,3}', '{9,19,29}')`,
		} {
			if blocks, plan := blocksOf(t, conn, query); blocks > 40 || blocks == 0 {
				t.Errorf("%s: %d blocks, want at most 40\n%s", query, blocks, plan)
			}
		}
		if _, err := conn.Exec(t.Context(), `ANALYZE`); err != nil {
			t.Fatal(err)
		}
	}
}
