package sequence

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

// ClaimCandidate is a file that nobody holds.
type ClaimCandidate struct {
	ID       uuid.UUID
	Seq      int64
	Size     int64
	Level    int16
	LiveRuns int
	// CommittedAt is when it, or the replacement that brought it, was committed.
	CommittedAt time.Time
}

// ValidateClaim reports what no correct caller asks for.
func ValidateClaim(claim metadata.FileClaim) error {
	if claim.For <= 0 || claim.MaxFiles < 1 || claim.MaxBytes < 1 || claim.MaxRuns < 1 || claim.Due < 0 {
		return fmt.Errorf("a claim for %v of at most %d files, %d bytes, %d runs, due after %v", claim.For, claim.MaxFiles, claim.MaxBytes, claim.MaxRuns, claim.Due)
	}
	if !claim.Sparse && (claim.Level < 0 || claim.Level >= metadata.MaxFileLevel) {
		return fmt.Errorf("a claim of files of level %d, which nobody merges", claim.Level)
	}
	return nil
}

// DecideClaim returns how many of the candidates, the first ones, the claim takes: 0
// when no merge is due. They are those that the claim is about, by Seq and ID, and
// no fewer than MaxFiles if there are as many.
func DecideClaim(claim metadata.FileClaim, now time.Time, candidates []ClaimCandidate) int {
	full := false
	var count, runs int
	var size int64
	for _, c := range candidates {
		if count > 0 && (size+c.Size > claim.MaxBytes || runs+c.LiveRuns > claim.MaxRuns) {
			full = true
			break
		}
		count, size, runs = count+1, size+c.Size, runs+c.LiveRuns
		if count >= claim.MaxFiles || size >= claim.MaxBytes || runs >= claim.MaxRuns {
			full = true
			break
		}
	}
	if full || claim.Sparse {
		return count
	}
	if claim.Due > 0 && count >= 2 && now.Sub(candidates[0].CommittedAt) >= claim.Due {
		return count
	}
	return 0
}
