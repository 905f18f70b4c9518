package compat

import (
	"os"
	"testing"

	"github.com/wadi-log/wadi/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// setup is one way to run what the clients talk to.
type setup struct {
	name   string
	about  string
	target string // wadi or kafka
	// start returns the bootstrap address.
	start func(t *testing.T) string
}

// setups are what we promise to work alike. Behind the balancer each connection
// reaches another agent, so that a group's members, and the requests of one
// member, are spread over all of them.
var setups = []setup{
	{"three agents", "three agents on Postgres and MinIO behind one address, a TCP load balancer", "wadi", func(t *testing.T) string {
		store, balancer := harness.MinIO(t), harness.NewBalancer(t)
		options := harness.AgentOptions{Metadata: harness.Postgres(t), Objects: store.MinioURL(),
			AccessKey: store.AccessKey, SecretKey: store.SecretKey, Flags: append(flags, "--advertise="+balancer.Address())}
		balancer.Start(harness.Agent(t, options), harness.Agent(t, options), harness.Agent(t, options))
		return balancer.Address()
	}},
	{"one agent", "one agent on SQLite and a folder", "wadi", func(t *testing.T) string {
		return harness.Agent(t, harness.AgentOptions{Flags: flags}).Bootstrap()
	}},
}

// flags make members that crash be missed soon, and give topics that are created
// automatically some partitions.
var flags = []string{
	"--kafka-config=num.partitions=4",
	"--kafka-config=group.initial.rebalance.delay.ms=0",
	"--kafka-config=group.consumer.min.session.timeout.ms=6000",
	"--kafka-config=group.consumer.session.timeout.ms=6000",
	"--kafka-config=group.consumer.min.heartbeat.interval.ms=1000",
	"--kafka-config=group.consumer.heartbeat.interval.ms=1000",
}

// chosenSetups are the setups, or a cluster that runs already where
// COMPAT_BOOTSTRAP names one: a Kafka, unless COMPAT_TARGET says otherwise.
func chosenSetups() []setup {
	bootstrap := os.Getenv("COMPAT_BOOTSTRAP")
	if bootstrap == "" {
		return setups
	}
	target := os.Getenv("COMPAT_TARGET")
	if target == "" {
		target = "kafka"
	}
	return []setup{{bootstrap, "the cluster at " + bootstrap, target, func(*testing.T) string { return bootstrap }}}
}
