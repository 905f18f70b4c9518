package txncheck

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Losses says how many of 1000 requests, by API key, lose their answer: the server gets the
// request and answers, and the connection ends before the client has read that. Half as many
// again don't reach the server.
type Losses map[kmsg.Key]int

// DefaultLosses are high where an answer decides something.
var DefaultLosses = Losses{
	kmsg.Produce: 25, kmsg.InitProducerID: 100, kmsg.AddPartitionsToTxn: 60, kmsg.AddOffsetsToTxn: 60,
	kmsg.TxnOffsetCommit: 60, kmsg.EndTxn: 120, kmsg.Fetch: 10, kmsg.FindCoordinator: 20, kmsg.Metadata: 10, kmsg.OffsetFetch: 30,
}

// errCut is what a client gets of a connection that the line cut: what the kernel
// gives for a peer that is gone.
var errCut = &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}

// line is a client's way to the servers. It loses requests and answers, by a rule that
// depends on nothing but the seed, the name and how many requests of the API went before.
type line struct {
	seed   uint64
	name   string
	losses Losses
	lost   *lossCounts

	mu       sync.Mutex
	severed  bool
	conns    map[net.Conn]bool
	requests map[int16]uint64
	last     *lastRequest
	strays   map[kmsg.Key]int
}

// lastRequest is one that the client dies of.
type lastRequest struct {
	key kmsg.Key
	// delivered: the server gets it.
	delivered bool
	died      func()
}

// lossCounts counts what all lines of a run lost.
type lossCounts struct{ Answers, Requests atomic.Int64 }

func newLine(seed uint64, name string, losses Losses, lost *lossCounts) *line {
	return &line{seed: seed, name: name, losses: losses, lost: lost, conns: map[net.Conn]bool{}, requests: map[int16]uint64{}, strays: map[kmsg.Key]int{}}
}

// dial is for kgo.Dialer.
func (l *line) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.severed {
		_ = conn.Close()
		return nil, errCut
	}
	l.conns[conn] = true
	return &lossy{Conn: conn, line: l, waiting: map[int32]kmsg.Key{}, doomed: map[int32]bool{}}, nil
}

// sever cuts all connections for good: the client is as good as dead, and can
// tell nobody.
func (l *line) sever() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.severed = true
	for conn := range l.conns {
		_ = conn.Close()
	}
}

// dieAt severs the line when the client sends a request of the API, and then calls died.
func (l *line) dieAt(key kmsg.Key, delivered bool, died func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = &lastRequest{key, delivered, died}
}

// isLast tells whether the client dies of a request of the API.
func (l *line) isLast(key int16) (lastRequest, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil || l.last.key != kmsg.Key(key) {
		return lastRequest{}, false
	}
	return *l.last, true
}

// forget notes that a connection is closed, on which answers to requests of these APIs were missing.
func (l *line) forget(conn net.Conn, missing map[int32]kmsg.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, conn)
	for _, key := range missing {
		l.strays[key]++
	}
}

// strayed tells whether a request of the API was sent and not answered: it may be
// carried out at any time, after later ones that came another way.
func (l *line) strayed(key kmsg.Key) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.strays[key] > 0
}

// verdict is what happens to a request.
type verdict int8

const (
	passes verdict = iota
	losesAnswer
	losesRequest
)

// judge decides on the next request of an API.
func (l *line) judge(key int16) verdict {
	l.mu.Lock()
	n := l.requests[key]
	l.requests[key]++
	l.mu.Unlock()
	h := fnv.New64a()
	_, _ = io.WriteString(h, l.name)
	for _, part := range []uint64{l.seed, uint64(key), n} {
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, part))
	}
	// FNV's low bits alone are too regular for small differences.
	mixed := h.Sum64()
	mixed = (mixed ^ mixed>>33) * 0xff51afd7ed558ccd
	drawn, rate := int(mixed>>33%1000), l.losses[kmsg.Key(key)]
	switch {
	case drawn < rate:
		return losesAnswer
	case drawn < rate+rate/2:
		return losesRequest
	}
	return passes
}

// lossy is a connection that loses what its line tells it to. It knows requests by their
// frames: clients write each at once.
type lossy struct {
	net.Conn
	line *line

	mu sync.Mutex
	// By correlation ID: requests that were not answered yet, and those whose answers get lost.
	waiting map[int32]kmsg.Key
	doomed  map[int32]bool
	// rest of a frame that was read and not yet given to the client. Only Read uses it.
	rest []byte
}

// Frames begin with their size; then a request has its API key and version and a
// correlation ID, which its answer begins with.
const (
	sizeBytes   = 4
	requestHead = sizeBytes + 8
)

func (c *lossy) Write(p []byte) (int, error) {
	if len(p) >= requestHead {
		key, correlation := int16(binary.BigEndian.Uint16(p[4:])), int32(binary.BigEndian.Uint32(p[8:]))
		if last, ok := c.line.isLast(key); ok {
			if last.delivered {
				_, _ = c.Conn.Write(p)
			}
			c.line.sever()
			last.died()
			return 0, errCut
		}
		switch c.line.judge(key) {
		case losesRequest:
			c.line.lost.Requests.Add(1)
			_ = c.Close()
			return 0, errCut
		case losesAnswer:
			c.mu.Lock()
			c.doomed[correlation] = true
			c.mu.Unlock()
		}
		c.mu.Lock()
		c.waiting[correlation] = kmsg.Key(key)
		c.mu.Unlock()
	}
	return c.Conn.Write(p)
}

func (c *lossy) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		frame, err := c.readFrame()
		switch {
		case errors.Is(err, io.EOF):
			// A balancer says good-bye for an agent that is gone. kgo takes that for a
			// refusal if it is the first thing that it reads.
			return 0, errCut
		case err != nil:
			return 0, err
		}
		c.rest = frame
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// readFrame waits for the whole answer, so that a request whose answer gets lost was served.
func (c *lossy) readFrame() ([]byte, error) {
	var size [sizeBytes]byte
	if _, err := io.ReadFull(c.Conn, size[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, sizeBytes+max(4, int(int32(binary.BigEndian.Uint32(size[:])))))
	copy(frame, size[:])
	if _, err := io.ReadFull(c.Conn, frame[sizeBytes:]); err != nil {
		return nil, err
	}
	correlation := int32(binary.BigEndian.Uint32(frame[sizeBytes:]))
	c.mu.Lock()
	doomed := c.doomed[correlation]
	delete(c.waiting, correlation)
	c.mu.Unlock()
	if doomed {
		c.line.lost.Answers.Add(1)
		_ = c.Close()
		return nil, errCut
	}
	return frame, nil
}

func (c *lossy) Close() error {
	c.mu.Lock()
	missing := c.waiting
	c.waiting = map[int32]kmsg.Key{}
	c.mu.Unlock()
	c.line.forget(c.Conn, missing)
	return c.Conn.Close()
}
