// Package bench measures whole agents over real stores: `make bench`.
//
// Machines differ and are noisy, so what counts is a ratio of two
// measurements in one run: produce against raw PUTs of the same size and
// concurrency into the same store, catch-up reads against raw GETs, latency
// against the store's own PUT and commit times. Agents run as processes of
// their own, and the load is sent from prepared frames, so that the client's
// work does not pass for the agent's.
package bench
