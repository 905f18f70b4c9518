package postgres

import (
	"testing"

	"github.com/wadi-log/wadi/metadata/metadatatest"
	"github.com/wadi-log/wadi/test/harness"
)

func BenchmarkStore(b *testing.B) {
	metadatatest.Benchmark(b, newDatabases(harness.Postgres(b), ""))
}
