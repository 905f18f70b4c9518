package agent

import (
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/wadi-log/wadi/agent/peer"
	"github.com/wadi-log/wadi/metadata"
)

func TestWhoOwnsPartsOfFilesServesConsumersThere(t *testing.T) {
	good := metadata.Agent{NodeID: 1, Zone: "a", Peer: "agent-1:9093", State: metadata.Serving, Roles: []string{"produce", "consume"}}
	agents := []metadata.Agent{good}
	for i, spoil := range []func(*metadata.Agent){
		func(a *metadata.Agent) { a.Zone = "b" },
		func(a *metadata.Agent) { a.Peer = "" },
		func(a *metadata.Agent) { a.State = metadata.Draining },
		func(a *metadata.Agent) { a.State = metadata.Slow },
		func(a *metadata.Agent) { a.Roles = []string{"produce", "jobs"} },
	} {
		a := good
		a.NodeID = int32(2 + i)
		spoil(&a)
		agents = append(agents, a)
	}
	if got, want := owners("a", agents), []peer.Member{{NodeID: 1, Address: "agent-1:9093"}}; !slices.Equal(got, want) {
		t.Errorf("owners are %v, want %v", got, want)
	}
}

func TestOtherAgentsAreToldWhereToConnect(t *testing.T) {
	machine, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ listen, advertise, want string }{
		{"", "", ""},
		{"127.0.0.1:0", "", "127.0.0.1:PORT"},
		{"127.0.0.1:0", "agent-1.example.org:9093", "agent-1.example.org:9093"},
		{":0", "", machine + ":PORT"},
	} {
		config := DefaultConfig()
		config.PeerListen, config.PeerAdvertise = c.listen, c.advertise
		if err := config.Validate(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		var p peers
		want := c.want
		if c.listen != "" {
			ln, err := net.Listen("tcp", "127.0.0.1:0") // whatever is set: a test listens on loopback only
			if err != nil {
				t.Fatal(err)
			}
			p.listener = ln
			_, port, _ := net.SplitHostPort(ln.Addr().String())
			want = strings.ReplaceAll(want, "PORT", port)
		}
		if got := p.address(config); got != want {
			t.Errorf("%+v: other agents are told %q, want %q", c, got, want)
		}
		p.closeServer()
	}
}
