package transaction

import (
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/wadi-log/wadi/agent/errcode"
	"github.com/wadi-log/wadi/metadata"
)

// operation is one change of the transactional ID "id", from a state that before
// makes, and what became of it in the client's words.
type operation struct {
	before func(a *agent) metadata.ProducerEpoch
	do     func(a *agent, producer metadata.ProducerEpoch) string
	// more is how many epochs further the ID is if the change was made twice.
	more int16
	want string
}

func code(c int16) string { return names([]int16{c})[0] }

// group enters the group "g" if it isn't there, and returns its version.
func (a *agent) group() int64 {
	a.Helper()
	versions, _, err := a.store.GroupVersions(a.Context(), []string{"g"})
	if err != nil {
		a.Fatal(err)
	}
	if versions[0] != 0 {
		return versions[0]
	}
	version, err := a.store.StoreGroup(a.Context(), "g", 0, metadata.GroupState{State: []byte("state")})
	if err != nil {
		a.Fatal(err)
	}
	return version
}

var operations = map[string]operation{
	"init, new": {
		before: func(*agent) metadata.ProducerEpoch { return metadata.NoProducer },
		do: func(a *agent, _ metadata.ProducerEpoch) string {
			resp := a.InitProducerID(a.Context(), software, initRequest(5, "id"))
			return fmt.Sprint(code(resp.ErrorCode), resp.ProducerEpoch)
		},
		more: 1, want: "0",
	},
	"init, over an open one": {
		before: func(a *agent) metadata.ProducerEpoch { return a.open("id", "t 0") },
		do: func(a *agent, _ metadata.ProducerEpoch) string {
			resp := a.InitProducerID(a.Context(), software, initRequest(5, "id"))
			return fmt.Sprint(code(resp.ErrorCode), resp.ProducerEpoch)
		},
		more: 1, want: "1",
	},
	"init, again, of the last epoch": {
		before: func(a *agent) metadata.ProducerEpoch { return a.skip(a.open("id", "t 0")) },
		do: func(a *agent, producer metadata.ProducerEpoch) string {
			req := initRequest(5, "id")
			req.ProducerID, req.ProducerEpoch = producer.ID, producer.Epoch
			resp := a.InitProducerID(a.Context(), software, req)
			return fmt.Sprint(code(resp.ErrorCode), resp.ProducerID != producer.ID, resp.ProducerEpoch)
		},
		want: "true 0",
	},
	"init, again": {
		before: func(a *agent) metadata.ProducerEpoch { return a.open("id", "t 0") },
		do: func(a *agent, producer metadata.ProducerEpoch) string {
			req := initRequest(5, "id")
			req.ProducerID, req.ProducerEpoch = producer.ID, producer.Epoch
			resp := a.InitProducerID(a.Context(), software, req)
			return fmt.Sprint(code(resp.ErrorCode), resp.ProducerEpoch)
		},
		want: "1",
	},
	"add partitions": {
		before: func(a *agent) metadata.ProducerEpoch { return a.init("id") },
		do: func(a *agent, producer metadata.ProducerEpoch) string {
			return fmt.Sprint(names(codesOf(a.AddPartitionsToTxn(a.Context(), software, addRequest(3, "id", producer, false, "t 0", "t 1")))))
		},
		want: "[ ]",
	},
	"add offsets": {
		before: func(a *agent) metadata.ProducerEpoch { return a.init("id") },
		do: func(a *agent, producer metadata.ProducerEpoch) string {
			return code(a.AddOffsetsToTxn(a.Context(), software, addOffsetsRequest(3, "id", producer, "g")).ErrorCode)
		},
	},
	"offsets": {
		before: func(a *agent) metadata.ProducerEpoch { return a.init("id") },
		do: func(a *agent, producer metadata.ProducerEpoch) string {
			result, err := a.Change(a.Context(), "id", metadata.TransactionOffsets{
				Producer: producer, GroupID: "g", GroupVersion: a.group(), Version: metadata.TransactionV2,
				Offsets: []metadata.Offset{{GroupID: "g", Partition: a.topic.Partitions[0], Offset: 7}},
			})
			return fmt.Sprint(code(errcode.OfCoordinator(err)), result.Err)
		},
		want: "<nil>",
	},
	"commit, version 1": {
		before: func(a *agent) metadata.ProducerEpoch { return a.open("id", "t 0") },
		do: func(a *agent, producer metadata.ProducerEpoch) string {
			return code(a.EndTxn(a.Context(), software, endRequest(4, "id", producer, true)).ErrorCode)
		},
	},
	"commit, version 2": {
		before: func(a *agent) metadata.ProducerEpoch { return a.open("id", "t 0") },
		do: func(a *agent, producer metadata.ProducerEpoch) string {
			resp := a.EndTxn(a.Context(), software, endRequest(5, "id", producer, true))
			return fmt.Sprint(code(resp.ErrorCode), resp.ProducerEpoch)
		},
		want: "1",
	},
	"abort, version 2": {
		before: func(a *agent) metadata.ProducerEpoch { return a.open("id", "t 0") },
		do: func(a *agent, producer metadata.ProducerEpoch) string {
			resp := a.EndTxn(a.Context(), software, endRequest(5, "id", producer, false))
			return fmt.Sprint(code(resp.ErrorCode), resp.ProducerEpoch)
		},
		want: "1",
	},
	"abort of nothing": {
		before: func(a *agent) metadata.ProducerEpoch { return a.init("id") },
		do: func(a *agent, producer metadata.ProducerEpoch) string {
			resp := a.EndTxn(a.Context(), software, endRequest(5, "id", producer, false))
			return fmt.Sprint(code(resp.ErrorCode), resp.ProducerEpoch)
		},
		want: "1",
	},
	"commit of the last epoch": {
		before: func(a *agent) metadata.ProducerEpoch { return a.skip(a.open("id", "t 0")) },
		do: func(a *agent, producer metadata.ProducerEpoch) string {
			resp := a.EndTxn(a.Context(), software, endRequest(5, "id", producer, true))
			return fmt.Sprint(code(resp.ErrorCode), resp.ProducerID != producer.ID, resp.ProducerEpoch)
		},
		want: "true 0",
	},
}

