package sequence

import (
	"errors"
	"fmt"
	"math"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

// Validate reports what no correct caller sends: files that name a partition
// twice, empty appends, impossible sizes. Stores call it before they begin.
func Validate(files []metadata.File) error {
	seen := make(map[uuid.UUID]bool, len(files))
	for _, f := range files {
		if seen[f.ID] {
			return fmt.Errorf("data file %s appears twice in one commit", f.ID)
		}
		seen[f.ID] = true
		partitions := make(map[metadata.PartitionID]bool, len(f.Appends))
		for _, a := range f.Appends {
			err := validateAppend(a)
			if partitions[a.Partition] {
				err = errors.New("the partition appears twice")
			}
			if err != nil {
				return fmt.Errorf("data file %s, partition %d: %w", f.ID, a.Partition, err)
			}
			partitions[a.Partition] = true
		}
	}
	return nil
}

func validateAppend(a metadata.Append) error {
	if len(a.Batches) == 0 {
		return errors.New("no batches")
	}
	if a.Position < 0 || a.StoredSize <= 0 {
		return fmt.Errorf("%d bytes at %d are no range of a file", a.StoredSize, a.Position)
	}
	var size int64
	for i, b := range a.Batches {
		if err := validateBatch(b); err != nil {
			return fmt.Errorf("batch %d: %w", i, err)
		}
		size += int64(b.Size)
	}
	switch {
	case a.Encoding == metadata.EncodingRaw && size != int64(a.StoredSize):
		return fmt.Errorf("batches of %d bytes don't fill the %d stored raw", size, a.StoredSize)
	case a.Encoding != metadata.EncodingRaw && a.Encoding != metadata.EncodingFramed:
		return fmt.Errorf("unknown encoding %d", a.Encoding)
	case size > math.MaxInt32:
		return fmt.Errorf("%d bytes are too much for one append", size)
	}
	return nil
}

func validateBatch(b metadata.Batch) error {
	switch {
	case b.Size <= 0 || b.Records <= 0:
		return fmt.Errorf("%d records in %d bytes", b.Records, b.Size)
	case b.ProducerID >= 0 && (b.ProducerEpoch < 0 || b.BaseSequence < 0):
		return fmt.Errorf("producer %d has epoch %d and sequence %d", b.ProducerID, b.ProducerEpoch, b.BaseSequence)
	case b.Transactional && b.ProducerID < 0:
		return errors.New("a transactional batch without a producer ID")
	case b.AddsPartition && !b.Transactional:
		return errors.New("it adds its partition to a transaction, but is not transactional")
	}
	return nil
}
