package telemetry

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/wadi-log/wadi/protocol"
	"github.com/wadi-log/wadi/protocol/configs"
)

var (
	java = protocol.Client{ID: "orders-1", Host: "10.0.0.1", Port: 4711, SoftwareName: "apache-kafka-java", SoftwareVersion: "4.2.0"}
	id   = uuid.UUID{1, 2, 3, 4, 5, 6, 7, 8, 9}
)

// fixture is an agent's telemetry under a clock of its own.
type fixture struct {
	*Telemetry
	t             *testing.T
	reg           *prometheus.Registry
	clock         time.Time
	subscriptions []configs.ClientMetrics
}

func newFixture(t *testing.T, subscriptions ...map[string]string) *fixture {
	t.Helper()
	f := &fixture{t: t, reg: prometheus.NewRegistry(), clock: time.UnixMilli(1_700_000_000_000)}
	f.subscribe(subscriptions...)
	f.Telemetry = New(func() []configs.ClientMetrics { return f.subscriptions }, 1000, f.reg)
	f.now = func() time.Time { return f.clock }
	return f
}

func (f *fixture) subscribe(subscriptions ...map[string]string) {
	f.t.Helper()
	f.subscriptions = nil
	for _, set := range subscriptions {
		s, err := configs.ParseClientMetrics(set)
		if err != nil {
			f.t.Fatal(err)
		}
		f.subscriptions = append(f.subscriptions, s)
	}
}

func (f *fixture) get(id uuid.UUID) *kmsg.GetTelemetrySubscriptionsResponse {
	req := kmsg.NewPtrGetTelemetrySubscriptionsRequest()
	req.ClientInstanceID = id
	return f.GetTelemetrySubscriptions(f.t.Context(), java, req)
}

func (f *fixture) pushAs(id uuid.UUID, subscription int32, terminating bool, codec protocol.Codec, body []byte) string {
	req := kmsg.NewPtrPushTelemetryRequest()
	req.ClientInstanceID, req.SubscriptionID, req.Terminating, req.CompressionType, req.Metrics = id, subscription, terminating, int8(codec), body
	return name(f.PushTelemetry(f.t.Context(), java, req).ErrorCode)
}

func name(code int16) string {
	if code == 0 {
		return "ok"
	}
	return kerr.TypedErrorForCode(code).Message
}

// otlp is what a client sends: metrics of so many data points each, a sum, a gauge, a histogram and so on.
func otlp(points ...int) []byte {
	field := func(number protowire.Number, value []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), value)
	}
	kinds := []protowire.Number{7, 5, 9, 10, 11}
	var scope []byte
	for i, n := range points {
		var data []byte
		for range n {
			data = append(data, field(1, protowire.AppendVarint(protowire.AppendTag(nil, 3, protowire.VarintType), 5))...)
		}
		metric := append(field(1, []byte("org.apache.kafka.x")), field(kinds[i%len(kinds)], data)...)
		scope = append(scope, field(2, metric)...)
	}
	return field(1, append(field(1, nil), field(2, scope)...))
}

