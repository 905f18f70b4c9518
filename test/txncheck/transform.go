package txncheck

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// transformer is a member of the group: it makes one output record of each input record, in
// transactions that also commit its offsets.
type transformer struct {
	run            *Run
	number         int
	id             string
	scripts, lives int
	// As a writer's.
	open   []int32
	strays Moment
}

// session is one client of a transformer.
type session struct {
	*kgo.GroupTransactSession
	producer
}

func newTransformer(r *Run, number int) *transformer {
	return &transformer{run: r, number: number, id: fmt.Sprint("transformer-", number)}
}

func (t *transformer) live(ctx context.Context) {
	for ctx.Err() == nil {
		s, err := t.join()
		if err != nil {
			t.run.journal.problem(Broken, "%s: %v", t.id, err)
			return
		}
		t.work(ctx, s)
		pause(ctx, 50*time.Millisecond)
	}
}

// join makes the next client with the transactional ID.
func (t *transformer) join() (*session, error) {
	name := fmt.Sprintf("%s.%d", t.id, t.lives)
	t.lives++
	l := newLine(t.run.config.Seed, name, t.run.config.Losses, &t.run.lost)
	var inputs []string
	for _, topic := range t.run.config.Topics {
		if topic.Input {
			inputs = append(inputs, topic.Name)
		}
	}
	options := slices.Concat(t.run.options(name, l), t.run.producing(t.number), []kgo.Opt{
		kgo.TransactionalID(t.id), kgo.TransactionTimeout(t.run.config.LongTimeout),
		kgo.ConsumerGroup(t.run.config.Group), kgo.ConsumeTopics(inputs...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(500 * time.Millisecond),
		kgo.SessionTimeout(6 * time.Second), kgo.HeartbeatInterval(500 * time.Millisecond), kgo.RebalanceTimeout(10 * time.Second),
	})
	if t.number%3 != 2 {
		// A static member: the next client takes its place without a rebalance (KIP-345).
		options = append(options, kgo.InstanceID(t.id))
	}
	if v := versions[t.number%len(versions)]; v != nil {
		options = append(options, kgo.MaxVersions(v))
	}
	group, err := kgo.NewGroupTransactSession(options...)
	if err != nil {
		return nil, err
	}
	return &session{group, producer{client: group.Client(), line: l, txn: -1, before: -1}}, nil
}

// work transforms until the client can't go on.
func (t *transformer) work(ctx context.Context, s *session) {
	j := t.run.journal
	j.fencing(t.open)
	call, cancel := context.WithTimeout(ctx, callTimeout)
	_, _, err := s.client.ProducerID(call)
	cancel()
	if err != nil || s.line.strayed(kmsg.InitProducerID) {
		t.strays = j.now() + strayFor
	}
	if err != nil {
		s.crash()
		return
	}
	j.fenced(t.open)
	t.open = nil
	for ctx.Err() == nil {
		poll, cancel := context.WithTimeout(ctx, time.Second)
		records := s.PollRecords(poll, 50).Records()
		cancel()
		if len(records) == 0 {
			continue
		}
		if !t.transform(s, records) {
			s.crash()
			return
		}
	}
	s.Close()
}

// transform makes one transaction of the records, and returns whether the client can go on.
func (t *transformer) transform(s *session, records []*kgo.Record) bool {
	j := t.run.journal
	r := random(t.run.config.Seed, t.id, t.scripts)
	t.scripts++
	if s.Begin() != nil {
		return false
	}
	s.before = s.txn
	if s.before >= 0 && !j.hasAcked(s.before) {
		s.before = -1
	}
	s.txn = j.begin(t.id, true)
	s.began.Store(false)
	s.failed.Store(false)
	t.open = append(t.open, s.txn)
	if j.now() < t.strays {
		j.fencing([]int32{s.txn})
	}

	next := map[int32]int64{}
	for _, record := range records {
		source := Source{j.index[record.Topic][record.Partition], record.Offset}
		next[source.Partition] = record.Offset + 1
		t.run.send(&s.producer, send{t.run.output[r.IntN(len(t.run.output))], r.IntN(50)}, source, t.run.config.LongTimeout)
	}
	inputs := make([]Input, 0, len(next))
	for p, n := range next {
		inputs = append(inputs, Input{p, n})
	}
	j.consumed(s.txn, inputs)

	drawn := r.IntN(100)
	switch {
	case t.run.calm.Load():
		drawn = 50 // the rest is only to be transformed
	case t.scripts == 3:
		drawn = 98 // so that a short run has that too
	}
	if drawn < 3 {
		return false // crashes
	}
	commit := drawn >= 10
	if !s.flush() {
		return false
	}
	commit = commit && !s.failed.Load()
	j.ending(s.txn, commit)
	if commit && drawn >= 93 {
		// Its offsets are in the transaction; the commit may have come through or not.
		s.die(drawn < 96, func(ctx context.Context) error {
			_, err := s.End(ctx, kgo.TryCommit)
			return err
		})
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	committed, err := s.End(ctx, kgo.TransactionEndTry(commit))
	switch {
	case err != nil:
		return false
	case committed:
		j.ended(s.txn, Committed)
	case !commit && !s.failed.Load():
		j.ended(s.txn, Aborted)
	}
	// Not committed without an error: a rebalance came between, or the answer got lost.
	return !s.line.strayed(kmsg.EndTxn)
}
