// Package settings turns the command line, the environment and a YAML file
// into an [agent.Config].
//
// One table, [All], holds every setting: flags, environment variables, keys of
// the file and the README's table all come from it. Where a setting is given
// more than once, flag wins over environment, environment over file, file over
// the default. The package reads; whether the values make sense together is
// for agent.Config.Validate to say.
package settings

import (
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/wadi-log/wadi/agent"
	"github.com/wadi-log/wadi/cmd/wadi/internal/flagvalue"
)

// ConfigFlag is the flag that names the YAML file; ConfigEnv its variable.
const (
	ConfigFlag = "config"
	ConfigEnv  = envPrefix + "CONFIG"
	envPrefix  = "WADI_"
)

// kafkaConfig is the one setting that is a map; its sources merge pair by pair.
const kafkaConfig = "kafka-config"

// Setting is one thing that an operator can set.
type Setting struct {
	// Name is the flag without dashes, and the key in the YAML file.
	Name string
	// Usage is one line of help, without the default.
	Usage string
	// Secret settings have no flag (it would show in ps) and are never printed.
	Secret bool
	// Automatic is what the default does where it is empty or 0.
	Automatic string

	value func(*agent.Config) pflag.Value
}

// Env is the setting's environment variable.
func (s Setting) Env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))
}

// Default is the default as text, "" where there is none.
func (s Setting) Default() string {
	config := agent.DefaultConfig()
	return s.value(&config).String()
}

// All returns every setting of the agent, in the order that help shows.
func All() []Setting {
	return []Setting{
		{Name: "kafka-listen", Usage: "where to serve Kafka clients: host:port, or a list of NAME://host:port", value: text("listeners", func(c *agent.Config) *string { return &c.KafkaListen })},
		{Name: "http-listen", Usage: "host:port to serve /livez, /readyz, /metrics and /v1 on", value: text("host:port", func(c *agent.Config) *string { return &c.HTTPListen })},
		{Name: "advertise", Usage: "where clients are told to connect to, in the form of kafka-listen", Automatic: "kafka-listen, with this machine's name for a wildcard", value: text("listeners", func(c *agent.Config) *string { return &c.Advertise })},
		{Name: "zone", Usage: "availability zone of this agent", value: text("name", func(c *agent.Config) *string { return &c.Zone })},
		{Name: "zone-cidr", Usage: "ZONE=CIDR: clients of that network are in that zone; may be repeated", value: list("zone=cidr", func(c *agent.Config) *string { return &c.ZoneCIDR })},
		{Name: "zone-listener", Usage: "NAME=ZONE: clients of that listener are in that zone; may be repeated", value: list("name=zone", func(c *agent.Config) *string { return &c.ZoneListener })},
		{Name: "name", Usage: "name of this agent, which keeps its node ID for a day after it stopped; of two processes with one name, that which started later has it", Automatic: "this machine's name and kafka-listen", value: text("name", func(c *agent.Config) *string { return &c.Name })},
		{Name: "node-id", Usage: "broker ID that clients see, unless others are at the same address", Automatic: "the one that name had, or a free one", value: func(c *agent.Config) pflag.Value { return flagvalue.Int32(&c.NodeID) }},
		{Name: "peer-listen", Usage: "host:port on which agents of one zone ask each other for what they read; empty is not at all", value: text("host:port", func(c *agent.Config) *string { return &c.PeerListen })},
		{Name: "peer-advertise", Usage: "host:port that other agents are told to connect to", Automatic: "peer-listen, with this machine's name for a wildcard", value: text("host:port", func(c *agent.Config) *string { return &c.PeerAdvertise })},

		{Name: "data-dir", Usage: "folder of the embedded stores", value: text("folder", func(c *agent.Config) *string { return &c.DataDir })},
		{Name: "metadata", Usage: "metadata store: sqlite:PATH or postgres://...", Automatic: "SQLite in data-dir", value: text("url", func(c *agent.Config) *string { return &c.Metadata })},
		{Name: "objects", Usage: "object store: file:PATH, s3://bucket/prefix, minio://host:port/bucket/prefix or mem:", Automatic: "a folder in data-dir", value: text("url", func(c *agent.Config) *string { return &c.Objects })},
		{Name: "objects-access-key", Usage: "access key for minio://; overrides the AWS credential chain for s3://", Secret: true, value: text("key", func(c *agent.Config) *string { return &c.ObjectsAccessKey })},
		{Name: "objects-secret-key", Usage: "secret key that belongs to objects-access-key", Secret: true, value: text("key", func(c *agent.Config) *string { return &c.ObjectsSecretKey })},

		{Name: "flush-interval", Usage: "longest wait of a record before its data file ships, while others are in flight", Automatic: "250ms on s3://, 5ms elsewhere", value: duration(func(c *agent.Config) *time.Duration { return &c.FlushInterval })},
		{Name: "flush-bytes", Usage: "size at which a data file ships at once", value: size(func(c *agent.Config) *int64 { return &c.FlushBytes })},
		{Name: "put-rate", Usage: "data files a second that may ship before they are full; -1 is no limit", Automatic: "4 on s3://, no limit elsewhere", value: func(c *agent.Config) pflag.Value { return flagvalue.Float(&c.PutRate) }},
		{Name: "file-compression", Usage: "compression of uncompressed batches inside data files: auto, zstd, s2 or none", value: text("name", func(c *agent.Config) *string { return &c.FileCompression })},

		{Name: "memory", Usage: "memory that the agent may use", Automatic: "GOMEMLIMIT, or the cgroup's limit where the machine has as much, or half of the machine's memory and 2GiB at most", value: size(func(c *agent.Config) *int64 { return &c.Memory })},
		{Name: "memory-bytes", Usage: "most memory for produce requests; at the limit, sockets wait", Automatic: "an eighth of what memory has above 256MiB, but four times flush-bytes at least", value: size(func(c *agent.Config) *int64 { return &c.MemoryBytes })},
		{Name: "cache-bytes", Usage: "size of the cache of blocks that consumers read", Automatic: "an eighth of what memory has above 256MiB, but 16MiB at least", value: size(func(c *agent.Config) *int64 { return &c.CacheBytes })},
		{Name: "max-connections", Usage: "most client connections at a time", value: func(c *agent.Config) pflag.Value { return flagvalue.Int(&c.MaxConnections) }},
		{Name: "max-in-flight", Usage: "most requests of one connection that are not answered yet", value: func(c *agent.Config) pflag.Value { return flagvalue.Int(&c.MaxInFlight) }},

		{Name: "roles", Usage: "what this agent does: some of produce, consume, jobs", value: text("list", func(c *agent.Config) *string { return &c.Roles })},
		{Name: "merge-after", Usage: "longest wait of a small data file for being merged", value: duration(func(c *agent.Config) *time.Duration { return &c.MergeAfter })},
		{Name: "merge-bytes", Usage: "size of the files that merges and compaction write, about", Automatic: "a quarter of job-memory-bytes, but 64MiB at most", value: size(func(c *agent.Config) *int64 { return &c.MergeBytes })},
		{Name: "job-memory-bytes", Usage: "most memory for background work", Automatic: "an eighth of what memory has above 256MiB, but 16MiB at least", value: size(func(c *agent.Config) *int64 { return &c.JobMemoryBytes })},
		{Name: "job-bandwidth", Usage: "bytes a second that background work may read and write; 0 is no limit", value: size(func(c *agent.Config) *int64 { return &c.JobBandwidth })},
		{Name: "delete-grace", Usage: "how long an object is kept after nothing refers to it, for slow readers; less than 10m is for tests", value: duration(func(c *agent.Config) *time.Duration { return &c.DeleteGrace })},
		{Name: "orphan-interval", Usage: "time between two looks through all objects for files of agents that died", value: duration(func(c *agent.Config) *time.Duration { return &c.OrphanInterval })},
		{Name: "snapshot-interval", Usage: "time between backups of the metadata store into the object store; 0 is never, but deletions wait for those of other agents", value: duration(func(c *agent.Config) *time.Duration { return &c.SnapshotInterval })},

		{Name: kafkaConfig, Usage: "broker config by Kafka's name, as in num.partitions=3; may be repeated", value: func(c *agent.Config) pflag.Value { return flagvalue.KeyValues(&c.KafkaConfigs) }},

		{Name: "log-level", Usage: "least level that is logged: debug, info, warn or error", value: text("level", func(c *agent.Config) *string { return &c.LogLevel })},
		{Name: "log-format", Usage: "text or json", value: text("name", func(c *agent.Config) *string { return &c.LogFormat })},
		{Name: "drain-delay", Usage: "how long to go on serving when stopping, while clients are led to other agents; without others it is 0", value: duration(func(c *agent.Config) *time.Duration { return &c.DrainDelay })},
		{Name: "drain-timeout", Usage: "longest wait for requests under way when stopping", value: duration(func(c *agent.Config) *time.Duration { return &c.DrainTimeout })},
	}
}

