package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/protocol"
	"github.com/wadi-log/wadi/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// fixture is a server on a free port whose Metadata handler answers at once,
// and whose Produce handler answers when the test says so.
type fixture struct {
	t       *testing.T
	server  *Server
	budget  *Budget
	address string
	release chan int16 // answers the next produce request with this error code
	synced  chan struct{}
	started chan *Request
	after   chan struct{} // gets a value when a fetch is done with
}

func start(t *testing.T, change func(*Config)) *fixture {
	t.Helper()
	config := DefaultConfig()
	if change != nil {
		change(&config)
	}
	f := &fixture{t: t, budget: NewBudget(1 << 20), release: make(chan int16), synced: make(chan struct{}), started: make(chan *Request, 100), after: make(chan struct{}, 100)}
	handlers := map[int16]Handler{
		int16(kmsg.Metadata): Inline(func(_ context.Context, client protocol.Client, req *kmsg.MetadataRequest) *kmsg.MetadataResponse {
			switch client.ID {
			case "panic":
				panic("a bug")
			case "nil":
				return nil
			}
			return req.ResponseKind().(*kmsg.MetadataResponse)
		}),
		int16(kmsg.Fetch): func(_ context.Context, req *Request) Pending {
			req.AfterAnswer(func() { f.after <- struct{}{} })
			return func() kmsg.Response { return HangUp }
		},
		int16(kmsg.ApiVersions): Inline(func(_ context.Context, _ protocol.Client, req *kmsg.ApiVersionsRequest) *kmsg.ApiVersionsResponse {
			resp := req.ResponseKind().(*kmsg.ApiVersionsResponse)
			resp.ApiKeys = []kmsg.ApiVersionsResponseApiKey{{ApiKey: 3, MaxVersion: 13}}
			return resp
		}),
		int16(kmsg.Produce): func(_ context.Context, req *Request) Pending {
			done := req.Keep()
			f.started <- req
			return func() kmsg.Response {
				code := <-f.release
				done()
				if req.Body.(*kmsg.ProduceRequest).Acks == 0 {
					return nil
				}
				return refuse(req.Body, code)
			}
		},
		// Like Produce, but bounded in number.
		int16(kmsg.JoinGroup): func(_ context.Context, req *Request) Pending {
			f.started <- req
			return func() kmsg.Response { return refuse(req.Body, <-f.release) }
		},
		// Like JoinGroup, but answered when synced says so.
		int16(kmsg.SyncGroup): func(_ context.Context, req *Request) Pending {
			f.started <- req
			return func() kmsg.Response {
				select {
				case <-f.synced:
				case <-f.t.Context().Done():
				}
				return refuse(req.Body, 0)
			}
		},
	}
	f.server = New(config, handlers, f.budget, NewMetrics(prometheus.NewRegistry(), f.budget), slog.New(slog.DiscardHandler))
	f.server.pulse.hungAfter = time.Minute // a busy machine may let a test wait for seconds
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.address = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- f.server.Serve(ln, "PLAINTEXT") }()
	t.Cleanup(func() {
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := f.server.Drain(ctx); err != nil {
			t.Error(err)
		}
	})
	return f
}

// client is one connection to the fixture.
type client struct {
	t *testing.T
	net.Conn
}

func (f *fixture) dial() client {
	f.t.Helper()
	conn, err := net.Dial("tcp", f.address)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		f.t.Fatal(err)
	}
	return client{f.t, conn}
}

func (c client) send(correlation int32, id string, req kmsg.Request) {
	c.t.Helper()
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID(id)).AppendRequest(nil, req, correlation)
	if _, err := c.Write(frame); err != nil {
		c.t.Fatal(err)
	}
}

// receive returns the next frame's correlation ID and the rest of it.
func (c client) receive() (correlation int32, body []byte, err error) {
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return 0, nil, err
	}
	frame := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c, frame); err != nil {
		return 0, nil, err
	}
	return int32(binary.BigEndian.Uint32(frame)), frame[4:], nil
}

func (c client) expect(correlation int32) []byte {
	c.t.Helper()
	got, body, err := c.receive()
	if err != nil {
		c.t.Fatalf("waiting for answer %d: %v", correlation, err)
	}
	if got != correlation {
		c.t.Fatalf("got answer %d, want %d", got, correlation)
	}
	return body
}

func (c client) expectClosed() {
	c.t.Helper()
	correlation, _, err := c.receive()
	if err == nil {
		c.t.Fatalf("got answer %d, want the connection closed", correlation)
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		c.t.Fatal("the connection was left open")
	}
}

func metadata(version int16) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.SetVersion(version)
	return req
}

