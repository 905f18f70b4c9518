package scale_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/test/chart"
	"github.com/wadi-log/wadi/test/harness"
	"github.com/wadi-log/wadi/test/measure"
	"github.com/wadi-log/wadi/test/scale"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// agentFlags set the pace of S3, and leave out what merges.
var agentFlags = []string{"--flush-interval=250ms", "--put-rate=4", "--roles=produce,consume"}

// TestScale offers WADI_SCALE_RATE (1MB) a second to clusters of WADI_SCALE_AGENTS (1,3) agents over Postgres and MinIO, one after the
// other, and measures each for WADI_SCALE_FOR (3s). What it measured goes to the folder WADI_SCALE_OUT, as a table and as a picture.
func TestScale(t *testing.T) {
	length, err := time.ParseDuration(cmp.Or(os.Getenv("WADI_SCALE_FOR"), "3s"))
	if err != nil {
		t.Fatalf("WADI_SCALE_FOR: %v", err)
	}
	bytesPerSecond, err := humanize.ParseBytes(cmp.Or(os.Getenv("WADI_SCALE_RATE"), "1MB"))
	if err != nil {
		t.Fatalf("WADI_SCALE_RATE: %v", err)
	}
	config := scale.DefaultConfig()
	config.Rate = int(bytesPerSecond)
	table := chart.Table{X: "agents", Columns: columns}
	picture := chart.Picture{XLabel: "agents", Panels: panels}
	for _, field := range strings.Split(cmp.Or(os.Getenv("WADI_SCALE_AGENTS"), "1,3"), ",") {
		agents, err := strconv.Atoi(field)
		if err != nil {
			t.Fatalf("WADI_SCALE_AGENTS: %v", err)
		}
		t.Run(fmt.Sprint(agents, " agents"), func(t *testing.T) {
			values := measureCluster(t, startCluster(t, agents), config, length)
			table.Rows = append(table.Rows, chart.Row{X: float64(agents), Values: values})
			picture.XTicks = append(picture.XTicks, float64(agents))
			for i, column := range columns {
				t.Logf("%s: %g", column, values[i])
			}
		})
	}
	if folder := os.Getenv("WADI_SCALE_OUT"); folder != "" && !t.Failed() {
		if err := table.Save(folder, "scale", picture); err != nil {
			t.Errorf("save what was measured: %v", err)
		}
	}
}

// columns are what is measured; of latencies, "acked" is from when a record was given to the producer.
var columns = []string{
	"MB/s", "commits/s", "data files/s", "Postgres' CPU, % of a core", "agents' CPU, % of a core", "load's CPU, % of a core",
	"PUTs per GiB", "GETs per GiB", "index rows per GiB", "acked p50, ms", "acked p99, ms", "end to end p50, ms", "end to end p99, ms",
	"bytes written, busiest agent over mean",
}

var panels = []chart.Panel{
	{Title: "requests to the object store", Columns: []string{"PUTs per GiB", "GETs per GiB"}},
	{Title: "rows of the index", Columns: []string{"index rows per GiB"}},
	{Title: "metadata store", Columns: []string{"commits/s", "data files/s", "Postgres' CPU, % of a core"}},
	{Title: "latency", Columns: []string{"acked p50, ms", "acked p99, ms", "end to end p50, ms", "end to end p99, ms"}},
	{Title: "how evenly agents are written to", Columns: []string{"bytes written, busiest agent over mean"}},
}

// cluster is some agents on stores of their own.
type cluster struct {
	*testing.T
	agents   []*harness.AgentProcess
	postgres *measure.Postgres
}

func startCluster(t *testing.T, agents int) *cluster {
	t.Helper()
	store := harness.MinIO(t)
	options := harness.AgentOptions{Metadata: harness.Postgres(t), Objects: store.MinioURL(), AccessKey: store.AccessKey, SecretKey: store.SecretKey, Flags: agentFlags}
	c := &cluster{T: t}
	for range agents {
		c.agents = append(c.agents, harness.Agent(t, options))
	}
	c.postgres = measure.OpenPostgres(t, options.Metadata)
	// Clients that start before all agents know each other would stay with those that do, until they refresh their metadata.
	for _, agent := range c.agents {
		client, err := kgo.NewClient(kgo.SeedBrokers(agent.Bootstrap()))
		if err != nil {
			t.Fatal(err)
		}
		harness.Eventually(t, time.Minute, func() error {
			answer, err := client.SeedBrokers()[0].Request(t.Context(), kmsg.NewPtrMetadataRequest())
			if err != nil {
				return err
			}
			if known := len(answer.(*kmsg.MetadataResponse).Brokers); known != agents {
				return fmt.Errorf("the agent at %s knows %d agents of %d", agent.Bootstrap(), known, agents)
			}
			return nil
		})
		client.Close()
	}
	return c
}

// look is what was counted up to a time. Of agents, counters are summed up.
type look struct {
	at                     time.Time
	counters               map[string]float64
	written                []float64 // bytes, by agent
	puts, gets, rows       float64
	postgres, agents, load time.Duration
	records                int64
}

