package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/wadi-log/wadi/protocol"
)

// Config bounds what clients can make the server do.
type Config struct {
	// MaxFrameBytes is the largest request (Kafka's socket.request.max.bytes).
	MaxFrameBytes int32
	// MaxConnections is the number of open connections; more are closed at once.
	MaxConnections int
	// MaxConnectionsPerIP is likewise of those from one address (Kafka's
	// max.connections.per.ip). It is asked for each new connection, and nil is no limit.
	MaxConnectionsPerIP func() int
	// MaxInFlight is the number of requests of one connection whose answers
	// are not written yet; at the limit the connection is not read.
	MaxInFlight int
	// MaxPipelined is the number of requests, of all connections, that are under way behind
	// another one of their connection (Kafka's queued.max.requests). At the limit a
	// connection is read again when it has nothing under way; so each gets on, however many
	// wait in long polls. Produce requests don't count: the budget bounds their bytes.
	MaxPipelined int
	// IdleTimeout closes connections without a request (Kafka's
	// connections.max.idle.ms).
	IdleTimeout time.Duration
	// StallTimeout closes connections that stop in the middle of a frame, in
	// either direction.
	StallTimeout time.Duration
	// Zone is this server's, and ZoneOf tells that of a client, both "" where it is unknown. They only count:
	// bytes between zones are billed. A nil ZoneOf knows of none.
	Zone   string
	ZoneOf func(protocol.Client) string
}

// DefaultConfig returns Kafka's bounds.
func DefaultConfig() Config {
	return Config{
		MaxFrameBytes:  100 << 20,
		MaxConnections: 10_000,
		MaxInFlight:    64,
		MaxPipelined:   500,
		IdleTimeout:    10 * time.Minute,
		StallTimeout:   30 * time.Second,
	}
}

// refusalsEvery is the time between two log lines that tell of refused connections.
const refusalsEvery = 10 * time.Second

// Server serves the Kafka protocol on listeners.
type Server struct {
	config   Config
	handlers map[int16]Handler
	budget   *Budget
	metrics  *Metrics
	log      *slog.Logger

	// base is the parent of every connection's context; hardStop ends it.
	base     context.Context
	hardStop context.CancelFunc
	pulse    pulse
	// pipelined has MaxPipelined places.
	pipelined *semaphore.Weighted

	mu       sync.Mutex
	draining bool
	conns    map[*conn]struct{}
	// hosts counts the connections by their address.
	hosts map[string]int
	// toldOfRefusal is when a refused connection was logged last.
	toldOfRefusal time.Time

	running sync.WaitGroup
}

// New makes a server of the handlers, by API key.
func New(config Config, handlers map[int16]Handler, budget *Budget, metrics *Metrics, log *slog.Logger) *Server {
	base, stop := context.WithCancel(context.Background())
	return &Server{
		config: config, handlers: handlers, budget: budget, metrics: metrics, log: log,
		base: base, hardStop: stop, pulse: pulse{hungAfter: hungAfter}, pipelined: semaphore.NewWeighted(int64(config.MaxPipelined)),
		conns: map[*conn]struct{}{}, hosts: map[string]int{},
	}
}

// Serve accepts connections of the listener of that name until it is closed, which is how it is
// stopped. A server may serve several at once.
func (s *Server) Serve(ln net.Listener, name string) error {
	s.pulse.once.Do(func() { s.pulse.start(s.base, s.hung) })
	for {
		nc, err := ln.Accept()
		var temporary interface{ Temporary() bool }
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case errors.As(err, &temporary) && temporary.Temporary():
			// Out of file descriptors, or the peer left while it waited. Accept
			// again a little later: a tight loop would take the CPU that is
			// needed to close connections.
			s.log.Warn("accepting a connection failed", "error", err)
			select {
			case <-time.After(50 * time.Millisecond):
			case <-s.base.Done():
				return nil
			}
			continue
		case err != nil:
			return err
		}
		s.start(nc, name)
	}
}

func (s *Server) start(nc net.Conn, listener string) {
	client := clientOf(nc, listener)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining || !s.admit(client.Host) {
		closeQuietly(nc)
		return
	}
	c := newConn(s, nc, client)
	s.conns[c] = struct{}{}
	s.hosts[client.Host]++
	s.metrics.connections.Inc()
	s.running.Go(func() {
		c.serve()
		s.mu.Lock()
		delete(s.conns, c)
		if s.hosts[client.Host]--; s.hosts[client.Host] == 0 {
			delete(s.hosts, client.Host)
		}
		s.mu.Unlock()
		s.metrics.connections.Dec()
	})
}

// Traffic returns how many connections are open, and the bytes that were received and sent since New.
func (s *Server) Traffic() (connections, received, sent int64) {
	s.mu.Lock()
	connections = int64(len(s.conns))
	s.mu.Unlock()
	return connections, s.metrics.bytesIn.Load(), s.metrics.bytesOut.Load()
}

// admit reports whether there is room for a connection from the address, and tells if not; s.mu is held.
func (s *Server) admit(host string) bool {
	if len(s.conns) >= s.config.MaxConnections {
		s.refuse("connections are refused: too many are open; raise --max-connections", "client", host, "max_connections", s.config.MaxConnections)
		return false
	}
	if limit := s.config.MaxConnectionsPerIP; limit != nil && s.hosts[host] >= limit() {
		s.refuse("connections are refused: too many are open from an address; raise max.connections.per.ip", "client", host, "open", s.hosts[host])
		return false
	}
	return true
}

// refuse counts a refused connection, and logs one in a while: whoever is refused comes again and again.
func (s *Server) refuse(why string, attributes ...any) {
	s.metrics.refused.Inc()
	if now := time.Now(); now.Sub(s.toldOfRefusal) >= refusalsEvery {
		s.toldOfRefusal = now
		s.log.Warn(why, attributes...)
	}
}

// Drain stops reading requests, waits until those under way are answered, and
// closes the connections. When ctx ends first, it cuts them off and returns
// ctx's error. The caller has closed the listeners before.
func (s *Server) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	for c := range s.conns {
		c.stopReading()
	}
	s.mu.Unlock()

	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		s.hardStop()
		s.pulse.done.Wait()
		return nil
	case <-ctx.Done():
	}
	s.hardStop()
	s.mu.Lock()
	for c := range s.conns {
		closeQuietly(c.nc)
	}
	s.mu.Unlock()
	<-done
	s.pulse.done.Wait()
	return ctx.Err()
}

// hung ends all connections that were made before the process hung.
func (s *Server) hung(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.Warn("this process hung; connections are closed, since their clients have asked other agents meanwhile",
		"for", d.Round(time.Millisecond), "connections", len(s.conns))
	for c := range s.conns {
		if c.hangs < s.pulse.hangs.Load() {
			closeQuietly(c.nc)
		}
	}
}

// closeQuietly closes a connection that we give up anyway: an error of Close
// says nothing that anybody could act on.
func closeQuietly(nc net.Conn) { _ = nc.Close() }
