package metadata

import "testing"

func TestRecordsAreMergedSoOftenAtMost(t *testing.T) {
	rewritten := 0
	for level := int16(0); level >= 0; rewritten++ {
		level = FileLevel(level+1, 100, 100)
	}
	if rewritten != MaxFileLevel {
		t.Errorf("%d times, want %d", rewritten, MaxFileLevel)
	}
	if got := FileLevel(1, 2*SettledRunBytes, 2); got != LevelSettled {
		t.Errorf("level %d with large runs", got)
	}
	if got := FileLevel(1, 2*SettledRunBytes, 3); got != 1 {
		t.Errorf("level %d with small runs", got)
	}
	if got := FileLevel(LevelSettled, 100, 100); got != LevelSettled {
		t.Errorf("a settled file comes to level %d", got)
	}
}
