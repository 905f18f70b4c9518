package peer

import (
	"encoding/binary"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/google/uuid"

	"github.com/wadi-log/wadi/agent/gather"
)

// lookEvery is how old the list of members may be.
const lookEvery = 500 * time.Millisecond

// Member is an agent of the zone that may own parts of files.
type Member struct {
	// NodeID is what owners are chosen by, so that all agents choose the same.
	NodeID int32
	// Address is the host:port of its [Server].
	Address string
}

// Members returns the agents of the zone, in any order, with this one, whose node ID is self, if it may
// own something. All agents of a zone should see the same; until they do, some parts are read
// more than once. It is called with locks held, and must not wait.
type Members func() (self int32, members []Member)

// Client finds the owners of parts of files.
type Client struct {
	members Members
	metrics *Metrics
	log     *slog.Logger
	http    *http.Client
	workers *gather.Workers

	mu     sync.Mutex
	looked time.Time
	// zone has the members, each with the peer for it: nil for this agent.
	zone map[Member]*Peer
}

// NewClient makes a client for the zone. Close ends its calls.
func NewClient(members Members, identity *Identity, metrics *Metrics, log *slog.Logger) *Client {
	dialer := &net.Dialer{Timeout: requestTimeout}
	transport := &http.Transport{
		DialContext: dialer.DialContext, TLSClientConfig: identity.client(), Protocols: http1(),
		TLSHandshakeTimeout: requestTimeout, IdleConnTimeout: idleTimeout - 10*time.Second, // before the server's
		MaxIdleConnsPerHost: 2 * callsAtOnce, MaxConnsPerHost: 4 * callsAtOnce,
		DisableCompression: true, ReadBufferSize: 64 << 10,
	}
	return &Client{
		members: members, metrics: metrics, log: log, http: &http.Client{Transport: transport},
		workers: gather.NewWorkers(), zone: map[Member]*Peer{},
	}
}

// Close ends the calls under way, after which nothing is answered.
func (c *Client) Close() {
	c.workers.Close()
	c.http.CloseIdleConnections()
}

// Owner returns the agent that reads a part of a file for the zone, nil for this one, also when
// nobody is known.
func (c *Client) Owner(file uuid.UUID, part int64) *Peer {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.looked) >= lookEvery {
		c.looked = now
		c.look()
	}
	var owner *Peer
	var best uint64
	chosen := int32(-1)
	for m, p := range c.zone {
		if d := draw(file, part, m.NodeID); chosen < 0 || d > best || d == best && m.NodeID < chosen {
			owner, best, chosen = p, d, m.NodeID
		}
	}
	return owner
}

// draw is an agent's number for a part of a file. The highest wins: so an agent that goes leaves its parts to all
// others evenly, and nothing else moves.
func draw(file uuid.UUID, part int64, nodeID int32) uint64 {
	var key [16 + 8 + 4]byte
	copy(key[:], file[:])
	binary.BigEndian.PutUint64(key[16:], uint64(part))
	binary.BigEndian.PutUint32(key[24:], uint32(nodeID))
	return xxhash.Sum64(key[:])
}

// look takes over who is in the zone; c.mu is held. Who stays keeps its peer, and with it what is known of its health.
func (c *Client) look() {
	self, members := c.members()
	zone := make(map[Member]*Peer, len(members))
	for _, m := range members {
		switch known, ok := c.zone[m]; {
		case m.NodeID == self:
			zone[m] = nil
		case ok && known != nil:
			zone[m] = known
		default:
			zone[m] = newPeer(c, m)
		}
	}
	c.zone = zone
}