func TestSubscriptionsAreJoined(t *testing.T) {
	for name, tc := range map[string]struct {
		subscriptions []map[string]string
		metrics       []string
		interval      int32
	}{
		"none":        {nil, nil, 300000},
		"one":         {[]map[string]string{{"metrics": "b.,a.", "interval.ms": "500"}}, []string{"a.", "b."}, 500},
		"most eager":  {[]map[string]string{{"metrics": "a.,b.", "interval.ms": "700"}, {"metrics": "b.,c.", "interval.ms": "600"}}, []string{"a.", "b.", "c."}, 600},
		"never lazy":  {[]map[string]string{{"metrics": "a.", "interval.ms": "3600000"}}, []string{"a."}, 300000},
		"all":         {[]map[string]string{{"metrics": "a."}, {"metrics": "*"}}, []string{"*"}, 300000},
		"all match":   {[]map[string]string{{"metrics": "a.", "match": "client_id=orders-.*,client_software_name=apache.*,client_software_version=4[.].*,client_source_address=10[.]0[.]0[.]1,client_source_port=4711,client_instance_id=AQIDBAUGBwgJAAAAAAAAAA"}}, []string{"a."}, 300000},
		"one doesn't": {[]map[string]string{{"metrics": "a.", "match": "client_id=orders-.*,client_software_name=librdkafka"}, {"metrics": "b."}}, []string{"b."}, 300000},
		"the whole":   {[]map[string]string{{"metrics": "a.", "match": "client_id=orders"}}, nil, 300000},
	} {
		f := newFixture(t, tc.subscriptions...)
		resp := f.get(id)
		if resp.ErrorCode != 0 || resp.ClientInstanceID != id || !slices.Equal(resp.RequestedMetrics, tc.metrics) || resp.PushIntervalMillis != tc.interval ||
			resp.TelemetryMaxBytes != 1000 || !resp.DeltaTemporality || !slices.Equal(resp.AcceptedCompressionTypes, []int8{4, 3, 1, 2}) {
			t.Errorf("%s: %+v", name, resp)
		}
		// Any agent comes to the same ID; the order of the subscriptions is none.
		slices.Reverse(tc.subscriptions)
		if other := newFixture(t, tc.subscriptions...).get(id); other.SubscriptionID != resp.SubscriptionID {
			t.Errorf("%s: another agent has subscription %d, not %d", name, other.SubscriptionID, resp.SubscriptionID)
		}
	}
}

func TestClientWithoutIDIsGivenOne(t *testing.T) {
	f := newFixture(t)
	one, two := f.get(uuid.Nil), f.get(uuid.Nil)
	if one.ErrorCode != 0 || one.ClientInstanceID == uuid.Nil || one.ClientInstanceID == two.ClientInstanceID || one.SubscriptionID == two.SubscriptionID {
		t.Errorf("%+v and %+v", one, two)
	}
}

