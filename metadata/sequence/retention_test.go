package sequence

import (
	"testing"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

func TestRetentionTime(t *testing.T) {
	made := time.UnixMilli(1_800_000_000_000)
	for name, tc := range map[string]struct {
		run  metadata.Run
		want int64
	}{
		"timestamp":                   {metadata.Run{MaxTimestamp: 5, FileID: fileID(made, 1)}, 5},
		"zero is one":                 {metadata.Run{MaxTimestamp: 0, FileID: fileID(made, 1)}, 0},
		"of the file":                 {metadata.Run{MaxTimestamp: -1, FileID: fileID(made, 1)}, made.UnixMilli()},
		"of the marker":               {metadata.Marker{Timestamp: 77}.Run(1, 3, -1), 77},
		"marker behind records":       {metadata.Marker{Timestamp: 77}.Run(1, 3, 50), 50},
		"neither, of an unknown file": {metadata.Run{MaxTimestamp: -1}, -1},
	} {
		if got := RetentionTime(tc.run); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}

// What a pass cleaned is forgotten by the first pass that ends more than
// MaxFileAge later, however often passes come.
func TestAbortedTransactionsAreForgottenLater(t *testing.T) {
	start := time.UnixMilli(1_800_000_000_000)
	var c CompactionState
	for _, step := range []struct {
		after          time.Duration
		clean          int64
		until, forgets int64
	}{
		{0, 100, 100, 0},
		{metadata.MaxFileAge / 2, 200, 200, 0},
		{metadata.MaxFileAge, 300, 300, 0},
		{metadata.MaxFileAge + 1, 400, 400, 100},
		{metadata.MaxFileAge + 2, 450, 450, 0},
		{2*metadata.MaxFileAge + 1, 460, 460, 0},
		{2*metadata.MaxFileAge + 2, 440, 460, 400}, // a rival that is late takes nothing back
		{5 * metadata.MaxFileAge, 500, 500, 460},
	} {
		now := start.Add(step.after)
		next, forget := c.Finish(step.clean, now)
		if next.CleanUntil != step.until || forget != step.forgets || !next.CleanedAt.Equal(now) {
			t.Errorf("after %v: %+v, forgets %d; want clean until %d, forgets %d", step.after, next, forget, step.until, step.forgets)
		}
		c = next
	}
}
