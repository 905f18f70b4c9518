package agent

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
)

func TestParseListeners(t *testing.T) {
	for list, want := range map[string]string{
		"localhost:9092":    "PLAINTEXT localhost 9092",
		":0":                "PLAINTEXT  0",
		"PLAINTEXT://:9092": "PLAINTEXT  9092",
		"[::1]:9092":        "PLAINTEXT ::1 9092",
		"external://[::]:1": "EXTERNAL :: 1",
		"INSIDE.a-b_1://h:1, OUT://10.0.0.1:65535 ": "INSIDE.A-B_1 h 1; OUT 10.0.0.1 65535",
		"h:1,EXTERNAL://h:1":                        "PLAINTEXT h 1; EXTERNAL h 1",
		"":                                          "want host:port",
		"h":                                         "want host:port",
		"h:1,":                                      "want host:port",
		"h:kafka":                                   "is no number",
		"h:65536":                                   "is no number",
		"A://":                                      "want host:port",
		"://h:1":                                    "no name of a listener",
		"A B://h:1":                                 "no name of a listener",
		"Ü://h:1":                                   "no name of a listener",
		"h:1,i:2":                                   "two listeners are named PLAINTEXT",
		"a://h:1,A://i:2":                           "two listeners are named A",
		"SSL://h:1":                                 "TLS or SASL",
		"sasl_ssl://h:1":                            "TLS or SASL",
		"SASL_PLAINTEXT://h:1":                      "TLS or SASL",
	} {
		listeners, err := parseListeners(list)
		var got []string
		for _, l := range listeners {
			got = append(got, fmt.Sprint(l.Name, " ", l.Host, " ", l.Port))
		}
		if err != nil {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v, want %s", list, err, want)
			}
		} else if text := strings.Join(got, "; "); text != want {
			t.Errorf("%q: %s, want %s", list, text, want)
		}
	}
}

func FuzzParseListeners(f *testing.F) {
	for _, seed := range []string{"localhost:9092", "A://[::1]:1,B://:0", "://,:", "ü://h:1", "a://b://c:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		listeners, err := parseListeners(list)
		if err != nil {
			return
		}
		var again []string
		for _, l := range listeners {
			again = append(again, l.String())
		}
		if same, err := parseListeners(strings.Join(again, ",")); err != nil || !slices.Equal(same, listeners) {
			t.Errorf("%q is %v, and that is %v, %v", list, listeners, same, err)
		}
	})
}

