package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/wadi-log/wadi/agent/cluster"
	"github.com/wadi-log/wadi/metadata"
)

// kafkaListener is an open listener for Kafka clients.
type kafkaListener struct {
	net.Listener
	// advertised is the listener's name, and where its clients are told to connect to.
	advertised metadata.Listener
}

// String is Kafka's form of where it listens.
func (l kafkaListener) String() string {
	return l.advertised.Name + "://" + l.Addr().String()
}

// listenKafka opens a listener for each of --kafka-listen, in their order.
func (c Config) listenKafka(ctx context.Context) (open []kafkaListener, err error) {
	listeners, err := parseListeners(c.KafkaListen)
	if err != nil {
		return nil, fmt.Errorf("--kafka-listen: %w", err)
	}
	advertised, err := parseListeners(c.Advertise)
	if err != nil && c.Advertise != "" {
		return nil, fmt.Errorf("--advertise: %w", err)
	}
	defer func() {
		if err != nil {
			for _, l := range open {
				_ = l.Close() // nobody has connected yet
			}
		}
	}()
	var sockets net.ListenConfig
	for _, l := range listeners {
		ln, err := sockets.Listen(ctx, "tcp", l.Address())
		if err != nil {
			return open, fmt.Errorf("--kafka-listen: %w; choose another address, or stop what holds it", err)
		}
		shown := advertise(l, ln)
		if i := slices.IndexFunc(advertised, hasName(l.Name)); i >= 0 {
			shown = advertised[i]
		}
		open = append(open, kafkaListener{ln, shown})
	}
	return open, nil
}

// hasName finds the listener of the name.
func hasName(name string) func(metadata.Listener) bool {
	return func(l metadata.Listener) bool { return l.Name == name }
}

// advertise is where clients are told to connect to when nothing else is set, given the listener as it
// is set and as it was opened.
func advertise(l metadata.Listener, open net.Listener) metadata.Listener {
	l.Port = int32(open.Addr().(*net.TCPAddr).Port)
	if wildcard(l.Host) {
		l.Host = "localhost"
		// Who listens everywhere has clients elsewhere, which know this machine by its name.
		if name, err := os.Hostname(); err == nil {
			l.Host = name
		}
	}
	return l
}

// listenerName is what Kafka allows, and what fits its lists.
var listenerName = regexp.MustCompile(`^[A-Z0-9_.-]{1,100}$`)

// secured are names that promise of a listener in Kafka what none has here.
var secured = []string{"SSL", "SASL_PLAINTEXT", "SASL_SSL"}

// parseListeners reads listeners in Kafka's form, separated by commas: NAME://host:port, or host:port for
// the one named PLAINTEXT. Names are in upper case, as Kafka has them. Each is there once; there is at least one.
func parseListeners(list string) ([]metadata.Listener, error) {
	var all []metadata.Listener
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		name, address, named := strings.Cut(item, "://")
		if !named {
			name, address = metadata.DefaultListener, item
		}
		name = strings.ToUpper(name)
		host, port, err := splitHostPort(address)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%w; want host:port, as in localhost:9092, or NAME://host:port", err)
		case slices.Contains(secured, name):
			return nil, fmt.Errorf("%s is Kafka's name of listeners with TLS or SASL, which there are none of; choose another", name)
		case !listenerName.MatchString(name):
			return nil, fmt.Errorf("%q is no name of a listener; want letters, digits, _, . and -, as in EXTERNAL://%s", name, address)
		case slices.ContainsFunc(all, hasName(name)):
			return nil, fmt.Errorf("two listeners are named %s; give each a name, as in INTERNAL://localhost:9092,EXTERNAL://localhost:9093", name)
		}
		all = append(all, metadata.Listener{Name: name, Host: host, Port: port})
	}
	return all, nil
}

