package sequence

import (
	"errors"
	"math"
	"testing"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

func TestRestoreRefusesNothing(t *testing.T) {
	const last = math.MaxInt32
	transactional := idempotent(0, 3, 1)
	transactional.Transactional = true
	accepted := func(offset int64, err error) metadata.Outcome { return metadata.Outcome{BaseOffset: offset, Err: err} }
	duplicate := func(offset int64) metadata.Outcome {
		return metadata.Outcome{BaseOffset: offset, Duplicate: true}
	}
	type step struct {
		batch metadata.Batch
		want  metadata.Outcome
	}
	for name, steps := range map[string][]step{
		"batches that follow":            {{idempotent(0, 0, 2), accepted(0, nil)}, {idempotent(0, 2, 1), accepted(2, nil)}},
		"duplicate":                      {{idempotent(0, 0, 2), accepted(0, nil)}, {idempotent(0, 0, 2), duplicate(0)}},
		"batch of a transaction":         {{idempotent(0, 0, 3), accepted(0, nil)}, {transactional, accepted(3, nil)}},
		"batch committed long ago":       {{idempotent(9, 0, 1), accepted(0, nil)}, {idempotent(9, 77, 1), duplicate(1234)}},
		"batch the snapshot has settled": {{idempotent(9, 78, 1), duplicate(-1)}, {idempotent(9, 0, 1), accepted(0, nil)}},
		"gap, and what fills it later": {
			{idempotent(0, 0, 1), accepted(0, nil)},
			{idempotent(0, 5, 1), accepted(1, metadata.ErrOutOfOrderSequence)},
			{idempotent(0, 2, 1), accepted(2, metadata.ErrOutOfOrderSequence)},
			{idempotent(0, 6, 1), accepted(3, nil)}, // the late one was not its producer's last
		},
		"older epoch": {
			{idempotent(2, 0, 1), accepted(0, nil)},
			{idempotent(1, 4, 1), accepted(1, metadata.ErrInvalidProducerEpoch)},
			{idempotent(2, 1, 1), accepted(2, nil)},
		},
		"newer epoch from its middle": {
			{idempotent(1, 0, 1), accepted(0, nil)},
			{idempotent(2, 7, 1), accepted(1, metadata.ErrOutOfOrderSequence)},
			{idempotent(2, 8, 1), accepted(2, nil)},
		},
		"gap over the wrap": {
			{idempotent(0, last-1, 1), accepted(0, nil)},
			{idempotent(0, 1, 1), accepted(1, metadata.ErrOutOfOrderSequence)},
			{idempotent(0, last, 1), accepted(2, metadata.ErrOutOfOrderSequence)},
			{idempotent(0, 2, 1), accepted(3, nil)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			state := State{Partitions: map[metadata.PartitionID]Partition{1: {MaxTimestamp: -1, FirstUnstable: -1}}, Producers: map[ProducerKey]Producer{}}
			records := int64(0)
			for i, s := range steps {
				// An ID of any age will do.
				file := metadata.File{ID: uuid.UUID{5: byte(i), 6: 0x70, 8: 0x80}, Size: 1, Appends: []metadata.Append{oneAppend(s.batch)}}
				d, err := Restore(state, file, func(key ProducerKey, b metadata.Batch) (int64, bool) {
					switch {
					case key.Partition != 1 || key.ProducerID != 7:
						t.Errorf("asked about %+v", key)
					case b.BaseSequence == 77:
						return 1234, true
					case b.BaseSequence == 78:
						return -1, true
					}
					return 0, false
				})
				if err != nil {
					t.Fatal(err)
				}
				got := d.Files[0].Result.Outcomes[0][0]
				if got.BaseOffset != s.want.BaseOffset || got.Duplicate != s.want.Duplicate || !errors.Is(got.Err, s.want.Err) {
					t.Fatalf("step %d: got %+v, want %+v", i, got, s.want)
				}
				if !got.Duplicate {
					records += int64(s.batch.Records)
				}
				rows := int64(0)
				for _, r := range d.Files[0].Runs {
					rows += int64(r.Records)
				}
				if want := int64(s.batch.Records); !got.Duplicate && rows != want || got.Duplicate && rows != 0 {
					t.Fatalf("step %d: %d records in runs", i, rows)
				}
				for _, p := range d.Partitions {
					state.Partitions[p.ID] = p.Partition
				}
				for _, p := range d.Producers {
					state.Producers[p.ProducerKey] = p.Producer
				}
			}
			if next := state.Partitions[1].NextOffset; next != records {
				t.Errorf("the partition ends at %d, with %d records", next, records)
			}
		})
	}
}
