package configs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Broker is an agent's settings in Kafka's vocabulary, after defaults.
type Broker struct {
	NumPartitions int32
	// DefaultReplicationFactor is shown only; there are no replicas.
	DefaultReplicationFactor int16
	AutoCreateTopics         bool
	DeleteTopicEnable        bool
	MessageMaxBytes          int32
	FetchMaxBytes            int32
	// ConnectionsMaxIdleMs is 0 or less for no limit.
	ConnectionsMaxIdleMs int64
	// MaxConnectionsPerIP bounds the open connections from one address.
	MaxConnectionsPerIP int32
	// QueuedMaxRequests bounds the requests under way that came behind another one of their connection.
	QueuedMaxRequests int32
	// MaxPartitionsPerTopic also bounds the partitions that one request creates.
	MaxPartitionsPerTopic int32
	// MaxRequestPartitions bounds an answer of DescribeTopicPartitions.
	MaxRequestPartitions   int32
	ProducerIDExpirationMs int64
	// JobsPaused are the names of jobs that are not to run, or "all".
	JobsPaused []string
	// RetentionCheckIntervalMs is how often retention is looked after.
	RetentionCheckIntervalMs int64
	// CleanerBackoffMs is how often partitions to compact are looked for.
	CleanerBackoffMs int64
	// TelemetryMaxBytes bounds what a client may push of its metrics at once.
	TelemetryMaxBytes int32

	// Classic groups: group.min.session.timeout.ms and its like.
	GroupMinSessionTimeoutMs     int64
	GroupMaxSessionTimeoutMs     int64
	GroupInitialRebalanceDelayMs int64
	GroupMaxSize                 int32
	// GroupMaxMetadataBytes bounds what one member may store in its group.
	GroupMaxMetadataBytes int32

	// Consumer groups (KIP-848): group.consumer.session.timeout.ms and its like.
	// Timeout and interval are the defaults of groups that set none.
	GroupConsumerSessionTimeoutMs    int64
	GroupConsumerHeartbeatIntervalMs int64
	GroupConsumerMaxSize             int32
	// GroupConsumerAssignors has at least one element; the first is for members that name none.
	GroupConsumerAssignors []string
	// GroupRebalanceProtocols are those that are enabled: classic, consumer.
	GroupRebalanceProtocols []string
	// GroupConsumerMigrationPolicy is disabled, upgrade, downgrade or bidirectional.
	GroupConsumerMigrationPolicy string

	OffsetMetadataMaxBytes          int32
	OffsetsRetentionMinutes         int64
	OffsetsRetentionCheckIntervalMs int64

	// Transactions: the longest timeout that a producer may ask for, how often timed
	// out transactions are looked for, how long a transactional ID is kept unused, and
	// how often such are looked for.
	TransactionMaxTimeoutMs         int64
	TransactionAbortIntervalMs      int64
	TransactionalIDExpirationMs     int64
	TransactionalIDExpireIntervalMs int64

	// What was set, canonical, never changed: on the agent, over the wire for all
	// brokers and for this one; settings is all three together.
	static, defaults, own, settings map[string]string
}

// DefaultBroker is a broker on which nothing was set.
func DefaultBroker() Broker {
	b, err := ParseBroker(nil)
	if err != nil {
		panic(err) // the defaults of the tables are valid; a test says so
	}
	return b
}

// ValidateBroker checks the settings of an agent. Errors: ErrInvalid.
func ValidateBroker(settings map[string]string) error {
	_, err := ParseBroker(settings)
	return err
}

// ParseBroker returns what the settings of an agent say, after defaults.
// Errors: ErrInvalid, also for a config that only reports what the agent is.
func ParseBroker(settings map[string]string) (Broker, error) {
	static := make(map[string]string, len(settings))
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		d := brokerByName[name]
		switch {
		case d == nil:
			return Broker{}, invalidf("Unknown broker config name: %s", name)
		case !d.Settable:
			return Broker{}, invalidf("Broker config %s can't be set; it reports what the agent's own settings say", name)
		}
		value, err := d.Parse(settings[name])
		if err != nil {
			return Broker{}, invalid{err.Error()}
		}
		static[name] = value
	}
	return newBroker(static, nil, nil)
}

// With returns the broker with what was set over the wire in place of what was:
// for all brokers, and for this one, which goes before. Errors: ErrInvalid, also for a
// config that is not dynamic.
func (b Broker) With(defaults, own map[string]string) (Broker, error) {
	defaults, err := parseDynamic(defaults)
	if err != nil {
		return Broker{}, err
	}
	if own, err = parseDynamic(own); err != nil {
		return Broker{}, err
	}
	return newBroker(b.static, defaults, own)
}

