package transaction

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol/configs"
)

// failing is a store and a catalog that answer everything with errors.
type failing struct {
	store, topics error
	// refusal is what the rules answer if the store has no error.
	refusal error
}

func (f failing) ChangeTransactions(_ context.Context, requests []metadata.TransactionRequest) (metadata.TransactionsChanged, error) {
	if f.store != nil {
		return metadata.TransactionsChanged{}, f.store
	}
	return metadata.TransactionsChanged{Results: slices.Repeat([]metadata.TransactionResult{{Err: f.refusal}}, len(requests))}, nil
}

func (f failing) Transactions(_ context.Context, ids []string) ([]metadata.Transaction, time.Time, error) {
	return slices.Repeat([]metadata.Transaction{{ProducerID: 5}}, len(ids)), time.Now(), f.store
}

func (f failing) ListTransactions(context.Context) ([]metadata.Transaction, time.Time, error) {
	return nil, time.Now(), f.store
}

func (f failing) OverdueTransactions(context.Context, int) ([]metadata.OverdueTransaction, error) {
	return nil, f.store
}

func (f failing) ForgetTransactions(context.Context, time.Duration, int) (int, error) {
	return 0, f.store
}

func (f failing) AllocateProducerIDs(context.Context, int) (int64, error) { return 0, f.store }

func (f failing) Lookup(_ context.Context, names []string, _ []uuid.UUID) (topics []metadata.Topic, err error) {
	if f.topics != nil {
		return nil, f.topics
	}
	for _, name := range names {
		topics = append(topics, metadata.Topic{Name: name, Partitions: []metadata.PartitionID{7}})
	}
	return topics, nil
}

func (f failing) AllTopics(context.Context) ([]metadata.Topic, error) { return nil, f.topics }

func newFailing(t *testing.T, f failing) *Coordinator {
	t.Helper()
	broker := configs.DefaultBroker()
	c := New(f, f, func() *configs.Broker { return &broker }, func([]metadata.Commit, bool) {}, NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
	t.Cleanup(c.Close)
	return c
}

var someone = metadata.ProducerEpoch{ID: 5, Epoch: 3}

// requests are one of each API, with the codes in its answer.
var requests = map[string]func(t *testing.T, c *Coordinator, version int16) []int16{
	"InitProducerId without transactions": func(t *testing.T, c *Coordinator, version int16) []int16 {
		req := initRequest(version, "")
		req.TransactionalID = nil
		return []int16{c.InitProducerID(t.Context(), software, req).ErrorCode}
	},
	"InitProducerId": func(t *testing.T, c *Coordinator, version int16) []int16 {
		return []int16{c.InitProducerID(t.Context(), software, initRequest(version, "id")).ErrorCode}
	},
	"AddPartitionsToTxn": func(t *testing.T, c *Coordinator, version int16) []int16 {
		return codesOf(c.AddPartitionsToTxn(t.Context(), software, addRequest(version, "id", someone, false, "t 0", "u 0")))
	},
	"AddOffsetsToTxn": func(t *testing.T, c *Coordinator, version int16) []int16 {
		return []int16{c.AddOffsetsToTxn(t.Context(), software, addOffsetsRequest(version, "id", someone, "g")).ErrorCode}
	},
	"EndTxn": func(t *testing.T, c *Coordinator, version int16) []int16 {
		resp := c.EndTxn(t.Context(), software, endRequest(version, "id", someone, true))
		if resp.ErrorCode != 0 && (resp.ProducerID != -1 || resp.ProducerEpoch != -1) {
			t.Errorf("an error goes with producer %d, epoch %d", resp.ProducerID, resp.ProducerEpoch)
		}
		return []int16{resp.ErrorCode}
	},
	"DescribeTransactions": func(t *testing.T, c *Coordinator, version int16) []int16 {
		req := kmsg.NewPtrDescribeTransactionsRequest()
		req.SetVersion(version)
		req.TransactionalIDs = []string{"a", "b"}
		var codes []int16
		for _, s := range c.DescribeTransactions(t.Context(), software, req).TransactionStates {
			codes = append(codes, s.ErrorCode)
		}
		return codes
	},
	"ListTransactions": func(t *testing.T, c *Coordinator, version int16) []int16 {
		req := kmsg.NewPtrListTransactionsRequest()
		req.SetVersion(version)
		return []int16{c.ListTransactions(t.Context(), software, req).ErrorCode}
	},
}

// last are the newest versions served.
var last = map[string]int16{
	"InitProducerId without transactions": 5, "InitProducerId": 5, "AddPartitionsToTxn": 5, "AddOffsetsToTxn": 4, "EndTxn": 5, "DescribeTransactions": 0, "ListTransactions": 2,
}

// TestEachRequestUnderEachFailure: what passes by itself becomes the one code on which
// Java's clients repeat all of these APIs, with the coordinator that they have.
func TestEachRequestUnderEachFailure(t *testing.T) {
	all := func(string) bool { return true }
	for failure, test := range map[string]struct {
		failing
		want *kerr.Error
		hits func(api string) bool
	}{
		"store away":     {failing{store: fmt.Errorf("%w: secret", metadata.ErrUnavailable)}, kerr.CoordinatorLoadInProgress, all},
		"answer lost":    {failing{store: fmt.Errorf("%w: secret", metadata.ErrOutcomeUnknown)}, kerr.CoordinatorLoadInProgress, all},
		"wrong schema":   {failing{store: fmt.Errorf("%w: secret", metadata.ErrSchema)}, kerr.CoordinatorLoadInProgress, all},
		"store surprise": {failing{store: errors.New("secret")}, kerr.UnknownServerError, all},
		"catalog away": {failing{topics: fmt.Errorf("%w: secret", metadata.ErrUnavailable)}, kerr.CoordinatorLoadInProgress, func(api string) bool {
			return api == "AddPartitionsToTxn" || api == "DescribeTransactions"
		}},
	} {
		for api, ask := range requests {
			for version := range last[api] + 1 {
				t.Run(fmt.Sprint(failure, "/", api, "/", version), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						began := time.Now()
						for _, code := range ask(t, newFailing(t, test.failing), version) {
							if want := test.want.Code; test.hits(api) && code != want || !test.hits(api) && code != 0 {
								t.Errorf("%v", kerr.ErrorForCode(code))
							}
						}
						if took := time.Since(began); took > callTimeout {
							t.Errorf("it took %v", took)
						}
					})
				})
			}
		}
	}
}

