package sqlite

import (
	"testing"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/metadatatest"
)

func TestInspectionConformance(t *testing.T) {
	metadatatest.RunInspection(t, newDatabase)
}

func (d database) SetCounts(t testing.TB, id uuid.UUID, liveRuns int, liveBytes int64) {
	t.Helper()
	d.exec(t, `UPDATE files SET live_runs = ?, live_bytes = ? WHERE id = ?`, liveRuns, liveBytes, id[:])
}

func (d database) DropKey(t testing.TB, id uuid.UUID) {
	t.Helper()
	d.exec(t, `UPDATE file_keys SET keys = json_remove(keys, '$[#-1]') WHERE file_id = ?`, id[:])
}

func (d database) DropRow(t testing.TB, partition metadata.PartitionID, offset int64) {
	t.Helper()
	d.exec(t, `DELETE FROM runs WHERE partition_id = ? AND base_offset = ?`, partition, offset)
}

func (d database) exec(t testing.TB, query string, args ...any) {
	t.Helper()
	if _, err := d.raw(t).ExecContext(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}