// skip brings the producer to the last epoch, past the thousands before it.
func (a *agent) skip(producer metadata.ProducerEpoch) metadata.ProducerEpoch {
	a.Helper()
	db, err := sql.Open("sqlite", a.path)
	if err != nil {
		a.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			a.Error(err)
		}
	}()
	producer.Epoch = metadata.LastProducerEpoch
	if _, err := db.ExecContext(a.Context(), `UPDATE transactions SET epoch = ? WHERE producer_id = ?`, producer.Epoch, producer.ID); err != nil {
		a.Fatal(err)
	}
	return producer
}

// TestLostAnswersOfEachOperation: the client is told to ask again, and whatever became of
// the first try, is then told what it would have been told without the fault. The store has
// what it would have.
func TestLostAnswersOfEachOperation(t *testing.T) {
	for name, op := range operations {
		t.Run(name, func(t *testing.T) {
			clean := newAgent(t)
			if got := op.do(clean, op.before(clean)); got != op.want {
				t.Fatalf("without a fault: %q, want %q", got, op.want)
			}
			for name, faults := range map[string][]fault{
				"failed":                {{metadata.ErrOutcomeUnknown, false}},
				"failed, but persisted": {{metadata.ErrOutcomeUnknown, true}},
				"persisted, then away":  {{metadata.ErrOutcomeUnknown, true}, {metadata.ErrUnavailable, false}},
			} {
				t.Run(name, func(t *testing.T) {
					a := newAgent(t)
					producer := op.before(a)
					a.store.inject(faults...)
					for range faults {
						if got := op.do(a, producer); !strings.Contains(got, kerr.CoordinatorLoadInProgress.Message) {
							t.Errorf("%q, want %s", got, kerr.CoordinatorLoadInProgress.Message)
						}
					}
					if a.heard.lost != 1 {
						t.Errorf("the tail is told of %d lost answers", a.heard.lost)
					}
					want, more := op.want, int16(0)
					if faults[0].persisted && op.more > 0 {
						// Who names no producer is taken for another one each time.
						more = op.more
						want = fmt.Sprint(clean.stored("id").Epoch + more)
					}
					if got := op.do(a, producer); got != want {
						t.Errorf("asked again: %q, want %q", got, want)
					}
					if a.store.calls != len(faults)+1 {
						t.Errorf("%d calls, want %d", a.store.calls, len(faults)+1)
					}
					is, wants := comparable(a.stored("id")), comparable(clean.stored("id"))
					wants.Epoch += more
					if !reflect.DeepEqual(is, wants) {
						t.Errorf("stored is %+v, want %+v", is, wants)
					}
				})
			}
		})
	}
}

