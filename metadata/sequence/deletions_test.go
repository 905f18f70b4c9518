package sequence

import (
	"math"
	"reflect"
	"testing"

	"github.com/wadi-log/wadi/metadata"
)

// deletions and starts take (partition, offset) in turn.
func deletions(of ...int64) (list []metadata.RecordsDeletion) {
	for i := 0; i < len(of); i += 2 {
		list = append(list, metadata.RecordsDeletion{Partition: metadata.PartitionID(of[i]), Before: of[i+1]})
	}
	return list
}

func starts(of ...int64) (list []metadata.LogStart) {
	for i := 0; i < len(of); i += 2 {
		list = append(list, metadata.LogStart{Partition: metadata.PartitionID(of[i]), Offset: of[i+1]})
	}
	return list
}

func TestDecideDeletions(t *testing.T) {
	partitions := map[metadata.PartitionID]Partition{1: {NextOffset: 10}, 2: {LogStartOffset: 4, NextOffset: 10}, 3: {}, 4: {LogStartOffset: 7, NextOffset: 7}}
	ok := func(logStart int64) metadata.DeletedRecords { return metadata.DeletedRecords{LogStartOffset: logStart} }
	unknown := metadata.DeletedRecords{LogStartOffset: -1, Err: metadata.ErrUnknownPartition}
	outOfRange := metadata.DeletedRecords{LogStartOffset: -1, Err: metadata.ErrOffsetOutOfRange}
	for name, tc := range map[string]struct {
		deletions []metadata.RecordsDeletion
		outcomes  []metadata.DeletedRecords
		starts    []metadata.LogStart
	}{
		"some":                     {deletions(1, 3), []metadata.DeletedRecords{ok(3)}, starts(1, 3)},
		"more":                     {deletions(2, 5), []metadata.DeletedRecords{ok(5)}, starts(2, 5)},
		"to the end":               {deletions(2, 10), []metadata.DeletedRecords{ok(10)}, starts(2, 10)},
		"all":                      {deletions(1, metadata.AllRecords), []metadata.DeletedRecords{ok(10)}, starts(1, 10)},
		"at the log start":         {deletions(2, 4), []metadata.DeletedRecords{ok(4)}, nil},
		"before the log start":     {deletions(2, 0), []metadata.DeletedRecords{ok(4)}, nil},
		"all of an empty one":      {deletions(3, metadata.AllRecords), []metadata.DeletedRecords{ok(0)}, nil},
		"all of an emptied one":    {deletions(4, metadata.AllRecords), []metadata.DeletedRecords{ok(7)}, nil},
		"beyond the end":           {deletions(1, 11), []metadata.DeletedRecords{outOfRange}, nil},
		"far beyond the end":       {deletions(1, math.MaxInt64), []metadata.DeletedRecords{outOfRange}, nil},
		"no offset":                {deletions(1, -2), []metadata.DeletedRecords{outOfRange}, nil},
		"unknown partition":        {deletions(9, 0), []metadata.DeletedRecords{unknown}, nil},
		"none":                     {nil, nil, nil},
		"each on its own, by ID":   {deletions(2, 9, 9, 1, 1, 1, 3, 1), []metadata.DeletedRecords{ok(9), unknown, ok(1), outOfRange}, starts(1, 1, 2, 9)},
		"twice, in either order":   {deletions(1, 3, 1, 5, 2, 6, 2, 5), []metadata.DeletedRecords{ok(3), ok(5), ok(6), ok(6)}, starts(1, 5, 2, 6)},
		"again after it was wrong": {deletions(1, 11, 1, 5), []metadata.DeletedRecords{outOfRange, ok(5)}, starts(1, 5)},
	} {
		t.Run(name, func(t *testing.T) {
			outcomes, moved := DecideDeletions(partitions, tc.deletions)
			if len(outcomes)+len(tc.outcomes) > 0 && !reflect.DeepEqual(outcomes, tc.outcomes) {
				t.Errorf("outcomes %+v, want %+v", outcomes, tc.outcomes)
			}
			if len(moved)+len(tc.starts) > 0 && !reflect.DeepEqual(moved, tc.starts) {
				t.Errorf("log starts %+v, want %+v", moved, tc.starts)
			}
		})
	}
}
