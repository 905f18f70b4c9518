package merge

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/time/rate"

	"github.com/wadi-log/wadi/agent/maintenance"
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

func TestMergeTellsWhatIsDue(t *testing.T) {
	c := newCluster(t, 2)
	m := c.merger(Config{})
	reg := prometheus.NewRegistry()
	p := maintenance.NewProgress("merge", rate.NewLimiter(rate.Inf, 1<<20), maintenance.NewMetrics(reg))
	tell := func() float64 {
		m.tell(t.Context(), p)
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "wadi_job_backlog" {
				return f.GetMetric()[0].GetGauge().GetValue()
			}
		}
		t.Fatal("no metric")
		return 0
	}
	for files, want := range []float64{0, 0, 2, 3} { // one file has nobody to be merged with
		if files > 0 {
			c.produceSome(t, seeded(t), 1)
		}
		if due := tell(); due != want {
			t.Errorf("%v of %d files are due, want %v", due, files, want)
		}
	}
	drain(t, m)
	if due := tell(); due != 0 {
		t.Errorf("%v files are due after the merge", due)
	}
	if waiting := testutil.ToFloat64(m.metrics.files.WithLabelValues("1")); waiting != 1 {
		t.Errorf("%v files of level 1 wait", waiting)
	}
}

// TestMergeTellsWhatWillBeDue: it may be paused by then.
func TestMergeTellsWhatWillBeDue(t *testing.T) {
	for files, due := range map[int64]float64{1: 0, 2: 60} { // one file has nobody to be merged with
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t)
			m := c.merger(Config{})
			m.config.After, m.store = time.Hour, &farBehind{faultyStore: c.store, files: files}
			reg := prometheus.NewRegistry()
			m.tell(t.Context(), maintenance.NewProgress("merge", rate.NewLimiter(rate.Inf, 1<<20), maintenance.NewMetrics(reg)))
			time.Sleep(time.Hour + time.Minute)
			want := fmt.Sprintf("# HELP wadi_job_oldest_due_seconds How long the oldest work that is due has been so.\n"+
				"# TYPE wadi_job_oldest_due_seconds gauge\nwadi_job_oldest_due_seconds{name=\"merge\"} %v\n", due)
			if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "wadi_job_oldest_due_seconds"); err != nil {
				t.Errorf("%d files: %v", files, err)
			}
		})
	}
}
