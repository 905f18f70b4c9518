package server

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	pool "github.com/libp2p/go-buffer-pool"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/protocol"
)

const (
	// freeFrameBytes is the size up to which a frame other than a Produce isn't
	// charged to the budget, so that heartbeats and metadata get through while
	// producers wait. (Produce requests stay in memory until their data file is
	// committed, the others until they are answered.)
	freeFrameBytes = 64 << 10
	// slowestPeer is the bytes a second at which a frame may come, after the
	// stall timeout that every frame gets.
	slowestPeer = 1 << 20
	// lingerTimeout bounds how long a drained connection waits for its peer to hang up.
	lingerTimeout = time.Second
	// writeChunk is how much of an answer must go within the stall timeout.
	writeChunk = 1 << 20
)

// conn is one client connection. The reader goroutine owns client and the
// reading side; the writer goroutine owns the writing side.
type conn struct {
	server *Server
	nc     net.Conn
	log    *slog.Logger
	client protocol.Client
	// side is where the client is, by what it said last.
	side side
	// hangs is how often the process had hung when the connection was made.
	hangs int64

	ctx    context.Context
	cancel context.CancelFunc
	queue  chan answer
	// gone is closed when the peer has ended the connection, or broken it.
	gone chan struct{}
	// underWay is the number of requests that were begun to be read and are not answered yet.
	underWay atomic.Int64
	// alone is called, if there is one, when all but one of them are answered.
	alone atomic.Pointer[context.CancelFunc]

	// stopped is set before the read deadline that ends the reader, so that
	// the reader does not move the deadline again.
	stopped atomic.Bool
}

// answer is what the writer waits for and writes.
type answer struct {
	header protocol.RequestHeader
	side   side
	wait   Pending
	done   func() // gives the frame back to the budget; nil when the handler kept it
	after  func() // the handler's, for when the answer is written; or nil
	// pipelined: it takes one of the server's places.
	pipelined bool
	started   time.Time
}

// clientOf is what is known of a client before it asked for anything.
func clientOf(nc net.Conn, listener string) protocol.Client {
	client := protocol.Client{Host: nc.RemoteAddr().String(), Listener: listener}
	if peer, err := netip.ParseAddrPort(client.Host); err == nil {
		client.Host, client.Port = peer.Addr().String(), peer.Port()
	}
	return client
}

func newConn(s *Server, nc net.Conn, client protocol.Client) *conn {
	ctx, cancel := context.WithCancel(s.base)
	return &conn{
		server: s, nc: nc, log: s.log.With("client", nc.RemoteAddr().String()),
		client: client, side: s.config.sideOf(client), hangs: s.pulse.hangs.Load(),
		ctx: ctx, cancel: cancel,
		queue: make(chan answer, s.config.MaxInFlight), gone: make(chan struct{}),
	}
}

// serve runs the connection to its end. Whatever ends it (the peer, an error,
// a drain), answers that are queued are still written if the socket takes them.
func (c *conn) serve() {
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.write()
	}()
	err := c.read()
	if !c.stopped.Load() {
		close(c.gone)
	}
	close(c.queue)
	c.logEnd(err)
	<-written
	c.cancel()
	if c.stopped.Load() {
		c.linger()
	}
	closeQuietly(c.nc)
}

// linger lets the peer of a drained connection hang up. With requests that nobody reads any more, closing
// would reset the connection, and might take answers away that are still under way: the peer couldn't tell that
// those requests were served, and a producer would repeat them.
func (c *conn) linger() {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || c.nc.SetReadDeadline(time.Now().Add(lingerTimeout)) != nil {
		return // closed already
	}
	// However it ends, the connection is over.
	_, _ = io.Copy(io.Discard, c.nc)
}

func (c *conn) logEnd(err error) {
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), c.stopped.Load():
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.log.Debug("connection closed: idle or stalled")
	case errors.Is(err, protocol.ErrFrameSize), errors.Is(err, protocol.ErrMalformed),
		errors.Is(err, protocol.ErrUnknownKey), errors.Is(err, errRefused):
		c.server.metrics.malformed.Inc()
		c.log.Warn("connection closed: not a request that a Kafka client sends", "error", err)
	default:
		c.log.Debug("connection closed", "error", err)
	}
}

// errRefused marks requests that no answer exists for: the connection ends.
var errRefused = errors.New("request refused")

func (c *conn) read() error {
	r := bufio.NewReaderSize(c.nc, 32<<10)
	for {
		if err := c.deadline(c.server.config.IdleTimeout); err != nil {
			return err
		}
		size, err := protocol.ReadFrameSize(r, c.server.config.MaxFrameBytes)
		if err != nil {
			return err
		}
		if err := c.readRequest(r, size); err != nil {
			return err
		}
	}
}

