package server

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/protocol"
)

// Request is one request on its way to a handler.
type Request struct {
	Client protocol.Client
	Body   kmsg.Request
	// Gone is closed when the client ends or breaks the connection, by which a
	// request that waits for long learns that nobody waits for its answer. (What the
	// client sent before is answered all the same: it may read on.)
	Gone <-chan struct{}

	done  func()
	kept  bool
	after func()
}

// AfterAnswer has f called once the answer is written, or given up with its
// connection: what the answer points into may be used again.
func (r *Request) AfterAnswer(f func()) { r.after = f }

// Keep takes over the request's bytes, which Body points into: they stay
// charged to the budget until the returned function is called. Without Keep
// the server gives them back once the answer is written.
func (r *Request) Keep() (done func()) {
	r.kept = true
	return r.done
}

// Pending waits for the answer of a request that was started. A nil answer
// sends nothing (Produce with acks=0).
type Pending func() kmsg.Response

// HangUp is the answer that closes the connection instead.
var HangUp kmsg.Response = hangUp{}

type hangUp struct{ kmsg.Response }

// Handler starts a request. It is called for one request of a connection
// after the other; the Pending that it returns is called in another goroutine.
// ctx ends with the connection, and when a stopping server runs out of patience.
type Handler func(ctx context.Context, req *Request) Pending

// Inline makes a Handler of a function that answers a request before the
// next one of its connection is started. A nil answer closes the connection.
func Inline[Req, Resp any, PReq interface {
	*Req
	kmsg.Request
}, PResp interface {
	*Resp
	kmsg.Response
}](handle func(context.Context, protocol.Client, PReq) PResp) Handler {
	return func(ctx context.Context, req *Request) Pending {
		resp := handle(ctx, req.Client, req.Body.(PReq))
		return func() kmsg.Response {
			if resp == nil {
				return HangUp
			}
			return resp
		}
	}
}