// Equal tells whether the same was set.
func (b Broker) Equal(other Broker) bool {
	return maps.Equal(b.static, other.static) && maps.Equal(b.defaults, other.defaults) && maps.Equal(b.own, other.own)
}

func parseDynamic(settings map[string]string) (map[string]string, error) {
	set := make(map[string]string, len(settings))
	var fixed []string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		d := brokerByName[name]
		switch {
		case d == nil:
			return nil, invalidf("Unknown broker config name: %s", name)
		case !d.Dynamic:
			fixed = append(fixed, name)
			continue
		}
		value, err := d.Parse(settings[name])
		if err != nil {
			return nil, invalid{err.Error()}
		}
		set[name] = value
	}
	if len(fixed) > 0 {
		return nil, invalidf("Cannot update these configs dynamically: %s", strings.Join(fixed, ", "))
	}
	return set, nil
}

// newBroker merges what was set, the more particular first, and reads it.
func newBroker(static, defaults, own map[string]string) (Broker, error) {
	set := maps.Clone(static)
	maps.Copy(set, defaults)
	maps.Copy(set, own)
	v := values{definitions: brokerByName, set: set}
	b := Broker{
		NumPartitions:            int32(v.int(numPartitions)),
		DefaultReplicationFactor: int16(v.int(defaultReplicationFactor)),
		AutoCreateTopics:         v.string(autoCreateTopicsEnable) == "true",
		DeleteTopicEnable:        v.string(deleteTopicEnable) == "true",
		MessageMaxBytes:          int32(v.int(messageMaxBytes)),
		FetchMaxBytes:            int32(v.int(fetchMaxBytes)),
		ConnectionsMaxIdleMs:     v.int(connectionsMaxIdleMs),
		MaxConnectionsPerIP:      int32(v.int(maxConnectionsPerIP)),
		QueuedMaxRequests:        int32(v.int(queuedMaxRequests)),
		MaxPartitionsPerTopic:    int32(v.int(MaxPartitionsPerTopic)),
		MaxRequestPartitions:     int32(v.int(maxRequestPartitionSize)),
		ProducerIDExpirationMs:   v.int(producerIDExpirationMs),
		JobsPaused:               SplitList(v.string(JobsPaused)),
		RetentionCheckIntervalMs: v.int(retentionCheckIntervalMs),
		CleanerBackoffMs:         v.int(cleanerBackoffMs),
		TelemetryMaxBytes:        int32(v.int(telemetryMaxBytes)),

		GroupMinSessionTimeoutMs:     v.int(groupMinSessionTimeoutMs),
		GroupMaxSessionTimeoutMs:     v.int(groupMaxSessionTimeoutMs),
		GroupInitialRebalanceDelayMs: v.int(groupInitialRebalanceDelayMs),
		GroupMaxSize:                 int32(v.int(groupMaxSize)),
		GroupMaxMetadataBytes:        int32(v.int(groupMaxMetadataBytes)),

		GroupConsumerSessionTimeoutMs:    v.int(groupConsumerSessionTimeoutMs),
		GroupConsumerHeartbeatIntervalMs: v.int(groupConsumerHeartbeatIntervalMs),
		GroupConsumerMaxSize:             int32(v.int(groupConsumerMaxSize)),
		GroupConsumerAssignors:           SplitList(v.string(groupConsumerAssignors)),
		GroupConsumerMigrationPolicy:     v.string(groupConsumerMigrationPolicy),
		GroupRebalanceProtocols:          SplitList(v.string(groupRebalanceProtocols)),

		OffsetMetadataMaxBytes:          int32(v.int(offsetMetadataMaxBytes)),
		OffsetsRetentionMinutes:         v.int(offsetsRetentionMinutes),
		OffsetsRetentionCheckIntervalMs: v.int(offsetsRetentionCheckIntervalMs),

		TransactionMaxTimeoutMs:         v.int(transactionMaxTimeoutMs),
		TransactionAbortIntervalMs:      v.int(transactionAbortIntervalMs),
		TransactionalIDExpirationMs:     v.int(transactionalIDExpirationMs),
		TransactionalIDExpireIntervalMs: v.int(transactionalIDExpireIntervalMs),

		static: static, defaults: defaults, own: own, settings: set,
	}
	if b.NumPartitions > b.MaxPartitionsPerTopic {
		return Broker{}, invalidf("%s is %d, above %s (%d)", numPartitions, b.NumPartitions, MaxPartitionsPerTopic, b.MaxPartitionsPerTopic)
	}
	if err := checkGroupBounds(v); err != nil {
		return Broker{}, err
	}
	if _, err := ParseTopic(nil, b); err != nil {
		return Broker{}, fmt.Errorf("as the defaults of topics: %w", err)
	}
	return b, nil
}
