package cluster

import (
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/wadi-log/wadi/metadata"
)

// hints is what a client's ID says of the client besides its name: the only thing that
// every client lets its user choose, and sends before it is told where to go.
type hints struct {
	// name is the ID without the hints.
	name string
	zone string
	// host and port, where not empty, take the place of every broker's.
	host string
	port int32
}

// zoneKeys and hostKeys are the keys of hints, in lower case: ours, and those that clients of
// systems like this one have in their IDs already.
var (
	zoneKeys = []string{"wadi_az", "ws_az", "warpstream_az", "diskless_az", "automq_az", "zone"}
	hostKeys = []string{"wadi_host", "ws_host_override"}
)

// Separators end a hint. MirrorMaker 2 appends "|source->target" to IDs, AutoMQ's are joined by "&".
const Separators = ", ;|&"

// parseHints takes an ID apart. Of hints that are there twice the first one counts, and those
// without a value, or with a host that is none, say nothing.
func parseHints(id string) hints {
	if !strings.Contains(id, "=") {
		return hints{name: id}
	}
	var h hints
	var rest []string
	for _, token := range strings.FieldsFunc(id, func(r rune) bool { return strings.ContainsRune(Separators, r) }) {
		key, value, _ := strings.Cut(token, "=")
		switch key = strings.ToLower(key); {
		case slices.Contains(zoneKeys, key):
			if h.zone == "" {
				h.zone = value
				// AutoMQ's clients write all values as in the query of a URL.
				if plain, err := url.QueryUnescape(value); err == nil && key == "automq_az" {
					h.zone = plain
				}
			}
		case slices.Contains(hostKeys, key):
			if h.host == "" {
				h.host, h.port = parseHost(value)
			}
		default:
			rest = append(rest, token)
		}
	}
	h.name = strings.Join(rest, ",")
	return h
}

// hostname is what a name or an IPv4 address may look like: it is sent to the client once for
// every broker, so nothing longer than a name in the DNS.
var hostname = regexp.MustCompile(`^[A-Za-z0-9._-]{1,253}$`)

// parseHost reads HOST or HOST:PORT; an IPv6 address with a port stands in brackets. It
// returns "" for what is neither, and port 0 for none.
func parseHost(value string) (host string, port int32) {
	host = value
	if h, p, err := net.SplitHostPort(value); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return "", 0
		}
		host, port = h, int32(n)
	} else if inner, ok := strings.CutPrefix(value, "["); ok {
		host = strings.TrimSuffix(inner, "]")
	}
	if hostname.MatchString(host) {
		return host, port
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Zone() == "" {
		return host, port
	}
	return "", 0
}

// apply returns where the client is to find a broker's listener.
func (h hints) apply(l metadata.Listener) metadata.Listener {
	if h.host != "" {
		l.Host = h.host
	}
	if h.port != 0 {
		l.Port = h.port
	}
	return l
}
