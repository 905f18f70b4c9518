package s3wire

import (
	"net"
	"net/http"
	"time"
)

const (
	// dialTimeout is short: a store in the same region answers in milliseconds,
	// and the call is retried.
	dialTimeout = 3 * time.Second
	// maxConnections to one store. Calls beyond wait for a free connection; the
	// agent's own limits on uploads and reads are lower.
	maxConnections = 256
	// idleTime is below the 60 s and more after which servers and load
	// balancers close idle connections: a request that meets such a close fails.
	idleTime = 50 * time.Second
	// bufferBytes of a connection for writing and reading: the standard
	// library's 4 KiB make a data file thousands of system calls.
	bufferBytes = 64 << 10
)

// Tune sets up a transport for many parallel transfers of some MiB to one host,
// over HTTP/1.1 (an HTTP/2 connection would share one congestion window). Its
// proxy and TLS settings stay.
func Tune(t *http.Transport) {
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.ForceAttemptHTTP2 = false
	t.DialContext = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext
	t.TLSHandshakeTimeout = 5 * time.Second
	t.ResponseHeaderTimeout = CallTime
	t.ExpectContinueTimeout = time.Second
	t.MaxIdleConns = 0 // bounded by host
	t.MaxIdleConnsPerHost = maxConnections
	t.MaxConnsPerHost = maxConnections
	t.IdleConnTimeout = idleTime
	t.WriteBufferSize = bufferBytes
	t.ReadBufferSize = bufferBytes
	t.DisableCompression = true
}
