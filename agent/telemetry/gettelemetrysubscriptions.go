package telemetry

// GetTelemetrySubscriptions (71), version 0.
//
//   - v0 KIP-714

import (
	"context"
	"encoding/base64"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/protocol"
)

// accepted are the codecs that clients may push in, the preferred first. Uncompressed goes without saying.
var accepted = []int8{int8(protocol.CodecZstd), int8(protocol.CodecLZ4), int8(protocol.CodecGzip), int8(protocol.CodecSnappy)}

// GetTelemetrySubscriptions tells a client what to push and when, and gives it an ID if it has none.
func (t *Telemetry) GetTelemetrySubscriptions(_ context.Context, c protocol.Client, req *kmsg.GetTelemetrySubscriptionsRequest) *kmsg.GetTelemetrySubscriptionsResponse {
	resp := req.ResponseKind().(*kmsg.GetTelemetrySubscriptionsResponse)
	id := uuid.UUID(req.ClientInstanceID)
	if id == uuid.Nil {
		id = uuid.New()
	}
	s := t.subscriptionOf(id, c)
	t.mu.Lock()
	defer t.mu.Unlock()
	known, now := t.know(id, c, s), t.now()
	last := known.asked
	if known.pushed.After(last) {
		last = known.pushed
	}
	if !last.IsZero() && now.Sub(last) < known.interval && !known.mayAsk {
		t.metrics.refuse(kerr.ThrottlingQuotaExceeded)
		resp.ErrorCode = kerr.ThrottlingQuotaExceeded.Code
		return resp
	}
	known.asked, known.mayAsk = now, false
	resp.ClientInstanceID, resp.SubscriptionID = id, s.id
	resp.AcceptedCompressionTypes = accepted
	resp.PushIntervalMillis = int32(s.interval / time.Millisecond)
	resp.TelemetryMaxBytes = t.maxBytes
	resp.DeltaTemporality = true
	resp.RequestedMetrics = s.metrics
	return resp
}

// encodeID spells an ID as Kafka does.
func encodeID(id uuid.UUID) string { return base64.RawURLEncoding.EncodeToString(id[:]) }