// validateListeners says what is wrong with where clients come from, and what they are told.
func (c Config) validateListeners(bad func(setting, format string, args ...any)) {
	listened, unread := parseListeners(c.KafkaListen)
	if unread != nil {
		bad("kafka-listen", "%v", unread)
	}
	unknown := func(name string) bool { // as far as one can tell
		return unread == nil && !slices.ContainsFunc(listened, hasName(name))
	}
	if c.Advertise != "" {
		advertised, err := parseListeners(c.Advertise)
		if err != nil {
			bad("advertise", "%v", err)
		}
		for _, l := range advertised {
			switch {
			case wildcard(l.Host) || l.Port == 0:
				bad("advertise", "%q is no address that a client can connect to; name a host and a port", l.Address())
			case unknown(l.Name):
				bad("advertise", "no listener of --kafka-listen is named %s; name one of those, as in NAME://%s", l.Name, l.Address())
			}
		}
	}
	if c.Zone != "" {
		if err := checkZone(c.Zone); err != nil {
			bad("zone", "%v", err)
		}
	}
	if _, err := parseZoneCIDR(c.ZoneCIDR); err != nil {
		bad("zone-cidr", "%v", err)
	}
	zones, err := parseZoneListener(c.ZoneListener)
	if err != nil {
		bad("zone-listener", "%v", err)
	}
	for name := range zones {
		if unknown(name) {
			bad("zone-listener", "no listener of --kafka-listen is named %s", name)
		}
	}
}

// zones are those of clients, as far as the operator sets them.
func (c Config) zones() (cluster.Zones, error) {
	networks, cidrs := parseZoneCIDR(c.ZoneCIDR)
	listeners, names := parseZoneListener(c.ZoneListener)
	return cluster.NewZones(networks, listeners), errors.Join(cidrs, names)
}

// parseZoneCIDR reads ZONE=CIDR, separated by commas. A network has one zone, a zone any number of
// networks. An address stands for itself alone.
func parseZoneCIDR(list string) ([]cluster.Network, error) {
	var all []cluster.Network
	for item := range splitItems(list) {
		zone, cidr, ok := strings.Cut(item, "=")
		if !ok {
			return nil, fmt.Errorf("%q is no network of a zone; want ZONE=CIDR, as in a=10.0.1.0/24", item)
		}
		if err := checkZone(zone); err != nil {
			return nil, err
		}
		prefix, err := parsePrefix(cidr)
		if err != nil {
			return nil, fmt.Errorf("%q is no network; want an address and the bits of its prefix, as in %s=10.0.1.0/24", cidr, zone)
		}
		for _, n := range all {
			if n.Prefix == prefix && n.Zone != zone {
				return nil, fmt.Errorf("%v is in the zones %s and %s; choose one", prefix, n.Zone, zone)
			}
		}
		all = append(all, cluster.Network{Prefix: prefix, Zone: zone})
	}
	return all, nil
}

// parsePrefix reads a network or an address. IPv4 in the form of IPv6 is IPv4.
func parsePrefix(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		ip, err := netip.ParseAddr(text)
		if err != nil || ip.Zone() != "" {
			return prefix, fmt.Errorf("no address: %q", text)
		}
		prefix = netip.PrefixFrom(ip, ip.BitLen())
	}
	if mapped := prefix.Bits() - 96; prefix.Addr().Is4In6() && mapped >= 0 {
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), mapped)
	}
	return prefix.Masked(), nil
}

// parseZoneListener reads NAME=ZONE, separated by commas, each name once.
func parseZoneListener(list string) (map[string]string, error) {
	all := map[string]string{}
	for item := range splitItems(list) {
		name, zone, ok := strings.Cut(item, "=")
		name = strings.ToUpper(name)
		if _, twice := all[name]; !ok || twice {
			return nil, fmt.Errorf("%q is no listener with its one zone; want NAME=ZONE, as in INTERNAL=a", item)
		}
		if err := checkZone(zone); err != nil {
			return nil, err
		}
		all[name] = zone
	}
	return all, nil
}

// checkZone refuses names that no client could put into its ID.
func checkZone(zone string) error {
	if zone == "" || strings.ContainsAny(zone, cluster.Separators+"=") {
		return fmt.Errorf("%q is no name of a zone that a client could ask for; want one without spaces and any of , ; | & =", zone)
	}
	return nil
}

// splitItems yields the items between commas, without the space around them. No text has none.
func splitItems(list string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for item := range strings.SplitSeq(list, ",") {
			if item = strings.TrimSpace(item); item != "" && !yield(item) {
				return
			}
		}
	}
}
