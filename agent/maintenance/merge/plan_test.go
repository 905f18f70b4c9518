package merge

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/agent/maintenance/rewrite"
	"github.com/wadi-log/wadi/metadata"
)

// The topic that sorts first has the larger partition IDs.
var testPlaces = placesOf([]metadata.Topic{
	{ID: uuid.UUID{9}, Partitions: []metadata.PartitionID{1, 2}},
	{ID: uuid.UUID{3}, Partitions: []metadata.PartitionID{8, 7}},
})

// row is a run of so many records and bytes.
func row(partition metadata.PartitionID, base int64, records, size int32) metadata.Run {
	return metadata.Run{Partition: partition, BaseOffset: base, Records: records, FileID: uuid.Max, Size: size, StoredSize: size}
}

func markerRow(partition metadata.PartitionID, offset int64) metadata.Run {
	return metadata.Marker{}.Run(partition, offset, 0)
}

// show is a plan as text: of each section the partition, and the first offsets of its runs.
func (p plan) show() string {
	var b strings.Builder
	for _, s := range p.sections {
		fmt.Fprintf(&b, "%d:", s.place.Partition)
		for _, run := range p.runs[s.from:s.to] {
			fmt.Fprintf(&b, " %d", run.BaseOffset)
		}
		if s.large {
			b.WriteString(" large")
		}
		b.WriteString("; ")
	}
	return strings.TrimSuffix(b.String(), "; ")
}

func TestPlan(t *testing.T) {
	const mib = 1 << 20
	for _, test := range []struct {
		name    string
		files   [][]metadata.Run
		markers []metadata.Run
		want    string
	}{
		{"nothing", nil, nil, ""},
		{"partitions come in the order of files", [][]metadata.Run{
			{row(1, 0, 5, 10), row(2, 0, 1, 10), row(7, 4, 1, 10), row(8, 0, 3, 10)},
			{row(1, 5, 5, 10), row(8, 3, 3, 10)},
		}, nil, "8: 0 3; 7: 4; 1: 0 5; 2: 0"},
		{"files that came in another order", [][]metadata.Run{{row(1, 5, 5, 10)}, {row(1, 0, 5, 10)}}, nil, "1: 0 5"},
		{"rows of others in between", [][]metadata.Run{{row(1, 0, 5, 10)}, {row(1, 6, 4, 10)}, {row(1, 10, 1, 10)}}, nil, "1: 0; 1: 6 10"},
		{"several runs in one file", [][]metadata.Run{{row(1, 0, 5, 10), row(1, 7, 1, 10)}, {row(1, 5, 2, 10)}}, nil, "1: 0 5 7"},
		{"markers join what they stand between", [][]metadata.Run{{row(1, 1, 4, 10)}, {row(1, 6, 4, 10)}, {row(2, 3, 1, 10)}},
			[]metadata.Run{markerRow(1, 0), markerRow(1, 5), markerRow(1, 10), markerRow(2, 4)}, "1: 0 1 5 6 10; 2: 3 4"},
		{"markers alone stay", [][]metadata.Run{{row(1, 0, 4, 10)}}, []metadata.Run{markerRow(1, 9), markerRow(2, 3)}, "1: 0"},
		{"topics that are gone", [][]metadata.Run{{row(5, 0, 4, 10), row(1, 0, 4, 10)}}, []metadata.Run{markerRow(5, 4)}, "1: 0"},
		{"a run is no larger than a file", [][]metadata.Run{
			{row(1, 0, 1, 30*mib)}, {row(1, 1, 1, 34*mib)}, {row(1, 2, 1, 1)}, {row(1, 3, 1, 70*mib)}, {row(1, 4, 1, 10)},
		}, nil, "1: 0 1 large; 1: 2; 1: 3 large; 1: 4"},
		{"nor has it more offsets than a run can", [][]metadata.Run{{row(1, 0, 1<<31-1, 10), row(1, 1<<31-1, 1, 10)}}, nil, "1: 0; 1: 2147483647"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var files []metadata.ClaimedFile
			for _, runs := range test.files {
				files = append(files, metadata.ClaimedFile{Runs: runs})
			}
			if len(files) > 0 {
				files[0].Markers = test.markers
			}
			if got := makePlan(files, testPlaces, 64*mib).show(); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestPlanBoundsTheRowsOfARun(t *testing.T) {
	var runs []metadata.Run
	for i := range int64(2*maxSectionRuns + 10) {
		runs = append(runs, row(1, i, 1, 10))
	}
	p := makePlan([]metadata.ClaimedFile{{Runs: runs}}, testPlaces, 64<<20)
	var sizes []int
	for _, s := range p.sections {
		sizes = append(sizes, s.to-s.from)
	}
	if !slices.Equal(sizes, []int{maxSectionRuns, maxSectionRuns, 10}) || maxSectionRuns > rewrite.MaxReplaced {
		t.Errorf("sections of %v rows", sizes)
	}
}

func TestOriginSaysHowOftenARecordWasMerged(t *testing.T) {
	for _, test := range []struct {
		claim  metadata.FileClaim
		levels []int16
		want   int16
	}{
		{metadata.FileClaim{Level: 0}, []int16{0, 0}, 1},
		{metadata.FileClaim{Level: 2}, []int16{2, 2}, 3},
		{metadata.FileClaim{Sparse: true}, []int16{1}, 1},
		{metadata.FileClaim{Sparse: true}, []int16{1, 2, 1}, 2},
		{metadata.FileClaim{Sparse: true}, []int16{1, metadata.LevelSettled}, metadata.MaxFileLevel},
	} {
		var files []metadata.ClaimedFile
		for i, level := range test.levels {
			files = append(files, metadata.ClaimedFile{ID: uuid.UUID{byte(i)}, Level: level, Seq: int64(10 - i)})
		}
		o := origin(test.claim, files)
		if o.Level != test.want || len(o.Sources) != len(files) || o.Sources[0].Seq != 10 {
			t.Errorf("%+v of files of levels %v: %+v, want level %d", test.claim, test.levels, o, test.want)
		}
	}
}
