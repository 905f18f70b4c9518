package fsck

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

// checkIndex walks the rows of all partitions.
func (c *check) checkIndex(ctx context.Context) error {
	list, err := c.topics.list(ctx)
	if err != nil {
		return err
	}
	for _, topic := range list {
		for _, id := range topic.Partitions {
			if err := c.checkPartition(ctx, id); err != nil {
				return fmt.Errorf("check the index of topic %s: %w", topic.Name, err)
			}
		}
	}
	return nil
}

// checkPartition walks a partition's rows slice by slice. Each slice begins with the row that
// holds the last offset where the one before ended, or with what a merge has put in its place since.
func (c *check) checkPartition(ctx context.Context, id metadata.PartitionID) error {
	c.report.Partitions++
	seen := map[anomaly]bool{} // the row between two slices is in both
	for from := int64(0); ; {
		rows, err := c.store.InspectRows(ctx, id, from, slice)
		if err != nil || !rows.Exists {
			return err // a topic that is being deleted is no finding
		}
		last := len(rows.Runs) < slice
		for _, a := range anomalies(rows, from, last) {
			if seen[a] {
				continue
			}
			seen[a] = true
			if err := c.confirmAnomaly(ctx, id, a); err != nil {
				return err
			}
		}
		fresh := rows.Runs
		if from > 0 && len(fresh) > 0 && fresh[0].BaseOffset == from {
			fresh = fresh[1:]
		}
		c.report.Rows += int64(len(fresh))
		if err := c.checkNamedFiles(ctx, fresh); err != nil {
			return err
		}
		c.progress("index", c.report.Rows)
		if last {
			return nil
		}
		from = rows.Runs[len(rows.Runs)-1].BaseOffset
	}
}

// anomaly is what is wrong with offsets of a partition, from first to before next.
type anomaly struct {
	kind        Kind
	first, next int64
	detail      string
}

// anomalies looks at a slice of rows that was asked for from an offset on; last is whether it has all that
// follow. All comes from one snapshot, in which rows cover the offsets once.
func anomalies(rows metadata.PartitionRows, from int64, last bool) (found []anomaly) {
	add := func(kind Kind, first, next int64, format string, args ...any) {
		found = append(found, anomaly{kind, first, next, fmt.Sprintf(format, args...)})
	}
	covered := max(from, rows.LogStartOffset)
	for i, r := range rows.Runs {
		if i > 0 && r.MaxTimestamp < rows.Runs[i-1].MaxTimestamp {
			add(Timestamps, r.BaseOffset, r.NextOffset(), "the running timestamp falls from %d to %d", rows.Runs[i-1].MaxTimestamp, r.MaxTimestamp)
		}
		if r.NextOffset() <= covered && i == 0 || r.NextOffset() <= rows.LogStartOffset {
			continue // it is to be trimmed, or the slice begins behind the last row
		}
		switch {
		case r.BaseOffset > covered:
			add(Hole, covered, r.BaseOffset, "no row covers the offsets")
		case i > 0 && r.BaseOffset < rows.Runs[i-1].NextOffset():
			add(Overlap, r.BaseOffset, min(r.NextOffset(), rows.Runs[i-1].NextOffset()), "the rows at %d and %d overlap", rows.Runs[i-1].BaseOffset, r.BaseOffset)
		}
		covered = max(covered, r.NextOffset())
		if r.NextOffset() > rows.NextOffset {
			add(Overlap, max(r.BaseOffset, rows.NextOffset), r.NextOffset(), "a row reaches beyond the next offset %d", rows.NextOffset)
		}
	}
	if last && covered < rows.NextOffset {
		add(Hole, covered, rows.NextOffset, "no row covers the offsets")
	}
	for _, a := range rows.Aborted {
		if problem := abortProblem(rows, a); problem != "" {
			add(AbortedWithoutMarker, a.FirstOffset, a.LastOffset+1, "producer %d: %s", a.ProducerID, problem)
		}
	}
	return found
}

// abortProblem says what is wrong with the end of an aborted transaction: it must be a marker's
// row, or lie in a merged run.
func abortProblem(rows metadata.PartitionRows, a metadata.AbortedTransaction) string {
	if a.LastOffset < rows.LogStartOffset {
		return "" // nobody reads it any more
	}
	i, _ := slices.BinarySearchFunc(rows.Runs, a.LastOffset, func(r metadata.Run, offset int64) int {
		if r.NextOffset() <= offset {
			return -1
		}
		return 1
	})
	if i == len(rows.Runs) || rows.Runs[i].BaseOffset > a.LastOffset {
		return fmt.Sprintf("no row covers offset %d, where the transaction was aborted", a.LastOffset)
	}
	r := rows.Runs[i]
	if r.Merged {
		return ""
	}
	m, ok := r.Marker()
	switch {
	case !ok:
		return fmt.Sprintf("offset %d, where the transaction was aborted, is a record", a.LastOffset)
	case m.Commit || m.ProducerID != a.ProducerID:
		return fmt.Sprintf("offset %d, where the transaction was aborted, ends another one", a.LastOffset)
	}
	return ""
}

// confirmAnomaly looks again, around the place.
func (c *check) confirmAnomaly(ctx context.Context, id metadata.PartitionID, a anomaly) error {
	// From the row before on.
	from := max(a.first-1, 0)
	if a.kind == AbortedWithoutMarker {
		from = max(a.next-2, 0)
	}
	rows, err := c.store.InspectRows(ctx, id, from, slice)
	if err != nil || !rows.Exists {
		return err
	}
	if !slices.Contains(anomalies(rows, from, len(rows.Runs) < slice), a) {
		return nil
	}
	hit, err := c.topics.offsets(ctx, id, a.first, a.next)
	if err != nil {
		return err
	}
	c.find(Finding{Kind: a.kind, Detail: a.detail, Hit: []Offsets{hit}})
	return nil
}

// checkNamedFiles looks whether the store knows the files that rows name.
func (c *check) checkNamedFiles(ctx context.Context, runs []metadata.Run) error {
	byFile := map[uuid.UUID][]metadata.Run{}
	var ids []uuid.UUID
	for _, r := range runs {
		if r.Encoding == metadata.EncodingMarker {
			continue
		}
		if byFile[r.FileID] == nil {
			ids = append(ids, r.FileID)
		}
		byFile[r.FileID] = append(byFile[r.FileID], r)
	}
	files, err := c.store.InspectFiles(ctx, ids)
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.State == metadata.FileLive {
			continue
		}
		// A row that stands now stood when the file was looked for, which then is known.
		standing, err := c.standing(ctx, byFile[f.ID])
		if err != nil {
			return err
		}
		if len(standing) == 0 {
			continue
		}
		c.named[f.ID] = true
		detail := "rows name a data file that the metadata store doesn't know"
		if f.State == metadata.FileDead {
			detail = "rows name a data file that is to be deleted"
		}
		finding, err := c.ofFile(ctx, UnknownFile, f.ID, standing, "%s", detail)
		if err != nil {
			return err
		}
		c.find(finding)
	}
	return nil
}

// standing returns those of the runs that are still in the index, and whose records somebody
// can ask for.
func (c *check) standing(ctx context.Context, runs []metadata.Run) (standing []metadata.Run, err error) {
	for _, r := range runs {
		rows, err := c.store.InspectRows(ctx, r.Partition, r.BaseOffset, 1)
		if err != nil {
			return nil, err
		}
		if rows.Exists && slices.Contains(rows.Runs, r) && r.NextOffset() > rows.LogStartOffset {
			standing = append(standing, r)
		}
	}
	return standing, nil
}