func produce(version, acks int16, size int) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(version)
	req.Acks = acks
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = "t"
	part := kmsg.NewProduceRequestTopicPartition()
	part.Partition, part.Records = 5, bytes.Repeat([]byte{1}, size)
	topic.Partitions = append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	return req
}

func TestAnswersKeepTheOrderOfRequests(t *testing.T) {
	f := start(t, nil)
	c := f.dial()
	c.send(1, "", produce(9, -1, 10))
	c.send(2, "", produce(9, -1, 10))
	c.send(3, "", metadata(12))
	// All three are started before the first is answered: produce pipelines.
	<-f.started
	<-f.started
	f.release <- 0
	c.expect(1)
	f.release <- 0
	c.expect(2)
	c.expect(3)
}

func TestHangUpClosesTheConnectionBehindEarlierAnswers(t *testing.T) {
	f := start(t, nil)
	c := f.dial()
	fetch := kmsg.NewPtrFetchRequest()
	fetch.SetVersion(12)
	c.send(1, "", metadata(9))
	c.send(2, "", fetch)
	c.expect(1)
	c.expectClosed()
	<-f.after
}

func TestNilAnswerClosesTheConnection(t *testing.T) {
	f := start(t, nil)
	c := f.dial()
	c.send(1, "", metadata(9))
	c.send(2, "nil", metadata(9))
	c.expect(1)
	c.expectClosed()
}

func TestAcksZeroIsAnsweredWithNothing(t *testing.T) {
	f := start(t, nil)
	c := f.dial()
	c.send(1, "", produce(9, 0, 10))
	c.send(2, "", metadata(0))
	f.release <- 0
	c.expect(2)
}

func TestVersionsBelowOursAreRefusedInTheirOwnForm(t *testing.T) {
	f := start(t, nil)
	c := f.dial()
	c.send(1, "", produce(2, -1, 10))
	resp := kmsg.NewPtrProduceResponse()
	resp.SetVersion(2)
	if err := resp.ReadFrom(c.expect(1)); err != nil {
		t.Fatal(err)
	}
	p := resp.Topics[0].Partitions[0]
	if resp.Topics[0].Topic != "t" || p.Partition != 5 || p.ErrorCode != kerr.UnsupportedVersion.Code {
		t.Errorf("got topic %q, partition %d, error %d", resp.Topics[0].Topic, p.Partition, p.ErrorCode)
	}
	c.send(2, "", metadata(1))
	c.expect(2)
}

func TestApiVersionsOfTheFutureIsAnsweredInVersionZero(t *testing.T) {
	f := start(t, nil)
	c := f.dial()
	frame := binary.BigEndian.AppendUint32(nil, 8)
	frame = binary.BigEndian.AppendUint16(frame, uint16(kmsg.ApiVersions))
	frame = binary.BigEndian.AppendUint16(frame, 99)
	frame = binary.BigEndian.AppendUint32(frame, 1)
	if _, err := c.Write(frame); err != nil {
		t.Fatal(err)
	}
	resp := kmsg.NewPtrApiVersionsResponse()
	if err := resp.ReadFrom(c.expect(1)); err != nil {
		t.Fatal(err)
	}
	if resp.ErrorCode != kerr.UnsupportedVersion.Code || len(resp.ApiKeys) != 1 {
		t.Errorf("got error %d and %d APIs, want UNSUPPORTED_VERSION and the table", resp.ErrorCode, len(resp.ApiKeys))
	}
}

func TestFrameThatIsTooLargeEndsItsConnectionUnread(t *testing.T) {
	f := start(t, func(c *Config) { c.MaxFrameBytes = 1000 })
	for _, size := range []uint32{1001, 1 << 30, 1<<32 - 1, 0} {
		c := f.dial()
		if _, err := c.Write(binary.BigEndian.AppendUint32(nil, size)); err != nil {
			t.Fatal(err)
		}
		c.expectClosed()
	}
}

func TestPanicOfAHandlerEndsItsConnectionOnly(t *testing.T) {
	f := start(t, nil)
	healthy, sick := f.dial(), f.dial()
	sick.send(1, "panic", metadata(9))
	sick.expectClosed()
	healthy.send(1, "", metadata(9))
	healthy.expect(1)
}

func TestSpentBudgetStopsReadingProduceButNotSmallRequests(t *testing.T) {
	f := start(t, nil)
	first, second, third := f.dial(), f.dial(), f.dial()
	first.send(1, "", produce(9, -1, 900<<10))
	<-f.started
	second.send(1, "", produce(9, -1, 900<<10))
	third.send(1, "", metadata(9))
	third.expect(1)
	select {
	case <-f.started:
		t.Fatal("a request was read although the memory budget is spent")
	default:
	}
	f.release <- 0
	first.expect(1)
	<-f.started // now there is room
	f.release <- 0
	second.expect(1)
	if used := f.budget.Used(); used != 0 {
		t.Errorf("%d bytes are still charged", used)
	}
}

