package agent

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/agent/admin"
	"github.com/wadi-log/wadi/agent/cluster"
	"github.com/wadi-log/wadi/agent/dynamic"
	"github.com/wadi-log/wadi/agent/fetch"
	"github.com/wadi-log/wadi/agent/group"
	"github.com/wadi-log/wadi/agent/produce"
	"github.com/wadi-log/wadi/agent/telemetry"
	"github.com/wadi-log/wadi/agent/transaction"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sqlite"
	"github.com/wadi-log/wadi/protocol"
	"github.com/wadi-log/wadi/protocol/configs"
	"github.com/wadi-log/wadi/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// TestVersionTableEqualsHandlers holds ApiVersions, which answers from the
// table, to what is really served.
func TestVersionTableEqualsHandlers(t *testing.T) {
	served := handlers(nil, &produce.Handler{}, &transaction.Coordinator{}, &fetch.Fetcher{}, &cluster.Cluster{}, &group.Coordinator{}, &admin.Admin{}, &telemetry.Telemetry{})
	for _, v := range protocol.Versions() {
		if served[v.Key] == nil {
			t.Errorf("%s is advertised and has no handler", v.Name)
		}
		delete(served, v.Key)
	}
	for key := range served {
		t.Errorf("%s has a handler and is not in the version table", kmsg.NameForKey(key))
	}
}

func TestDefaultConfigIsValid(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidateNamesTheSetting(t *testing.T) {
	cases := map[string]func(*Config){
		"--kafka-listen":      func(c *Config) { c.KafkaListen = "localhost" },
		"--http-listen":       func(c *Config) { c.HTTPListen = "localhost:http" },
		"--advertise":         func(c *Config) { c.Advertise = "0.0.0.0:9092" },
		"--zone":              func(c *Config) { c.Zone = "a;b" },
		"--zone-cidr":         func(c *Config) { c.ZoneCIDR = "a=10.0.0.0/33" },
		"--zone-listener":     func(c *Config) { c.ZoneListener = "EXTERNAL=a" },
		"--peer-listen":       func(c *Config) { c.PeerListen = "localhost" },
		"--peer-advertise":    func(c *Config) { c.PeerListen, c.PeerAdvertise = "localhost:0", "0.0.0.0:9093" },
		"--data-dir":          func(c *Config) { c.DataDir = "" },
		"--metadata":          func(c *Config) { c.Metadata = "mysql://u:secret@h/db" },
		"--objects":           func(c *Config) { c.Objects = "ftp://secret@host" },
		"--name":              func(c *Config) { c.Name = "a\nb" },
		"--node-id":           func(c *Config) { c.NodeID = -1 },
		"--flush-interval":    func(c *Config) { c.FlushInterval = time.Hour },
		"--flush-bytes":       func(c *Config) { c.FlushBytes = 10 },
		"--put-rate":          func(c *Config) { c.PutRate = -2 },
		"--file-compression":  func(c *Config) { c.FileCompression = "gzip" },
		"--memory":            func(c *Config) { c.Memory = 64 << 20 },
		"--memory-bytes":      func(c *Config) { c.MemoryBytes = 1 << 20 },
		"--cache-bytes":       func(c *Config) { c.CacheBytes = 1 },
		"--max-connections":   func(c *Config) { c.MaxConnections = 0 },
		"--max-in-flight":     func(c *Config) { c.MaxInFlight = 0 },
		"--roles":             func(c *Config) { c.Roles = "produce,all" },
		"--merge-after":       func(c *Config) { c.MergeAfter = 0 },
		"--merge-bytes":       func(c *Config) { c.MergeBytes = 10 },
		"--job-memory-bytes":  func(c *Config) { c.JobMemoryBytes, c.MergeBytes = 128<<20, 64<<20 },
		"--job-bandwidth":     func(c *Config) { c.JobBandwidth = 1 },
		"--delete-grace":      func(c *Config) { c.DeleteGrace = 0 },
		"--orphan-interval":   func(c *Config) { c.OrphanInterval = 0 },
		"--snapshot-interval": func(c *Config) { c.SnapshotInterval = -1 },
		"--log-level":         func(c *Config) { c.LogLevel = "trace" },
		"--log-format":        func(c *Config) { c.LogFormat = "xml" },
		"--drain-delay":       func(c *Config) { c.DrainDelay = -1 },
		"--drain-timeout":     func(c *Config) { c.DrainTimeout = 0 },
	}
	for setting, spoil := range cases {
		c := DefaultConfig()
		spoil(&c)
		err := c.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), setting+": ") {
			t.Errorf("%s: %v", setting, err)
			continue
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells a secret: %v", setting, err)
		}
	}
}

