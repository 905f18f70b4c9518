package postgres

import (
	"testing"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/metadatatest"
	"github.com/wadi-log/wadi/test/harness"
)

func TestInspectionConformance(t *testing.T) {
	metadatatest.RunInspection(t, newDatabases(harness.Postgres(t)))
}

func (d database) SetCounts(t testing.TB, id uuid.UUID, liveRuns int, liveBytes int64) {
	t.Helper()
	exec(t, d.url, `UPDATE files SET live_runs = $2, live_bytes = $3 WHERE id = $1`, id, liveRuns, liveBytes)
}

func (d database) DropKey(t testing.TB, id uuid.UUID) {
	t.Helper()
	exec(t, d.url, `UPDATE files SET partitions = partitions[:cardinality(partitions) - 1], offsets = offsets[:cardinality(offsets) - 1] WHERE id = $1`, id)
}

func (d database) DropRow(t testing.TB, partition metadata.PartitionID, offset int64) {
	t.Helper()
	exec(t, d.url, `DELETE FROM runs WHERE partition_id = $1 AND base_offset = $2`, partition, offset)
}
