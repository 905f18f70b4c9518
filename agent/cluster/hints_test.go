package cluster

import (
	"strings"
	"testing"

	"github.com/wadi-log/wadi/protocol"
)

func TestHints(t *testing.T) {
	for id, want := range map[string]hints{
		"":                               {},
		"app":                            {name: "app"},
		"zone":                           {name: "zone"},
		"app, with a space":              {name: "app, with a space"},
		"wadi_az=a":                      {zone: "a"},
		"ws_az=a":                        {zone: "a"},
		"warpstream_az=a":                {zone: "a"},
		"diskless_az=a":                  {zone: "a"},
		"automq_az=a":                    {zone: "a"},
		"zone=a":                         {zone: "a"},
		"ZONE=a,app":                     {name: "app", zone: "a"},
		"Wadi_AZ=A":                      {zone: "A"},
		"app,zone=us-east-1a":            {name: "app", zone: "us-east-1a"},
		"app;zone=a;x":                   {name: "app,x", zone: "a"},
		"app zone=a x":                   {name: "app,x", zone: "a"},
		"app|zone=a|x->y":                {name: "app,x->y", zone: "a"},
		"zone=a|source->target":          {name: "source->target", zone: "a"},
		"automq_type=p&automq_az=a&app":  {name: "automq_type=p,app", zone: "a"},
		"automq_az=rack%2F1%3Aa&app":     {name: "app", zone: "rack/1:a"},
		"automq_az=100%&app":             {name: "app", zone: "100%"},
		"zone=rack%2F1":                  {zone: "rack%2F1"},
		"zone=a,-StreamThread-1-p":       {name: "-StreamThread-1-p", zone: "a"},
		"zone=a-StreamThread-1":          {zone: "a-StreamThread-1"},
		",,zone=a, ,":                    {zone: "a"},
		"zone=a,zone=b":                  {zone: "a"},
		"zone=,ws_az=b":                  {zone: "b"},
		"zone=":                          {},
		"zone=a=b":                       {zone: "a=b"},
		"timezone=a,my_zone=b":           {name: "timezone=a,my_zone=b"},
		"x=y":                            {name: "x=y"},
		"wadi_host=h":                    {host: "h"},
		"wadi_host=h:1":                  {host: "h", port: 1},
		"app,ws_host_override=localhost": {name: "app", host: "localhost"},
		"wadi_host=h:1,zone=a,app":       {name: "app", zone: "a", host: "h", port: 1},
		"wadi_host=10.0.0.1:65535":       {host: "10.0.0.1", port: 65535},
		"wadi_host=[::1]:9092":           {host: "::1", port: 9092},
		"wadi_host=[::1]":                {host: "::1"},
		"wadi_host=::1":                  {host: "::1"},
		"wadi_host=h:0":                  {},
		"wadi_host=h:65536":              {},
		"wadi_host=h:kafka":              {},
		"wadi_host=:9092":                {},
		"wadi_host=a/b":                  {},
		"wadi_host=ü":                    {},
		"wadi_host=a:b:c":                {},
		"wadi_host=fe80::1%eth0":         {},
		"wadi_host=,wadi_host=h":         {host: "h"},
	} {
		if got := parseHints(id); got != want {
			t.Errorf("%q: %+v, want %+v", id, got, want)
		}
	}
	if got := parseHints("wadi_host=" + strings.Repeat("a", 254)); got.host != "" {
		t.Errorf("a host of %d bytes goes to the client once for every broker", len(got.host))
	}
}

// TestEverySpellingOfAZone beside every separator, wherever it stands.
func TestEverySpellingOfAZone(t *testing.T) {
	for _, key := range zoneKeys {
		for _, sep := range strings.Split(Separators, "") {
			for _, id := range []string{key + "=a", key + "=a" + sep, sep + key + "=a", "app" + sep + key + "=a", key + "=a" + sep + "app", "app" + sep + key + "=a" + sep + "x=y"} {
				for _, id := range []string{id, strings.ReplaceAll(id, key, strings.ToUpper(key))} {
					if got := parseHints(id); got.zone != "a" || strings.Contains(got.name, "=a") {
						t.Errorf("%q: %+v", id, got)
					}
				}
			}
		}
	}
}

func FuzzHints(f *testing.F) {
	for _, seed := range []string{"", "app", "zone=a,b", "wadi_host=[::1]:9092|x", "a=b&c=d;wadi_az=\x00", "ws_host_override=a:1"} {
		f.Add(seed, "10.0.0.1")
	}
	router := NewRouter(view(agents(1, 2, 3)), NewZones(testNetworks(f), map[string]string{"PLAINTEXT": "a"}))
	f.Fuzz(func(t *testing.T, id, host string) {
		h := parseHints(id)
		if strings.ContainsAny(h.zone, Separators) && !strings.Contains(strings.ToLower(id), "automq_az") || len(h.host) > 253 || h.port < 0 || h.host == "" && h.port != 0 {
			t.Errorf("%q: %+v", id, h)
		}
		v := router.View(protocol.Client{ID: id, Host: host, Listener: "PLAINTEXT"})
		if len(v.Brokers) == 0 || v.Topic([16]byte{1}).Leader(3).NodeID == 0 {
			t.Errorf("%q at %q is led nowhere", id, host)
		}
	})
}
