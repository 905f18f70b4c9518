package soak_test

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/wadi-log/wadi/test/chart"
	"github.com/wadi-log/wadi/test/harness"
	"github.com/wadi-log/wadi/test/soak"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

const (
	// checkEvery and grace are the agents' settings: as in production, in seconds instead of minutes.
	checkEvery = 2 * time.Second
	grace      = 15 * time.Second
	// settleTime is how long maintenance gets to do what is due once nobody writes any more: dead files wait
	// for the grace period and for a snapshot that began a minute after their death.
	settleTime = 5 * time.Minute
)

// agentFlags set the pace of a busy cluster on S3, and of impatient maintenance.
var agentFlags = []string{
	"--flush-interval=250ms", "--merge-after=10s", "--merge-bytes=32MiB", "--delete-grace=" + grace.String(), "--snapshot-interval=20s",
	"--orphan-interval=30s", "--kafka-config=log.retention.check.interval.ms=" + strconv.FormatInt(checkEvery.Milliseconds(), 10),
}

// TestSoak writes for WADI_SOAK_FOR (20s) at WADI_SOAK_RATE (2MB) a second over 1,000 partitions, with
// merges, retention, compaction and deletion running, two agents, and one of them killed every minute. Every read is checked
// (package soak); afterwards bucket, index and retention must agree. WADI_SOAK_OBJECTS=file has the agents on a folder
// instead of MinIO. What was measured over time goes to the folder WADI_SOAK_OUT, as a table and as a picture.
func TestSoak(t *testing.T) {
	length, err := time.ParseDuration(cmp.Or(os.Getenv("WADI_SOAK_FOR"), "20s"))
	if err != nil {
		t.Fatalf("WADI_SOAK_FOR: %v", err)
	}
	bytesPerSecond, err := humanize.ParseBytes(cmp.Or(os.Getenv("WADI_SOAK_RATE"), "2MB"))
	if err != nil {
		t.Fatalf("WADI_SOAK_RATE: %v", err)
	}
	seed := rand.Uint64()
	if given := os.Getenv("WADI_SOAK_SEED"); given != "" {
		if seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatalf("WADI_SOAK_SEED: %v", err)
		}
	}
	t.Logf("WADI_SOAK_SEED=%d repeats the records", seed)

	c := startCluster(t)
	config := soak.DefaultConfig()
	config.Seed, config.Rate = seed, int64(bytesPerSecond)
	for _, agent := range c.agents {
		config.Bootstrap = append(config.Bootstrap, agent.Bootstrap())
	}
	// What retention leaves is a part of what a run writes, however long that is.
	retention := min(max(length/6, 8*time.Second), 2*time.Minute).Round(time.Second)
	config.Topics = soak.DefaultTopics(retention, int64(bytesPerSecond)/1000*int64(retention.Seconds()))
	run, err := soak.Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	c.watch(run, length)
	run.StopWriting()
	run.Finish(t.Context())
	report := run.Report()
	t.Log(report)
	for _, problem := range run.Problems() {
		t.Error(problem)
	}
	if report.Written == 0 || report.Read < report.Written || report.Gaps == 0 || report.CatchUps == 0 || c.killed == 0 {
		t.Errorf("too little happened, with %d agents killed: %+v", c.killed, report)
	}
	c.save()
	c.checkRows(retention, length)
	c.settle(run, config, retention, length)
	run.Close()
	c.fsck()
}

// cluster is two agents on stores that can be looked into.
type cluster struct {
	*testing.T
	options harness.AgentOptions
	agents  []*harness.AgentProcess
	stores  *stores
	series  chart.Table
	began   time.Time
	killed  int
	// seen are the agents' counters when they were last looked at, and sums what they counted in all their lives.
	seen []map[string]float64
	sums map[string]float64
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{T: t, options: harness.AgentOptions{Metadata: harness.Postgres(t), Flags: agentFlags}, sums: map[string]float64{}}
	if os.Getenv("WADI_SOAK_OBJECTS") == "file" {
		c.options.Objects = "file:" + t.TempDir()
	} else {
		m := harness.MinIO(t)
		c.options.Objects, c.options.AccessKey, c.options.SecretKey = m.MinioURL(), m.AccessKey, m.SecretKey
	}
	for range 2 {
		c.agents, c.seen = append(c.agents, harness.Agent(t, c.options)), append(c.seen, map[string]float64{})
	}
	c.stores = openStores(t, c.options)
	c.series.X, c.series.Columns = "seconds", columns
	c.began = time.Now()
	return c
}