func TestPushes(t *testing.T) {
	f := newFixture(t, map[string]string{"metrics": "*", "interval.ms": "500"})
	subscription := f.get(id).SubscriptionID
	compressed := map[protocol.Codec][]byte{protocol.CodecNone: otlp(1, 2, 3)}
	for _, codec := range []protocol.Codec{protocol.CodecGzip, protocol.CodecSnappy, protocol.CodecLZ4, protocol.CodecZstd} {
		body, err := protocol.Compress(codec, codec.DefaultLevel(), otlp(1, 2, 3))
		if err != nil {
			t.Fatal(err)
		}
		compressed[codec] = body
	}
	step := func(what, want, got string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	step("no ID", "INVALID_REQUEST", f.pushAs(uuid.Nil, subscription, false, 0, nil))
	step("reserved ID", "INVALID_REQUEST", f.pushAs(one, subscription, false, 0, nil))
	step("first", "ok", f.pushAs(id, subscription, false, 0, compressed[0]))
	step("too early", "THROTTLING_QUOTA_EXCEEDED", f.pushAs(id, subscription, false, 0, compressed[0]))
	step("asks too early", "THROTTLING_QUOTA_EXCEEDED", name(f.get(id).ErrorCode))
	for codec, body := range compressed {
		f.clock = f.clock.Add(500 * time.Millisecond)
		step(codec.String(), "ok", f.pushAs(id, subscription, false, codec, body))
	}
	for _, tc := range []struct {
		what         string
		want         string
		subscription int32
		codec        protocol.Codec
		body         []byte
	}{
		{"nothing", "ok", subscription, 0, nil},
		{"other subscription", "UNKNOWN_SUBSCRIPTION_ID", subscription + 1, 0, compressed[0]},
		{"unknown codec", "UNSUPPORTED_COMPRESSION_TYPE", subscription, 9, compressed[0]},
		{"negative codec", "UNSUPPORTED_COMPRESSION_TYPE", subscription, -1, compressed[0]},
		{"too much", "TELEMETRY_TOO_LARGE", subscription, 0, make([]byte, 1001)},
		{"no OTLP", "INVALID_RECORD", subscription, 0, []byte("garbage")},
		{"not compressed", "INVALID_RECORD", subscription, protocol.CodecGzip, []byte("garbage")},
	} {
		f.clock = f.clock.Add(500 * time.Millisecond)
		step(tc.what, tc.want, f.pushAs(id, tc.subscription, false, tc.codec, tc.body))
	}
	// The last one may come early, and nothing after it.
	step("terminating", "ok", f.pushAs(id, subscription, true, 0, compressed[0]))
	f.clock = f.clock.Add(time.Minute)
	step("after the last", "INVALID_REQUEST", f.pushAs(id, subscription, false, 0, compressed[0]))

	instance := `client_id="orders-1",client_instance_id="` + encodeID(id) + `",software="apache-kafka-java"`
	want := fmt.Sprintf(`
# HELP wadi_client_telemetry_client_data_points_total Data points of one client, of those heard of last.
# TYPE wadi_client_telemetry_client_data_points_total counter
wadi_client_telemetry_client_data_points_total{%[1]s} 42
# HELP wadi_client_telemetry_client_pushes_total Pushes of one client, of those heard of last.
# TYPE wadi_client_telemetry_client_pushes_total counter
wadi_client_telemetry_client_pushes_total{%[1]s} 7
# HELP wadi_client_telemetry_clients Client instances that are remembered.
# TYPE wadi_client_telemetry_clients gauge
wadi_client_telemetry_clients 1
# HELP wadi_client_telemetry_data_points_total Data points in the pushes accepted.
# TYPE wadi_client_telemetry_data_points_total counter
wadi_client_telemetry_data_points_total 42
# HELP wadi_client_telemetry_metrics_total Metrics in the pushes accepted.
# TYPE wadi_client_telemetry_metrics_total counter
wadi_client_telemetry_metrics_total 21
# HELP wadi_client_telemetry_pushes_total Pushes of client metrics that were accepted, with at least one byte.
# TYPE wadi_client_telemetry_pushes_total counter
wadi_client_telemetry_pushes_total 7
`, instance)
	if err := testutil.GatherAndCompare(f.reg, strings.NewReader(want), "wadi_client_telemetry_client_data_points_total", "wadi_client_telemetry_client_pushes_total",
		"wadi_client_telemetry_clients", "wadi_client_telemetry_data_points_total", "wadi_client_telemetry_metrics_total", "wadi_client_telemetry_pushes_total"); err != nil {
		t.Error(err)
	}
	if got := testutil.ToFloat64(f.metrics.refused.WithLabelValues("INVALID_RECORD")); got != 2 {
		t.Errorf("%v refused for their contents, want 2", got)
	}
}

// TestChangedSubscriptionIsANewBeginning: the client learns of it by its next push, and
// then needs not wait.
func TestChangedSubscriptionIsANewBeginning(t *testing.T) {
	f := newFixture(t, map[string]string{"metrics": "a."})
	before := f.get(id).SubscriptionID
	if got := f.pushAs(id, before, false, 0, otlp(1)); got != "ok" {
		t.Fatal(got)
	}
	f.subscribe(map[string]string{"metrics": "b."})
	f.clock = f.clock.Add(time.Second)
	if got := f.pushAs(id, before, false, 0, otlp(1)); got != "UNKNOWN_SUBSCRIPTION_ID" {
		t.Errorf("a push for the old subscription: %s", got)
	}
	f.clock = f.clock.Add(time.Second)
	resp := f.get(id)
	if resp.ErrorCode != 0 || resp.SubscriptionID == before || !slices.Equal(resp.RequestedMetrics, []string{"b."}) {
		t.Fatalf("%+v", resp)
	}
	f.clock = f.clock.Add(time.Second)
	if got := f.pushAs(id, resp.SubscriptionID, false, 0, otlp(1)); got != "ok" {
		t.Errorf("a push for the new subscription: %s", got)
	}
}

// TestPushThroughAnotherAgent: it has never heard of the client.
func TestPushThroughAnotherAgent(t *testing.T) {
	subscription := map[string]string{"metrics": "*"}
	asked, other := newFixture(t, subscription), newFixture(t, subscription)
	if got := other.pushAs(id, asked.get(id).SubscriptionID, false, 0, otlp(1)); got != "ok" {
		t.Error(got)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	f := newFixture(t, map[string]string{"metrics": "*"})
	long := java
	long.ID, long.SoftwareName = strings.Repeat("x", 30_000)+"\xff", "\xff"
	for range maxClients + 10 {
		req := kmsg.NewPtrGetTelemetrySubscriptionsRequest()
		subscription := f.GetTelemetrySubscriptions(t.Context(), long, req)
		push := kmsg.NewPtrPushTelemetryRequest()
		push.ClientInstanceID, push.SubscriptionID, push.Metrics = subscription.ClientInstanceID, subscription.SubscriptionID, otlp(1)
		if resp := f.PushTelemetry(t.Context(), long, push); resp.ErrorCode != 0 {
			t.Fatal(name(resp.ErrorCode))
		}
	}
	if n := f.clients.Len(); n != maxClients {
		t.Errorf("%d clients are remembered", n)
	}
	if n, err := testutil.GatherAndCount(f.reg, "wadi_client_telemetry_client_pushes_total"); err != nil || n != shownClients {
		t.Errorf("%d clients are shown, %v", n, err)
	}
	if _, known, _ := f.clients.GetOldest(); len(known.id) > 128 {
		t.Errorf("a client ID of %d bytes is kept", len(known.id))
	}
}

func TestCount(t *testing.T) {
	for name, tc := range map[string]struct {
		data []byte
		want counts
		ok   bool
	}{
		"nothing":   {nil, counts{}, true},
		"all kinds": {otlp(1, 2, 3, 4, 5), counts{5, 15}, true},
		"no points": {otlp(0), counts{1, 0}, true},
		"cut off":   {otlp(1)[:len(otlp(1))-1], counts{}, false},
		"garbage":   {[]byte("garbage"), counts{}, false},
		"other":     {protowire.AppendVarint(protowire.AppendTag(nil, 9, protowire.VarintType), 1), counts{}, true},
	} {
		got, err := count(tc.data)
		if (err == nil) != tc.ok || tc.ok && got != tc.want {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, tc.want)
		}
	}
}

func FuzzCount(f *testing.F) {
	f.Add(otlp(1, 2, 3, 4, 5))
	f.Add([]byte("garbage"))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := count(data)
		if err == nil && (n.metrics > len(data) || n.points > len(data)) {
			t.Fatalf("%+v in %d bytes", n, len(data))
		}
	})
}

func FuzzPushTelemetry(f *testing.F) {
	compressed, err := protocol.Compress(protocol.CodecZstd, protocol.CodecZstd.DefaultLevel(), otlp(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(id[:], int32(5), false, int8(0), otlp(1))
	f.Add([]byte{}, int32(0), true, int8(4), compressed)
	tel := New(func() []configs.ClientMetrics { return nil }, 1<<20, prometheus.NewRegistry())
	f.Fuzz(func(t *testing.T, instance []byte, subscription int32, terminating bool, codec int8, body []byte) {
		req := kmsg.NewPtrPushTelemetryRequest()
		copy(req.ClientInstanceID[:], instance)
		get := kmsg.NewPtrGetTelemetrySubscriptionsRequest()
		get.ClientInstanceID = req.ClientInstanceID
		if subscription%2 == 0 {
			subscription = tel.GetTelemetrySubscriptions(t.Context(), java, get).SubscriptionID
		}
		req.SubscriptionID, req.Terminating, req.CompressionType, req.Metrics = subscription, terminating, codec, body
		tel.PushTelemetry(t.Context(), java, req)
	})
}
