// Package telemetry takes in what clients measure of themselves (KIP-714): operators subscribe
// to metrics of clients with client metrics configs, clients ask for their
// subscription and push, and agents count what came.
//
// What it guarantees:
//
//   - A client may ask one agent and push to another: a subscription's ID follows from what is
//     subscribed to and the client's own ID, so any agent can tell whether it is still true.
//   - Memory is bounded, by clients and by what one push may hold: of the
//     clients that are known the one that was quiet longest is forgotten.
//   - A push is counted only if it is what it says: OTLP metrics.
//
// That a client pushes too often, or on after it said that it terminates, is noticed by the agent to
// which it does so.
//
// It refuses to know where the subscriptions are stored. The measurements themselves are counted and
// dropped: which of them are worth keeping, and where, is for whoever scrapes.
package telemetry

import (
	"cmp"
	"context"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/wadi-log/wadi/protocol"
	"github.com/wadi-log/wadi/protocol/configs"
)

const (
	// usualInterval is for clients without a subscription: how often they ask whether there is one.
	usualInterval = 5 * time.Minute
	// maxClients is the number of clients remembered, as in Kafka: about 5 MB.
	maxClients = 16384
	// maxDecoded bounds the bytes of a push once decompressed.
	maxDecoded = 8 << 20
	// decoders is the number of pushes that are decoded at once.
	decoders = 4
)

// Telemetry answers GetTelemetrySubscriptions and PushTelemetry.
type Telemetry struct {
	subscriptions func() []configs.ClientMetrics
	maxBytes      int32
	now           func() time.Time
	metrics       *metrics
	decoding      *semaphore.Weighted

	mu      sync.Mutex
	clients *simplelru.LRU[uuid.UUID, *client] // mu guards the clients too
}

// client is what an agent remembers of one client instance.
type client struct {
	id, software string
	subscription int32
	interval     time.Duration
	// asked and pushed are when its last requests came that were not too early.
	asked, pushed time.Time
	terminating   bool
	// mayAsk: its last push was answered with an error that a new subscription mends.
	mayAsk bool

	pushes, points, bytes float64
}

// New makes the handlers and registers their metrics with reg. subscriptions returns those
// in force; maxBytes is telemetry.max.bytes.
func New(subscriptions func() []configs.ClientMetrics, maxBytes int32, reg prometheus.Registerer) *Telemetry {
	t := &Telemetry{subscriptions: subscriptions, maxBytes: maxBytes, now: time.Now, decoding: semaphore.NewWeighted(decoders)}
	// The error is for a size below 1.
	t.clients, _ = simplelru.NewLRU[uuid.UUID, *client](maxClients, nil)
	t.metrics = newMetrics(reg, t)
	return t
}

// subscription is what one client is to push.
type subscription struct {
	id       int32
	metrics  []string
	interval time.Duration
}

// subscriptionOf joins the subscriptions that mean the client: all their metrics,
// as often as the most eager of them wants.
func (t *Telemetry) subscriptionOf(id uuid.UUID, c protocol.Client) subscription {
	s := subscription{metrics: []string{}, interval: usualInterval}
	all := false
	for _, candidate := range t.subscriptions() {
		if !means(candidate, id, c) {
			continue
		}
		s.metrics = append(s.metrics, candidate.Metrics...)
		all = all || slices.Contains(candidate.Metrics, "*")
		s.interval = min(s.interval, time.Duration(candidate.IntervalMs)*time.Millisecond)
	}
	slices.Sort(s.metrics)
	s.metrics = slices.Compact(s.metrics)
	if all {
		s.metrics = []string{"*"}
	}
	sum := crc32.Checksum([]byte(strings.Join(s.metrics, ",")+s.interval.String()), crc32.MakeTable(crc32.Castagnoli))
	for i := range 4 {
		sum ^= uint32(id[4*i])<<24 | uint32(id[4*i+1])<<16 | uint32(id[4*i+2])<<8 | uint32(id[4*i+3])
	}
	s.id = int32(sum)
	return s
}

// means tells whether all patterns of the subscription match the client.
func means(s configs.ClientMetrics, id uuid.UUID, c protocol.Client) bool {
	for selector, pattern := range s.Match {
		if !pattern.MatchString(map[string]string{
			configs.ClientInstanceID:      encodeID(id),
			configs.ClientID:              c.ID,
			configs.ClientSoftwareName:    c.SoftwareName,
			configs.ClientSoftwareVersion: c.SoftwareVersion,
			configs.ClientSourceAddress:   c.Host,
			configs.ClientSourcePort:      strconv.Itoa(int(c.Port)),
		}[selector]) {
			return false
		}
	}
	return true
}

// know returns what is remembered of the client, with mu held. A subscription that changed is
// a new beginning: the client may ask and push at once.
func (t *Telemetry) know(id uuid.UUID, c protocol.Client, s subscription) *client {
	known, ok := t.clients.Get(id)
	if !ok {
		known = &client{subscription: s.id}
		t.clients.Add(id, known)
	}
	if known.subscription != s.id {
		known.asked, known.pushed = time.Time{}, time.Time{}
	}
	known.subscription, known.interval = s.id, s.interval
	known.id = label(c.ID)
	known.software = label(cmp.Or(c.SoftwareName, "unknown"))
	return known
}

// label makes what a client says of itself fit to be a label: text, of a bounded length.
func label(s string) string {
	const most = 128
	return strings.ToValidUTF8(s[:min(len(s), most)], "?")
}

// decode waits for its turn, and counts the metrics and data points of a push.
func (t *Telemetry) decode(ctx context.Context, codec int8, body []byte) (counts, error) {
	if err := t.decoding.Acquire(ctx, 1); err != nil {
		return counts{}, err
	}
	defer t.decoding.Release(1)
	decoded, err := protocol.Decompress(protocol.Codec(codec), body, maxDecoded)
	if err != nil {
		return counts{}, err
	}
	return count(decoded)
}
