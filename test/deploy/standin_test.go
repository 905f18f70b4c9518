package deploy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// standIn takes an agent's place behind a proxy: it says its name on each connection and then echoes lines, and
// answers /readyz as the test wants it to.
type standIn struct {
	name   string
	kafka  net.Listener
	health *httptest.Server
	hangs  chan struct{} // closed by revive

	mu     sync.Mutex // guards status
	status int        // of /readyz; 0 doesn't answer

	open sync.WaitGroup
}

func newStandIn(t *testing.T, name string) *standIn {
	t.Helper()
	s := &standIn{name: name, status: http.StatusOK, hangs: make(chan struct{})}
	var err error
	if s.kafka, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	s.health = httptest.NewServer(http.HandlerFunc(s.ready))
	s.open.Go(s.accept)
	t.Cleanup(func() {
		close(s.hangs)
		s.health.Close()
		s.refuse(t)
		s.open.Wait()
	})
	return s
}

func (s *standIn) ready(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	status := s.status
	s.mu.Unlock()
	if r.URL.Path != "/readyz" {
		status = http.StatusNotFound
	}
	if status == 0 {
		<-s.hangs
		return
	}
	w.WriteHeader(status)
}

// answers says what /readyz answers from now on.
func (s *standIn) answers(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

// refuse closes the listener, as an agent that ended; connections stay.
func (s *standIn) refuse(t *testing.T) {
	t.Helper()
	if err := s.kafka.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

func (s *standIn) accept() {
	for {
		conn, err := s.kafka.Accept()
		if err != nil {
			return // refuse
		}
		s.open.Go(func() {
			defer func() { _ = conn.Close() }()
			if _, err := fmt.Fprintln(conn, s.name); err == nil {
				_, _ = io.Copy(conn, conn) // until the proxy or the test has enough
			}
		})
	}
}

// addresses lead to the stand-ins under their names, and to the proxy's own ports under its name.
func addresses(proxy string, ports map[string]string, agents ...*standIn) Addresses {
	return func(name, port string) (string, error) {
		if name == proxy && ports[port] != "" {
			return ports[port], nil
		}
		for _, a := range agents {
			switch {
			case a.name == name && port == "9092":
				return a.kafka.Addr().String(), nil
			case a.name == name && port == "8080":
				return strings.TrimPrefix(a.health.URL, "http://"), nil
			}
		}
		return "", fmt.Errorf("nothing is at %s:%s", name, port)
	}
}

// connection is a client's, through the proxy.
type connection struct {
	net.Conn
	lines *bufio.Reader
	agent string
}

// connect opens a connection, and learns which agent it leads to.
func connect(address string) (*connection, error) {
	conn, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: conn, lines: bufio.NewReader(conn)}
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	name, err := c.lines.ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("no agent behind the connection: %w", err), conn.Close())
	}
	c.agent = strings.TrimSpace(name)
	return c, nil
}

// mustConnect is connect for where it has to work; the connection is closed with the test.
func mustConnect(t *testing.T, address string) *connection {
	t.Helper()
	c, err := connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// works tells whether the connection still carries something there and back.
func (c *connection) works() error {
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(c, "still there?"); err != nil {
		return err
	}
	_, err := c.lines.ReadString('\n')
	return err
}
