package telemetry

// PushTelemetry (72), version 0.
//
//   - v0 KIP-714

import (
	"context"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/protocol"
)

// one is reserved in Kafka, as is zero.
var one = uuid.UUID{15: 1}

// PushTelemetry counts what a client measured.
func (t *Telemetry) PushTelemetry(ctx context.Context, c protocol.Client, req *kmsg.PushTelemetryRequest) *kmsg.PushTelemetryResponse {
	resp := req.ResponseKind().(*kmsg.PushTelemetryResponse)
	why := t.push(ctx, c, req)
	if why != nil {
		t.metrics.refuse(why)
		resp.ErrorCode = why.Code
	}
	return resp
}

func (t *Telemetry) push(ctx context.Context, c protocol.Client, req *kmsg.PushTelemetryRequest) *kerr.Error {
	id := uuid.UUID(req.ClientInstanceID)
	if id == uuid.Nil || id == one {
		return kerr.InvalidRequest
	}
	if why := t.admit(id, c, req); why != nil {
		return why
	}
	if len(req.Metrics) == 0 {
		return nil
	}
	n, err := t.decode(ctx, req.CompressionType, req.Metrics)
	if err != nil {
		return kerr.InvalidRecord
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if known, ok := t.clients.Get(id); ok {
		known.pushes++
		known.points += float64(n.points)
		known.bytes += float64(len(req.Metrics))
	}
	t.metrics.accept(len(req.Metrics), n)
	return nil
}

// admit checks everything but the measurements, in Kafka's order.
func (t *Telemetry) admit(id uuid.UUID, c protocol.Client, req *kmsg.PushTelemetryRequest) *kerr.Error {
	s := t.subscriptionOf(id, c)
	t.mu.Lock()
	defer t.mu.Unlock()
	known, now := t.know(id, c, s), t.now()
	if known.terminating {
		return kerr.InvalidRequest // it said that it would say no more
	}
	known.terminating = req.Terminating
	// The first push after a subscription may come at any time, for clients spread theirs.
	early := !known.pushed.IsZero() && !known.asked.After(known.pushed) && now.Sub(known.pushed) < known.interval
	if early && !req.Terminating {
		return kerr.ThrottlingQuotaExceeded
	}
	if !early {
		known.pushed = now
	}
	switch {
	case req.SubscriptionID != s.id:
		known.mayAsk = true
		return kerr.UnknownSubscriptionID
	case req.CompressionType < int8(protocol.CodecNone) || req.CompressionType > int8(protocol.CodecZstd):
		known.mayAsk = true
		return kerr.UnsupportedCompressionType
	case len(req.Metrics) > int(t.maxBytes):
		return kerr.TelemetryTooLarge
	}
	return nil
}
