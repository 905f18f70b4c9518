package cluster

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/wadi-log/wadi/protocol"
)

// Network says in which zone the clients of a network are.
type Network struct {
	// Prefix is masked, and that of an IPv4 network is no mapped one.
	Prefix netip.Prefix
	Zone   string
}

// Zones tells in which zones clients are.
type Zones struct {
	networks  []Network // the longest prefix first
	listeners map[string]string
}

// NewZones makes it of the zones of networks, and of listeners by their names.
func NewZones(networks []Network, listeners map[string]string) Zones {
	networks = slices.Clone(networks)
	slices.SortFunc(networks, func(a, b Network) int { return cmp.Compare(b.Prefix.Bits(), a.Prefix.Bits()) })
	return Zones{networks, listeners}
}

// of returns the zone of a client, "" for none: what the client itself says, else what the longest
// prefix says that has its address, else what its listener says.
func (z Zones) of(client protocol.Client, h hints) string {
	if h.zone != "" {
		return h.zone
	}
	if len(z.networks) > 0 {
		if ip, err := netip.ParseAddr(client.Host); err == nil {
			ip = ip.Unmap().WithZone("")
			for _, n := range z.networks {
				if n.Prefix.Contains(ip) {
					return n.Zone
				}
			}
		}
	}
	return z.listeners[client.Listener]
}
