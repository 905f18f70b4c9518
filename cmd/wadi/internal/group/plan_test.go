package group

import (
	"math"
	"slices"
	"testing"
)

func TestPlan(t *testing.T) {
	// A partition that holds 10 to 19, of which the group has read up to 14.
	read := position{partition: partition{"t", 0}, committed: 15, metadata: "mine", start: 10, end: 20, atTime: 17}
	// The same without a committed offset.
	fresh := position{partition: partition{"t", 1}, committed: -1, start: 10, end: 20, atTime: 20}
	// The group is behind what retention has left.
	lost := position{partition: partition{"t", 2}, committed: 3, metadata: "mine", start: 10, end: 20, atTime: 10}
	file := func(offset int64) goal {
		return goal{kind: toFile, offsets: map[partition]int64{{"t", 0}: offset, {"t", 1}: offset, {"t", 2}: offset}}
	}
	const alone = -1
	for name, test := range map[string]struct {
		goal goal
		at   position
		// asked and new are alone where the partition is to be left alone.
		asked, new int64
		metadata   string
	}{
		"earliest":                        {goal{kind: toEarliest}, read, 10, 10, ""},
		"earliest without offset":         {goal{kind: toEarliest}, fresh, 10, 10, ""},
		"latest":                          {goal{kind: toLatest}, read, 20, 20, ""},
		"latest without offset":           {goal{kind: toLatest}, fresh, 20, 20, ""},
		"offset":                          {goal{kind: toOffset, n: 12}, read, 12, 12, ""},
		"offset where it is":              {goal{kind: toOffset, n: 15}, read, 15, 15, "mine"},
		"offset at the end":               {goal{kind: toOffset, n: 20}, read, 20, 20, ""},
		"offset before the start":         {goal{kind: toOffset, n: 9}, read, 9, 10, ""},
		"offset behind the end":           {goal{kind: toOffset, n: 21}, fresh, 21, 20, ""},
		"time":                            {goal{kind: toTime}, read, 17, 17, ""},
		"time behind the last record":     {goal{kind: toTime}, fresh, 20, 20, ""},
		"current":                         {goal{kind: toCurrent}, read, 15, 15, "mine"},
		"current without offset":          {goal{kind: toCurrent}, fresh, alone, alone, ""},
		"current that is gone":            {goal{kind: toCurrent}, lost, 3, 10, ""},
		"shift ahead":                     {goal{kind: shiftBy, n: 3}, read, 18, 18, ""},
		"shift back":                      {goal{kind: shiftBy, n: -5}, read, 10, 10, ""},
		"shift too far back":              {goal{kind: shiftBy, n: -6}, read, 9, 10, ""},
		"shift too far ahead":             {goal{kind: shiftBy, n: 6}, read, 21, 20, ""},
		"shift by nothing":                {goal{kind: shiftBy, n: 0}, read, 15, 15, "mine"},
		"shift from what is gone":         {goal{kind: shiftBy, n: 8}, lost, 11, 11, ""},
		"shift without offset":            {goal{kind: shiftBy, n: 3}, fresh, alone, alone, ""},
		"shift beyond all numbers":        {goal{kind: shiftBy, n: math.MaxInt64}, read, math.MaxInt64, 20, ""},
		"shift back beyond all numbers":   {goal{kind: shiftBy, n: math.MinInt64}, lost, math.MinInt64 + 3, 10, ""},
		"file":                            {file(13), read, 13, 13, ""},
		"file for one without offset":     {file(13), fresh, 13, 13, ""},
		"file with an offset that's gone": {file(1), lost, 1, 10, ""},
	} {
		changes, left := plan(test.goal, []position{test.at})
		if test.new == alone {
			if len(changes) != 0 || !slices.Equal(left, []partition{test.at.partition}) {
				t.Errorf("%s: got %+v, %v; want the partition left alone", name, changes, left)
			}
			continue
		}
		want := change{partition: test.at.partition, old: test.at.committed, asked: test.asked, new: test.new, metadata: test.metadata}
		if !slices.Equal(changes, []change{want}) || len(left) != 0 {
			t.Errorf("%s: got %+v, %v; want %+v", name, changes, left, want)
		}
	}
}

func TestAddSaturated(t *testing.T) {
	for _, test := range [][3]int64{
		{1, 2, 3}, {1, -2, -1}, {0, 0, 0},
		{math.MaxInt64, 0, math.MaxInt64}, {math.MaxInt64, 1, math.MaxInt64}, {math.MaxInt64 - 1, 1, math.MaxInt64},
		{-2, math.MinInt64, math.MinInt64}, {-1, math.MinInt64 + 1, math.MinInt64}, {5, math.MinInt64, math.MinInt64 + 5},
	} {
		if got := addSaturated(test[0], test[1]); got != test[2] {
			t.Errorf("%d + %d: got %d, want %d", test[0], test[1], got, test[2])
		}
	}
}
