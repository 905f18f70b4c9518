package agent

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol/configs"
)

// Config is everything that an operator can set on an agent. Each field is a
// flag, an environment variable and a key of the YAML file (package main
// reads them); here they are plain values.
type Config struct {
	// KafkaListen is where Kafka clients are served: listeners in Kafka's form, separated by
	// commas, NAME://host:port or host:port (which is named PLAINTEXT).
	KafkaListen string
	// HTTPListen is the host:port of /livez, /readyz, /metrics and /v1.
	HTTPListen string
	// DataDir holds the embedded stores: DataDir/metadata.db and DataDir/objects.
	DataDir string
	// Metadata is the metadata store's URL: sqlite:PATH or postgres://...; empty
	// means SQLite in DataDir.
	Metadata string
	// Objects is the object store's URL: file:PATH, s3://bucket/prefix,
	// minio://host:port/bucket/prefix or mem:; empty means a folder in DataDir.
	Objects string
	// ObjectsAccessKey and ObjectsSecretKey are the keys for minio:// (and
	// override the AWS credential chain for s3://). Never logged.
	ObjectsAccessKey string
	ObjectsSecretKey string
	// Advertise is where the clients of listeners are told to connect to, in the form of
	// KafkaListen. Those of other listeners are told where it listens (with this
	// machine's name in place of a wildcard address).
	Advertise string
	// Zone names the agent's availability zone; empty is no zone.
	Zone string
	// ZoneCIDR and ZoneListener tell the zone of clients that don't say it themselves: ZONE=CIDR and
	// NAME=ZONE, separated by commas. The longest prefix counts, and a network before a listener.
	ZoneCIDR     string
	ZoneListener string
	// PeerListen is the host:port on which other agents of the zone ask this one for parts of data
	// files; empty leaves this agent out of the zone's cache.
	PeerListen string
	// PeerAdvertise is the host:port that other agents are told to connect to; empty means PeerListen
	// (with this machine's name in place of a wildcard address).
	PeerAdvertise string
	// Name tells the agent from others, and gets the same node ID after a restart; empty is made
	// of the machine's name and KafkaListen.
	Name string
	// NodeID is the broker ID on the wire; 0 takes the one that Name had, or a free one.
	NodeID int32

	// FlushInterval bounds how long a record waits for its data file to be
	// shipped while others are in flight; 0 chooses by the object store
	// (250 ms on s3://, 5 ms elsewhere).
	FlushInterval time.Duration
	// FlushBytes ships a data file as soon as it holds this many bytes.
	FlushBytes int64
	// PutRate is the number of files a second that may ship before they are
	// full, -1 for no limit; 0 chooses by the object store (4 on s3://, no limit elsewhere).
	PutRate float64
	// FileCompression of uncompressed batches inside data files: auto, zstd, s2 or none.
	FileCompression string

	// Memory is about how many bytes of the machine's memory the process may use; 0 is
	// what LimitMemory finds out. The four sizes below that are 0 are parts of it.
	Memory int64
	// MemoryBytes bounds produce requests in memory; at the limit, sockets are
	// no longer read until data files are committed.
	MemoryBytes int64
	// CacheBytes bounds the block cache.
	CacheBytes int64
	// MaxConnections bounds open client connections.
	MaxConnections int
	// MaxInFlight bounds the requests of one connection that are not answered yet.
	MaxInFlight int

	// Roles are what the agent does, separated by commas: produce, consume, jobs; at least one. Without jobs it
	// leaves background work to other agents. Clients that want to produce or consume are sent to agents with that role,
	// as long as there are any.
	Roles string
	// MergeAfter is how long a small data file waits at most to be merged with others.
	MergeAfter time.Duration
	// MergeBytes is about the size of the files that merges and compaction write; at most a quarter of JobMemoryBytes.
	MergeBytes int64
	// JobMemoryBytes bounds the memory of background work.
	JobMemoryBytes int64
	// JobBandwidth bounds the bytes a second that background work reads and writes; 0 is no bound.
	JobBandwidth int64
	// DeleteGrace is how long the object of a data file is kept after nothing refers to it
	// any more, for readers that planned before. Less than metadata.MaxFileAge is for tests: a replacement of
	// runs whose answer was lost may then be asked for again, and taken, after its file has
	// died and was forgotten, so that runs name an object that is gone.
	DeleteGrace time.Duration
	// OrphanInterval is the time between two looks through all objects for data files that
	// were never committed.
	OrphanInterval time.Duration
	// SnapshotInterval is how often the metadata store is backed up into the object
	// store; 0 is never. Other agents may do it all the same, so deletions wait while the
	// newest backup is younger than a day.
	SnapshotInterval time.Duration

	// KafkaConfigs are broker configs by Kafka's names, e.g. num.partitions or
	// auto.create.topics.enable; unknown names are refused.
	KafkaConfigs map[string]string

	LogLevel  string // debug, info, warn, error
	LogFormat string // text, json
	// DrainDelay is how long a stopping agent goes on serving while clients are led to others; alone
	// it stops at once.
	DrainDelay time.Duration
	// DrainTimeout bounds how long it waits for requests under way after that.
	DrainTimeout time.Duration
}

