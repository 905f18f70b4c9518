package sequence

import (
	"cmp"
	"slices"

	"github.com/wadi-log/wadi/metadata"
)

// DecideDeletions says what the deletions, in the order given, do to the
// partitions, which it leaves as they are: one outcome for each, and the log starts
// that rise, ascending by partition. Partitions lack those that don't exist.
//
// The rules are Kafka's (KIP-107): an offset up to the next one is right; one at
// or below the log start changes nothing.
func DecideDeletions(partitions map[metadata.PartitionID]Partition, deletions []metadata.RecordsDeletion) ([]metadata.DeletedRecords, []metadata.LogStart) {
	outcomes := make([]metadata.DeletedRecords, len(deletions))
	rises := map[metadata.PartitionID]int64{}
	for i, d := range deletions {
		p, ok := partitions[d.Partition]
		if !ok {
			outcomes[i] = metadata.DeletedRecords{LogStartOffset: -1, Err: metadata.ErrUnknownPartition}
			continue
		}
		before := d.Before
		if before == metadata.AllRecords {
			before = p.NextOffset
		}
		if before < 0 || before > p.NextOffset {
			outcomes[i] = metadata.DeletedRecords{LogStartOffset: -1, Err: metadata.ErrOffsetOutOfRange}
			continue
		}
		start := max(p.LogStartOffset, rises[d.Partition])
		if before > start {
			start = before
			rises[d.Partition] = start
		}
		outcomes[i] = metadata.DeletedRecords{LogStartOffset: start}
	}
	starts := make([]metadata.LogStart, 0, len(rises))
	for id, offset := range rises {
		starts = append(starts, metadata.LogStart{Partition: id, Offset: offset})
	}
	slices.SortFunc(starts, func(a, b metadata.LogStart) int { return cmp.Compare(a.Partition, b.Partition) })
	return outcomes, starts
}
