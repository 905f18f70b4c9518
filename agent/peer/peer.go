package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/agent/gather"
	"github.com/wadi-log/wadi/objstore"
)

const (
	// patience is how long an owner may be silent before it is given up. It is no bound on reading: a living
	// owner beats while it waits for the object store, where asking a second time would only cost
	// more. So it is what a frozen owner costs those who ask it, once: as long as a fetch waits for records
	// by default, and more than a busy machine needs for a handshake.
	patience = 500 * time.Millisecond
	// answerTimeout bounds a whole call: an owner that lives may have lost the object store.
	answerTimeout = 5 * time.Second
	// rest is how long an owner that failed is left alone.
	rest = 3 * time.Second
	// callsAtOnce is the number of calls under way to one owner, for hot reads and for cold ones
	// each. What comes meanwhile shares the next.
	callsAtOnce = 4
)

var (
	errSilent  = fmt.Errorf("nothing was heard of it for %v", patience)
	errSlow    = fmt.Errorf("it did not answer within %v", answerTimeout)
	errResting = errors.New("the owner failed lately and is left alone")
	errClosed  = errors.New("this agent is closing")
)

// Peer is another agent of the zone. Make it by [Client.Owner].
type Peer struct {
	client *Client
	member Member
	hot    *gather.Queue[*asking]
	cold   *gather.Queue[*asking]

	mu sync.Mutex
	// resting: it failed, and is asked for nothing before a probe succeeds, which comes after until.
	resting bool
	until   time.Time
	probing bool
}

// asking is a span that somebody waits for.
type asking struct {
	span
	done chan struct{} // closed when data and err are set
	data []byte
	err  error
}

func newPeer(c *Client, m Member) *Peer {
	p := &Peer{client: c, member: m}
	weight := func(a *asking) int { return int(max(a.length, MaxSpanBytes/maxSpans)) }
	take := gather.Until(MaxSpanBytes, weight) // so a call has less than twice as much
	p.hot = gather.New(callsAtOnce, c.workers.Spawn, take, p.call)
	p.cold = gather.New(callsAtOnce, c.workers.Spawn, take, p.call)
	return p
}

// Read asks for length bytes, 1 to MaxSpanBytes, of a file; fewer come only where it ends. The slice is the caller's own. hot requests have
// calls of their own. Errors: objstore.ErrNotFound and objstore.ErrRange are what the object store told the owner;
// after any other the caller asks the object store.
func (p *Peer) Read(ctx context.Context, file uuid.UUID, position, length int64, hot bool) ([]byte, error) {
	data, err := p.read(ctx, span{file, position, length, hot})
	m := p.client.metrics
	switch {
	case err == nil:
		m.ok.Inc()
		m.received.Add(float64(len(data)))
	case errors.Is(err, objstore.ErrNotFound), errors.Is(err, objstore.ErrRange):
		m.absent.Inc()
	case errors.Is(err, errResting):
		m.skipped.Inc()
	default:
		m.failed.Inc()
	}
	return data, err
}

func (p *Peer) read(ctx context.Context, s span) ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	if !p.usable() {
		return nil, errResting
	}
	queue := p.cold
	if s.hot {
		queue = p.hot
	}
	a := &asking{span: s, done: make(chan struct{})}
	if !queue.Add(a) {
		return nil, errClosed
	}
	select {
	case <-a.done:
		return a.data, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// call asks for all of the batch, and answers it.
func (p *Peer) call(batch []*asking) {
	err := errResting // it failed while they waited
	if p.usable() {
		err = p.ask(batch)
		p.heard(err)
	}
	for _, a := range batch {
		select {
		case <-a.done:
		default:
			a.finish(nil, err)
		}
	}
}

func (a *asking) finish(data []byte, err error) {
	a.data, a.err = data, err
	close(a.done)
}

// ask makes a call, and finishes those of the batch that are answered: all of them unless it returns an error.
func (p *Peer) ask(batch []*asking) error {
	ctx, cancel := context.WithCancelCause(p.client.workers.Life())
	defer cancel(nil)
	silence := time.AfterFunc(patience, func() { cancel(errSilent) })
	defer silence.Stop()
	slow := time.AfterFunc(answerTimeout, func() { cancel(errSlow) })
	defer slow.Stop()

	p.client.metrics.calls.Inc()
	err := p.exchange(ctx, batch, func() { silence.Reset(patience) })
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return err
}

// exchange sends the request and reads the answer. alive is called with every sign of life.
func (p *Peer) exchange(ctx context.Context, batch []*asking, alive func()) error {
	spans := make([]span, len(batch))
	for i, a := range batch {
		spans[i] = a.span
	}
	body := bytes.NewReader(appendRequest(nil, spans))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+p.member.Address+blocksPath, body)
	if err != nil {
		return err
	}
	// Without a value: may be sent again when an idle connection turns out to be closed (net/http.Transport).
	req.Header["Idempotency-Key"] = nil
	resp, err := p.client.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	alive()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 256)) // as much as there is
		return fmt.Errorf("it answers %s: %s", resp.Status, bytes.TrimSpace(text))
	}
	return readAnswer(hearing{resp.Body, alive}, spans, func(number int, data []byte, err error) {
		if errors.Is(err, errFailed) {
			p.heard(err) // we may do better
		}
		batch[number].finish(data, err)
	})
}

// hearing calls alive for whatever is read.
type hearing struct {
	io.Reader
	alive func()
}

func (h hearing) Read(b []byte) (int, error) {
	n, err := h.Reader.Read(b)
	if n > 0 {
		h.alive()
	}
	return n, err
}

// usable reports whether the peer is to be asked. When it has rested, somebody looks after it in the
// background, so that nobody waits for one that is still dead.
func (p *Peer) usable() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.resting && !p.probing && time.Now().After(p.until) {
		p.probing = p.client.workers.Spawn(p.probe)
	}
	return !p.resting
}

func (p *Peer) probe() {
	err := p.ask(nil)
	p.heard(err)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.probing = false
	if err == nil && p.resting {
		p.resting = false
		p.client.log.Info("an agent of the zone answers again", "node_id", p.member.NodeID, "address", p.member.Address)
	}
}

// heard notes how a call ended. One that succeeded began before others failed, perhaps, so only a probe ends the rest.
func (p *Peer) heard(err error) {
	if err == nil || p.client.workers.Life().Err() != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until = time.Now().Add(rest)
	if !p.resting {
		p.resting = true
		p.client.log.Warn("an agent of the zone does not answer; what it would read for all is read from the object store",
			"node_id", p.member.NodeID, "address", p.member.Address, "error", err)
	}
}
