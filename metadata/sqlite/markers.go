package sqlite

import (
	"cmp"
	"database/sql"
	"slices"

	"github.com/wadi-log/wadi/metadata"
)

// markersAround are the markers, as many as the claim may have runs, that stand next to the files' runs,
// over other markers or directly: those that can be merged with them. They are ascending by partition
// and offset. It leaves those at whose other side a run lies that somebody else is merging.
func (t *tx) markersAround(claim metadata.FileClaim, files []metadata.ClaimedFile) (markers []metadata.Run, err error) {
	var runs []metadata.Run
	for _, f := range files {
		runs = append(runs, f.Runs...)
	}
	slices.SortFunc(runs, compareRuns)
	for i, r := range runs {
		// reached is where the runs and markers so far end, if they are of this partition.
		reached := int64(-1)
		if i > 0 && runs[i-1].Partition == r.Partition {
			reached = runs[i-1].NextOffset()
			if n := len(markers); n > 0 && markers[n-1].Partition == r.Partition {
				reached = max(reached, markers[n-1].NextOffset())
			}
		}
		if reached != r.BaseOffset {
			found, err := t.adjacentMarkers(t.prepared.rowsBefore, claim, r.Partition, r.BaseOffset, claim.MaxRuns-len(markers))
			if err != nil {
				return nil, err
			}
			slices.Reverse(found)
			markers = append(markers, found...)
		}
		if i+1 < len(runs) && runs[i+1].Partition == r.Partition && runs[i+1].BaseOffset == r.NextOffset() {
			continue
		}
		found, err := t.adjacentMarkers(t.prepared.runsFromOffset, claim, r.Partition, r.NextOffset(), claim.MaxRuns-len(markers))
		if err != nil {
			return nil, err
		}
		markers = append(markers, found...)
	}
	return markers, nil
}

// adjacentMarkers are the first rows that the query lists, as long as they are markers;
// none if the run behind them is in a file that another holds.
func (t *tx) adjacentMarkers(query *sql.Stmt, claim metadata.FileClaim, partition metadata.PartitionID, offset int64, limit int) (markers []metadata.Run, err error) {
	var behind metadata.Run
	err = t.walk(query, partition, offset, func(r metadata.Run) bool {
		if r.Encoding != metadata.EncodingMarker || len(markers) >= limit {
			behind = r
			return false
		}
		markers = append(markers, r)
		return true
	})
	if err != nil || len(markers) == 0 {
		return nil, err
	}
	var held bool
	err = t.QueryRowContext(t.ctx, `SELECT EXISTS (SELECT 1 FROM files WHERE id = ? AND claimed_by <> ? AND claimed_until > ?)`,
		behind.FileID[:], claim.Holder[:], millis(t.now)).Scan(&held)
	if held {
		return nil, err
	}
	return markers, err
}

func compareRuns(a, b metadata.Run) int {
	return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.BaseOffset, b.BaseOffset))
}