// watch kills an agent every minute, at least two in a run, and takes samples.
func (c *cluster) watch(run *soak.Run, length time.Duration) {
	over := time.After(length)
	kill := time.NewTicker(min(time.Minute, length/3))
	defer kill.Stop()
	sample := time.NewTicker(min(max(length/200, time.Second), 5*time.Second))
	defer sample.Stop()
	for {
		select {
		case <-over:
			return
		case <-kill.C:
			victim := c.killed % len(c.agents)
			c.count() // its counters end with it
			c.agents[victim].Restart()
			c.seen[victim] = map[string]float64{}
			c.killed++
		case <-sample.C:
			c.sample(run)
		}
	}
}

// counters are those of the agents' metrics that are summed up.
var counters = []string{
	`wadi_objstore_bytes_total{verb="put"}`, `wadi_job_written_bytes_total{name="merge"}`, `wadi_job_written_bytes_total{name="compact"}`,
	`wadi_job_deleted_bytes_total`, `wadi_job_files_total{name="merge"}`, `wadi_job_files_total{name="delete"}`, `wadi_job_records_total{name="retention"}`,
	`wadi_job_errors_total`, `wadi_job_damaged_total`,
}

// count adds what the agents counted since the last look.
func (c *cluster) count() {
	for i, agent := range c.agents {
		metrics := agent.Metrics()
		for _, name := range counters {
			c.sums[name] += metrics[name] - c.seen[i][name]
			c.seen[i][name] = metrics[name]
		}
	}
}

// columns of the series; the first ones are what openStores asks Postgres for.
var columns = append(tableColumns, "metadata MB", "objects", "data in the bucket, MB", "live, MB", "written by producers, MB", "put by agents, MB", "rewritten, MB")

func (c *cluster) sample(run *soak.Run) {
	c.Helper()
	c.count()
	s := c.stores.look(c.T)
	const mb = 1e6
	values := append(s.tables, s.metadataBytes/mb, float64(s.objects), float64(s.objectBytes)/mb, float64(s.liveBytes)/mb, float64(run.Report().Bytes)/mb,
		c.sums[counters[0]]/mb, (c.sums[counters[1]]+c.sums[counters[2]])/mb)
	c.series.Rows = append(c.series.Rows, chart.Row{X: math.Round(10*time.Since(c.began).Seconds()) / 10, Values: values})
}