func (c *conn) deadline(d time.Duration) error {
	if err := c.nc.SetReadDeadline(time.Now().Add(d)); err != nil {
		return err
	}
	if c.stopped.Load() {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// stopReading ends the reader at its next read.
func (c *conn) stopReading() {
	c.stopped.Store(true)
	// An error means that the connection is closed already.
	_ = c.nc.SetReadDeadline(time.Unix(1, 0))
}

// readRequest reads one frame of the size and starts its handler.
func (c *conn) readRequest(r *bufio.Reader, size int32) error {
	if err := c.deadline(c.server.config.StallTimeout); err != nil {
		return err
	}
	key, err := r.Peek(2)
	if err != nil {
		return err
	}
	produce := int16(binary.BigEndian.Uint16(key)) == int16(kmsg.Produce)
	a := answer{done: func() {}}
	if a.pipelined, err = c.enter(produce); err != nil {
		return err
	}
	if produce || size > freeFrameBytes {
		giveBack, err := c.server.budget.Take(c.ctx, int64(size))
		if err != nil {
			c.leave(a.pipelined)
			return err
		}
		a.done = giveBack
	}
	frame, err := c.readFrame(r, size)
	if err != nil {
		a.done()
		c.leave(a.pipelined)
		return err
	}
	c.server.metrics.bytesIn.Add(int64(size) + 4)
	return c.start(a, frame)
}

// enter counts a request that is about to be read. One that comes behind another of the connection
// waits for one of the server's places, and reports that it has one, which leave gives back; or until it comes behind
// none any more.
func (c *conn) enter(produce bool) (pipelined bool, err error) {
	c.server.metrics.inFlight.Inc()
	if c.underWay.Add(1) == 1 || produce {
		return false, nil
	}
	if c.server.pipelined.TryAcquire(1) {
		return true, nil
	}
	ctx, alone := context.WithCancel(c.ctx)
	defer alone()
	c.alone.Store(&alone)
	defer c.alone.Store(nil)
	if c.underWay.Load() == 1 { // the others were answered just now
		return false, nil
	}
	switch err := c.server.pipelined.Acquire(ctx, 1); {
	case err == nil:
		return true, nil
	case c.ctx.Err() != nil:
		c.leave(false)
		return false, err
	}
	return false, nil
}

// leave ends what enter began.
func (c *conn) leave(pipelined bool) {
	if pipelined {
		c.server.pipelined.Release(1)
	}
	if c.underWay.Add(-1) == 1 {
		if alone := c.alone.Load(); alone != nil {
			(*alone)()
		}
	}
	c.server.metrics.inFlight.Dec()
}

func (c *conn) readFrame(r io.Reader, size int32) ([]byte, error) {
	// One deadline for the whole frame: its size is charged to the budget all the while.
	slowest := c.server.config.StallTimeout + time.Duration(size/slowestPeer)*time.Second
	if err := c.deadline(slowest); err != nil {
		return nil, err
	}
	frame := make([]byte, size)
	if n, err := io.ReadFull(r, frame); err != nil {
		return nil, fmt.Errorf("frame of %d bytes cut off after %d: %w", size, n, err)
	}
	return frame, nil
}

// start parses the frame, starts its handler, and queues its answer. It sees to
// it that the frame goes back to the budget.
func (c *conn) start(a answer, frame []byte) error {
	a.started = time.Now()
	giveBack := a.done
	if err := c.begin(&a, frame); err != nil {
		giveBack()
		c.leave(a.pipelined)
		return err
	}
	select {
	case c.queue <- a:
		return nil
	case <-c.ctx.Done():
		// The writer gave up. What the handler started still ends by itself.
		a.wait()
		c.finish(a)
		return c.ctx.Err()
	}
}

// begin fills the answer in, up to the point where it is waited for.
func (c *conn) begin(a *answer, frame []byte) error {
	if !c.server.pulse.fresh(c.hangs) {
		return errHung
	}
	header, body, err := protocol.ParseRequestHeader(frame)
	if err != nil {
		return err
	}
	if c.client.ID != header.ClientID {
		c.client.ID = header.ClientID
		c.side = c.server.config.sideOf(c.client)
	}
	a.header, a.side = header, c.side
	c.server.metrics.traffic[c.side].in.Add(float64(len(frame) + 4))
	req, err := protocol.ParseRequest(header, body)
	switch {
	case errors.Is(err, protocol.ErrUnsupportedVersion):
		if a.wait, err = c.unsupported(header, req, err); err != nil {
			return err
		}
	case err != nil:
		return fmt.Errorf("request with key %d, version %d: %w", header.Key, header.Version, err)
	default:
		if a.wait, err = c.handle(a, req); err != nil {
			return err
		}
	}
	return nil
}

// handle calls the handler. A panic of it is a bug of ours, which must not
// cost the other connections: this one ends.
func (c *conn) handle(a *answer, body kmsg.Request) (wait Pending, err error) {
	handler, ok := c.server.handlers[body.Key()]
	if !ok {
		return nil, fmt.Errorf("%w: API key %d is not served", errRefused, body.Key())
	}
	defer func() {
		if p := recover(); p != nil {
			err = c.panicked(body.Key(), p)
		}
	}()
	if v, ok := body.(*kmsg.ApiVersionsRequest); ok {
		// KIP-511: the client names its software once, for the connection.
		c.client.SoftwareName, c.client.SoftwareVersion = v.ClientSoftwareName, v.ClientSoftwareVersion
	}
	req := &Request{Client: c.client, Body: body, Gone: c.gone, done: a.done}
	wait = handler(c.ctx, req)
	if req.kept {
		a.done = nil
	}
	a.after = req.after
	return wait, nil
}

func (c *conn) panicked(key int16, p any) error {
	c.server.metrics.panics.Inc()
	c.log.Error("a handler panicked; its connection is closed, please report this",
		"api", kmsg.NameForKey(key), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	return fmt.Errorf("%w: internal error", errRefused)
}

// unsupported answers a request whose version we don't serve, in the form of
// that version as long as we can read it. ApiVersions is answered in version 0
// with the error and the full table whatever its version (KIP-511).
func (c *conn) unsupported(h protocol.RequestHeader, req kmsg.Request, why error) (Pending, error) {
	if h.Key == int16(kmsg.ApiVersions) {
		wait, err := c.handle(&answer{}, kmsg.NewPtrApiVersionsRequest())
		if err != nil {
			return nil, err
		}
		return func() kmsg.Response {
			resp := wait().(*kmsg.ApiVersionsResponse)
			resp.ErrorCode = kerr.UnsupportedVersion.Code
			return resp
		}, nil
	}
	if req == nil {
		return nil, fmt.Errorf("%w: %w", errRefused, why)
	}
	if p, ok := req.(*kmsg.ProduceRequest); ok && p.Acks == 0 {
		return func() kmsg.Response { return nil }, nil
	}
	resp := refuse(req, kerr.UnsupportedVersion.Code)
	return func() kmsg.Response { return resp }, nil
}

// finish gives back what the request and its answer hold.
func (c *conn) finish(a answer) {
	if a.done != nil {
		a.done()
	}
	if a.after != nil {
		a.after()
	}
	c.leave(a.pipelined)
}

// write writes the answers in order. After an error it goes on to wait for
// the rest, so that all that requests hold is given back.
func (c *conn) write() {
	broken := false
	for a := range c.queue {
		resp, err := c.await(a)
		switch {
		case err != nil || broken || resp == nil:
		case resp == HangUp:
			err = errRefused
		default:
			err = c.answer(a, resp)
		}
		if err != nil && !broken {
			broken = true
			c.giveUp()
		}
		c.finish(a)
		c.server.metrics.answered(a.header.Key, time.Since(a.started))
	}
}

// answer encodes the response into a pooled buffer and sends it.
func (c *conn) answer(a answer, resp kmsg.Response) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = c.panicked(a.header.Key, p)
		}
	}()
	buffer := pool.Get(protocol.SizeHint(resp))
	frame := protocol.AppendResponse(buffer[:0], a.header, resp)
	defer pool.Put(frame) // which may have outgrown the buffer
	c.server.metrics.traffic[a.side].out.Add(float64(len(frame)))
	return c.send(frame)
}

func (c *conn) await(a answer) (resp kmsg.Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = c.panicked(a.header.Key, p)
		}
	}()
	return a.wait(), nil
}

// giveUp ends the connection from the writer's side: the reader fails at its
// next read, and a handler that it waits for is cancelled.
func (c *conn) giveUp() {
	c.cancel()
	closeQuietly(c.nc)
}

func (c *conn) send(b []byte) error {
	c.server.metrics.bytesOut.Add(int64(len(b)))
	for len(b) > 0 {
		n := min(len(b), writeChunk)
		if err := c.nc.SetWriteDeadline(time.Now().Add(c.server.config.StallTimeout)); err != nil {
			return err
		}
		if _, err := c.nc.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
