package merge

import (
	"testing"
	"time"
)

func TestMergeJoinsRunsAndKeepsEveryRecord(t *testing.T) {
	c := newCluster(t, 3, 1, 5)
	random := seeded(t)
	c.produceSome(t, random, 20)
	c.check(t)
	m := c.merger(Config{})
	if drain(t, m) == 0 {
		t.Fatal("nothing was merged")
	}
	c.check(t)
	// 20 files by four: 5 of level 1, of which four became one, and the fifth waits.
	for partition := range c.want {
		runs := c.runs(t, partition)
		if len(runs) > 3 {
			t.Errorf("%d rows of a partition after merging", len(runs))
		}
		for _, run := range runs {
			if !run.Merged {
				t.Errorf("run at %d of partition %d is not merged", run.BaseOffset, partition)
			}
		}
	}
	known, err := c.store.Store.DeadFiles(t.Context(), time.Now().Add(time.Hour), 1000)
	if err != nil || len(known) < 20 {
		t.Errorf("%d files are dead, %v; want those that were merged", len(known), err)
	}
	levels, err := c.store.Store.MergeBacklog(t.Context())
	if err != nil || levels[0].Files != 0 {
		t.Errorf("%+v wait, %v", levels, err)
	}
}