func (c *cluster) look(load *scale.Load) look {
	c.Helper()
	l := look{at: time.Now(), counters: map[string]float64{}, records: load.Acked(), postgres: c.postgres.CPU(), load: measure.Self(c).CPU,
		rows: c.postgres.Number(`SELECT count(*) FROM runs`)}
	for _, agent := range c.agents {
		metrics := agent.Metrics()
		for name := range metrics {
			l.counters[name] += metrics[name]
		}
		l.written = append(l.written, metrics["wadi_produce_bytes_total"])
		l.puts += measure.Requests(metrics, "put")
		l.gets += measure.Requests(metrics, "get")
		l.agents += measure.Process(c, agent.PID()).CPU
	}
	return l
}

const commits = "wadi_produce_files_per_commit_count"

// measureCluster offers the load, and returns the columns.
func measureCluster(t *testing.T, c *cluster, config scale.Config, length time.Duration) []float64 {
	for _, agent := range c.agents {
		config.Bootstrap = append(config.Bootstrap, agent.Bootstrap())
	}
	load, err := scale.Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer load.Close()
	warmUp := min(length/3, 10*time.Second)
	<-time.After(warmUp)
	// untilBoth adds to waits until some are of records acknowledged, and some of records read: a busy machine may take longer.
	untilBoth := func(waits scale.Waits) scale.Waits {
		harness.Eventually(t, time.Minute, func() error {
			more := load.Waits()
			waits.Acked, waits.Read = append(waits.Acked, more.Acked...), append(waits.Read, more.Read...)
			if len(waits.Acked) == 0 || len(waits.Read) == 0 {
				return fmt.Errorf("%d records acknowledged and %d read", len(waits.Acked), len(waits.Read))
			}
			return nil
		})
		return waits
	}
	untilBoth(scale.Waits{})
	before := c.look(load)
	load.Waits()
	<-time.After(length)
	waits := untilBoth(load.Waits())
	after := c.look(load)
	harness.Eventually(t, time.Minute, func() error { // unless the machine stood still for so long
		if after.records == before.records || after.puts == before.puts || after.rows == before.rows ||
			after.counters[commits] == before.counters[commits] {
			after = c.look(load)
			return errors.New("nothing was written")
		}
		return nil
	})
	if err := load.Finish(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}

	seconds := after.at.Sub(before.at).Seconds()
	counted := func(name string) float64 { return after.counters[name] - before.counters[name] }
	percent := func(d time.Duration) float64 { return round(100 * d.Seconds() / seconds) }
	bytes := float64(after.records-before.records) * float64(config.ValueBytes)
	perGiB := func(n float64) float64 { return math.Round(n / (bytes / (1 << 30))) }
	var written []float64
	for i := range after.written {
		written = append(written, after.written[i]-before.written[i])
	}
	values := map[string]float64{
		"MB/s":                                   round(bytes / 1e6 / seconds),
		"commits/s":                              round(counted(commits) / seconds),
		"data files/s":                           round(counted("wadi_produce_files_per_commit_sum") / seconds),
		"Postgres' CPU, % of a core":             percent(after.postgres - before.postgres),
		"agents' CPU, % of a core":               percent(after.agents - before.agents),
		"load's CPU, % of a core":                percent(after.load - before.load),
		"PUTs per GiB":                           perGiB(after.puts - before.puts),
		"GETs per GiB":                           perGiB(after.gets - before.gets),
		"index rows per GiB":                     perGiB(after.rows - before.rows),
		"acked p50, ms":                          quantile(waits.Acked, 0.5),
		"acked p99, ms":                          quantile(waits.Acked, 0.99),
		"end to end p50, ms":                     quantile(waits.Read, 0.5),
		"end to end p99, ms":                     quantile(waits.Read, 0.99),
		"bytes written, busiest agent over mean": math.Round(100*slices.Max(written)/(sum(written)/float64(len(written)))) / 100,
	}
	for _, name := range []string{"MB/s", "commits/s", "PUTs per GiB", "index rows per GiB", "acked p50, ms", "end to end p50, ms"} {
		if !(values[name] > 0) {
			t.Errorf("%s: %v, of which there must be some", name, values[name])
		}
	}
	if len(values) != len(columns) {
		t.Fatalf("%d values for %d columns: %q", len(values), len(columns), slices.Sorted(maps.Keys(values)))
	}
	row := make([]float64, len(columns))
	for i, column := range columns {
		value, ok := values[column]
		if !ok {
			t.Fatalf("no value for %q", column)
		}
		row[i] = value
	}
	return row
}

func sum(values []float64) (sum float64) {
	for _, v := range values {
		sum += v
	}
	return sum
}

// round keeps a decimal.
func round(v float64) float64 { return math.Round(10*v) / 10 }

// quantile is in milliseconds, 0 of nothing.
func quantile(d []time.Duration, q float64) float64 {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return round(float64(d[min(len(d)-1, int(q*float64(len(d))))].Microseconds()) / 1000)
}
