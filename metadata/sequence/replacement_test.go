package sequence

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

var replacementTime = time.UnixMilli(1_800_000_000_000)

// oldRun is a row of 10 bytes a record in the n-th file.
func oldRun(n uint64, base int64, records int32) metadata.Run {
	return metadata.Run{Partition: 1, BaseOffset: base, Records: records, FileID: fileID(replacementTime, n), StoredSize: 10 * records, Size: 10 * records}
}

// newRun is what takes the place of the rows.
func newRun(file uuid.UUID, rows ...metadata.Run) metadata.NewRun {
	n := metadata.NewRun{Run: metadata.Run{Partition: rows[0].Partition, BaseOffset: rows[0].BaseOffset, FileID: file, StoredSize: 50, Size: 50, Merged: true}}
	for _, r := range rows {
		n.Records += r.Records
		n.MaxTimestamp = r.MaxTimestamp
		n.Replaces = append(n.Replaces, metadata.RunKey{BaseOffset: r.BaseOffset, FileID: r.FileID})
	}
	return n
}

func TestRunIsTakenForWhatStands(t *testing.T) {
	file := fileID(replacementTime, 99)
	a, b, c := oldRun(1, 0, 10), oldRun(2, 10, 5), oldRun(3, 15, 5)
	marker := metadata.Marker{ProducerID: 7, Commit: true}.Run(1, 20, 3)
	before := oldRun(9, 0, 11) // reaches into b's range
	all := newRun(file, a, b, c, marker)
	elsewhere, longer := b, c
	elsewhere.FileID = fileID(replacementTime, 50)
	longer.Records++
	for name, tc := range map[string]struct {
		run      metadata.NewRun
		logStart int64 // -1: no such partition
		standing []metadata.Run
		taken    bool
	}{
		"all":                                   {all, 0, []metadata.Run{a, b, c, marker}, true},
		"one":                                   {newRun(file, b), 0, []metadata.Run{b}, true},
		"all, some before the log start":        {all, 17, []metadata.Run{a, b, c, marker}, true},
		"the first trimmed":                     {all, 12, []metadata.Run{b, c, marker}, true},
		"the first trimmed exactly":             {all, 10, []metadata.Run{b, c, marker}, true},
		"all but the last trimmed":              {all, 20, []metadata.Run{marker}, true},
		"the first gone otherwise":              {all, 9, []metadata.Run{b, c, marker}, false},
		"nothing stands":                        {all, 30, nil, false},
		"one in the middle gone":                {all, 30, []metadata.Run{a, c, marker}, false},
		"the last gone":                         {all, 0, []metadata.Run{a, b, c}, false},
		"one replaced":                          {all, 0, []metadata.Run{a, elsewhere, c, marker}, false},
		"one replaced, the first trimmed":       {all, 10, []metadata.Run{elsewhere, c, marker}, false},
		"one more":                              {newRun(file, a, c), 0, []metadata.Run{a, b, c}, false},
		"one reaches in, the first trimmed":     {newRun(file, oldRun(8, 9, 1), b, c), 11, []metadata.Run{before, b, c}, false},
		"one reaches in, and begins before":     {newRun(file, oldRun(8, 9, 1), b, c), 11, []metadata.Run{oldRun(9, 8, 2), b, c}, false},
		"the last one is longer":                {newRun(file, a, b, c), 0, []metadata.Run{a, b, longer}, false},
		"they overlap":                          {newRun(file, a, b, c), 0, []metadata.Run{a, {Partition: 1, BaseOffset: 10, Records: 6, FileID: b.FileID}, c}, false},
		"partition deleted":                     {all, -1, []metadata.Run{a, b, c, marker}, false},
		"all before the log start, not trimmed": {newRun(file, a, b), 15, []metadata.Run{a, b}, true},
	} {
		t.Run(name, func(t *testing.T) {
			state := ReplacementState{Now: replacementTime, LogStarts: map[metadata.PartitionID]int64{}, Standing: [][]metadata.Run{tc.standing}}
			if tc.logStart >= 0 {
				state.LogStarts[1] = tc.logStart
			}
			got, err := DecideReplacement(state, metadata.Replacement{FileID: file, Size: 100, Level: 1, Runs: []metadata.NewRun{tc.run}})
			if err != nil {
				t.Fatal(err)
			}
			want := ReplacementDecision{Taken: []bool{tc.taken}, LiveBytes: 50}
			if tc.taken {
				want.Removed, want.Runs, want.LiveBytes = tc.standing, []metadata.Run{tc.run.Run}, 100
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestNewRunsAreTakenEachOnItsOwn(t *testing.T) {
	file := fileID(replacementTime, 99)
	a, b, c := oldRun(1, 0, 10), oldRun(1, 10, 5), oldRun(2, 15, 5)
	r := metadata.Replacement{FileID: file, Size: 500, Level: 1, Runs: []metadata.NewRun{newRun(file, a), newRun(file, b), newRun(file, c)}}
	state := ReplacementState{Now: replacementTime, LogStarts: map[metadata.PartitionID]int64{1: 0}, Standing: [][]metadata.Run{{a}, nil, {c}}}
	got, err := DecideReplacement(state, r)
	if err != nil {
		t.Fatal(err)
	}
	want := ReplacementDecision{Taken: []bool{true, false, true}, Removed: []metadata.Run{a, c}, Runs: []metadata.Run{r.Runs[0].Run, r.Runs[2].Run}, LiveBytes: 450}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	marker := metadata.Marker{ProducerID: 7}.Run(1, 20, 3)
	counts := CountFiles([]metadata.Run{c, a, marker, b})
	if want := []FileRuns{{a.FileID, 2, 150}, {c.FileID, 1, 50}}; !slices.Equal(counts, want) {
		t.Errorf("counted %+v, want %+v", counts, want)
	}
}

func TestOldFileReplacesNothing(t *testing.T) {
	file := fileID(replacementTime, 99)
	a := oldRun(1, 0, 10)
	const tooFar = metadata.MaxFileAge + time.Second
	for _, off := range []time.Duration{-tooFar, tooFar} {
		state := ReplacementState{
			Now:       replacementTime.Add(off),
			LogStarts: map[metadata.PartitionID]int64{1: 0}, Standing: [][]metadata.Run{{a}},
		}
		_, err := DecideReplacement(state, metadata.Replacement{FileID: file, Size: 100, Level: 1, Runs: []metadata.NewRun{newRun(file, a)}})
		if !errors.Is(err, metadata.ErrFileTooOld) {
			t.Errorf("clock off by %v: %v", off, err)
		}
	}
}

func TestTimestampsStayMonotone(t *testing.T) {
	file := fileID(replacementTime, 99)
	a := oldRun(1, 0, 10)
	r := metadata.Replacement{FileID: file, Size: 100, Level: 1, Runs: []metadata.NewRun{newRun(file, a)}}
	r.Runs[0].MaxTimestamp++
	state := ReplacementState{Now: replacementTime, LogStarts: map[metadata.PartitionID]int64{1: 0}, Standing: [][]metadata.Run{{a}}}
	if _, err := DecideReplacement(state, r); err == nil || !strings.Contains(err.Error(), "has timestamp 1, and ends with one of 0") {
		t.Errorf("got %v", err)
	}
}

func TestReplacementsAreValidated(t *testing.T) {
	file := fileID(replacementTime, 99)
	a, b, c := oldRun(1, 0, 10), oldRun(2, 10, 5), oldRun(3, 15, 5)
	valid := func() metadata.Replacement {
		return metadata.Replacement{FileID: file, Size: 100, Level: 1, Runs: []metadata.NewRun{newRun(file, a, b), newRun(file, c)}}
	}
	for _, level := range []int16{1, metadata.MaxFileLevel - 1, metadata.LevelSettled} {
		r := valid()
		r.Level = level
		if err := ValidateReplacement(r); err != nil {
			t.Errorf("level %d: %v", level, err)
		}
	}
	for want, change := range map[string]func(r *metadata.Replacement){
		"0 bytes of commit 0":          func(r *metadata.Replacement) { r.Size = 0 },
		"of commit -1":                 func(r *metadata.Replacement) { r.Seq = -1 },
		"kept at level 0":              func(r *metadata.Replacement) { r.Level = 0 },
		"kept at level 3":              func(r *metadata.Replacement) { r.Level = metadata.MaxFileLevel },
		"kept at level -2":             func(r *metadata.Replacement) { r.Level = metadata.LevelDamaged },
		"no runs":                      func(r *metadata.Replacement) { r.Runs = nil },
		"it lies in file":              func(r *metadata.Replacement) { r.Runs[0].FileID = a.FileID },
		"no run of a merged file":      func(r *metadata.Replacement) { r.Runs[0].Merged = false },
		"unknown encoding 2":           func(r *metadata.Replacement) { r.Runs[0].Encoding = metadata.EncodingMarker },
		"-5 records":                   func(r *metadata.Replacement) { r.Runs[0].Records = -5 },
		"50 bytes at 51, 50 decoded":   func(r *metadata.Replacement) { r.Runs[0].Position = 51 },
		"50 bytes at -1":               func(r *metadata.Replacement) { r.Runs[0].Position = -1 },
		"60 raw bytes stored in 50":    func(r *metadata.Replacement) { r.Runs[0].Size = 60 },
		"does not begin with it":       func(r *metadata.Replacement) { r.Runs[1].Replaces = nil },
		"0 of partition 1: what":       func(r *metadata.Replacement) { r.Runs[0].Replaces[0].BaseOffset = 1 },
		"out of order at 15":           func(r *metadata.Replacement) { r.Runs[0].Replaces[1].BaseOffset = 15 },
		"out of order at 0":            func(r *metadata.Replacement) { r.Runs[0].Replaces[1].BaseOffset = 0 },
		"a run of its own file":        func(r *metadata.Replacement) { r.Runs[0].Replaces[1].FileID = file },
		"15 of partition 0: it does n": func(r *metadata.Replacement) { r.Runs[1].Partition = 0 },
		"14 of partition 1: it does n": func(r *metadata.Replacement) { r.Runs[1].BaseOffset, r.Runs[1].Replaces[0].BaseOffset = 14, 14 },
	} {
		r := valid()
		change(&r)
		if err := ValidateReplacement(r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