func TestSmallProduceRequestsAreChargedToo(t *testing.T) {
	f := start(t, nil)
	c := f.dial()
	c.send(1, "", produce(9, -1, 100))
	<-f.started
	if f.budget.Used() == 0 {
		t.Error("a small produce request is not charged")
	}
	f.release <- 0
	c.expect(1)
}

func TestConnectionThatStallsInAFrameIsClosed(t *testing.T) {
	f := start(t, func(c *Config) { c.StallTimeout = 50 * time.Millisecond })
	c := f.dial()
	if _, err := c.Write(binary.BigEndian.AppendUint32(nil, 200<<10)); err != nil {
		t.Fatal(err)
	}
	c.expectClosed()
	if used := f.budget.Used(); used != 0 {
		t.Errorf("%d bytes are still charged", used)
	}
}

func TestConnectionsAboveTheLimitAreClosed(t *testing.T) {
	f := start(t, func(c *Config) { c.MaxConnections = 1 })
	first := f.dial()
	first.send(1, "", metadata(9))
	first.expect(1)
	f.dial().expectClosed()
	first.send(2, "", metadata(9))
	first.expect(2)
}

func TestConnectionsFromOneAddressAboveTheirLimitAreClosed(t *testing.T) {
	var limit atomic.Int64
	limit.Store(1)
	f := start(t, func(c *Config) { c.MaxConnectionsPerIP = func() int { return int(limit.Load()) } })
	first := f.dial()
	first.send(1, "", metadata(9))
	first.expect(1)
	f.dial().expectClosed()
	limit.Store(2) // it changes while the server runs
	second := f.dial()
	second.send(1, "", metadata(9))
	second.expect(1)
	f.dial().expectClosed()
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	for { // until the server has seen the end
		third := f.dial()
		third.send(1, "", metadata(9))
		if _, _, err := third.receive(); err == nil {
			return
		}
	}
}

func TestRefusedConnectionsAreLoggedOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		budget := NewBudget(1)
		s := New(Config{MaxConnections: 0}, nil, budget, NewMetrics(prometheus.NewRegistry(), budget), slog.New(slog.NewTextHandler(&logged, nil)))
		for range 3 { // at 0, 5 and 10 seconds
			s.mu.Lock()
			if s.admit("10.0.0.1") {
				t.Error("a server that allows no connection admits one")
			}
			s.mu.Unlock()
			time.Sleep(refusalsEvery / 2)
		}
		if n := strings.Count(logged.String(), "client=10.0.0.1"); n != 2 {
			t.Errorf("logged %d of 3 times: %s", n, &logged)
		}
		s.hardStop()
	})
}

func TestRequestsBehindOthersAreBoundedOverAllConnections(t *testing.T) {
	f := start(t, func(c *Config) { c.MaxPipelined = 1 })
	first, second, third := f.dial(), f.dial(), f.dial()
	first.send(1, "", joinGroup())
	first.send(2, "", joinGroup()) // takes the only place
	<-f.started
	<-f.started
	second.send(1, "", kmsg.NewPtrSyncGroupRequest())
	<-f.started
	second.send(2, "", joinGroup())
	// Whoever has nothing under way is served all the same, and what is charged by its bytes too.
	third.send(1, "", metadata(9))
	third.expect(1)
	first.send(3, "", produce(9, -1, 10))
	<-f.started
	select {
	case <-f.started:
		t.Fatal("more requests are under way behind others than allowed")
	default:
	}
	for range 3 {
		f.release <- 0
	}
	for i := range int32(3) {
		first.expect(i + 1)
	}
	<-f.started // the second one of second, for the place is free
	f.synced <- struct{}{}
	second.expect(1)
	f.release <- 0
	second.expect(2)
}

// TestRequestBehindNoneAnyMoreNeedsNoPlace: those that have the places may wait for minutes.
func TestRequestBehindNoneAnyMoreNeedsNoPlace(t *testing.T) {
	f := start(t, func(c *Config) { c.MaxPipelined = 1 })
	first, second := f.dial(), f.dial()
	for i := range int32(2) {
		first.send(i, "", kmsg.NewPtrSyncGroupRequest())
		<-f.started
	}
	second.send(1, "", joinGroup())
	<-f.started
	second.send(2, "", metadata(9)) // waits for a place
	for testutil.ToFloat64(f.server.metrics.inFlight) < 4 {
		<-time.After(time.Millisecond)
	}
	f.release <- 0
	second.expect(1)
	second.expect(2)
	for i := range int32(2) {
		f.synced <- struct{}{}
		first.expect(i)
	}
	// The places are as many as before.
	if err := f.server.pipelined.Acquire(t.Context(), 1); err != nil || f.server.pipelined.TryAcquire(1) {
		t.Errorf("error %v, or more than one place", err)
	}
	f.server.pipelined.Release(1)
}