func TestListenersAreAdvertised(t *testing.T) {
	config := DefaultConfig()
	config.KafkaListen = "127.0.0.1:0,external://127.0.0.1:0,ALL://:0"
	config.Advertise = "EXTERNAL://outside.example.org:19092"
	if err := config.Validate(); err != nil {
		t.Fatal(err)
	}
	open, err := config.listenKafka(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range open {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	first, second, third := open[0].advertised, open[1].advertised, open[2].advertised
	if want := (metadata.Listener{Name: "PLAINTEXT", Host: "127.0.0.1", Port: int32(open[0].Addr().(*net.TCPAddr).Port)}); first != want {
		t.Errorf("the first is advertised as %v, want %v", first, want)
	}
	if want := (metadata.Listener{Name: "EXTERNAL", Host: "outside.example.org", Port: 19092}); second != want {
		t.Errorf("the second is advertised as %v, want %v", second, want)
	}
	if third.Name != "ALL" || wildcard(third.Host) || third.Port == 0 {
		t.Errorf("the third is advertised as %v", third)
	}
}

func TestValidateListeners(t *testing.T) {
	for name, tc := range map[string]struct {
		listen, advertise, zoneListener string
		want                            string // "" for valid
	}{
		"one":                     {"h:1", "i:2", "PLAINTEXT=a", ""},
		"two":                     {"A://h:1,B://h:2", "B://i:2", "a=x,B=y", ""},
		"advertised nowhere":      {"A://h:1", "i:2", "", "no listener of --kafka-listen is named PLAINTEXT"},
		"no address for clients":  {"h:1,B://h:2", "B://[::]:2", "", `"[::]:2" is no address`},
		"port 0":                  {"h:1", "h:0", "", `"h:0" is no address`},
		"zone of no listener":     {"h:1", "", "B=x", "--zone-listener: no listener of --kafka-listen is named B"},
		"bad list, told of once":  {"x", "B://h:1", "B=x", "--kafka-listen: "},
		"half an advertised list": {"h:1", "h:1,,", "", "--advertise: "},
	} {
		c := DefaultConfig()
		c.KafkaListen, c.Advertise, c.ZoneListener = tc.listen, tc.advertise, tc.zoneListener
		err := c.Validate()
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%s: %v, want %s", name, err, tc.want)
		}
	}
}

func TestParseZoneCIDR(t *testing.T) {
	for list, want := range map[string]string{
		"":                                "",
		"a=10.1.0.0/16":                   "10.1.0.0/16 a",
		"a=10.1.2.3/16,b=10.2.0.0/16":     "10.1.0.0/16 a; 10.2.0.0/16 b",
		" a=10.0.0.0/8 , a=2001:db8::/32": "10.0.0.0/8 a; 2001:db8::/32 a",
		"a=10.1.2.3,a=::1":                "10.1.2.3/32 a; ::1/128 a",
		"a=::ffff:10.0.0.0/104":           "10.0.0.0/8 a",
		"a=10.0.0.0/8,a=10.0.0.0/8":       "10.0.0.0/8 a; 10.0.0.0/8 a",
		"10.0.0.0/8":                      "want ZONE=CIDR",
		"a=":                              "is no network",
		"a=10.0.0.0/33":                   "is no network",
		"a=fe80::1%eth0":                  "is no network",
		"=10.0.0.0/8":                     "is no name of a zone",
		"a b=10.0.0.0/8":                  "is no name of a zone",
		"a=10.0.0.0/8,b=10.9.0.0/8":       "is in the zones a and b",
	} {
		networks, err := parseZoneCIDR(list)
		var got []string
		for _, n := range networks {
			got = append(got, fmt.Sprint(n.Prefix, " ", n.Zone))
		}
		if err != nil {
			if want == "" || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v, want %s", list, err, want)
			}
		} else if text := strings.Join(got, "; "); text != want {
			t.Errorf("%q: %s, want %s", list, text, want)
		}
	}
}

func FuzzParseZoneCIDR(f *testing.F) {
	for _, seed := range []string{"a=10.0.0.0/8", "a=::ffff:1.2.3.4/96,b=1.2.3.4", "a=b=c", ",", "a=::/0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		networks, err := parseZoneCIDR(list)
		if err != nil {
			return
		}
		for _, n := range networks {
			if !n.Prefix.IsValid() || n.Prefix != n.Prefix.Masked() || checkZone(n.Zone) != nil {
				t.Errorf("%q: %+v", list, n)
			}
		}
	})
}

func TestParseZoneListener(t *testing.T) {
	got, err := parseZoneListener("external=a, INTERNAL=b")
	if want := map[string]string{"EXTERNAL": "a", "INTERNAL": "b"}; err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, list := range []string{"A", "A=", "A=x,a=y", "A=x y"} {
		if got, err := parseZoneListener(list); err == nil {
			t.Errorf("%q is %v", list, got)
		}
	}
}

// TestClientsComeOverIPv6, and are told where to connect to in the same way; others of the agent come over IPv4.
func TestClientsComeOverIPv6(t *testing.T) {
	if ln, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skipf("this machine has no IPv6: %v", err)
	} else if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	config := DefaultConfig()
	config.DataDir, config.KafkaListen, config.HTTPListen = t.TempDir(), "FOUR://127.0.0.1:0,SIX://[::1]:0", "[::1]:0"
	a, _ := startAgent(t, config)
	if status, body := ask(t, a, http.MethodGet, "/livez"); status != http.StatusOK {
		t.Errorf("/livez: %d: %s", status, body)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i, l := range a.kafkaListeners {
		topic := fmt.Sprint("topic-", i)
		c, err := kgo.NewClient(kgo.SeedBrokers(l.Addr().String()), kgo.AllowAutoTopicCreation(), kgo.ConsumeTopics(topic), kgo.ConsumerGroup(topic),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if fetches := c.PollFetches(ctx); fetches.Err() != nil || fetches.NumRecords() != 1 {
			t.Errorf("%v: consumed %d records, %v", l, fetches.NumRecords(), fetches.Err())
		}
		resp, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		if b := resp.Brokers; len(b) != 1 || net.JoinHostPort(b[0].Host, fmt.Sprint(b[0].Port)) != l.Addr().String() {
			t.Errorf("who comes to %v is told of %+v", l, b)
		}
	}
}
