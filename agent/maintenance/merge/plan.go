package merge

import (
	"bytes"
	"cmp"
	"math"
	"slices"

	"github.com/wadi-log/wadi/agent/maintenance/rewrite"
	"github.com/wadi-log/wadi/metadata"
)

// plan is what a merge does: runs[from:to] of each section become one run.
type plan struct {
	// runs are in the order of data files: by topic ID, index and offset. Markers are among them.
	runs     []metadata.Run
	sections []section
}

// section is one run to make.
type section struct {
	place    rewrite.Place
	from, to int
	// stored is about how large it will be; large is whether that is enough to be left alone from then on.
	stored int64
	large  bool
}

// maxSectionRuns bounds the rows that one run replaces.
const maxSectionRuns = rewrite.MaxReplaced / 2

// makePlan joins what hangs together, up to fileBytes for a run; single rows are never cut. Runs of
// partitions that have no place, for their topic is gone, are left out.
func makePlan(files []metadata.ClaimedFile, places map[metadata.PartitionID]rewrite.Place, fileBytes int64) plan {
	var p plan
	for _, f := range files {
		for _, runs := range [][]metadata.Run{f.Runs, f.Markers} {
			for _, run := range runs {
				if _, ok := places[run.Partition]; ok {
					p.runs = append(p.runs, run)
				}
			}
		}
	}
	slices.SortFunc(p.runs, func(a, b metadata.Run) int {
		if a.Partition == b.Partition {
			return cmp.Compare(a.BaseOffset, b.BaseOffset)
		}
		at, bt := places[a.Partition], places[b.Partition]
		return cmp.Or(bytes.Compare(at.TopicID[:], bt.TopicID[:]), cmp.Compare(at.Index, bt.Index))
	})
	p.cut(places, fileBytes)
	return p
}

// cut makes the sections of the runs.
func (p *plan) cut(places map[metadata.PartitionID]rewrite.Place, fileBytes int64) {
	for from := 0; from < len(p.runs); {
		s := section{place: places[p.runs[from].Partition], from: from, to: from}
		var size int64
		markers := true
		for ; s.to < len(p.runs); s.to++ {
			run := &p.runs[s.to]
			if size += int64(run.Size); s.to > from && (!p.joins(from, s.to) || size > fileBytes) {
				break
			}
			if run.Encoding != metadata.EncodingMarker {
				s.stored += int64(run.StoredSize)
				markers = false
			}
		}
		s.large = s.stored >= metadata.SettledRunBytes
		// Markers alone are no reason to write a file.
		if !markers {
			p.sections = append(p.sections, s)
		}
		from = s.to
	}
}

// joins reports whether the run may be part of the section that begins with the run numbered from.
func (p *plan) joins(from, i int) bool {
	first, last, run := &p.runs[from], &p.runs[i-1], &p.runs[i]
	return last.Partition == run.Partition && last.NextOffset() == run.BaseOffset &&
		i-from < maxSectionRuns && run.NextOffset()-first.BaseOffset < math.MaxInt32
}

// placesOf finds the partitions of the topics.
func placesOf(topics []metadata.Topic) map[metadata.PartitionID]rewrite.Place {
	places := map[metadata.PartitionID]rewrite.Place{}
	for _, topic := range topics {
		for index, partition := range topic.Partitions {
			places[partition] = rewrite.Place{TopicID: topic.ID, Index: int32(index), Partition: partition}
		}
	}
	return places
}
