package metadata

import "context"

// ConfigKind says what a [ConfigResource] is, by Kafka's number of the resource type.
type ConfigKind int8

// Topics have their configs in [Topic].
const (
	BrokerConfig        ConfigKind = 4
	BrokerLoggerConfig  ConfigKind = 8
	ClientMetricsConfig ConfigKind = 16
	GroupConfig         ConfigKind = 32
	// FeatureConfig has one resource, without a name: the levels of Kafka's features
	// (KIP-584). It is none of Kafka's resources, whose numbers are larger.
	FeatureConfig ConfigKind = 1
)

// MaxConfigName is the longest name of a ConfigResource, in bytes.
const MaxConfigName = 1024

// ConfigResource is what configs are set on, other than a topic.
type ConfigResource struct {
	Kind ConfigKind
	// Name is a node ID, or empty for all brokers; a group ID; the name of a
	// client metrics subscription. Any bytes, at most MaxConfigName.
	Name string
}

// ConfigEdit derives the configs of a resource from those that are set on it
// now, in a map that is its to change and to return. It runs under the lock that orders
// all changes, so of two edits at the same time none is lost. It does no I/O and
// may be called more than once. With an error nothing changes, and the change
// fails with that error wrapped.
type ConfigEdit func(now map[string]string) (map[string]string, error)

// Configs keeps what was set over the wire on brokers, groups and client metrics
// subscriptions, and the levels of features. A change takes a commit sequence number and shows in [Feed]. Values are UTF-8
// without NUL.
type Configs interface {
	// ListConfigs returns all resources on which something is set, and the number of
	// the last commit that they reflect.
	ListConfigs(ctx context.Context) (set map[ConfigResource]map[string]string, seq int64, err error)
	// ConfigsOf is ListConfigs for some resources.
	ConfigsOf(ctx context.Context, resources []ConfigResource) (set map[ConfigResource]map[string]string, seq int64, err error)
	// AlterConfigs changes one resource and returns what is set on it then, and the
	// number of a commit that this reflects. An edit that changes nothing makes no
	// commit. Errors: the edit's, ErrUnavailable (nothing happened), ErrOutcomeUnknown.
	AlterConfigs(ctx context.Context, resource ConfigResource, edit ConfigEdit) (set map[string]string, seq int64, err error)
}