// DefaultConfig returns the embedded default: everything under ./wadi-data, on loopback.
func DefaultConfig() Config {
	return Config{
		KafkaListen:     "localhost:9092",
		HTTPListen:      "localhost:8080",
		DataDir:         "wadi-data",
		FlushBytes:      8 << 20,
		FileCompression: "auto",
		MaxConnections:  10_000,
		MaxInFlight:     64,

		Roles:            "produce,consume,jobs",
		MergeAfter:       30 * time.Second,
		JobBandwidth:     64 << 20,
		DeleteGrace:      10 * time.Minute,
		OrphanInterval:   6 * time.Hour,
		SnapshotInterval: 10 * time.Minute,

		KafkaConfigs: map[string]string{},
		LogLevel:     "info",
		LogFormat:    "text",
		DrainDelay:   6 * time.Second,
		DrainTimeout: 30 * time.Second,
	}
}

// Validate returns all that is wrong with the config, each with the setting's
// name as on the command line and what to do.
func (c Config) Validate() error {
	var errs []error
	bad := func(setting, format string, args ...any) {
		errs = append(errs, fmt.Errorf("--%s: %s", setting, fmt.Sprintf(format, args...)))
	}
	c.validateListeners(bad)
	if _, _, err := splitHostPort(c.HTTPListen); err != nil {
		bad("http-listen", "%v; want host:port, as in localhost:8080", err)
	}
	c.validatePeers(bad)
	if c.DataDir == "" && (c.Metadata == "" || c.Objects == "") {
		bad("data-dir", "is empty, and --metadata or --objects is not set; name a folder")
	}
	checkURL := func(setting, value string, schemes ...string) {
		scheme, _, ok := strings.Cut(value, ":")
		if value == "" {
			return
		}
		for _, s := range schemes {
			if ok && scheme == s {
				if _, err := url.Parse(value); err != nil {
					// url.Error repeats the URL, which may hold a password.
					bad(setting, "is not a valid URL; check its escapes and port")
				}
				return
			}
		}
		bad(setting, "want a URL that starts with one of %s", strings.Join(schemes, ":, ")+":")
	}
	checkURL("metadata", c.Metadata, "sqlite", "postgres", "postgresql")
	checkURL("objects", c.Objects, "file", "s3", "minio", "mem")
	if len(c.Name) > 255 || strings.ContainsFunc(c.Name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		bad("name", "%q is longer than 255 bytes or holds what can't be printed; want a short name", c.Name)
	}
	if c.NodeID < 0 {
		bad("node-id", "%d is negative; want 1 or more, or 0 to take a free one", c.NodeID)
	}
	if c.FlushInterval < 0 || c.FlushInterval > time.Minute {
		bad("flush-interval", "%v is out of range; want 0 (automatic) to 1m", c.FlushInterval)
	}
	if c.FlushBytes < 64<<10 || c.FlushBytes > 256<<20 {
		bad("flush-bytes", "%d is out of range; want 65536 to 268435456", c.FlushBytes)
	}
	if c.PutRate < 0 && c.PutRate != -1 {
		bad("put-rate", "%v is out of range; want -1 (no limit), 0 (automatic) or files a second", c.PutRate)
	}
	switch c.FileCompression {
	case "auto", "zstd", "s2", "none":
	default:
		bad("file-compression", "%q is unknown; want auto, zstd, s2 or none", c.FileCompression)
	}
	c.validateMemory(bad)
	if c.MaxConnections < 1 {
		bad("max-connections", "%d allows no client; want 1 or more", c.MaxConnections)
	}
	if c.MaxInFlight < 1 || c.MaxInFlight > 10_000 {
		bad("max-in-flight", "%d is out of range; want 1 to 10000", c.MaxInFlight)
	}
	c.validateJobs(bad)
	switch c.LogLevel {
	case "debug", "info", "warn", "error":
	default:
		bad("log-level", "%q is unknown; want debug, info, warn or error", c.LogLevel)
	}
	switch c.LogFormat {
	case "text", "json":
	default:
		bad("log-format", "%q is unknown; want text or json", c.LogFormat)
	}
	if c.DrainDelay < 0 || c.DrainDelay > time.Hour {
		bad("drain-delay", "%v is out of range; want 0 to 1h", c.DrainDelay)
	}
	if c.DrainTimeout <= 0 {
		bad("drain-timeout", "%v leaves no time to flush; want more than 0", c.DrainTimeout)
	}
	return errors.Join(errs...)
}

