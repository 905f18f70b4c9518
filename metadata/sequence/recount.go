package sequence

import (
	"math"

	"github.com/wadi-log/wadi/metadata"
)

// Recount compares a live file with its rows, of which keyed are among its keys.
func Recount(file metadata.InspectedFile, rows []metadata.Run, keyed int) metadata.FileRecount {
	c := metadata.FileRecount{Known: true, LiveRuns: file.LiveRuns, LiveBytes: file.LiveBytes, Rows: len(rows)}
	merged := true
	for _, r := range rows {
		c.RowBytes += int64(r.StoredSize)
		merged = merged && r.Merged
	}
	c.Unkeyed = len(rows) - keyed
	c.RightBytes = possibleLiveBytes(file.Size, file.LiveBytes, c.RowBytes, merged)
	return c
}

// possibleLiveBytes is what a file of the size may count as its live bytes: what it counts, or the nearest
// that can be. Live are all bytes but those of runs that are gone, so never fewer than those of the runs that
// it has. Only merged runs never share bytes: a duplicate batch that was left out makes two runs of one framed section.
func possibleLiveBytes(size, counted, rowBytes int64, merged bool) int64 {
	if merged {
		counted = max(counted, rowBytes)
	}
	return min(counted, size)
}

// MarkerRange is where the markers lie that belong to a slice of rows, of at most limit rows from the
// offset on: from first, and before end. The last slice has those behind it, too.
func MarkerRange(offset int64, runs []metadata.Run, limit int) (first, end int64) {
	first, end = offset, math.MaxInt64
	if len(runs) > 0 {
		first = min(first, runs[0].BaseOffset)
	}
	if len(runs) == limit {
		end = runs[len(runs)-1].NextOffset()
	}
	return first, end
}