// settle waits until maintenance has done what is due: no partition holds a run that retention lets go,
// no dead file is beyond its grace (which a short run does not wait for), and the bucket holds little more
// than what lives, which is what the producers wrote behind the log starts.
func (c *cluster) settle(run *soak.Run, config soak.Config, retention, length time.Duration) {
	c.Helper()
	var kept int64
	harness.Eventually(c, settleTime, func() error {
		if err := c.stores.overdue(c.Context(), config.Topics, retention+10*checkEvery); err != nil {
			return err
		}
		s := c.stores.look(c.T)
		if s.deadOverdue > 0 {
			return fmt.Errorf("%d dead files are there longer than they should", s.deadOverdue)
		}
		// Merged files are rewritten when less than half of them lives. A few of those of one level wait for others.
		limit := 2*s.liveBytes + s.orphanBytes + 64<<20
		if length < time.Minute {
			limit += s.deadBytes
		}
		if s.objectBytes > limit {
			return fmt.Errorf("the bucket holds %d bytes, of which %d live, %d are dead and %d orphans", s.objectBytes, s.liveBytes, s.deadBytes, s.orphanBytes)
		}
		var err error
		if kept, err = run.Kept(c.Context()); err != nil {
			return err
		}
		// Values with their keys and headers, in batches of few records.
		if limit := kept + kept/4 + 16<<20; s.liveBytes > limit {
			return fmt.Errorf("%d bytes live, of %d that producers wrote behind the log starts", s.liveBytes, kept)
		}
		return nil
	})
	s := c.stores.look(c.T)
	c.count()
	c.Logf("in the bucket: %d objects with %d MB, of which %d MB live, %d MB dead, %d MB in %d orphans of killed agents; producers wrote %d MB behind the log starts",
		s.objects, s.objectBytes/1e6, s.liveBytes/1e6, s.deadBytes/1e6, s.orphanBytes/1e6, s.orphans, kept/1e6)
	for _, name := range counters {
		c.Logf("%s %.0f", name, c.sums[name])
	}
	if put := c.sums[counters[0]]; put > 0 {
		rewritten := c.sums[counters[1]] + c.sums[counters[2]]
		c.Logf("write amplification: %.2f bytes put for each byte that producers wrote", put/max(put-rewritten, 1))
	}
	if n := c.sums[`wadi_job_damaged_total`]; n > 0 {
		c.Errorf("%.0f times maintenance met damaged data", n)
	}
}

// checkRows: rows are those of what retention keeps and of what waits to be removed, and not of all that was
// ever written; in a run that is long enough to tell, nothing grows any more.
func (c *cluster) checkRows(retention, length time.Duration) {
	if length < 5*time.Minute {
		return
	}
	inserted := c.stores.inserted(c.T)
	kept := 2 * (retention + time.Minute).Seconds() / length.Seconds()
	if runs := c.series.Between("runs", 0.75, 1); runs > kept*inserted {
		c.Errorf("%.0f runs at the end, of %.0f that there ever were; want %.0f%% at most", runs, inserted, 100*kept)
	}
	for _, column := range []string{"runs", "files", "data in the bucket, MB"} {
		before, after := c.series.Between(column, 0.4, 0.65), c.series.Between(column, 0.75, 1)
		c.Logf("%s: %.0f on average in the middle of the run, %.0f at its end", column, before, after)
		if length >= 15*time.Minute && after > 1.5*before {
			c.Errorf("%s grow: from %.0f to %.0f", column, before, after)
		}
	}
}

var picture = chart.Picture{XLabel: "minutes", XUnit: 60, Panels: []chart.Panel{
	{Title: "rows of the metadata store", Columns: []string{"runs", "commits"}},
	{Title: "files", Columns: []string{"files", "dead files", "objects"}},
	{Title: "bytes", Columns: []string{"data in the bucket, MB", "live, MB"}},
	{Title: "bytes in all", Columns: []string{"written by producers, MB", "put by agents, MB", "rewritten, MB"}},
}}

// save writes the series into the folder that was asked for.
func (c *cluster) save() {
	folder := os.Getenv("WADI_SOAK_OUT")
	if folder == "" {
		return
	}
	if err := c.series.Save(folder, "soak", picture); err != nil {
		c.Errorf("save what was measured: %v", err)
	}
}

// fsck stops the agents and has wadi compare bucket and metadata store.
func (c *cluster) fsck() {
	c.Helper()
	for _, agent := range c.agents {
		agent.Stop()
	}
	ctx, cancel := context.WithTimeout(c.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, harness.Binary(c), "fsck", "--deep", "--objects="+c.options.Objects)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "WADI_") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, "WADI_METADATA="+c.options.Metadata, "WADI_OBJECTS_ACCESS_KEY="+c.options.AccessKey, "WADI_OBJECTS_SECRET_KEY="+c.options.SecretKey)
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.Errorf("wadi fsck --deep: %v\n%s", err, out)
		return
	}
	c.Logf("wadi fsck --deep:\n%s", out)
}
