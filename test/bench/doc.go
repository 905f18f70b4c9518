// Package bench measures whole agents over real stores: `make bench`.
//
// Machines differ and are noisy, so what counts is a ratio of two
// measurements in one run: produce against raw PUTs of the same size and
// concurrency into the same store, catch-up reads against raw GETs, latency
// against the store's own PUT and commit times. Agents run as processes of
// their own, and the load is sent from prepared frames, so that the client's
// work does not pass for the agent's.
//
// Ends of transactions stand against an update of one row on the same Postgres, one after
// each end, and fail if the object store is asked for anything meanwhile.
//
// The benchmarks of consumer groups tell what a fleet costs instead: CPU time of
// agents and Postgres, transactions and rows a second, beside what clients see.
// They take 10,000 connections, hence a limit of 10,200 open files or more for
// each process (ulimit -n).
package bench
