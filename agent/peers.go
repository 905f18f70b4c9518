package agent

import (
	"context"
	"fmt"
	"net"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-log/wadi/agent/fetch"
	"github.com/wadi-log/wadi/agent/peer"
	"github.com/wadi-log/wadi/metadata"
)

// peers is what an agent has of the zone's cache: it answers other agents, and asks them.
// All of it is nil without --peer-listen.
type peers struct {
	listener net.Listener
	server   *peer.Server
	client   *peer.Client
}

// validatePeers says what is wrong with the settings of the zone's cache.
func (c Config) validatePeers(bad func(setting, format string, args ...any)) {
	if c.PeerListen != "" {
		if _, _, err := splitHostPort(c.PeerListen); err != nil {
			bad("peer-listen", "%v; want host:port, as in 10.0.0.1:9093", err)
		}
	}
	if c.PeerAdvertise == "" {
		return
	}
	host, port, err := splitHostPort(c.PeerAdvertise)
	switch {
	case err != nil:
		bad("peer-advertise", "%v; want host:port, as in 10.0.0.1:9093", err)
	case wildcard(host) || port == 0:
		bad("peer-advertise", "%q is no address that an agent can connect to; name a host and a port", c.PeerAdvertise)
	case c.PeerListen == "":
		bad("peer-advertise", "is set without --peer-listen, so nobody would answer there; set both or neither")
	}
}

// listen opens the socket for other agents, if the config wants one.
func (p *peers) listen(ctx context.Context, config Config) (err error) {
	if config.PeerListen == "" {
		return nil
	}
	var sockets net.ListenConfig
	if p.listener, err = sockets.Listen(ctx, "tcp", config.PeerListen); err != nil {
		return fmt.Errorf("--peer-listen: %w; choose another address, or stop what holds it", err)
	}
	return nil
}

// address is what other agents are told to connect to, "" for nothing.
func (p *peers) address(config Config) string {
	switch {
	case p.listener == nil:
		return ""
	case config.PeerAdvertise != "":
		return config.PeerAdvertise
	}
	host, _, err := splitHostPort(config.PeerListen)
	if err != nil {
		return "" // Validate has seen it
	}
	return advertise(metadata.Listener{Host: host}, p.listener).Address()
}

// buildBlocks makes the block cache, and ties it to those of the other agents of the zone.
func (a *Agent) buildBlocks(ctx context.Context, config fetch.BlocksConfig, metrics *fetch.Metrics, reg *prometheus.Registry) error {
	if a.peers.listener == nil {
		a.blocks = fetch.NewBlocks(a.bucket, nil, config, metrics)
		return nil
	}
	secret, err := a.store.ClusterSecret(ctx)
	if err != nil {
		return err
	}
	identity, err := peer.NewIdentity(secret)
	if err != nil {
		return err
	}
	peerMetrics := peer.NewMetrics(reg)
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "wadi_peer_agents", Help: "Agents of the zone that read from the object store for one another, as this one knows.",
	}, func() float64 {
		_, members := a.zoneMembers()
		return float64(len(members))
	}))
	a.peers.client = peer.NewClient(a.zoneMembers, identity, peerMetrics, a.log)
	a.blocks = fetch.NewBlocks(a.bucket, zone{a.peers.client}, config, metrics)
	a.peers.server = peer.NewServer(a.readForPeer, config.PeerBytes, identity, peerMetrics, a.log)
	return nil
}

// zoneMembers are the agents that read for this one's zone.
func (a *Agent) zoneMembers() (self int32, members []peer.Member) {
	me := a.membership.Self()
	return me.NodeID, owners(me.Zone, a.membership.Alive())
}

// owners are those of the agents that read for a zone: who serves consumers there. Who is about to
// leave, or has a slow store, reads for nobody else.
func owners(zone string, agents []metadata.Agent) (members []peer.Member) {
	for _, a := range agents {
		if a.Zone == zone && a.Peer != "" && a.State == metadata.Serving && a.HasRole(metadata.RoleConsume) {
			members = append(members, peer.Member{NodeID: a.NodeID, Address: a.Peer})
		}
	}
	return members
}

// readForPeer reads for another agent of the zone.
func (a *Agent) readForPeer(ctx context.Context, file uuid.UUID, position, length int64, hot bool) ([][]byte, error) {
	pool := fetch.PeerCold
	if hot {
		pool = fetch.PeerHot
	}
	return a.blocks.ReadForPeer(ctx, file, position, length, pool)
}

// zone gives the block cache the owners that the client knows.
type zone struct{ client *peer.Client }

func (z zone) Owner(file uuid.UUID, part int64) fetch.Source {
	if owner := z.client.Owner(file, part); owner != nil {
		return owner
	}
	return nil // a nil *peer.Peer would not be a nil Source
}

// closeServer ends what other agents asked.
func (p *peers) closeServer() {
	if p.server != nil {
		p.server.Close()
	}
	if p.listener != nil {
		_ = p.listener.Close() // closed already after it served
	}
}

// closeClient ends what was asked of other agents, after the block cache was closed.
func (p *peers) closeClient() {
	if p.client != nil {
		p.client.Close()
	}
}
