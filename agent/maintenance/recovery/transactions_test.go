package recovery_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/wadi-log/wadi/agent/maintenance/recovery"
	"github.com/wadi-log/wadi/metadata"
)

// init makes a transactional producer.
func (c *cluster) init(id string) *writer {
	c.Helper()
	p := c.change(id, metadata.InitProducer{Timeout: time.Hour, Expected: metadata.NoProducer, NewProducerID: c.producer().id})
	return &writer{id: p.ID, epoch: p.Epoch, transactional: true, sequences: map[string]int32{}}
}

func (c *cluster) change(id string, op metadata.TransactionOp) metadata.ProducerEpoch {
	c.Helper()
	changed, err := c.store.ChangeTransactions(c.Context(), []metadata.TransactionRequest{{ID: id, Op: op}})
	c.must(err)
	c.must(changed.Results[0].Err)
	return changed.Results[0].Producer
}

func (c *cluster) end(id string, w *writer, commit bool) {
	c.Helper()
	p := c.change(id, metadata.EndTransaction{Producer: metadata.ProducerEpoch{ID: w.id, Epoch: w.epoch}, Commit: commit, Version: metadata.TransactionV2, NewProducerID: -1})
	w.epoch, w.sequences = p.Epoch, map[string]int32{}
}

// transactional is a cluster with a transaction that is open in the snapshot, one that ended before, one that was begun and
// committed since, and one of a transactional ID that is newer.
func transactional(t *testing.T) (*cluster, metadata.Topic, []*writer) {
	c := newCluster(t)
	topic := c.topic("t", 2)
	ended, open, since := c.init("ended"), c.init("open"), c.init("since")
	c.produce(ended.batch(topic, 0, "ended"))
	c.end("ended", ended, true)
	c.produce(open.batch(topic, 0, "open"))
	version, err := c.store.StoreGroup(t.Context(), "g", 0, metadata.GroupState{State: []byte("x")})
	c.must(err)
	c.change("open", metadata.TransactionOffsets{Producer: metadata.ProducerEpoch{ID: open.id, Epoch: open.epoch}, GroupID: "g", GroupVersion: version,
		Version: metadata.TransactionV2, Offsets: []metadata.Offset{{GroupID: "g", Partition: topic.Partitions[1], Offset: 7, LeaderEpoch: -1}}})
	c.snapshot()
	newer := c.init("newer")
	c.produce(since.batch(topic, 0, "since"), newer.batch(topic, 1, "newer"), plain().batch(topic, 1, "plain"))
	c.end("since", since, true)
	c.produce(since.batch(topic, 0, "again"))
	c.produce(open.batch(topic, 0, "still open"))
	return c, topic, []*writer{ended, open, since, newer}
}

func TestUndecidedTransactionsStopRecovery(t *testing.T) {
	c, _, writers := transactional(t)
	report, err := c.recover(recovery.Options{})
	if !errors.Is(err, recovery.ErrUnfinished) {
		t.Fatalf("got %v", err)
	}
	if last, err := c.store.LastSeq(t.Context()); err != nil || last != 0 {
		t.Errorf("the store is at %d, %v", last, err)
	}
	got := map[int64]string{}
	for _, tx := range report.Transactions {
		got[tx.ProducerID] = fmt.Sprintf("%q open=%v %d records, %d offsets, %v", tx.ID, tx.Open, tx.Records, tx.Offsets, tx.Partitions)
	}
	want := map[int64]string{
		writers[1].id: `"open" open=true 1 records, 1 offsets, [{t 0 2}]`,
		writers[2].id: `"since" open=false 2 records, 0 offsets, [{t 0 3}]`,
		writers[3].id: `"" open=false 1 records, 0 offsets, [{t 1 0}]`,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	dry, err := recovery.Recover(t.Context(), nil, c.bucket, progress(), recovery.Options{DryRun: true})
	if err != nil || len(dry.Transactions) != 3 || dry.TransactionsEnded != "" {
		t.Errorf("dry run: %+v, %v", dry, err)
	}
}

func TestUnfinishedTransactionsAreEnded(t *testing.T) {
	for _, commit := range []bool{false, true} {
		t.Run(fmt.Sprint("commit=", commit), func(t *testing.T) {
			c, topic, writers := transactional(t)
			how := recovery.Abort
			if commit {
				how = recovery.Commit
			}
			report := c.mustRecover(recovery.Options{Unfinished: how})
			if report.TransactionsEnded != string(how) || len(report.Transactions) != 3 {
				t.Errorf("report: %+v", report)
			}
			// (The marker with which "since" was committed once is lost: what followed has moved up.)
			c.wantLog(topic.Partitions[0], false, "0 ended", "1 marker", "2 open", "3 since", "4 again", "5 still open", "6 marker", "7 marker")
			if commit {
				c.wantLog(topic.Partitions[0], true, "0 ended", "2 open", "3 since", "4 again", "5 still open")
				c.wantLog(topic.Partitions[1], true, "0 newer", "1 plain")
			} else {
				c.wantLog(topic.Partitions[0], true, "0 ended")
				c.wantLog(topic.Partitions[1], true, "1 plain")
			}
			bounds, err := c.store.Bounds(t.Context(), topic.Partitions)
			c.must(err)
			for _, b := range bounds {
				if b.StableOffset != b.NextOffset {
					t.Errorf("still open: %+v", b)
				}
			}
			offsets, err := c.store.FetchOffsets(t.Context(), []metadata.OffsetQuery{{GroupID: "g"}})
			c.must(err)
			if got := len(offsets[0]); commit != (got == 1) || commit && (offsets[0][0].Offset != 7 || offsets[0][0].Unstable) {
				t.Errorf("offsets of the group: %+v", offsets[0])
			}
			// Who wrote before is fenced, whatever epoch it has; who asks anew goes on.
			for _, w := range writers[1:] {
				for range 3 {
					if o := c.commit(w.batch(topic, 0, "zombie"))[0]; o.Err == nil {
						t.Errorf("producer %d, epoch %d: %+v", w.id, w.epoch, o)
					}
					w.epoch++
				}
			}
			for _, id := range []string{"ended", "open", "since", "newer"} {
				w := c.init(id)
				c.produce(w.batch(topic, 1, id))
				c.end(id, w, true)
			}
			c.merge()
			c.wantLog(topic.Partitions[0], false, "0 ended", "1 marker", "2 open", "3 since", "4 again", "5 still open", "6 marker", "7 marker")
		})
	}
}
