package configs

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// ClientMetrics is a client metrics subscription (KIP-714), after defaults.
type ClientMetrics struct {
	// IntervalMs is the time between two reports of a client.
	IntervalMs int32
	// Metrics are prefixes of the names to report; "*" is all, none is none.
	Metrics []string
	// Match holds patterns by selector; a client is meant that matches all.
	Match map[string]*regexp.Regexp
}

// Selectors of client metrics subscriptions.
const (
	ClientInstanceID      = "client_instance_id"
	ClientID              = "client_id"
	ClientSoftwareName    = "client_software_name"
	ClientSoftwareVersion = "client_software_version"
	ClientSourceAddress   = "client_source_address"
	ClientSourcePort      = "client_source_port"
)

var selectors = []string{ClientInstanceID, ClientID, ClientSoftwareName, ClientSoftwareVersion, ClientSourceAddress, ClientSourcePort}

// Bounds of a subscription's interval, in ms.
const (
	minInterval = 100
	maxInterval = 3600000
)

// ParseClientMetrics returns what the configs of a subscription say. Errors:
// ErrInvalid, of which some are ErrInvalidRequest.
func ParseClientMetrics(subscription map[string]string) (ClientMetrics, error) {
	for _, name := range slices.Sorted(maps.Keys(subscription)) {
		d := clientMetricsByName[name]
		if d == nil {
			return ClientMetrics{}, invalidRequestf("Unknown client metrics configuration: %s", name)
		}
		if _, err := d.Parse(subscription[name]); err != nil {
			return ClientMetrics{}, invalid{err.Error()}
		}
	}
	v := values{definitions: clientMetricsByName, set: subscription}
	interval := v.int("interval.ms")
	if interval < minInterval || interval > maxInterval {
		return ClientMetrics{}, invalidRequestf("Invalid value %d for interval.ms, interval must be between %d and %d (1 hour)", interval, minInterval, maxInterval)
	}
	m := ClientMetrics{IntervalMs: int32(interval), Metrics: SplitList(v.string("metrics")), Match: map[string]*regexp.Regexp{}}
	for _, pattern := range SplitList(v.string("match")) {
		selector, expression, found := strings.Cut(pattern, "=")
		selector = strings.TrimSpace(selector)
		// Alone it must be one too: "a)|(b" is none, and becomes one in brackets.
		_, err := regexp.Compile(strings.TrimSpace(expression))
		if !found || !slices.Contains(selectors, selector) || err != nil {
			return ClientMetrics{}, invalidf("Illegal client matching pattern: %s", pattern)
		}
		whole, err := regexp.Compile(`^(?:` + strings.TrimSpace(expression) + `)$`)
		if err != nil {
			return ClientMetrics{}, invalidf("Illegal client matching pattern: %s", pattern)
		}
		m.Match[selector] = whole
	}
	return m, nil
}

// ClientMetricsDefinition returns the config of that name of a subscription, nil if there is none.
func ClientMetricsDefinition(name string) *Definition { return clientMetricsByName[name] }

var clientMetricsByName = byName(clientMetricsDefinitions)
