package sequence

import (
	"testing"

	"github.com/wadi-log/wadi/metadata"
)

func TestPossibleLiveBytes(t *testing.T) {
	for _, c := range []struct {
		name                    string
		size, counted, rowBytes int64
		merged                  bool
		want                    int64
	}{
		{"nothing is gone", 100, 100, 60, true, 100},
		{"some is gone", 100, 70, 60, true, 70},
		{"less than the runs have", 100, 50, 60, true, 60},
		{"runs that share bytes count them twice", 100, -20, 60, false, -20},
		{"more than the file has", 100, 101, 60, true, 100},
		{"more than the file has, not merged", 100, 101, 60, false, 100},
		{"runs beyond the file", 100, 50, 160, true, 100},
	} {
		if got := possibleLiveBytes(c.size, c.counted, c.rowBytes, c.merged); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestRecount(t *testing.T) {
	rows := []metadata.Run{{StoredSize: 30, Merged: true}, {StoredSize: 40, Merged: true}}
	file := metadata.InspectedFile{Size: 100, LiveRuns: 2, LiveBytes: 100, KeysKnown: true}
	if c := Recount(file, rows, 2); c.Wrong() {
		t.Errorf("right counts are wrong: %+v", c)
	}
	for name, change := range map[string]func(f *metadata.InspectedFile, keyed *int){
		"runs":  func(f *metadata.InspectedFile, _ *int) { f.LiveRuns = 3 },
		"bytes": func(f *metadata.InspectedFile, _ *int) { f.LiveBytes = 69 },
		"keys":  func(_ *metadata.InspectedFile, keyed *int) { *keyed = 1 },
	} {
		f, keyed := file, 2
		change(&f, &keyed)
		if c := Recount(f, rows, keyed); !c.Wrong() {
			t.Errorf("wrong %s are right: %+v", name, c)
		}
	}
}

func TestMarkerRange(t *testing.T) {
	runs := []metadata.Run{{BaseOffset: 10, Records: 5}, {BaseOffset: 15, Records: 5}}
	for _, c := range []struct {
		offset      int64
		runs        []metadata.Run
		limit       int
		first, next int64
	}{
		{12, runs, 2, 10, 20},
		{12, runs, 3, 10, 1<<63 - 1},
		{5, runs, 2, 5, 20},
		{5, nil, 2, 5, 1<<63 - 1},
	} {
		if first, end := MarkerRange(c.offset, c.runs, c.limit); first != c.first || end != c.next {
			t.Errorf("from %d, %d of %d rows: %d to %d", c.offset, len(c.runs), c.limit, first, end)
		}
	}
}
