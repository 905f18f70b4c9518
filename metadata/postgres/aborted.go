package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/wadi-log/wadi/metadata"
)

// abortedRanges are the partitions and offsets that somebody reads, of which
// something may be aborted.
type abortedRanges struct {
	query     []int // each once, ascending
	partition []int32
	start     []int64
}

// add enters the range from the offset on, which ends with the runs that were found.
func (a *abortedRanges) add(query int, start int64, found *metadata.PartitionRuns) {
	if n := len(a.query); n > 0 && a.query[n-1] == query {
		return
	}
	a.query, a.start = append(a.query, query), append(a.start, start)
	a.partition = append(a.partition, int32(found.Runs[0].Partition))
}

// readAborted fills in what of the runs found is aborted, as of the moment at which
// they were. It comes later, and so may see more: that has its marker behind the
// partition's end as of then. And it may see less: what was trimmed since. But
// nothing that a reader at the offset needs is trimmed before the log start has passed
// the offset, which it sees then too; and all is read again.
func (s *Store) readAborted(ctx context.Context, ranges *abortedRanges, out []metadata.PartitionRuns) error {
	if len(ranges.query) == 0 {
		return nil
	}
	ends, nexts := make([]int64, len(ranges.query)), make([]int64, len(ranges.query))
	for i, query := range ranges.query {
		runs := out[query].Runs
		ends[i], nexts[i] = runs[len(runs)-1].NextOffset(), out[query].NextOffset
	}
	rows, err := s.pool.Query(ctx, findAborted, ranges.partition, ranges.start, ends, nexts)
	if err != nil {
		return err
	}
	var i int64
	var stands bool
	var first, last, stable, producer *int64
	_, err = pgx.ForEachRow(rows, []any{&i, &stands, &first, &last, &stable, &producer}, func() error {
		query := ranges.query[i-1]
		if !stands {
			return fmt.Errorf("%w: %w: records of partition %d were deleted meanwhile", metadata.ErrUnavailable, errRetry, ranges.partition[i-1])
		}
		if last != nil {
			out[query].Aborted = append(out[query].Aborted, metadata.AbortedTransaction{
				Partition: metadata.PartitionID(ranges.partition[i-1]), ProducerID: *producer,
				FirstOffset: *first, LastOffset: *last, StableOffset: *stable,
			})
		}
		return nil
	})
	return err
}

// findAborted walks the key from each range's start to the first transaction after
// which all before the range's end is decided: those behind it begin behind the end.
const findAborted = `
SELECT q.i, COALESCE(p.log_start_offset <= q.start, false), a.first_offset, a.last_offset, a.stable_offset, a.producer_id
FROM unnest($1::int4[], $2::int8[], $3::int8[], $4::int8[]) WITH ORDINALITY AS q (partition_id, start, end_offset, next_offset, i)
LEFT JOIN partitions p ON p.id = q.partition_id
LEFT JOIN LATERAL (
	SELECT first_offset, last_offset, stable_offset, producer_id FROM aborted_transactions
	WHERE partition_id = q.partition_id AND last_offset >= q.start AND last_offset < q.next_offset AND first_offset < q.end_offset
	AND last_offset <= COALESCE((
		SELECT last_offset FROM aborted_transactions
		WHERE partition_id = q.partition_id AND last_offset >= q.start AND stable_offset >= q.end_offset
		ORDER BY last_offset LIMIT 1), 9223372036854775807)
	ORDER BY last_offset
) a ON true
ORDER BY q.i, a.last_offset`