// TestTrafficIsCountedByZone as clients tell theirs, which they may do anew with each request.
func TestTrafficIsCountedByZone(t *testing.T) {
	f := start(t, func(c *Config) {
		c.Zone, c.ZoneOf = "a", func(client protocol.Client) string { return client.ID }
	})
	c := f.dial()
	counts := func() (n [sides][2]float64) {
		for s, counters := range f.server.metrics.traffic {
			n[s] = [2]float64{testutil.ToFloat64(counters.in), testutil.ToFloat64(counters.out)}
		}
		return n
	}
	var want [sides][2]float64
	for i, tc := range []struct {
		id   string
		side side
	}{{"", nowhere}, {"a", sameZone}, {"b", otherZone}, {"a", sameZone}} {
		req := metadata(9)
		c.send(int32(i), tc.id, req)
		answer := c.expect(int32(i))
		want[tc.side][0] += float64(len(kmsg.NewRequestFormatter(kmsg.FormatterClientID(tc.id)).AppendRequest(nil, req, 0)))
		want[tc.side][1] += float64(8 + len(answer))
		if got := counts(); got != want {
			t.Errorf("%d: %v, want %v", i, got, want)
		}
	}
	_, in, out := f.server.Traffic()
	if got := counts(); got[0][0]+got[1][0]+got[2][0] != float64(in) || got[0][1]+got[1][1]+got[2][1] != float64(out) {
		t.Errorf("%v do not add up to %d and %d", got, in, out)
	}
}

func joinGroup() *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.SetVersion(5)
	return req
}

func TestDrainAnswersWhatWasStarted(t *testing.T) {
	f := start(t, nil)
	c, idle := f.dial(), f.dial()
	c.send(1, "", produce(9, -1, 10))
	<-f.started
	drained := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		drained <- f.server.Drain(ctx)
	}()
	idle.expectClosed()
	f.release <- 0
	c.expect(1)
	c.expectClosed()
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// TestDrainResetsNoConnection: the peer gets its answer and then the end, although it has sent more.
func TestDrainResetsNoConnection(t *testing.T) {
	f := start(t, nil)
	c := f.dial()
	c.send(1, "", produce(9, -1, 10))
	<-f.started
	drained := make(chan error, 1)
	go func() { drained <- f.server.Drain(t.Context()) }()
	for draining := false; !draining; <-time.After(time.Millisecond) {
		f.server.mu.Lock()
		draining = f.server.draining
		f.server.mu.Unlock()
	}
	c.send(2, "", produce(9, -1, 10))
	f.release <- 0
	c.expect(1)
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read %d bytes and %v, want the end", n, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

func TestDrainCutsOffAtTheEndOfItsTime(t *testing.T) {
	f := start(t, nil)
	c := f.dial()
	c.send(1, "", produce(9, -1, 10))
	<-f.started
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	drained := make(chan error, 1)
	go func() { drained <- f.server.Drain(ctx) }()
	c.expectClosed()
	f.release <- 0
	if err := <-drained; !errors.Is(err, context.Canceled) {
		t.Errorf("Drain returned %v, want that its time was over", err)
	}
}

// TestRefuseFillsEveryServedRequest makes sure that no request's form trips
// the reflection.
func TestRefuseFillsEveryServedRequest(t *testing.T) {
	for key := range int16(kmsg.MaxKey) {
		req := kmsg.RequestForKey(key)
		if req == nil {
			continue
		}
		for version := range req.MaxVersion() + 1 {
			req.SetVersion(version)
			resp := refuse(req, kerr.UnsupportedVersion.Code)
			if resp.GetVersion() != version {
				t.Errorf("%s version %d is refused in version %d", kmsg.NameForKey(key), version, resp.GetVersion())
			}
			resp.AppendTo(nil)
		}
	}
}

func TestWaitingRequestLearnsThatItsClientLeft(t *testing.T) {
	f := start(t, nil)
	c := f.dial()
	c.send(1, "", produce(9, 1, 10))
	req := <-f.started
	select {
	case <-req.Gone:
		t.Fatal("the client counts as gone while it waits")
	default:
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	<-req.Gone
	f.release <- 0
}
