package settings

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/wadi-log/wadi/agent"
)

// load runs Load as the agent command does. file is the YAML file's text, "" for none.
func load(t *testing.T, args, environ []string, file string) (agent.Config, []Misspelt, error) {
	t.Helper()
	flags := pflag.NewFlagSet("wadi", pflag.ContinueOnError)
	Register(flags)
	if file != "" {
		path := filepath.Join(t.TempDir(), "wadi.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return Load(flags, environ)
}

func TestNothingSetIsTheDefault(t *testing.T) {
	config, warnings, err := load(t, nil, nil, "")
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	if want := agent.DefaultConfig(); !reflect.DeepEqual(config, want) {
		t.Errorf("got %+v, want %+v", config, want)
	}
	if err := config.Validate(); err != nil {
		t.Error(err)
	}
}

func TestFlagBeatsEnvironmentBeatsFileBeatsDefault(t *testing.T) {
	file := "zone: file\ndata-dir: file\nlog-level: error\n"
	environ := []string{"WADI_ZONE=env", "WADI_DATA_DIR=env", "WADI_LOG_FORMAT="}
	config, _, err := load(t, []string{"--zone", "flag"}, environ, file)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{config.Zone, config.DataDir, config.LogLevel, config.LogFormat}
	if want := []string{"flag", "env", "error", "text"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestFlagSetToItsDefaultStillWins(t *testing.T) {
	config, _, err := load(t, []string{"--data-dir", "wadi-data", "--put-rate", "0"}, []string{"WADI_DATA_DIR=env", "WADI_PUT_RATE=7"}, "")
	if err != nil || config.DataDir != "wadi-data" || config.PutRate != 0 {
		t.Errorf("got %q, %v, %v", config.DataDir, config.PutRate, err)
	}
}

func TestListsGrowWithEachFlag(t *testing.T) {
	config, _, err := load(t, []string{"--zone-cidr", "a=10.0.0.0/8,b=::/0", "--zone-cidr", "c=10.1.0.0/16"}, []string{"WADI_ZONE_CIDR=d=10.2.0.0/16"}, "zone-listener: N=a,M=b\n")
	if err != nil || config.ZoneCIDR != "a=10.0.0.0/8,b=::/0,c=10.1.0.0/16" || config.ZoneListener != "N=a,M=b" {
		t.Errorf("got %q and %q, %v", config.ZoneCIDR, config.ZoneListener, err)
	}
}

func TestKafkaConfigsMergePairByPair(t *testing.T) {
	file := "kafka-config:\n  num.partitions: 3\n  auto.create.topics.enable: false\n  log.cleanup.policy: compact,delete\n  log.retention.ms: \"1\"\n"
	environ := []string{"WADI_KAFKA_CONFIG=num.partitions=4,log.retention.ms=2"}
	config, _, err := load(t, []string{"--kafka-config", "num.partitions=5", "--kafka-config", "message.max.bytes=9"}, environ, file)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"num.partitions": "5", "auto.create.topics.enable": "false", "log.cleanup.policy": "compact,delete",
		"log.retention.ms": "2", "message.max.bytes": "9",
	}
	if !maps.Equal(config.KafkaConfigs, want) {
		t.Errorf("got %v, want %v", config.KafkaConfigs, want)
	}
}

// samples holds, for each field of agent.Config, its setting, a text for it
// and what that must become.
var samples = map[string]struct {
	setting, text string
	want          any
}{
	"KafkaListen":      {"kafka-listen", "h:1", "h:1"},
	"HTTPListen":       {"http-listen", "h:2", "h:2"},
	"DataDir":          {"data-dir", "d", "d"},
	"Metadata":         {"metadata", "sqlite:x", "sqlite:x"},
	"Objects":          {"objects", "mem:", "mem:"},
	"ObjectsAccessKey": {"objects-access-key", "a", "a"},
	"ObjectsSecretKey": {"objects-secret-key", "s", "s"},
	"Advertise":        {"advertise", "h:3", "h:3"},
	"PeerListen":       {"peer-listen", "h:4", "h:4"},
	"PeerAdvertise":    {"peer-advertise", "h:5", "h:5"},
	"Zone":             {"zone", "z", "z"},
	"ZoneCIDR":         {"zone-cidr", "a=10.0.0.0/8", "a=10.0.0.0/8"},
	"ZoneListener":     {"zone-listener", "N=a", "N=a"},
	"Name":             {"name", "n", "n"},
	"NodeID":           {"node-id", "7", int32(7)},
	"FlushInterval":    {"flush-interval", "70ms", 70 * time.Millisecond},
	"FlushBytes":       {"flush-bytes", "1MiB", int64(1 << 20)},
	"PutRate":          {"put-rate", "1.5", 1.5},
	"FileCompression":  {"file-compression", "s2", "s2"},
	"Memory":           {"memory", "512MiB", int64(512 << 20)},
	"MemoryBytes":      {"memory-bytes", "1GiB", int64(1 << 30)},
	"CacheBytes":       {"cache-bytes", "16777216", int64(16 << 20)},
	"MaxConnections":   {"max-connections", "12", 12},
	"MaxInFlight":      {"max-in-flight", "5", 5},
	"Roles":            {"roles", "produce,consume", "produce,consume"},
	"MergeAfter":       {"merge-after", "45s", 45 * time.Second},
	"MergeBytes":       {"merge-bytes", "32MiB", int64(32 << 20)},
	"JobMemoryBytes":   {"job-memory-bytes", "128MiB", int64(128 << 20)},
	"JobBandwidth":     {"job-bandwidth", "8MiB", int64(8 << 20)},
	"DeleteGrace":      {"delete-grace", "15m", 15 * time.Minute},
	"OrphanInterval":   {"orphan-interval", "2h0m0s", 2 * time.Hour},
	"SnapshotInterval": {"snapshot-interval", "0s", time.Duration(0)},
	"KafkaConfigs":     {"kafka-config", "num.partitions=3", map[string]string{"num.partitions": "3"}},
	"LogLevel":         {"log-level", "debug", "debug"},
	"LogFormat":        {"log-format", "json", "json"},
	"DrainDelay":       {"drain-delay", "3s", 3 * time.Second},
	"DrainTimeout":     {"drain-timeout", "7s", 7 * time.Second},
}

func TestEveryFieldOfTheConfigCanBeSetFromEverySource(t *testing.T) {
	fields := reflect.TypeFor[agent.Config]()
	if fields.NumField() != len(All()) {
		t.Errorf("agent.Config has %d fields and there are %d settings", fields.NumField(), len(All()))
	}
	for i := range fields.NumField() {
		field := fields.Field(i).Name
		sample, ok := samples[field]
		if !ok {
			t.Errorf("no setting and sample for agent.Config.%s", field)
			continue
		}
		var setting Setting
		for _, s := range All() {
			if s.Name == sample.setting {
				setting = s
			}
		}
		sources := map[string]struct {
			args, environ []string
			file          string
		}{
			"env":  {environ: []string{"WADI_" + strings.ToUpper(strings.ReplaceAll(sample.setting, "-", "_")) + "=" + sample.text}},
			"file": {file: sample.setting + ": \"" + sample.text + "\"\n"},
			"flag": {args: []string{"--" + sample.setting, sample.text}},
		}
		if field == "KafkaConfigs" {
			source := sources["file"]
			source.file = "kafka-config: {num.partitions: 3}"
			sources["file"] = source
		}
		if setting.Secret {
			delete(sources, "flag")
		}
		for name, source := range sources {
			config, _, err := load(t, source.args, source.environ, source.file)
			if err != nil {
				t.Errorf("%s from %s: %v", field, name, err)
				continue
			}
			got := reflect.ValueOf(config).Field(i).Interface()
			if !reflect.DeepEqual(got, sample.want) {
				t.Errorf("%s from %s: got %v, want %v", field, name, got, sample.want)
			}
			if reflect.DeepEqual(got, reflect.ValueOf(agent.DefaultConfig()).Field(i).Interface()) {
				t.Errorf("%s: the sample is the default; the test shows nothing", field)
			}
		}
	}
}

func TestSecretsAreNoFlags(t *testing.T) {
	flags := pflag.NewFlagSet("wadi", pflag.ContinueOnError)
	Register(flags)
	for _, name := range []string{"objects-access-key", "objects-secret-key"} {
		if flags.Lookup(name) != nil {
			t.Errorf("--%s is a flag and would show in ps", name)
		}
	}
}

func TestValidateNamesSettingsThatExist(t *testing.T) {
	broken := agent.Config{
		KafkaListen: "x", HTTPListen: "x", Advertise: "x", Zone: "a b", ZoneCIDR: "x", ZoneListener: "x", Metadata: "x:", Objects: "x:", NodeID: -1, FlushInterval: -1,
		PutRate: -2, MemoryBytes: -1,
	}
	err := broken.Validate()
	if err == nil {
		t.Fatal("a broken config is valid")
	}
	known := names()
	for line := range strings.Lines(err.Error()) {
		name, _, ok := strings.Cut(strings.TrimPrefix(line, "--"), ":")
		if !ok || !strings.Contains(" "+strings.Join(known, " ")+" ", " "+name+" ") {
			t.Errorf("Validate names no setting: %s", line)
		}
	}
}
