package streams

import (
	"os"
	"testing"

	"github.com/wadi-log/wadi/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// cluster is what the application runs on. The agents are there to be killed.
type cluster struct {
	bootstrap string
	agents    []*harness.AgentProcess
}

// setup is one way to run what the application talks to.
type setup struct {
	name  string
	start func(t *testing.T) cluster
}

var setups = []setup{
	{"three agents", func(t *testing.T) cluster {
		store, balancer := harness.MinIO(t), harness.NewBalancer(t)
		options := harness.AgentOptions{Metadata: harness.Postgres(t), Objects: store.MinioURL(),
			AccessKey: store.AccessKey, SecretKey: store.SecretKey, Flags: []string{"--advertise=" + balancer.Address()}}
		agents := []*harness.AgentProcess{harness.Agent(t, options), harness.Agent(t, options), harness.Agent(t, options)}
		balancer.Start(agents...)
		return cluster{balancer.Address(), agents}
	}},
	{"one agent", func(t *testing.T) cluster {
		agent := harness.Agent(t, harness.AgentOptions{})
		return cluster{agent.Bootstrap(), []*harness.AgentProcess{agent}}
	}},
}

// chosenSetups are the setups, or a cluster that runs already where COMPAT_BOOTSTRAP
// names one.
func chosenSetups() []setup {
	bootstrap := os.Getenv("COMPAT_BOOTSTRAP")
	if bootstrap == "" {
		return setups
	}
	return []setup{{bootstrap, func(*testing.T) cluster { return cluster{bootstrap: bootstrap} }}}
}
