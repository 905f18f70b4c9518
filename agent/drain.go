package agent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// A stopping agent gives its clients time to go: it is in the register as draining, so that no
// agent names it to clients any more and /readyz sends a load balancer's elsewhere; but whoever comes
// is served for --drain-delay as before, except that consumers are sent on where there is another agent. Then it leaves
// the register, reads no more requests, and answers those that it has. Clients that are still there lose their connection between two requests, which all of
// them repeat elsewhere. (An error like NOT_LEADER_OR_FOLLOWER would move them no more gently: a producer
// with retries=0 shows it to its application, and behind a load balancer the next
// request comes over the same connection.)

// replaceableEvery is the time between two looks whether there are still others to go to.
const replaceableEvery = 100 * time.Millisecond

// askDrain has Run end as its context would.
func (a *Agent) askDrain() {
	select {
	case a.drainAsked <- struct{}{}:
	default: // somebody has asked before
	}
}

// stepAside has clients led elsewhere for the config's DrainDelay, or until there is nobody else. An agent
// that is alone stops at once.
func (a *Agent) stepAside() {
	if a.config.DrainDelay == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), a.config.DrainDelay)
	defer cancel()
	a.membership.Drain(ctx) // which also brings the newest list
	if a.membership.Replaceable() {
		a.log.Info("draining: clients are led to other agents", "for", a.config.DrainDelay)
	}
	ticker := time.NewTicker(replaceableEvery)
	defer ticker.Stop()
	for a.membership.Replaceable() {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// drain ends the clients' work within the time for it.
func (a *Agent) drain() error {
	a.log.Info("draining: flushing and answering what is under way", "at_most", a.config.DrainTimeout)
	ctx, cancel := context.WithTimeout(context.Background(), a.config.DrainTimeout)
	defer cancel()
	// Nothing is lost if a listener fails to close: the process ends.
	for _, l := range a.kafkaListeners {
		_ = l.Close()
	}
	a.fetcher.Drain()
	a.groups.Drain()
	// The connections wait for the files of the accumulator, which takes what they have read until all
	// are answered. When the time is over, it is the other way round.
	a.acc.Hurry()
	var answered error
	var answering sync.WaitGroup
	over := make(chan struct{})
	answering.Go(func() {
		defer close(over)
		answered = a.server.Drain(ctx)
	})
	select {
	case <-over:
	case <-ctx.Done():
	}
	shipped := a.acc.Drain(ctx)
	answering.Wait()
	if shipped != nil || answered != nil {
		return fmt.Errorf("drain took longer than --drain-timeout (%v); producers without an answer will retry", a.config.DrainTimeout)
	}
	return nil
}

// drainHandler has the agent drain and its process end, as SIGTERM does. Only who is on the same
// machine may ask for it, since nobody proves here who they are; and no browser there, which asks for whoever
// has written the page, and can be told that this machine is the page's own.
func drainHandler(drain func()) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !fromHere(r) || r.Header.Get("Origin") != "" {
			answer(w, http.StatusForbidden, "an agent is drained from its own machine only, without a browser, or by SIGTERM")
			return
		}
		answer(w, http.StatusAccepted, "draining")
		// Before the drain, which ends this connection too. A peer that left needs no answer.
		_ = http.NewResponseController(w).Flush()
		drain()
	}
}

// fromHere reports whether a request comes from this machine: over loopback, or from the very address that it came to.
func fromHere(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	from := peer.Addr().Unmap()
	if from.IsLoopback() {
		return true
	}
	to, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && to.AddrPort().Addr().Unmap() == from
}
