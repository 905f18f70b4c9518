package cluster

import (
	"net/netip"
	"testing"

	"github.com/wadi-log/wadi/protocol"
)

func testNetworks(testing.TB) []Network {
	return []Network{
		{netip.MustParsePrefix("10.0.0.0/8"), "wide"},
		{netip.MustParsePrefix("10.1.2.3/32"), "one"},
		{netip.MustParsePrefix("10.1.0.0/16"), "middle"},
		{netip.MustParsePrefix("2001:db8::/32"), "six"},
		{netip.MustParsePrefix("::/0"), "rest of six"},
	}
}

func TestZoneOfAClient(t *testing.T) {
	zones := NewZones(testNetworks(t), map[string]string{"EXTERNAL": "outside"})
	for _, tc := range []struct{ id, host, listener, want string }{
		{"zone=a", "10.1.2.3", "EXTERNAL", "a"},
		{"app", "10.1.2.3", "EXTERNAL", "one"},
		{"app", "10.1.2.4", "EXTERNAL", "middle"},
		{"app", "10.2.2.4", "EXTERNAL", "wide"},
		{"app", "::ffff:10.2.2.4", "", "wide"},
		{"app", "2001:db8::1", "", "six"},
		{"app", "2001:db8::1%eth0", "", "six"},
		{"app", "fe80::1", "", "rest of six"},
		{"app", "192.0.2.1", "EXTERNAL", "outside"},
		{"app", "192.0.2.1", "INTERNAL", ""},
		{"app", "pipe", "EXTERNAL", "outside"},
		{"app", "", "", ""},
	} {
		client := protocol.Client{ID: tc.id, Host: tc.host, Listener: tc.listener}
		if got := zones.of(client, parseHints(tc.id)); got != tc.want {
			t.Errorf("%+v is in zone %q, want %q", tc, got, tc.want)
		}
	}
	if got := (Zones{}).of(protocol.Client{ID: "app", Host: "10.1.2.3"}, hints{}); got != "" {
		t.Errorf("without settings: %q", got)
	}
}