// TestRefusalsByVersion: clients that don't know PRODUCER_FENCED are told INVALID_PRODUCER_EPOCH.
func TestRefusalsByVersion(t *testing.T) {
	for api, fencedFrom := range map[string]int16{"InitProducerId": 4, "AddPartitionsToTxn": 2, "AddOffsetsToTxn": 2, "EndTxn": 2} {
		for version := range last[api] + 1 {
			fenced := kerr.InvalidProducerEpoch
			if version >= fencedFrom {
				fenced = kerr.ProducerFenced
			}
			for refusal, want := range map[error]*kerr.Error{
				metadata.ErrProducerIDMapping:       kerr.InvalidProducerIDMapping,
				metadata.ErrInvalidTransactionState: kerr.InvalidTxnState,
				metadata.ErrProducerFenced:          fenced,
			} {
				codes := requests[api](t, newFailing(t, failing{refusal: refusal}), version)
				if len(codes) == 0 || slices.ContainsFunc(codes, func(code int16) bool { return code != want.Code }) {
					t.Errorf("%s %d, %v: %v, want %v", api, version, refusal, codes, want)
				}
			}
		}
	}
}

func TestInputThatNoTransactionSees(t *testing.T) {
	c := newFailing(t, failing{store: errors.New("the store was asked")})
	init := func(version int16, change func(*kmsg.InitProducerIDRequest)) int16 {
		req := initRequest(version, "id")
		change(req)
		resp := c.InitProducerID(t.Context(), software, req)
		if resp.ProducerID != -1 || resp.ProducerEpoch != -1 {
			t.Errorf("an error goes with producer %d, epoch %d", resp.ProducerID, resp.ProducerEpoch)
		}
		return resp.ErrorCode
	}
	expect := func(id int64, epoch int16) func(*kmsg.InitProducerIDRequest) {
		return func(r *kmsg.InitProducerIDRequest) { r.ProducerID, r.ProducerEpoch = id, epoch }
	}
	timeout := func(ms int32) func(*kmsg.InitProducerIDRequest) {
		return func(r *kmsg.InitProducerIDRequest) { r.TransactionTimeoutMillis = ms }
	}
	for name, test := range map[string]struct {
		got  int16
		want *kerr.Error
	}{
		"empty ID":                             {init(0, func(r *kmsg.InitProducerIDRequest) { *r.TransactionalID = "" }), kerr.InvalidRequest},
		"no timeout":                           {init(1, timeout(0)), kerr.InvalidTransactionTimeout},
		"negative timeout":                     {init(1, timeout(-1)), kerr.InvalidTransactionTimeout},
		"longest timeout":                      {init(1, timeout(900_000)), kerr.UnknownServerError},
		"too long a timeout":                   {init(1, timeout(900_001)), kerr.InvalidTransactionTimeout},
		"an ID alone":                          {init(4, expect(5, -1)), kerr.InvalidRequest},
		"an epoch alone":                       {init(4, expect(-1, 5)), kerr.InvalidRequest},
		"an epoch alone, without transactions": {init(4, func(r *kmsg.InitProducerIDRequest) { r.TransactionalID, r.ProducerEpoch = nil, 3 }), kerr.InvalidRequest},
		"an ID that can't be":                  {init(4, expect(-5, 3)), kerr.ProducerFenced},
		"an epoch that can't be":               {init(3, expect(5, -3)), kerr.InvalidProducerEpoch},
		"EndTxn of nobody":                     {c.EndTxn(t.Context(), software, endRequest(5, "", someone, true)).ErrorCode, kerr.InvalidRequest},
		"AddOffsetsToTxn of nobody":            {c.AddOffsetsToTxn(t.Context(), software, addOffsetsRequest(3, "", someone, "g")).ErrorCode, kerr.InvalidRequest},
		"AddPartitionsToTxn of nobody":         {codesOf(c.AddPartitionsToTxn(t.Context(), software, addRequest(3, "", someone, false, "t 0")))[0], kerr.InvalidRequest},
		"AddPartitionsToTxn of nobody, 4":      {codesOf(c.AddPartitionsToTxn(t.Context(), software, addRequest(4, "", someone, true, "t 0")))[0], kerr.InvalidRequest},
		"AddPartitionsToTxn of nobody, bad":    {codesOf(c.AddPartitionsToTxn(t.Context(), software, addRequest(3, "", someone, false, "t 1")))[0], kerr.UnknownTopicOrPartition},
	} {
		if test.got != test.want.Code {
			t.Errorf("%s: %v, want %v", name, kerr.ErrorForCode(test.got), test.want)
		}
	}
}