// validateMemory says what is wrong with the sizes.
func (c Config) validateMemory(bad func(setting, format string, args ...any)) {
	if c.Memory != 0 && c.Memory < leastMemory {
		bad("memory", "%d is too little; want 134217728 or more, or 0 (automatic)", c.Memory)
	}
	if c.MemoryBytes != 0 && c.MemoryBytes < leastRequestBytes(c.FlushBytes) {
		bad("memory-bytes", "%d is below four times --flush-bytes (%d); raise it or lower --flush-bytes", c.MemoryBytes, c.FlushBytes)
	}
	if c.CacheBytes != 0 && c.CacheBytes < leastCacheBytes {
		bad("cache-bytes", "%d is too small; want 16777216 or more, or 0 (automatic)", c.CacheBytes)
	}
	if c.JobMemoryBytes != 0 && c.JobMemoryBytes < max(leastJobMemoryBytes, mergesInJobMemory*c.MergeBytes) {
		bad("job-memory-bytes", "%d is below four times --merge-bytes (%d), or below 16777216; raise it or lower --merge-bytes", c.JobMemoryBytes, c.MergeBytes)
	}
	if c.Memory > 0 && c.sizes() > c.Memory {
		bad("memory", "%d is less than --memory-bytes, --cache-bytes and --job-memory-bytes together (%d); raise it, or the limit of the cgroup, or lower them", c.Memory, c.sizes())
	}
}

// validateJobs says what is wrong with the settings of background work.
func (c Config) validateJobs(bad func(setting, format string, args ...any)) {
	roles := configs.SplitList(c.Roles)
	for _, role := range roles {
		if role != metadata.RoleProduce && role != metadata.RoleConsume && role != metadata.RoleJobs {
			bad("roles", "%q is unknown; want some of produce, consume, jobs", role)
		}
	}
	if len(roles) == 0 {
		bad("roles", "is empty; want some of produce, consume, jobs")
	}
	if c.MergeAfter < time.Second || c.MergeAfter > time.Hour {
		bad("merge-after", "%v is out of range; want 1s to 1h", c.MergeAfter)
	}
	if c.MergeBytes != 0 && (c.MergeBytes < 1<<20 || c.MergeBytes > 1<<30) {
		bad("merge-bytes", "%d is out of range; want 1048576 to 1073741824, or 0 (automatic)", c.MergeBytes)
	}
	if c.JobBandwidth < 0 || c.JobBandwidth > 0 && c.JobBandwidth < 64<<10 {
		bad("job-bandwidth", "%d is out of range; want 65536 or more bytes a second, or 0 for no limit", c.JobBandwidth)
	}
	if c.DeleteGrace <= 0 {
		bad("delete-grace", "%v takes objects away from under readers; want more than 0", c.DeleteGrace)
	}
	if c.OrphanInterval < time.Second {
		bad("orphan-interval", "%v is out of range; want 1s or more", c.OrphanInterval)
	}
	if c.SnapshotInterval < 0 {
		bad("snapshot-interval", "%v is negative; want a duration, or 0 for no snapshots", c.SnapshotInterval)
	}
}

// hasRole reports whether the agent does that.
func (c Config) hasRole(role string) bool { return slices.Contains(configs.SplitList(c.Roles), role) }

// wildcard reports whether the host stands for all addresses of a machine, so
// that no client can connect to it.
func wildcard(host string) bool { return host == "" || net.ParseIP(host).IsUnspecified() }

// splitHostPort parses host:port with a numeric port in 0..65535.
func splitHostPort(addr string) (host string, port int32, err error) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("port %q of %q is no number from 0 to 65535", p, addr)
	}
	return host, int32(n), nil
}
