// Package server owns the Kafka sockets: it accepts connections, reads frames,
// hands requests to handlers in the order they came, and writes the answers in
// that same order.
//
// One goroutine reads a connection and starts its requests, another one waits
// for their answers and writes them. A handler runs in the reader's goroutine,
// so that requests of one connection start one after the other, as in Kafka; a
// handler that need not hold up the next request (Produce) returns a [Pending]
// and finishes in the background. The order of answers is the order of the
// queue between the two goroutines.
//
// What is bounded: the size of a frame (before anything is allocated), the
// bytes of all large frames in memory ([Budget]: at the limit the sockets are
// not read), the requests in flight on a connection, those of all connections that
// come behind another one, the connections in all and from one address, and the time
// that a peer may take to send or receive a frame.
//
// The package knows no API: it takes handlers from a table and refuses what
// is not in it.
package server
