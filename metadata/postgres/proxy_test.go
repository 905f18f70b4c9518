package postgres

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// proxy forwards connections to a server and can cut them at a message.
type proxy struct {
	t        *testing.T
	listener net.Listener
	server   string
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
	// trigger is what the client's bytes must contain for the next cut; nil for none.
	trigger []byte
	// deliver: the server gets those bytes and answers; only the answer is lost.
	deliver bool
	// down: no connection gets through.
	down bool
}

// newProxy returns a proxy and the URL that leads through it.
func newProxy(t *testing.T, serverURL string) (*proxy, string) {
	t.Helper()
	u, err := url.Parse(serverURL)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, listener: listener, server: u.Host, conns: map[net.Conn]bool{}}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		p.setDown(true)
		p.wg.Wait()
	})
	u.Host = listener.Addr().String()
	return p, u.String()
}

// cutAt cuts, once, the connection on which the client sends text.
func (p *proxy) cutAt(text string, deliver bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trigger, p.deliver = []byte(text), deliver
}

// setDown cuts all connections and lets none through while down.
func (p *proxy) setDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
	if down {
		for c := range p.conns {
			_ = c.Close()
		}
	}
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(client) })
	}
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	down := p.down
	p.conns[client], p.conns[server] = true, true
	p.mu.Unlock()
	if down {
		return
	}
	muted := make(chan struct{})
	answered := make(chan struct{})
	var answers sync.WaitGroup
	answers.Go(func() {
		defer close(answered)
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			select {
			case <-muted:
				return // whatever it answered is lost
			default:
			}
			if err != nil {
				_ = client.Close()
				return
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	})
	p.forward(client, server, muted, answered)
	_ = server.Close()
	_ = client.Close()
	answers.Wait()
}

// forward copies what the client sends until the cut. The client's messages
// are small, so a trigger never spans two reads.
func (p *proxy) forward(client, server net.Conn, muted, answered chan struct{}) {
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		cut, deliver := p.trigger != nil && bytes.Contains(buf[:n], p.trigger), p.deliver
		if cut {
			p.trigger = nil
		}
		p.mu.Unlock()
		if cut && !deliver {
			return
		}
		if cut {
			close(muted)
		}
		if _, err := io.Copy(server, bytes.NewReader(buf[:n])); err != nil {
			return
		}
		if cut {
			<-answered
			return
		}
	}
}
