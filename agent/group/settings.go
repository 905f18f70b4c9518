package group

import (
	"slices"
	"time"

	"github.com/wadi-log/wadi/agent/group/machine"
	"github.com/wadi-log/wadi/protocol/configs"
)

// LimitsOf returns what the broker's configs allow a group.
func LimitsOf(broker configs.Broker) machine.Limits {
	return machine.Limits{
		MinSessionTimeout:         milliseconds(broker.GroupMinSessionTimeoutMs),
		MaxSessionTimeout:         milliseconds(broker.GroupMaxSessionTimeoutMs),
		InitialRebalanceDelay:     milliseconds(broker.GroupInitialRebalanceDelayMs),
		MaxSize:                   int(broker.GroupMaxSize),
		MaxMetadataBytes:          int(broker.GroupMaxMetadataBytes),
		ConsumerSessionTimeout:    milliseconds(broker.GroupConsumerSessionTimeoutMs),
		ConsumerHeartbeatInterval: milliseconds(broker.GroupConsumerHeartbeatIntervalMs),
		ConsumerMaxSize:           int(broker.GroupConsumerMaxSize),
		ConsumerAssignors:         broker.GroupConsumerAssignors,
		MayUpgrade:                slices.Contains([]string{"upgrade", "bidirectional"}, broker.GroupConsumerMigrationPolicy),
		MayDowngrade:              slices.Contains([]string{"downgrade", "bidirectional"}, broker.GroupConsumerMigrationPolicy),
	}
}

// Override puts what is set on one group in place of the broker's defaults.
func Override(limits *machine.Limits, group configs.Group) {
	limits.ConsumerSessionTimeout = milliseconds(group.ConsumerSessionTimeoutMs)
	limits.ConsumerHeartbeatInterval = milliseconds(group.ConsumerHeartbeatIntervalMs)
}

// OffsetSettingsOf returns the configs of committed offsets.
func OffsetSettingsOf(broker configs.Broker) OffsetSettings {
	return OffsetSettings{
		MaxMetadataBytes: int(broker.OffsetMetadataMaxBytes),
		Retention:        time.Duration(broker.OffsetsRetentionMinutes) * time.Minute,
		CheckInterval:    milliseconds(broker.OffsetsRetentionCheckIntervalMs),
	}
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
