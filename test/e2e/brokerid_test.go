package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/test/harness"
)

// TestBrokerBehindABalancerKeepsItsID whichever agents are there, so that clients never take it for another broker: one of
// librdkafka works all the while. The broker can be configured by its ID, which means all agents.
func TestBrokerBehindABalancerKeepsItsID(t *testing.T) {
	options := setups[1].options(t)
	options.Flags = append(options.Flags, "--drain-delay=0s")
	fleet := startFleet(t, options, 3)
	bootstrap := fleet.balancer.Address()
	createTopic(t, bootstrap, "lines", 1)
	produced := producing(t) // which stops after kcat, that it may wait for
	lines := startKcat(t, bootstrap, "lines")
	produced.start(func(_ context.Context, i int) { lines.write(i) })
	admin := kadm.NewClient(client(t, kgo.SeedBrokers(bootstrap)))

	alive := slices.Clone(fleet.agents)
	check := func(what string) {
		t.Helper()
		harness.Eventually(t, time.Minute, func() error {
			for _, a := range alive {
				if known := len(agentStates(t, a)); known != len(alive) {
					return fmt.Errorf("%s: an agent knows %d agents, not %d", what, known, len(alive))
				}
			}
			return nil
		})
		for _, a := range alive {
			if id := brokerAt(t, a.Bootstrap(), bootstrap); id != 1 {
				t.Errorf("%s: an agent tells clients of broker %d, not 1", what, id)
			}
		}
		if listed := string(run(t, kcat(t), "-L", "-b", bootstrap)); !strings.Contains(listed, "\n 1 brokers:\n  broker 1 at "+bootstrap+" (controller)\n") {
			t.Errorf("%s: kcat is told:\n%s", what, listed)
		}
		read := lines.read.Load()
		eventually(t, what+": kcat goes on", func() bool { lines.alive(); return lines.read.Load() > read+5 })
	}
	check("all are there")
	first, second, third := alive[0], alive[1], alive[2]
	first.Kill()
	alive = alive[1:]
	check("the first was killed")
	configure(t, admin, alive)
	second.Stop()
	alive = alive[1:]
	check("the second has stopped")
	third.Stop()
	first.Restart()
	alive = []*harness.AgentProcess{first}
	check("the first is back, and alone")
	third.Restart()
	second.Restart()
	alive = fleet.agents
	check("all are back")

	produced.stop()
	lines.finish()
}

// brokerAt asks one agent for the ID of the broker that it tells clients of, which is at the address and alone.
func brokerAt(t *testing.T, agent, address string) int32 {
	t.Helper()
	resp, err := client(t, kgo.SeedBrokers(agent)).SeedBrokers()[0].RetriableRequest(t.Context(), kmsg.NewPtrMetadataRequest())
	if err != nil {
		t.Fatal(err)
	}
	m := resp.(*kmsg.MetadataResponse)
	if len(m.Brokers) != 1 || fmt.Sprintf("%s:%d", m.Brokers[0].Host, m.Brokers[0].Port) != address || m.ControllerID != m.Brokers[0].NodeID {
		t.Fatalf("the agent at %s tells of brokers %+v, controller %d", agent, m.Brokers, m.ControllerID)
	}
	return m.Brokers[0].NodeID
}

// configure sets a config of broker 1, of which the agent with that node ID is gone, and takes it back.
func configure(t *testing.T, admin *kadm.Client, agents []*harness.AgentProcess) {
	t.Helper()
	const name, value = "message.max.bytes", "12345"
	alter := func(how kadm.AlterConfig) {
		t.Helper()
		altered, err := admin.AlterBrokerConfigs(t.Context(), []kadm.AlterConfig{how}, 1)
		if err != nil || altered[0].Err != nil {
			t.Fatalf("alter broker 1: %v, %+v", err, altered)
		}
	}
	alter(kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: kadm.StringPtr(value)})
	described, err := admin.DescribeBrokerConfigs(t.Context(), 1)
	if err != nil || described[0].Err != nil {
		t.Fatalf("describe broker 1: %v, %+v", err, described)
	}
	if i := slices.IndexFunc(described[0].Configs, func(c kadm.Config) bool { return c.Key == name }); described[0].Configs[i].MaybeValue() != value {
		t.Errorf("%s of broker 1 is %s", name, described[0].Configs[i].MaybeValue())
	}
	for _, a := range agents {
		eventually(t, "each agent works by what is set on the broker", func() bool { return maxMessageBytes(t, a) == value })
	}
	alter(kadm.AlterConfig{Op: kadm.DeleteConfig, Name: name})
}

// maxMessageBytes is what just this agent takes for a topic's default.
func maxMessageBytes(t *testing.T, agent *harness.AgentProcess) string {
	t.Helper()
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "lines", ConfigNames: []string{"max.message.bytes"}}}
	resp, err := client(t, kgo.SeedBrokers(agent.Bootstrap())).SeedBrokers()[0].RetriableRequest(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	configs := resp.(*kmsg.DescribeConfigsResponse).Resources[0].Configs
	if len(configs) != 1 || configs[0].Value == nil {
		t.Fatalf("%+v", resp)
	}
	return *configs[0].Value
}