// TestLateEndLeavesTheNextTransactionAlone: with version 1 the epoch stays, so that only
// the order of requests tells which transaction an end means. A client that lost an
// answer asks another agent and goes on; the first agent must not ask once more.
func TestLateEndLeavesTheNextTransactionAlone(t *testing.T) {
	for name, persisted := range map[string]bool{"failed": false, "failed, but persisted": true} {
		t.Run(name, func(t *testing.T) {
			a := newAgent(t)
			b := New(a.store.Store, a.topics, a.settings, func([]metadata.Commit, bool) {}, NewMetrics(prometheus.NewRegistry()), a.log)
			t.Cleanup(b.Close)
			producer := a.open("id", "t 0")
			a.store.inject(fault{metadata.ErrOutcomeUnknown, persisted})
			a.EndTxn(t.Context(), software, endRequest(4, "id", producer, true))
			a.must(b.EndTxn(t.Context(), software, endRequest(4, "id", producer, true)).ErrorCode)
			a.must(codesOf(b.AddPartitionsToTxn(t.Context(), software, addRequest(3, "id", producer, false, "t 1")))[0])
			a.Close() // after whatever it still has to do
			if s := a.stored("id"); s.State != metadata.TransactionOngoing {
				t.Errorf("the next transaction is %s", s.State)
			}
		})
	}
}

// comparable is the transaction without what differs from run to run, as do the new
// producer IDs: one that may be in use is not given out again.
func comparable(t metadata.Transaction) metadata.Transaction {
	t.UpdatedAt, t.ProducerID = time.Time{}, 0
	if !t.StartedAt.IsZero() {
		t.StartedAt = time.Unix(1, 0)
	}
	return t
}

// TestExpiryAbortsWhatIsOverdue on a real store, also if its answer is lost.
func TestExpiryAbortsWhatIsOverdue(t *testing.T) {
	for name, faults := range map[string][]fault{
		"no fault": nil, "failed": {{metadata.ErrOutcomeUnknown, false}}, "failed, but persisted": {{metadata.ErrOutcomeUnknown, true}},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAgent(t)
			req := initRequest(5, "short")
			req.TransactionTimeoutMillis = 1
			resp := a.InitProducerID(t.Context(), software, req)
			a.must(resp.ErrorCode)
			short := metadata.ProducerEpoch{ID: resp.ProducerID, Epoch: resp.ProducerEpoch}
			a.must(codesOf(a.AddPartitionsToTxn(t.Context(), software, addRequest(3, "short", short, false, "t 0")))[0])
			long := a.open("long", "t 0")
			a.overdue("short")

			a.store.inject(faults...)
			for range faults {
				if err := a.abortOverdue(t.Context()); !errors.Is(err, metadata.ErrOutcomeUnknown) {
					t.Errorf("%v, want %v", err, metadata.ErrOutcomeUnknown)
				}
			}
			if err := a.abortOverdue(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s := a.stored("short"); s.State != metadata.TransactionAborted || s.Epoch != short.Epoch+1 {
				t.Errorf("the overdue one is %+v", s)
			}
			if s := a.stored("long"); s.State != metadata.TransactionOngoing || s.Epoch != long.Epoch {
				t.Errorf("the other is %+v", s)
			}
			if got := a.EndTxn(t.Context(), software, endRequest(4, "short", short, true)).ErrorCode; got != kerr.ProducerFenced.Code {
				t.Errorf("its producer commits: %v", kerr.ErrorForCode(got))
			}
		})
	}
}

// overdue waits until the store takes the transaction for overdue.
func (a *agent) overdue(id string) {
	a.Helper()
	for {
		overdue, err := a.store.OverdueTransactions(a.Context(), 10)
		if err != nil {
			a.Fatal(err)
		}
		if slices.ContainsFunc(overdue, func(o metadata.OverdueTransaction) bool { return o.ID == id }) {
			return
		}
	}
}
