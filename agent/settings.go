package agent

import (
	"context"
	"slices"
	"strconv"

	"github.com/wadi-log/wadi/agent/dynamic"
	"github.com/wadi-log/wadi/agent/group"
	"github.com/wadi-log/wadi/agent/group/machine"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol/configs"
)

// loadSettings reads what is set over the wire. As in Kafka, a log level is none of
// what outlives a restart, unless it is that of other agents too.
func (a *Agent) loadSettings(ctx context.Context) error {
	self := func() int32 { return a.membership.Self().ConfigID() }
	a.settings = dynamic.New(a.store, a.broker, self, a.level, a.log)
	if err := a.settings.Load(ctx); err != nil {
		return err
	}
	logger := metadata.ConfigResource{Kind: metadata.BrokerLoggerConfig, Name: strconv.Itoa(int(self()))}
	shared := slices.ContainsFunc(a.membership.Alive(), func(other metadata.Agent) bool {
		return other.NodeID != a.membership.Self().NodeID && other.ConfigID() == self()
	})
	if shared || len(a.settings.Of(logger)) == 0 {
		return nil
	}
	return a.settings.Alter(ctx, logger, func(map[string]string) (map[string]string, error) { return nil, nil })
}

// groupSettings are the configs that act on groups.
type groupSettings struct{ *dynamic.Settings }

// Limits implements group.Settings.
func (s groupSettings) Limits(id string) machine.Limits {
	broker := s.Broker()
	limits := group.LimitsOf(*broker)
	if set := s.GroupConfig(id); len(set) > 0 {
		// What was allowed when it was set may not be by this agent's bounds: then
		// the defaults hold.
		if own, err := configs.ParseGroup(set, *broker); err == nil {
			group.Override(&limits, own)
		}
	}
	return limits
}

// Offsets implements group.Settings.
func (s groupSettings) Offsets() group.OffsetSettings { return group.OffsetSettingsOf(*s.Broker()) }

// ConsumerProtocol implements group.Settings.
func (s groupSettings) ConsumerProtocol() bool {
	return slices.Contains(s.Broker().GroupRebalanceProtocols, "consumer")
}
