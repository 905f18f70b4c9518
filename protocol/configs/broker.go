package configs

import (
	"fmt"
	"maps"
	"slices"
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
	// MaxPartitionsPerTopic also bounds the partitions that one request creates.
	MaxPartitionsPerTopic int32
	// MaxRequestPartitions bounds an answer of DescribeTopicPartitions.
	MaxRequestPartitions   int32
	ProducerIDExpirationMs int64

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

	// settings are what was set, canonical, never changed.
	settings map[string]string
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
	set := make(map[string]string, len(settings))
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
		set[name] = value
	}
	v := values{definitions: brokerByName, set: set}
	b := Broker{
		NumPartitions:            int32(v.int(numPartitions)),
		DefaultReplicationFactor: int16(v.int(defaultReplicationFactor)),
		AutoCreateTopics:         v.string(autoCreateTopicsEnable) == "true",
		DeleteTopicEnable:        v.string(deleteTopicEnable) == "true",
		MessageMaxBytes:          int32(v.int(messageMaxBytes)),
		FetchMaxBytes:            int32(v.int(fetchMaxBytes)),
		ConnectionsMaxIdleMs:     v.int(connectionsMaxIdleMs),
		MaxPartitionsPerTopic:    int32(v.int(MaxPartitionsPerTopic)),
		MaxRequestPartitions:     int32(v.int(maxRequestPartitionSize)),
		ProducerIDExpirationMs:   v.int(producerIDExpirationMs),

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

		settings: set,
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
