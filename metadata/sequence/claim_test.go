package sequence

import (
	"testing"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

func TestClaimsAreFullOrDue(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	claim := metadata.FileClaim{For: time.Minute, MaxFiles: 4, MaxBytes: 100, MaxRuns: 50, Due: 30 * time.Second}
	type files []struct {
		size int64
		runs int
		age  time.Duration
	}
	old, young := 30*time.Second, 29*time.Second
	for name, tc := range map[string]struct {
		files  files
		change func(*metadata.FileClaim)
		want   int
	}{
		"none":                        {nil, nil, 0},
		"young ones wait":             {files{{10, 5, young}, {10, 5, young}, {10, 5, 0}}, nil, 0},
		"the oldest is due":           {files{{10, 5, old}, {10, 5, young}, {10, 5, 0}}, nil, 3},
		"one alone is never due":      {files{{10, 5, time.Hour}}, nil, 0},
		"two are":                     {files{{10, 5, old}, {10, 5, 0}}, nil, 2},
		"nothing is due without Due":  {files{{10, 5, time.Hour}, {10, 5, time.Hour}}, func(c *metadata.FileClaim) { c.Due = 0 }, 0},
		"MaxFiles, young":             {files{{10, 5, 0}, {10, 5, 0}, {10, 5, 0}, {10, 5, 0}}, nil, 4},
		"more than MaxFiles":          {files{{10, 5, 0}, {10, 5, 0}, {10, 5, 0}, {10, 5, 0}, {10, 5, 0}}, nil, 4},
		"MaxBytes":                    {files{{50, 5, 0}, {50, 5, 0}, {1, 5, 0}}, nil, 2},
		"the next would be too large": {files{{50, 5, 0}, {49, 5, 0}, {2, 5, 0}}, nil, 2},
		"nearly MaxBytes":             {files{{50, 5, 0}, {49, 5, 0}}, nil, 0},
		"a huge file alone":           {files{{500, 5, 0}, {1, 5, 0}}, nil, 1},
		"a huge file is the next":     {files{{10, 5, 0}, {500, 5, 0}}, nil, 1},
		"MaxRuns":                     {files{{10, 25, 0}, {10, 25, 0}, {10, 1, 0}}, nil, 2},
		"the next has too many runs":  {files{{10, 25, 0}, {10, 24, 0}, {10, 2, 0}}, nil, 2},
		"many runs in the first":      {files{{10, 5000, 0}, {10, 1, 0}}, nil, 1},
		"one file is enough of sparse ones": {files{{10, 5, 0}}, func(c *metadata.FileClaim) {
			c.Sparse = true
		}, 1},
		"no sparse ones": {nil, func(c *metadata.FileClaim) { c.Sparse = true }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			claim := claim
			if tc.change != nil {
				tc.change(&claim)
			}
			if err := ValidateClaim(claim); err != nil {
				t.Fatal(err)
			}
			var candidates []ClaimCandidate
			for _, f := range tc.files {
				candidates = append(candidates, ClaimCandidate{Size: f.size, LiveRuns: f.runs, CommittedAt: now.Add(-f.age)})
			}
			if got := DecideClaim(claim, now, candidates); got != tc.want {
				t.Errorf("takes %d, want %d", got, tc.want)
			}
		})
	}
}

func TestClaimsAreValidated(t *testing.T) {
	for name, change := range map[string]func(*metadata.FileClaim){
		"no time":           func(c *metadata.FileClaim) { c.For = 0 },
		"no files":          func(c *metadata.FileClaim) { c.MaxFiles = 0 },
		"no bytes":          func(c *metadata.FileClaim) { c.MaxBytes = 0 },
		"no runs":           func(c *metadata.FileClaim) { c.MaxRuns = 0 },
		"negative due":      func(c *metadata.FileClaim) { c.Due = -1 },
		"settled files":     func(c *metadata.FileClaim) { c.Level = metadata.LevelSettled },
		"the highest level": func(c *metadata.FileClaim) { c.Level = metadata.MaxFileLevel },
	} {
		claim := metadata.FileClaim{For: time.Minute, MaxFiles: 4, MaxBytes: 100, MaxRuns: 50}
		change(&claim)
		if ValidateClaim(claim) == nil {
			t.Errorf("%s: valid", name)
		}
	}
}
