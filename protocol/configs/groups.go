package configs

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Group is what the configs of a consumer group say, after defaults. Times are in ms.
type Group struct {
	ConsumerSessionTimeoutMs    int64
	ConsumerHeartbeatIntervalMs int64
}

// ParseGroup returns what the configs of a group say, with the broker's settings
// as defaults and bounds. Errors: ErrInvalid.
func ParseGroup(group map[string]string, broker Broker) (Group, error) {
	for _, name := range slices.Sorted(maps.Keys(group)) {
		d := groupByName[name]
		if d == nil {
			return Group{}, invalidf("Unknown group config name: %s", name)
		}
		if _, err := d.Parse(group[name]); err != nil {
			return Group{}, invalid{err.Error()}
		}
	}
	v := values{definitions: groupByName, set: group, broker: broker}
	bounds := values{definitions: brokerByName, set: broker.settings}
	for _, c := range []struct{ name, low, high string }{
		{"consumer.heartbeat.interval.ms", "group.consumer.min.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"},
		{"consumer.session.timeout.ms", "group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms"},
	} {
		if v.int(c.name) < bounds.int(c.low) {
			return Group{}, invalidf("%s must be greater than or equal to %s", c.name, c.low)
		}
		if v.int(c.name) > bounds.int(c.high) {
			return Group{}, invalidf("%s must be less than or equal to %s", c.name, c.high)
		}
	}
	for _, kind := range []string{"consumer", "share", "streams"} {
		session, heartbeat := kind+".session.timeout.ms", kind+".heartbeat.interval.ms"
		if v.int(session) <= v.int(heartbeat) {
			return Group{}, invalidf("%s must be greater than %s", session, heartbeat)
		}
	}
	return Group{
		ConsumerSessionTimeoutMs:    v.int("consumer.session.timeout.ms"),
		ConsumerHeartbeatIntervalMs: v.int("consumer.heartbeat.interval.ms"),
	}, nil
}

// GroupDefinition returns the group config of that name, nil if there is none.
func GroupDefinition(name string) *Definition { return groupByName[name] }

var groupByName = byName(groupDefinitions)

// checkGroupBounds compares the settings of groups with each other, as Kafka
// does when a broker starts, but for the bounds of classic groups: Kafka takes
// those as they are and then lets no member join.
func checkGroupBounds(v values) error {
	for _, c := range []struct{ low, high string }{
		{groupMinSessionTimeoutMs, groupMaxSessionTimeoutMs},
		{"group.consumer.min.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"},
		{"group.consumer.min.heartbeat.interval.ms", groupConsumerHeartbeatIntervalMs},
		{groupConsumerHeartbeatIntervalMs, "group.consumer.max.heartbeat.interval.ms"},
		{"group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms"},
		{"group.consumer.min.session.timeout.ms", groupConsumerSessionTimeoutMs},
		{groupConsumerSessionTimeoutMs, "group.consumer.max.session.timeout.ms"},
	} {
		if low, high := v.int(c.low), v.int(c.high); low > high {
			return invalidf("%s (%d) must be greater than or equal to %s (%d)", c.high, high, c.low, low)
		}
	}
	if beat, session := v.int(groupConsumerHeartbeatIntervalMs), v.int(groupConsumerSessionTimeoutMs); beat >= session {
		return invalidf("%s (%d) must be less than %s (%d)", groupConsumerHeartbeatIntervalMs, beat, groupConsumerSessionTimeoutMs, session)
	}
	return nil
}

// offsetReset accepts where a share group may start (KIP-932, KIP-1106).
func offsetReset(value string) string {
	duration, byDuration := strings.CutPrefix(value, "by_duration:")
	if value == "earliest" || value == "latest" || byDuration && isoDuration.MatchString(duration) && strings.ContainsAny(duration, "DHMS") {
		return ""
	}
	return "The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'."
}

// isoDuration is Java's notation of a duration; it matches "P" too.
var isoDuration = regexp.MustCompile(`^P(\d+D)?(T(\d+H)?(\d+M)?(\d+(\.\d{1,9})?S)?)?$`)
