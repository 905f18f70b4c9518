package fetch

import (
	"os"
	"testing"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/postgres"
	"github.com/wadi-log/wadi/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

func openStore(t testing.TB) metadata.Store {
	s, err := postgres.Open(t.Context(), harness.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}
