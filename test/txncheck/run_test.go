package txncheck

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestFaultsOfAClusterAreFound runs the load against kfake, whose requests are
// changed under way so that it seems to do something wrong: all of the way, from what clients are
// told to the verdict. Without a change nothing may be found.
func TestFaultsOfAClusterAreFound(t *testing.T) {
	var ends atomic.Int64
	for _, test := range []struct {
		name   string
		rules  []Rule // one of them must be broken
		key    kmsg.Key
		change func(kmsg.Request)
	}{
		{"none", nil, kmsg.Metadata, func(kmsg.Request) {}},
		{"commits that abort", []Rule{Broken}, kmsg.EndTxn, func(r kmsg.Request) {
			if req := r.(*kmsg.EndTxnRequest); ends.Add(1)%4 == 0 {
				req.Commit = false
			}
		}},
		{"aborts that commit", []Rule{Broken}, kmsg.EndTxn, func(r kmsg.Request) { r.(*kmsg.EndTxnRequest).Commit = true }},
		{"stable offsets that are none", []Rule{Unstable}, kmsg.ListOffsets, func(r kmsg.Request) { r.(*kmsg.ListOffsetsRequest).IsolationLevel = 0 }},
		{"reads of everything for those of what is committed", []Rule{Leak}, kmsg.Fetch, func(r kmsg.Request) { r.(*kmsg.FetchRequest).IsolationLevel = 0 }},
		{"offsets that skip input", []Rule{Ahead, Missing}, kmsg.TxnOffsetCommit, func(r kmsg.Request) {
			for _, topic := range r.(*kmsg.TxnOffsetCommitRequest).Topics {
				for i := range topic.Partitions {
					topic.Partitions[i].Offset++
				}
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
			if err != nil {
				t.Fatal(err)
			}
			defer cluster.Close()
			// kfake lets a fenced producer fence its successor by an epoch that is over: nobody
			// gets a new epoch for an old one here.
			cluster.ControlKey(int16(kmsg.InitProducerID), func(r kmsg.Request) (kmsg.Response, error, bool) {
				cluster.KeepControl()
				req := r.(*kmsg.InitProducerIDRequest)
				resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
				resp.ErrorCode = kerr.ProducerFenced.Code
				return resp, nil, req.ProducerID >= 0
			})
			cluster.ControlKey(int16(test.key), func(r kmsg.Request) (kmsg.Response, error, bool) {
				cluster.KeepControl()
				test.change(r)
				return nil, nil, false
			})
			config := DefaultConfig()
			config.Bootstrap, config.Seed, config.Settle, config.Logf = cluster.ListenAddrs()[0], 1, 5*time.Minute, t.Logf
			config.LongTimeout = config.ShortTimeout // kfake keeps the first that an ID had
			if test.rules != nil {
				config.Settle = 5 * time.Second // what is broken may never settle
			}
			run, err := Start(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			awaitLoad(t, run)
			history, err := run.Finish(t.Context())
			if err != nil && test.rules == nil {
				t.Error(err)
			}
			problems := Verify(history)
			if test.rules == nil {
				for _, p := range problems {
					t.Error(p)
				}
			} else if !slices.ContainsFunc(problems, func(p Problem) bool { return slices.Contains(test.rules, p.Rule) }) {
				t.Errorf("no problem of %v, only %v", test.rules, problems)
			}
			report := history.Report()
			run.Lost(&report)
			t.Log(report)
		})
	}
}

// awaitLoad waits until some of everything has happened that a test may be about.
func awaitLoad(t *testing.T, r *Run) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 2400 {
		<-tick.C
		var committed, aborted, transformed int
		r.journal.mu.Lock()
		for i := range r.journal.h.Txns {
			switch txn := &r.journal.h.Txns[i]; {
			case txn.Fate == Committed && len(txn.Inputs) > 0:
				transformed++
			case txn.Fate == Committed:
				committed++
			case txn.Fate == Aborted:
				aborted++
			}
		}
		r.journal.mu.Unlock()
		if committed >= 20 && aborted >= 5 && transformed >= 3 {
			return
		}
	}
	t.Fatal("hardly anything happened in 2 minutes")
}
