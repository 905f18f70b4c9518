package peer

import (
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/wadi-log/wadi/objstore"
)

const (
	// beatEvery is the time between two signs of life while an answer takes long: several in
	// the time after which the asker gives up.
	beatEvery = patience / 5
	// writeTimeout bounds the wait for an asker that doesn't take its answer.
	writeTimeout = 10 * time.Second
	// requestTimeout bounds the wait for a connection's handshake and for each request.
	requestTimeout = 5 * time.Second
	idleTimeout    = 2 * time.Minute
	// maxConnections is what a zone of a hundred agents or so needs at most.
	maxConnections = 1024
)

// Read returns bytes of a data file, in pieces that nobody changes, fewer only where the file ends. Errors:
// objstore.ErrNotFound, objstore.ErrRange, or any other.
type Read func(ctx context.Context, file uuid.UUID, position, length int64, hot bool) ([][]byte, error)

// Server answers the agents of the zone that take this one for the owner.
type Server struct {
	read    Read
	metrics *Metrics
	// hot and cold have room bytes each.
	hot, cold *semaphore.Weighted
	room      int64
	http      *http.Server
	// stop ends the requests under way.
	stop context.CancelFunc
}

// NewServer makes a server that reads by read, and whose answers hold about that many bytes at once, or
// one call's; those for the tail of the log have as much of their own. Close ends it, whether it served or not.
func NewServer(read Read, room int64, identity *Identity, metrics *Metrics, logger *slog.Logger) *Server {
	base, stop := context.WithCancel(context.Background())
	s := &Server{read: read, metrics: metrics, hot: semaphore.NewWeighted(room), cold: semaphore.NewWeighted(room), room: room, stop: stop}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+blocksPath, s.blocks)
	s.http = &http.Server{
		Handler: mux, TLSConfig: identity.server(), Protocols: http1(),
		ReadHeaderTimeout: requestTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: 8 << 10,
		BaseContext: func(net.Listener) context.Context { return base },
		ErrorLog:    log.New(&complaints{logger, rate.NewLimiter(rate.Every(10*time.Second), 3)}, "", 0),
	}
	return s
}

// http1: one call at a time has a connection, so that a large answer delays no other.
func http1() *http.Protocols {
	p := &http.Protocols{}
	p.SetHTTP1(true)
	return p
}

// Serve answers what comes over the listener, which it closes, until Close. It returns why it
// ended, nil after Close.
func (s *Server) Serve(ln net.Listener) error {
	err := s.http.ServeTLS(netutil.LimitListener(ln, maxConnections), "", "")
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Close ends all requests, and returns when they have ended.
func (s *Server) Close() {
	s.stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close() // of listeners that are closed, and connections that were given up
	}
}

// blocks answers a call.
func (s *Server) blocks(w http.ResponseWriter, r *http.Request) {
	conn := http.NewResponseController(w)
	spans, err := s.request(conn, w, r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	// The asker gives up first, which ends the request's context.
	ctx, cancel := context.WithTimeout(r.Context(), 2*answerTimeout)
	defer cancel()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.WriteHeader(http.StatusOK)
	// The asker hears at once that somebody is here.
	if conn.Flush() != nil {
		return
	}
	answers := make(chan answer, len(spans)) // room for all: nobody may be left to take them
	var reading sync.WaitGroup
	defer reading.Wait()
	defer cancel() // before the wait
	reading.Go(func() { s.readAll(ctx, spans, answers) })
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	for left := len(spans); left > 0; {
		a := answer{kind: kindBeat}
		select {
		case a = <-answers:
			left--
		case <-beat.C:
		case <-ctx.Done():
			// An answer that breaks off is no answer: the asker reads the rest itself.
			panic(http.ErrAbortHandler)
		}
		if err := s.send(conn, w, a); err != nil {
			panic(http.ErrAbortHandler)
		}
	}
}

// request reads and parses a request.
func (s *Server) request(conn *http.ResponseController, w http.ResponseWriter, r *http.Request) ([]span, error) {
	if err := conn.SetReadDeadline(time.Now().Add(requestTimeout)); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		return nil, err
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	return parseRequest(body)
}

// answer is what becomes of a span.
type answer struct {
	kind   kind
	number int
	pieces [][]byte
}

// readAll reads the spans side by side, and returns when all are answered and what they hold was sent
// or given up.
func (s *Server) readAll(ctx context.Context, spans []span, answers chan<- answer) {
	sum, sending := int64(0), s.hot
	for _, p := range spans {
		sum += p.length
		if !p.hot {
			sending = s.cold
		}
	}
	sum = min(sum, s.room)
	if sending.Acquire(ctx, sum) != nil {
		return // the call has ended
	}
	defer sending.Release(sum)
	var reads sync.WaitGroup
	for i, p := range spans {
		reads.Go(func() {
			pieces, err := s.read(ctx, p.file, p.position, p.length, p.hot)
			answers <- answer{kindOf(err), i, pieces}
		})
	}
	reads.Wait()
	<-ctx.Done()
}

// kindOf is how an error is told.
func kindOf(err error) kind {
	switch {
	case err == nil:
		return kindBytes
	case errors.Is(err, objstore.ErrNotFound):
		return kindNotFound
	case errors.Is(err, objstore.ErrRange):
		return kindRange
	}
	return kindFailed
}

func (s *Server) send(conn *http.ResponseController, w io.Writer, a answer) error {
	if err := conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if err := writeFrame(w, a.kind, a.number, a.pieces...); err != nil {
		return err
	}
	for _, p := range a.pieces {
		s.metrics.sent.Add(float64(len(p)))
	}
	return conn.Flush()
}

// complaints logs what the HTTP server has to say of connections, mostly of those that can't prove
// to be an agent's, but not all of it: anybody may come.
type complaints struct {
	log   *slog.Logger
	limit *rate.Limiter
}

func (c *complaints) Write(line []byte) (int, error) {
	if c.limit.Allow() {
		c.log.Warn("a connection to the listener for other agents failed", "error", strings.TrimSpace(string(line)))
	}
	return len(line), nil
}
