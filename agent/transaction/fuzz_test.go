package transaction

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// fuzz sends whatever decodes as a request of the API through its handler over a real
// store, and the answer through its encoding.
func fuzz[Req kmsg.Request, Resp kmsg.Response](f *testing.F, handle func(context.Context, protocol.Client, Req) Resp, seeds ...Req) {
	var zero Req
	key := zero.Key()
	for _, seed := range seeds {
		for version := int16(0); version <= seed.MaxVersion(); version++ {
			seed.SetVersion(version)
			f.Add(version, seed.AppendTo(nil))
		}
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		h := protocol.RequestHeader{Key: key, Version: version}
		req, err := protocol.ParseRequest(h, body)
		if err != nil {
			return
		}
		resp := handle(t.Context(), software, req.(Req))
		again := req.ResponseKind()
		if err := again.ReadFrom(resp.AppendTo(nil)); err != nil {
			t.Errorf("the answer can't be read: %v", err)
		}
		if frame := protocol.AppendResponse(nil, h, resp); len(frame) < 8 {
			t.Errorf("a frame of %d bytes", len(frame))
		}
	})
}

// newFuzzAgent has the open transaction "id" of the producer.
func newFuzzAgent(f *testing.F) (*agent, metadata.ProducerEpoch) {
	a := newAgent(f)
	return a, a.open("id", "t 0", "t 1")
}

func FuzzInitProducerId(f *testing.F) {
	a, producer := newFuzzAgent(f)
	fresh, again, plain := initRequest(0, "new"), initRequest(0, "id"), initRequest(0, "")
	again.ProducerID, again.ProducerEpoch = producer.ID, producer.Epoch
	plain.TransactionalID = nil
	fuzz(f, a.InitProducerID, fresh, again, plain)
}

func FuzzAddPartitionsToTxn(f *testing.F) {
	a, producer := newFuzzAgent(f)
	many := addRequest(4, "id", producer, true, "t 0", "t 2")
	addTo(many, "id", producer, false, "u 0")
	addTo(many, "", producer, false, "u 0", "x 9")
	fuzz(f, a.AddPartitionsToTxn, addRequest(0, "id", producer, false, "t 2", "u 0", "t 0", "t -1", "__consumer_offsets 7"), many)
}

func FuzzAddOffsetsToTxn(f *testing.F) {
	a, producer := newFuzzAgent(f)
	fuzz(f, a.AddOffsetsToTxn, addOffsetsRequest(0, "id", producer, "g"), addOffsetsRequest(0, "", producer, ""))
}

func FuzzEndTxn(f *testing.F) {
	a, producer := newFuzzAgent(f)
	fuzz(f, a.EndTxn, endRequest(0, "id", producer, true), endRequest(0, "id", producer, false),
		endRequest(0, "new", metadata.ProducerEpoch{ID: -1, Epoch: 32767}, true))
}

func FuzzDescribeTransactions(f *testing.F) {
	a, _ := newFuzzAgent(f)
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{"id", "", "x", "id"}
	fuzz(f, a.DescribeTransactions, req)
}

func FuzzListTransactions(f *testing.F) {
	a, producer := newFuzzAgent(f)
	pattern := "i.|(x"
	req := kmsg.NewPtrListTransactionsRequest()
	req.StateFilters, req.ProducerIDFilters, req.TransactionalIDPattern = []string{"Ongoing", "x"}, []int64{producer.ID}, &pattern
	fuzz(f, a.ListTransactions, kmsg.NewPtrListTransactionsRequest(), req)
}