func text(kind string, field func(*agent.Config) *string) func(*agent.Config) pflag.Value {
	return func(c *agent.Config) pflag.Value { return flagvalue.Text(field(c), kind) }
}

func list(kind string, field func(*agent.Config) *string) func(*agent.Config) pflag.Value {
	return func(c *agent.Config) pflag.Value { return flagvalue.List(field(c), kind) }
}

func size(field func(*agent.Config) *int64) func(*agent.Config) pflag.Value {
	return func(c *agent.Config) pflag.Value { return flagvalue.Size(field(c)) }
}

func duration(field func(*agent.Config) *time.Duration) func(*agent.Config) pflag.Value {
	return func(c *agent.Config) pflag.Value { return flagvalue.Duration(field(c)) }
}

// Register adds --config and the flags of the named settings, of all when none is
// named; secret ones never become flags.
func Register(flags *pflag.FlagSet, names ...string) {
	flags.SortFlags = false
	config := agent.DefaultConfig()
	for _, setting := range All() {
		if setting.Secret || !wanted(setting.Name, names) {
			continue
		}
		usage := setting.Usage
		if setting.Automatic != "" {
			usage += " (default: " + setting.Automatic + ")"
		}
		flag := flags.VarPF(setting.value(&config), setting.Name, "", usage)
		if setting.Automatic != "" {
			flag.DefValue = "" // the usage says it better than an empty text or 0
		}
	}
	var file string
	flags.Var(flagvalue.Text(&file, "file"), ConfigFlag, "YAML file of settings (env "+ConfigEnv+")")
}

func wanted(name string, names []string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return len(names) == 0
}
