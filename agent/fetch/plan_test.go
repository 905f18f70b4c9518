package fetch

import (
	"errors"
	"testing"

	"github.com/wadi-log/wadi/metadata"
)

func TestShareHandsOutBytesInOrder(t *testing.T) {
	run := func(base int64) metadata.Run { return testRun(1, base, 10, 100) }
	three := []metadata.Run{run(0), run(10), run(20)}
	failed := errors.New("failed")
	type part struct {
		offset, maxBytes int64
		runs             []metadata.Run
		err              error
	}
	for _, c := range []struct {
		name     string
		maxBytes int64
		parts    []part
		runs     []int
		bytes    []int64
	}{
		{"all fits", 1000, []part{{0, 1000, three, nil}, {0, 1000, three, nil}}, []int{3, 3}, []int64{300, 300}},
		{"a partition's own limit", 1000, []part{{0, 150, three, nil}, {0, 100, three, nil}}, []int{2, 1}, []int64{150, 100}},
		{"the request's limit", 350, []part{{0, 1000, three, nil}, {0, 1000, three, nil}, {0, 1000, three, nil}}, []int{3, 1, 0}, []int64{300, 50, 0}},
		{"one run whatever the limits", 1, []part{{0, 1000, three, nil}, {0, 1000, three, nil}}, []int{1, 0}, []int64{1, 0}},
		{"no room at all", 0, []part{{0, 0, three, nil}, {0, 0, three, nil}}, []int{1, 0}, []int64{1, 0}},
		{"the first that has anything", 0, []part{{0, 10, nil, nil}, {0, 10, three, failed}, {0, 10, three, nil}}, []int{0, 3, 1}, []int64{0, 0, 1}},
		{"a partition without room in between", 1000, []part{{0, 1000, three, nil}, {0, 0, three, nil}, {0, 1000, three, nil}}, []int{3, 0, 3}, []int64{300, 0, 300}},
		{"the end of the first run", 1000, []part{{5, 1000, three, nil}}, []int{3}, []int64{250}},
		{"the end of the first run counts less", 1000, []part{{9, 50, three, nil}}, []int{2}, []int64{50}},
	} {
		t.Run(c.name, func(t *testing.T) {
			parts, plans := make([]asked, len(c.parts)), make([]plan, len(c.parts))
			for i, p := range c.parts {
				parts[i] = asked{1, p.offset, p.maxBytes}
				plans[i] = plan{until: 30, runs: p.runs, err: p.err}
			}
			share(parts, plans, c.maxBytes)
			for i, p := range plans {
				if len(p.runs) != c.runs[i] || p.bytes != c.bytes[i] {
					t.Errorf("partition %d: %d runs of %d bytes, want %d of %d", i, len(p.runs), p.bytes, c.runs[i], c.bytes[i])
				}
				if p.err == nil && len(p.runs)+len(p.ahead) != len(c.parts[i].runs) {
					t.Errorf("partition %d: %d runs and %d ahead, of %d", i, len(p.runs), len(p.ahead), len(c.parts[i].runs))
				}
			}
		})
	}
}

func TestOnePlanOneQuery(t *testing.T) {
	c := newCluster(t, 100)
	a := c.lonelyAgent(t)
	parts := make([]asked, 100)
	for i := range parts {
		parts[i] = asked{c.topic.Partitions[i], 0, 1 << 20}
	}
	plans := make([]plan, len(parts))
	for want := 1; want <= 2; want++ {
		a.planner.plan(t.Context(), readUncommitted, parts, 1<<20, plans)
		for i := range plans {
			if plans[i].err != nil || !plans[i].Exists {
				t.Fatalf("partition %d: %+v", i, plans[i])
			}
		}
		if n := c.store.count("FindRuns"); n != 1 {
			t.Errorf("%d queries after %d plans, want 1", n, want)
		}
	}
}
