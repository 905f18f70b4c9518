package peer

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wadi-log/wadi/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// pair is an agent that asks and the owner of everything, in one process: what is between them is memory, so that
// time in a bubble stands still while they compute.
type pair struct {
	client *Client
	server *Server
	net    *network
	asks   *Metrics
	log    *bytes.Buffer
}

// secret is a cluster's.
var secret = bytes.Repeat([]byte("a secret"), 4)

func identity(t testing.TB, secret []byte) *Identity {
	t.Helper()
	id, err := NewIdentity(secret)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// newPair makes a pair of agents with these secrets, of which the second owns everything and reads by read.
func newPair(t *testing.T, asker, owner []byte, read Read) *pair {
	t.Helper()
	p := &pair{net: newNetwork(), asks: NewMetrics(prometheus.NewRegistry()), log: &bytes.Buffer{}}
	logger := slog.New(slog.NewTextHandler(p.log, nil)) // which locks; it is read after Close
	members := func() (int32, []Member) { return 1, []Member{{NodeID: 2, Address: "owner:1"}} }
	p.client = NewClient(members, identity(t, asker), p.asks, logger)
	p.client.http.Transport.(*http.Transport).DialContext = p.net.dial
	p.server = NewServer(read, 1000, identity(t, owner), NewMetrics(prometheus.NewRegistry()), logger)
	served := make(chan error, 1)
	go func() { served <- p.server.Serve(p.net) }()
	t.Cleanup(func() {
		p.net.freeze(false)
		p.client.Close()
		p.server.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return p
}

func (p *pair) owner() *Peer { return p.client.Owner(uuid.Nil, 0) }

// counts are what the asker counted.
type counts struct{ ok, absent, failed, skipped, calls int }

func (p *pair) counts() counts {
	n := func(c prometheus.Counter) int { return int(testutil.ToFloat64(c)) }
	m := p.asks
	return counts{n(m.ok), n(m.absent), n(m.failed), n(m.skipped), n(m.calls)}
}

// network is a listener in memory, which can be frozen as SIGSTOP freezes a process: what was
// connected stays so, who connects waits, and nothing is heard.
type network struct {
	conns chan net.Conn

	mu     sync.Mutex
	closed chan struct{}
	thawed chan struct{} // closed while not frozen
}

func newNetwork() *network {
	n := &network{conns: make(chan net.Conn, 100), closed: make(chan struct{}), thawed: make(chan struct{})}
	close(n.thawed)
	return n
}

func (n *network) freeze(frozen bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.thawed:
		if frozen {
			n.thawed = make(chan struct{})
		}
	default:
		if !frozen {
			close(n.thawed)
		}
	}
}

func (n *network) running() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.thawed
}

func (n *network) dial(context.Context, string, string) (net.Conn, error) {
	select {
	case <-n.closed:
		return nil, errors.New("connection refused")
	default:
	}
	asker, near := net.Pipe()
	far, owner := net.Pipe()
	go carry(near, far)
	go carry(far, near)
	n.conns <- &ownersConn{owner, n, make(chan struct{}), sync.Once{}}
	return asker, nil
}

func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.conns:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *network) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.closed:
	default:
		close(n.closed)
	}
	return nil
}

func (n *network) Addr() net.Addr { return &net.TCPAddr{} }

// carry takes what is written on one side to the other, as kernels do: who writes doesn't wait for who reads.
func carry(from, to net.Conn) {
	under := make(chan []byte, 1<<16)
	go func() {
		defer close(under)
		for {
			b := make([]byte, 64<<10)
			n, err := from.Read(b)
			if err != nil {
				return
			}
			under <- b[:n]
		}
	}()
	for b := range under {
		if _, err := to.Write(b); err != nil {
			break
		}
	}
	_ = to.Close() // one end closed
	_ = from.Close()
	for range under { // until its reader has ended
	}
}

// ownersConn is the owner's end of a connection.
type ownersConn struct {
	net.Conn
	network *network
	closed  chan struct{}
	once    sync.Once
}

func (c *ownersConn) wait() error {
	select {
	case <-c.network.running():
		return nil
	case <-c.closed:
		return net.ErrClosed
	}
}

func (c *ownersConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if frozen := c.wait(); frozen != nil {
		return 0, frozen
	}
	return n, err
}

func (c *ownersConn) Write(b []byte) (int, error) {
	if err := c.wait(); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

func (c *ownersConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// file is what a Read of tests gives: its bytes say where they are from.
type file []byte

func (f file) read(_ context.Context, _ uuid.UUID, position, length int64, _ bool) ([][]byte, error) {
	end := min(position+length, int64(len(f)))
	middle := (position + end) / 2
	return [][]byte{f[position:middle], f[middle:end]}, nil
}
