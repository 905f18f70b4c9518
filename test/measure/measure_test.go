package measure

import (
	"os"
	"testing"
	"time"

	"github.com/wadi-log/wadi/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

func TestFieldsOfAProcessWhoseNameHasSpaces(t *testing.T) {
	s := parseStat(t, "17 (a (b) c) S 4 17 17 0 -1 4194560 1 2 0 0 150 50 7 3 20 0 1 0 99 1000 12 18446744073709551615\n")
	if parent, cpu := s.number(statParent), s.ticks(statUser, statSystem); parent != 4 || cpu != 2*time.Second {
		t.Errorf("parent %d, CPU time %v", parent, cpu)
	}
	if got := usage(s); got.CPU != 2*time.Second || got.RSS != 12*int64(os.Getpagesize()) {
		t.Errorf("usage %+v", got)
	}
}

func TestUsageOfThisProcess(t *testing.T) {
	before := Self(t)
	for begun := time.Now(); Self(t).CPU == before.CPU; {
		if time.Since(begun) > time.Minute {
			t.Fatalf("no CPU time was used in a minute of work: %+v", before)
		}
	}
	if same := Process(t, os.Getpid()); same.CPU <= before.CPU || same.RSS < 1<<20 {
		t.Errorf("%+v by its ID, %+v by itself before", same, before)
	}
}

func TestRequestsAreThoseOfTheVerb(t *testing.T) {
	metrics := map[string]float64{
		"wadi_objstore_requests_total":                              11,
		`wadi_objstore_requests_total{result="ok",verb="put"}`:      1,
		`wadi_objstore_requests_total{result="error",verb="put"}`:   2,
		`wadi_objstore_requests_total{result="ok",verb="get"}`:      8,
		`wadi_objstore_bytes_total{verb="put"}`:                     100,
		`wadi_objstore_request_duration_seconds_count{verb="put"} `: 100,
	}
	if puts, gets := Requests(metrics, "put"), Requests(metrics, "get"); puts != 3 || gets != 8 {
		t.Errorf("%v PUTs and %v GETs", puts, gets)
	}
}

func TestPostgresIsMeasuredWithAllItsProcesses(t *testing.T) {
	p := OpenPostgres(t, harness.Postgres(t))
	before := p.CPU()
	if n := p.Number(`SELECT sum(n::float8 * n) FROM generate_series(1, 1000000) AS n`); n < 3e17 {
		t.Fatalf("the sum is %v", n)
	}
	if p.CPU() == before {
		t.Error("a query of some hundred milliseconds used no CPU time")
	}
}