func TestPaceFollowsTheObjectStoreUnlessSet(t *testing.T) {
	for objects, want := range map[string]struct {
		interval time.Duration
		rate     float64
	}{
		"":                    {5 * time.Millisecond, 0},
		"minio://host/bucket": {5 * time.Millisecond, 0},
		"s3://bucket":         {250 * time.Millisecond, 4},
	} {
		c := DefaultConfig()
		c.Objects = objects
		if interval, rate := c.pace(); interval != want.interval || rate != want.rate {
			t.Errorf("%q: %v, %v files/s, want %v", objects, interval, rate, want)
		}
		c.FlushInterval, c.PutRate = time.Second, -1
		if interval, rate := c.pace(); interval != time.Second || rate != 0 {
			t.Errorf("%q, set: %v, %v files/s", objects, interval, rate)
		}
	}
}

func TestRedactHidesPasswords(t *testing.T) {
	for _, url := range []string{
		"postgres://wadi:hunter2@host/db", "postgres://host/db?user=wadi&password=hunter2", "postgres://wadi:hunter2@host:port:/%",
	} {
		if got := redact(url); strings.Contains(got, "hunter2") {
			t.Errorf("%s is shown as %s", url, got)
		}
	}
	if got := redact("sqlite:wadi-data/metadata.db"); got != "sqlite:wadi-data/metadata.db" {
		t.Errorf("a path is shown as %s", got)
	}
}

// TestAgentStartsServesAndLeavesNothingBehind runs the embedded default; goleak watches.
func TestAgentStartsServesAndLeavesNothingBehind(t *testing.T) {
	config := DefaultConfig()
	config.DataDir, config.KafkaListen, config.HTTPListen = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0"
	for range 2 { // the second time over what the first left
		a, err := New(t.Context(), config, "v1.2.3", slog.New(slog.DiscardHandler), new(slog.LevelVar))
		if err != nil {
			t.Fatal(err)
		}
		if err := a.ready(t.Context()); err == nil {
			t.Error("ready before Run")
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		for a.ready(t.Context()) != nil {
			select {
			case err := <-done:
				t.Fatalf("Run ended: %v", err)
			case <-time.After(time.Millisecond):
			}
		}
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// TestShortGraceIsWarnedOf: whoever sets it sees at the start what it is for.
func TestShortGraceIsWarnedOf(t *testing.T) {
	for grace, want := range map[time.Duration]bool{
		DefaultConfig().DeleteGrace: false, metadata.MaxFileAge - time.Second: true,
	} {
		config := DefaultConfig()
		config.DataDir, config.KafkaListen, config.HTTPListen, config.DeleteGrace = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0", grace
		var logged bytes.Buffer
		a, err := New(t.Context(), config, "v1.2.3", slog.New(slog.NewTextHandler(&logged, nil)), new(slog.LevelVar))
		if err != nil {
			t.Fatal(err)
		}
		a.close()
		if got := strings.Contains(logged.String(), "--delete-grace"); got != want {
			t.Errorf("%v: warned: %v, want %v\n%s", grace, got, want, &logged)
		}
	}
}

func TestGroupLimitsFollowTheGroupsConfigs(t *testing.T) {
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "metadata.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	settings := groupSettings{dynamic.New(store, configs.DefaultBroker(), func() int32 { return 1 }, new(slog.LevelVar), slog.New(slog.DiscardHandler))}
	limits := func() [2]time.Duration {
		l := settings.Limits("g")
		return [2]time.Duration{l.ConsumerSessionTimeout, l.ConsumerHeartbeatInterval}
	}
	usual := [2]time.Duration{45 * time.Second, 5 * time.Second}
	if got := limits(); got != usual {
		t.Errorf("nothing set: %v, want %v", got, usual)
	}
	for _, step := range []struct {
		set  map[string]string
		want [2]time.Duration
	}{
		{map[string]string{"consumer.session.timeout.ms": "50000"}, [2]time.Duration{50 * time.Second, 5 * time.Second}},
		{map[string]string{"consumer.session.timeout.ms": "5"}, usual}, // beyond this agent's bounds
		{nil, usual},
	} {
		group := metadata.ConfigResource{Kind: metadata.GroupConfig, Name: "g"}
		if err := settings.Alter(t.Context(), group, func(map[string]string) (map[string]string, error) { return step.set, nil }); err != nil {
			t.Fatal(err)
		}
		if got := limits(); got != step.want {
			t.Errorf("with %v: %v, want %v", step.set, got, step.want)
		}
	}
}
